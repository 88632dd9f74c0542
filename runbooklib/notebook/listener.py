"""What an incident tells its screen or a test. Each method does nothing by default."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from runbooklib.model.event import Event
from runbooklib.model.findings import Finding
from runbooklib.model.plan import Proposal
from runbooklib.sources.tape import Entry


class IncidentListener:
    """Override what you want to see. `entries` are the answers that were recorded since the last call."""

    def opened(self, incident: Any, entries: Sequence[Entry]) -> None:
        """The incident is open, or is about to be asked again. It is an `Incident`."""

    def verdict_changed(self) -> None:
        """The verdict has changed although no check was asked."""

    def finding_added(self, finding: Finding, entries: Sequence[Entry]) -> None:
        """A check was asked."""

    def proposal_added(self, proposal: Proposal, entries: Sequence[Entry]) -> None:
        """An action was proposed."""

    def table_added(self, title: str, rows: pd.DataFrame) -> None:
        """A table is to be shown."""

    def events_added(self, title: str, events: Sequence[Event]) -> None:
        """Events are to be shown by time."""

    def section_added(self, title: str, findings: Sequence[Finding], entries: Sequence[Entry]) -> None:
        """A section of several checks was asked at once."""

    def recovery_checked(self, findings: Sequence[Finding], share: float) -> None:
        """The recovery conditions were asked; `share` (0–1) of the time that they must hold is over."""

    def controls_requested(self) -> None:
        """The controls are to be shown."""
