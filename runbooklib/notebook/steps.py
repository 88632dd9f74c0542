"""What a notebook has done so far, step by step: each once by its name, and all of them again if wanted."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from runbooklib.errors import InputError, RunbookError

# The cause that it is for (empty: none), and what is done.
Step = tuple[str, str]
T = TypeVar("T")
Name = TypeVar("Name", str, Step)


@dataclass(frozen=True, slots=True)
class Change:
    """What a cell that was run again takes now, in its order, and what it no longer takes."""

    order: tuple[Step, ...]
    gone: tuple[Step, ...]

    def within(self, cause: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Both, by their names, of one cause; empty: of the symptoms."""
        order, gone = (
            tuple(name for one, name in steps if one == cause) for steps in (self.order, self.gone)
        )
        return order, gone


def reorder(ledger: Mapping[Name, T], order: Sequence[Name], gone: Collection[Name]) -> dict[Name, T]:
    """The ledger as if the cell had always been as it is now: a replay runs it once, and in its place."""
    moved = {name: ledger[name] for name in order if name in ledger}
    right: dict[Name, T] = {}
    for name, kept in ledger.items():
        right |= moved if name in moved or name in gone else {name: kept}
    return right


class Steps:
    """The steps in the order in which each was first taken.

    `now` is the one that is being taken, ("", "") between them. `cell` is the id of the notebook's cell that
    runs, empty where none does or nobody says which.
    `on_change` is called when a cell was run again and takes other steps than before.
    `is_again`: all of them are being taken again, so that what they show replaces what they had shown.
    """

    def __init__(self, on_change: Callable[[Change], object] = lambda _: None) -> None:
        self._on_change = on_change
        self._taken: dict[Step, Callable[[], object]] = {}
        self._left: list[Step] = []
        self._is_over = False
        self.now: Step = ("", "")
        self.cell = ""
        self._in_cell: list[Step] = []
        # What each cell took when it was last run; of one that failed also what it took before.
        self._of_cell: dict[str, list[Step]] = {}
        self.is_again = False

    def take(self, step: Step, act: Callable[[], T]) -> T:
        """Take a step. Raises InputError where these steps are over."""
        self.need_open()
        self.name(step)
        self._taken[step] = act
        before, self.now = self.now, step
        try:
            return act()
        finally:
            self.now = before

    def name(self, step: Step) -> None:
        """The cell that runs takes this, or names what steps belong to."""
        if self.cell and not self.is_again:
            self._in_cell.append(step)

    def knew(self, cell: str, step: Step) -> None:
        """That cell took this step, in a run that this one goes on with."""
        self._of_cell.setdefault(cell, []).append(step)

    def begin_cell(self, cell: str) -> None:
        """The cell of that id is run; empty: nobody says which."""
        self.cell, self._in_cell = cell, []

    def end_cell(self, *, is_sound: bool) -> Change | None:
        """What the cell takes otherwise than when it was last run; None where that is nothing.

        One that failed takes nothing back: what it did not come to is no better than it was.
        """
        cell, self.cell = self.cell, ""
        former, now = self._of_cell.get(cell, []), list(dict.fromkeys(self._in_cell))
        if not cell:
            return None
        self._of_cell[cell] = now if is_sound else list(dict.fromkeys([*former, *now]))
        if not is_sound or not former or former == now:
            return None
        elsewhere = {step for one, steps in self._of_cell.items() if one != cell for step in steps}
        order = tuple(step for step in now if step not in elsewhere)
        gone = tuple(step for step in former if step not in now and step not in elsewhere)
        self._taken = reorder(self._taken, order, gone)
        change = Change(order, gone)
        self._on_change(change)
        return change

    def former_of(self, step: Step) -> Step | None:
        """What the cell that runs took last time in the place of this: the same, with other limits."""
        cause, name = step
        kind = name.partition("(")[0]
        former = self._of_cell.get(self.cell, [])
        same = [one for one in former if one[0] == cause and one[1].partition("(")[0] == kind]
        return same[0] if same and step not in same else None

    def leave_all(self) -> None:
        """All steps are to be taken again, and none has been."""
        self._left = list(self._taken)

    def take_all_again(self) -> None:
        """Take each step again; where one raises a RunbookError the others are taken all the same."""
        self.leave_all()
        self.take_left_again()

    def take_left_again(self) -> None:
        """The same with those that are left: that were not come to, or raised something."""
        failure: RunbookError | None = None
        self.is_again = True
        try:
            for step in tuple(self._left):
                try:
                    self.take(step, self._taken[step])
                except RunbookError as error:
                    failure = failure or error
                else:
                    self._left.remove(step)
        finally:
            self.is_again = False
        if failure is not None:
            raise failure

    def end(self) -> None:
        """From now on no step can be taken."""
        self._is_over = True

    def need_open(self) -> None:
        """Raises InputError where these steps are over."""
        if self._is_over:
            raise InputError(
                "this belongs to an incident that is closed, because one was opened after it",
                hint="run the cells from the one that opens the incident on, in their order",
            )
