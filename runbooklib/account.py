"""What the lines of a journal amount to: the notebook as far as it got, and what became of each step.

A run and `recover` make the executed notebook by the same code, so that what a killed run left reads like
what a run that ended leaves. A step is a code cell; it is `not_run` until it has begun.
"""

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from runbooklib.evidence.verdict_json import FINDING_MIME

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


class Account:
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
