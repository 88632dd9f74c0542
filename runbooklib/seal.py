"""Evidence of a notebook that plain papermill or JupyterLab executed."""

from pathlib import Path
from typing import Any

from runbooklib.config import site
from runbooklib.errors import InputError
from runbooklib.evidence import Bundle, fingerprints_of, is_replay, read_notebook, recording_of, verdict_of
from runbooklib.tape import OPENING


def seal(notebook: Path, output: Path, chromium: str = "") -> Path:
    """The bundle of an executed notebook, dated by its recording. Raises InputError, EvidenceError."""
    executed = read_notebook(notebook)
    verdict, recording = verdict_of(executed), recording_of(executed)
    opening = next((entry for entry in recording if entry.source == OPENING), None)
    if verdict is None or opening is None:
        raise InputError(
            f"{notebook.name} holds no verdict and no recording", remedy="run it first, then seal it"
        )
    about: dict[str, Any] = {
        "kind": "replay" if is_replay(executed) else "seal",
        "alert": verdict["alert"],
        "parameters": executed["metadata"].get("papermill", {}).get("parameters", {}),
        "alert_fingerprints": fingerprints_of(recording, verdict["alert"]),
        "failure": "",
    }
    bundle = Bundle(output, verdict["alert"], verdict["service"], opening.asked_at, chromium)
    return bundle.finish(executed, about, site.home_or_here())
