"""Servers as plain processes: each has its own session; later commands stop it by its recorded pid.

A pid alone is not enough, because the system reuses pids: the record also contains the start time,
and a process with another start time is never signalled.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lab.errors import LabError
from lab.layout import HOST, Layout

REPOSITORY = Path(__file__).resolve().parent.parent
# A test run recognizes its processes by RUNBOOK_TEST_RUN, also after the test run itself has ended.
INHERITED = ("PATH", "HOME", "VIRTUAL_ENV", "RUNBOOK_TEST_RUN")
POLL_SECONDS = 0.05
RELEASE_SECONDS = 2.0
_children: dict[int, subprocess.Popen[bytes]] = {}  # kept to reap children that ended


@dataclass(frozen=True, slots=True)
class Server:
    """How to start a server, and how to check that it is ready."""

    name: str
    argv: tuple[str, ...]
    ready: Callable[[], bool]
    user: str | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    timeout_seconds: float = 60.0
    environment: Mapping[str, str] = field(default_factory=dict)
    port: int | None = None


def program(name: str, package: str, *more_places: str) -> str:
    """Path of a program. Raises LabError with the package that contains it."""
    places = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin", *more_places])
    path = shutil.which(name, path=places)
    if path is None:
        raise LabError(f"{name} not found: apt-get install {package}")
    return path


def start(layout: Layout, server: Server) -> bool:
    """Start a server and wait until it is ready; False if it already runs."""
    if running(layout, server.name) is not None:
        return False
    if server.port:
        must_be_free(server.port, server.name)
    log = layout.logs / f"{server.name}.log"
    with log.open("ab") as output:
        child = subprocess.Popen(
            server.argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd="/" if server.user else REPOSITORY,
            env=environment(server),
            user=server.user,
            group=server.user,
            extra_groups=[] if server.user else None,
        )
    _children[child.pid] = child
    write_record(layout, server, child.pid)
    wait_until_ready(layout, server, child, log)
    return True


def listens(port: int) -> bool:
    """True if a process accepts connections on the port."""
    try:
        socket.create_connection((HOST, port), timeout=1).close()
    except OSError:
        return False
    return True


def must_be_free(port: int, name: str) -> None:
    """Raise LabError if another process uses the port: its answers must not be read as our server's."""
    deadline = (
        time.monotonic() + RELEASE_SECONDS
    )  # a process that just ended may keep its sockets for a moment
    while listens(port):
        if time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
            continue
        raise LabError(
            f"port {port} for {name} is in use: stop the process that uses it, or choose another --base-port"
        )


def environment(server: Server) -> dict[str, str]:
    """A small environment, so that the lab behaves the same in every shell."""
    kept = {name: os.environ[name] for name in INHERITED if name in os.environ}
    return kept | {"LC_ALL": "C.UTF-8", "TZ": "UTC", "PYTHONUNBUFFERED": "1", **server.environment}


def write_record(layout: Layout, server: Server, pid: int) -> None:
    """Record the process for later commands."""
    record = {"pid": pid, "started": start_time(pid), "stop_signal": int(server.stop_signal)}
    (layout.processes / f"{server.name}.json").write_text(json.dumps(record), encoding="utf-8")


def wait_until_ready(layout: Layout, server: Server, child: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until the server is ready. Raises LabError if it ends or does not answer in time."""
    deadline = time.monotonic() + server.timeout_seconds
    while not server.ready():
        if child.poll() is not None:
            (layout.processes / f"{server.name}.json").unlink(missing_ok=True)
            raise LabError(f"{server.name} ended at once: {last_line(log)} (more in {log})")
        if time.monotonic() > deadline:
            stop(layout, server.name)
            raise LabError(f"{server.name} not ready after {server.timeout_seconds:g} s: read {log}")
        time.sleep(POLL_SECONDS)


def last_line(log: Path) -> str:
    """The last line of the log: usually the reason."""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "it wrote nothing"


def running(layout: Layout, name: str) -> int | None:
    """Pid of a server that this lab started and that still runs."""
    record = read_record(layout, name)
    if record is None:
        return None
    pid = record["pid"]
    if pid in _children:
        _children[pid].poll()
    return pid if start_time(pid) == record["started"] else None


def read_record(layout: Layout, name: str) -> dict[str, int] | None:
    """The recorded process; None if there is no record or it is damaged."""
    try:
        record: dict[str, int] = json.loads((layout.processes / f"{name}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if {"pid", "started", "stop_signal"} <= record.keys() else None


def start_time(pid: int) -> int | None:
    """When the process started, in clock ticks since boot; None if there is no such process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def stop(layout: Layout, name: str, *, patience_seconds: float = 10.0) -> bool:
    """Ask a server to end; kill its process group if it does not. False if it did not run."""
    pid = running(layout, name)
    record = read_record(layout, name)
    if pid is not None and record is not None:
        send(pid, signal.Signals(record["stop_signal"]))
        if not ended(layout, name, patience_seconds):
            send(pid, signal.SIGKILL, group=True)
            ended(layout, name, patience_seconds)
        child = _children.pop(pid, None)
        if child is not None:
            child.wait(patience_seconds)
    (layout.processes / f"{name}.json").unlink(missing_ok=True)
    return pid is not None


def send(pid: int, number: signal.Signals, *, group: bool = False) -> None:
    """Send a signal. A process that has already ended is not an error."""
    try:
        if group:
            os.killpg(pid, number)
        else:
            os.kill(pid, number)
    except ProcessLookupError:
        return


def ended(layout: Layout, name: str, patience_seconds: float) -> bool:
    """Wait until the server has ended; False if it still runs after the timeout."""
    deadline = time.monotonic() + patience_seconds
    while running(layout, name) is not None:
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def names(layout: Layout) -> list[str]:
    """Names of all recorded servers."""
    return sorted(path.stem for path in layout.processes.glob("*.json"))
