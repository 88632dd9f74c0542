"""Options and inputs of papermill act with the engine `runbook` as papermill documents, or are refused."""

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.running import BIN, Ended, command
from tests.support.timing import BUSY_SECONDS

SECRET = "canary-of-the-shop"
PRINTS = 'import sys, os\nprint("first", end=" ")\nprint("second")\nprint("bad", file=sys.stderr)'
LONG = "import time\nfor number in range(30):\n    print('beat', number)\n    time.sleep(0.1)"


def write(path: Path, *sources: str, kernel: str = "python3") -> Path:
    cells: list[dict[str, Any]] = [
        {
            "cell_type": "code",
            "id": f"cell-{number}",
            "metadata": {"tags": ["parameters"]} if source.startswith("value =") else {},
            "source": source,
            "outputs": [],
            "execution_count": None,
        }
        for number, source in enumerate(sources)
    ]
    spec = {"kernelspec": {"name": kernel, "display_name": kernel, "language": "python"}}
    path.write_text(json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": spec, "cells": cells}))
    return path


def program(folder: Path, code: str, environment: Mapping[str, str] | None = None) -> Ended:
    (folder / "program.py").write_text(f"import papermill\n{code}")
    return command(["python", "program.py"], environment, cwd=folder, seconds=100)


def papermill(folder: Path, *words: str, environment: Mapping[str, str] | None = None) -> Ended:
    argv = ["papermill", "--engine", "runbook", "in.ipynb", *words]
    return command(argv, environment, cwd=folder, seconds=100)


def cells_of(path: Path) -> list[dict[str, Any]]:
    cells: list[dict[str, Any]] = json.loads(path.read_text())["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("%undefined-line-magic", "UsageError"),
        ("%%undefined_cell_magic\n1", "UsageError"),
        ('get_ipython().run_cell("1/0").raise_error()', "ZeroDivisionError"),
        ('raise SystemExit("stop")', "SystemExit"),
    ],
)
def test_a_step_that_failed_with_or_without_an_error_output_is_a_failed_run(
    tmp_path: Path, source: str, words: str
) -> None:
    write(tmp_path / "in.ipynb", source, "print(1)")
    ended = papermill(tmp_path, "out.ipynb")
    assert ended.code == 1, ended.err
    first, second = cells_of(tmp_path / "out.ipynb")
    assert (first["metadata"]["papermill"]["status"], second["metadata"]["papermill"]["status"]) == (
        "failed",
        "pending",
    )
    assert words in first["metadata"]["runbook"]["cause"]
    assert second["outputs"] == []


def test_a_step_that_the_kernel_aborted_is_a_failed_run(tmp_path: Path) -> None:
    abort = "get_ipython().kernel.do_execute = lambda *_, **__: {'status': 'aborted'}"
    write(tmp_path / "in.ipynb", abort, "print(1)", "print(2)")
    ended = papermill(tmp_path, "out.ipynb")
    assert ended.code == 1, ended.err
    statuses = [cell["metadata"]["papermill"]["status"] for cell in cells_of(tmp_path / "out.ipynb")]
    assert statuses == ["completed", "failed", "pending"]
    assert "aborted" in cells_of(tmp_path / "out.ipynb")[1]["metadata"]["runbook"]["cause"]


def test_an_early_exit_without_an_error_ends_as_papermill_documents(tmp_path: Path) -> None:
    write(tmp_path / "in.ipynb", "raise SystemExit(0)", "print(1)")
    assert papermill(tmp_path, "out.ipynb").code == 0
    statuses = [cell["metadata"]["papermill"]["status"] for cell in cells_of(tmp_path / "out.ipynb")]
    assert statuses == ["failed", "pending"]


def test_a_notebook_in_memory_is_executed(tmp_path: Path) -> None:
    write(tmp_path / "in.ipynb", "value = 1", "print('it is', value)")
    code = (
        "import nbformat\nnode = nbformat.read('in.ipynb', as_version=4)\n"
        "done = papermill.execute_notebook(node, 'out.ipynb', {'value': 7}, engine_name='runbook')\n"
        "print(done.cells[-1].outputs[0].text)"
    )
    ended = program(tmp_path, code)
    assert ended.code == 0, ended.err
    assert "it is 7" in ended.out
    assert "it is 7" in (tmp_path / "out.ipynb").read_text()


def test_log_output_and_the_files_of_stdout_and_stderr_have_the_whole_text_without_secrets(
    tmp_path: Path,
) -> None:
    torn = f"print({SECRET[:9]!r}, end='', flush=True)\nprint({SECRET[9:]!r})\n'shown'"
    write(tmp_path / "in.ipynb", PRINTS, torn)
    ended = papermill(
        tmp_path,
        "out.ipynb",
        "--log-output",
        "--stdout-file",
        "stdout.txt",
        "--stderr-file",
        "stderr.txt",
        environment={"SHOP_PASSWORD": SECRET},
    )
    assert ended.code == 0, ended.err
    written = (tmp_path / "stdout.txt").read_text()
    assert written.startswith("first second\n[redacted:")
    assert (tmp_path / "stderr.txt").read_text() == "bad\n"
    for words in ("first second", "bad", "'shown'"):
        assert words in ended.err
    for text in (written, ended.err, ended.out, (tmp_path / "out.ipynb").read_text()):
        assert SECRET not in text


