"""Ends what a test run started, however the run ends: `supervisor.py ID RECORD PID`.

Each process that a test starts inherits the variable RUNBOOK_TEST_RUN, which holds the ID of the test run.
The supervisor, a process of its own session, waits until pytest (PID) has ended or closes its pipe. Then it
ends all processes that hold the ID, and what these have started. Thus a signal that ends pytest and its
workers at once, even SIGKILL, leaves no server running.

A record per test run names pytest and the supervisor, each by pid and start time. Where both were killed,
the record stays, and the next test run ends and names what is left.
"""

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

VARIABLE = "RUNBOOK_TEST_RUN"
# A Docker engine gives each container ten seconds to stop.
_STOP_SECONDS = 25.0
_KILL_SECONDS = 10.0
# What ends by itself when pytest ends does so in this time.
_GRACE_SECONDS = 2.0
_POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Process:
    """A process of this machine. Its start time (clock ticks since boot) tells it from a later one."""

    pid: int
    started: int

    def is_running(self) -> bool:
        """Whether it runs; a zombie does not."""
        fields = _stat(self.pid)
        return fields is not None and fields[0] not in "ZX" and int(fields[19]) == self.started

    def send(self, number: signal.Signals) -> None:
        """Send a signal, unless the process has ended or belongs to another user."""
        if self.is_running():
            with suppress(ProcessLookupError, PermissionError):
                os.kill(self.pid, number)

    @property
    def command(self) -> str:
        """Its command line, in one short line."""
        try:
            raw = Path(f"/proc/{self.pid}/cmdline").read_bytes()
        except OSError:
            return "?"
        words = raw.replace(b"\0", b" ").decode(errors="replace")
        return "".join(c if c.isprintable() else "?" for c in words)[:120].strip()

    def __str__(self) -> str:
        return f"pid {self.pid}: {self.command}"


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat that follow the program's name; None where no process has this pid."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None


def process(pid: int) -> Process:
    """The process that has this pid now. Raises ProcessLookupError."""
    fields = _stat(pid)
    if fields is None:
        raise ProcessLookupError(pid)
    return Process(pid, int(fields[19]))


def _holds(pid: int, run: str) -> bool:
    """Whether the process inherited the ID of this test run."""
    with suppress(OSError):
        for variable in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
            name, _, value = variable.partition(b"=")
            if name == VARIABLE.encode():
                return run.encode() in value.split(b",")
    return False


def processes_of(run: str, known: frozenset[Process] = frozenset()) -> frozenset[Process]:
    """The running processes that hold the ID, `known` ones, and all below these."""
    children: dict[int, list[int]] = {}
    members: set[int] = {known_process.pid for known_process in known if known_process.is_running()}
    for name in os.listdir("/proc"):  # noqa: PTH208 - names are enough
        if name.isdigit() and (fields := _stat(int(name))) is not None:
            children.setdefault(int(fields[1]), []).append(int(name))
            if _holds(int(name), run):
                members.add(int(name))
    waiting = list(members)
    while waiting:
        below = [pid for pid in children.get(waiting.pop(), []) if pid not in members]
        members.update(below)
        waiting += below
    running = set()
    for pid in members - {os.getpid()}:
        with suppress(ProcessLookupError):
            running.add(process(pid))
    return frozenset(member for member in running if member.is_running())


def end(run: str) -> tuple[frozenset[Process], frozenset[Process]]:
    """End all processes of the test run: those that it had left, and those that cannot be ended."""
    _wait(run, frozenset(), _GRACE_SECONDS, lambda _: None)
    first = known = processes_of(run)
    for member in first:
        member.send(signal.SIGTERM)
    known = _wait(run, known, _STOP_SECONDS, lambda _: None)
    known = _wait(run, known, _KILL_SECONDS, _kill)
    for folder in Path("/tmp").glob(f"*-{run}-*"):
        _remove(folder)
    return first, processes_of(run, known)


