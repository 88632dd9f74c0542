"""Where in the notebook something is shown, and which answers lie there: all of it has to be saved."""

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from runbooklib.notebook.steps import Step
from runbooklib.sources.tape import Entry

# A save takes what a page shows, and its file is written a moment later.
_SAVING = timedelta(seconds=3)


@dataclass(frozen=True, slots=True)
class Place:
    """One output: in which cell, since when (aware UTC), and which answers, each by question and time.

    `cell` is empty where nobody says which it is.
    """

    cell: str
    at: datetime
    answers: frozenset[tuple[str, datetime]]

    def is_before(self, saved_at: datetime) -> bool:
        """Whether what was saved then shows it, if its cell is still there."""
        return self.at + _SAVING < saved_at


class SavedOutputs:
    """The outputs of one incident, by the names by which a front end knows them."""

    def __init__(self) -> None:
        self._cell = ""
        self._cells: set[str] = set()
        self._of_step: dict[Step, list[str]] = {}
        self._places: dict[str, Place] = {}

    def begin_cell(self, cell: str) -> bool:
        """A cell is run: what lay in its outputs is gone. Whether it ran before."""
        gone = {name for name, place in self._places.items() if place.cell == cell}
        self._places = {name: one for name, one in self._places.items() if name not in gone}
        for step, names in self._of_step.items():
            self._of_step[step] = [name for name in names if name not in gone]
        is_again, self._cell = cell in self._cells, cell
        self._cells.add(cell)
        return is_again

    def end_cell(self) -> None:
        """What is shown now is shown in no cell, or nobody knows in which."""
        self._cell = ""

    def of(self, step: Step) -> tuple[str, ...]:
        """Where the step has shown something."""
        return tuple(self._of_step.get(step, ()))

    def new(self, step: Step | None = None) -> str:
        """One more place, of that step. Of a kernel that is gone the front end may still know the names."""
        name = f"runbook-{uuid4().hex}"
        if step is not None:
            self._of_step.setdefault(step, []).append(name)
        return name

    def lay(self, name: str, entries: Sequence[Entry]) -> None:
        """These answers lie there now, and no others."""
        cell = self._places[name].cell if name in self._places else self._cell
        answers = frozenset((entry.key, entry.asked_at) for entry in entries)
        self._places[name] = Place(cell, datetime.now(UTC), answers)

    def missing(
        self, recording: Iterable[Entry], cells: Container[str], saved_at: datetime
    ) -> tuple[Place, ...]:
        """What a notebook that was saved then, with these cells and answers, does not hold.

        A cell that was run before and is not there any more was deleted by somebody, and is not missing.
        """
        saved = {(entry.key, entry.asked_at) for entry in recording}
        return tuple(
            place
            for place in self._places.values()
            if not (place.cell and place.cell not in cells and place.is_before(saved_at))
            and not (place.answers <= saved and (not place.cell or place.cell in cells))
        )