def test_report_mode_hides_the_code_and_a_known_secret_is_in_no_output(tmp_path: Path) -> None:
    write(tmp_path / "in.ipynb", "value = 1", "import os\nprint('x' + os.environ['SHOP_PASSWORD'])")
    ended = papermill(
        tmp_path, "out.ipynb", "--report-mode", "-p", "value", "2", environment={"SHOP_PASSWORD": SECRET}
    )
    assert ended.code == 0, ended.err
    assert all(cell["metadata"]["jupyter"]["source_hidden"] for cell in cells_of(tmp_path / "out.ipynb"))
    assert SECRET not in (tmp_path / "out.ipynb").read_text()
    assert "x[redacted:" in (tmp_path / "out.ipynb").read_text()


def test_autosave_writes_a_long_step_while_it_runs(tmp_path: Path) -> None:
    write(tmp_path / "in.ipynb", LONG)
    argv = [str(BIN / "papermill"), "--engine", "runbook", "in.ipynb", "out.ipynb"]
    argv += ["--autosave-cell-every", "1"]
    seen = set()
    with subprocess.Popen(argv, cwd=tmp_path, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None:
            if (tmp_path / "out.ipynb").exists():
                [cell] = cells_of(tmp_path / "out.ipynb")
                text = "".join(part for output in cell["outputs"] for part in output["text"])
                seen.add((cell["metadata"]["papermill"]["status"], text.count("beat") > 0))
            time.sleep(0.05)
    assert process.returncode == 0
    assert ("running", True) in seen


def test_a_kernel_that_does_not_start_ends_at_the_start_timeout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = tmp_path / "jupyter" / "kernels" / "sleeper"
    spec.mkdir(parents=True)
    argv = [sys.executable, "-c", "import time; time.sleep(600)", "{connection_file}"]
    (spec / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "s", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    write(tmp_path / "in.ipynb", "1", kernel="sleeper")
    started = time.monotonic()
    ended = papermill(tmp_path, "out.ipynb", "--start-timeout", "2")
    assert ended.code == 1
    assert time.monotonic() - started < 2 + BUSY_SECONDS
    assert "2" in ended.err.splitlines()[-1]
    assert "respond" in ended.err


@pytest.mark.parametrize(("seconds", "code"), [("1", 1), ("30", 0), ("-1", 0)])
def test_the_execution_timeout_is_that_of_a_step_and_a_negative_number_means_none(
    tmp_path: Path, seconds: str, code: int
) -> None:
    write(tmp_path / "in.ipynb", "import time; time.sleep(2)", "print(1)")
    ended = papermill(tmp_path, "out.ipynb", "--execution-timeout", seconds)
    assert ended.code == code, ended.err


def test_an_option_that_this_engine_does_not_have_is_refused_with_a_sentence(tmp_path: Path) -> None:
    write(tmp_path / "in.ipynb", "1")
    code = "papermill.execute_notebook('in.ipynb', None, engine_name='runbook', kernel_manager_class=int)"
    ended = program(tmp_path, code)
    assert ended.code == 1
    assert "the papermill engine 'runbook' has no option 'kernel_manager_class'" in ended.err
    code = "papermill.execute_notebook('in.ipynb', None, engine_name='runbook', allow_errors=True)"
    assert program(tmp_path, code).code == 0


def test_another_place_is_written_with_papermills_own_handler_and_without_secrets(tmp_path: Path) -> None:
    write(tmp_path / "in.ipynb", "import os\nprint(os.environ['SHOP_PASSWORD'])")
    code = (
        "from papermill.iorw import papermill_io\n"
        "class Memory:\n"
        "    written = []\n"
        "    def write(self, text, path): self.written.append((path, text))\n"
        "    def pretty_path(self, path): return path\n"
        "papermill_io.register('memory://', Memory())\n"
        "papermill.execute_notebook('in.ipynb', 'memory://place/out.ipynb', engine_name='runbook')\n"
        "assert len(Memory.written) > 2\n"
        "for path, text in Memory.written:\n"
        "    assert path == 'memory://place/out.ipynb'\n"
        f"    assert {SECRET!r} not in text\n"
        "assert '[redacted:' in Memory.written[-1][1]\n"
    )
    ended = program(tmp_path, code, {"SHOP_PASSWORD": SECRET})
    assert ended.code == 0, ended.err
    assert not list(tmp_path.glob("memory*"))


def test_standard_output_gets_the_notebook_once(tmp_path: Path) -> None:
    write(tmp_path / "in.ipynb", "print(1)")
    ended = papermill(tmp_path, "-")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["cells"][0]["outputs"][0]["text"] in ("1\n", ["1\n"])
