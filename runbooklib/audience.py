"""Whoever is shown what an incident finds, and what is taken up from a run that it goes on with."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import pandas as pd

from runbooklib.model.event import Event
from runbooklib.model.findings import Finding
from runbooklib.model.plan import Proposal
from runbooklib.tape import Entry

Told = TypeVar("Told", contravariant=True)


@dataclass(frozen=True, slots=True)
class Kept:
    """A finding of a run that goes on: for which cause (empty: a symptom), with its title, and its name.

    `cell` is the id of the cell that it lay in.
    """

    cause: str
    title: str
    name: str
    finding: Finding
    cell: str = ""


class Audience(Protocol[Told]):
    """Who is shown what happens: a notebook's cell, or nobody."""

    def opened(self, incident: Told, entries: Sequence[Entry]) -> None:
        """The ledger is open and empty."""

    def judged(self, incident: Told) -> None:
        """The verdict is another one, though nothing was asked."""

    def found(self, incident: Told, finding: Finding, entries: Sequence[Entry]) -> None:
        """A question was answered."""

    def proposed(self, incident: Told, proposal: Proposal, entries: Sequence[Entry]) -> None:
        """A remedy may be shown."""

    def listed(self, incident: Told, title: str, rows: pd.DataFrame) -> None:
        """Something that the site's settings say."""

    def concluded(
        self, incident: Told, title: str, findings: Sequence[Finding], entries: Sequence[Entry]
    ) -> None:
        """A section of several findings has been answered at once."""

    def watched(self, incident: Told, findings: Sequence[Finding], share: float) -> None:
        """Recovery was looked at once more; `share` (0–1) of the time that it must hold is over."""

    def chronicled(self, incident: Told, title: str, events: Sequence[Event]) -> None:
        """What happened, by time."""

    def controlled(self, incident: Told) -> None:
        """Somebody wants to look again, at other times, or at another service."""
