"""Several runbooks at once: one that dies, one that fails, one that is fine, and what is refused."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from runbooklib.evidence.manifest import verify_bundle
from runbooklib.execution import batch
from runbooklib.execution.batch import Planned, RunOutcome
from runbooklib.render.batch_index import Row, index_page
from tests.support import small
from tests.support.running import BIN, ROOT, Ended, command, has_ended

HOSTILE = '<script>alert(1)</script><img src="http://127.0.0.1:9/x">'


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("home") / "home"
    environment = small.home(folder)
    small.write(folder, "Dies", small.CHECK, small.KILL)
    small.write(folder, "Fails", small.CHECK, small.FAIL, more_parameters="limit: float = 0.5\n")
    return environment


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("evidence")


@pytest.fixture(scope="module")
def ended(home: dict[str, str], output: Path, tmp_path_factory: pytest.TempPathFactory) -> Ended:
    (output / "index.html").write_text("of yesterday")
    left = str(tmp_path_factory.mktemp("t"))  # for what a killed process cannot clean up
    argv = ["runbook", "batch", "--all", "--jobs", "2", "--lookback", "30m", "-p", "limit=0.1"]
    return command([*argv, "--output", str(output), "--json"], {**home, "TMPDIR": left})


@pytest.fixture(scope="module")
def told(ended: Ended) -> dict[str, dict[str, Any]]:
    return {one["alert"]: one for one in json.loads(ended.out)}


def bundles(output: Path) -> list[Path]:
    return sorted(path for path in output.iterdir() if path.is_dir() and not path.name.startswith("."))


def test_a_run_that_is_killed_takes_no_other_with_it(ended: Ended, told: dict[str, dict[str, Any]]) -> None:
    assert ended.code == 4, ended.err
    assert list(told) == ["Dies", "Fails", "Small"]
    assert told["Dies"]["status"] == "FAILED"
    assert told["Dies"]["failure"] == "killed by SIGKILL; what it left is sealed as interrupted"
    assert told["Dies"]["bundle"] is None
    assert told["Small"]["status"] == "UNKNOWN"
    assert told["Small"]["failure"] == ""


def test_a_notebook_that_breaks_is_failed_and_keeps_its_evidence(
    told: dict[str, dict[str, Any]], output: Path
) -> None:
    assert told["Fails"]["status"] == "FAILED"
    assert "ValueError: a <b>bug</b>" in told["Fails"]["failure"]
    names = [Path(told[alert]["bundle"]).name for alert in ("Fails", "Small")]
    sealed = next(path.name for path in bundles(output) if "-Dies-" in path.name)
    assert sorted(path.name for path in bundles(output)) == sorted([*names, sealed])
    assert "the runner died" in json.loads((output / sealed / "verdict.json").read_bytes())["headline"]


def test_parameters_reach_the_runs(told: dict[str, dict[str, Any]]) -> None:
    manifests = {
        alert: json.loads((Path(told[alert]["bundle"]) / "manifest.json").read_bytes())
        for alert in ("Fails", "Small")
    }
    assert manifests["Fails"]["parameters"] == {"lookback": "30m", "limit": 0.1}
    assert manifests["Small"]["parameters"] == {"lookback": "30m"}


def test_the_index_links_to_what_is_there_and_to_nothing_else(ended: Ended, output: Path) -> None:
    assert ended.code == 4
    page = (output / "index.html").read_text()
    links = re.findall(r'(?:href|src)="([^"]*)"', page)
    assert sorted(links) == [f"./{path.name}/notebook.html" for path in bundles(output)]
    assert all((output / link).is_file() for link in links)
    assert "default-src &#x27;none&#x27;" in page or "default-src 'none'" in page
    assert "a &lt;b&gt;bug&lt;/b&gt;" in page
    assert str(output) not in page
    assert [path.name for path in output.glob(".index*")] == []


def test_verify_takes_the_folder_as_whole_with_its_index_and_what_a_killed_run_left(
    ended: Ended, output: Path
) -> None:
    assert ended.code == 4
    verified = command(["runbook", "verify", str(output)])
    assert (verified.code, verified.err) == (0, "")


def test_the_table_has_a_line_a_run_earlier_bundles_stay_linked_and_new_ones_are_uploaded(
    ended: Ended, home: dict[str, str], output: Path, tmp_path: Path
) -> None:
    assert ended.code == 4
    before = bundles(output)
    argv = ["runbook", "batch", "Small", "--services", "backend,backend", "--output", tmp_path.as_uri()]
    again = command(argv, {**home, "RUNBOOK_EVIDENCE": str(output)})
    assert again.code == 2, again.err
    line = next(line for line in again.out.splitlines() if "Small" in line)
    (new,) = [path for path in bundles(output) if path not in before]
    assert line.split()[:4] == ["Small", "backend", "?", "UNKNOWN"]
    assert line.rstrip().endswith(new.name)
    assert "? UNKNOWN  Small backend" in again.err
    assert again.err.splitlines()[-1] == f"Uploaded: {tmp_path.as_uri()}/{new.name}"
    assert [path.name for path in tmp_path.iterdir()] == [new.name]
    assert verify_bundle(tmp_path / new.name) == []
    page = (output / "index.html").read_text()
    assert "Earlier in this folder: 3" in page
    assert all(f'href="./{path.name}/notebook.html"' in page for path in (*before, new))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "name the alerts, or --all, and not both"),
        (["--all", "Small"], "name the alerts, or --all, and not both"),
        (["Small", "Smal"], "did you mean 'Small'?"),
        (["Small", "--services", "backend,backened"], "did you mean 'backend'?"),
        (["Small", "--services", "backend,"], "has an empty name"),
        (["Small", "--services", "backend", "-p", "service=backend"], "contradict each other"),
        (["Small", "-p", "lookbak=1h"], "did you mean 'lookback'?"),
        (["Small", "Fails", "-p", "limit=high"], "must be float, but is 'high'"),
        (["Small", "--at", "yesterday"], "is not a time"),
        (["Small", "-e", "dwon"], "did you mean 'down'?"),
        (["Small", "--jobs", "0"], "see runbook batch --help"),
        (["Small", "--output", "/dev/null/evidence"], "choose another folder with --output"),
        (["Small", "--output", "nowhere://bucket"], "nowhere:// is an unknown storage protocol"),
    ],
)
def test_bad_input_is_refused_for_all_before_any_run(
    words: list[str], said: str, home: dict[str, str], tmp_path: Path
) -> None:
    output = [] if "--output" in words else ["--output", str(tmp_path)]
    refused = command(["runbook", "batch", *words, *output], home)
    assert refused.code == 3, refused.err
    assert said in refused.err
    assert len(refused.err.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def outcome(status: str = "OK", failure: str = "", **more: Any) -> RunOutcome:
    verdict = {"status": status, "headline": "All is well.", **more}
    return RunOutcome(Planned("Small", "backend", "down", {}), 1.0, failure, verdict)


def test_a_run_that_failed_is_never_ok_whatever_it_had_said() -> None:
    failed = outcome("OK", "the kernel died")
    assert failed.status == failed.row.status == failed.as_dict()["status"] == "FAILED"
    assert failed.row.headline == "the kernel died"
    assert RunOutcome(Planned("Small", "backend", "down", {}), 1.0).status == "FAILED"


def test_a_run_that_cannot_start_is_failed_and_the_next_one_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("sys.executable", str(tmp_path / "no-python"))
    seen: list[str] = []
    planned = [Planned(name, "backend", "down", {}) for name in ("One", "Two")]
    outcomes = batch.run_all(
        planned,
        tmp_path / "out",
        jobs=1,
        options=[],
        on_change=lambda _, ended: seen.append(ended.planned.alert if ended else "began"),
    )
    assert [one.failure for one in outcomes] == ["could not start: No such file or directory"] * 2
    assert seen == ["began", "One", "began", "Two"]


def test_hostile_text_stays_text_in_the_index() -> None:
    rows = [Row(HOSTILE, HOSTILE, "FAILED", HOSTILE, 1.0, '"><script>')]
    page = index_page(rows, ['"><script>x'], HOSTILE, datetime(2026, 1, 15, tzinfo=UTC))
    assert "<script" not in page
    assert "<img" not in page


def test_the_worst_comes_first_in_the_index() -> None:
    order = ["FAILED", "CRITICAL", "WARNING", "UNKNOWN", "OK"]
    rows = [Row(f"Of{status}", "x", status, "", 1.0, "") for status in sorted(order)]
    page = index_page(rows, [], "lab", datetime(2026, 1, 15, tzinfo=UTC))
    assert re.findall(r">Of(\w+)<", page) == order


@pytest.fixture
def interrupted(home: dict[str, str], tmp_path: Path) -> Iterator[tuple[int, list[int]]]:
    """A batch that got SIGTERM while a run was under way: its exit code, and the run's processes."""
    argv = [str(BIN / "python"), "-m", "runbooklib", "batch", "Small", "--output", str(tmp_path)]
    process = subprocess.Popen(argv, cwd=ROOT, env={**os.environ, **home}, stderr=subprocess.DEVNULL)
    try:
        ends_at = time.monotonic() + 20
        while not (runs := children(process.pid)) and time.monotonic() < ends_at:
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        yield process.wait(30), runs
    finally:
        process.kill()
        process.wait()


def children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_batch_that_is_ended_ends_its_runs(interrupted: tuple[int, list[int]]) -> None:
    code, runs = interrupted
    assert code == 128 + signal.SIGTERM
    assert runs
    assert [pid for pid in runs if not has_ended(pid)] == []


def test_a_run_that_begins_as_the_batch_is_ended_ends_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[int] = []

    class EndedMeanwhile(subprocess.Popen[bytes]):
        def __init__(self, *args: Any, **more: Any) -> None:
            super().__init__(*args, **more)
            begun.append(self.pid)
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(subprocess, "Popen", EndedMeanwhile)
    former = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    interrupted = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(SystemExit):
            batch.run_all(
                [Planned("Small", "x", "x", {})],
                tmp_path,
                jobs=1,
                options=[],
                on_change=lambda _, __: pytest.fail("it went on"),
            )
        assert signal.getsignal(signal.SIGINT) is interrupted
    finally:
        signal.signal(signal.SIGTERM, former)
    [pid] = begun
    assert has_ended(pid)
