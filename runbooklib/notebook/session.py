"""What a notebook begins with: `open_incident`.

It checks the parameters again (papermill only warns of unknown ones), opens the window and the tape, and
shows the verdict at the top of the notebook, redrawn by each check.
"""

import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from runbooklib.config import parameters, variables
from runbooklib.config.environment import Target
from runbooklib.config.site import home, read_target
from runbooklib.config.site_secrets import environment_secrets, secrets_of
from runbooklib.errors import InputError, NotRecordedError, ParameterError
from runbooklib.evidence.executed_notebook import read_recording
from runbooklib.evidence.runs import evidence_folder, uses_of
from runbooklib.model.window import Window
from runbooklib.notebook import resume as resume_module
from runbooklib.notebook.display import NotebookScreen, TextScreen
from runbooklib.notebook.incident import Incident
from runbooklib.notebook.resume import Resumption
from runbooklib.redact.redactor import Redactor
from runbooklib.sources import tape as tape_module
from runbooklib.sources.context import Context, Sources
from runbooklib.sources.tape import OPENING, Tape

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
            raise ParameterError(f"{name} must be text, and {value!r} is not", hint="put it in quotes")
    shell = _shell()
    if shell is not None:
        is_first = _close_former()
        _refuse_unknown_parameters(shell.user_ns.get("In", []))
    replayed = replay or os.environ.get(variables.REPLAY, "")
    resumed = resume_module.read(resume, alert) if resume and not replayed else None
    place = resumed.place if resumed else (environment, service)
    tape = _recorded(replayed) if replayed else _live(read_target(*place), resumed)
    opening = tape.ask(OPENING, {"alert": alert}, lambda: _opening(alert, *place, at, lookback), is_ours=True)
    # What is asked live is asked of the systems as they are set up now.
    target = read_target(*place) if resumed else Target.model_validate(opening["target"])
    context = Context(alert, target, Window.from_dict(opening["window"]), Sources(target, tape))
    audience = NotebookScreen(shell, tape, look_again) if shell else TextScreen()
    incident = Incident(
        context,
        tape,
        audience,
        uses=opening.get("uses", {}),
        evidence=evidence_folder(),
        saved_findings=resumed.saved_findings if resumed else (),
        saved_notes=resumed.saved_notes if resumed else (),
    )
    if isinstance(audience, NotebookScreen):
        _OPEN.append((incident, audience))
        if is_first and not replayed:
            audience.offer(resumed, resume_module.offered(alert))
    return incident


# The incident of this notebook, and who shows it.
_OPEN: list[tuple[Incident, NotebookScreen]] = []


class NotOpened:
    """Stands for the incident until one is open, and says so whatever it is asked."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        raise InputError("no incident is open", hint="run the cell with open_incident(…) first")


def current() -> Incident | NotOpened:
    """The incident that this notebook has open."""
    return _OPEN[-1][0] if _OPEN else NotOpened()


def _close_former() -> bool:
    """What was opened before shows nothing any more; whether there was nothing."""
    is_first = not _OPEN
    while _OPEN:
        incident, audience = _OPEN.pop()
        incident.steps.close()
        audience.close()
    return is_first


def look_again(incident: Incident, *, service: str, at: str, lookback: str) -> None:
    """Ask all that the incident asked again: now, or `at` a time, of that service.

    What the notebook shows is redrawn. Raises ParameterError for what cannot be meant, before anything is
    asked, and in a replay.
    """
    context, tape = incident.context, incident.tape
    if tape.is_replay:
        raise ParameterError("this is a replay: no system is asked", hint="open the incident without it")
    alert = context.alert
    opening = _opening(alert, context.target.environment_name, service, at, lookback)
    tape.forget(keeping={tape_module.NOTE})
    opening = tape.ask(OPENING, {"alert": alert}, lambda: opening, is_ours=True)
    target = Target.model_validate(opening["target"])
    incident.ask_again(Context(alert, target, Window.from_dict(opening["window"]), Sources(target, tape)))


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
