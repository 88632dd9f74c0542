"""What an incident shows: in a notebook's outputs, where it also keeps ledger and recording, or as text."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pandas as pd

from runbooklib.config.site_secrets import environment_secrets
from runbooklib.evidence.verdict_json import (
    FINDING_MIME,
    RECORDING_MIME,
    REPLAY_MIME,
    VERDICT_MIME,
    verdict_as_dict,
)
from runbooklib.model.event import Event
from runbooklib.model.findings import Finding
from runbooklib.model.plan import Proposal
from runbooklib.notebook import controls
from runbooklib.notebook.incident import Incident, overall
from runbooklib.notebook.resume import Resumption
from runbooklib.notebook.saved_outputs import SavedOutputs
from runbooklib.redact.redactor import Redactor
from runbooklib.render import charts, html
from runbooklib.render.html import chronicle
from runbooklib.render.inert_html import literal
from runbooklib.render.sentences import fact_text, headline, sentence
from runbooklib.sources.context import Context
from runbooklib.sources.tape import OWN, Entry, Tape, pack

_VERDICT_DISPLAY = "runbook-verdict"


class NotebookScreen:
    """Shows everything in the notebook's outputs, and keeps the ledger and the recording there."""

    def __init__(self, shell: Any, tape: Tape, look_again: Callable[..., None]) -> None:
        self._tape = tape
        self._look_again = look_again
        self._opening: Sequence[Entry] = ()
        self._began_at = datetime.now(UTC)
        self._is_watching = False
        self._incident: Incident | None = None
        self._places = SavedOutputs()
        # A check's finding has been shown when its cell ends: as the cell's last value it is silent.
        for shown in (Finding, Proposal):
            shell.display_formatter.ipython_display_formatter.for_type(shown, lambda _: None)
        # Of HTML that the engineer shows too: a DataFrame's cells are a log's words. Formulas have Math().
        shell.display_formatter.formatters["text/html"].for_type(object, _literal)
        self._events = shell.events
        self._events.register("pre_run_cell", self._note_cell)
        self._events.register("post_run_cell", self._keep_own_questions)
        charts.draw_without_secrets(Redactor(environment_secrets()) if tape.is_replay else tape.redactor)

    def close(self) -> None:
        """Another incident is shown from now on."""
        self._events.unregister("pre_run_cell", self._note_cell)
        self._events.unregister("post_run_cell", self._keep_own_questions)

    def _note_cell(self, info: Any) -> None:
        """A cell that is run again loses its outputs, and what was recorded in them."""
        cell = str(getattr(info, "cell_id", None) or "")
        if self._incident is not None:
            self._incident.steps.begin_cell(cell)
        if self._places.begin_cell(cell or info.raw_cell):
            self._tape.record_again()

    def _keep_own_questions(self, result: Any) -> None:
        """What the engineer asked by hand in a cell is evidence too, and lies in that cell's output."""
        entries = self._tape.take_recorded()
        if self._incident is not None:
            self._incident.diary.notice()
            self._incident.steps.end_cell(is_sound=bool(getattr(result, "success", False)))
        if entries:
            packed = self._packed(entries, is_own=True)
            _publish({"text/plain": f"recorded: {len(entries)}", RECORDING_MIME: packed})
            self._places.lay(self._places.new(), entries)
        self._places.end_cell()

    def _packed(self, entries: Sequence[Entry], *, is_own: bool = False) -> dict[str, Any]:
        """The recording, and which of it people asked themselves, where it is not as `is_own` says of all."""
        own = self._incident.diary.own_among(entries) if self._incident else []
        is_mixed = len(own) != (len(entries) if is_own else 0)
        return {**pack(entries), **({OWN: own} if is_mixed else {})}

    def offer(self, resumed: Resumption | None, saved: Resumption | None) -> None:
        """Say what this run goes on with, or could go on with."""
        found = resumed or saved
        if found is None:
            return
        of = f"{len(found.entries)} answers of {fact_text(found.begins)} to {fact_text(found.ends)}"
        line = f"Resumed with {of}. What was not answered then is asked now."
        if resumed is None:
            line = f'This notebook was saved with {of}. To go on with them: open_incident(…, resume="this")'
        _publish({"text/plain": line})

    def opened(self, incident: Incident, entries: Sequence[Entry]) -> None:
        """Show the verdict, which is drawn anew by each finding."""
        self._opening, self._incident, self._places = entries, incident, incident.places
        self._verdict(incident, is_update=incident.steps.is_again)

    def judged(self, incident: Incident) -> None:
        """Draw the verdict anew."""
        self._verdict(incident)

    def found(self, incident: Incident, finding: Finding, entries: Sequence[Entry]) -> None:
        """Show a finding with its chart, and keep its recording."""
        has_chart = finding.series is not None
        marks = incident.marks() if has_chart else ()
        late = [*entries, *self._tape.take_recorded()]
        cause, name = incident.steps.now
        is_resumed = finding.asked_at is not None and finding.asked_at < self._began_at
        self._show(
            incident,
            f"{finding.status.name}  {finding.question}  {sentence(finding)}",
            html.finding_card(finding, marks, is_resumed=is_resumed and not self._tape.is_replay),
            late,
            {FINDING_MIME: {**finding.as_dict(), "says": sentence(finding), "cause": cause, "name": name}},
        )
        self._verdict(incident)

    def proposed(self, incident: Incident, proposal: Proposal, entries: Sequence[Entry]) -> None:
        """Show a hint."""
        plain = f"{proposal.title}\n    {proposal.command}\n    {proposal.effect}"
        if proposal.plan and not self._tape.is_replay:
            plan = proposal.plan
            plain += f"\n    To do it: runbook approve EVIDENCE {plan.action} (plan {plan.fingerprint})"
        self._show(
            incident, plain, html.proposal_lines([proposal], may_act=not self._tape.is_replay), entries
        )
        self._verdict(incident)

    def listed(self, incident: Incident, title: str, rows: pd.DataFrame) -> None:
        """Show a table."""
        plain = f"{title}\n{rows.to_string(index=False)}" if len(rows) else f"{title}: none known"
        self._show(incident, plain, html.listing(title, rows), self._tape.take_recorded())

    def chronicled(self, incident: Incident, title: str, events: Sequence[Event]) -> None:
        """Show events."""
        self.listed(incident, title, chronicle(events))

    def controlled(self, incident: Incident) -> None:
        """Show the bar of controls."""
        controls.show(incident, partial(self._look_again, incident))

    def watched(self, incident: Incident, findings: Sequence[Finding], share: float) -> None:
        """A bar that grows, and what does not hold."""
        del incident
        told = _watched(findings, share)
        data = {"text/plain": told, "text/html": f'<div role="status">{html.text(told)}</div>'}
        _clear()
        _publish(data)
        self._is_watching = True

    def concluded(
        self, incident: Incident, title: str, findings: Sequence[Finding], entries: Sequence[Entry]
    ) -> None:
        """Show a section, in the place of the bar that grew until then."""
        if self._is_watching:
            _clear()
        self._is_watching = False
        status = overall(findings)
        lines = [f"  {f.status.name}  {f.question}  {sentence(f)}" for f in findings]
        self._show(
            incident,
            "\n".join([f"{title}: {status.name}", *lines]),
            html.section_card(title, status, findings),
            entries,
        )
        self._verdict(incident)

    def _verdict(self, incident: Incident, *, is_update: bool = True) -> None:
        verdict = incident.verdict
        data = {
            "text/plain": f"{verdict.status.name}  {headline(verdict)}",
            "text/html": html.verdict_card(verdict, about(incident.context), is_replay=self._tape.is_replay),
            VERDICT_MIME: verdict_as_dict(verdict, incident.context),
            RECORDING_MIME: pack(self._opening),
            **({REPLAY_MIME: {"version": 1}} if self._tape.is_replay else {}),
        }
        _publish(data, display_id=_VERDICT_DISPLAY, is_update=is_update)
        self._places.lay(_VERDICT_DISPLAY, self._opening)

    def _show(
        self,
        incident: Incident,
        plain: str,
        fragment: str,
        entries: Sequence[Entry],
        more: dict[str, Any] | None = None,
    ) -> None:
        data = {"text/plain": plain, "text/html": fragment, **(more or {})}
        if entries:
            data[RECORDING_MIME] = self._packed(entries)
        step, is_again = incident.steps.now, incident.steps.is_again
        for place in self._places.of(step) if is_again else [self._places.new(step)]:
            _publish(data, display_id=place, is_update=is_again)
            self._places.lay(place, entries)


