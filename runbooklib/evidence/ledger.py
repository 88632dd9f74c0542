"""The chained ledger over all bundles of a folder: `ledger.jsonl`, one line a bundle, oldest first.

Each line holds the SHA-256 of the line before it, that of its bundle's manifest, and when the run ended,
as the manifest has it too. A line that was changed, removed or moved breaks the chain; a bundle that was
removed is missed, one that was put there by hand is not in it. What a chain alone cannot show is that its
newest lines were cut off together with their bundles, or the ledger rewritten: for that, the last line's
hash, the head, must be kept elsewhere. `runbook run` prints it, and a postmortem is a good place.
"""

import fcntl
import hashlib
import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO

FILE = "ledger.jsonl"
FIRST = "0" * 64
_WRITER_SECONDS, _POLL_SECONDS = 5.0, 0.01


@dataclass(frozen=True, slots=True)
class Line:
    """One bundle's entry."""

    bundle: str
    manifest_sha256: str
    sealed_at: str
    previous: str

    def as_text(self) -> str:
        """The line as it is stored, with its line break."""
        fields = {name: getattr(self, name) for name in sorted(self.__slots__)}
        return json.dumps(fields, ensure_ascii=False, separators=(",", ":")) + "\n"

    @property
    def sha256(self) -> str:
        """What the next line must hold as `previous`."""
        return hashlib.sha256(self.as_text().encode()).hexdigest()


@contextmanager
def held(folder: Path) -> Iterator[IO[bytes]]:
    """The ledger's file locked for writing; created if there is none. Raises OSError."""
    descriptor = os.open(folder / FILE, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file


def append(folder: Path, bundle: str, manifest_sha256: str, sealed_at: datetime) -> str:
    """Add a bundle, synced, one writer at a time. Returns the new head's hash. Raises OSError."""
    with held(folder) as file:
        return enter(file, bundle, manifest_sha256, sealed_at)


def enter(file: IO[bytes], bundle: str, manifest_sha256: str, sealed_at: datetime) -> str:
    """The same, to a ledger that is held."""
    file.seek(0)
    content = file.read()
    last = b"".join(_lines_in(content)[-1:])
    missing = b"" if last.endswith(b"\n") or not last else b"\n"  # of a writer that was killed
    previous = hashlib.sha256(last + missing).hexdigest() if last else FIRST
    line = Line(bundle, manifest_sha256, sealed_at.isoformat(), previous)
    rest = memoryview(missing + line.as_text().encode())
    try:
        while rest:
            rest = rest[os.write(file.fileno(), rest) :]
        os.fsync(file.fileno())
    except OSError:
        # Half a line would break the chain, and the bundle is going to be elsewhere.
        with suppress(OSError):
            os.ftruncate(file.fileno(), len(content))
        raise
    return line.sha256


def name_of(file: IO[bytes], manifest_sha256: str) -> str:
    """The name under which a held ledger has the bundle with this manifest; empty where it has none."""
    file.seek(0)
    lines = [line for stored in _lines_in(file.read()) if (line := _line(stored))]
    names = [line.bundle for line in lines if line.manifest_sha256 == manifest_sha256]
    return names[-1] if names else ""


def read(folder: Path) -> tuple[list[Line], list[str]]:
    """The lines that can be read, and what is wrong with the chain, each with the line's number.

    Raises OSError where there is a ledger, or a folder, that may not be read.
    """
    lines, wrong, previous = [], [], FIRST
    for number, stored in enumerate(_stored(folder), 1):
        line = _line(stored)
        if line is None or line.as_text().encode() != stored:
            wrong.append(f"{FILE} line {number}: was changed: it is not as it was written")
        elif line.previous != previous:
            wrong.append(
                f"{FILE} line {number} ({line.bundle}): does not follow the line before it; "
                "a line was changed, removed or moved"
            )
        if line is not None:
            lines.append(line)
        previous = hashlib.sha256(stored).hexdigest()
    return lines, wrong


def heads(folder: Path) -> dict[str, str]:
    """The hash that was the head after each line -> that line's bundle, oldest first."""
    lines = _stored(folder)
    return {hashlib.sha256(raw).hexdigest(): line.bundle for raw in lines if (line := _line(raw))}


def head_of(bundle: Path) -> str:
    """The head when this bundle was entered: it vouches for the bundle and all before it; empty without."""
    matching = [head for head, name in heads(bundle.parent).items() if name == bundle.name]
    return matching[-1] if matching else ""


def _stored(folder: Path) -> list[bytes]:
    """The lines as they are; none where there is no ledger. That one may not be read is something else."""
    try:
        with (folder / FILE).open("rb") as file:
            _wait_for_writer(file.fileno())
            return _lines_in(file.read())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _wait_for_writer(file: int) -> None:
    """Wait until each line's bundle has its name: a run holds the ledger from its line to the rename.

    A writer that hangs, and a file system without locks, keep nobody from reading.
    """
    ends_at = time.monotonic() + _WRITER_SECONDS
    with suppress(OSError):
        while time.monotonic() < ends_at:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(_POLL_SECONDS)
            else:
                return


def _lines_in(content: bytes) -> list[bytes]:
    """Lines as bytes, each with its line break: read as text, other breaks would pass for ours."""
    return [line for line in re.split(rb"(?<=\n)", content) if line]


def _line(stored: bytes) -> Line | None:
    try:
        fields = json.loads(stored)
        return Line(**{name: str(fields[name]) for name in Line.__slots__})
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
