"""A program that seals evidence, again and again, and is killed at one file operation after another.

`python -m tests.support.killing FOLDER KIND STEP` kills it at each STEP-th file operation, and prints one
JSON object for each. It forks: a process
of its own for each kill would spend two seconds on imports.
"""

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from runbooklib.config import variables
from runbooklib.evidence import bundle as bundle_module
from runbooklib.evidence import journal, ledger, manifest
from runbooklib.evidence.bundle import Bundle
from runbooklib.evidence.document import Record
from runbooklib.execution import interrupted_runs, runner
from runbooklib.execution.recorder import RunRecorder
from runbooklib.redact.redactor import Redactor

AT = datetime(2026, 1, 15, 3, 12, tzinfo=UTC)
NOTEBOOK: dict[str, Any] = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": []}
_EVENTS = {"open", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.truncate", "fcntl.flock"}
MAX_MOMENTS = 300


def run(output: Path, failure: str = "") -> None:
    """What a run does with files, without its kernel."""
    bundle = Bundle(output, "Small", "backend", AT)
    recorder = RunRecorder(bundle, Redactor([]), {"kind": "run"})
    recorder.begins(NOTEBOOK)
    runner.seal(bundle, recorder, {"kind": "run"}, failure)


def run_to_spool(output: Path) -> None:
    """A run that cannot be entered in the ledger of its folder, and so is finished in the spool."""
    (output / ledger.FILE).mkdir()
    run(output)


def certificate(output: Path) -> None:
    """Evidence of what was no run, which has no journal."""
    record = Record()
    record.say("# A record")
    record.seal(output, "action-restart", "backend", AT, {"kind": "seal"})


KINDS: dict[str, Callable[[Path], None]] = {
    "whole": run,
    "cut short": lambda output: run(output, "ended by SIGTERM"),
    "spooled": run_to_spool,
    "record": certificate,
}


def forked(work: Callable[[], object], kill_at: int = 0) -> int:
    """Start the work in a process that kills itself before its `kill_at`-th file operation; 0: never."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        if kill_at:
            _kill_at(kill_at)
        work()
        code = 0
    finally:
        os._exit(code)


def _kill_at(moment: int) -> None:
    count = 0

    def watch(event: str, _: object) -> None:
        nonlocal count
        if event in _EVENTS:
            count += 1
            if count == moment:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)


def is_killed(pid: int) -> bool:
    """Whether the process was killed. Raises ValueError where it failed by itself."""
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code not in (0, -signal.SIGKILL):
        raise ValueError(f"a process ended with {code}")
    return code != 0


def recover_all(output: Path) -> None:
    """Seal what is left, in the folder and in the spool."""
    for folder in (output, bundle_module.spool()):
        list(interrupted_runs.recover(folder))


def moments(folder: Path, seal: Callable[[Path], None], step: int) -> Iterator[dict[str, Any]]:
    """Kill the sealing process at each `step`-th moment, then the recovery; then recover twice at once."""
    for moment in range(1, MAX_MOMENTS, step):
        output = folder / f"out-{moment}"
        output.mkdir()
        os.environ[variables.SPOOL] = str(folder / f"spool-{moment}")
        is_cut = is_killed(forked(partial(seal, output), moment))
        was_there = has_evidence(output) or has_evidence(bundle_module.spool())
        with suppress(OSError):
            (output / ledger.FILE).rmdir()
        is_recovery_cut = is_killed(forked(partial(recover_all, output), moment))
        for pid in [forked(partial(recover_all, output)) for _ in range(2)]:
            is_killed(pid)
        yield {
            "moment": moment,
            "is_recovery_cut": is_recovery_cut,
            "was_there": was_there,
            **after(output, bundle_module.spool()),
        }
        if not is_cut:
            return
    raise ValueError(f"more than {MAX_MOMENTS} file operations")


def has_evidence(output: Path) -> bool:
    """Whether the folder holds a bundle, or what a bundle can be made from."""
    if not output.is_dir():
        return False
    places = [path for path in output.iterdir() if path.is_dir() and path.name != ledger.FILE]
    return any(not path.name.startswith(".") or _can_be_sealed(path) for path in places)


def _can_be_sealed(hidden: Path) -> bool:
    """Whether it holds the beginning of a journal, or all files of a bundle."""
    path = hidden / journal.FILE
    return bool(manifest.whole(hidden) or (path.exists() and journal.read(path)[0]))


def after(*outputs: Path) -> dict[str, Any]:
    """What stands at the end: bundles, what is wrong with them, and hidden folders that hold evidence."""
    there = [output for output in outputs if output.is_dir()]
    ledgers = [output for output in there if (output / ledger.FILE).exists()]
    hidden = [path for output in there for path in output.glob(".*") if path.is_dir()]
    return {
        "bundles": [path.name for output in there for path in manifest.bundles(output)],
        "wrong": [line for output in ledgers for line in manifest.verify_folder(output)],
        "hidden": [path.name for path in hidden if _can_be_sealed(path)],
    }


if __name__ == "__main__":
    for line in moments(Path(sys.argv[1]), KINDS[sys.argv[2]], int(sys.argv[3])):
        print(json.dumps(line), flush=True)
