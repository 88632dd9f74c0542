"""`make test`: run all tests in two phases, and print the ten longest of both: `python -m tests`.

First (with --check) `make check`; then all tests that can run side by side; then, one after another, those
marked `alone`, which measure what other tests would take from them. A phase runs although the one before has
failed. An interrupt ends them all.
Exit 0 where all tests passed, 1 where a phase failed, 2 or more where it was interrupted or could not run.
"""

import argparse
import compileall
import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from contextlib import suppress
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).parents[1]
_LONGEST = 10
_PASSED, _FAILED, _NO_TEST = 0, 1, 5
_PR_SET_PDEATHSIG = 1


def _end_with_parent() -> None:
    """When the parent dies, also by SIGKILL, this process gets SIGTERM (on Linux)."""
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def _run(argv: list[str]) -> tuple[int, bool]:
    """Run one phase: its exit code (128 + N where signal N ended it), and whether a signal came meanwhile.

    The phase has a process group of its own, so that Ctrl-C reaches it once, from here.
    """
    signals: list[int] = []
    groups: list[int] = []

    def forward(number: int, _: FrameType | None) -> None:
        signals.append(number)
        for group in groups:
            with suppress(ProcessLookupError):
                os.killpg(group, number)

    # Set before the phase starts, so that it does not inherit that a signal is ignored (by `nohup` or `&`).
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, forward)
    with subprocess.Popen(argv, cwd=ROOT, process_group=0, preexec_fn=_end_with_parent) as phase:
        groups.append(phase.pid)
        for early in signals:  # it came while the phase started
            os.killpg(phase.pid, early)
        code = phase.wait()
    return 128 - code if code < 0 else code, bool(signals)


def _durations(report: Path) -> list[tuple[float, str]]:
    """Seconds and name of each test of a phase, its setup and teardown included."""
    if not report.exists():
        return []
    cases = ET.parse(report).iter("testcase")  # noqa: S314 - pytest has just written it
    return [  # an interrupt leaves a case without a name
        (float(case.get("time", 0)), f"{case.get('classname')}::{case.get('name')}")
        for case in cases
        if case.get("name")
    ]


def main() -> int:
    """Run both phases and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests", description=__doc__)
    parser.add_argument("--workers", default="3", help="how many tests at once in the first phase")
    parser.add_argument("tests", nargs="*", help="files, folders or tests (default: all)")
    parser.add_argument("--check", action="store_true", help="run `make check` first")
    parser.add_argument("--end-with-parent", action="store_true", help="end when the parent process dies")
    given = parser.parse_args()
    if given.end_with_parent:
        _end_with_parent()
    codes: dict[str, int] = {}
    longest: list[tuple[float, str]] = []
    if given.check:
        codes["check"], is_over = _run(["make", "--no-print-directory", "check"])
        if is_over:
            return 128 + signal.SIGINT
    # Many tests start processes, and with PYTHONDONTWRITEBYTECODE each of them would compile the library.
    for folder in ("runbooklib", "tests", "lab"):
        compileall.compile_dir(ROOT / folder, quiet=1)
    phases = {
        "side by side": ["-n", given.workers, "--no-loadscope-reorder", "-m", "not alone"],
        "alone": ["-m", "alone"],
    }
    with tempfile.TemporaryDirectory() as folder:
        for name, options in phases.items():
            report = Path(folder) / f"{len(codes)}.xml"
            argv = [sys.executable, "-m", "pytest", *options, f"--junit-xml={report}", *given.tests]
            code, is_over = _run(argv)
            # Of the tests that were named, none may belong to this phase.
            codes[name] = _PASSED if code == _NO_TEST and given.tests else code
            longest += _durations(report)
            if is_over or codes[name] not in (_PASSED, _FAILED):
                break
    _print(codes, longest)
    return max(codes.values())


def _print(codes: dict[str, int], longest: list[tuple[float, str]]) -> None:
    print(f"\nThe {_LONGEST} longest tests of both phases:")
    for seconds, test in sorted(longest, reverse=True)[:_LONGEST]:
        print(f"{seconds:8.1f} s  {test}")
    for name, code in codes.items():
        print(f"{name}: {'passed' if code == _PASSED else f'FAILED ({code})'}")


if __name__ == "__main__":
    sys.exit(main())
