"""What a newcomer sees of the command line: help, version, completion, nearest names, old names."""

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from runbooklib.cli import app, commands, main
from runbooklib.evidence import manifest
from tests.support.running import BIN, ROOT, command

GROUP: Any = get_command(app)
VISIBLE = [name for name, verb in GROUP.commands.items() if not verb.hidden]
BUNDLE = "20260115T031200Z-HighErrorRate-backend"
VERDICT = '{"actions": [{"plan": {"action": "restart_container"}}, {"plan": {"action": "roll_back"}}]}'


def help_of(*words: str, columns: int) -> str:
    ended = command(["runbook", *words, "--help"], {"COLUMNS": str(columns)})
    assert (ended.code, ended.err) == (0, "")
    return ended.out


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder with two environments, three runbooks (one with a name unfit for a shell) and a bundle."""
    environments = tmp_path / "parameters" / "environments"
    environments.mkdir(parents=True)
    (tmp_path / "notebooks").mkdir()
    lab = (ROOT / "parameters" / "environments" / "lab.yaml").read_text()
    for name in ("lab", "staging"):
        (environments / f"{name}.yaml").write_text(lab)
    for name in ("HighErrorRate", "HighLatency", "High;reboot"):
        (tmp_path / "notebooks" / f"{name}.ipynb").write_text("not read")
    bundle = tmp_path / "evidence" / BUNDLE
    bundle.mkdir(parents=True)
    (bundle / manifest.FILE).write_text("{}")
    (bundle / "verdict.json").write_text(VERDICT)
    (tmp_path / "evidence" / "no-bundle").mkdir()
    return tmp_path


@pytest.mark.parametrize("columns", [80, 100])
def test_the_help_shows_each_command_in_its_panel_with_its_whole_sentence_on_one_line(columns: int) -> None:
    text = help_of(columns=columns)
    assert "…" not in text
    assert "..." not in text.replace("[ARGS]...", "")
    panels = re.findall(r"^([A-Z]\w[\w ]+):$", text, re.MULTILINE)
    assert panels == ["Options", *commands.PANELS]
    for name in VISIBLE:
        sentence = " ".join(GROUP.commands[name].help.partition("\n\n")[0].split())
        assert re.search(rf"^  {name} +{re.escape(sentence)}$", text, re.MULTILINE), name


def test_each_command_is_in_one_panel() -> None:
    names = [name for panel in commands.PANELS.values() for name in panel]
    assert sorted(names) == sorted(VISIBLE)


@pytest.mark.parametrize("name", VISIBLE)
def test_the_help_has_examples_that_parse(name: str) -> None:
    """The options and arguments of each example exist, and have the right types."""
    lines = (GROUP.commands[name].epilog or "").splitlines()
    examples = [line.strip() for line in lines if line.startswith("  ")]
    assert lines[:2] == ["\b", "Examples:"]
    assert examples
    for example in examples:
        program, verb, *words = shlex.split(example.partition(" | ")[0])
        assert (program, verb) == ("runbook", name)
        GROUP.commands[name].make_context(name, words)


def test_the_page_of_commands_is_what_their_help_says() -> None:
    stored = (ROOT / "docs" / "commands.md").read_text()
    assert stored == commands.document(app), "write it again: make docs"


def test_help_and_completion_do_not_import_what_is_slow(site: Path) -> None:
    program = (
        "import sys; from runbooklib.cli import main\n"
        "try: main()\n"
        "finally: print(*sorted({'pandas', 'papermill', 'rich', 'matplotlib', 'IPython', 'docker', 'psycopg',"
        " 'nbformat', 'requests'} & set(sys.modules)), file=sys.stderr)"
    )
    completion = {"_RUNBOOK_COMPLETE": "complete_bash", "COMP_WORDS": "runbook run High", "COMP_CWORD": "2"}
    for words, environment in ((["--help"], {}), (["run", "--help"], {}), ([], completion)):
        ended = subprocess.run(
            [sys.executable, "-c", f"import sys; sys.argv[0] = 'runbook'\n{program}", *words],
            env={**os.environ, **environment},
            cwd=site,
            capture_output=True,
            text=True,
            check=True,
        )
        assert "HighErrorRate" in ended.stdout
        assert ended.stderr == "\n", words


def test_without_a_command_the_help_is_printed_as_it_is_and_the_code_is_not_that_of_ok() -> None:
    ended = command(["runbook"], {"COLUMNS": "80"})
    assert (ended.code, ended.err) == (3, "")
    assert ended.out == help_of(columns=80)


def test_the_version_is_that_of_the_package() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    version = re.search(r'^version = "(.+)"', project, re.MULTILINE)
    assert version
    assert command(["runbook", "--version"]).out == f"runbooklib {version[1]}\n"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder in which `runbook --install-completion` was called from bash."""
    folder = tmp_path_factory.mktemp("home")
    ended = subprocess.run(
        ["bash", "-c", "runbook --install-completion; exit $?"],
        env={**os.environ, "HOME": str(folder), "PATH": f"{BIN}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return folder


def completed(home: Path, site: Path, line: str) -> list[str]:
    """What bash offers for the line, with the installed completion."""
    words = line.split(" ")
    array = " ".join(map(shlex.quote, words))
    script = (
        f"source {shlex.quote(str(home / '.bashrc'))}; COMP_WORDS=({array}); COMP_CWORD={len(words) - 1}; "
        'complete -p runbook >/dev/null && _runbook_completion runbook; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    ended = subprocess.run(
        ["bash", "-c", script],
        env={**os.environ, "HOME": str(home), "PATH": f"{BIN}:{os.environ['PATH']}"},
        cwd=site,
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stderr == ""
    return ended.stdout.split()


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("runbook ver", ["verify-recovery", "verify"]),
        ("runbook rec", []),
        ("runbook seal --int", ["--interrupted"]),
        ("runbook run High", ["HighErrorRate", "HighLatency"]),
        ("runbook batch HighLatency HighE", ["HighErrorRate"]),
        ("runbook verify-recovery HighL", ["HighLatency"]),
        ("runbook lab HighL", ["HighLatency"]),
        ("runbook run HighLatency -e ", ["lab", "staging"]),
        ("runbook lint --live st", ["staging"]),
        ("runbook run HighLatency -e lab -s ", ["backend"]),
        ("runbook run HighLatency -e nowhere -s ", []),
        ("runbook replay ", [f"evidence/{BUNDLE}"]),
        ("runbook verify evidence/2026", [f"evidence/{BUNDLE}"]),
        ("runbook export ./evidence/2026", []),
        ("runbook upload nowhere/2026", []),
        (f"runbook approve evidence/{BUNDLE} ", ["restart_container", "roll_back"]),
        ("runbook approve evidence/nowhere ", []),
    ],
)
def test_bash_completes(home: Path, site: Path, line: str, offered: list[str]) -> None:
    assert sorted(completed(home, site, line)) == sorted(offered)


def test_a_completion_outside_a_runbooks_folder_offers_nothing_and_prints_no_error(
    home: Path, tmp_path: Path
) -> None:
    for line in ("runbook run High", "runbook run X -e ", "runbook run X -s ", "runbook replay "):
        assert completed(home, tmp_path, line) == []


@pytest.fixture
def own_signals() -> Iterator[None]:
    """`main` replaces the handlers of these signals; they are those of pytest again afterwards."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("own_signals")
@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["verfy"], "did you mean 'verify'?"),
        (["recover-chek"], "did you mean 'verify-recovery'?"),
        (["run", "HighErrorRate", "--enviroment", "lab"], "did you mean '--environment'?"),
        (["--versoin"], "did you mean '--version'?"),
        (["run", "HighErrorRat"], "did you mean 'HighErrorRate'?"),
        (["batch", "HighLatencyy"], "did you mean 'HighLatency'?"),
        (["verify-recovery", "HighErrorRat"], "did you mean 'HighErrorRate'?"),
        (["lint", "--live", "stagin"], "did you mean 'staging'?"),
        (["lint", "--explain", "ratio-without-flor"], "did you mean 'ratio-without-floor'?"),
        (["lint", "--rules", "parameters/environments/lb.yaml"], "environments/lab.yaml'?"),
        (["lab", "-e", "stagin"], "did you mean 'staging'?"),
        (["replay", BUNDLE], f"did you mean 'evidence/{BUNDLE}'?"),
        (["replay", "evidence/2026-HighErrorRate"], f"did you mean 'evidence/{BUNDLE}'?"),
        (["replay", f"evidence/{BUNDLE}", "--notebook", "notebooks/HighLatncy.ipynb"], "HighLatency.ipynb'?"),
        (["approve", f"evidence/{BUNDLE[:-1]}"], f"did you mean 'evidence/{BUNDLE}'?"),
        (["export", f"evidence/{BUNDLE[:-1]}", "x.json"], f"did you mean 'evidence/{BUNDLE}'?"),
        (["upload", f"evidence/{BUNDLE[:-1]}", "file:///tmp/x"], f"did you mean 'evidence/{BUNDLE}'?"),
        (["verify", f"evidence/{BUNDLE[:-1]}"], f"did you mean 'evidence/{BUNDLE}'?"),
        (["verify", "evidnce"], "did you mean 'evidence'?"),
        (["actions", "--output", "evidnce"], "did you mean 'evidence'?"),
        (["seal", "--interrupted", "--output", "evidnce"], "did you mean 'evidence'?"),
        (["seal", "notebooks/HighLatncy.ipynb"], "HighLatency.ipynb'?"),
        (["text", "notebooks/HighLatncy.ipynb"], "HighLatency.ipynb'?"),
        (["tidy", "notebooks/HighLatncy.ipynb"], "HighLatency.ipynb'?"),
        (
            ["new", "HighErrorRat", "--rules", str(ROOT / "lab" / "rules.yml")],
            "did you mean 'HighErrorRate'?",
        ),
        (["new", "--all", "--rules", str(ROOT / "lab" / "rules.yml"), "-e", "stagin"], "mean 'staging'?"),
        (["urls", "--rules", str(ROOT / "lab" / "rules.yml"), "-e", "stagin"], "did you mean 'staging'?"),
    ],
)
def test_an_unknown_name_is_refused_in_one_line_with_the_nearest(
    site: Path,
    words: list[str],
    hint: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(site)
    monkeypatch.setenv("RUNBOOK_HOME", str(site))
    monkeypatch.setattr(sys, "argv", ["runbook", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    out, err = capsys.readouterr()
    assert (ended.value.code, out) == (3, ""), err
    assert hint in err
    assert len(err.splitlines()) == 1


def test_an_unknown_option_that_is_like_no_other_is_answered_with_all() -> None:
    ended = command(["runbook", "list", "-q"])
    assert (ended.code, ended.out) == (3, "")
    assert ended.err == "runbook: there is no option '-q' (there are: --help) (see runbook list --help)\n"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (["recover"], ["seal", "--interrupted"]),
        (["recover-check", "HighErrorRat"], ["verify-recovery", "HighErrorRat"]),
    ],
)
def test_an_old_name_works_like_the_new_one_and_is_not_shown(
    site: Path, old: list[str], new: list[str]
) -> None:
    assert old[0] not in VISIBLE
    assert f" {old[0]} " not in help_of(columns=80)
    assert command(["runbook", *old], cwd=site) == command(["runbook", *new], cwd=site)
