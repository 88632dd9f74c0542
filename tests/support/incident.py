"""The ledger: what it makes of checks that answer, fail, lie, or are asked twice."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd

from runbooklib.config.environment import Environment, Target
from runbooklib.model.event import Event
from runbooklib.model.findings import Finding, Status
from runbooklib.model.plan import Proposal
from runbooklib.model.window import Window
from runbooklib.notebook.incident import Incident
from runbooklib.sources.context import Context, Sources
from runbooklib.sources.tape import Entry, Tape

NOW = datetime(2026, 1, 15, 3, 12, tzinfo=UTC)


class Listener:
    """Keeps what it was told."""

    def __init__(self) -> None:
        self.told: list[Finding] = []
        self.events: list[Event] = []

    def opened(self, incident: Incident, entries: Sequence[Entry]) -> None: ...

    def judged(self, incident: Incident) -> None: ...

    def found(self, incident: Incident, finding: Finding, entries: Sequence[Entry]) -> None:
        self.told.append(finding)

    def proposed(self, incident: Incident, proposal: Proposal, entries: Sequence[Entry]) -> None: ...

    def listed(self, incident: Incident, title: str, rows: pd.DataFrame) -> None: ...

    def watched(self, incident: Incident, findings: Sequence[Finding], share: float) -> None: ...

    def concluded(
        self, incident: Incident, title: str, findings: Sequence[Finding], entries: Sequence[Entry]
    ) -> None:
        self.told += findings

    def chronicled(self, incident: Incident, title: str, events: Sequence[Event]) -> None:
        self.events = list(events)

    def controlled(self, incident: Incident) -> None: ...


def opened(tape: Tape | None = None, *, evidence: Path | None = None) -> tuple[Incident, Listener]:
    site = Environment.model_validate(
        {"title": "Site", "systems": {}, "services": {"backend": {"title": "Backend", "labels": {}}}}
    )
    target = Target(environment_name="site", service_name="backend", environment=site)
    tape, listener = tape or Tape(), Listener()
    context = Context("Alert", target, Window.open(opened_at=NOW), Sources(target, tape))
    return Incident(context, tape, listener, evidence=evidence), listener


def broken(context: Context) -> Finding:
    """Is it broken?"""
    since = context.window.end - timedelta(minutes=5)
    return Finding(status=Status.CRITICAL, template="Broken.", source="one", since=since)
