"""What a notebook begins with: `open_incident`.

It checks the parameters again (papermill only warns of unknown ones), opens the window and the tape, and
shows the verdict at the top of the notebook, redrawn by each check.
"""

import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pandas as pd

from runbooklib import charts, controls, parameters, questions, resumption
from runbooklib.answers import OPENING
from runbooklib.errors import InputError, NotRecordedError, ParameterError, SettingsError
from runbooklib.evidence import read_recording
from runbooklib.findings import Finding
from runbooklib.history import EVIDENCE_VARIABLE, uses_of
from runbooklib.incident import Incident, overall
from runbooklib.plans import Proposal
from runbooklib.redact import Redactor
from runbooklib.render import html
from runbooklib.render.chronicle import chronicle
from runbooklib.render.sentences import headline, sentence, told
from runbooklib.report import FINDING_MIME, RECORDING_MIME, VERDICT_MIME, verdict_as_dict
from runbooklib.resumption import Resumption
from runbooklib.scene import Scene, Sources
from runbooklib.settings import environment_secrets, home, read_target, secrets_of
from runbooklib.steps import Step
from runbooklib.tape import Entry, Tape, pack
from runbooklib.target import Target
from runbooklib.timeline import Event
from runbooklib.window import Window

REPLAY_VARIABLE = "RUNBOOK_REPLAY"
_VERDICT_DISPLAY = "runbook-verdict"
# Papermill's own mark at the top of the cell that it injects.
_INJECTED = "# Parameters\n"


def open_incident(
    alert: str,
    *,
    environment: str,
    service: str,
    at: str = "",
    lookback: str = "",
    replay: str = "",
    resume: str = "",
) -> Incident:
    """The incident of this alert for the service in the environment.

    `at` is the end of the window (ISO 8601 with offset; empty: now), `lookback` its length (empty: the
    environment's). `replay` is a bundle or an executed notebook: its recording answers in the place of the
    systems, and the other parameters are those of then. `resume` is such a run that is to go on: "this" is
    the notebook that runs, as it was last saved. What was answered then is not asked again, what was not is
    asked live. Raises ParameterError, SettingsError and MissingSecretError before anything is asked.
    """
    for name, value in {
        "environment": environment,
        "service": service,
        "at": at,
        "lookback": lookback,
    }.items():
        if not isinstance(value, str):
            raise ParameterError(f"{name} must be text, and {value!r} is not", remedy="put it in quotes")
    shell = _shell()
    if shell is not None:
        is_first = _close_former()
        _refuse_unknown_parameters(shell.user_ns.get("In", []))
    replayed = replay or os.environ.get(REPLAY_VARIABLE, "")
    resumed = resumption.read(resume, alert) if resume and not replayed else None
    place = resumed.place if resumed else (environment, service)
    tape = _recorded(replayed) if replayed else _live(read_target(*place), resumed)
    opening = tape.ask(OPENING, {"alert": alert}, lambda: _opening(alert, *place, at, lookback), is_ours=True)
    # What is asked live is asked of the systems as they are set up now.
    target = read_target(*place) if resumed else Target.model_validate(opening["target"])
    scene = Scene(alert, target, Window.from_dict(opening["window"]), Sources(target, tape))
    audience = _NotebookAudience(shell, tape) if shell else _TextAudience()
    kept = resumed.kept if resumed else ()
    incident = Incident(
        scene, tape, audience, uses=opening.get("uses", {}), evidence=evidence_folder(), kept=kept
    )
    if isinstance(audience, _NotebookAudience):
        _OPEN.append((incident, audience))
        if is_first and not replayed:
            audience.offer(resumed, resumption.offered(alert))
    return incident


# The incident of this notebook, and who shows it.
_OPEN: list[tuple[Incident, "_NotebookAudience"]] = []


