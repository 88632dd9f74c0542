"""A notebook file: read it, write it in canonical form, show it as text."""

import ast
import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from runbooklib.errors import SettingsError

_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_CHECK = re.compile(r"\.(?:check|propose)\(\s*(\w+)")
_CALL = re.compile(r"(?:incident\.)(\w+)\(")
_HEADING = re.compile(r"^#{1,6} +(.+)$", re.MULTILINE)
_WORDS = re.compile(r"[^a-z0-9]+")
# The kernelspec fields that canonical form keeps; the others depend on the machine that saved the file.
_SPEC = ("display_name", "language", "name")


def read(path: Path) -> dict[str, Any]:
    """The notebook as a dict of nbformat 4. Raises SettingsError."""
    try:
        notebook: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        json.dumps(notebook, ensure_ascii=False).encode()  # a lone surrogate cannot be written again
    except (OSError, ValueError, RecursionError) as error:
        raise SettingsError(f"{path.name} cannot be read: {error}", hint="pass a notebook") from None
    if not _is_notebook(notebook):
        raise SettingsError(f"{path.name} is not a notebook of nbformat 4", hint="save it with JupyterLab")
    return notebook


def _is_notebook(value: Any) -> bool:
    if (
        not _is_map(value)
        or not isinstance(value.get("cells"), list)
        or not _is_map(value.get("metadata", {}))
    ):
        return False
    sections = [value.get("metadata", {}).get(name) or {} for name in ("kernelspec", "language_info")]
    return all(map(_is_map, sections)) and all(map(_is_cell, value["cells"]))


def _is_cell(cell: Any) -> bool:
    return (
        _is_map(cell)
        and cell.get("cell_type") in ("code", "markdown", "raw")
        and (isinstance(cell.get("source"), str) or _is_texts(cell.get("source")))
        and _is_map(cell.get("metadata", {}))
        and _is_texts(cell.get("metadata", {}).get("tags", []))
        and isinstance(cell.get("outputs", []), list)
    )


def _is_map(value: Any) -> bool:
    return isinstance(value, dict)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def source(cell: Mapping[str, Any]) -> str:
    """The cell's source as one text."""
    return "".join(cell["source"])


def canonical(notebook: Mapping[str, Any]) -> str:
    """The notebook in canonical form, as the text of the file.

    It has no outputs and no execution counts. Only the metadata of kernel, language and runbook stays. Tags
    are sorted. A valid and unique id stays; any other is made from the cell's content. Lines have no trailing
    white space.
    """
    cells = [_cell(cell, name) for cell, name in zip(notebook["cells"], _ids(notebook["cells"]), strict=True)]
    whole = {"cells": cells, "metadata": _metadata(notebook), "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


def _cell(cell: Mapping[str, Any], name: str) -> dict[str, Any]:
    tags = sorted(set(cell.get("metadata", {}).get("tags", [])))
    fields = {
        "cell_type": cell["cell_type"],
        "id": name,
        "metadata": {"tags": tags} if tags else {},
        "source": _strip_trailing_space(cell).splitlines(keepends=True),
    }
    if cell["cell_type"] == "code":
        fields |= {"execution_count": None, "outputs": []}
    elif cell.get("attachments"):
        fields["attachments"] = cell["attachments"]
    return dict(sorted(fields.items()))


def _strip_trailing_space(cell: Mapping[str, Any]) -> str:
    """The source without trailing white space, unless a string contains it."""
    text = source(cell).replace("\r\n", "\n").rstrip()
    bare = "\n".join(line.rstrip() for line in text.split("\n"))
    return bare if cell["cell_type"] != "code" or _syntax_tree(bare) == _syntax_tree(text) else text


def _syntax_tree(code: str) -> str:
    try:
        return ast.dump(ast.parse(code))
    except (SyntaxError, ValueError, RecursionError):
        return ""  # a cell magic, for example


def _ids(cells: Sequence[Mapping[str, Any]]) -> list[str]:
    """An id for each cell: its own if it is valid and the first of that name, else a new unique one."""
    own = [cell.get("id") for cell in cells]
    is_kept = [
        isinstance(given, str) and bool(_ID.fullmatch(given)) and given not in own[:number]
        for number, given in enumerate(own)
    ]
    taken = {str(given) for given, kept in zip(own, is_kept, strict=True) if kept}
    names = []
    for cell, given, kept in zip(cells, own, is_kept, strict=True):
        name = (
            str(given) if kept else next(name for name in _numbered_names(_name(cell)) if name not in taken)
        )
        taken.add(name)
        names.append(name)
    return names


def _numbered_names(base: str) -> Iterator[str]:
    yield base
    for number in itertools.count(2):
        yield f"{base}-{number}"


def _name(cell: Mapping[str, Any]) -> str:
    """A name in kebab-case, from the first check of a code cell, or the first heading or words of prose."""
    text = source(cell)
    if cell["cell_type"] == "code":
        match = _CHECK.search(text) or _CALL.search(text)
    else:
        match = _HEADING.search(text)
    title = match[1] if match else text
    words = [word for word in _WORDS.split(title.lower()) if word][:6]
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
    """The notebook as text for a diff: one line with each cell's type and id, then its source."""
    parts = []
    for cell in notebook["cells"]:
        outputs = len(cell.get("outputs", ()))
        count = f" (outputs: {outputs})" if outputs else ""
        parts.append(f"--- {cell['cell_type']} {cell.get('id', '')}{count}\n{source(cell).rstrip()}\n")
    return "\n".join(parts)
