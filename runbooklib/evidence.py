"""The executed notebook as evidence: a folder that is either there whole or not at all.

It is put together in a hidden folder beside, synced, then renamed; a folder that exists is never touched.
"""

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from runbooklib.errors import EvidenceError, InputError
from runbooklib.render.page import page
from runbooklib.report import RECORDING_MIME, VERDICT_MIME, canonical
from runbooklib.tape import Entry, unpack

NOTEBOOK, PAGE, VERDICT = "notebook.ipynb", "notebook.html", "verdict.json"
_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]+")


def outputs(notebook: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The data of every output, in order: mime type -> content."""
    for cell in notebook["cells"]:
        for output in cell.get("outputs", ()):
            if "data" in output:
                yield output["data"]


def verdict_of(notebook: Mapping[str, Any]) -> dict[str, Any] | None:
    """The verdict that the notebook's first output ended with, or None where there is none."""
    verdicts = [data[VERDICT_MIME] for data in outputs(notebook) if VERDICT_MIME in data]
    return dict(verdicts[0]) if verdicts else None


def recording_of(notebook: Mapping[str, Any]) -> list[Entry]:
    """Every answer that the notebook recorded, in the order of its cells."""
    packed = [data[RECORDING_MIME] for data in outputs(notebook) if RECORDING_MIME in data]
    return [entry for recording in packed for entry in unpack(recording)]


class Bundle:
    """The folder of one run's evidence, while it is being put together.

    Raises InputError where nothing could be written: before a run, not after it.
    """

    def __init__(self, output: Path, alert: str, service: str, started_at: datetime) -> None:
        self.name = f"{started_at:%Y%m%dT%H%M%SZ}-{_safe(alert)}-{_safe(service)}"
        self._output = output
        self._work = output / f".{self.name}.{os.getpid()}"
        try:
            output.mkdir(parents=True, exist_ok=True)
            self._work.mkdir(mode=0o700)
        except OSError as error:
            raise InputError(
                f"the evidence cannot be written to {output}: {error.strerror}",
                remedy="choose another folder with --output",
            ) from None

    @property
    def notebook_path(self) -> Path:
        """Where the notebook is saved while it runs."""
        return self._work / NOTEBOOK

    def finish(self, notebook: dict[str, Any]) -> Path:
        """Write notebook, page and verdict, and give the folder its name. Raises EvidenceError."""
        without_paths(notebook)
        verdict = verdict_of(notebook)
        title = f"{verdict['status']} {verdict['alert']}" if verdict else self.name
        try:
            _write(self._work / NOTEBOOK, json.dumps(notebook, indent=1, ensure_ascii=False) + "\n")
            _write(self._work / PAGE, page(notebook, title))
            if verdict is not None:
                _write(self._work / VERDICT, canonical(verdict))
            return self._publish()
        except OSError as error:
            raise EvidenceError(
                f"the evidence could not be written: {error.strerror}; what there is lies in {self._work}",
                remedy="make room, and move it by hand",
            ) from None

    def _publish(self) -> Path:
        _sync(self._work)
        for again in range(1, 1000):
            final = self._output / (self.name if again == 1 else f"{self.name}-{again}")
            try:
                # mkdir claims the name; rename onto an empty folder of ours replaces nothing of anybody's.
                final.mkdir(mode=0o700)
            except FileExistsError:
                continue
            self._work.rename(final)
            _sync(self._output)
            return final
        raise EvidenceError(f"there are 999 runs named {self.name}", remedy="choose another folder")

    def abandon(self) -> None:
        """Remove what was begun: for a run that was refused before it started."""
        shutil.rmtree(self._work, ignore_errors=True)


def _safe(name: str) -> str:
    return _UNSAFE.sub("_", name).strip("._-")[:80] or "unnamed"


def _write(path: Path, content: str) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    path.chmod(0o600)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def without_paths(notebook: dict[str, Any]) -> None:
    """Take this machine's paths out of what papermill noted in the metadata."""
    told = notebook.get("metadata", {}).get("papermill", {})
    for name in ("input_path", "output_path"):
        if told.get(name):
            told[name] = Path(told[name]).name
