"""Supervisor process between runner and kernel: `supervisor.py ARGV…`. It leaves no process behind.

It runs as its own program and imports only the standard library. Its standard input is a pipe that only
the runner holds. When the runner closes the pipe or dies, the supervisor kills every descendant of the
kernel, also a process that left the process group (on Linux the supervisor adopts orphans). When the kernel
ends, the supervisor does the same and then exits with the signal or exit code of the kernel.

`is_inside_headless_run` tells whether a headless run started this process: then it may propose an action, but
not approve it.
"""

import ctypes
import os
import resource
import select
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_POLL_SECONDS = 0.05
_CLEANUP_TIMEOUT_SECONDS = 5.0
_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def _prctl(option: int, value: int) -> None:
    """Call prctl, which only Linux has. Other systems rely on the process group."""
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _start(argv: list[str]) -> int:
    """Start the kernel, which dies with the supervisor. Returns its process id."""
    supervisor = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        for number in _IGNORED:
            signal.signal(number, signal.SIG_DFL)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        # ipykernel exits when the process with this id is gone.
        os.execvpe(argv[0], argv, {**os.environ, "JPY_PARENT_PID": str(supervisor)})  # noqa: S606 - no shell is wanted
    except OSError as error:
        print(f"{argv[0]}: {error.strerror}", file=sys.stderr)
    finally:
        os._exit(127)


def _runner_has_exited(timeout_seconds: float) -> bool:
    """Wait at most `timeout_seconds`. Returns whether the runner closed the pipe or died."""
    ready, _, _ = select.select([0], [], [], timeout_seconds)
    return bool(ready) and not os.read(0, 1024)


def _reap(kernel: int, status: int | None) -> int | None:
    """Reap every child that has ended. Returns the wait status of the kernel, or None while it runs."""
    with suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG)) != (0, 0):
            status = ended[1] if ended[0] == kernel else status
    return status


def _descendants() -> list[int]:
    """The process ids of all descendants of this process."""
    parents: dict[int, int] = {}
    for name in os.listdir("/proc"):  # noqa: PTH208 - the supervisor starts in milliseconds: no pathlib
        if name.isdigit():
            with suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:  # noqa: PTH123 - pathlib costs start-up
                parents[int(name)] = int(file.read().rpartition(b")")[2].split()[1])
    descendants: list[int] = []
    above = {os.getpid()}
    while above:
        above = {pid for pid, parent in parents.items() if parent in above}
        descendants += above
    return descendants


def _clear(kernel: int, status: int | None) -> int | None:
    """Kill all descendants. They are stopped first, so that none can fork before it is killed."""
    ends_at = time.monotonic() + _CLEANUP_TIMEOUT_SECONDS
    while (left := _descendants()) and time.monotonic() < ends_at:
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in left:
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, number)
        status = _reap(kernel, status)
        time.sleep(0.005)
    return status


def main(argv: list[str]) -> None:
    """Supervise the kernel until it ends or the runner exits."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    for number in _IGNORED:  # only the kernel, in the same process group, must handle these
        signal.signal(number, signal.SIG_IGN)
    kernel, status = _start(argv), None
    while status is None and not _runner_has_exited(_POLL_SECONDS):
        status = _reap(kernel, status)
    status = _clear(kernel, status) if os.path.isdir("/proc/self") else status  # noqa: PTH112 - the same
    if status is not None and os.WIFSIGNALED(status):
        resource.setrlimit(
            resource.RLIMIT_CORE, (0, 0)
        )  # a core dump would show the supervisor, not the kernel
        fatal = os.WTERMSIG(status)
        if fatal != signal.SIGKILL:
            signal.signal(fatal, signal.SIG_DFL)
        os.kill(os.getpid(), fatal)
    os._exit(os.WEXITSTATUS(status) if status is not None else 1)


if __name__ == "__main__":
    main(sys.argv[1:])
_SUPERVISOR = str(Path(__file__).with_name("supervisor.py"))


def is_inside_headless_run() -> bool:
    """Whether a kernel supervisor is an ancestor of this process.

    A process that a cell starts stays below the supervisor, even when it detaches: the supervisor adopts it.
    Returns False where there is no /proc.
    """
    pid = "self"
    while pid not in ("0", "1"):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            pid = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
        except (OSError, IndexError):
            return False
        if _SUPERVISOR.encode() in words:
            return True
    return False
