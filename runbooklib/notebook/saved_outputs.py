"""The outputs of one incident and their answers, to check that the saved notebook has them all."""

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from runbooklib.notebook.steps import Step
from runbooklib.sources.tape import Entry

# JupyterLab takes the outputs that the page shows, and writes the file a moment later.
_SAVE_DELAY = timedelta(seconds=3)


@dataclass(frozen=True, slots=True)
class Output:
    """One output: its cell id (empty: not known), when it was shown (aware UTC), and its answers.

    An answer is identified by the key of its request and by the time when it was asked.
    """

    cell: str
    at: datetime
    answers: frozenset[tuple[str, datetime]]

    def is_before(self, saved_at: datetime) -> bool:
        """Whether a notebook saved at that time holds it, if its cell still exists."""
        return self.at + _SAVE_DELAY < saved_at


class SavedOutputs:
    """The outputs of one incident, by their display ids."""

    def __init__(self) -> None:
        self._cell = ""
        self._cells: set[str] = set()
        self._of_step: dict[Step, list[str]] = {}
        self._outputs: dict[str, Output] = {}

    def begin_cell(self, cell: str) -> bool:
        """A cell starts, so its former outputs are gone. Returns whether it ran before."""
        gone = {id_ for id_, output in self._outputs.items() if output.cell == cell}
        self._outputs = {id_: output for id_, output in self._outputs.items() if id_ not in gone}
        for step, ids in self._of_step.items():
            self._of_step[step] = [id_ for id_ in ids if id_ not in gone]
        ran_before, self._cell = cell in self._cells, cell
        self._cells.add(cell)
        return ran_before

    def end_cell(self) -> None:
        """What is shown from now on belongs to no known cell."""
        self._cell = ""

    def of(self, step: Step) -> tuple[str, ...]:
        """The display ids of the step's outputs."""
        return tuple(self._of_step.get(step, ()))

    def new(self, step: Step | None = None) -> str:
        """A new display id. It is random: the front end may still know the ids of a kernel that is gone."""
        id_ = f"runbook-{uuid4().hex}"
        if step is not None:
            self._of_step.setdefault(step, []).append(id_)
        return id_

    def put(self, display_id: str, entries: Sequence[Entry]) -> None:
        """The output with that display id now holds these answers, and no others."""
        cell = self._outputs[display_id].cell if display_id in self._outputs else self._cell
        answers = frozenset((entry.key, entry.asked_at) for entry in entries)
        self._outputs[display_id] = Output(cell, datetime.now(UTC), answers)

    def missing(
        self, recording: Iterable[Entry], cells: Container[str], saved_at: datetime
    ) -> tuple[Output, ...]:
        """The outputs that a notebook saved at that time, with these cells and answers, does not hold.

        The output of a cell that was shown before the save and no longer exists is not missing: somebody
        deleted the cell.
        """
        saved = {(entry.key, entry.asked_at) for entry in recording}
        return tuple(
            output
            for output in self._outputs.values()
            if not (output.cell and output.cell not in cells and output.is_before(saved_at))
            and not (output.answers <= saved and (not output.cell or output.cell in cells))
        )
