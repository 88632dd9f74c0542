"""Creates the notebooks in an incident's folder. It executes none of them.

`incidents/<UTC start>-<Alert>-<service>/<Alert>.ipynb` below the server's root is the runbook with its
parameters set by papermill. If the evidence contains a headless run of the incident, a copy of its notebook
is beside it. A notebook that a person ran or edited is never overwritten. Evidence is only read.
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
from runbooklib.jupyter.alert_link import ENVIRONMENT, SERVICE, Link, link_parameters
from runbooklib.jupyter.incident_folder import FOLDER, IncidentFolder
from runbooklib.model.findings import Status
from runbooklib.model.window import seconds_of
from runbooklib.redact.redactor import Redactor


def put(path: Path, make: Callable[[], dict[str, Any]]) -> None:
    """Write the notebook that `make` returns atomically, unless a person ran or changed the existing one.

    An unchanged notebook is replaced if its content differs: its window grows with the alert's age.
    Raises OSError.
    """
    former = incident_folder.unchanged_digest(path)
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
            _create_file(target, text.encode("utf-8"))
        elif target.read_bytes() == stored:  # it was not saved in the meantime
            files.replace(target, text.encode("utf-8"), target.stat().st_mode & 0o777)
    finally:
        place.close()


def _create_file(path: Path, content: bytes) -> None:
    """Create the file atomically; a file that another click created meanwhile stays. Raises OSError."""
    work = path.with_name(f".{secrets.token_hex(8)}")
    try:
        write_new(work, content)
        with suppress(FileExistsError):
            _link_or_write(work, path, content)
    finally:
        work.unlink(missing_ok=True)


def _link_or_write(work: Path, path: Path, content: bytes) -> None:
    """Link the file to its path atomically; without hard links (SMB, Azure Files), write a second file."""
    try:
        os.link(work, path, follow_symlinks=False)
    except FileExistsError:
        raise
    except (OSError, NotImplementedError):
        _write_without_link(path, content)


def _write_without_link(path: Path, content: bytes) -> None:
    try:
        write_new(path, content)
    except FileExistsError:
        raise
    except OSError:
        path.unlink(missing_ok=True)  # an incomplete file is not a valid notebook
        raise


def notebook(incident: IncidentFolder) -> dict[str, Any]:
    """The runbook with its parameters set by papermill, not executed."""
    import papermill  # slow to import

    # Papermill formats the path with the parameters, so braces in the name must be escaped.
    path = str(incident.runbook.notebook).replace("{", "{{").replace("}", "}}")
    made = papermill.execute_notebook(path, None, dict(incident.values), prepare_only=True)
    made.metadata.papermill["input_path"] = incident.runbook.notebook.name
    prepared: dict[str, Any] = json.loads(json.dumps(made))
    incident_folder.mark(prepared, {"incident": incident.metadata})
    return prepared


def copy_of_run(bundle: Path, name: str) -> dict[str, Any]:
    """The executed notebook of a bundle, with a first cell that links to the notebook `name`.

    Raises InputError.
    """
    # A bundle of an older version may contain active content for JupyterLab.
    copied = cleaned(read_notebook(bundle), Redactor())
    cell = {"cell_type": "markdown", "metadata": {}, "source": _about(bundle.name, name)}
    if copied.get("nbformat_minor", 0) >= 5:
        cell["id"] = "copy-of-evidence"
    copied["cells"].insert(0, cell)
    incident_folder.mark(copied, {"copy_of": bundle.name})
    return copied


def _about(bundle: str, name: str) -> str:
    """The Markdown of the first cell. A bundle's name contains only letters, digits and `_.-`."""
    return (
        f"**This runbook already ran.** This notebook is a copy of the evidence `{bundle}`. You can\n"
        f"change and run it; the evidence does not change.\n\n"
        f"**[Run again with current data]({quote(name)})**: the same runbook, not run yet."
    )


# An older alert counts as resolved, unless Alertmanager reports that it is firing.
_LIVE_WITHIN = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class PreparedNotebook:
    """The path of the notebook below the root, with `/`; `unread` names evidence that could not be read."""

    path: str
    unread: str = ""


def prepare(link: Link, root: Path, now: datetime) -> PreparedNotebook:
    """Prepare the notebook for the link.

    Raises InputError for an invalid link, and EvidenceError if the folder cannot be written.
    """
    incident = _incident_of_link(link, root, now)
    try:
        return _prepare_notebook(incident, root.resolve())
    except OSError as error:
        raise EvidenceError(
            f"{root / FOLDER} cannot be written: {error.strerror}", hint="see the server's root folder"
        ) from None


def _incident_of_link(link: Link, root: Path, now: datetime) -> IncidentFolder:
    runbook = runbooks.find(link.alert)
    asked = link_parameters(runbook, link)
    chosen = {ENVIRONMENT: os.environ.get(variables.ENVIRONMENT, ""), **asked}
    values = runbooks.chosen(runbook, {name: value for name, value in chosen.items() if value})
    labels = {name: value for name, value in asked.items() if name not in (ENVIRONMENT, SERVICE)}
    incident = IncidentFolder(runbook, values, link.starts_at or now, labels)
    if link.starts_at is None:
        incident = replace(incident, starts_at=_start_time(incident, link, root, now))
    return replace(incident, values={**values, **_window(incident, link, now)})


