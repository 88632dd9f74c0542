"""Seal a notebook that plain papermill, JupyterLab or this engine executed without a bundle."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runbooklib.config import site
from runbooklib.errors import InputError
from runbooklib.evidence.bundle import Bundle
from runbooklib.evidence.executed_notebook import (
    fingerprints_of,
    is_replay,
    read_notebook,
    recording_of,
    verdict_of,
)
from runbooklib.execution.run_state import CELL_ID, FAILED, METADATA, Step, StepStatus, mark_unfinished
from runbooklib.sources.tape import OPENING


def seal(notebook: Path, output: Path, chromium: str = "") -> tuple[Path, str]:
    """Seal an executed notebook; its recording gives the date. Raises InputError, EvidenceError.

    Returns the bundle and why the run did not finish, or "". The verdict of an unfinished run is never OK.
    """
    executed = read_notebook(notebook)
    verdict, recording = verdict_of(executed), recording_of(executed)
    opening = next((entry for entry in recording if entry.source == OPENING), None)
    if verdict is None or opening is None:
        raise InputError(
            f"{notebook.name} holds no verdict and no recording", hint="run it first, then seal it"
        )
    steps = steps_of(executed)
    failure = failure_of(steps)
    about: dict[str, Any] = {
        "kind": "replay" if is_replay(executed) else "seal",
        "alert": verdict["alert"],
        "parameters": executed["metadata"].get("papermill", {}).get("parameters", {}),
        "alert_fingerprints": fingerprints_of(recording, verdict["alert"]),
        "failure": failure,
    }
    if failure and not any(cell.get("id") == CELL_ID for cell in executed["cells"]):
        executed = mark_unfinished(executed, steps, failure)
    bundle = Bundle(output, verdict["alert"], verdict["service"], opening.asked_at, chromium)
    return bundle.finish(executed, about, site.home_or_here()), failure


def steps_of(executed: Mapping[str, Any]) -> list[Step]:
    """Each code cell of the executed notebook that has code, with its status.

    The marks of papermill do not suffice: plain papermill also marks a cell as completed that never ran, and
    a cell that a person has run in JupyterLab afterwards keeps its old mark.
    """
    return [
        _step(place, cell)
        for place, cell in enumerate(executed["cells"])
        if cell["cell_type"] == "code" and "".join(cell["source"]).strip()
    ]


def _step(place: int, cell: Mapping[str, Any]) -> Step:
    name = str(cell.get("id", f"cell {place + 1}"))
    errors = [output for output in cell.get("outputs", ()) if output.get("output_type") == "error"]
    mark = cell["metadata"].get("papermill") or {}
    if errors:
        return Step(
            place, name, StepStatus.INTERRUPTED, f"{errors[0].get('ename')}: {errors[0].get('evalue')}"
        )
    if cell.get("execution_count") is None and not cell.get("outputs"):
        return Step(place, name, StepStatus.NOT_RUN, "")
    if mark.get("exception") is True or mark.get("status") in (FAILED, "running"):
        ours = (cell["metadata"].get(METADATA) or {}).get("cause")
        return Step(place, name, StepStatus.INTERRUPTED, ours or "it failed without an error output")
    return Step(place, name, StepStatus.OK, "")


def failure_of(steps: list[Step]) -> str:
    """Why the run did not finish: the first step that failed, or that did not run; "" if all steps ran."""
    for step in steps:
        if step.cause:
            return f"{step.id}: {step.cause}"
    pending = [step.id for step in steps if step.status is StepStatus.NOT_RUN]
    return f"{pending[0]}: this step did not run" if pending else ""
