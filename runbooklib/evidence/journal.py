"""The journal of a run: what happened, line by line, as it happened; `journal.jsonl` in the run's bundle.

Written by the runner and never by the kernel. Each line holds the SHA-256 of the line before it, so that
a journal that was cut short is a valid beginning, and one that was changed is seen. Lines at the borders
of a step are synced.
"""

import hashlib
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

FILE = "journal.jsonl"
FIRST = "0" * 64


class Journal:
    """Appends lines to a new file in the folder: from the beginning, or from where another one came to.

    Raises OSError, and FileExistsError for an older journal.
    """

    def __init__(self, folder: Path, goes_on: "Journal | None" = None) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        self._file = os.open(folder / FILE, flags, 0o600)
        self._previous, self._good_bytes, self._whole, self._lines = FIRST, 0, hashlib.sha256(), 0
        if goes_on is not None:
            self._write(os.pread(goes_on._file, goes_on._good_bytes, 0))
            os.fsync(self._file)  # only then may the other one go
            self._previous, self._good_bytes = goes_on._previous, goes_on._good_bytes
            self._whole, self._lines = goes_on._whole, goes_on._lines

    def append(self, kind: str, told: dict[str, Any], *, is_synced: bool = True) -> None:
        """Write one line, whole. Raises OSError; then the run must go on elsewhere."""
        line = {"at": datetime.now(UTC).isoformat(), "kind": kind, "previous": self._previous, **told}
        content = (json.dumps(line, ensure_ascii=True, separators=(",", ":")) + "\n").encode()
        self._write(content)
        if is_synced:
            os.fsync(self._file)
        self._previous = hashlib.sha256(content).hexdigest()
        self._good_bytes += len(content)
        self._lines += 1
        self._whole.update(content)

    def _write(self, content: bytes) -> None:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(self._file, rest) :]

    @property
    def summary(self) -> dict[str, Any]:
        """How many lines, and the hash of the last one."""
        return {"lines": self._lines, "head": self._previous}

    def is_as_written(self) -> bool:
        """Whether the file holds just what was written: a cell runs as the same user as the runner."""
        content = os.pread(self._file, self._good_bytes + 1, 0)
        return hashlib.sha256(content).digest() == self._whole.digest()

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)


def read(path: Path) -> tuple[list[dict[str, Any]], str]:
    """The lines as far as the chain holds, and what is wrong with the next one; nothing: it is whole.

    A last line without its line break is one that was being written when its writer died: it is left out,
    and nothing is wrong. Raises OSError.
    """
    return parse(path.read_bytes(), path.name)


def parse(content: bytes, name: str) -> tuple[list[dict[str, Any]], str]:
    """The same of what a file of that name holds."""
    lines: list[dict[str, Any]] = []
    previous = FIRST
    for number, stored in enumerate(content.split(b"\n")[:-1], 1):
        try:
            line = json.loads(stored)
            is_next = line["previous"] == previous and isinstance(line["kind"], str)
        except (ValueError, KeyError, TypeError, RecursionError):
            is_next = False
        if not is_next:
            return lines, f"{name} line {number}: was changed, or a line before it is missing"
        lines.append(line)
        previous = hashlib.sha256(stored + b"\n").hexdigest()
    return lines, ""
