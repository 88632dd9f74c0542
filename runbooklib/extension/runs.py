"""The runs that the evidence knows of: the newest, and the one that belongs to an alert."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from runbooklib import files, ledger, manifest
from runbooklib.errors import EvidenceError
from runbooklib.evidence import PAGE, VERDICT
from runbooklib.extension import incidentfolders
from runbooklib.extension.incidentfolders import Incident
from runbooklib.findings import Status
from runbooklib.history import MOST_BUNDLES
from runbooklib.ledger import Line

_OF_THE_WINDOW = {"at", "lookback"}
# A run that was started by the alert follows it closely; one of the next firing does not.
_BEFORE, _AFTER = timedelta(minutes=1), timedelta(hours=1)
# What is no run has no verdict: it is what was known before an action, or whether it is over.
_NO_VERDICT = {"action": "ACTION", "recovery": "RECOVERY"}


@dataclass(frozen=True, slots=True)
class Run:
    """One bundle. `status` is a Status's name, else what its kind comes to; `at` is the window's end.

    `kind` is run, replay, seal, action or recovery; `is_finished` is false where the run was cut short.
    """

    bundle: str
    kind: str
    alert: str
    service: str
    environment: str
    status: str
    headline: str
    at: datetime
    is_finished: bool
    parameters: Mapping[str, Any]


def recent(evidence: Path, most: int) -> tuple[list[Run], list[str]]:
    """The newest runs, the newest first, and what could not be read."""
    found, wrong = [], []
    lines, broken = ledger.read(evidence)
    for line in reversed(lines[-most:]):
        run = _run(evidence, line)
        if isinstance(run, str):
            wrong.append(run)
        else:
            found.append(run)
    return found, [*broken[-3:], *wrong]


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


def page_of(evidence: Path, bundle: str) -> bytes | None:
    """The page of a bundle that the ledger knows, or None. Raises EvidenceError where it was changed."""
    try:
        path = evidence / files.checked(bundle)
    except ValueError:
        return None
    if not any(line.bundle == bundle for line in ledger.read(evidence)[0]):
        return None
    wrong = ["it is a link"] if path.is_symlink() else manifest.verify_bundle(path)
    if wrong:
        raise EvidenceError(f"this evidence is not as it was sealed: {wrong[0]}", remedy="runbook verify")
    return (path / PAGE).read_bytes()


def _newest(evidence: Path) -> Iterator[Run | str]:
    lines, _ = ledger.read(evidence)
    for line in reversed(lines[-MOST_BUNDLES:]):
        yield _run(evidence, line)


def _run(evidence: Path, line: Line) -> Run | str:
    """What a bundle says of itself; else that it cannot be read, or says another thing than was sealed."""
    try:
        path = evidence / files.checked(line.bundle)
        about = _read(path / manifest.FILE, line.manifest_sha256)
        sealed = about["files"].get(VERDICT)
        verdict = _read(path / VERDICT, sealed["sha256"]) if sealed else {}
        parameters = about.get("parameters") or {}
        ends = verdict["window"]["end"] if verdict else about["ended_at"]
        return Run(
            bundle=line.bundle,
            kind=str(about.get("kind", "")),
            alert=str(about.get("alert", "")),
            service=str(verdict.get("service") or parameters.get("service", "")),
            environment=str(verdict.get("environment") or parameters.get("environment", "")),
            status=str(verdict.get("status") or _NO_VERDICT.get(about.get("kind", ""), "FAILED")),
            headline=str(verdict.get("headline") or about.get("failure") or about.get("headline", "")),
            at=datetime.fromisoformat(ends).astimezone(UTC),
            is_finished=not about.get("failure"),
            parameters=dict(parameters),
        )
    except (FileNotFoundError, NotADirectoryError):
        return _changed(evidence, line)
    except OSError as error:
        return f"{line.bundle[:120]} cannot be read: {files.trouble(error)}"
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return _changed(evidence, line)


def _changed(evidence: Path, line: Line) -> str:
    return f"{line.bundle[:120]} is not as it was sealed: `runbook verify {evidence.name}`"


def _read(path: Path, digest: str) -> dict[str, Any]:
    content = path.read_bytes()
    found = json.loads(content)
    if not isinstance(found, dict) or hashlib.sha256(content).hexdigest() != digest:
        raise ValueError("not what was sealed")
    return found
