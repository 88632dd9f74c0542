"""The notebooks of an incident's folder, made and put there: the one to run, and the copy of one that ran."""

import json
import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from runbooklib import folders, notebookfile
from runbooklib.errors import SettingsError
from runbooklib.evidence import read_notebook
from runbooklib.extension.places import Incident
from runbooklib.folders import Workplace, write_new


def put(path: Path, make: Callable[[], Mapping[str, Any]]) -> None:
    """Put a notebook there, whole or not at all, unless one is there. Raises OSError."""
    if path.exists():
        return
    text = json.dumps(make(), indent=1, ensure_ascii=False) + "\n"
    os.close(folders.opened(path.parent))
    place = Workplace(path.parent.parent, path.parent.name, is_there=True)
    work = place.folder / f".{secrets.token_hex(8)}"
    try:
        write_new(work, text.encode("utf-8"))
        os.link(work, place.folder / path.name, follow_symlinks=False)
    except FileExistsError:
        pass  # another click was faster
    finally:
        work.unlink(missing_ok=True)
        place.close()


def notebook(incident: Incident) -> Mapping[str, Any]:
    """The runbook with its parameters set, as papermill sets them, and not executed."""
    import papermill  # only once something is prepared

    # Papermill formats paths with the parameters; a name with braces in it is a name.
    path = str(incident.runbook.notebook).replace("{", "{{").replace("}", "}}")
    made = papermill.execute_notebook(path, None, dict(incident.values), prepare_only=True)
    made.metadata.papermill["input_path"] = incident.runbook.notebook.name
    _mark(made.metadata, {"incident": incident.told})
    told: dict[str, Any] = json.loads(json.dumps(made))
    return told


def copy(bundle: Path, name: str) -> Mapping[str, Any]:
    """The executed notebook of a bundle, with a cell on top that says what it is and leads to the one to run.

    Raises InputError.
    """
    copied = read_notebook(bundle)
    cell = {"cell_type": "markdown", "metadata": {}, "source": _about(bundle.name, name)}
    if copied.get("nbformat_minor", 0) >= 5:
        cell["id"] = "copy-of-evidence"
    copied["cells"].insert(0, cell)
    _mark(copied.setdefault("metadata", {}), {"copy_of": bundle.name})
    return copied


def is_worked_in(path: Path) -> bool:
    """Whether somebody ran a cell of it. One that cannot be read is left to who made it so."""
    try:
        cells = notebookfile.read(path)["cells"]
    except SettingsError:
        return True
    return any(cell.get("outputs") or cell.get("execution_count") for cell in cells)


def _mark(metadata: Any, told: Mapping[str, Any]) -> None:
    former = metadata.get("runbook")
    metadata["runbook"] = {**(former if isinstance(former, dict) else {}), **told}


def _about(bundle: str, name: str) -> str:
    """What the copy is. A bundle's name is letters, digits and `_.-`: nothing that a system said."""
    return (
        f"**This ran before you came.** It is a copy of the evidence `{bundle}`, which stays as it is: here\n"
        f"you may dig on.\n\n**[Run again, as it is now]({quote(name)})**: the same runbook, not run yet."
    )
