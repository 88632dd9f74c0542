"""A run that goes on after its kernel is gone: the answers and findings that its notebook still holds."""

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

# The word for the notebook that runs, as it was last saved.
THIS = "this"
# Jupyter's server tells its kernels by this which notebook they run.


@dataclass(frozen=True, slots=True)
class Resumption:
    """What was recorded, the findings so far, what people asked and noted themselves.

    `begins` and `ends` are when the first and the last answer were had (aware UTC).
    """

    entries: list[Entry]
    saved_findings: list[SavedFinding]
    saved_notes: list[Entry]
    begins: datetime
    ends: datetime

    @property
    def place(self) -> tuple[str, str]:
        """The environment and the service that it was about."""
        target = next(entry for entry in self.entries if entry.source == OPENING).answer["target"]
        return str(target["environment_name"]), str(target["service_name"])


def own_notebook() -> Path | None:
    """The file of the notebook that runs here in JupyterLab; None elsewhere."""
    named = os.environ.get(variables.JUPYTER_SESSION, "")
    return Path(named) if named.endswith(".ipynb") else None


def read(path: str, alert: str) -> Resumption:
    """What an executed notebook or a bundle holds of the alert. Raises InputError."""
    file = own_notebook() if path == THIS else Path(path)
    if file is None:
        raise InputError("nobody says which notebook this is", hint="give its path: resume=PATH")
    found = found_in(read_notebook(file), alert)
    if found is None:
        raise InputError(
            f"{file.name} holds no recording of {alert}",
            hint="resume the notebook in which it was run, as it was saved",
        )
    return found


def offered(alert: str) -> Resumption | None:
    """What the notebook that runs here was saved with, if there is something to go on with."""
    file = own_notebook()
    try:
        return found_in(read_notebook(file), alert) if file and file.is_file() else None
    except RunbookError:
        return None  # an offer, and no more: nothing is lost without it


def found_in(notebook: Mapping[str, Any], alert: str) -> Resumption | None:
    """What the notebook holds of the alert; None where that is nothing."""
    entries = recording_of(notebook)
    if not any(e.source == OPENING and e.request == {"alert": alert} for e in entries):
        return None
    times = [entry.asked_at for entry in entries]
    return Resumption(entries, list(_kept(notebook)), list(_own(notebook)), min(times), max(times))


def _own(notebook: Mapping[str, Any]) -> Iterator[Entry]:
    """What people asked and noted: an output of a recording alone is theirs, where it says nothing else."""
    for data in outputs(notebook):
        packed = data.get(RECORDING_MIME)
        if packed is None:
            continue
        entries = unpack(packed)
        is_alone = set(data) <= {RECORDING_MIME, "text/plain"}
        said = packed.get(OWN)
        own = said if isinstance(said, list) else [*range(len(entries))] if is_alone else []
        yield from (one for place, one in enumerate(entries) if one.source == NOTE or place in own)


def _kept(notebook: Mapping[str, Any]) -> Iterator[SavedFinding]:
    """The findings, in the order of their cells, by what they were kept as."""
    titles = {str(one["id"]): str(one["title"]) for one in (verdict_of(notebook) or {}).get("causes", ())}
    lying = [
        (str(cell.get("id", "")), data) for cell in notebook["cells"] for data in outputs({"cells": [cell]})
    ]
    for cell, data in lying:
        told = data.get(FINDING_MIME)
        if not isinstance(told, dict) or not told.get("name"):
            continue
        cause = str(told.get("cause", ""))
        try:
            finding = Finding.from_dict(told)
        except (AttributeError, KeyError, TypeError, ValueError):
            continue  # of another version: its question is answered from the record when its cell is run
        if not cause or cause in titles:
            yield SavedFinding(cause, titles.get(cause, ""), str(told["name"]), finding, cell)
