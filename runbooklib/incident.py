"""The ledger of one incident: what was asked, what it means so far, what may be done.

`incident.check(error_rate, above=0.05)` asks one question and keeps its finding; a cause has a ledger of
its own. Asking the same question again replaces its finding. A system that does not answer becomes an
UNKNOWN finding and never an exception: one dead source must not take the other questions with it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Protocol

import pandas as pd

from runbooklib import briefing
from runbooklib.answers import Check, answered
from runbooklib.checks import alerting, dependencies, escalation, latency, slo, traffic
from runbooklib.errors import SourceError
from runbooklib.findings import Cause, Finding, Status, Verdict, judge, onset_of
from runbooklib.plans import Proposal
from runbooklib.scene import Scene, Sources
from runbooklib.tape import Entry, Tape
from runbooklib.window import seconds_of

Action = Callable[..., Proposal]


class Audience(Protocol):
    """Who is shown what happens: a notebook's cell, or nobody."""

    def opened(self, incident: "Incident", entries: Sequence[Entry]) -> None:
        """The ledger is open and empty."""

    def found(self, incident: "Incident", finding: Finding, entries: Sequence[Entry]) -> None:
        """A question was answered."""

    def proposed(self, incident: "Incident", proposal: Proposal, entries: Sequence[Entry]) -> None:
        """A remedy may be shown."""

    def listed(self, incident: "Incident", title: str, rows: pd.DataFrame) -> None:
        """Something that the site's settings say."""

    def concluded(
        self, incident: "Incident", title: str, findings: Sequence[Finding], entries: Sequence[Entry]
    ) -> None:
        """A section of several findings has been answered at once."""


