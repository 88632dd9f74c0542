"""Questions to a system through an incident, as a notebook asks them: findings, whatever the system does."""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from runbooklib.config.environment import Environment, Target
from runbooklib.model.findings import Finding
from runbooklib.model.window import Window
from runbooklib.notebook.incident import Incident
from runbooklib.notebook.listener import IncidentListener
from runbooklib.render.sentences import sentence
from runbooklib.sources.context import Context, Sources
from runbooklib.sources.tape import Entry, Tape

Check = Callable[..., Finding]
CONTAINER = "backend"


class _Archive(IncidentListener):
    """Keeps what was recorded."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def opened(self, incident: Incident, entries: Sequence[Entry]) -> None:
        self.entries += entries

    def finding_added(self, finding: Finding, entries: Sequence[Entry]) -> None:
        self.entries += entries


class Asking:
    """An open incident. `sources` may be given instruments of the test's own (another deadline)."""

    def __init__(
        self,
        systems: dict[str, Any],
        container: str = CONTAINER,
        *,
        database: dict[str, str] | None = None,
        **instruments: Any,
    ) -> None:
        service: dict[str, Any] = {
            "title": "Backend",
            "labels": {"job": "backend"},
            "containers": [container],
        }
        service |= {"database": database} if database else {}
        site = Environment.model_validate(
            {"title": "Site", "systems": systems, "services": {"backend": service}}
        )
        self.tape = Tape()
        target = Target(environment_name="site", service_name="backend", environment=site)
        sources = Sources(target, self.tape)
        for name, make in instruments.items():
            vars(sources)[name] = make(self.tape)
        # A window ends on a whole step; this one holds what was written just now.
        window = Window.open(opened_at=datetime.now(UTC) + timedelta(seconds=15), lookback="10m")
        self._archive = _Archive()
        self.incident = Incident(Context("Alert", target, window, sources), self.tape, self._archive)

    @property
    def sources(self) -> Sources:
        """The systems."""
        return self.incident.sources

    @property
    def entries(self) -> list[Entry]:
        """Everything that was recorded, also by questions of the test's own."""
        self._archive.entries += self.tape.take_recorded()
        return self._archive.entries

    @property
    def recording(self) -> str:
        """The same as a recording holds it."""
        return json.dumps([entry.as_dict() for entry in self.entries])

    def ask(self, *checks: Check | tuple[Check, dict[str, Any]]) -> list[Finding]:
        """What the checks find."""
        asked = [(check, {}) if callable(check) else check for check in checks]
        return [self.incident.check(check, **limits) for check, limits in asked]


def told(findings: Sequence[Finding]) -> str:
    """What a reader is told of them."""
    return "\n".join(f"{finding.status.name} {sentence(finding)}" for finding in findings)


def is_short_and_names(finding: Finding, *names: str) -> bool:
    """Rule R7: three lines at most, with each of these names in them."""
    text = sentence(finding)
    return len(text.splitlines()) <= 3 and all(name in text for name in names)
