"""The runs that the evidence knows of: the newest, and the one that belongs to an alert."""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from runbooklib.evidence import manifest
from runbooklib.evidence.runs import _newest
from runbooklib.extension import incidentfolders
from runbooklib.extension.incidentfolders import Incident
from runbooklib.findings import Status

_OF_THE_WINDOW = {"at", "lookback"}
# A run that was started by the alert follows it closely; one of the next firing does not.
_BEFORE, _AFTER = timedelta(minutes=1), timedelta(hours=1)


def headless(evidence: Path, incident: Incident) -> tuple[Path | None, str]:
    """The bundle of the newest finished, whole run of this incident that looked at it soon after it began.

    It was run with the parameters that the incident has, all but those of the window: a run of another
    component, or one with a limit that somebody chose, says something else. Without one, the text says what
    could not be read. Raises OSError where no evidence can be.
    """
    unread = ""
    for run in _newest(evidence):
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


def _is_run_with(incident: Incident, parameters: Mapping[str, Any]) -> bool:
    ran = {**incidentfolders.defaults(incident.runbook), **parameters}
    names = (ran.keys() | incident.full.keys()) - _OF_THE_WINDOW
    return all(name in ran and ran[name] == incident.full.get(name) for name in names)
