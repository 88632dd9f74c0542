"""How an incident is shown: in a notebook's outputs, which also keep findings and recording, or as text."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pandas as pd

from runbooklib.config.site_secrets import environment_secrets
from runbooklib.errors import InputError
from runbooklib.evidence.verdict_json import (
    FINDING_MIME,
    RECORDING_MIME,
    REPLAY_MIME,
    VERDICT_MIME,
    verdict_as_dict,
)
from runbooklib.model.event import Event
from runbooklib.model.findings import Finding, overall
from runbooklib.model.plan import Proposal
from runbooklib.notebook import controls
from runbooklib.notebook.incident import Incident
from runbooklib.notebook.listener import IncidentListener
from runbooklib.notebook.resume import Resumption
from runbooklib.notebook.saved_outputs import SavedOutputs
from runbooklib.redact.redactor import Redactor
from runbooklib.render import charts, html
from runbooklib.render.html import event_table
from runbooklib.render.inert_html import literal
from runbooklib.render.sentences import fact_text, headline, sentence
from runbooklib.sources.context import Context
from runbooklib.sources.tape import OWN, Entry, Tape, pack

_VERDICT_DISPLAY = "runbook-verdict"


class NotebookScreen(IncidentListener):
    """Shows everything in the notebook's outputs, with its findings as JSON and its recording."""

    def __init__(self, shell: Any, tape: Tape, look_again: Callable[..., None]) -> None:
        self._tape = tape
        self._look_again = look_again
        self._opening: Sequence[Entry] = ()
        self._began_at = datetime.now(UTC)
        self._is_watching = False
        self._incident: Incident | None = None
        self._outputs = SavedOutputs()
        # A finding is shown by its check. As the last value of a cell it must not be shown again.
        for type_ in (Finding, Proposal):
            shell.display_formatter.ipython_display_formatter.for_type(type_, lambda _: None)
        # Also for HTML that a person shows: a DataFrame may hold log lines. Formulas have Math().
        shell.display_formatter.formatters["text/html"].for_type(object, _literal)
        self._events = shell.events
        self._events.register("pre_run_cell", self._begin_cell)
        self._events.register("post_run_cell", self._end_cell)
        charts.draw_without_secrets(Redactor(environment_secrets()) if tape.is_replay else tape.redactor)

    def close(self) -> None:
        """Stop listening to cells: another incident was opened."""
        self._events.unregister("pre_run_cell", self._begin_cell)
        self._events.unregister("post_run_cell", self._end_cell)

    def _begin_cell(self, info: Any) -> None:
        """A cell that is run again loses its outputs, and the recording in them."""
        cell = str(getattr(info, "cell_id", None) or "")
        if self._incident is not None:
            self._incident.steps.begin_cell(cell)
        if self._outputs.begin_cell(cell or info.raw_cell):
            self._tape.record_again()

    def _end_cell(self, result: Any) -> None:
        """What a person asked in the cell is evidence too: record it in an output of that cell."""
        entries = self._tape.take_recorded()
        if self._incident is not None:
            self._incident.notes.collect()
            self._incident.steps.end_cell(succeeded=bool(getattr(result, "success", False)))
        if entries:
            packed = self._pack(entries, is_own=True)
            _publish({"text/plain": f"recorded: {len(entries)}", RECORDING_MIME: packed})
            self._outputs.put(self._outputs.new(), entries)
        self._outputs.end_cell()

    def _pack(self, entries: Sequence[Entry], *, is_own: bool = False) -> dict[str, Any]:
        """The packed recording. It lists a person's own entries, unless `is_own` is true of all of them."""
        own = self._incident.notes.personal_indexes(entries) if self._incident else []
        is_mixed = len(own) != (len(entries) if is_own else 0)
        return {**pack(entries), **({OWN: own} if is_mixed else {})}

    def offer(self, resumed: Resumption | None, saved: Resumption | None) -> None:
        """Say which saved answers this run resumes with, or could resume with."""
        resumption = resumed or saved
        if resumption is None:
            return
        span = f"{fact_text(resumption.begins)} to {fact_text(resumption.ends)}"
        answers = f"{len(resumption.entries)} answers from {span}"
        line = f"Resumed with {answers}. Questions without a saved answer are asked now."
        if resumed is None:
            line = f'This notebook was saved with {answers}. To resume: open_incident(…, resume="this")'
        _publish({"text/plain": line})

    def opened(self, incident: Incident, entries: Sequence[Entry]) -> None:
        """Show the verdict. Each finding redraws it."""
        self._opening, self._incident, self._outputs = entries, incident, incident.outputs
        self._show_verdict(is_update=incident.steps.is_repeat)

    def verdict_changed(self) -> None:
        """Redraw the verdict."""
        self._show_verdict()

    def finding_added(self, finding: Finding, entries: Sequence[Entry]) -> None:
        """Show a finding with its chart, and keep its recording."""
        marks = self._current_incident.marks() if finding.series is not None else ()
        with_marks = [*entries, *self._tape.take_recorded()]
        cause, name = self._current_incident.steps.current
        is_resumed = finding.asked_at is not None and finding.asked_at < self._began_at
        self._show(
            f"{finding.status.name}  {finding.question}  {sentence(finding)}",
            html.finding_card(finding, marks, is_resumed=is_resumed and not self._tape.is_replay),
            with_marks,
            {FINDING_MIME: {**finding.as_dict(), "says": sentence(finding), "cause": cause, "name": name}},
        )
        self._show_verdict()

    def proposal_added(self, proposal: Proposal, entries: Sequence[Entry]) -> None:
        """Show a proposed action."""
        plain = f"{proposal.title}\n    {proposal.command}\n    {proposal.effect}"
        if proposal.plan and not self._tape.is_replay:
            plan = proposal.plan
            plain += f"\n    To do it: runbook approve EVIDENCE {plan.action} (plan {plan.fingerprint})"
        self._show(plain, html.proposal_lines([proposal], may_act=not self._tape.is_replay), entries)
        self._show_verdict()

    def table_added(self, title: str, rows: pd.DataFrame) -> None:
        """Show a table."""
        plain = f"{title}\n{rows.to_string(index=False)}" if len(rows) else f"{title}: none known"
        self._show(plain, html.listing(title, rows), self._tape.take_recorded())

    def events_added(self, title: str, events: Sequence[Event]) -> None:
        """Show events by time."""
        self.table_added(title, event_table(events))

    def controls_requested(self) -> None:
        """Show the controls."""
        controls.show(self._current_incident, partial(self._look_again, self._current_incident))

    def recovery_checked(self, findings: Sequence[Finding], share: float) -> None:
        """Show a progress bar, and the conditions that do not hold."""
        progress = _progress_text(findings, share)
        _clear_output()
        _publish({"text/plain": progress, "text/html": f'<div role="status">{html.text(progress)}</div>'})
        self._is_watching = True

    def section_added(self, title: str, findings: Sequence[Finding], entries: Sequence[Entry]) -> None:
        """Show a section. It replaces the progress bar."""
        if self._is_watching:
            _clear_output()
        self._is_watching = False
        status = overall(findings)
        lines = [f"  {f.status.name}  {f.question}  {sentence(f)}" for f in findings]
        plain = "\n".join([f"{title}: {status.name}", *lines])
        self._show(plain, html.section_card(title, status, findings), entries)
        self._show_verdict()

    @property
    def _current_incident(self) -> Incident:
        if self._incident is None:
            raise InputError("No incident is open.", hint="Run the cell that calls open_incident first.")
        return self._incident

    def _show_verdict(self, *, is_update: bool = True) -> None:
        verdict, context = self._current_incident.verdict, self._current_incident.context
        data = {
            "text/plain": f"{verdict.status.name}  {headline(verdict)}",
            "text/html": html.verdict_card(verdict, context_line(context), is_replay=self._tape.is_replay),
            VERDICT_MIME: verdict_as_dict(verdict, context),
            RECORDING_MIME: pack(self._opening),
            **({REPLAY_MIME: {"version": 1}} if self._tape.is_replay else {}),
        }
        _publish(data, display_id=_VERDICT_DISPLAY, is_update=is_update)
        self._outputs.put(_VERDICT_DISPLAY, self._opening)

    def _show(
        self, plain: str, fragment: str, entries: Sequence[Entry], more: dict[str, Any] | None = None
    ) -> None:
        data = {"text/plain": plain, "text/html": fragment, **(more or {})}
        if entries:
            data[RECORDING_MIME] = self._pack(entries)
        steps = self._current_incident.steps
        ids = self._outputs.of(steps.current) if steps.is_repeat else [self._outputs.new(steps.current)]
        for display_id in ids:
            _publish(data, display_id=display_id, is_update=steps.is_repeat)
            self._outputs.put(display_id, entries)


