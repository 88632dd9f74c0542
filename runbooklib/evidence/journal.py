"""The journal of a run: one line for each event, in order; `journal.jsonl` in the bundle of the run.

The runner writes it, never the kernel. Each line holds the SHA-256 of the line before it: a truncated journal
is still valid, and a changed journal is detected. The lines at the begin and end of a step are synced.
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
    """Appends lines to a new journal in the folder. It can continue a copy of another journal (`goes_on`).

    Raises OSError; FileExistsError if the folder has a journal.
    """

    def __init__(self, folder: Path, goes_on: "Journal | None" = None) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        self._file = os.open(folder / FILE, flags, 0o600)
        self._previous, self._good_bytes, self._whole, self._lines = FIRST, 0, hashlib.sha256(), 0
        if goes_on is not None:
            self._write(os.pread(goes_on._file, goes_on._good_bytes, 0))
            os.fsync(self._file)  # the other journal can be removed only after this
            self._previous, self._good_bytes = goes_on._previous, goes_on._good_bytes
            self._whole, self._lines = goes_on._whole, goes_on._lines

    def append(self, kind: str, fields: dict[str, Any], *, is_synced: bool = True) -> None:
        """Append a line. Raises OSError; then the journal must continue in another folder."""
        line = {"at": datetime.now(UTC).isoformat(), "kind": kind, "previous": self._previous, **fields}
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
        """The number of lines, and the hash of the last line."""
        return {"lines": self._lines, "head": self._previous}

    def is_as_written(self) -> bool:
        """Whether the file is unchanged: a cell runs as the same user and could write to it."""
        content = os.pread(self._file, self._good_bytes + 1, 0)
        return hashlib.sha256(content).digest() == self._whole.digest()

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def read(path: Path) -> tuple[list[dict[str, Any]], str]:
    """The lines up to the first break of the chain, and what is wrong there; empty if nothing is wrong.

    A last line without a line break is incomplete because its writer was killed: it is left out, and this is
    not an error. Raises OSError.
    """
    return parse(path.read_bytes(), path.name)


def parse(content: bytes, name: str) -> tuple[list[dict[str, Any]], str]:
    """Like `read`, for the content of a file with that name."""
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
