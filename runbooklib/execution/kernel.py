"""The kernel of a run: started by a supervisor, with deadlines that a thread of the runner enforces.

`count` reads how many processes the operating system killed in a memory cgroup because it was full.
"""

import os
import re
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Any, Self

import zmq.asyncio
from jupyter_client.manager import AsyncKernelManager

from runbooklib.execution.limits import Deadlines

_SUPERVISOR = Path(__file__).with_name("supervisor.py")

# From the interrupt to the kill: a step ends at most two seconds after its deadline.
GRACE_SECONDS = 1.0
_CLEANUP_TIMEOUT_SECONDS = 6.0
_MAX_WAITING = 16  # messages


class KeptKernelManager(AsyncKernelManager):
    """Starts kernels behind the supervisor."""

    def format_kernel_cmd(self, extra_arguments: list[str] | None = None) -> list[str]:
        """The command of the supervisor that starts the kernel. `-I`: the environment cannot replace it."""
        argv = super().format_kernel_cmd(extra_arguments)
        # Python kernels use our own kernel program, which opens no TCP port.
        argv = ["runbooklib.execution.kernel_main" if word == "ipykernel_launcher" else word for word in argv]
        return [sys.executable, "-I", "-S", str(_SUPERVISOR), *argv]

    def client(self, **kwargs: Any) -> Any:
        """A client that buffers few messages. The others wait in the memory of the kernel."""
        context = zmq.asyncio.Context()  # a separate context: the manager closes its own before the client
        context.rcvhwm = _MAX_WAITING
        return super().client(context=context, **kwargs)


class Watch:
    """The deadlines of a run and of its steps, on the monotonic clock, in a thread of its own.

    A step that exceeds its deadline is interrupted; if it still runs after the grace period, the kernel and
    all its descendants are killed. A run that exceeds its deadline ends the same way; `stop` kills at once.
    `cause` is the reason; `is_over` is true when no further step may begin.
    """

    def __init__(self, deadlines: Deadlines) -> None:
        self.cause = ""
        self.is_over = False
        self._step_seconds, self._run_seconds = deadlines.step_seconds, deadlines.run_seconds
        self._run_ends_at = monotonic() + self._run_seconds
        self._step_ends_at: float | None = None
        self._process: subprocess.Popen[bytes] | None = None
        # The supervisor reads `line`. Only this process holds the other end, which closes when it dies.
        self.line, self._end_of_line = os.pipe()
        self._oom_kills = count()
        self._changed = threading.Condition()
        self._is_closed = False
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        self._thread.join()
        self._hang_up()
        os.close(self.line)

    def keep(self, process: subprocess.Popen[bytes]) -> None:
        """Set the process of the kernel."""
        self._process = process

    def begin(self) -> None:
        """Start the deadline of a step."""
        with self._changed:
            self.cause = self.cause if self.is_over else ""
            self._step_ends_at = monotonic() + self._step_seconds
            self._changed.notify()

    def end(self) -> None:
        """Clear the deadline of the step."""
        with self._changed:
            self._step_ends_at = None
            self._changed.notify()

    def stop(self, cause: str) -> None:
        """End the run now. Takes no lock: it is called by signal handlers."""
        self.cause, self.is_over = self.cause or cause, True
        self._hang_up()

    def _hang_up(self) -> None:
        """Close the pipe, so that the supervisor kills the kernel and its descendants."""
        end, self._end_of_line = self._end_of_line, -1
        if end >= 0:
            os.close(end)

    def wait_for_end(self) -> None:
        """Wait until the kernel ends, for at most the grace period."""
        if self._process is not None:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(GRACE_SECONDS)

    def let_go(self) -> None:
        """Kill the kernel and its descendants, and wait until they are gone."""
        self._hang_up()
        if self._process is not None:
            try:
                self._process.wait(_CLEANUP_TIMEOUT_SECONDS)
            except subprocess.TimeoutExpired:
                with suppress(ProcessLookupError):
                    os.killpg(self._process.pid, signal.SIGKILL)

    def cause_of_death(self) -> str:
        """The reason why the kernel ended."""
        if self.cause:
            return self.cause
        with suppress(subprocess.TimeoutExpired, AttributeError):
            self._process.wait(_CLEANUP_TIMEOUT_SECONDS)  # type: ignore[union-attr] # None raises AttributeError, which is suppressed
        code = self._process.returncode if self._process else None
        if code is None:
            return "the kernel does not answer"
        if code >= 0:
            return f"the kernel ended by itself, with exit code {code}"
        cause = f"the kernel was killed by signal {-code} ({_name(-code)})"
        kills = count()
        if -code == signal.SIGKILL and kills is not None and kills > (self._oom_kills or 0):
            return f"{cause}: out of memory (OOM), its memory cgroup counted it"
        return cause

    def _watch(self) -> None:
        with self._changed:
            while not self._is_closed:
                ends_at = min(self._run_ends_at, self._step_ends_at or self._run_ends_at)
                if monotonic() < ends_at:
                    self._changed.wait(ends_at - monotonic())
                elif self._process is not None and self._process.poll() is None:
                    self._end_late(is_run=monotonic() >= self._run_ends_at)
                else:
                    self.is_over |= monotonic() >= self._run_ends_at
                    self._changed.wait(GRACE_SECONDS)

    def _end_late(self, *, is_run: bool) -> None:
        """Interrupt the kernel, wait, then kill it. The lock is held, except during the wait."""
        what, seconds = ("run", self._run_seconds) if is_run else ("step", self._step_seconds)
        self.cause = self.cause or f"the {what} did not end within {seconds:g} s"
        self.is_over |= is_run
        step = self._step_ends_at
        with suppress(OSError):
            os.killpg(self._process.pid, signal.SIGINT)  # type: ignore[union-attr] # called only while a process runs
        self._changed.wait_for(lambda: self._is_closed or self._step_ends_at != step, GRACE_SECONDS)
        if self._step_ends_at == step and not self._is_closed:
            self.let_go()


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unnamed"


def ipc_in(folder: Path) -> dict[str, Any]:
    """Kernel settings for Unix sockets in this folder: every user of this machine can use a TCP port."""
    return {"transport": "ipc", "connection_file": str(folder / "kernel.json")}


_ROOT = Path("/sys/fs/cgroup")
_COUNT = re.compile(r"^oom_kill (\d+)$", re.MULTILINE)


def count(pid: int | None = None) -> int | None:
    """The number of OOM kills in the memory cgroup of the process; None if the system does not count them."""
    try:
        lines = Path(f"/proc/{pid or 'self'}/cgroup").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        _, controllers, path = line.split(":", 2)
        inside = path.lstrip("/")
        # cgroup v1 names the controller in the path; cgroup v2 has a single tree.
        for file in (
            [_ROOT / "memory" / inside / "memory.oom_control"] if controllers == "memory" else []
        ) + ([_ROOT / inside / "memory.events"] if not controllers else []):
            with suppress(OSError):
                if match := _COUNT.search(file.read_text()):
                    return int(match[1])
    return None
