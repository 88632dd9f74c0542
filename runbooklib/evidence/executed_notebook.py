"""Read an executed notebook or an exported recording: its verdict, its outputs and its recorded answers."""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from runbooklib.errors import InputError
from runbooklib.evidence.verdict_json import RECORDING_MIME, REPLAY_MIME, VERDICT_MIME
from runbooklib.sources.tape import Entry, pack, unpack

NOTEBOOK, PAGE, VERDICT = "notebook.ipynb", "notebook.html", "verdict.json"


def read_notebook(path: Path) -> dict[str, Any]:
    """Read an executed notebook; `path` is the file or its bundle. Raises InputError."""
    file = path / NOTEBOOK if path.is_dir() else path
    try:
        notebook: dict[str, Any] = json.loads(file.read_bytes())
        if notebook["nbformat"] != 4 or not isinstance(notebook["cells"], list):
            raise ValueError("it is no notebook of nbformat 4")
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}", hint="name a bundle") from None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file} is no notebook: {error}", hint="name a bundle") from None
    return notebook


def read_recording(path: Path) -> list[Entry]:
    """The recording of a bundle, an executed notebook, or a file that `export` wrote. Raises InputError."""
    exported = read_export(path)
    return unpack(exported["recording"]) if exported else recording_of(read_notebook(path))


def read_export(path: Path) -> dict[str, Any] | None:
    """Read a file of `export`: alert, service, parameters, verdict and recording. None for another file."""
    if path.is_dir() or path.suffix == ".ipynb":
        return None
    try:
        exported = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {error}", hint="name a bundle or a recording") from None
    return exported if isinstance(exported, dict) and "recording" in exported else None


def export(bundle: Path) -> dict[str, Any]:
    """The recording with the fields that a replay needs, without outputs: small enough for a repository."""
    notebook = read_notebook(bundle)
    verdict = verdict_of(notebook)
    if verdict is None:
        raise InputError(f"{bundle} holds no verdict", hint="name a bundle that `runbook run` wrote")
    return {
        "version": 1,
        "alert": verdict["alert"],
        "service": verdict["service"],
        "parameters": notebook["metadata"].get("papermill", {}).get("parameters", {}),
        "verdict": verdict,
        "recording": pack(recording_of(notebook)),
    }


def outputs(notebook: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The data of every output, in order: mime type -> content."""
    for cell in notebook["cells"]:
        for output in cell.get("outputs", ()):
            if "data" in output:
                yield output["data"]


def verdict_of(notebook: Mapping[str, Any]) -> dict[str, Any] | None:
    """The first verdict in the outputs of the notebook, or None."""
    verdicts = [data[VERDICT_MIME] for data in outputs(notebook) if VERDICT_MIME in data]
    return _with_float_step(dict(verdicts[0])) if verdicts else None


def _with_float_step(verdict: dict[str, Any]) -> dict[str, Any]:
    """JupyterLab saves 15.0 as 15. Restore the float, so that a verdict has the same bytes after any save."""
    window = verdict.get("window")
    if isinstance(window, dict) and isinstance(window.get("step_seconds"), int):
        verdict["window"] = {**window, "step_seconds": float(window["step_seconds"])}
    return verdict


def verdict_in(bundle: Path) -> dict[str, Any] | None:
    """The verdict in a bundle's verdict.json, or None if there is no such file."""
    file = bundle / VERDICT
    return dict(json.loads(file.read_bytes())) if file.exists() else None


def is_replay(notebook: Mapping[str, Any]) -> bool:
    """Whether the notebook was executed in a replay."""
    return any(REPLAY_MIME in data for data in outputs(notebook))


def recording_of(notebook: Mapping[str, Any]) -> list[Entry]:
    """Every answer that the notebook recorded, in the order of its cells."""
    packed = [data[RECORDING_MIME] for data in outputs(notebook) if RECORDING_MIME in data]
    return [entry for recording in packed for entry in unpack(recording)]


def fingerprints_of(recording: Iterable[Entry], alert: str) -> list[str]:
    """The fingerprints of the alert in the recorded answers of Alertmanager, sorted."""
    answers = [e.answer for e in recording if e.source == "alertmanager" and isinstance(e.answer, list)]
    alerts = [item for answer in answers for item in answer if isinstance(item, dict)]
    matching = [item for item in alerts if (item.get("labels") or {}).get("alertname") == alert]
    return sorted({str(item.get("fingerprint")) for item in matching})