class NotOpened:
    """Stands for the incident until one is open, and says so whatever it is asked."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        raise InputError("no incident is open", remedy="run the cell with open_incident(…) first")


def current() -> Incident | NotOpened:
    """The incident that this notebook has open."""
    return _OPEN[-1][0] if _OPEN else NotOpened()


def _close_former() -> bool:
    """What was opened before shows nothing any more; whether there was nothing."""
    is_first = not _OPEN
    while _OPEN:
        incident, audience = _OPEN.pop()
        incident.steps.end()
        audience.close()
    return is_first


def evidence_folder() -> Path | None:
    """Where evidence is kept; None where there is no home."""
    named = os.environ.get(EVIDENCE_VARIABLE)
    try:
        return Path(named) if named else home() / "evidence"
    except SettingsError:
        return None


def look_again(incident: Incident, *, service: str, at: str, lookback: str) -> None:
    """Ask all that the incident asked again: now, or `at` a time, of that service.

    What the notebook shows is redrawn. Raises ParameterError for what cannot be meant, before anything is
    asked, and in a replay.
    """
    scene, tape = incident.scene, incident.tape
    if tape.is_replay:
        raise ParameterError("this is a replay: no system is asked", remedy="open the incident without it")
    alert = scene.alert
    opening = _opening(alert, scene.target.environment_name, service, at, lookback)
    tape.forget(keeping={questions.NOTE})
    opening = tape.ask(OPENING, {"alert": alert}, lambda: opening, is_ours=True)
    target = Target.model_validate(opening["target"])
    incident.ask_again(Scene(alert, target, Window.from_dict(opening["window"]), Sources(target, tape)))


def _live(target: Target, resumed: Resumption | None) -> Tape:
    secrets = [*secrets_of(target), *environment_secrets()]
    return Tape(Redactor(secrets), resumed=resumed.entries if resumed else ())


def _recorded(path: str) -> Tape:
    """The tape of a recording; from now on this process opens no network connection."""
    sys.addaudithook(_refuse_outside)
    return Tape(recording=read_recording(Path(path)))


def _refuse_outside(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.connect" and isinstance(arguments[1], tuple):
        raise NotRecordedError(f"a replay must not reach outside, and something tried {arguments[1]!r}")


def _opening(alert: str, environment: str, service: str, at: str, lookback: str) -> dict[str, Any]:
    """What the incident is opened with; recorded, so that a replay has it on any machine."""
    target = read_target(environment, service)
    window = Window.open(
        opened_at=datetime.now(UTC),
        at=at,
        lookback=lookback or target.timing.lookback,
        scrape_interval=target.timing.scrape_interval,
    )
    uses = uses_of(alert, evidence_folder() or home() / "evidence")
    return {"target": target.model_dump(mode="json"), "window": window.as_dict(), "uses": asdict(uses)}


def _shell() -> Any:
    """The IPython that runs this, or None in plain Python."""
    try:
        from IPython import get_ipython
    except ImportError:
        return None
    return get_ipython()


def _refuse_unknown_parameters(executed: Sequence[str]) -> None:
    """Raises ParameterError where papermill injected a name that the parameters cell does not declare."""
    injected = [place for place, source in enumerate(executed) if source.startswith(_INJECTED)]
    if not injected or not injected[0]:
        return
    known = parameters.declared(executed[injected[0] - 1])
    parameters.refuse_unknown(known, parameters.assigned(executed[injected[-1]]), "parameters")


class _NotebookAudience:
    """Shows everything in the notebook's outputs, and keeps the ledger and the recording there."""

    def __init__(self, shell: Any, tape: Tape) -> None:
        self._tape = tape
        self._opening: Sequence[Entry] = ()
        self._began_at = datetime.now(UTC)
        # Where each step has shown something, by the display's id; which cells have been run.
        self._places: dict[Step, list[str]] = {}
        self._cells: set[str] = set()
        # A check's finding has been shown when its cell ends: as the cell's last value it is silent.
        for shown in (Finding, Proposal):
            shell.display_formatter.ipython_display_formatter.for_type(shown, lambda _: None)
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
        cell = str(getattr(info, "cell_id", None) or info.raw_cell)
        if cell in self._cells:
            self._tape.record_again()
        self._cells.add(cell)

    def _keep_own_questions(self, _: Any) -> None:
        """What the engineer asked by hand in a cell is evidence too, and lies in that cell's output."""
        entries = self._tape.take_recorded()
        if entries:
            _publish({"text/plain": f"recorded: {len(entries)}", RECORDING_MIME: pack(entries)})

    def offer(self, resumed: Resumption | None, saved: Resumption | None) -> None:
        """Say what this run goes on with, or could go on with."""
        found = resumed or saved
        if found is None:
            return
        of = f"{len(found.entries)} answers of {told(found.begins)} to {told(found.ends)}"
        line = f"Resumed with {of}. What was not answered then is asked now."
        if resumed is None:
            line = f'This notebook was saved with {of}. To go on with them: open_incident(…, resume="this")'
        _publish({"text/plain": line})

    def opened(self, incident: Incident, entries: Sequence[Entry]) -> None:
        self._opening = entries
        self._verdict(incident, is_update=incident.steps.is_again)

    def found(self, incident: Incident, finding: Finding, entries: Sequence[Entry]) -> None:
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
        plain = f"{proposal.title}\n    {proposal.command}\n    {proposal.effect}"
        if proposal.plan:
            plan = proposal.plan
            plain += f"\n    To do it: runbook approve EVIDENCE {plan.action} (plan {plan.fingerprint})"
        self._show(incident, plain, html.proposal_lines([proposal]), entries)
        self._verdict(incident)

    def listed(self, incident: Incident, title: str, rows: pd.DataFrame) -> None:
        plain = f"{title}\n{rows.to_string(index=False)}" if len(rows) else f"{title}: none known"
        self._show(incident, plain, html.listing(title, rows), self._tape.take_recorded())

    def chronicled(self, incident: Incident, title: str, events: Sequence[Event]) -> None:
        self.listed(incident, title, chronicle(events))

    def controlled(self, incident: Incident) -> None:
        controls.show(incident, partial(look_again, incident), evidence_folder)

    def concluded(
        self, incident: Incident, title: str, findings: Sequence[Finding], entries: Sequence[Entry]
    ) -> None:
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
            "text/html": html.verdict_card(verdict, about(incident.scene), is_replay=self._tape.is_replay),
            VERDICT_MIME: verdict_as_dict(verdict, incident.scene),
            RECORDING_MIME: pack(self._opening),
        }
        _publish(data, display_id=_VERDICT_DISPLAY, is_update=is_update)

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
            data[RECORDING_MIME] = pack(entries)
        places = self._places.setdefault(incident.steps.now, [])
        if incident.steps.is_again:
            for place in places:
                _publish(data, display_id=place, is_update=True)
            return
        # Of a kernel that is gone the front end may still know the names.
        places.append(f"runbook-{uuid4().hex}")
        _publish(data, display_id=places[-1])


