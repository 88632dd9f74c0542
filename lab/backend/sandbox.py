"""Code execution: a small pool of workers, each execution a real child process."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count

from .faults import Faults, Switches
from .metrics import SANDBOX_AVAILABLE, SANDBOX_DURATION, SANDBOX_EXECUTIONS, SANDBOX_IN_USE

WORKERS = 4
WAIT_SECONDS = 1.0
EXECUTION_SECONDS = 30.0
GREEDY_EVERY = 4  # with the memory fault, 1 of 4 executions needs too much memory: 25 % errors
# Raising its own score makes the kernel choose the child before the backend when memory runs out.
FIRST_TO_GO = "open('/proc/self/oom_score_adj', 'w').write('1000'); "
SOUND = FIRST_TO_GO + "print(sum(range(1000)))"
STUCK = FIRST_TO_GO + "import time; time.sleep(86400)"


class SandboxError(Exception):
    """An execution failed. The status says whether the client or the server caused it."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


@dataclass(slots=True)
class Sandbox:
    """The workers, and the child processes that hang."""

    faults: Faults
    busy: int = 0
    _free: threading.BoundedSemaphore = field(default_factory=lambda: threading.BoundedSemaphore(WORKERS))
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stuck: list[subprocess.Popen[str]] = field(default_factory=list)
    _turn: Iterator[int] = field(default_factory=count)

    def execute(self, language: str) -> str:
        """Run a short program in a child process, and return its output."""
        if not self._free.acquire(timeout=WAIT_SECONDS):
            SANDBOX_EXECUTIONS.labels(language=language, status="error").inc()
            raise SandboxError(f"no sandbox worker free within {WAIT_SECONDS:g} s", 503)
        self._count(+1)
        started = time.perf_counter()
        status = "error"
        try:
            output = self._run()
            status = "success"
            return output
        finally:
            self._count(-1)
            self._free.release()
            SANDBOX_EXECUTIONS.labels(language=language, status=status).inc()
            SANDBOX_DURATION.labels(language=language).observe(time.perf_counter() - started)

    def _run(self) -> str:
        stuck = self.faults.switches.sandbox_stuck
        child = subprocess.Popen(
            [sys.executable, "-S", "-E", "-c", self._program()],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        if stuck:
            self._stuck.append(child)
        try:
            output, _ = child.communicate(timeout=None if stuck else EXECUTION_SECONDS)
        except subprocess.TimeoutExpired as error:
            child.kill()
            child.communicate()
            raise SandboxError(f"execution took more than {EXECUTION_SECONDS:g} s", 504) from error
        if child.returncode:
            raise SandboxError(f"sandbox process ended with code {child.returncode}", 500)
        return output

    def _program(self) -> str:
        switches = self.faults.switches
        if switches.sandbox_stuck:
            return STUCK
        if switches.sandbox_seconds:
            return FIRST_TO_GO + f"import time; time.sleep({switches.sandbox_seconds})"
        if switches.sandbox_memory_mib and next(self._turn) % GREEDY_EVERY == 0:
            return FIRST_TO_GO + f"x = bytearray(b'1') * ({switches.sandbox_memory_mib} << 20); print(len(x))"
        return SOUND

    def _count(self, change: int) -> None:
        with self._lock:
            self.busy += change
            SANDBOX_IN_USE.set(self.busy)
            SANDBOX_AVAILABLE.set(WORKERS - self.busy)

    def let_go(self, switches: Switches) -> None:
        """End the hanging child processes when the fault ends."""
        while self._stuck and not switches.sandbox_stuck:
            self._stuck.pop().kill()


def open_sandbox(faults: Faults) -> Sandbox:
    """Create the pool with all workers free."""
    sandbox = Sandbox(faults)
    SANDBOX_AVAILABLE.set(WORKERS)
    SANDBOX_IN_USE.set(0)
    faults.listen(sandbox.let_go)
    return sandbox
