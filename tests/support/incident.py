"""An open incident whose listener keeps what it is shown."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from runbooklib.config.environment import Environment, Target
from runbooklib.model.event import Event
from runbooklib.model.findings import Finding, Status
from runbooklib.model.window import Window
from runbooklib.notebook.incident import Incident
from runbooklib.notebook.listener import IncidentListener
from runbooklib.sources.context import Context, Sources
from runbooklib.sources.tape import Entry, Tape

NOW = datetime(2026, 1, 15, 3, 12, tzinfo=UTC)


class Listener(IncidentListener):
    """Keeps the findings and the events."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.events: list[Event] = []

    def finding_added(self, finding: Finding, entries: Sequence[Entry]) -> None:
        self.findings.append(finding)

    def section_added(self, title: str, findings: Sequence[Finding], entries: Sequence[Entry]) -> None:
        self.findings += findings

    def events_added(self, title: str, events: Sequence[Event]) -> None:
        self.events = list(events)


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
