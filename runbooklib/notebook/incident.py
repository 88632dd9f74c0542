"""The ledger of one incident: what was asked, what it means so far, what may be done.

`incident.check(error_rate, above=0.05)` asks one question and keeps its finding; a cause has a ledger of
its own. Asking the same question again replaces its finding. A system that does not answer becomes an
UNKNOWN finding and never an exception: one dead source must not take the other questions with it.

Whoever is shown what an incident finds, and what is taken up from a run that it goes on with.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pandas as pd

from runbooklib.actions.recovery import (
    FAILED_BELOW,
    WAIT_BELOW_SECONDS,
    Certificate,
    Sample,
    Wait,
    conditions,
    prove,
)
from runbooklib.checks import objectives
from runbooklib.checks.ask import Action, Check, Inquiry
from runbooklib.errors import ParameterError, RunbookError
from runbooklib.model.event import Event
from runbooklib.model.findings import Finding, Status
from runbooklib.model.plan import Proposal
from runbooklib.model.verdict import Verdict
from runbooklib.notebook import notes, site_tables, timeline
from runbooklib.notebook.ledger import Asker, Casebook, CauseLedger, Kept, named
from runbooklib.notebook.notes import Diary
from runbooklib.notebook.saved_outputs import SavedOutputs
from runbooklib.notebook.steps import Change, Step, Steps
from runbooklib.sources.context import Context, Sources
from runbooklib.sources.tape import Entry, Tape

T = TypeVar("T")


class Incident:
    """One incident. Made by `open_incident`; `prometheus`, `docker`, … are for questions of your own."""

    def __init__(
        self,
        context: Context,
        tape: Tape,
        audience: "Audience[Incident]",
        *,
        uses: Mapping[str, str] | None = None,
        evidence: Path | None = None,
        kept: Sequence[Kept] = (),
        own: Sequence[Entry] = (),
    ) -> None:
        self.steps = Steps(self._settle)
        self.places = SavedOutputs()
        self._uses = uses or {}
        self._evidence = evidence
        self.tape = tape
        self._audience = audience
        self._inquiry = Inquiry(tape)
        self.diary = Diary(tape, own)
        asker = Asker(self._take, self._answer, self._propose, self._found, self._proposed)
        self._book = Casebook(context.with_server_clock(), self.steps, asker)
        for one in kept:
            self._book.restore(one)
        self._begin()

    def _begin(self) -> None:
        self._audience.opened(self, self.tape.take_recorded())
        if self.context.window.skew_seconds and not self.steps.is_again:
            self._audience.listed(self, "", site_tables.clock(self.context))
        self.tape.take_used()

    def __repr__(self) -> str:
        return (
            f"Incident({self.context.alert}, {self.context.target.service_name}, {self.verdict.status.name})"
        )

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Every finding about symptoms, in the order in which it was first asked."""
        return self._book.findings

    @property
    def verdict(self) -> Verdict:
        """What the incident comes to so far."""
        return self._book.verdict

    @property
    def context(self) -> Context:
        """Where and when, as it is known by now."""
        return self._book.context

    @property
    def sources(self) -> Sources:
        """The systems, for questions of your own: `incident.sources.prometheus.custom_query("up")`."""
        return self.context.sources

    @property
    def prometheus(self) -> Any:
        """The PrometheusConnect of this environment; what you ask it is recorded."""
        return self.context.sources.prometheus

    def check(self, check: Check, **limits: Any) -> Finding:
        """Ask a question about the symptom and keep what was found. Raises ParameterError for a bad limit."""
        name = named(check, limits)
        return self._take(("", name), partial(self._check, name, check, limits))

    def _check(self, name: str, check: Check, limits: Mapping[str, Any]) -> Finding:
        # What is not asked is not first asked now.
        known = {} if self._inquiry.given_up else self._book.known(name)
        finding = self._answer(check, limits, **known)
        self._book.keep(name, finding)
        self._found(finding)
        return finding

    def _take(self, step: Step, act: Callable[[], T]) -> T:
        self.diary.notice()
        try:
            return self.steps.take(step, act)
        finally:
            self.tape.take_used()

    def ask_again(self, context: Context) -> None:
        """Ask of another context all that was asked so far, in the same order; what it shows is redrawn.

        The answers of before count no longer: what is not asked again, whatever the reason, is UNKNOWN.
        Raises the first RunbookError, when all has been asked.
        """
        self.steps.need_open()
        self.diary.notice()
        self.steps.leave_all()
        self.steps.is_again = True
        try:
            self._book.lapse(context)
            self._audience.judged(self)
            self._book.context = context.with_server_clock()
            self._begin()
            self.steps.take_left_again()
        except BaseException as error:
            self._give_up(str(error) if isinstance(error, RunbookError) else "interrupted")
            raise
        finally:
            self.steps.is_again = False

    def _give_up(self, why: str) -> None:
        """Redraw what was not asked again as UNKNOWN: what it had found is of another time."""
        self._inquiry.given_up = why
        try:
            self.steps.take_left_again()
        finally:
            self._inquiry.given_up = ""
            self._audience.judged(self)

    def _settle(self, change: Change) -> None:
        """What a cell took before, and takes no more, counts no more."""
        self._book.settle(change)
        self._audience.judged(self)

    def cause(self, id: str, title: str) -> CauseLedger:  # noqa: A002 - it is the cause's id
        """The ledger of one possible cause, by an id in kebab-case that stays the same for ever."""
        return self._book.causes.ledger(id, title)

    def _found(self, finding: Finding) -> None:
        self._audience.found(self, finding, self.tape.take_recorded())

    def _proposed(self, proposal: Proposal) -> None:
        self._audience.proposed(self, proposal, self.tape.take_recorded())

    def sql(self, query: str, params: Sequence[Any] = ()) -> pd.DataFrame:
        """The rows of your own read-only query: `incident.sql("select … where state = %s", ["active"])`.

        At most 10,000 rows (then `attrs["is_cut"]`). Recorded as evidence. Raises ParameterError for anything
        but a question, and a SourceError where the database does not answer it.
        """
        self.steps.need_open()
        return notes.sql(self.context, query, params)

    def query(self, promql: str, *, instant: bool = False) -> pd.DataFrame:
        """The series of your own PromQL on this window, a column each; `instant`: a row each, at its end.

        Recorded as evidence. Raises a SourceError where Prometheus does not answer it.
        """
        self.steps.need_open()
        return notes.promql(self.context, promql, instant=instant)

    def logs(
        self, *, since: str = "", until: str = "", matching: str = "", container: str = ""
    ) -> pd.DataFrame:
        """The service's log entries: at, level, line, exception, text and more, a row each, by time.

        `since` and `until` are times ("2026-01-15T03:12:00Z"), or how long before the window's end ("15m");
        empty: the window. `matching` is a regular expression. Ordinary requests and lines of level info are
        left out: `attrs["quiet_lines"]` counts them; `attrs["is_cut"]`: more is missing. Recorded, too.
        """
        self.steps.need_open()
        bounds = {"since": since, "until": until, "matching": matching, "container": container}
        return notes.logs(self.context, **bounds)

    def note(self, text: str) -> None:
        """Note what you saw, did or decided: it is kept with who and when, and stands in the timeline.

        Running its cell again notes nothing anew; the same words in another cell are another note.
        """
        self.steps.need_open()
        self._audience.chronicled(self, "Noted", self.diary.note(text, self.steps.cell))

    def timeline(self) -> None:
        """Show by time: alert, deployments, restarts, actions, findings, your own questions and notes."""
        self._take(("show", "timeline"), self._timeline)

    def _timeline(self) -> None:
        if self._inquiry.given_up:
            missing = Event(None, f"not asked again: {self._inquiry.given_up}", "")
            return self._audience.chronicled(self, "Timeline", [missing])
        told = timeline.ordered([*self._events(), *self._book.began(), *self.diary.events()])
        return self._audience.chronicled(self, "Timeline", told)

    def controls(self) -> None:
        """Show a bar to look again, at another time or service, to refresh, and to seal the evidence.

        Where nothing can be clicked it is a line of text.
        """
        self.steps.need_open()
        self._audience.controlled(self)

    def basics(self) -> None:
        """Show what this is about: alert, service, window, who keeps the runbook."""
        self._list("basics", "", site_tables.basics)

    def contacts(self) -> None:
        """Show whom to call."""
        self._list("contacts", "Contacts", site_tables.contacts)

    def links(self) -> None:
        """Show the site's links, with this window filled in."""
        self._list("links", "Links for this window", site_tables.links)

    def history(self) -> None:
        """Show the past incidents of this alert."""
        self._list("history", "Past incidents", site_tables.history)

    def upkeep(self) -> None:
        """Show who keeps this runbook, when it is to be reviewed, and when it was last used and drilled."""
        self._list("upkeep", "", lambda context: site_tables.upkeep(context, self._uses))

    def _list(self, name: str, title: str, rows: Callable[[Context], pd.DataFrame]) -> None:
        self._take(("show", name), lambda: self._audience.listed(self, title, rows(self.context)))

    def objectives(self) -> None:
        """Judge what was promised: how much of each error budget is left. They are no part of the verdict."""
        asked = objectives.objectives(self.context)
        if asked:
            self._section("Objectives", asked)
        else:
            self._list("objectives", "Objectives", lambda _: pd.DataFrame())

    def escalation(self) -> None:
        """Judge the rules by which someone else is called. They are no part of the verdict."""
        self._section("Escalation", objectives.escalations(self.context))

    def recovery(
        self,
        *,
        failed_below: float = FAILED_BELOW,
        wait_below_seconds: float = WAIT_BELOW_SECONDS,
        held: str = "",
        within: str = "",
    ) -> Certificate | None:
        """Judge whether it is over: health page, error rate, P95, alert, key functions.

        They are no part of the verdict. `failed_below` is a ratio 0–1. With `held`, like "5m", this waits
        until all of it has held for so long, at most `within` (ten minutes more), and gives the certificate.
        """
        if held:
            return self._certify(held, within, failed_below, wait_below_seconds)
        limits = {"failed_below": failed_below, "wait_below_seconds": wait_below_seconds}
        self._section("Recovery", conditions(**limits))
        return None

    def _certify(self, held: str, within: str, failed_below: float, wait_below_seconds: float) -> Certificate:
        """Look again and again, over tapes of their own. Raises ParameterError in a replay."""
        if self.tape.is_replay:
            raise ParameterError("a replay cannot wait for anything", hint="leave out held=…")
        wait = Wait.of(self.context, held, within)

        def show(sample: Sample, held_seconds: float) -> None:
            self._audience.watched(self, sample.findings, held_seconds / wait.hold_seconds)

        limits = {"failed_below": failed_below, "wait_below_seconds": wait_below_seconds}
        found, deed = prove(self.context, self.tape.redactor, self._evidence, wait, on_sample=show, **limits)
        after = f" It was looked at after {deed.action} on {deed.target} by {deed.by}." if deed else ""
        self._audience.concluded(self, f"{found.outcome}: {found.says}{after}", found.findings, ())
        return found

    def marks(self) -> tuple[tuple[datetime, str], ...]:
        """What a chart should mark: alert, deployments, restarts and actions in the window, and the onset."""
        onset = self.context.onset
        told = [(event.at, event.mark) for event in self._events() if event.at and event.mark]
        return (*told, *(((onset, "it began"),) if onset else ()))

    def _events(self) -> tuple[Event, ...]:
        # Kept by the tape and not here: a cell that is run again records what it uses.
        return timeline.happened(self.context, self.tape, self._evidence)

    def _section(self, title: str, asked: Sequence[tuple[Check, Mapping[str, Any]]]) -> None:
        self._take(("section", title), partial(self._conclude, title, asked))

    def _conclude(self, title: str, asked: Sequence[tuple[Check, Mapping[str, Any]]]) -> None:
        findings = [self._answer(check, limits) for check, limits in asked]
        self._audience.concluded(self, title, findings, self.tape.take_recorded())

    def _answer(self, check: Check, limits: Mapping[str, Any], **known: Any) -> Finding:
        return self._inquiry.answer(check, limits, replace(self.context, **known))

    def _propose(self, action: Action, parameters: Mapping[str, Any]) -> Proposal:
        return self._inquiry.propose(action, parameters, self.context)


def overall(findings: Sequence[Finding]) -> Status:
    """The worst status of a section; of none it is UNKNOWN."""
    return max((finding.status for finding in findings), default=Status.UNKNOWN)


Told = TypeVar("Told", contravariant=True)


class Audience(Protocol[Told]):
    """Who is shown what happens: a notebook's cell, or nobody."""

    def opened(self, incident: Told, entries: Sequence[Entry]) -> None:
        """The ledger is open and empty."""

    def judged(self, incident: Told) -> None:
        """The verdict is another one, though nothing was asked."""

    def found(self, incident: Told, finding: Finding, entries: Sequence[Entry]) -> None:
        """A question was answered."""

    def proposed(self, incident: Told, proposal: Proposal, entries: Sequence[Entry]) -> None:
        """A hint may be shown."""

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
