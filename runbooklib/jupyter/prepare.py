"""The notebooks of an incident's folder, made and put there: the one to run, and the copy of one that ran.

The incident's folder and its notebook: prepared and never executed, once for each alert that began.

`incidents/<UTC start>-<Alert>-<service>/<Alert>.ipynb` below the server's root is the runbook with its
parameters set, as papermill sets them. Where a headless run of the alert is in the evidence, a copy of its
notebook lies beside it. What somebody ran or edited is never overwritten, and evidence is only read.

The runs that the evidence knows of: the newest, and the one that belongs to an alert.
"""

import json
import math
import os
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

from runbooklib import files
from runbooklib.config import runbooks, site, variables
from runbooklib.config.parameters import Value
from runbooklib.errors import EvidenceError, InputError, SourceError
from runbooklib.evidence import manifest, runs
from runbooklib.evidence.executed_notebook import read_notebook
from runbooklib.evidence.sanitize import cleaned
from runbooklib.files import Workplace, write_new
from runbooklib.jupyter import firing_alerts, incident_folder
from runbooklib.jupyter.alert_link import ENVIRONMENT, SERVICE, Link, given
from runbooklib.jupyter.incident_folder import FOLDER, IncidentFolder
from runbooklib.model.findings import Status
from runbooklib.model.window import seconds_of
from runbooklib.redact.redactor import Redactor


def put(path: Path, make: Callable[[], dict[str, Any]]) -> None:
    """Put a notebook there, whole or not at all, unless somebody worked in the one that is there.

    One that is still as it was made gets what is true by now: the window grows with the alert's age. Raises
    OSError.
    """
    former = incident_folder.found(path)
    if not former and os.path.lexists(path):
        return
    stored = path.read_bytes() if former else b""
    made = make()
    if incident_folder.digest(made) == former:
        return
    text = json.dumps(made, indent=1, ensure_ascii=False) + "\n"
    os.close(files.opened(path.parent))
    place = Workplace.existing(path.parent.parent, path.parent.name)
    try:
        target = place.folder / path.name
        if not former:
            _add(target, text.encode("utf-8"))
        elif target.read_bytes() == stored:  # nobody saved it in the meantime
            files.replace(target, text.encode("utf-8"), target.stat().st_mode & 0o777)
    finally:
        place.close()


def _add(path: Path, content: bytes) -> None:
    """A new file, whole; another click may be faster, and then its file stays. Raises OSError."""
    work = path.with_name(f".{secrets.token_hex(8)}")
    try:
        write_new(work, content)
        with suppress(FileExistsError):
            _link(work, path, content)
    finally:
        work.unlink(missing_ok=True)


def _link(work: Path, path: Path, content: bytes) -> None:
    """Name it at one stroke; on a file system without hard links (SMB, Azure Files) make it there anew."""
    try:
        os.link(work, path, follow_symlinks=False)
    except FileExistsError:
        raise
    except (OSError, NotImplementedError):
        _make(path, content)


def _make(path: Path, content: bytes) -> None:
    try:
        write_new(path, content)
    except FileExistsError:
        raise
    except OSError:
        path.unlink(missing_ok=True)  # half of it is no notebook
        raise


def notebook(incident: IncidentFolder) -> dict[str, Any]:
    """The runbook with its parameters set, as papermill sets them, and not executed."""
    import papermill  # only once something is prepared

    # Papermill formats paths with the parameters; a name with braces in it is a name.
    path = str(incident.runbook.notebook).replace("{", "{{").replace("}", "}}")
    made = papermill.execute_notebook(path, None, dict(incident.values), prepare_only=True)
    made.metadata.papermill["input_path"] = incident.runbook.notebook.name
    told: dict[str, Any] = json.loads(json.dumps(made))
    incident_folder.mark(told, {"incident": incident.told})
    return told


def copy_of_run(bundle: Path, name: str) -> dict[str, Any]:
    """The executed notebook of a bundle, with a cell on top that says what it is and leads to the one to run.

    Raises InputError.
    """
    # An older version may have sealed it, which left in what JupyterLab acts on.
    copied = cleaned(read_notebook(bundle), Redactor())
    cell = {"cell_type": "markdown", "metadata": {}, "source": _about(bundle.name, name)}
    if copied.get("nbformat_minor", 0) >= 5:
        cell["id"] = "copy-of-evidence"
    copied["cells"].insert(0, cell)
    incident_folder.mark(copied, {"copy_of": bundle.name})
    return copied


def _about(bundle: str, name: str) -> str:
    """What the copy is. A bundle's name is letters, digits and `_.-`: nothing that a system said."""
    return (
        f"**This ran before you came.** It is a copy of the evidence `{bundle}`, which stays as it is: here\n"
        f"you may dig on.\n\n**[Run again, as it is now]({quote(name)})**: the same runbook, not run yet."
    )


# An alert that began before that is over, unless Alertmanager says that it still fires.
_LIVE_WITHIN = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Prepared:
    """The notebook to open, below the root, with `/`; and which evidence could not be read, and why."""

    path: str
    unread: str = ""


def prepare(link: Link, root: Path, now: datetime) -> Prepared:
    """Prepare what the link asks for.

    Raises InputError for what cannot be meant, and EvidenceError where nothing can be written.
    """
    incident = _incident(link, root, now)
    try:
        return _prepared(incident, root.resolve())
    except OSError as error:
        raise EvidenceError(
            f"{root / FOLDER} cannot be written: {error.strerror}", hint="see the server's root folder"
        ) from None


