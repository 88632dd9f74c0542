"""When a runbook was last used, and last drilled: read from the evidence of its runs."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runbooklib import files, ledger, manifest
from runbooklib.config import variables
from runbooklib.config.site import home
from runbooklib.errors import SettingsError
from runbooklib.evidence import VERDICT

# The folder of the evidence, where a run keeps it elsewhere than in evidence/ of the home.
# What is older is not looked for: a runbook that was not used in so many runs was not used.
MOST_BUNDLES = 500


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
    for line in reversed(lines[-MOST_BUNDLES:]):
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
