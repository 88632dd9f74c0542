"""A defect of this library ends with 4 and one line, never with 1, which means that a problem exists."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import small
from tests.support.running import Ended, command

RUN = "sys.argv = ['runbook', 'run', 'HighErrorRate', '-e', 'lab']"
# Each makes a command fail in a way that no code expects.
DEFECTS = {
    "a module of ours is missing": "sys.modules['runbooklib.config.runbooks'] = None",
    "the recursion never ends": "import pathlib; pathlib.Path.glob = lambda *a: pathlib.Path.glob(*a)",
    "the standard library refuses": "import pathlib; pathlib.Path.glob = 0",
    "the error has no text": "import pathlib; pathlib.Path.glob = lambda *_: [][0]",
    "the error has two lines": "import pathlib; pathlib.Path.glob = lambda *_: {}['a\\nb']",
}


def program(*lines: str) -> "subprocess.CompletedProcess[str]":
    code = "\n".join(("import sys", *lines))
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("defect", DEFECTS.values(), ids=DEFECTS.keys())
def test_a_defect_ends_with_4_and_one_line_that_says_where_to_report_it(defect: str) -> None:
    ended = program(RUN, "from runbooklib.cli import main", defect, "main()")
    assert ended.returncode == 4, ended.stderr
    assert len(ended.stderr.splitlines()) == 1, ended.stderr
    assert "defect of runbooklib" in ended.stderr
    assert "CONTRIBUTING.md" in ended.stderr
    assert ".py:" in ended.stderr


def test_an_installation_that_cannot_be_imported_ends_with_4() -> None:
    ended = program(RUN, "sys.modules['typer'] = None", "from runbooklib.__main__ import main", "main()")
    assert (ended.returncode, ended.stdout) == (4, "")
    assert "runbooklib cannot be imported" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_a_line_about_a_defect_contains_no_known_secret() -> None:
    secret = "canary-of-a-password"
    os.environ["SHOP_PASSWORD"] = secret
    try:
        defect = f"import pathlib; pathlib.Path.glob = lambda *_: {{}}['{secret}']"
        ended = program(RUN, "from runbooklib.cli import main", defect, "main()")
    finally:
        del os.environ["SHOP_PASSWORD"]
    assert ended.returncode == 4
    assert secret not in ended.stderr
    assert "KeyError" in ended.stderr


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"kernelspec": None},
        {"kernelspec": {"name": "python3"}},
        {"kernelspec": {"language": "python"}},
        {"kernelspec": {"display_name": "Python 3"}, "language_info": None},
        {"language_info": {"name": "python"}},
    ],
    ids=str,
)
def test_a_notebook_without_a_kernelspec_runs_with_python(metadata: object, tmp_path: Path) -> None:
    ended = _run_with(metadata, tmp_path)
    assert ended.code == 2, ended.err
    assert ended.verdict["status"] == "UNKNOWN"
    assert ended.verdict["failure"] == ""


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({"kernelspec": {"language": "R"}}, "no kernel for the language 'R'"),
        ({"kernelspec": {"name": 5}}, "names no kernel"),
        ({"kernelspec": {"name": "no-such-kernel", "language": "python"}}, "no kernel named"),
    ],
)
def test_a_notebook_of_another_kernel_is_refused_in_one_line(
    metadata: object, words: str, tmp_path: Path
) -> None:
    ended = _run_with(metadata, tmp_path)
    assert ended.code == 3 or (ended.code == 4 and ended.verdict["failure"]), ended.err
    assert words in ended.err
    assert "Traceback" not in ended.err


def _run_with(metadata: object, tmp_path: Path) -> Ended:
    environment = small.home(tmp_path / "home")
    path = tmp_path / "home" / "notebooks" / "Small.ipynb"
    path.write_text(json.dumps({**json.loads(path.read_text()), "metadata": metadata}))
    argv = ["runbook", "run", "Small", "--json", "--output", str(tmp_path / "out")]
    return command(argv, environment)
