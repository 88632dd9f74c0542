"""One incident in a notebook: ask checks, keep their findings, propose actions, show the result.

`incident.check(error_rate, above=0.05)` asks one question and keeps its finding; `incident.cause(id, title)`
does the same for one possible cause. Asking the same question again replaces its finding. A system that does
not answer gives an UNKNOWN finding, never an exception: the other questions must still be asked.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from runbooklib.actions.baseline import as_before
from runbooklib.actions.recovery import FAILED_BELOW, WAIT_BELOW_SECONDS, Certificate, conditions
from runbooklib.checks import objectives
from runbooklib.checks.ask import Check, no_proposal, not_asked, propose, question_of
from runbooklib.errors import RunbookError
from runbooklib.model.event import Event, Statement
from runbooklib.model.findings import Finding
from runbooklib.model.plan import Proposal
from runbooklib.model.verdict import Verdict
from runbooklib.notebook import notes, site_tables, timeline
from runbooklib.notebook.certify import wait_for_recovery
from runbooklib.notebook.earlier_runs import ask_with_age
from runbooklib.notebook.ledger import CAUSE_STEP, FindingLedger, SavedFinding, proposal_step, step_name
from runbooklib.notebook.listener import IncidentListener
from runbooklib.notebook.notes import Notes
from runbooklib.notebook.possible_cause import PossibleCause
from runbooklib.notebook.saved_outputs import SavedOutputs
from runbooklib.notebook.steps import Change, Step, Steps
from runbooklib.sources.context import Context, Sources
from runbooklib.sources.tape import Entry, Tape

T = TypeVar("T")
Questions = Sequence[tuple[Check, Mapping[str, Any]]]


class Incident:
    """One incident. Made by `open_incident`."""

    def __init__(
        self,
        context: Context,
        tape: Tape,
        listener: IncidentListener,
        *,
        uses: Mapping[str, str] | None = None,
        evidence: Path | None = None,
        saved_findings: Sequence[SavedFinding] = (),
        saved_notes: Sequence[Entry] = (),
    ) -> None:
        self.steps = Steps(self._reorder)
        self.outputs = SavedOutputs()
        self.tape = tape
        self.notes = Notes(tape, saved_notes)
        self._uses = uses or {}
        self._evidence = evidence
        self._listener = listener
        # The reason why no check is asked any more: each check is then UNKNOWN. Empty: checks are asked.
        self._stopped_because = ""
        self._ledger = FindingLedger(context.with_server_clock())
        for saved in saved_findings:
            self.steps.restore(saved.cell, (saved.cause, saved.name))
            self._ledger.restore(saved)
        self._open()

    def _open(self) -> None:
        self._listener.opened(self, self.tape.take_recorded())
        if self.context.window.skew_seconds and not self.steps.is_repeat:
            self._listener.table_added("", site_tables.clock(self.context))
        self.tape.take_used()

    def __repr__(self) -> str:
        service = self.context.target.service_name
        return f"Incident({self.context.alert}, {service}, {self.verdict.status.name})"

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The findings about the symptoms, in the order in which each check was first asked."""
        return self._ledger.findings

    @property
    def verdict(self) -> Verdict:
        """The verdict over all findings so far."""
        return self._ledger.verdict

    @property
    def context(self) -> Context:
        """Target, window and sources, with the facts that the findings so far have established."""
        return self._ledger.context

    @property
    def sources(self) -> Sources:
        """The systems, for your own questions: `incident.sources.prometheus.custom_query("up")`."""
        return self.context.sources

    @property
    def prometheus(self) -> Any:
        """The PrometheusConnect of this environment. Its requests and answers are recorded."""
        return self.context.sources.prometheus

    def check(self, check: Check, **limits: Any) -> Finding:
        """Ask a check about the symptom and keep its finding. Raises ParameterError for a bad limit."""
        return self._check("", check, limits)

    def cause(self, id: str, title: str) -> PossibleCause:  # noqa: A002 - it is the cause's id
        """A possible cause. `id` is kebab-case and never changes: recordings and reports refer to it."""
        self.steps.name((CAUSE_STEP, id))
        self._ledger.causes.open(id, title)
        return PossibleCause(
            lambda: self._ledger.causes.cause(id), partial(self._check, id), partial(self._propose, id)
        )

    def _check(self, cause: str, check: Check, limits: Mapping[str, Any]) -> Finding:
        name = step_name(check, limits)
        return self._run_step((cause, name), partial(self._ask_and_keep, cause, name, check, limits))

    def _ask_and_keep(self, cause: str, name: str, check: Check, limits: Mapping[str, Any]) -> Finding:
        former = self.steps.former_of((cause, name)) or ("", "")
        known = {} if self._stopped_because else self._ledger.known(cause, name, former[1])
        finding = self._ask(check, limits, **known)
        self._ledger.keep(cause, name, finding)
        self._listener.finding_added(finding, self.tape.take_recorded())
        return finding

    def _ask(self, check: Check, limits: Mapping[str, Any], **known: Any) -> Finding:
        if self._stopped_because:
            question = question_of(check, limits)
            return not_asked(
                "Not asked again: {reason}", check.__name__, question, reason=self._stopped_because
            )
        return ask_with_age(check, limits, replace(self.context, **known), self.tape, self._evidence)

    def _propose(
        self, cause: str, action: Callable[..., Proposal], parameters: Mapping[str, Any]
    ) -> Proposal:
        name = step_name(action, parameters)

        def make_proposal() -> Proposal:
            if self._stopped_because:
                proposal = no_proposal(action, "Not proposed again: {reason}", self._stopped_because)
            else:
                known = self._ledger.known(cause, name)
                proposal = propose(action, parameters, replace(self.context, **known))
            if proposal.command:
                self._ledger.causes.keep_proposal(cause, name, proposal)
            self._listener.proposal_added(proposal, self.tape.take_recorded())
            return proposal

        return self._run_step((cause, proposal_step(name)), make_proposal)

    def _run_step(self, step: Step, call: Callable[[], T]) -> T:
        self.notes.collect()
        try:
            return self.steps.run(step, call)
        finally:
            self.tape.take_used()

    def ask_again(self, context: Context) -> None:
        """Ask every check again in this context, in the same order, and redraw the outputs.

        The earlier answers no longer count: a check that is not asked again, for whatever reason, is UNKNOWN.
        Raises the first RunbookError after everything was asked.
        """
        self.steps.require_open()
        self.notes.collect()
        self.steps.mark_all_pending()
        self.steps.is_repeat = True
        try:
            self._ledger.expire(context)
            self._listener.verdict_changed()
            self._ledger.context = context.with_server_clock()
            self._open()
            self.steps.rerun_pending()
        except BaseException as error:
            self._stop(str(error) if isinstance(error, RunbookError) else "interrupted")
            raise
        finally:
            self.steps.is_repeat = False

    def _stop(self, reason: str) -> None:
        """Redraw the steps that were not asked again as UNKNOWN: their findings are from another time."""
        self._stopped_because = reason
        try:
            self.steps.rerun_pending()
        finally:
            self._stopped_because = ""
            self._listener.verdict_changed()

    def _reorder(self, change: Change) -> None:
        self._ledger.reorder(change)
        self._listener.verdict_changed()

    def sql(self, query: str, params: Sequence[Any] = ()) -> pd.DataFrame:
        """The rows of your own read-only query: `incident.sql("select … where state = %s", ["active"])`.

        At most 10,000 rows (then `attrs["is_cut"]` is True). Recorded as evidence. Raises ParameterError for
        a statement that is not read-only, and a SourceError if the database does not answer it.
        """
        self.steps.require_open()
        return notes.sql(self.context, query, params)

    def query(self, promql: str, *, instant: bool = False) -> pd.DataFrame:
        """The series of your own PromQL over the window, a column each; `instant`: a row each, at its end.

        Recorded as evidence. Raises a SourceError if Prometheus does not answer it.
        """
        self.steps.require_open()
        return notes.promql(self.context, promql, instant=instant)

    def logs(
        self, *, since: str = "", until: str = "", matching: str = "", container: str = ""
    ) -> pd.DataFrame:
        """The service's log entries by time, a row each: at, level, line, exception, text and more.

        `since` and `until` are times ("2026-01-15T03:12:00Z") or durations before the window's end ("15m");
        empty: the window. `matching` is a regular expression. Ordinary requests and lines of level info are
        left out: `attrs["quiet_lines"]` counts them; `attrs["is_cut"]` is True if more is missing. Recorded.
        """
        self.steps.require_open()
        bounds = {"since": since, "until": until, "matching": matching, "container": container}
        return notes.logs(self.context, **bounds)

    def note(self, text: str) -> None:
        """Note what you saw, did or decided. It is kept with your name and the time, and is in the timeline.

        Running the cell again adds no second note; the same words in another cell are another note.
        """
        self.steps.require_open()
        self._listener.events_added("Noted", self.notes.add(text, self.steps.cell))

    def timeline(self) -> None:
        """Show by time: alert, deployments, restarts, actions, findings, your own questions and notes."""
        self._run_step(("show", "timeline"), self._show_timeline)

    def _show_timeline(self) -> None:
        if self._stopped_because:
            reason = {"reason": self._stopped_because}
            events = [Event(None, Statement("not asked again: {reason}", reason), "")]
        else:
            events = timeline.sort_by_time(
                [*self._events(), *self._ledger.onset_events(), *self.notes.events()]
            )
        self._listener.events_added("Timeline", events)

    def controls(self) -> None:
        """Show the controls: run the checks again, for another time or service; refresh; seal the evidence.

        Outside JupyterLab this shows one line of text.
        """
        self.steps.require_open()
        self._listener.controls_requested()

    def basics(self) -> None:
        """Show alert, service, window and owner."""
        self._show_table("basics", "", site_tables.basics)

    def contacts(self) -> None:
        """Show the people and teams to call."""
        self._show_table("contacts", "Contacts", site_tables.contacts)

    def links(self) -> None:
        """Show the site's links, with this window filled in."""
        self._show_table("links", "Links for this window", site_tables.links)

    def history(self) -> None:
        """Show the past incidents of this alert."""
        self._show_table("history", "Past incidents", site_tables.history)

    def upkeep(self) -> None:
        """Show who maintains this runbook, when its next review is due, and when it was last used."""
        self._show_table("upkeep", "", lambda context: site_tables.upkeep(context, self._uses))

    def _show_table(self, name: str, title: str, table: Callable[[Context], pd.DataFrame]) -> None:
        self._run_step(("show", name), lambda: self._listener.table_added(title, table(self.context)))

    def objectives(self) -> None:
        """Judge the objectives: how much of each error budget is left. They do not change the verdict."""
        if questions := objectives.objectives(self.context):
            self._section("Objectives", questions)
        else:
            self._show_table("objectives", "Objectives", lambda _: pd.DataFrame())

    def escalation(self) -> None:
        """Judge the escalation rules. They do not change the verdict."""
        self._section("Escalation", objectives.escalations(self.context))

    def recovery(
        self,
        *,
        failed_below: float = FAILED_BELOW,
        wait_below_seconds: float = WAIT_BELOW_SECONDS,
        held: str = "",
        within: str = "",
    ) -> Certificate | None:
        """Judge whether the service has recovered: health page, error rate, P95, alert, key functions.

        This does not change the verdict. `failed_below` is a ratio 0–1. With `held`, for example "5m", this
        waits until all conditions have held for that long, at most `within` (default: `held` plus ten
        minutes), and returns the certificate.
        """
        limits = {"failed_below": failed_below, "wait_below_seconds": wait_below_seconds}
        if held:
            return wait_for_recovery(
                self.context, self.tape, self._listener, self._evidence, held=held, within=within, **limits
            )
        self._section("Recovery", conditions(**limits))
        return None

    def marks(self) -> tuple[tuple[datetime, str], ...]:
        """(time, label) for charts: alert, deployments, restarts and actions in the window, and the onset."""
        onset = self.context.onset
        marks = [(event.at, event.mark) for event in self._events() if event.at and event.mark]
        return (*marks, *(((onset, "it began"),) if onset else ()))

    def _events(self) -> tuple[Event, ...]:
        # The tape caches the answers. They are not cached here: a cell that is run again must record them.
        return timeline.window_events(self.context, self.tape, self._evidence)

    def _section(self, title: str, questions: Questions) -> None:
        self._run_step(("section", title), partial(self._ask_section, title, questions))

    def _ask_section(self, title: str, questions: Questions) -> None:
        asked = [self._ask(check, limits) for check, limits in questions]
        findings = [as_before(finding, self.context.time_before) for finding in asked]
        self._listener.section_added(title, findings, self.tape.take_recorded())