def _publish(data: dict[str, Any], *, display_id: str | None = None, is_update: bool = False) -> None:
    from IPython.display import display, update_display

    if is_update:
        update_display(data, display_id=display_id, raw=True)
    else:
        display(data, raw=True, display_id=display_id)


def about(scene: Scene) -> str:
    """Which alert, service, environment and window this is, in one line."""
    window = f"{told(scene.window.start)} to {told(scene.window.end)}"
    return f"{scene.alert} · {scene.service.title} · {scene.target.environment.title} · {window}"


class _TextAudience:
    """Writes a line for each finding; for plain Python, where there is no notebook."""

    def opened(self, incident: Incident, entries: Sequence[Entry]) -> None:
        del entries
        print(about(incident.scene))

    def found(self, incident: Incident, finding: Finding, entries: Sequence[Entry]) -> None:
        del incident, entries
        print(f"{finding.status.name:8}  {finding.question}  {sentence(finding)}")

    def proposed(self, incident: Incident, proposal: Proposal, entries: Sequence[Entry]) -> None:
        del incident, entries
        print(f"          {proposal.title}: {proposal.command}")

    def listed(self, incident: Incident, title: str, rows: pd.DataFrame) -> None:
        del incident
        print(title, rows.to_string(index=False), sep="\n")

    def chronicled(self, incident: Incident, title: str, events: Sequence[Event]) -> None:
        self.listed(incident, title, chronicle(events))

    def controlled(self, incident: Incident) -> None:
        print(controls.line(incident.scene))

    def concluded(
        self, incident: Incident, title: str, findings: Sequence[Finding], entries: Sequence[Entry]
    ) -> None:
        print(f"{overall(findings).name:8}  {title}")
        for finding in findings:
            self.found(incident, finding, entries)