def _publish(data: dict[str, Any], *, display_id: str | None = None, is_update: bool = False) -> None:
    from IPython.display import display, update_display

    if "text/html" in data:
        data = {**data, "text/html": literal(data["text/html"])}
    if is_update:
        update_display(data, display_id=display_id, raw=True)
    else:
        display(data, raw=True, display_id=display_id)


def _literal(value: object) -> Any:
    """The HTML of an object as IPython would ask for it, without typesetting; None where it has none."""
    from IPython.utils.dir2 import get_real_method

    method = get_real_method(value, "_repr_html_")
    fragment = method() if method else None
    if isinstance(fragment, tuple):  # with metadata
        return literal(fragment[0]), *fragment[1:]
    return literal(fragment) if isinstance(fragment, str) else fragment


def _clear_output() -> None:
    """Remove the cell's outputs when it shows the next."""
    from IPython.display import clear_output

    clear_output(wait=True)


def context_line(context: Context) -> str:
    """Alert, service, environment and window, in one line."""
    window = f"{fact_text(context.window.start)} to {fact_text(context.window.end)}"
    return f"{context.alert} · {context.service.title} · {context.target.environment.title} · {window}"


def _progress_text(findings: Sequence[Finding], share: float) -> str:
    done = round(20 * min(share, 1.0))
    failing = ", ".join(f"{finding.check} {finding.status.name}" for finding in findings if finding.status)
    return f"{'█' * done}{'░' * (20 - done)} {failing or 'all conditions hold'}"


