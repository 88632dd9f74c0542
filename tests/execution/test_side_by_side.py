"""A run owns its folder until its bundle is published, also beside other runs, recoveries and kills."""

import json
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runbooklib import files
from runbooklib.config import variables
from runbooklib.evidence import ledger, manifest
from runbooklib.evidence.bundle import Bundle
from runbooklib.evidence.bundle import spool as bundle_spool
from runbooklib.execution import interrupted_runs
from runbooklib.files import Workplace
from tests.support import killing, small
from tests.support.rig import write_plain
from tests.support.running import BIN, ROOT, command

RUNS = 8
POLL_SECONDS = 0.02


@pytest.fixture(autouse=True)
def spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A spool of the test's own; where all is well, nothing goes there."""
    monkeypatch.setenv(variables.SPOOL, str(tmp_path.with_name(tmp_path.name + "-spool")))
    return bundle_spool()


@contextmanager
def recovering(output: Path) -> Iterator[list[Path]]:
    """Recover the folder every 20 ms; all that was sealed by that."""
    sealed: list[Path] = []
    failures: list[Exception] = []
    is_over = threading.Event()

    def loop() -> None:
        while not is_over.wait(POLL_SECONDS):
            try:
                sealed.extend(interrupted_runs.recover(output))
            except Exception as error:  # noqa: BLE001 - a thread's exception fails the test below
                failures.append(error)

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield sealed
    finally:
        is_over.set()
        thread.join()
    assert failures == []


def test_runs_beside_a_recovering_loop_are_all_whole(tmp_path: Path) -> None:
    environment = {**os.environ, **small.home(tmp_path / "home")}
    write_plain(tmp_path / "home", "Small", "print('a step')")
    output = tmp_path / "out"
    output.mkdir()
    argv = [str(BIN / "runbook"), "run", "Small", "--output", str(output)]
    with recovering(output) as sealed:
        processes = [
            subprocess.Popen(
                argv, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
            )
            for _ in range(RUNS)
        ]
        said = [process.communicate(timeout=240)[1].decode() for process in processes]
    assert sealed == []
    assert not any("sealed what a killed run" in text for text in said), said
    bundles = manifest.bundles(output)
    assert len(bundles) == RUNS
    assert all("is_recovered" not in json.loads((path / manifest.FILE).read_bytes()) for path in bundles)
    assert sorted(line.bundle for line in ledger.read(output)[0]) == [path.name for path in bundles]
    assert manifest.verify_folder(output) == []
    verified = command(["runbook", "verify", str(output)])
    assert (verified.code, verified.err) == (0, "")


@pytest.mark.parametrize("kind", ["whole", "cut short", "record"])
def test_sealing_beside_a_recovering_loop_is_done_once(kind: str, tmp_path: Path) -> None:
    with recovering(tmp_path) as sealed:
        for _ in range(20):
            killing.KINDS[kind](tmp_path)
    assert sealed == []
    assert len(manifest.bundles(tmp_path)) == len(ledger.read(tmp_path)[0]) == 20
    assert manifest.verify_folder(tmp_path) == []


# Steps of more than 1 only keep it short: the kinds share most of their file operations with "whole".
@pytest.mark.parametrize(("kind", "step"), [("whole", 1), ("cut short", 3), ("spooled", 4), ("record", 2)])
def test_a_kill_at_any_file_operation_leaves_one_whole_bundle(kind: str, step: int, tmp_path: Path) -> None:
    argv = ["python", "-m", "tests.support.killing", str(tmp_path), kind, str(step)]
    ended = command(argv, {"RUNBOOK_HOME": str(tmp_path), "OPENBLAS_NUM_THREADS": "1"})
    assert ended.code == 0, ended.err
    moments = [json.loads(line) for line in ended.out.splitlines()]
    assert len(moments) > 12
    assert any(moment["is_recovery_cut"] for moment in moments)
    for moment in moments:
        assert (moment["wrong"], moment["hidden"]) == ([], []), moment
        if kind == "spooled":  # twice, where it was killed between the two places; never not at all
            assert bool(moment["bundles"]) == moment["was_there"], moment
        else:
            assert len(moment["bundles"]) == moment["was_there"], moment


def test_a_folder_that_is_published_or_owned_is_not_claimed(tmp_path: Path) -> None:
    bundle = Bundle(tmp_path, "Small", "backend", killing.AT)
    (hidden,) = [path.name for path in tmp_path.iterdir()]
    assert files.is_workplace(hidden)
    assert Workplace.claimed(tmp_path, hidden) is None
    bundle.abandon()
    assert Workplace.claimed(tmp_path, hidden) is None
    (tmp_path / hidden).mkdir()
    claimed = Workplace.claimed(tmp_path, hidden)
    assert claimed is not None
    assert Workplace.claimed(tmp_path, hidden) is None
    claimed.close()
