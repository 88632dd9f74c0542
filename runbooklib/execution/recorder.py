"""Record one run: each event is redacted, written to the journal, and then applied to the state of the run.

If the journal can no longer be written, it is copied to the spool and the run continues there.
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from runbooklib.errors import EvidenceError
from runbooklib.evidence.bundle import Bundle
from runbooklib.evidence.journal import Journal
from runbooklib.evidence.sanitize import cleaned, cleaned_part, cleaned_text
from runbooklib.execution.run_state import RunState
from runbooklib.redact.redactor import Depth, Redactor


class RunRecorder:
    """The record of one run: `account` is its state, `failure` the reason why it stopped early, or empty.

    `trouble` says what is wrong with the journal; empty if nothing is.
    """

    def __init__(self, bundle: Bundle, redactor: Redactor, about: Mapping[str, Any]) -> None:
        self._bundle = bundle
        self._redactor = redactor
        self._about = redactor.json(dict(about), Depth.SECRETS)
        self._journal: Journal | None = None
        self.account: RunState | None = None
        self.failure = ""
        self.trouble = ""
        self.journal: dict[str, Any] = {}

    def begins(self, notebook: Mapping[str, Any]) -> None:
        """Record the notebook with its parameters, before its first step."""
        source = cleaned(notebook, self._redactor)
        self.account = RunState(source)
        self._open()
        self._write("begin", {"bundle": self._bundle.name, "about": self._about, "notebook": source})

    def step(self, cell: int, metadata: Mapping[str, Any], execution_count: int | None) -> None:
        """Record that a step began or ended."""
        redacted = self._redactor.json(dict(metadata), Depth.SECRETS)
        self._record(
            "step", {"cell": cell, "metadata": redacted, "execution_count": execution_count}, is_synced=True
        )

    def shown(self, cell: int, place: int, output: Mapping[str, Any]) -> None:
        """Record a new output, or the new content of an output."""
        cleaned_output = cleaned_part(output, self._redactor)
        self._record("output", {"cell": cell, "place": place, "output": cleaned_output})

    def continued(self, cell: int, place: int, text: str) -> None:
        """Record more text of a stream. The text is redacted alone: it must end at a safe place."""
        self._record("more", {"cell": cell, "place": place, "text": cleaned_text(text, self._redactor)})

    def cleared(self, cell: int) -> None:
        """Record that the cell's outputs were cleared."""
        self._record("cleared", {"cell": cell})

    def beat(self, cell: int, seconds: float) -> None:
        """Record that the step has been running for `seconds`."""
        self._record("beat", {"cell": cell, "seconds": round(seconds, 1)})

    def metadata(self, metadata: Mapping[str, Any]) -> None:
        """Record the notebook's metadata at the end of the run."""
        notebook = cleaned({"metadata": metadata, "cells": []}, self._redactor)
        self._record("notebook", {"metadata": notebook["metadata"]})

    def ends(self, failure: str) -> None:
        """Record the end of the run and close the journal."""
        self.failure = self._redactor.text(failure, Depth.SECRETS)
        if self.account is not None:
            self.account.end(self.failure)
        self._write("end", {"failure": self.failure})
        if self._journal is not None:
            if not self._journal.is_as_written():
                self.trouble = "its journal was changed by somebody else while it ran"
            self.journal = self._journal.summary
            self._journal.close()
            self._journal = None

    def _record(self, kind: str, fields: dict[str, Any], *, is_synced: bool = False) -> None:
        self._write(kind, fields, is_synced=is_synced)
        if self.account is not None:
            self.account.apply({"kind": kind, **fields})

    def _open(self) -> None:
        try:
            self._journal = Journal(self._bundle.folder)
        except OSError as error:
            self._move(error)

    def _write(self, kind: str, fields: dict[str, Any], *, is_synced: bool = True) -> None:
        if self._journal is None:
            return
        try:
            self._journal.append(kind, fields, is_synced=is_synced)
        except OSError as error:
            self._move(error)
            if self._journal is not None:
                self._journal.append(kind, fields, is_synced=is_synced)

    def _move(self, error: OSError) -> None:
        """Continue the journal in the spool. If that also fails, the run continues without a journal."""
        former, self._journal = self._journal, None
        with suppress(OSError, EvidenceError):
            self._bundle.spool(error)
            self._journal = Journal(self._bundle.folder, goes_on=former)
            self._bundle.remove_former()
        if former is not None:
            former.close()
