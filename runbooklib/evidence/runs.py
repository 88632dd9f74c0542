"""When a runbook was last used, and last drilled: read from the evidence of its runs."""

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

# The folder of the evidence, where a run keeps it elsewhere than in evidence/ of the home.
# What is older is not looked for: a runbook that was not used in so many runs was not used.
MAX_BUNDLES = 500


@dataclass(frozen=True, slots=True)
class Uses:
    """When an alert's runbook was last run in earnest and last run where things are broken on purpose.

    ISO 8601 in UTC, empty where the evidence knows of none. `unread` says what of it could not be read, and
    why: then there may be newer ones.
    """

    last_used: str = ""
    last_drilled: str = ""
    unread: str = ""


def evidence_place() -> Path:
    """Where evidence is kept: RUNBOOK_EVIDENCE, else evidence/ of the home. Raises SettingsError."""
    return Path(os.environ.get(variables.EVIDENCE) or home() / "evidence")


def evidence_folder() -> Path | None:
    """The same; None where there is no home."""
    try:
        return evidence_place()
    except SettingsError:
        return None


def uses_of(alert: str, evidence: Path) -> Uses:
    """The last uses that the evidence in this folder knows of, and what of it could not be read."""
    used = drilled = ""
    unread: list[OSError] = []
    for verdict, at in _runs(alert, evidence, unread):
        if verdict.get("is_drill"):
            drilled = drilled or at
        else:
            used = used or at
        if used and drilled:
            break
    return Uses(used, drilled, files.trouble(unread[0]) if unread else "")


def _runs(alert: str, evidence: Path, unread: list[OSError]) -> Iterator[tuple[dict[str, Any], str]]:
    """The verdict and time of each run of the alert, newest first; a replay is no use of a runbook."""
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
            continue  # what is no run has no verdict, and what was removed was not used
        except OSError as error:
            unread.append(error)
            continue
        if isinstance(verdict, dict) and verdict.get("alert") == alert and about.get("kind") != "replay":
            yield verdict, line.sealed_at


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
        raise EvidenceError(f"this evidence is not as it was sealed: {wrong[0]}", hint="runbook verify")
    return (path / PAGE).read_bytes()


def _newest(evidence: Path) -> Iterator[Run | str]:
    lines, _ = ledger.read(evidence)
    for line in reversed(lines[-MAX_BUNDLES:]):
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
