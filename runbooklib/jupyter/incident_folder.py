"""The folders of incidents: their names, the incident of each, and whether their notebooks were changed.

A folder is `incidents/<UTC start>-<Alert>-<service>[-<labels>]` below the server's root; `labels` are the
values that the link sets besides environment and service. The name is for people. The metadata of the
notebook in the folder name its incident.

The metadata also contain a digest of the cells as they were created, which shows whether a person changed or
ran the notebook. JupyterLab adds metadata to a notebook that is only viewed, and splits texts into lines. So
the digest excludes metadata, and does not depend on how a text is split.
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

# If the start time is unknown, a second click within this time opens the same incident.
_SAME_WITHIN = timedelta(hours=1)
_CONTINUED_WITHIN = timedelta(days=1)
_MAX_FOLDERS = 100
_MAX_LABELS_LENGTH = 60
_PLAIN = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*")
_NOT_PLAIN = re.compile(r"[^A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class IncidentFolder:
    """The incident of a folder. `labels` are the link's parameters, without environment and service."""

    runbook: Runbook
    values: Mapping[str, Value]
    starts_at: datetime
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> str:
        """The name of the environment."""
        return str(self.parameters[ENVIRONMENT])

    @property
    def service(self) -> str:
        """The name of the service."""
        return str(self.parameters[SERVICE])

    @property
    def parameters(self) -> dict[str, Value | None]:
        """All parameters of the runbook: the values of this incident, else the notebook's defaults."""
        return {**defaults(self.runbook), **self.values}

    @property
    def metadata(self) -> dict[str, Any]:
        """The description of the incident in the notebook's metadata."""
        return {
            "alert": self.runbook.alert,
            "environment": self.environment,
            "service": self.service,
            "labels": dict(self.labels),
            "starts_at": self.starts_at.isoformat(),
        }

    @property
    def notebook(self) -> str:
        """The file name of the notebook."""
        return f"{_escape_name(self.runbook.alert)}.ipynb"


def defaults(runbook: Runbook) -> dict[str, Value | None]:
    """The defaults of the notebook's parameters; None if the parameter is required."""
    return {name: parameter.default for name, parameter in runbook.declared.items()}


def folder_name(incident: IncidentFolder, root: Path) -> str:
    """The name of the incident's folder, with a number if another incident's folder has the same name.

    Raises EvidenceError if there are too many such folders.
    """
    name = f"{incident.starts_at:{_STAMP}}-{_suffix(incident)}"
    for number in range(1, _MAX_FOLDERS):
        folder = name if number == 1 else f"{name}-{number}"
        path = root / FOLDER / folder
        if not path.exists() or _belongs_to(path, incident):
            return folder
    raise EvidenceError(f"there are {_MAX_FOLDERS} folders {FOLDER}/{name}", hint="remove some")


def recent_starts(incident: IncidentFolder, root: Path, now: datetime) -> Iterator[datetime]:
    """The start times of recent incidents with the same alert, service and labels, for a link without one.

    They are the incidents of the last hour, and those of the last day in which a person worked: by now the
    alert may have ended, or Alertmanager may not answer.
    """
    suffix = re.compile(re.escape(_suffix(incident)) + r"(?:-\d+)?")
    for path in root.glob(f"{FOLDER}/*"):
        stamp, _, rest = path.name.partition("-")
        try:
            starts_at = datetime.strptime(stamp, _STAMP).replace(tzinfo=UTC)
        except ValueError:
            continue
        if starts_at > now or not suffix.fullmatch(rest) or not _belongs_to(path, incident):
            continue
        age = now - starts_at
        if age <= _SAME_WITHIN or (age <= _CONTINUED_WITHIN and _is_worked_in(path)):
            yield starts_at


def _is_worked_in(folder: Path) -> bool:
    """Whether a person ran or changed a notebook in the folder, also a copy of a headless run."""
    return any(not unchanged_digest(notebook) for notebook in folder.glob("*.ipynb"))


def _suffix(incident: IncidentFolder) -> str:
    """The part of the folder's name after the time."""
    names = [_escape_name(incident.runbook.alert), _escape_name(incident.service)]
    return "-".join(names + ([_labels_part(incident.labels)] if incident.labels else []))


def _escape_name(name: str) -> str:
    """The name as part of a file name, without `/`. Different names stay different."""
    return quote(name, safe=" ")


def _labels_part(labels: Mapping[str, str]) -> str:
    """The labels' values as part of a file name: unchanged if short and plain, else cut, with a digest."""
    plain = "-".join(labels.values())
    if len(plain) <= _MAX_LABELS_LENGTH and all(map(_PLAIN.fullmatch, labels.values())):
        return plain
    digest = hashlib.sha256(json.dumps(labels, sort_keys=True).encode()).hexdigest()[:8]
    return "-".join(filter(None, (_NOT_PLAIN.sub("_", plain)[:_MAX_LABELS_LENGTH].strip("_-"), digest)))


def _belongs_to(folder: Path, incident: IncidentFolder) -> bool:
    """Whether the folder belongs to this incident. Without a notebook that names its incident, it does."""
    try:
        saved = notebook_file.read(folder / incident.notebook)["metadata"]["runbook"]["incident"]
        identity = saved[ENVIRONMENT], saved.get(SERVICE, incident.service), saved.get("labels", {})
    except (SettingsError, KeyError, TypeError, AttributeError):
        return True
    return bool(identity == (incident.environment, incident.service, incident.labels))


_DIGEST = "as_made"
_DIGESTED_FIELDS = ("cell_type", "source", "attachments", "outputs", "execution_count")


def digest(notebook: Mapping[str, Any]) -> str:
    """The SHA-256 of the cells' content, without metadata and cell ids."""
    cells = [
        {name: _join_lines(cell[name]) for name in _DIGESTED_FIELDS if cell.get(name)}
        for cell in notebook["cells"]
    ]
    return hashlib.sha256(json.dumps(cells, sort_keys=True).encode()).hexdigest()


def mark(notebook: dict[str, Any], fields: Mapping[str, Any]) -> None:
    """Add the fields and the digest of the cells to `runbook` in the notebook's metadata."""
    metadata = notebook.setdefault("metadata", {})
    former = metadata.get("runbook")
    kept = former if isinstance(former, dict) else {}
    metadata["runbook"] = {**kept, **fields, _DIGEST: digest(notebook)}


def unchanged_digest(path: Path) -> str:
    """The digest of the notebook, if no cell was run or changed since this program created it; else empty.

    Also empty if the file cannot be read, is a symbolic link, or was not created by this program.
    """
    try:
        notebook = notebook_file.read(path)
        fields, current = notebook.get("metadata", {}).get("runbook"), digest(notebook)
    except (SettingsError, RecursionError):
        return ""
    is_unchanged = isinstance(fields, dict) and fields.get(_DIGEST) == current
    return current if is_unchanged and not path.is_symlink() else ""


def _join_lines(value: Any) -> Any:
    """The value with each list of strings joined, because JupyterLab splits a text into lines."""
    if isinstance(value, dict):
        return {name: _join_lines(item) for name, item in value.items()}
    if isinstance(value, list):
        is_text = bool(value) and all(isinstance(item, str) for item in value)
        return "".join(value) if is_text else [_join_lines(item) for item in value]
    return value
