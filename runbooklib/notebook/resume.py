"""Resume a run whose kernel is gone, from the answers and findings that its saved notebook contains."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from runbooklib.config import variables
from runbooklib.errors import InputError, RunbookError
from runbooklib.evidence.executed_notebook import outputs, read_notebook, recording_of, verdict_of
from runbooklib.evidence.verdict_json import FINDING_MIME, RECORDING_MIME
from runbooklib.model.findings import Finding
from runbooklib.notebook.ledger import SavedFinding
from runbooklib.sources.tape import NOTE, OPENING, OWN, Entry, unpack

# The value of `resume` that means the current notebook, as it was last saved.
THIS = "this"


@dataclass(frozen=True, slots=True)
class Resumption:
    """A saved run: its recording, its findings, and the queries and notes of its users.

    `begins` and `ends` are the times of the first and the last request (aware UTC).
    """

    entries: list[Entry]
    saved_findings: list[SavedFinding]
    saved_notes: list[Entry]
    begins: datetime
    ends: datetime

    @property
    def place(self) -> tuple[str, str]:
        """(environment, service) of the run."""
        target = next(entry for entry in self.entries if entry.source == OPENING).answer["target"]
        return str(target["environment_name"]), str(target["service_name"])


def own_notebook() -> Path | None:
    """The file of the current notebook in JupyterLab; None elsewhere."""
    # The Jupyter server sets this variable for its kernels.
    path = os.environ.get(variables.JUPYTER_SESSION, "")
    return Path(path) if path.endswith(".ipynb") else None


def read_resumption(path: str, alert: str) -> Resumption:
    """The saved run of the alert in an executed notebook or a bundle. Raises InputError."""
    file = own_notebook() if path == THIS else Path(path)
    if file is None:
        raise InputError("cannot determine the current notebook", hint="pass its path: resume=PATH")
    resumption = _resumption(read_notebook(file), alert)
    if resumption is None:
        raise InputError(
            f"{file.name} contains no recording of {alert}",
            hint="pass a saved notebook that ran this alert's runbook",
        )
    return resumption


def resumable_run(alert: str) -> Resumption | None:
    """The saved run in the current notebook, if it contains a recording of the alert."""
    file = own_notebook()
    try:
        return _resumption(read_notebook(file), alert) if file and file.is_file() else None
    except RunbookError:
        return None  # resuming is only an offer: without it, the run starts as usual


def _resumption(notebook: Mapping[str, Any], alert: str) -> Resumption | None:
    """The saved run of the alert in this notebook; None without a recording of it."""
    entries = recording_of(notebook)
    if not any(entry.source == OPENING and entry.request == {"alert": alert} for entry in entries):
        return None
    times = [entry.asked_at for entry in entries]
    return Resumption(
        entries, list(_saved_findings(notebook)), list(_saved_notes(notebook)), min(times), max(times)
    )


def _saved_notes(notebook: Mapping[str, Any]) -> Iterator[Entry]:
    """The queries and notes of users.

    A recording lists the indices of these entries under OWN. Without that list, all entries of an output that
    contains only a recording are theirs.
    """
    for data in outputs(notebook):
        packed = data.get(RECORDING_MIME)
        if packed is None:
            continue
        entries = unpack(packed)
        is_alone = set(data) <= {RECORDING_MIME, "text/plain"}
        listed = packed.get(OWN)
        own = listed if isinstance(listed, list) else [*range(len(entries))] if is_alone else []
        yield from (entry for index, entry in enumerate(entries) if entry.source == NOTE or index in own)


def _saved_findings(notebook: Mapping[str, Any]) -> Iterator[SavedFinding]:
    """The findings in the order of their cells, with the cause and the name under which they were kept."""
    titles = {
        str(cause["id"]): str(cause["title"]) for cause in (verdict_of(notebook) or {}).get("causes", ())
    }
    outputs_by_cell = [
        (str(cell.get("id", "")), data) for cell in notebook["cells"] for data in outputs({"cells": [cell]})
    ]
    for cell, data in outputs_by_cell:
        fields = data.get(FINDING_MIME)
        if not isinstance(fields, dict) or not fields.get("name"):
            continue
        cause = str(fields.get("cause", ""))
        try:
            finding = Finding.from_dict(fields)
        except (AttributeError, KeyError, TypeError, ValueError):
            continue  # written by another version: the recording answers the check when its cell runs
        if not cause or cause in titles:
            yield SavedFinding(cause, titles.get(cause, ""), str(fields["name"]), finding, cell)
