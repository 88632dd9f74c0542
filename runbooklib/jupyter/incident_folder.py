"""The folders of incidents: what each is for, what it is called, and which of them are there.

`incidents/<UTC start>-<Alert>-<service>` below the server's root; where the link chooses more by the alert's
labels, that follows. The name is for people: whose a folder is, the notebook in it says.

Whether a notebook is still as it was made here: its metadata hold a digest of what its cells say and show.

JupyterLab writes the kernel's language into the metadata of a notebook that somebody only looks at, and
splits texts into lines. So metadata do not count, and a text is the same text however it is split.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

from runbooklib.config import notebook_file
from runbooklib.config.parameters import Value
from runbooklib.config.runbooks import Runbook
from runbooklib.errors import EvidenceError, SettingsError
from runbooklib.jupyter.alert_link import ENVIRONMENT, SERVICE

FOLDER = "incidents"
_STAMP = "%Y%m%dT%H%M%SZ"

# Whoever clicks twice means the same incident, where nobody can say when it began.
_SAME_WITHIN = timedelta(hours=1)
_GOES_ON_WITHIN = timedelta(days=1)
_MAX_FOLDERS = 100
_MAX_OF_LABELS = 60
_PLAIN = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*")
_NOT_PLAIN = re.compile(r"[^A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class IncidentFolder:
    """What the folder is for. `labels` are the parameters that the link sets, but environment and service."""

    runbook: Runbook
    values: Mapping[str, Value]
    starts_at: datetime
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> str:
        """The environment that is asked."""
        return str(self.full[ENVIRONMENT])

    @property
    def service(self) -> str:
        """The service that is looked at."""
        return str(self.full[SERVICE])

    @property
    def full(self) -> dict[str, Value | None]:
        """All parameters: what is set, else what the notebook declares."""
        return {**defaults(self.runbook), **self.values}

    @property
    def told(self) -> dict[str, Any]:
        """What the notebook's metadata say of it."""
        return {
            "alert": self.runbook.alert,
            "environment": self.environment,
            "service": self.service,
            "labels": dict(self.labels),
            "starts_at": self.starts_at.isoformat(),
        }

    @property
    def notebook(self) -> str:
        """The name of its notebook's file."""
        return f"{_named(self.runbook.alert)}.ipynb"


def defaults(runbook: Runbook) -> dict[str, Value | None]:
    """What the notebook declares; None where it is required."""
    return {name: one.default for name, one in runbook.declared.items()}


def free(incident: IncidentFolder, root: Path) -> str:
    """The incident's folder; with a number where that of another has its name already."""
    name = f"{incident.starts_at:{_STAMP}}-{_end(incident)}"
    for number in range(1, _MAX_FOLDERS):
        folder = name if number == 1 else f"{name}-{number}"
        path = root / FOLDER / folder
        if not path.exists() or _is_of(path, incident):
            return folder
    raise EvidenceError(f"there are {_MAX_FOLDERS} folders {FOLDER}/{name}", hint="remove some")


def opened(incident: IncidentFolder, root: Path, now: datetime) -> Iterator[datetime]:
    """When the incidents of this alert, service and labels began that may be meant by who knows no beginning.

    Those of the last hour; and those of the last day that somebody worked in: the alert may have ended, or
    its Alertmanager.
    """
    end = re.compile(re.escape(_end(incident)) + r"(?:-\d+)?")
    for path in root.glob(f"{FOLDER}/*"):
        stamp, _, rest = path.name.partition("-")
        try:
            began = datetime.strptime(stamp, _STAMP).replace(tzinfo=UTC)
        except ValueError:
            continue
        if began > now or not end.fullmatch(rest) or not _is_of(path, incident):
            continue
        if now - began <= _SAME_WITHIN or (now - began <= _GOES_ON_WITHIN and _is_worked_in(path)):
            yield began


def _is_worked_in(folder: Path) -> bool:
    """Whether somebody ran or changed a notebook in it: the incident's own, or the copy of a headless run."""
    return any(not found(notebook) for notebook in folder.glob("*.ipynb"))


def _end(incident: IncidentFolder) -> str:
    """What follows the time in the folder's name."""
    names = [_named(incident.runbook.alert), _named(incident.service)]
    return "-".join(names + ([_labelled(incident.labels)] if incident.labels else []))


def _named(name: str) -> str:
    """A name of ours as part of a file's: none leads elsewhere, and no two become one."""
    return quote(name, safe=" ")


def _labelled(labels: Mapping[str, str]) -> str:
    """The labels' values as part of a file's name: as they are, or what can be read of them and a digest."""
    plain = "-".join(labels.values())
    if len(plain) <= _MAX_OF_LABELS and all(map(_PLAIN.fullmatch, labels.values())):
        return plain
    digest = hashlib.sha256(json.dumps(labels, sort_keys=True).encode()).hexdigest()[:8]
    return "-".join(filter(None, (_NOT_PLAIN.sub("_", plain)[:_MAX_OF_LABELS].strip("_-"), digest)))


def _is_of(folder: Path, incident: IncidentFolder) -> bool:
    """Whether the folder is this incident's. One whose notebook is gone or says nothing of it is."""
    try:
        told = notebook_file.read(folder / incident.notebook)["metadata"]["runbook"]["incident"]
        found = told[ENVIRONMENT], told.get(SERVICE, incident.service), told.get("labels", {})
    except (SettingsError, KeyError, TypeError, AttributeError):
        return True
    return bool(found == (incident.environment, incident.service, incident.labels))


_DIGEST = "as_made"
_COUNT = ("cell_type", "source", "attachments", "outputs", "execution_count")


def digest(notebook: Mapping[str, Any]) -> str:
    """What the cells amount to, whatever the metadata and the cells' ids are."""
    cells = [{name: _joined(cell[name]) for name in _COUNT if cell.get(name)} for cell in notebook["cells"]]
    return hashlib.sha256(json.dumps(cells, sort_keys=True).encode()).hexdigest()


def mark(notebook: dict[str, Any], told: Mapping[str, Any]) -> None:
    """Write this into the notebook's own part of the metadata, and the digest."""
    metadata = notebook.setdefault("metadata", {})
    former = metadata.get("runbook")
    kept = former if isinstance(former, dict) else {}
    metadata["runbook"] = {**kept, **told, _DIGEST: digest(notebook)}


def found(path: Path) -> str:
    """The digest of the notebook there, if nobody ran or changed a cell of it since it was made; else empty.

    One that cannot be read, is a link, or was made elsewhere, is left to who made it so.
    """
    try:
        notebook = notebook_file.read(path)
        told, now = notebook.get("metadata", {}).get("runbook"), digest(notebook)
    except (SettingsError, RecursionError):
        return ""
    is_as_made = isinstance(told, dict) and told.get(_DIGEST) == now
    return now if is_as_made and not path.is_symlink() else ""


def _joined(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _joined(one) for name, one in value.items()}
    if isinstance(value, list):
        is_text = bool(value) and all(isinstance(one, str) for one in value)
        return "".join(value) if is_text else [_joined(one) for one in value]
    return value
