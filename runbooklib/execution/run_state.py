"""The state of a run, built from the lines of its journal: the executed notebook and the status of each step.

A run and `recover` build the executed notebook with the same code, so that the evidence of a killed run has
the same form as that of a finished run. A step is a code cell; its status is `not_run` until it begins.

`mark_unfinished` marks the notebook of a run that did not finish: the steps that did not run prove nothing.
"""

import copy
import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from runbooklib.evidence.verdict_json import FINDING_MIME, VERDICT_MIME
from runbooklib.render import sentences
from runbooklib.text import visible

METADATA = "runbook"


class StepStatus(StrEnum):
    """The status of a step. A step with OK, PROBLEM or UNKNOWN ran to its end."""

    OK = "ok"
    PROBLEM = "problem"
    UNKNOWN = "unknown"
    INTERRUPTED = "interrupted"
    NOT_RUN = "not_run"


FAILED = "failed"
# papermill's own names. Plain papermill also writes `completed` for a step that never ran.
_PAPERMILL = {
    StepStatus.OK: "completed",
    StepStatus.PROBLEM: "completed",
    StepStatus.UNKNOWN: "completed",
    StepStatus.INTERRUPTED: FAILED,
    StepStatus.NOT_RUN: "pending",
}
_WORST = ("OK", "UNKNOWN", "WARNING", "CRITICAL")


@dataclass(frozen=True, slots=True)
class Step:
    """One code cell: its index in the notebook, its id, its status, and the cause of that status."""

    cell: int
    id: str
    status: StepStatus
    cause: str


def status_of(outputs: Iterable[Mapping[str, Any]]) -> StepStatus:
    """The status of a step that ran to its end: that of its worst finding; OK if it has no finding."""
    statuses = [out["data"][FINDING_MIME]["status"] for out in outputs if FINDING_MIME in out.get("data", {})]
    worst = max(statuses, key=_WORST.index, default="OK")
    return {"OK": StepStatus.OK, "UNKNOWN": StepStatus.UNKNOWN}.get(worst, StepStatus.PROBLEM)


def marked(
    metadata: Mapping[str, Any], step_status: StepStatus, cause: str = "", **papermill_fields: Any
) -> dict[str, Any]:
    """The metadata of a cell with its status, for runbooklib and for papermill.

    A step with a cause failed: papermill then ends with an error, also if the step has no error output.
    """
    has_failed = step_status is StepStatus.INTERRUPTED or bool(cause)
    papermill = {
        "start_time": None,
        "end_time": None,
        "duration": None,
        **(metadata.get("papermill") or {}),
        "status": FAILED if has_failed else _PAPERMILL[step_status],
        "exception": has_failed,
        **papermill_fields,
    }
    return {**metadata, METADATA: {"status": step_status.value, "cause": cause}, "papermill": papermill}


class RunState:
    """The notebook of one run. `apply` updates it with one line of the journal."""

    def __init__(self, notebook: Mapping[str, Any]) -> None:
        """`notebook` is the source notebook with its parameters. Every step starts as not_run."""
        self.notebook: dict[str, Any] = copy.deepcopy(dict(notebook))
        for cell in self._code():
            cell.update(outputs=[], execution_count=None)
            cell["metadata"] = marked(cell["metadata"], StepStatus.NOT_RUN)

    def _code(self) -> Iterable[dict[str, Any]]:
        return (cell for cell in self.notebook["cells"] if cell["cell_type"] == "code")

    def apply(self, line: Mapping[str, Any]) -> None:
        """Apply one line of the journal. Raises LookupError or TypeError if it does not fit this notebook."""
        kind = line["kind"]
        if kind == "step":
            cell = self.notebook["cells"][line["cell"]]
            cell["metadata"] = line["metadata"]
            cell["execution_count"] = line["execution_count"]
        elif kind == "output":
            outputs = self.notebook["cells"][line["cell"]]["outputs"]
            outputs[line["place"] :] = [line["output"], *outputs[line["place"] + 1 :]]
        elif kind == "more":
            output = self.notebook["cells"][line["cell"]]["outputs"][line["place"]]
            output["text"] += line["text"]
        elif kind == "cleared":
            self.notebook["cells"][line["cell"]]["outputs"] = []
        elif kind == "notebook":
            self.notebook["metadata"] = line["metadata"]

    def end(self, cause: str) -> None:
        """Mark the step that is still running as interrupted, with this cause."""
        for cell in self._code():
            if cell["metadata"]["papermill"]["status"] == "running":
                cell["metadata"] = marked(cell["metadata"], StepStatus.INTERRUPTED, cause)

    @property
    def steps(self) -> list[Step]:
        """Every step, in order."""
        steps = []
        for place, cell in enumerate(self.notebook["cells"]):
            if cell["cell_type"] == "code" and METADATA in cell["metadata"]:
                state = cell["metadata"][METADATA]
                id = str(cell.get("id", f"cell {place + 1}"))  # noqa: A001 - nbformat's word
                steps.append(Step(place, id, StepStatus(state["status"]), str(state["cause"])))
        return steps


CELL_ID = "run-did-not-finish"
_PROBLEMS = ("WARNING", "CRITICAL")


def mark_unfinished(notebook: Mapping[str, Any], steps: Sequence[Step], failure: str) -> dict[str, Any]:
    """The notebook of an unfinished run: its first cell says so, and its verdict is never OK."""
    banner = {
        "cell_type": "raw",
        "id": CELL_ID,
        "metadata": {},
        "source": sentences.unfinished(
            failure,
            [step.id for step in steps if step.status is StepStatus.INTERRUPTED],
            [step.id for step in steps if step.status is StepStatus.NOT_RUN],
        ),
    }
    return {**notebook, "cells": [banner, *(_cell(cell, failure) for cell in notebook["cells"])]}


def unfinished_verdict(verdict: Mapping[str, Any], failure: str) -> dict[str, Any]:
    """The verdict of an unfinished run: WARNING and CRITICAL stay, any other status becomes UNKNOWN."""
    has_problem = verdict["status"] in _PROBLEMS
    return {
        **verdict,
        "status": verdict["status"] if has_problem else "UNKNOWN",
        "headline": sentences.unfinished_headline(verdict["headline"] if has_problem else "", failure),
        "unfinished": failure,
    }


def _cell(cell: Mapping[str, Any], failure: str) -> dict[str, Any]:
    if cell["cell_type"] != "code":
        return dict(cell)
    return {**cell, "outputs": [_output(output, failure) for output in cell["outputs"]]}


def _output(output: Mapping[str, Any], failure: str) -> dict[str, Any]:
    data = output.get("data", {})
    if VERDICT_MIME not in data:
        return dict(output)
    verdict = unfinished_verdict(data[VERDICT_MIME], failure)
    line = f"{verdict['status']}  {verdict['headline']}"
    # The card is from before the run stopped and can say OK in green: the reader must not see it first.
    card = "".join(data.get("text/html", ""))
    summary = html.escape(sentences.say("What it had found until then"))
    shown = f"<p><strong>{html.escape(visible(line))}</strong></p>"
    return {
        **output,
        "data": {
            **data,
            VERDICT_MIME: verdict,
            "text/plain": line,
            "text/html": f"{shown}<details><summary>{summary}</summary>{card}</details>",
        },
    }
