"""Checks and remedies asked of a scene; and what stands for them where nobody asks them any more."""

from collections.abc import Callable, Mapping
from typing import Any

from runbooklib.answers import Check, answered, question_of
from runbooklib.errors import Reason, SourceError
from runbooklib.findings import Finding, unknown
from runbooklib.plans import Proposal
from runbooklib.scene import Scene
from runbooklib.tape import Tape

Action = Callable[..., Proposal]


class Inquiry:
    """Asks over a tape.

    `given_up` says why nothing is asked any more: then every answer is UNKNOWN, and says so. Empty: all is.
    """

    def __init__(self, tape: Tape) -> None:
        self._tape = tape
        self.given_up = ""

    def answer(self, check: Check, limits: Mapping[str, Any], scene: Scene) -> Finding:
        """What the check finds. Raises ParameterError for a bad limit, and NotRecordedError in a replay."""
        if self.given_up:
            return _not_asked(self.given_up, check.__name__, question_of(check, limits))
        return answered(check, limits, scene, self._tape)

    def propose(self, action: Action, parameters: Mapping[str, Any], scene: Scene) -> Proposal:
        """The remedy; one that cannot be proposed has no command, and says why."""
        title = (action.__doc__ or action.__name__).strip().splitlines()[0]
        if self.given_up:
            return Proposal(title, command="", effect=f"Not proposed again: {self.given_up}")
        try:
            return action(scene, **parameters)
        except SourceError as error:
            return Proposal(title, command="", effect=f"Cannot be proposed: {error}")


def lapsed(former: Finding) -> Finding:
    """What stands for a finding that is to be asked again, until it is."""
    return _not_asked("its turn has not come, or its cell was not run", former.check, former.question)


def _not_asked(why: str, check: str, question: str) -> Finding:
    facts = {"why": why}
    return unknown(Reason.NOT_ASKED, "{why}", facts=facts, check=check, question=question)
