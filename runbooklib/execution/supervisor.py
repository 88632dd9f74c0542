"""Stands between the runner and the kernel, and lets nothing outlive either: `supervisor.py ARGV…`.

Run as a program of its own, with nothing but the standard library. Its standard input is a pipe that only
the runner holds: when that closes, because the runner says so or because it died, whatever the kernel has
started is killed, also what left its process group (on Linux: the supervisor adopts the orphans). When the
kernel ends, the supervisor clears up and then ends the same way, by the same signal or code.

Whether this process was started by a headless run: then it may propose, and approve nothing.
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
_LOOK_SECONDS = 0.05
_CLEARING_SECONDS = 5.0
_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def _prctl(option: int, value: int) -> None:
    """Linux only; elsewhere the process group is what there is."""
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _start(argv: list[str]) -> int:
    """The kernel, which dies with the supervisor."""
    supervisor = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        for number in _IGNORED:
            signal.signal(number, signal.SIG_DFL)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        # By this ipykernel sees that its parent is gone.
        os.execvpe(argv[0], argv, {**os.environ, "JPY_PARENT_PID": str(supervisor)})  # noqa: S606 - no shell is wanted
    except OSError as error:
        print(f"{argv[0]}: {error.strerror}", file=sys.stderr)
    finally:
        os._exit(127)


def _is_hung_up(wait_seconds: float) -> bool:
    """Whether the runner closed the pipe, or died."""
    ready, _, _ = select.select([0], [], [], wait_seconds)
    return bool(ready) and not os.read(0, 1024)


def _reap(kernel: int, status: int | None) -> int | None:
    """Take leave of every child that has ended; the kernel's wait status as soon as it has one."""
    with suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG)) != (0, 0):
            status = ended[1] if ended[0] == kernel else status
    return status


def _descendants() -> list[int]:
    """All processes below this one."""
    parents: dict[int, int] = {}
    for name in os.listdir("/proc"):  # noqa: PTH208 - the supervisor starts in milliseconds: no pathlib
        if name.isdigit():
            with suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:  # noqa: PTH123 - pathlib costs start-up
                parents[int(name)] = int(file.read().rpartition(b")")[2].split()[1])
    found: list[int] = []
    above = {os.getpid()}
    while above:
        above = {pid for pid, parent in parents.items() if parent in above}
        found += above
    return found


def _clear(kernel: int, status: int | None) -> int | None:
    """Kill everything below: first stopped, so that nothing forks away from under the hand."""
    ends_at = time.monotonic() + _CLEARING_SECONDS
    while (left := _descendants()) and time.monotonic() < ends_at:
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in left:
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, number)
        status = _reap(kernel, status)
        time.sleep(0.005)
    return status


def main(argv: list[str]) -> None:
    """Keep the kernel until it ends or the runner hangs up."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    for number in _IGNORED:  # an interrupt is for the kernel, which is in the same process group
        signal.signal(number, signal.SIG_IGN)
    kernel, status = _start(argv), None
    while status is None and not _is_hung_up(_LOOK_SECONDS):
        status = _reap(kernel, status)
    status = _clear(kernel, status) if os.path.isdir("/proc/self") else status  # noqa: PTH112 - the same
    if status is not None and os.WIFSIGNALED(status):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the core would be the supervisor's
        fatal = os.WTERMSIG(status)
        if fatal != signal.SIGKILL:
            signal.signal(fatal, signal.SIG_DFL)
        os.kill(os.getpid(), fatal)
    os._exit(os.WEXITSTATUS(status) if status is not None else 1)


if __name__ == "__main__":
    main(sys.argv[1:])
_SUPERVISOR = str(Path(__file__).with_name("supervisor.py"))


def is_inside_headless_run() -> bool:
    """Whether a supervisor of a kernel is among the processes that this one descends from.

    A process that a cell starts stays below the supervisor, also if it detaches itself: the supervisor adopts
    it. Without /proc this is not known, and the answer is False.
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
