"""`open_incident`: the first call of a notebook.

It checks the parameters again (papermill only warns of unknown parameters), opens the window and the tape,
and shows the verdict at the top of the notebook. Each check redraws it.
"""

import os
import sys
from collections.abc import Mapping, Sequence
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
from runbooklib.model.verdict import VERSION
from runbooklib.model.window import Window
from runbooklib.notebook.display import NotebookScreen, TextScreen
from runbooklib.notebook.incident import Incident
from runbooklib.notebook.resume import Resumption, read_resumption, resumable_run
from runbooklib.redact.redactor import Redactor
from runbooklib.sources.context import Context, Sources
from runbooklib.sources.shared_answers import SharedAnswers
from runbooklib.sources.tape import NOTE, OPENING, Tape

# Papermill starts the cell that it injects with this line.
_INJECTED = "# Parameters\n"
# Evidence without `verdict_version` was judged by the rules of versions 1 and 2, which are the same.
_VERSION_BEFORE_IT_WAS_RECORDED = 2


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
    """Open the incident of this alert for the service in the environment.

    `at` is the end of the window (ISO 8601 with offset; empty: now), `lookback` its length (empty: the
    environment's). `replay` is the path of a bundle or an executed notebook: its recording answers every
    request instead of the systems, and its parameters replace the others. `resume` is the path of an
    interrupted run to continue; "this" is the current notebook, as it was last saved. Its recorded answers
    are reused, and all other requests go to the systems. Raises ParameterError and
    SettingsError before the first request.
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
        is_first = _close_earlier_incidents()
        _refuse_unknown_parameters(shell.user_ns.get("In", []))
    replayed = replay or os.environ.get(variables.REPLAY, "")
    resumed = read_resumption(resume, alert) if resume and not replayed else None
    place = resumed.place if resumed else (environment, service)
    tape = _replay_tape(replayed) if replayed else _live_tape(read_target(*place), resumed)
    opening = tape.ask(
        OPENING, {"alert": alert}, lambda: _read_opening(alert, *place, at, lookback), is_ours=True
    )
    # Requests that are not in the recording go to the systems as the settings describe them now.
    target = read_target(*place) if resumed else Target.model_validate(opening["target"])
    context = _context(alert, target, opening, tape)
    screen = NotebookScreen(shell, tape, look_again) if shell else TextScreen()
    incident = Incident(
        context,
        tape,
        screen,
        uses=opening.get("uses", {}),
        evidence=evidence_folder(),
        saved_findings=resumed.saved_findings if resumed else (),
        saved_notes=resumed.saved_notes if resumed else (),
    )
    if isinstance(screen, NotebookScreen):
        _OPEN.append((incident, screen))
        if is_first and not replayed:
            screen.offer(resumed, resumable_run(alert))
    return incident


# The open incident of this notebook, and the screen that shows it.
_OPEN: list[tuple[Incident, NotebookScreen]] = []


class NotOpened:
    """Stands for the incident until an incident is open; every attribute raises InputError."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        raise InputError("no incident is open", hint="run the cell with open_incident(…) first")


def current() -> Incident | NotOpened:
    """The open incident of this notebook."""
    return _OPEN[-1][0] if _OPEN else NotOpened()


def _close_earlier_incidents() -> bool:
    """Close the incidents that are open, so that they show nothing more. True if there was none."""
    is_first = not _OPEN
    while _OPEN:
        incident, screen = _OPEN.pop()
        incident.steps.close()
        screen.close()
    return is_first


def look_again(incident: Incident, *, service: str, at: str, lookback: str) -> None:
    """Ask all checks of the incident again for that service, now or `at` a time, and redraw the notebook.

    Raises ParameterError for an invalid parameter, before the first request, and in a replay.
    """
    context, tape = incident.context, incident.tape
    if tape.is_replay:
        raise ParameterError("this is a replay: no system is asked", hint="open the incident without it")
    alert = context.alert
    opening = _read_opening(alert, context.target.environment_name, service, at, lookback)
    tape.forget(keeping={NOTE})
    opening = tape.ask(OPENING, {"alert": alert}, lambda: opening, is_ours=True)
    target = Target.model_validate(opening["target"])
    incident.ask_again(_context(alert, target, opening, tape))


def _context(alert: str, target: Target, opening: Mapping[str, Any], tape: Tape) -> Context:
    version = opening.get("verdict_version", _VERSION_BEFORE_IT_WAS_RECORDED)
    window = Window.from_dict(opening["window"])
    return Context(alert, target, window, Sources(target, tape), verdict_version=version)


def _live_tape(target: Target, resumed: Resumption | None) -> Tape:
    secrets = [*secrets_of(target), *environment_secrets()]
    redactor, folder = Redactor(secrets), os.environ.get(variables.SHARED_ANSWERS, "")
    shared = SharedAnswers(Path(folder), redactor) if folder else None
    return Tape(redactor, resumed=resumed.entries if resumed else (), shared=shared)


def _replay_tape(path: str) -> Tape:
    """The tape of a recording. From now on this process opens no network connection."""
    sys.addaudithook(_refuse_network_connection)
    return Tape(recording=read_recording(Path(path)))


def _refuse_network_connection(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.connect" and isinstance(arguments[1], tuple):
        raise NotRecordedError(f"a replay must not reach outside, and something tried {arguments[1]!r}")


def _read_opening(alert: str, environment: str, service: str, at: str, lookback: str) -> dict[str, Any]:
    """The incident's target, window and past uses. They are recorded, so a replay works on any machine."""
    target = read_target(environment, service)
    window = Window.open(
        opened_at=datetime.now(UTC),
        at=at,
        lookback=lookback or target.timing.lookback,
        scrape_interval=target.timing.scrape_interval,
    )
    uses = uses_of(alert, evidence_folder() or home() / "evidence")
    return {
        "target": target.model_dump(mode="json"),
        "window": window.as_dict(),
        "uses": asdict(uses),
        "verdict_version": VERSION,
    }


def _shell() -> Any:
    """The current IPython shell, or None in plain Python."""
    try:
        from IPython import get_ipython
    except ImportError:
        return None
    return get_ipython()


def _refuse_unknown_parameters(executed: Sequence[str]) -> None:
    """Raise ParameterError if papermill injected a name that the parameters cell does not declare."""
    injected = [index for index, source in enumerate(executed) if source.startswith(_INJECTED)]
    if not injected or not injected[0]:
        return
    known = parameters.parse_declarations(executed[injected[0] - 1])
    parameters.refuse_unknown(known, parameters.assigned_names(executed[injected[-1]]), "parameters")