class Incident:
    """One incident. Made by `open_incident`; `prometheus`, `docker`, … are for questions of your own."""

    def __init__(
        self, scene: Scene, tape: Tape, audience: Audience, *, uses: Mapping[str, str] | None = None
    ) -> None:
        self.scene = scene.by_their_clock()
        self._uses = uses or {}
        self._tape = tape
        self._audience = audience
        self._symptoms: dict[str, Finding] = {}
        self._causes: dict[str, CauseLedger] = {}
        self._marks: tuple[tuple[datetime, str], ...] | None = None
        audience.opened(self, tape.take_recorded())
        if self.scene.window.skew_seconds:
            audience.listed(self, "", briefing.clock(self.scene))

    def __repr__(self) -> str:
        return f"Incident({self.scene.alert}, {self.scene.target.service_name}, {self.verdict.status.name})"

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Every finding about symptoms, in the order in which it was first asked."""
        return tuple(self._symptoms.values())

    @property
    def verdict(self) -> Verdict:
        """What the incident comes to so far."""
        causes = [ledger.cause for ledger in self._causes.values()]
        tolerance = self.scene.timing.tolerance_seconds + self.scene.window.step_seconds
        return judge(self.findings, causes, onset=self.scene.onset, tolerance_seconds=tolerance)

    @property
    def sources(self) -> Sources:
        """The systems, for questions of your own: `incident.sources.prometheus.custom_query("up")`."""
        return self.scene.sources

    @property
    def prometheus(self) -> Any:
        """The PrometheusConnect of this environment; what you ask it is recorded."""
        return self.scene.sources.prometheus

    def check(self, check: Check, **limits: Any) -> Finding:
        """Ask a question about the symptom and keep what was found. Raises ParameterError for a bad limit."""
        finding = self._answer(check, limits)
        self._symptoms[_name(check, limits)] = finding
        if self.scene.onset is None:
            # That another alert fires measures nothing here, so it disturbs nothing either.
            disturbed = any(f.status >= Status.WARNING and f.measured is not None for f in self.findings)
            self.scene = replace(self.scene, onset=onset_of(self.findings), is_disturbed=disturbed)
        self._audience.found(self, finding, self._tape.take_recorded())
        return finding

    def cause(self, id: str, title: str) -> "CauseLedger":  # noqa: A002 - it is the cause's id
        """The ledger of one possible cause, by an id in kebab-case that stays the same for ever."""
        return self._causes.setdefault(id, CauseLedger(self, id, title))

    def basics(self) -> None:
        """Show what this is about: alert, service, window, who keeps the runbook."""
        self._audience.listed(self, "", briefing.basics(self.scene))

    def contacts(self) -> None:
        """Show whom to call."""
        self._audience.listed(self, "Contacts", briefing.contacts(self.scene))

    def links(self) -> None:
        """Show the site's links, with this window filled in."""
        self._audience.listed(self, "Links for this window", briefing.links(self.scene))

    def history(self) -> None:
        """Show the past incidents of this alert."""
        self._audience.listed(self, "Past incidents", briefing.history(self.scene))

    def upkeep(self) -> None:
        """Show who keeps this runbook, when it is to be reviewed, and when it was last used and drilled."""
        self._audience.listed(self, "", briefing.upkeep(self.scene, self._uses))

    def objectives(self) -> None:
        """Judge what was promised: how much of each error budget is left. They are no part of the verdict."""
        promises = self.scene.target.environment.objectives
        if not promises:
            self._audience.listed(self, "Objectives", pd.DataFrame())
            return
        asked: list[tuple[Check, dict[str, Any]]] = [
            (slo.error_budget, {"promise": one.name, "of": one.of, "success": one.success, "over": one.over})
            for one in promises
        ]
        self._section("Objectives", asked)

    def escalation(self) -> None:
        """Judge the rules by which someone else is called. They are no part of the verdict."""
        rules = self.scene.target.environment.escalation
        asked: list[tuple[Check, dict[str, Any]]] = [
            (escalation.lasting, {"longer_than_seconds": seconds_of(rules.lasting)}),
            (escalation.affected_users, {"above": rules.affected_users}),
        ]
        self._section("Escalation", asked)

    def recovery(self, *, failed_below: float = 0.01, wait_below_seconds: float = 0.5) -> None:
        """Judge whether it is over: health page, error rate, P95, alert, key functions.

        They are no part of the verdict. `failed_below` is a ratio 0–1.
        """
        asked: list[tuple[Check, dict[str, Any]]] = [
            (dependencies.health_page, {}),
            (traffic.error_rate, {"above": failed_below}),
            (latency.response_time, {"above": wait_below_seconds}),
            (alerting.firing_alert, {}),
            (dependencies.key_functions, {}),
        ]
        self._section("Recovery", asked)

    def marks(self) -> tuple[tuple[datetime, str], ...]:
        """What a chart should mark: the onset and the deployments in the window."""
        if self._marks is None:
            try:
                window = self.scene.window
                found = self.scene.sources.git.deployments(window.start, window.end)
                self._marks = tuple((one.at, f"deployed {one.short}") for one in found)
            except SourceError:
                self._marks = ()  # a chart without marks is still a chart; `deployments` says what is wrong
        onset = self.scene.onset
        return (*self._marks, *(((onset, "it began"),) if onset else ()))

    def _section(self, title: str, asked: Sequence[tuple[Check, dict[str, Any]]]) -> None:
        findings = [self._answer(check, limits) for check, limits in asked]
        self._audience.concluded(self, title, findings, self._tape.take_recorded())

    def _answer(self, check: Check, limits: Mapping[str, Any]) -> Finding:
        return answered(check, limits, self.scene, self._tape)

    def _propose(self, action: Action, parameters: Mapping[str, Any]) -> Proposal:
        try:
            proposal = action(self.scene, **parameters)
        except SourceError as error:
            title = (action.__doc__ or action.__name__).strip().splitlines()[0]
            proposal = Proposal(title, command="", effect=f"Cannot be proposed: {error}")
        self._audience.proposed(self, proposal, self._tape.take_recorded())
        return proposal


class CauseLedger:
    """The signs of one possible cause, and the remedies proposed for it."""

    def __init__(self, incident: Incident, id: str, title: str) -> None:  # noqa: A002 - it is the cause's id
        self._incident = incident
        self._id = id
        self._title = title
        self._signs: dict[str, Finding] = {}
        self._proposals: dict[str, Proposal] = {}

    @property
    def cause(self) -> Cause:
        """The cause as it stands."""
        return Cause(self._id, self._title, tuple(self._signs.values()), tuple(self._proposals.values()))

    def check(self, check: Check, **limits: Any) -> Finding:
        """Ask a question that speaks for or against this cause."""
        incident = self._incident
        finding = incident._answer(check, limits)
        self._signs[_name(check, limits)] = finding
        incident._audience.found(incident, finding, incident._tape.take_recorded())
        return finding

    def propose(self, action: Action, **parameters: Any) -> Proposal:
        """Show what could be done about it. Nothing is done."""
        proposal = self._incident._propose(action, parameters)
        if proposal.command:
            self._proposals[_name(action, parameters)] = proposal
        return proposal


def _name(asked: Callable[..., Any], limits: Mapping[str, Any]) -> str:
    given = ", ".join(f"{name}={value!r}" for name, value in sorted(limits.items()))
    return f"{asked.__name__}({given})"


def overall(findings: Sequence[Finding]) -> Status:
    """The worst status of a section; of none it is UNKNOWN."""
    return max((finding.status for finding in findings), default=Status.UNKNOWN)
