"""All findings of one incident, by symptom and by cause, and the verdict over them.

Plain data: nothing here asks a system or shows anything. `Incident` keeps its findings here.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from runbooklib.checks.ask import expired
from runbooklib.model.event import Event
from runbooklib.model.findings import Finding, Status
from runbooklib.model.plan import Proposal
from runbooklib.model.verdict import ONSET_OF_CAUSES, Cause, Verdict, judge, onset_of, onset_of_causes
from runbooklib.notebook.steps import Change, reorder
from runbooklib.sources.context import Context

_PROPOSE = "propose "
# The cause id of steps that name a cause; the step's name is the id of that cause.
CAUSE_STEP = "cause"

# What a context knew about the symptom, as fields of Context by name.
Known = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SavedFinding:
    """A finding of the interrupted run that is being resumed.

    `cause` is its cause id (empty: a symptom), `title` the title of that cause, `name` the step's name and
    `cell` the id of the cell whose output held it.
    """

    cause: str
    title: str
    name: str
    finding: Finding
    cell: str = ""


def step_name(function: Callable[..., Any], limits: Mapping[str, Any]) -> str:
    """The name of a step: the check or the action, with its arguments."""
    arguments = ", ".join(f"{name}={value!r}" for name, value in sorted(limits.items()))
    return f"{function.__name__}({arguments})"


def proposal_step(name: str) -> str:
    """The name of the step that makes the proposal of that name."""
    return f"{_PROPOSE}{name}"


class Symptoms:
    """The findings about the symptoms, in the order in which each check was first asked."""

    def __init__(self) -> None:
        self._findings: dict[str, Finding] = {}
        # What was known when each check was first asked. A check that is asked again gets the same context,
        # because a replay asks it once, with what was known then.
        self._known: dict[str, Known] = {}

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All findings, in order."""
        return tuple(self._findings.values())

    def known(self, name: str, context: Context, former: str = "") -> Known:
        """What was known when this step was first asked. `former` is the step that it replaces."""
        now = {"onset": context.onset, "is_disturbed": context.is_disturbed}
        return self._known.setdefault(name, self._known.get(former, now))

    def keep(self, name: str, finding: Finding, context: Context) -> Context:
        """Keep a finding. Returns the context with what is known after it."""
        self._findings[name] = finding
        if context.onset is not None:
            return context
        return replace(context, **_known_from(self.findings, context.window.start))

    def reorder(self, change: Change, context: Context) -> Context:
        """Apply a cell's change. Returns the context with what is known after it."""
        self._findings = reorder(self._findings, *change.within(""))
        names = tuple(self._findings)
        start = context.window.start
        self._known = {name: _known_from(self.findings[:index], start) for index, name in enumerate(names)}
        return replace(context, **_known_from(self.findings, start))

    def expire(self) -> None:
        """Make every finding UNKNOWN until its check is asked again."""
        self._findings = {name: expired(finding) for name, finding in self._findings.items()}
        self._known.clear()


def _known_from(findings: Sequence[Finding], start: datetime) -> Known:
    """What these findings say about the context. Findings after the first with an onset add nothing.

    A problem that was the same at the `start` of the window disturbs nothing.
    """
    first = next((index for index, item in enumerate(findings) if onset_of([item])), len(findings))
    seen = findings[: first + 1]
    # "Another alert is firing" measures nothing here, so it does not disturb the context.
    alarms = [item for item in seen if item.status >= Status.WARNING and not item.was_the_same(start)]
    disturbed = any(item.measured is not None for item in alarms)
    return {"onset": onset_of(seen), "is_disturbed": disturbed}


@dataclass(slots=True)
class _CauseEntry:
    """The findings and proposals of one possible cause, each by its step's name."""

    title: str
    findings: dict[str, Finding] = field(default_factory=dict)
    proposals: dict[str, Proposal] = field(default_factory=dict)


