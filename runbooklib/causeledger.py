"""The ledgers of possible causes: their signs, and the remedies proposed for them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from runbooklib.checks.ask import Action, Check, lapsed
from runbooklib.model.findings import Finding
from runbooklib.model.plan import Proposal
from runbooklib.model.verdict import Cause
from runbooklib.steps import Change, Step, Steps, put_right

_PROPOSE = "propose "
# In the place of a step's cause: what the step names is one.
_CAUSE = "cause"


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

    def settle(self, order: Sequence[str], gone: Sequence[str]) -> None:
        """Put right what a cell takes otherwise, by the names of its steps."""
        self._signs = put_right(self._signs, order, gone)
        order, gone = ([name.removeprefix(_PROPOSE) for name in names] for names in (order, gone))
        self._proposals = put_right(self._proposals, order, gone)

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
        step = (self._id, f"{_PROPOSE}{name}")
        proposal: Proposal = self._asker.take(step, partial(self._propose, name, action, parameters))
        return proposal

    def _propose(self, name: str, action: Action, parameters: Mapping[str, Any]) -> Proposal:
        proposal = self._asker.propose(action, parameters)
        if proposal.command:
            self._proposals[name] = proposal
        self._asker.proposed(proposal)
        return proposal


class CauseBook:
    """The ledgers of all causes, in the order in which each was first named."""

    def __init__(self, steps: Steps, asker: Asker) -> None:
        self._steps, self._asker = steps, asker
        self._ledgers: dict[str, CauseLedger] = {}
        self._unnamed: frozenset[str] = frozenset()

    @property
    def all(self) -> tuple[Cause, ...]:
        """Every cause, but those that no cell names any more and that hold nothing."""
        causes = [ledger.cause for ledger in self._ledgers.values()]
        return tuple(one for one in causes if one.id not in self._unnamed or one.signs or one.proposals)

    def ledger(self, id: str, title: str) -> CauseLedger:  # noqa: A002 - it is the cause's id
        """The ledger of the cause with that id."""
        self._steps.name((_CAUSE, id))
        self._unnamed -= {id}
        return self._ledgers.setdefault(id, CauseLedger(id, title, self._asker))

    def lapse(self) -> None:
        """What was found counts no longer."""
        for ledger in self._ledgers.values():
            ledger.lapse()

    def settle(self, change: Change) -> None:
        """Put right what a cell takes otherwise."""
        for cause, ledger in self._ledgers.items():
            ledger.settle(*change.within(cause))
        self._unnamed |= set(change.within(_CAUSE)[1])


def named(asked: Callable[..., Any], limits: Mapping[str, Any]) -> str:
    """What an incident knows a question, or a remedy, by: its name and what was given to it."""
    given = ", ".join(f"{name}={value!r}" for name, value in sorted(limits.items()))
    return f"{asked.__name__}({given})"
