"""The notebook that papermill gets from this engine, and where it is written."""

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nbformat import NotebookNode, from_dict
from papermill.iorw import LocalHandler, papermill_io

from runbooklib import files
from runbooklib.evidence.sanitize import learn
from runbooklib.evidence.verdict_json import OURS
from runbooklib.redact.redactor import Depth, Redactor

_TEXTS = frozenset(("text", "ename", "evalue", "traceback"))


def save(output_path: str, notebook: Mapping[str, Any]) -> None:
    """Write the notebook: atomically to a local file, and with papermill's handler to any other place."""
    text = json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
    if isinstance(papermill_io.get_handler(output_path), LocalHandler):
        files.replace(Path(output_path), text.encode("utf-8", "surrogatepass"))
    else:
        papermill_io.write(text, output_path)


def without_secrets(notebook: NotebookNode, redactor: Redactor) -> NotebookNode:
    """The notebook with only its secrets replaced: for papermill, whose output may contain active content."""
    learn(notebook, redactor)
    known: NotebookNode = copy.deepcopy(notebook)
    known.metadata = from_dict(redactor.json(notebook.metadata, Depth.SECRETS))
    for cell in known.cells:
        cell.source = redactor.text(cell.source, Depth.SECRETS)
        for output in cell.get("outputs", ()):
            data = {mime: redactor.json(part, Depth.SECRETS) for mime, part in output.get("data", {}).items()}
            output.update(
                {name: redactor.json(output[name], Depth.SECRETS) for name in _TEXTS & output.keys()}
            )
            if "data" in output:
                output.data = from_dict({**data, **{mime: output.data[mime] for mime in OURS & data.keys()}})
    return known