def _publish(data: dict[str, Any], *, display_id: str | None = None, is_update: bool = False) -> None:
    from IPython.display import display, update_display

    if "text/html" in data:
        data = {**data, "text/html": literal(data["text/html"])}
    if is_update:
        update_display(data, display_id=display_id, raw=True)
    else:
        display(data, raw=True, display_id=display_id)


def _literal(shown: object) -> Any:
    """An object as HTML, as IPython would ask for it, and never typeset; None where it has none."""
    from IPython.utils.dir2 import get_real_method

    method = get_real_method(shown, "_repr_html_")
    told = method() if method else None
    if isinstance(told, tuple):  # with metadata
        return literal(told[0]), *told[1:]
    return literal(told) if isinstance(told, str) else told


def _clear() -> None:
    """What the cell has shown so far goes when it shows something else."""
    from IPython.display import clear_output

    clear_output(wait=True)


def about(context: Context) -> str:
    """Which alert, service, environment and window this is, in one line."""
    window = f"{fact_text(context.window.start)} to {fact_text(context.window.end)}"
    return f"{context.alert} · {context.service.title} · {context.target.environment.title} · {window}"


def _watched(findings: Sequence[Finding], share: float) -> str:
    done = round(20 * min(share, 1.0))
    bad = ", ".join(f"{one.check} {one.status.name}" for one in findings if one.status)
    return f"{'█' * done}{'░' * (20 - done)} {bad or 'everything holds'}"


