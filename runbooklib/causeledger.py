"""The ledger of one possible cause: its signs, and the remedies proposed for it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from runbooklib.answers import Check
from runbooklib.findings import Cause, Finding
from runbooklib.inquiry import Action, lapsed
from runbooklib.plans import Proposal
from runbooklib.steps import Step


@dataclass(frozen=True, slots=True)
class Asker:
    """How a ledger takes a step, asks and proposes, and shows what came of it; the incident's own ways."""

    take: Callable[[Step, Callable[[], Any]], Any]
    answer: Callable[[Check, Mapping[str, Any]], Finding]
    propose: Callable[[Action, Mapping[str, Any]], Proposal]
    found: Callable[[Finding], None]
    proposed: Callable[[Proposal], None]


class CauseLedger:
    """The signs of one possible cause, and the remedies proposed for it."""

    def __init__(self, id: str, title: str, asker: Asker) -> None:  # noqa: A002 - it is the cause's id
        self._id = id
        self._title = title
        self._asker = asker
        self._signs: dict[str, Finding] = {}
        self._proposals: dict[str, Proposal] = {}

    @property
    def cause(self) -> Cause:
        """The cause as it stands."""
        return Cause(self._id, self._title, tuple(self._signs.values()), tuple(self._proposals.values()))

    def lapse(self) -> None:
        """What was found counts no longer, and is UNKNOWN until it is asked again; proposals are gone."""
        self._signs = {name: lapsed(sign) for name, sign in self._signs.items()}
        self._proposals.clear()

    def restore(self, name: str, sign: Finding) -> None:
        """Take up a sign of the run that this one goes on with."""
        self._signs[name] = sign

    def check(self, check: Check, **limits: Any) -> Finding:
        """Ask a question that speaks for or against this cause."""
        name = named(check, limits)
        found: Finding = self._asker.take((self._id, name), partial(self._check, name, check, limits))
        return found

    def _check(self, name: str, check: Check, limits: Mapping[str, Any]) -> Finding:
        finding = self._signs[name] = self._asker.answer(check, limits)
        self._asker.found(finding)
        return finding

    def propose(self, action: Action, **parameters: Any) -> Proposal:
        """Show what could be done about it. Nothing is done."""
        name = named(action, parameters)
        step = (self._id, f"propose {name}")
        proposal: Proposal = self._asker.take(step, partial(self._propose, name, action, parameters))
        return proposal

    def _propose(self, name: str, action: Action, parameters: Mapping[str, Any]) -> Proposal:
        proposal = self._asker.propose(action, parameters)
        if proposal.command:
            self._proposals[name] = proposal
        self._asker.proposed(proposal)
        return proposal


def named(asked: Callable[..., Any], limits: Mapping[str, Any]) -> str:
    """What an incident knows a question, or a remedy, by: its name and what was given to it."""
    given = ", ".join(f"{name}={value!r}" for name, value in sorted(limits.items()))
    return f"{asked.__name__}({given})"