class Causes:
    """The possible causes, in the order in which each was first named."""

    def __init__(self) -> None:
        self._entries: dict[str, _CauseEntry] = {}
        # Causes that no cell names any more. They are hidden while they hold nothing.
        self._unnamed: frozenset[str] = frozenset()

    @property
    def all(self) -> tuple[Cause, ...]:
        """All causes that a cell names or that hold a finding or a proposal."""
        causes = [self.cause(id_) for id_ in self._entries]
        return tuple(
            cause for cause in causes if cause.id not in self._unnamed or cause.signs or cause.proposals
        )

    def before(self, id_: str) -> tuple[Cause, ...]:
        """The causes that the notebook names before this one."""
        names = list(self._entries)
        return tuple(self.cause(name) for name in names[: names.index(id_)])

    def cause(self, id_: str) -> Cause:
        """The cause with that id, with its findings and proposals so far."""
        entry = self._entries[id_]
        return Cause(id_, entry.title, tuple(entry.findings.values()), tuple(entry.proposals.values()))

    def open(self, id_: str, title: str) -> None:
        """A cell names this cause."""
        self._unnamed -= {id_}
        self._entries.setdefault(id_, _CauseEntry(title))

    def keep(self, id_: str, name: str, finding: Finding) -> None:
        """Keep a finding for or against a cause."""
        self._entries[id_].findings[name] = finding

    def keep_proposal(self, id_: str, name: str, proposal: Proposal) -> None:
        """Keep an action that was proposed for a cause."""
        self._entries[id_].proposals[name] = proposal

    def reorder(self, change: Change) -> None:
        """Apply a cell's change."""
        for id_, entry in self._entries.items():
            order, dropped = change.within(id_)
            entry.findings = reorder(entry.findings, order, dropped)
            order, dropped = (tuple(n.removeprefix(_PROPOSE) for n in names) for names in (order, dropped))
            entry.proposals = reorder(entry.proposals, order, dropped)
        self._unnamed |= set(change.within(CAUSE_STEP)[1])

    def expire(self) -> None:
        """Make every finding UNKNOWN until its check is asked again, and drop the proposals."""
        for entry in self._entries.values():
            entry.findings = {name: expired(finding) for name, finding in entry.findings.items()}
            entry.proposals.clear()


class FindingLedger:
    """All findings of one incident. `context` holds what is known after the findings so far."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self._symptoms = Symptoms()
        self.causes = Causes()

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The findings about the symptoms, in the order in which each check was first asked."""
        return self._symptoms.findings

    @property
    def verdict(self) -> Verdict:
        """The verdict over all findings so far."""
        context = self.context
        tolerance = context.timing.tolerance_seconds + context.window.step_seconds
        return judge(
            self.findings,
            self.causes.all,
            onset=self._onset(self.causes.all),
            tolerance_seconds=tolerance,
            before=context.time_before,
            version=context.verdict_version,
        )

    def onset_events(self) -> list[Event]:
        """One event for each finding that has a start time, for the timeline."""
        cause_findings = [finding for cause in self.causes.all for finding in cause.signs]
        return [
            Event(finding.since, finding, finding.source)
            for finding in (*self.findings, *cause_findings)
            if finding.since
        ]

    def _onset(self, causes: Sequence[Cause]) -> datetime | None:
        context = self.context
        if context.onset is not None or context.verdict_version < ONSET_OF_CAUSES:
            return context.onset
        return onset_of_causes(causes, before=context.time_before)

    def known(self, cause: str, name: str, former: str = "") -> Known:
        """What was known when this step was first run; a replay runs it with the same.

        For a step of a cause (its id), also the causes before it can show the onset. `former` is the name of
        the step that it replaces.
        """
        if cause:
            return {"onset": self._onset(self.causes.before(cause))}
        return self._symptoms.known(name, self.context, former)

    def keep(self, cause: str, name: str, finding: Finding) -> None:
        """Keep a finding about a cause (by its id), or about the symptoms (empty id)."""
        if cause:
            self.causes.keep(cause, name, finding)
        else:
            self.context = self._symptoms.keep(name, finding, self.context)

    def restore(self, saved: SavedFinding) -> None:
        """Add a finding of the interrupted run that is being resumed."""
        if saved.cause:
            self.causes.open(saved.cause, saved.title)
        else:
            self.known("", saved.name)
        self.keep(saved.cause, saved.name, saved.finding)

    def expire(self, context: Context) -> None:
        """Make every finding UNKNOWN: all checks are to be asked again, in this context."""
        self.context = context
        self._symptoms.expire()
        self.causes.expire()

    def reorder(self, change: Change) -> None:
        """Apply a cell's change: the steps that it runs now, and those it dropped."""
        self.context = self._symptoms.reorder(change, self.context)
        self.causes.reorder(change)