class TextScreen:
    """Writes a line for each finding; for plain Python, where there is no notebook."""

    def opened(self, incident: Incident, entries: Sequence[Entry]) -> None:
        """Say what this is about."""
        del entries
        print(about(incident.context))

    def judged(self, incident: Incident) -> None:
        """Nothing: whoever wants the verdict asks for it."""

    def found(self, incident: Incident, finding: Finding, entries: Sequence[Entry]) -> None:
        """A line."""
        del incident, entries
        print(f"{finding.status.name:8}  {finding.question}  {sentence(finding)}")

    def proposed(self, incident: Incident, proposal: Proposal, entries: Sequence[Entry]) -> None:
        """A line."""
        del incident, entries
        print(f"          {proposal.title}: {proposal.command}")

    def listed(self, incident: Incident, title: str, rows: pd.DataFrame) -> None:
        """A table."""
        del incident
        print(title, rows.to_string(index=False), sep="\n")

    def chronicled(self, incident: Incident, title: str, events: Sequence[Event]) -> None:
        """A table."""
        self.listed(incident, title, chronicle(events))

    def controlled(self, incident: Incident) -> None:
        """A line."""
        print(controls.line(incident.context))

    def watched(self, incident: Incident, findings: Sequence[Finding], share: float) -> None:
        """A line for each look."""
        del incident
        print(_watched(findings, share))

    def concluded(
        self, incident: Incident, title: str, findings: Sequence[Finding], entries: Sequence[Entry]
    ) -> None:
        """A line for the section, and one for each finding."""
        print(f"{overall(findings).name:8}  {title}")
        for finding in findings:
            self.found(incident, finding, entries)
