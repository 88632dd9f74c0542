"""Answers that the runs of one batch share: each page of the service is asked once.

Eighteen runbooks side by side would ask the health page eighteen times. These requests are traffic of the
service themselves, and raise its alerts if the page fails. The first run that needs a page asks it; the
others read its redacted answer, or its error, from the folder of the batch. Each run records the answer.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from runbooklib import files
from runbooklib.errors import SourceError
from runbooklib.redact.redactor import Redactor
from runbooklib.sources.error_fields import error_as_dict, error_of

# An older answer says nothing about now: it is asked again.
MAX_AGE_SECONDS = 300.0


class SharedAnswers:
    """The answers in the folder of one batch."""

    def __init__(self, folder: Path, redactor: Redactor) -> None:
        self._folder = folder
        self._redactor = redactor

    def once(self, request: Mapping[str, Any], call: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The answer to this request: that of an earlier run of the batch, else that of `call`.

        `read_at` in the answer is when it was read (ISO 8601, UTC). Raises the SourceError of `call`, also if
        it was raised in another run.
        """
        name = hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()
        try:
            with _locked(self._folder / f"{name}.lock"):
                stored = self._read(self._folder / name) or self._ask(self._folder / name, call)
        except OSError:
            return call()  # a batch whose folder is full or gone still gives answers
        if stored["error"] is not None:
            raise error_of(stored["error"])
        return {**stored["answer"], "read_at": stored["read_at"]}

    def _read(self, path: Path) -> dict[str, Any] | None:
        try:
            stored: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return None
        age = datetime.now(UTC) - datetime.fromisoformat(stored["read_at"])
        return stored if 0 <= age.total_seconds() <= MAX_AGE_SECONDS else None

    def _ask(self, path: Path, call: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        answer, error = None, None
        try:
            answer = self._redactor.json(call())
        except SourceError as caught:
            error = self._redactor.json(error_as_dict(caught))
        stored = {"answer": answer, "error": error, "read_at": datetime.now(UTC).isoformat()}
        files.replace(path, json.dumps(stored).encode("utf-8", "surrogatepass"))
        return stored


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock while another run may be asking the same. The lock of a process that dies is released."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