def _wait(
    run: str, known: frozenset[Process], seconds: float, each: Callable[[frozenset[Process]], None]
) -> frozenset[Process]:
    """Wait until all have ended; what they start meanwhile counts too."""
    ends_at = time.monotonic() + seconds
    while (left := processes_of(run, known)) and time.monotonic() < ends_at:
        known |= left
        each(left)
        time.sleep(_POLL_SECONDS)
    return known


def _kill(left: frozenset[Process]) -> None:
    """Kill all of them: stopped first, so that none starts another meanwhile."""
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for member in left:
            member.send(number)


def _remove(folder: Path) -> None:
    """Remove a folder of the test run, and what an engine that was killed left mounted below it."""
    with suppress(OSError):
        for line in reversed(Path("/proc/mounts").read_text().splitlines()):
            place = line.split()[1]
            if Path(place).is_relative_to(folder):
                subprocess.run(["umount", "-l", place], capture_output=True, check=False)
    shutil.rmtree(folder, ignore_errors=True)


def prefix(kind: str) -> str:
    """How a temporary folder's name begins, so that it is removed with the test run: `rbd-ID-`."""
    return f"{kind}-{os.environ[VARIABLE].rpartition(',')[2]}-"


class Supervised:
    """A test run whose processes end with it."""

    def __init__(self, records: Path) -> None:
        """`records`: the folder that holds a record of each test run of this checkout."""
        self.run = uuid.uuid4().hex[:8]
        records.mkdir(parents=True, exist_ok=True)
        record = records / f"{self.run}.json"
        own = process(os.getpid())
        self._supervisor = subprocess.Popen(
            [sys.executable, "-S", __file__, self.run, str(record), str(own.pid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
        )
        supervisor = process(self._supervisor.pid)
        members = {"pytest": own, "supervisor": supervisor}
        record.write_text(json.dumps({name: [p.pid, p.started] for name, p in members.items()}))
        self._outer = os.environ.get(VARIABLE)
        # A test may run pytest: what the inner run starts belongs to both.
        os.environ[VARIABLE] = f"{self._outer},{self.run}" if self._outer else self.run

    def close(self) -> None:
        """The run has ended: wait until the supervisor has ended what is left."""
        if self._outer is None:
            os.environ.pop(VARIABLE, None)
        else:
            os.environ[VARIABLE] = self._outer
        self._supervisor.communicate(timeout=_STOP_SECONDS + _KILL_SECONDS + 60)


def end_earlier_runs(records: Path) -> list[str]:
    """End what killed test runs of this checkout left, and their killed supervisors: a line each."""
    lines = []
    for record in sorted(records.glob("*.json")):
        try:
            owners = [Process(*pair) for pair in json.loads(record.read_text()).values()]
        except (OSError, ValueError, TypeError, AttributeError):
            owners = []  # it was killed while it wrote the record
        if not any(owner.is_running() for owner in owners):
            lines += _ended(record.stem, "an earlier test run, which was killed,")
            record.unlink(missing_ok=True)
    return lines


def _ended(run: str, which: str) -> list[str]:
    """End what the run left: a line for each process, which names it."""
    names: Mapping[Process, str] = {member: str(member) for member in processes_of(run)}
    left, running = end(run)
    lines = [
        f"{which} left {names.get(member, member)}"
        + (f" (cannot be ended: kill {member.pid})" if member in running else " (ended now)")
        for member in sorted(left, key=lambda member: member.pid)
    ]
    others = sorted(running - left, key=lambda member: member.pid)
    return lines + [f"{which} left {member} (cannot be ended: kill {member.pid})" for member in others]


def main(run: str, record: Path, pid: int) -> None:
    """Wait for the end of pytest, and end what it left."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    with suppress(ProcessLookupError):
        pytest = os.pidfd_open(pid)
        if os.getppid() == pid:
            ready: list[int] = []
            while not ready:
                ready, _, _ = select.select([0, pytest], [], [])
    lines = _ended(run, "this test run")
    with suppress(OSError):
        print(*lines, sep="\n", end="\n" if lines else "", file=sys.stderr, flush=True)
    record.unlink(missing_ok=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
