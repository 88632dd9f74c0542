"""What a notebook has done so far, step by step: each once by its name, and all of them again if wanted."""

from collections.abc import Callable
from typing import TypeVar

from runbooklib.errors import InputError, RunbookError

# The cause that it is for (empty: none), and what is done.
Step = tuple[str, str]
T = TypeVar("T")


class Steps:
    """The steps in the order in which each was first taken.

    `now` is the one that is being taken, ("", "") between them. `cell` is the id of the notebook's cell that
    runs, empty where none does or nobody says which.
    `is_again`: all of them are being taken again, so that what they show replaces what they had shown.
    """

    def __init__(self) -> None:
        self._taken: dict[Step, Callable[[], object]] = {}
        self._left: list[Step] = []
        self._is_over = False
        self.now: Step = ("", "")
        self.cell = ""
        self.is_again = False

    def take(self, step: Step, act: Callable[[], T]) -> T:
        """Take a step. Raises InputError where these steps are over."""
        self.need_open()
        self._taken[step] = act
        before, self.now = self.now, step
        try:
            return act()
        finally:
            self.now = before

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
                remedy="run the cells from the one that opens the incident on, in their order",
            )