class TextScreen(IncidentListener):
    """Prints a line for each finding; for plain Python, where there is no notebook."""

    def opened(self, incident: Incident, entries: Sequence[Entry]) -> None:
        """Print what the incident is about."""
        del entries
        self._context = incident.context
        print(context_line(incident.context))

    def finding_added(self, finding: Finding, entries: Sequence[Entry]) -> None:
        """Print the finding."""
        del entries
        print(f"{finding.status.name:8}  {finding.question}  {sentence(finding)}")

    def proposal_added(self, proposal: Proposal, entries: Sequence[Entry]) -> None:
        """Print the command."""
        del entries
        print(f"          {proposal.title}: {proposal.command}")

    def table_added(self, title: str, rows: pd.DataFrame) -> None:
        """Print the table."""
        print(title, rows.to_string(index=False), sep="\n")

    def events_added(self, title: str, events: Sequence[Event]) -> None:
        """Print the events by time."""
        self.table_added(title, event_table(events))

    def controls_requested(self) -> None:
        """Print what the controls would say."""
        print(controls.line(self._context))

    def recovery_checked(self, findings: Sequence[Finding], share: float) -> None:
        """Print the progress."""
        print(_progress_text(findings, share))

    def section_added(self, title: str, findings: Sequence[Finding], entries: Sequence[Entry]) -> None:
        """Print the section's status and its findings."""
        print(f"{overall(findings).name:8}  {title}")
        for finding in findings:
            self.finding_added(finding, entries)
