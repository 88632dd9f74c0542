"""The steps of a notebook: every question, section and proposal, once by its name, in order.

A step can run again (its cell was run again, or everything is asked again); it keeps its place.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from runbooklib.errors import InputError, RunbookError

# (cause id, step name). The cause id is empty for steps about the symptoms.
Step = tuple[str, str]
T = TypeVar("T")
Name = TypeVar("Name", str, Step)


@dataclass(frozen=True, slots=True)
class Change:
    """How a cell differs from its last run: the steps that it runs now, and the steps it dropped."""

    order: tuple[Step, ...]
    dropped: tuple[Step, ...]

    def within(self, cause: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """(order, dropped) as step names, for one cause id; empty: for the symptoms."""
        order, dropped = (
            tuple(name for step_cause, name in steps if step_cause == cause)
            for steps in (self.order, self.dropped)
        )
        return order, dropped


def reorder(ledger: Mapping[Name, T], order: Sequence[Name], dropped: Collection[Name]) -> dict[Name, T]:
    """The ledger as if the cell had always been as it is now.

    A replay runs the cell once and in its place, so the ledger must not remember the earlier version.
    """
    moved = {name: ledger[name] for name in order if name in ledger}
    reordered: dict[Name, T] = {}
    for name, value in ledger.items():
        reordered |= moved if name in moved or name in dropped else {name: value}
    return reordered


class Steps:
    """The steps, in the order in which each first ran.

    `current` is the step that is running, ("", "") between steps. `cell` is the id of the running cell,
    empty where it is not known. `on_change` is called when a cell that was run again runs other steps than
    before. `is_repeat` is True while all steps run again: their outputs replace the earlier ones.
    """

    def __init__(self, on_change: Callable[[Change], object] = lambda _: None) -> None:
        self._on_change = on_change
        self._calls: dict[Step, Callable[[], object]] = {}
        self._pending: list[Step] = []
        self._is_closed = False
        self.current: Step = ("", "")
        self.cell = ""
        self._in_cell: list[Step] = []
        # The steps of each cell in its last run. A cell that failed keeps the steps of the run before, too.
        self._of_cell: dict[str, list[Step]] = {}
        self.is_repeat = False

    def run(self, step: Step, call: Callable[[], T]) -> T:
        """Run a step and return what `call` returns. Raises InputError if the incident is closed."""
        self.require_open()
        self.name(step)
        self._calls[step] = call
        before, self.current = self.current, step
        try:
            return call()
        finally:
            self.current = before

    def name(self, step: Step) -> None:
        """Note that the running cell runs this step, or names the cause that its steps belong to."""
        if self.cell and not self.is_repeat:
            self._in_cell.append(step)

    def restore(self, cell: str, step: Step) -> None:
        """Note that the cell ran this step in the interrupted run that is being resumed."""
        self._of_cell.setdefault(cell, []).append(step)

    def begin_cell(self, cell: str) -> None:
        """The cell with this id starts; empty: the id is not known."""
        self.cell, self._in_cell = cell, []

    def end_cell(self, *, succeeded: bool) -> Change | None:
        """The running cell has ended. Returns what changed since its last run, None for nothing.

        A cell that failed drops no step: the steps that it did not reach keep their earlier findings.
        """
        cell, self.cell = self.cell, ""
        former, now = self._of_cell.get(cell, []), list(dict.fromkeys(self._in_cell))
        if not cell:
            return None
        self._of_cell[cell] = now if succeeded else list(dict.fromkeys([*former, *now]))
        if not succeeded or not former or former == now:
            return None
        elsewhere = {step for other, steps in self._of_cell.items() if other != cell for step in steps}
        order = tuple(step for step in now if step not in elsewhere)
        dropped = tuple(step for step in former if step not in now and step not in elsewhere)
        self._calls = reorder(self._calls, order, dropped)
        change = Change(order, dropped)
        self._on_change(change)
        return change

    def former_of(self, step: Step) -> Step | None:
        """The step that the running cell ran last time in place of this: the same check, other limits."""
        cause, name = step
        check = name.partition("(")[0]
        former = self._of_cell.get(self.cell, [])
        same_check = [other for other in former if other[0] == cause and other[1].partition("(")[0] == check]
        return same_check[0] if same_check and step not in same_check else None

    def mark_all_pending(self) -> None:
        """Every step is to run again."""
        self._pending = list(self._calls)

    def rerun_all(self) -> None:
        """Run every step again. A RunbookError is raised after all steps ran."""
        self.mark_all_pending()
        self.rerun_pending()

    def rerun_pending(self) -> None:
        """Run the steps that are still pending: not reached, or failed. Raises like `rerun_all`."""
        failure: RunbookError | None = None
        self.is_repeat = True
        try:
            for step in tuple(self._pending):
                try:
                    self.run(step, self._calls[step])
                except RunbookError as error:
                    failure = failure or error
                else:
                    self._pending.remove(step)
        finally:
            self.is_repeat = False
        if failure is not None:
            raise failure

    def close(self) -> None:
        """No step can run from now on."""
        self._is_closed = True

    def require_open(self) -> None:
        """Raises InputError if the incident of these steps is closed."""
        if self._is_closed:
            raise InputError(
                "This cell belongs to an incident that is closed: another incident was opened after it.",
                hint="Run the cells in order, starting with the one that calls open_incident.",
            )
