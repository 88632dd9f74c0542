"""A run with a step that failed or did not run is unfinished, on every route, and its verdict is never OK."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support import small
from tests.support.running import command

MAGIC = "%undefined-line-magic"
# An incident without checks has the verdict OK, so only the unfinished step can make it UNKNOWN.
AFTER = "print('after')"


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    environment = small.home(tmp_path / "home")
    small.write(tmp_path / "home", "Small", MAGIC, AFTER)
    return environment


def manifest_and_verdict(evidence: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    [bundle] = [path for path in evidence.iterdir() if path.is_dir() and not path.name.startswith(".")]
    manifest = json.loads((bundle / "manifest.json").read_text())
    return manifest, json.loads((bundle / "verdict.json").read_text())


@pytest.mark.parametrize("engine", [[], ["--engine", "runbook"]], ids=["plain papermill", "our engine"])
def test_the_evidence_of_an_unfinished_papermill_run_says_so(
    home: dict[str, str], tmp_path: Path, engine: list[str]
) -> None:
    source = tmp_path / "home" / "notebooks" / "Small.ipynb"
    ran = command(["papermill", *engine, str(source), str(tmp_path / "out.ipynb")], home)
    assert ran.code == 1
    ended = command(["runbook", "seal", str(tmp_path / "out.ipynb"), "--output", str(tmp_path / "e")], home)
    assert ended.code == 0, ended.err
    assert "the run did not finish" in ended.err
    manifest, verdict = manifest_and_verdict(tmp_path / "e")
    assert manifest["failure"].startswith("cell-2: ")
    assert verdict["status"] == "UNKNOWN"
    assert verdict["unfinished"] == manifest["failure"]


def test_a_batch_and_a_replay_of_an_unfinished_run_have_failed(home: dict[str, str], tmp_path: Path) -> None:
    evidence = tmp_path / "e"
    batch = command(["runbook", "batch", "Small", "--json", "--output", str(evidence)], home)
    assert batch.code == 4, batch.err
    [outcome] = json.loads(batch.out)
    assert (outcome["status"], "UsageError" in outcome["failure"]) == ("FAILED", True)
    replayed = command(["runbook", "replay", outcome["bundle"], "--output", str(tmp_path / "r")], home)
    assert replayed.code == 4, replayed.err
    assert "UsageError" in replayed.err


@pytest.mark.parametrize(
    ("change", "failure"),
    [
        ({"execution_count": None, "outputs": []}, "cell-3: this step did not run"),
        ({"metadata": {"papermill": {"status": "failed", "exception": True}}}, "cell-3: it failed without"),
        ({"metadata": {"papermill": {"status": "running"}}}, "cell-3: it failed without"),
        ({"metadata": {"papermill": {"status": "pending"}}}, ""),  # a person ran it afterwards
        (
            {"outputs": [{"output_type": "error", "ename": "E", "evalue": "x", "traceback": []}]},
            "cell-3: E: x",
        ),
        ({"source": " \n", "execution_count": None, "outputs": []}, ""),
        ({"cell_type": "raw", "execution_count": None}, ""),
    ],
)
def test_what_counts_is_what_a_cell_shows_of_its_execution(
    tmp_path: Path, change: dict[str, Any], failure: str
) -> None:
    environment = small.home(tmp_path / "home")
    small.write(tmp_path / "home", "Small", "1", AFTER)
    executed = tmp_path / "executed.ipynb"
    source = tmp_path / "home" / "notebooks" / "Small.ipynb"
    assert command(["papermill", str(source), str(executed)], environment).code == 0
    notebook = json.loads(executed.read_text())
    notebook["cells"][-1].update(change)
    executed.write_text(json.dumps(notebook))
    argv = ["runbook", "seal", str(executed), "--output", str(tmp_path / "e")]
    ended = command(argv, environment)
    assert ended.code == 0, ended.err
    manifest, verdict = manifest_and_verdict(tmp_path / "e")
    assert manifest["failure"].startswith(failure)
    assert bool(manifest["failure"]) is bool(failure)
    assert verdict["status"] == "UNKNOWN" if failure else "unfinished" not in verdict
