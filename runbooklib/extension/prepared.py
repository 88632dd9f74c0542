"""The notebooks of an incident's folder, made and put there: the one to run, and the copy of one that ran."""

import json
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from runbooklib import files
from runbooklib.evidence.executed_notebook import read_notebook
from runbooklib.evidence.sanitize import cleaned
from runbooklib.extension import asmade
from runbooklib.extension.incidentfolders import Incident
from runbooklib.files import Workplace, write_new
from runbooklib.redact.redactor import Redactor


def put(path: Path, make: Callable[[], dict[str, Any]]) -> None:
    """Put a notebook there, whole or not at all, unless somebody worked in the one that is there.

    One that is still as it was made gets what is true by now: the window grows with the alert's age. Raises
    OSError.
    """
    former = asmade.found(path)
    if not former and os.path.lexists(path):
        return
    stored = path.read_bytes() if former else b""
    made = make()
    if asmade.digest(made) == former:
        return
    text = json.dumps(made, indent=1, ensure_ascii=False) + "\n"
    os.close(files.opened(path.parent))
    place = Workplace.existing(path.parent.parent, path.parent.name)
    try:
        target = place.folder / path.name
        if not former:
            _add(target, text.encode("utf-8"))
        elif target.read_bytes() == stored:  # nobody saved it in the meantime
            files.replace(target, text.encode("utf-8"), target.stat().st_mode & 0o777)
    finally:
        place.close()


def _add(path: Path, content: bytes) -> None:
    """A new file, whole; another click may be faster, and then its file stays. Raises OSError."""
    work = path.with_name(f".{secrets.token_hex(8)}")
    try:
        write_new(work, content)
        with suppress(FileExistsError):
            _link(work, path, content)
    finally:
        work.unlink(missing_ok=True)


def _link(work: Path, path: Path, content: bytes) -> None:
    """Name it at one stroke; on a file system without hard links (SMB, Azure Files) make it there anew."""
    try:
        os.link(work, path, follow_symlinks=False)
    except FileExistsError:
        raise
    except (OSError, NotImplementedError):
        _make(path, content)


def _make(path: Path, content: bytes) -> None:
    try:
        write_new(path, content)
    except FileExistsError:
        raise
    except OSError:
        path.unlink(missing_ok=True)  # half of it is no notebook
        raise


def notebook(incident: Incident) -> dict[str, Any]:
    """The runbook with its parameters set, as papermill sets them, and not executed."""
    import papermill  # only once something is prepared

    # Papermill formats paths with the parameters; a name with braces in it is a name.
    path = str(incident.runbook.notebook).replace("{", "{{").replace("}", "}}")
    made = papermill.execute_notebook(path, None, dict(incident.values), prepare_only=True)
    made.metadata.papermill["input_path"] = incident.runbook.notebook.name
    told: dict[str, Any] = json.loads(json.dumps(made))
    asmade.mark(told, {"incident": incident.told})
    return told


def copy_of_run(bundle: Path, name: str) -> dict[str, Any]:
    """The executed notebook of a bundle, with a cell on top that says what it is and leads to the one to run.

    Raises InputError.
    """
    # An older version may have sealed it, which left in what JupyterLab acts on.
    copied = cleaned(read_notebook(bundle), Redactor())
    cell = {"cell_type": "markdown", "metadata": {}, "source": _about(bundle.name, name)}
    if copied.get("nbformat_minor", 0) >= 5:
        cell["id"] = "copy-of-evidence"
    copied["cells"].insert(0, cell)
    asmade.mark(copied, {"copy_of": bundle.name})
    return copied


def _about(bundle: str, name: str) -> str:
    """What the copy is. A bundle's name is letters, digits and `_.-`: nothing that a system said."""
    return (
        f"**This ran before you came.** It is a copy of the evidence `{bundle}`, which stays as it is: here\n"
        f"you may dig on.\n\n**[Run again, as it is now]({quote(name)})**: the same runbook, not run yet."
    )
