"""What the lines of a journal amount to: the notebook as far as it got, and what became of each step.

A run and `recover` make the executed notebook by the same code, so that what a killed run left reads like
what a run that ended leaves. A step is a code cell; it is `not_run` until it has begun.

A run that did not finish, told as one: what was not run can be sound or not, and nobody knows.
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
    """What became of a step. Only OK and PROBLEM and UNKNOWN have run to their end."""

    OK = "ok"
    PROBLEM = "problem"
    UNKNOWN = "unknown"
    INTERRUPTED = "interrupted"
    NOT_RUN = "not_run"


# As plain papermill calls them, except that it calls what never ran completed, too.
_PAPERMILL = {
    StepStatus.OK: "completed",
    StepStatus.PROBLEM: "completed",
    StepStatus.UNKNOWN: "completed",
    StepStatus.INTERRUPTED: "failed",
    StepStatus.NOT_RUN: "pending",
}
_WORST = ("OK", "UNKNOWN", "WARNING", "CRITICAL")


@dataclass(frozen=True, slots=True)
class Step:
    """One code cell: its place, its id, what became of it, and why."""

    cell: int
    id: str
    status: StepStatus
    cause: str


def status_of(outputs: Iterable[Mapping[str, Any]]) -> StepStatus:
    """The status of a step that ran to its end, by the findings that it shows; without any it is OK."""
    found = [out["data"][FINDING_MIME]["status"] for out in outputs if FINDING_MIME in out.get("data", {})]
    worst = max(found, key=_WORST.index, default="OK")
    return {"OK": StepStatus.OK, "UNKNOWN": StepStatus.UNKNOWN}.get(worst, StepStatus.PROBLEM)


def marked(metadata: Mapping[str, Any], became: StepStatus, cause: str = "", **told: Any) -> dict[str, Any]:
    """A cell's metadata with what became of it in our words and papermill's; `told` is more of its."""
    papermill = {
        "start_time": None,
        "end_time": None,
        "duration": None,
        **(metadata.get("papermill") or {}),
        "status": _PAPERMILL[became],
        "exception": became is StepStatus.INTERRUPTED,
        **told,
    }
    return {**metadata, METADATA: {"status": became.value, "cause": cause}, "papermill": papermill}


class RunState:
    """The notebook of one run, told line by line."""

    def __init__(self, notebook: Mapping[str, Any]) -> None:
        """`notebook` is the source with its parameters; every step is not_run."""
        self.notebook: dict[str, Any] = copy.deepcopy(dict(notebook))
        for cell in self._code():
            cell.update(outputs=[], execution_count=None)
            cell["metadata"] = marked(cell["metadata"], StepStatus.NOT_RUN)

    def _code(self) -> Iterable[dict[str, Any]]:
        return (cell for cell in self.notebook["cells"] if cell["cell_type"] == "code")

    def apply(self, line: Mapping[str, Any]) -> None:
        """One line of the journal. Raises LookupError, TypeError for one that fits nothing here."""
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
        """Whatever is still running did not come to its end, and why."""
        for cell in self._code():
            if cell["metadata"]["papermill"]["status"] == "running":
                cell["metadata"] = marked(cell["metadata"], StepStatus.INTERRUPTED, cause)

    @property
    def steps(self) -> list[Step]:
        """Every step, in order."""
        found = []
        for place, cell in enumerate(self.notebook["cells"]):
            if cell["cell_type"] == "code" and METADATA in cell["metadata"]:
                told = cell["metadata"][METADATA]
                id = str(cell.get("id", f"cell {place + 1}"))  # noqa: A001 - nbformat's word
                found.append(Step(place, id, StepStatus(told["status"]), str(told["cause"])))
        return found


CELL_ID = "run-did-not-finish"
_PROBLEMS = ("WARNING", "CRITICAL")


def told(notebook: Mapping[str, Any], steps: Sequence[Step], failure: str) -> dict[str, Any]:
    """The notebook with a first cell that says so, and with a verdict that is never OK."""
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


def verdict_told(verdict: Mapping[str, Any], failure: str) -> dict[str, Any]:
    """The verdict as far as it got: a problem stays one, anything else is UNKNOWN."""
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
    verdict = verdict_told(data[VERDICT_MIME], failure)
    line = f"{verdict['status']}  {verdict['headline']}"
    # The card of then may say OK, in green: it is not what a reader sees first.
    card, then = (
        "".join(data.get("text/html", "")),
        html.escape(sentences.say("What it had found until then")),
    )
    shown = f"<p><strong>{html.escape(visible(line))}</strong></p>"
    return {
        **output,
        "data": {
            **data,
            VERDICT_MIME: verdict,
            "text/plain": line,
            "text/html": f"{shown}<details><summary>{then}</summary>{card}</details>",
        },
    }
