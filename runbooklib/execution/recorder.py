"""The witness of one run: what it is told goes, redacted, to the journal first, and then into the account.

Where the journal cannot be written any more, the run goes on in the spool, with the journal so far.
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
    """Knows one run from first to last: `account` how far it got, `failure` why it got no further.

    `trouble` says what is wrong with the journal.
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
        """The notebook with its parameters, before its first step: from now on every step is known."""
        source = cleaned(notebook, self._redactor)
        self.account = RunState(source)
        self._open()
        self._write("begin", {"bundle": self._bundle.name, "about": self._about, "notebook": source})

    def step(self, cell: int, metadata: Mapping[str, Any], execution_count: int | None) -> None:
        """A step begins, or has ended."""
        told = self._redactor.json(dict(metadata), Depth.SECRETS)
        self._tell(
            "step", {"cell": cell, "metadata": told, "execution_count": execution_count}, is_synced=True
        )

    def shown(self, cell: int, place: int, output: Mapping[str, Any]) -> None:
        """An output is new, or is another than before."""
        told = cleaned_part(output, self._redactor)
        self._tell("output", {"cell": cell, "place": place, "output": told})

    def continued(self, cell: int, place: int, text: str) -> None:
        """A stream goes on. The text must be one that can be redacted by itself."""
        self._tell("more", {"cell": cell, "place": place, "text": cleaned_text(text, self._redactor)})

    def cleared(self, cell: int) -> None:
        """The cell's outputs are gone."""
        self._tell("cleared", {"cell": cell})

    def beat(self, cell: int, seconds: float) -> None:
        """The step still runs, for so long."""
        self._tell("beat", {"cell": cell, "seconds": round(seconds, 1)})

    def metadata(self, metadata: Mapping[str, Any]) -> None:
        """The notebook's metadata, as the kernel and papermill left it."""
        told = cleaned({"metadata": metadata, "cells": []}, self._redactor)
        self._tell("notebook", {"metadata": told["metadata"]})

    def ends(self, failure: str) -> None:
        """The run is over."""
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

    def _tell(self, kind: str, told: dict[str, Any], *, is_synced: bool = False) -> None:
        self._write(kind, told, is_synced=is_synced)
        if self.account is not None:
            self.account.apply({"kind": kind, **told})

    def _open(self) -> None:
        try:
            self._journal = Journal(self._bundle.folder)
        except OSError as error:
            self._move(error)

    def _write(self, kind: str, told: dict[str, Any], *, is_synced: bool = True) -> None:
        if self._journal is None:
            return
        try:
            self._journal.append(kind, told, is_synced=is_synced)
        except OSError as error:
            self._move(error)
            if self._journal is not None:
                self._journal.append(kind, told, is_synced=is_synced)

    def _move(self, error: OSError) -> None:
        """Go on in the spool; where that fails as well, without a journal: the run is worth more than it."""
        former, self._journal = self._journal, None
        with suppress(OSError, EvidenceError):
            self._bundle.spool(error)
            self._journal = Journal(self._bundle.folder, goes_on=former)
            self._bundle.remove_former()
        if former is not None:
            former.close()
