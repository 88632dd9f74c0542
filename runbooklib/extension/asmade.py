"""Whether a notebook is still as it was made here: its metadata hold a digest of what its cells say and show.

JupyterLab writes the kernel's language into the metadata of a notebook that somebody only looks at, and
splits texts into lines. So metadata do not count, and a text is the same text however it is split.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runbooklib.config import notebook_file
from runbooklib.errors import SettingsError

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
