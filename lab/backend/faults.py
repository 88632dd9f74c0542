"""Faults that cannot be caused from outside. They are read from a file, so that a restart does not end them.

The lab writes the file, the container sees it read-only, this module looks at it every half second.
"""

import json
import os
import resource
import sys
import threading
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path

POLL_SECONDS = 0.5
LEAK_AFTER_SECONDS = (
    4.0  # with the time to fill the memory, more than 10 s: Docker then restarts without backoff
)
LEAK_STEP_SECONDS = 0.1
MEBIBYTE = 1024 * 1024
BURNT_BYTES = 8 * MEBIBYTE
DESCRIPTOR_SHARE = 0.87  # of the limit: the alert fires, and the backend still answers


@dataclass(frozen=True, slots=True)
class Switches:
    """The active switches; the defaults are a healthy backend."""

    memory_leak_mib_per_second: float = 0.0
    memory_leak_at_most_mib: float = float("inf")
    burn: bool = False
    leak_descriptors: bool = False
    leak_transactions: bool = False
    crash: bool = False
    error_share: float = 0.0
    delay_seconds: float = 0.0
    sandbox_stuck: bool = False
    sandbox_memory_mib: int = 0
    sandbox_seconds: float = 0.0
    ai_timeout_seconds: float = 2.0
    prompt_padding_characters: int = 0
    health_lies: bool = False


@dataclass(slots=True)
class Faults:
    """The current switches, updated by a thread, and the memory and files that leaks hold."""

    path: Path
    switches: Switches = field(default_factory=Switches)
    _started: float = field(default_factory=time.monotonic)
    _leaked: list[bytearray] = field(default_factory=list)
    _opened: list[int] = field(default_factory=list)
    _listeners: list[Callable[[Switches], None]] = field(default_factory=list)

    def listen(self, listener: Callable[[Switches], None]) -> None:
        """Call the listener after each read of the file, so that it can release what a fault held."""
        self._listeners.append(listener)

    def start(self) -> None:
        """Read the file now, then repeatedly in the background."""
        self.switches = read(self.path)
        for target in (self._poll, self._leak, self._burn):
            threading.Thread(target=target, daemon=True, name=f"faults-{target.__name__}").start()

    def _poll(self) -> None:
        while True:
            self.switches = read(self.path)
            if self.switches.crash:
                crash()
            self._open_files()
            for listener in self._listeners:
                listener(self.switches)
            time.sleep(POLL_SECONDS)

    def _leak(self) -> None:
        while True:
            rate = self.switches.memory_leak_mib_per_second
            if not rate:
                self._leaked.clear()
            elif time.monotonic() - self._started > LEAK_AFTER_SECONDS and self._may_leak():
                self._leaked.append(bytearray(b"\x01") * int(rate * LEAK_STEP_SECONDS * MEBIBYTE))
            time.sleep(LEAK_STEP_SECONDS)

    def _may_leak(self) -> bool:
        held = sum(len(piece) for piece in self._leaked)
        return held < self.switches.memory_leak_at_most_mib * MEBIBYTE

    def _burn(self) -> None:
        """An endless loop in code that releases the GIL, so that requests are still answered."""
        data = bytes(BURNT_BYTES)
        while True:
            if self.switches.burn:
                zlib.crc32(data)
            else:
                time.sleep(POLL_SECONDS)

    def _open_files(self) -> None:
        while self._opened and not self.switches.leak_descriptors:
            os.close(self._opened.pop())
        if self.switches.leak_descriptors:
            most = int(resource.getrlimit(resource.RLIMIT_NOFILE)[0] * DESCRIPTOR_SHARE)
            while len(os.listdir("/proc/self/fd")) < most:  # noqa: PTH208 - as many calls as files
                self._opened.append(os.open(os.devnull, os.O_RDONLY))


def read(path: Path) -> Switches:
    """The switches in the file; a missing or incomplete file means a healthy backend."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return Switches()
    known = {each.name for each in fields(Switches)}
    return Switches(**{name: value for name, value in values.items() if name in known})


def crash() -> None:
    """Exit like an application that cannot read its configuration: traceback on stderr, exit code 1."""
    sys.stderr.write(
        "Traceback (most recent call last):\n"
        '  File "/app/backend/__main__.py", line 12, in main\n'
        "    config = load_settings()\n"
        "RuntimeError: invalid value for setting SANDBOX_POOL_SIZE: 'four'\n"
    )
    sys.stderr.flush()
    os._exit(1)