def _start_time(incident: IncidentFolder, link: Link, root: Path, now: datetime) -> datetime:
    """The start time by Alertmanager, else of the newest recent folder of this incident, else now."""
    starts = incident_folder.recent_starts(incident, root, now)
    return _firing_since(incident, link) or max(starts, default=now.replace(microsecond=0))


def _firing_since(incident: IncidentFolder, link: Link) -> datetime | None:
    """The start time of the alert; None if it is not firing, or if Alertmanager does not answer."""
    try:
        alerts = firing_alerts.matching_alerts(incident.environment, link.alert, link.labels)
    except (SourceError, InputError):
        return None
    starts = [alert.starts_at for alert in alerts if alert.starts_at]
    return min(starts).replace(microsecond=0) if starts else None


def _window(incident: IncidentFolder, link: Link, now: datetime) -> dict[str, Value]:
    """The parameters for a window that contains the alert's start; empty if the link already sets them.

    The window ends now. For an alert older than a day it has the usual length, because a longer window would
    be slow; if Alertmanager reports that such an alert is not firing, the window ends soon after its start.
    """
    declared = incident.runbook.declared
    if not {"at", "lookback"} <= declared.keys() or any(incident.values.get(n) for n in ("at", "lookback")):
        return {}
    timing = site.read_target(incident.environment, incident.service).timing
    usual, elapsed = seconds_of(timing.lookback), now - incident.starts_at
    if elapsed <= _LIVE_WITHIN:
        needed = elapsed.total_seconds() + timing.lead_seconds
        return {"lookback": f"{math.ceil(needed / 60)}m"} if needed > usual else {}
    if _is_firing(incident, link) is not False:
        return {}
    return {"at": f"{incident.starts_at + timedelta(seconds=usual / 2):%Y-%m-%dT%H:%M:%SZ}"}


def _is_firing(incident: IncidentFolder, link: Link) -> bool | None:
    """Whether the alert is firing; None if Alertmanager does not answer."""
    try:
        return bool(firing_alerts.matching_alerts(incident.environment, link.alert, link.labels))
    except (SourceError, InputError):
        return None


def _prepare_notebook(incident: IncidentFolder, root: Path) -> PreparedNotebook:
    """The notebook to open: one that a person changed, else the copy of a headless run, else the new one."""
    folder, name = incident_folder.folder_name(incident, root), incident.notebook
    place = root / FOLDER / folder
    put(place / name, lambda: notebook(incident))
    if not incident_folder.unchanged_digest(place / name):
        return PreparedNotebook(f"{FOLDER}/{folder}/{name}")
    copied, unread = _copy_headless_run(incident, place)
    return PreparedNotebook(f"{FOLDER}/{folder}/{copied or name}", unread)


def _copy_headless_run(incident: IncidentFolder, place: Path) -> tuple[str | None, str]:
    """The file name of the copy of a headless run, None without such a run; and what could not be read.

    Evidence that cannot be read, such as another user's, does not prevent the runbook from opening.
    """
    copies = sorted(path.name for path in place.glob("2*Z-*.ipynb"))
    if copies:
        return copies[0], ""
    try:
        bundle, unread = find_headless_run(runs.evidence_place(), incident)
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


_WINDOW_PARAMETERS = {"at", "lookback"}

# The window of a run that this alert started ends in this range around the alert's start.
_BEFORE, _AFTER = timedelta(minutes=1), timedelta(hours=1)


def find_headless_run(evidence: Path, incident: IncidentFolder) -> tuple[Path | None, str]:
    """The bundle of the newest finished, intact run of this incident, soon after its start; None without one.

    The run must have the incident's parameters, except for the window: a run of another component, or with
    another limit, gives other answers. If the bundle is None, the text names evidence that could not be
    read. Raises OSError if the ledger cannot be read.
    """
    unread = ""
    for run in runs.newest_runs(evidence):
        if isinstance(run, str):
            unread = unread or run
            continue
        is_of_incident = (run.alert, run.service, run.environment) == (
            incident.runbook.alert,
            incident.service,
            incident.environment,
        )
        is_near_start = incident.starts_at - _BEFORE <= run.at <= incident.starts_at + _AFTER
        is_complete = run.kind == "run" and run.is_finished and run.status in Status.__members__
        if is_of_incident and is_near_start and is_complete and _is_run_with(incident, run.parameters):
            bundle = evidence / run.bundle
            if not manifest.verify_bundle(bundle):
                return bundle, ""
    return None, unread


def _is_run_with(incident: IncidentFolder, parameters: Mapping[str, Any]) -> bool:
    ran = {**incident_folder.defaults(incident.runbook), **parameters}
    names = (ran.keys() | incident.parameters.keys()) - _WINDOW_PARAMETERS
    return all(name in ran and ran[name] == incident.parameters.get(name) for name in names)
