"""A notebook on disk: read it, write it in its one spelling, show it as text."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from runbooklib.errors import SettingsError

_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_CHECK = re.compile(r"\.(?:check|propose)\(\s*(\w+)")
_CALL = re.compile(r"(?:incident\.)(\w+)\(")
_HEADING = re.compile(r"^#{1,6} +(.+)$", re.MULTILINE)
_WORDS = re.compile(r"[^a-z0-9]+")
# What a notebook's metadata may keep; the rest is of the machine and the session that last saved it.
_SPEC = ("display_name", "language", "name")


def read(path: Path) -> dict[str, Any]:
    """The notebook as nbformat 4 has it. Raises SettingsError."""
    try:
        notebook: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise SettingsError(f"{path.name} cannot be read: {error}", remedy="name a notebook") from None
    cells = notebook.get("cells") if isinstance(notebook, dict) else None
    if not isinstance(cells, list) or not all(_is_cell(cell) for cell in cells):
        raise SettingsError(f"{path.name} is no notebook of nbformat 4", remedy="save it with JupyterLab")
    return notebook


def _is_cell(cell: Any) -> bool:
    return (
        isinstance(cell, dict)
        and cell.get("cell_type") in ("code", "markdown", "raw")
        and isinstance(cell.get("source"), str | list)
        and isinstance(cell.get("metadata", {}), dict)
    )


def source(cell: Mapping[str, Any]) -> str:
    """The cell's source as one text."""
    return "".join(cell["source"])


def canonical(notebook: Mapping[str, Any]) -> str:
    """The notebook's one spelling, ready to be written.

    No outputs, no counts; metadata of the kernel, the language and our own alone; tags sorted; ids kept where
    they are valid and unique, else made from what the cell says; no white space at the end of a line.
    """
    cells, taken = [], set[str]()
    for cell in notebook["cells"]:
        name = _id(cell, taken)
        taken.add(name)
        cells.append(_cell(cell, name))
    whole = {"cells": cells, "metadata": _metadata(notebook), "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


def _cell(cell: Mapping[str, Any], name: str) -> dict[str, Any]:
    tags = sorted(set(cell.get("metadata", {}).get("tags", [])))
    lines = [line.rstrip() for line in source(cell).rstrip().split("\n")]
    text = "\n".join(lines)
    told = {
        "cell_type": cell["cell_type"],
        "id": name,
        "metadata": {"tags": tags} if tags else {},
        "source": text.splitlines(keepends=True),
    }
    if cell["cell_type"] == "code":
        told |= {"execution_count": None, "outputs": []}
    return dict(sorted(told.items()))


def _id(cell: Mapping[str, Any], taken: set[str]) -> str:
    given = cell.get("id")
    if isinstance(given, str) and _ID.fullmatch(given) and given not in taken:
        return given
    base = _name(cell)
    return next(name for name in _numbered(base) if name not in taken)


def _numbered(base: str) -> Iterator[str]:
    yield base
    for number in range(2, 100_000):
        yield f"{base}-{number}"


def _name(cell: Mapping[str, Any]) -> str:
    """A name in kebab-case: of code its first check, of prose its first heading or words."""
    text = source(cell)
    if cell["cell_type"] == "code":
        found = _CHECK.search(text) or _CALL.search(text)
        told = found[1] if found else text
    else:
        heading = _HEADING.search(text)
        told = heading[1] if heading else text
    words = [word for word in _WORDS.split(told.lower()) if word][:6]
    return "-".join(words)[:50].strip("-") or "cell"


def _metadata(notebook: Mapping[str, Any]) -> dict[str, Any]:
    given = notebook.get("metadata", {})
    spec = given.get("kernelspec") or {"display_name": "Python 3", "language": "python", "name": "python3"}
    kept: dict[str, Any] = {"kernelspec": {name: spec[name] for name in _SPEC if name in spec}}
    kept["language_info"] = {"name": (given.get("language_info") or {}).get("name", "python")}
    if "runbook" in given:
        kept["runbook"] = given["runbook"]
    return kept


def as_text(notebook: Mapping[str, Any]) -> str:
    """The notebook for a reader of a diff: a line for each cell's kind and id, then its source."""
    parts = []
    for cell in notebook["cells"]:
        outputs = len(cell.get("outputs", ()))
        told = f" ({outputs} outputs)" if outputs else ""
        parts.append(f"--- {cell['cell_type']} {cell.get('id', '')}{told}\n{source(cell).rstrip()}\n")
    return "\n".join(parts)