def _incident(link: Link, root: Path, now: datetime) -> IncidentFolder:
    runbook = runbooks.find(link.alert)
    asked = given(runbook, link)
    chosen = {ENVIRONMENT: os.environ.get(variables.ENVIRONMENT, ""), **asked}
    values = runbooks.chosen(runbook, {name: value for name, value in chosen.items() if value})
    labels = {name: value for name, value in asked.items() if name not in (ENVIRONMENT, SERVICE)}
    incident = IncidentFolder(runbook, values, link.starts_at or now, labels)
    if link.starts_at is None:
        incident = replace(incident, starts_at=_began(incident, link, root, now))
    return replace(incident, values={**values, **_window(incident, link, now)})


def _began(incident: IncidentFolder, link: Link, root: Path, now: datetime) -> datetime:
    """Since when it fires by Alertmanager; else as it was opened or worked in last, else now."""
    began = _since(incident, link)
    return began or max(incident_folder.opened(incident, root, now), default=now.replace(microsecond=0))


def _since(incident: IncidentFolder, link: Link) -> datetime | None:
    """Since when it fires; None where it does not, or where nobody can say."""
    try:
        found = firing_alerts.meant(incident.environment, link.alert, link.labels)
    except (SourceError, InputError):
        return None
    began = [alert.starts_at for alert in found if alert.starts_at]
    return min(began).replace(microsecond=0) if began else None


def _window(incident: IncidentFolder, link: Link, now: datetime) -> dict[str, Value]:
    """The parameters of the window, so that it holds the alert's beginning; what is set already stays.

    It ends now, and of an alert older than a day it is the usual one: more would be slow. If Alertmanager
    says that such an alert is over, it ends soon after the beginning.
    """
    declared = incident.runbook.declared
    if not {"at", "lookback"} <= declared.keys() or any(incident.values.get(n) for n in ("at", "lookback")):
        return {}
    timing = site.read_target(incident.environment, incident.service).timing
    usual, elapsed = seconds_of(timing.lookback), now - incident.starts_at
    if elapsed <= _LIVE_WITHIN:
        needed = elapsed.total_seconds() + timing.lead_seconds
        return {"lookback": f"{math.ceil(needed / 60)}m"} if needed > usual else {}
    if _fires(incident, link) is not False:
        return {}
    return {"at": f"{incident.starts_at + timedelta(seconds=usual / 2):%Y-%m-%dT%H:%M:%SZ}"}


def _fires(incident: IncidentFolder, link: Link) -> bool | None:
    try:
        return bool(firing_alerts.meant(incident.environment, link.alert, link.labels))
    except (SourceError, InputError):
        return None


def _prepared(incident: IncidentFolder, root: Path) -> Prepared:
    """The notebook to open: the one that was worked in, else the copy of a headless run, else the new one."""
    folder, name = incident_folder.free(incident, root), incident.notebook
    place = root / FOLDER / folder
    put(place / name, lambda: notebook(incident))
    if not incident_folder.found(place / name):  # somebody worked in it
        return Prepared(f"{FOLDER}/{folder}/{name}")
    copied, unread = _copied(incident, place)
    return Prepared(f"{FOLDER}/{folder}/{copied or name}", unread)


def _copied(incident: IncidentFolder, place: Path) -> tuple[str | None, str]:
    """The name of the copy of a headless run, None where there is none; and what could not be read.

    A copy is more than was asked for: evidence of another user costs nobody the runbook.
    """
    there = sorted(path.name for path in place.glob("2*Z-*.ipynb"))
    if there:
        return there[0], ""
    try:
        bundle, unread = headless(runs.evidence_place(), incident)
        copy = copy_of_run(bundle, incident.notebook) if bundle else None
    except OSError as error:
        return None, files.trouble(error)
    except InputError as error:
        return None, str(error)
    if bundle is None or copy is None:
        return None, unread
    name = f"{bundle.name}.ipynb"
    put(place / name, lambda: copy)
    return name, ""


_OF_THE_WINDOW = {"at", "lookback"}

# A run that was started by the alert follows it closely; one of the next firing does not.
_BEFORE, _AFTER = timedelta(minutes=1), timedelta(hours=1)


def headless(evidence: Path, incident: IncidentFolder) -> tuple[Path | None, str]:
    """The bundle of the newest finished, whole run of this incident that looked at it soon after it began.

    It was run with the parameters that the incident has, all but those of the window: a run of another
    component, or one with a limit that somebody chose, says something else. Without one, the text says what
    could not be read. Raises OSError where no evidence can be.
    """
    unread = ""
    for run in runs.newest(evidence):
        if isinstance(run, str):
            unread = unread or run
            continue
        is_its = (run.alert, run.service, run.environment) == (
            incident.runbook.alert,
            incident.service,
            incident.environment,
        )
        is_then = incident.starts_at - _BEFORE <= run.at <= incident.starts_at + _AFTER
        is_whole = run.kind == "run" and run.is_finished and run.status in Status.__members__
        if is_its and is_then and is_whole and _is_run_with(incident, run.parameters):
            bundle = evidence / run.bundle
            if not manifest.verify_bundle(bundle):
                return bundle, ""
    return None, unread


def _is_run_with(incident: IncidentFolder, parameters: Mapping[str, Any]) -> bool:
    ran = {**incident_folder.defaults(incident.runbook), **parameters}
    names = (ran.keys() | incident.full.keys()) - _OF_THE_WINDOW
    return all(name in ran and ran[name] == incident.full.get(name) for name in names)
