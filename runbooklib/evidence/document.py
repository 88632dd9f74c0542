"""Evidence of what was not a run of a runbook: a notebook that nobody executed, put together from its parts.

So it is cleaned, shown, sealed, verified and signed like every other bundle.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from runbooklib.config import site
from runbooklib.evidence.bundle import Bundle
from runbooklib.evidence.verdict_json import RECORDING_MIME
from runbooklib.render import html
from runbooklib.sources.tape import Entry, pack

_MAX_CHARACTERS = 400_000


@dataclass(frozen=True, slots=True)
class Part:
    """One answer: its rows, or the error if it could not be read."""

    title: str
    system: str
    rows: pd.DataFrame | None
    error: str = ""


@dataclass(slots=True)
class Record:
    """The cells so far."""

    cells: list[dict[str, Any]] = field(default_factory=list)

    def say(self, markdown: str) -> None:
        """Words of ours; what came from a system belongs into `show`."""
        self._add_cell({"cell_type": "markdown", "source": markdown})

    def show(self, what: str, plain: str, fragment: str = "", more: Mapping[str, Any] | None = None) -> None:
        """One output: as text, as HTML that was escaped, and as JSON by its mime type."""
        data: dict[str, Any] = {"text/plain": plain[:_MAX_CHARACTERS], **(more or {})}
        if fragment:
            data["text/html"] = fragment
        output = {"output_type": "display_data", "data": data, "metadata": {}}
        self._add_cell(
            {"cell_type": "code", "source": f"# {what}", "outputs": [output], "execution_count": None}
        )

    def show_table(self, title: str, rows: Mapping[str, Any]) -> None:
        """A small table of facts."""
        frame = pd.DataFrame({"what": list(rows), "is": [str(value) for value in rows.values()]})
        plain = "\n".join(f"{name}: {value}" for name, value in rows.items())
        self.show(title, plain, html.listing(title, frame))

    def show_parts(self, parts: Sequence[Part]) -> None:
        """What was captured."""
        for part in parts:
            if part.rows is None:
                self.show(part.title, f"{part.title}: {part.error}")
                continue
            plain = part.rows.to_string(index=False) if len(part.rows) else "nothing"
            self.show(part.title, plain, html.listing(part.title, part.rows))

    def recording(self, entries: Sequence[Entry]) -> None:
        """The raw answers."""
        if entries:
            self.show("what was read", f"recorded: {len(entries)}", more={RECORDING_MIME: pack(entries)})

    def _add_cell(self, cell: dict[str, Any]) -> None:
        self.cells.append({"id": f"record-{len(self.cells)}", "metadata": {}, **cell})

    @property
    def notebook(self) -> dict[str, Any]:
        """The whole, of nbformat 4.5."""
        return {"cells": self.cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}

    def seal(self, folder: Path, name: str, service: str, at: datetime, about: Mapping[str, Any]) -> Path:
        """Its bundle in the folder. Raises InputError, EvidenceError."""
        bundle = Bundle(folder, name, service, at)
        return bundle.finish(self.notebook, {"failure": "", **about}, site.home_or_here())
