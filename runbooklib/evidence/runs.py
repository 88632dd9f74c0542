"""Reads the runs in the evidence: the newest runs, and when a runbook was last used and last drilled."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from runbooklib import files
from runbooklib.config import variables
from runbooklib.config.site import home
from runbooklib.errors import EvidenceError, SettingsError
from runbooklib.evidence import ledger, manifest
from runbooklib.evidence.executed_notebook import PAGE, VERDICT
from runbooklib.evidence.ledger import Line

# Older bundles are not read. A runbook without a run in this many bundles counts as unused.
MAX_BUNDLES = 500


@dataclass(frozen=True, slots=True)
class Uses:
    """When an alert's runbook was last used in production, and last used in a drill.

    ISO 8601 in UTC, empty if the evidence contains no such run. `unread` names the first file that could not
    be read, and the reason; there may then be newer runs.
    """

    last_used: str = ""
    last_drilled: str = ""
    unread: str = ""


def evidence_place() -> Path:
    """The folder of the evidence: RUNBOOK_EVIDENCE, else evidence/ of the home. Raises SettingsError."""
    return Path(os.environ.get(variables.EVIDENCE) or home() / "evidence")


def evidence_folder() -> Path | None:
    """The folder of the evidence; None without RUNBOOK_EVIDENCE and a home."""
    try:
        return evidence_place()
    except SettingsError:
        return None


def uses_of(alert: str, evidence: Path) -> Uses:
    """The last uses of the alert's runbook in this folder's evidence."""
    used = drilled = ""
    unread: list[OSError] = []
    for verdict, sealed_at in _verdicts(evidence, unread):
        if verdict.get("alert") != alert:
            continue
        if verdict.get("is_drill"):
            drilled = drilled or sealed_at
        else:
            used = used or sealed_at
        if used and drilled:
            break
    return Uses(used, drilled, files.trouble(unread[0]) if unread else "")


def verdicts_about(environment: str, service: str, evidence: Path) -> Iterator[dict[str, Any]]:
    """The verdict of each run for this service, of any alert, newest first, without replays."""
    for verdict, _ in _verdicts(evidence, []):
        if (verdict.get("environment"), verdict.get("service")) == (environment, service):
            yield verdict


def _verdicts(evidence: Path, unread: list[OSError]) -> Iterator[tuple[dict[str, Any], str]]:
    """The verdict and time of each run, newest first, without replays."""
    try:
        lines, _ = ledger.read(evidence)
    except OSError as error:
        unread.append(error)
        return
    for line in reversed(lines[-MAX_BUNDLES:]):
        bundle = evidence / Path(line.bundle).name
        try:
            verdict = json.loads((bundle / VERDICT).read_bytes())
            about = json.loads((bundle / manifest.FILE).read_bytes())
        except (FileNotFoundError, NotADirectoryError, ValueError):
            continue  # other kinds of bundle have no verdict.json; a removed bundle does not count
        except OSError as error:
            unread.append(error)
            continue
        if isinstance(verdict, dict) and about.get("kind") != "replay":
            yield verdict, line.sealed_at


# These kinds of bundle have no verdict: the state before an action, and the result of a recovery check.
_NO_VERDICT = {"action": "ACTION", "recovery": "RECOVERY"}


@dataclass(frozen=True, slots=True)
class Run:
    """One bundle. `kind` is run, replay, seal, action or recovery; `at` (aware UTC) is the window's end.

    `status` is the name of the verdict's Status; without a verdict it is ACTION, RECOVERY or FAILED.
    `is_finished` is false if the run was interrupted.
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


def recent_runs(evidence: Path, limit: int) -> tuple[list[Run], list[str]]:
    """The newest `limit` runs, newest first, and what could not be read. Raises OSError."""
    runs, problems = [], []
    lines, broken = ledger.read(evidence)
    for line in reversed(lines[-limit:]):
        run = _run(evidence, line)
        if isinstance(run, str):
            problems.append(run)
        else:
            runs.append(run)
    return runs, [*broken[-3:], *problems]


def page_of(evidence: Path, bundle: str) -> bytes | None:
    """The page of a bundle; None if the ledger does not list it. Raises EvidenceError if it was changed."""
    try:
        path = evidence / files.checked(bundle)
    except ValueError:
        return None
    if not any(line.bundle == bundle for line in ledger.read(evidence)[0]):
        return None
    problems = ["it is a link"] if path.is_symlink() else manifest.verify_bundle(path)
    if problems:
        raise EvidenceError(f"this evidence is not as it was sealed: {problems[0]}", hint="runbook verify")
    return (path / PAGE).read_bytes()


def newest_runs(evidence: Path) -> Iterator[Run | str]:
    """The runs, newest first; a text in place of a run that could not be read. Raises OSError."""
    lines, _ = ledger.read(evidence)
    for line in reversed(lines[-MAX_BUNDLES:]):
        yield _run(evidence, line)


def _run(evidence: Path, line: Line) -> Run | str:
    """The run in a bundle; else a text: the bundle cannot be read, or was changed."""
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
        return _changed_message(evidence, line)
    except OSError as error:
        return f"{line.bundle[:120]} cannot be read: {files.trouble(error)}"
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return _changed_message(evidence, line)


def _changed_message(evidence: Path, line: Line) -> str:
    return f"{line.bundle[:120]} is not as it was sealed: `runbook verify {evidence.name}`"


def _read(path: Path, digest: str) -> dict[str, Any]:
    content = path.read_bytes()
    fields = json.loads(content)
    if not isinstance(fields, dict) or hashlib.sha256(content).hexdigest() != digest:
        raise ValueError("the file differs from the sealed file")
    return fields
