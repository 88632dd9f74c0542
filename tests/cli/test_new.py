"""`runbook new` on rule files that nobody wrote for us: each notebook is whole, and runs at once."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import nbformat
import pytest

from runbooklib.config import notebook_file, parameters
from runbooklib.config.rule_file import AlertRule, read_rules
from runbooklib.config.scaffold import rules_of
from runbooklib.config.yaml_file import read_mapping
from runbooklib.lint.rules.sections import SECTIONS
from tests.support import small
from tests.support.known_series import serving
from tests.support.rule_files import FILES, FOREIGN
from tests.support.running import command, errors, notebook

RULES_WITH_A_BAD_NAME = """
groups:
- rules:
  - {alert: Good, expr: x > 1}
  - {alert: Ceph is ill, expr: x > 1}
"""
RULES = [rules for file in FILES for rules in rules_of(file).values()]


def test_rules_that_were_not_written_for_us_are_among_them() -> None:
    if not FOREIGN.exists() and os.environ.get("CI") != "true":
        pytest.skip("ceph-prometheus-alerts is not installed: make servers")
    assert len(read_rules(FOREIGN)) > 50


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    folder = tmp_path_factory.mktemp("home")
    site = small.home(folder)
    for file in FILES:
        ended = command(["runbook", "new", "--all", "--rules", str(file), "-e", "down"], site)
        assert ended.code == 0, ended.err
    return folder, site


@pytest.mark.parametrize("rules", RULES, ids=lambda rules: rules[0].alert)
def test_a_new_runbook_is_whole_and_holds_the_rules_expressions_to_the_letter(
    home: tuple[Path, dict[str, str]], rules: tuple[AlertRule, ...]
) -> None:
    alert = rules[0].alert
    names = ["expression", *(f"expression_{number}" for number in range(2, len(rules) + 1))]
    texts = dict(zip(names, (rule.expression for rule in rules), strict=True))
    path = home[0] / "notebooks" / f"{alert}.ipynb"
    made = notebook_file.read(path)
    nbformat.validate(made)
    assert notebook_file.canonical(made) == path.read_text()
    headings = [
        line.removeprefix("## ")
        for cell in made["cells"]
        if cell["cell_type"] == "markdown"
        for line in notebook_file.source(cell).splitlines()
        if line.startswith("## ")
    ]
    assert headings == list(SECTIONS)
    cell = next(cell for cell in made["cells"] if "parameters" in cell["metadata"].get("tags", []))
    declared = parameters.parse_declarations(notebook_file.source(cell))
    for name, text in texts.items():
        assert declared[name].default == text
        assert declared[name].help == "the condition, as in the alert rule"
    stored = read_mapping(home[0] / "parameters" / f"{alert}.yaml", "it")
    assert stored == {"service": "backend", **texts}
    code = [notebook_file.source(c) for c in made["cells"] if c["cell_type"] == "code"]
    for one in code:
        compile(one, alert, "exec")
    assert "\n".join(code).count("incident.check(alert_expression") == len(rules)


@pytest.mark.parametrize("alert", ["PodNotReady", "KubeletDown", "NodeOddName", "APIErrorBudgetBurn"])
def test_a_new_runbook_runs_at_once_and_is_unknown_where_nothing_answers(
    home: tuple[Path, dict[str, str]], alert: str, tmp_path: Path
) -> None:
    ended = command(["runbook", "run", alert, "-e", "down", "--output", str(tmp_path), "--json"], home[1])
    assert ended.code == 2, ended.err
    assert (ended.verdict["status"], ended.verdict["failure"]) == ("UNKNOWN", "")
    assert errors(notebook(Path(ended.verdict["bundle"]) / "notebook.ipynb")) == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["PodCrashLoping"], "did you mean 'PodCrashLooping'?"),
        ([], "name the alert, or --all, and not both"),
        (["PodNotReady"], "already has a runbook"),
    ],
)
def test_what_cannot_be_made_is_refused_and_nothing_is_replaced(
    home: tuple[Path, dict[str, str]], words: list[str], told: str
) -> None:
    before = {path: path.read_bytes() for path in home[0].rglob("*") if path.is_file()}
    ended = command(["runbook", "new", *words, "--rules", str(FILES[0]), "-e", "down"], home[1])
    assert ended.code == 3
    assert told in ended.err
    assert before == {path: path.read_bytes() for path in home[0].rglob("*") if path.is_file()}


def test_all_makes_those_that_are_missing_and_leaves_the_others_as_they_are(tmp_path: Path) -> None:
    site = small.home(tmp_path)
    one = ["runbook", "new", "PostgreSQLDown", "--rules", str(FILES[2]), "-e", "down"]
    assert command(one, site).code == 0
    path = tmp_path / "notebooks" / "PostgreSQLDown.ipynb"
    path.write_text(path.read_text().replace("TODO: what", "What"))
    mine = path.read_text()
    ended = command(["runbook", "new", "--all", "--rules", str(FILES[2]), "-e", "down"], site)
    assert (ended.code, path.read_text()) == (0, mine)
    assert "PostgreSQLDown has a runbook already" in ended.out
    assert "runbook run PostgreSQLMaxConnectionsReached -e down" in ended.out
    again = command(["runbook", "new", "--all", "--rules", str(FILES[2]), "-e", "down"], site)
    assert (again.code, "Run it" in again.out) == (0, False)


def test_an_alert_that_shares_a_notebook_gets_no_second_one(tmp_path: Path) -> None:
    site = small.home(tmp_path)
    path = tmp_path / "notebooks" / "Small.ipynb"
    shared = json.loads(path.read_text())
    shared["metadata"]["runbook"] = {"alerts": ["Small", "PostgreSQLDown"]}
    path.write_text(json.dumps(shared))
    ended = command(["runbook", "new", "PostgreSQLDown", "--rules", str(FILES[2]), "-e", "down"], site)
    assert ended.code == 3
    assert "PostgreSQLDown already has a runbook" in ended.err


def test_of_a_file_with_one_bad_name_nothing_is_written(tmp_path: Path) -> None:
    site = small.home(tmp_path)
    rules = tmp_path / "rules.yml"
    rules.write_text(RULES_WITH_A_BAD_NAME)
    before = sorted(tmp_path.rglob("*"))
    ended = command(["runbook", "new", "--all", "--rules", str(rules), "-e", "down"], site)
    assert (ended.code, sorted(tmp_path.rglob("*"))) == (3, before)
    assert "rules.yml:5: 'Ceph is ill' cannot be the name of a runbook" in ended.err


@pytest.mark.parametrize("name", ["../x", "a b", "x'; import os", "", "é" * 10])
def test_a_name_that_could_be_a_path_or_code_is_refused(
    home: tuple[Path, dict[str, str]], name: str, tmp_path: Path
) -> None:
    rules = tmp_path / "rules.yml"
    rules.write_text(json.dumps({"groups": [{"name": "g", "rules": [{"alert": name, "expr": "x > 1"}]}]}))
    ended = command(["runbook", "new", "--all", "--rules", str(rules), "-e", "down"], home[1])
    assert ended.code == 3, ended.out
    assert "runbook: " in ended.err


DISKS = """
groups:
- name: disks
  rules:
  - alert: DiskFull
    expr: disk_free_bytes{disk!~`tmp\\d+`} < 10
    labels: {severity: critical}
  - alert: DiskFull
    expr: disk_free_bytes < 50
    labels: {severity: warning}
  - alert: DiskNever
    expr: disk_nowhere_bytes > 1
