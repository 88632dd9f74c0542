"""The incident's folder and its notebook: prepared and never executed, once for each alert that began.

`incidents/<UTC start>-<Alert>-<service>/<Alert>.ipynb` below the server's root is the runbook with its
parameters set, as papermill sets them. Where a headless run of the alert is in the evidence, a copy of its
notebook lies beside it. What somebody ran or edited is never overwritten, and evidence is only read.
"""

import math
import os
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from runbooklib import files
from runbooklib.config import runbooks, site, variables
from runbooklib.config.parameters import Value
from runbooklib.errors import EvidenceError, InputError, SourceError
from runbooklib.evidence import runs
from runbooklib.extension import asmade, firing, incidentfolders, prepared
from runbooklib.extension import runs as extension_runs
from runbooklib.extension.incidentfolders import FOLDER, Incident
from runbooklib.extension.link import ENVIRONMENT, SERVICE, Link, given
from runbooklib.window import seconds_of

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
            f"{root / FOLDER} cannot be written: {error.strerror}", remedy="see the server's root folder"
        ) from None


def _incident(link: Link, root: Path, now: datetime) -> Incident:
    runbook = runbooks.find(link.alert)
    asked = given(runbook, link)
    chosen = {ENVIRONMENT: os.environ.get(variables.ENVIRONMENT, ""), **asked}
    values = runbooks.chosen(runbook, {name: value for name, value in chosen.items() if value})
    labels = {name: value for name, value in asked.items() if name not in (ENVIRONMENT, SERVICE)}
    incident = Incident(runbook, values, link.starts_at or now, labels)
    if link.starts_at is None:
        incident = replace(incident, starts_at=_began(incident, link, root, now))
    return replace(incident, values={**values, **_window(incident, link, now)})


def _began(incident: Incident, link: Link, root: Path, now: datetime) -> datetime:
    """Since when it fires by Alertmanager; else as it was opened or worked in last, else now."""
    began = _since(incident, link)
    return began or max(incidentfolders.opened(incident, root, now), default=now.replace(microsecond=0))


def _since(incident: Incident, link: Link) -> datetime | None:
    """Since when it fires; None where it does not, or where nobody can say."""
    try:
        found = firing.meant(incident.environment, link.alert, link.labels)
    except (SourceError, InputError):
        return None
    began = [alert.starts_at for alert in found if alert.starts_at]
    return min(began).replace(microsecond=0) if began else None


def _window(incident: Incident, link: Link, now: datetime) -> dict[str, Value]:
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


def _fires(incident: Incident, link: Link) -> bool | None:
    try:
        return bool(firing.meant(incident.environment, link.alert, link.labels))
    except (SourceError, InputError):
        return None


def _prepared(incident: Incident, root: Path) -> Prepared:
    """The notebook to open: the one that was worked in, else the copy of a headless run, else the new one."""
    folder, name = incidentfolders.free(incident, root), incident.notebook
    place = root / FOLDER / folder
    prepared.put(place / name, lambda: prepared.notebook(incident))
    if not asmade.found(place / name):  # somebody worked in it
        return Prepared(f"{FOLDER}/{folder}/{name}")
    copied, unread = _copied(incident, place)
    return Prepared(f"{FOLDER}/{folder}/{copied or name}", unread)


def _copied(incident: Incident, place: Path) -> tuple[str | None, str]:
    """The name of the copy of a headless run, None where there is none; and what could not be read.

    A copy is more than was asked for: evidence of another user costs nobody the runbook.
    """
    there = sorted(path.name for path in place.glob("2*Z-*.ipynb"))
    if there:
        return there[0], ""
    try:
        bundle, unread = extension_runs.headless(runs.evidence_place(), incident)
        copy = prepared.copy_of_run(bundle, incident.notebook) if bundle else None
    except OSError as error:
        return None, files.trouble(error)
    except InputError as error:
        return None, str(error)
    if bundle is None or copy is None:
        return None, unread
    name = f"{bundle.name}.ipynb"
    prepared.put(place / name, lambda: copy)
    return name, ""