"""


@pytest.fixture(scope="module")
def disks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[datetime, dict[str, str]]]:
    """A time at which the disk was full for five minutes, and a home with a runbook of each of the rules."""
    folder = tmp_path_factory.mktemp("disks")
    end = int(time.time()) // 60 * 60 - 3 * 3600
    told = [(end - 15 * number, 80 if number > 20 else 5) for number in range(240, -1, -1)]
    series = [f'disk_free_bytes{{disk="a"}} {value} {moment}\n' for moment, value in told]
    site = small.home(folder / "home")
    environments = folder / "home" / "parameters" / "environments"
    (folder / "disks.yml").write_text(DISKS)
    with serving(folder, ["# TYPE disk_free_bytes gauge\n", *series, "# EOF\n"]) as url:
        services = {"any": {"title": "Any", "labels": {}}}
        known = {"title": "Known", "systems": {"prometheus": {"url": url}}, "services": services}
        (environments / "known.yaml").write_text(json.dumps(known))
        ended = command(
            ["runbook", "new", "--all", "--rules", str(folder / "disks.yml"), "-e", "known"], site
        )
        assert ended.code == 0, ended.err
        yield datetime.fromtimestamp(end, UTC), site


@pytest.mark.parametrize(
    ("alert", "minutes_ago", "statuses"),
    [
        ("DiskFull", 0, ["CRITICAL", "WARNING"]),
        ("DiskFull", 20, ["OK", "OK"]),
        ("DiskNever", 0, ["UNKNOWN"]),
    ],
)
def test_a_new_runbook_says_whether_its_alerts_conditions_are_true(
    disks: tuple[datetime, dict[str, str]], alert: str, minutes_ago: int, statuses: list[str], tmp_path: Path
) -> None:
    at = disks[0] - timedelta(minutes=minutes_ago)
    argv = ["runbook", "run", alert, "--at", at.isoformat(), "--output", str(tmp_path), "--json"]
    ended = command(argv, disks[1])
    found = [one for one in ended.verdict["symptoms"] if one["check"] == "alert_expression"]
    assert [one["status"] for one in found] == statuses
    assert errors(notebook(Path(ended.verdict["bundle"]) / "notebook.ipynb")) == []
    if statuses[0] == "CRITICAL":
        assert datetime.fromisoformat(found[0]["since"]) == at - timedelta(minutes=5)


def test_tidy_writes_what_check_complains_of_and_then_has_nothing_to_say(tmp_path: Path) -> None:
    site = small.home(tmp_path)
    small.write(tmp_path, "Small", "x = 1   ")
    path = tmp_path / "notebooks" / "Small.ipynb"
    untidy = path.read_text()
    ended = command(["runbook", "tidy", "--check"], site)
    assert (ended.code, path.read_text()) == (1, untidy)
    assert str(path) in ended.out
    assert command(["runbook", "tidy"], site).code == 0
    assert command(["runbook", "tidy", "--check"], site).code == 0
    assert "--- code" in command(["runbook", "text", str(path)], site).out


def test_text_needs_no_pandas_and_shows_what_a_terminal_would_act_on(tmp_path: Path) -> None:
    small.home(tmp_path)
    small.write(tmp_path, "Small", "x = '\x1b[2J'")
    program = (
        "import sys; from runbooklib.cli import app; "
        "app(standalone_mode=False); print('pandas' in sys.modules)"
    )
    path = str(tmp_path / "notebooks" / "Small.ipynb")
    argv = [sys.executable, "-c", program, "text", path]
    told = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    assert "\\u{1b}[2J" in told
    assert told.endswith("False\n")


def test_a_folder_that_cannot_be_written_is_one_line_and_no_traceback(tmp_path: Path) -> None:
    site = small.home(tmp_path)
    (tmp_path / "notebooks" / "Small.ipynb.part").mkdir()
    ended = command(["runbook", "tidy"], site)
    assert ended.code == 3
    assert ended.err.startswith("runbook: ")
    assert len(ended.err.splitlines()) == 1
