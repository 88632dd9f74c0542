"""The ledgers of possible causes: their signs, and the actions proposed for them.

What was found about the symptoms and causes of one incident, and what of its context is known by that.

The ledger of the symptoms: what was found, and what was known when each was first asked.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from runbooklib.checks.ask import Action, Check, lapsed
from runbooklib.model.event import Event
from runbooklib.model.findings import Finding, Status
from runbooklib.model.plan import Proposal
from runbooklib.model.verdict import Cause, Verdict, judge, onset_of
from runbooklib.notebook.steps import Change, Step, Steps, reorder
from runbooklib.sources.context import Context

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
    """The signs of one possible cause, and the actions proposed for it."""

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
        self._signs = reorder(self._signs, order, gone)
        order, gone = ([name.removeprefix(_PROPOSE) for name in names] for names in (order, gone))
        self._proposals = reorder(self._proposals, order, gone)

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
    """What an incident knows a question, or a hint, by: its name and what was given to it."""
    given = ", ".join(f"{name}={value!r}" for name, value in sorted(limits.items()))
    return f"{asked.__name__}({given})"


# What the context knew of the symptom: the fields of a Context by their names.
Known = Mapping[str, Any]


class SymptomLedger:
    """The findings about symptoms, in the order in which each was first asked."""

    def __init__(self) -> None:
        self._found: dict[str, Finding] = {}
        # What was known when a question was first asked: asked again, it is to be the same question.
        self._known: dict[str, Known] = {}

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Every finding."""
        return tuple(self._found.values())

    def known(self, name: str, context: Context, former: str = "") -> Known:
        """What is known when this is first asked, or what it stands for since its limits were changed."""
        now = {"onset": context.onset, "is_disturbed": context.is_disturbed}
        return self._known.setdefault(name, self._known.get(former, now))

    def keep(self, name: str, finding: Finding, context: Context) -> Context:
        """Keep what was found; the context as it is known to be by now."""
        self._found[name] = finding
        return context if context.onset is not None else replace(context, **_told_by(self.findings))

    def settle(self, change: Change, context: Context) -> Context:
        """Put right what a cell takes otherwise, and what is known of the context since."""
        self._found = reorder(self._found, *change.within(""))
        names = tuple(self._found)
        self._known = {name: _told_by(self.findings[:place]) for place, name in enumerate(names)}
        return replace(context, **_told_by(self.findings))

    def lapse(self) -> None:
        """What was found counts no longer, and is UNKNOWN until it is asked again."""
        self._found = {name: lapsed(finding) for name, finding in self._found.items()}
        self._known.clear()


def _told_by(findings: Sequence[Finding]) -> Known:
    """What they tell of the context. Once they tell when it began, the later ones change nothing of that."""
    first = next((place for place, one in enumerate(findings) if onset_of([one])), len(findings))
    seen = findings[: first + 1]
    # That another alert fires measures nothing here, so it disturbs nothing either.
    disturbed = any(f.status >= Status.WARNING and f.measured is not None for f in seen)
    return {"onset": onset_of(seen), "is_disturbed": disturbed}


@dataclass(frozen=True, slots=True)
class Kept:
    """A finding of a run that goes on: for which cause (empty: a symptom), with its title, and its name.

    `cell` is the id of the cell that it lay in.
    """

    cause: str
    title: str
    name: str
    finding: Finding
    cell: str = ""


class Casebook:
    """The ledgers of the symptoms and of all causes.

    `context` is what they were asked of, as it is known by now.
    """

    def __init__(self, context: Context, steps: Steps, asker: Asker) -> None:
        self.context = context
        self._steps = steps
        self._symptoms = SymptomLedger()
        self.causes = CauseBook(steps, asker)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Every finding about symptoms, in the order in which it was first asked."""
        return self._symptoms.findings

    @property
    def verdict(self) -> Verdict:
        """What it comes to so far."""
        context = self.context
        tolerance = context.timing.tolerance_seconds + context.window.step_seconds
        return judge(self.findings, self.causes.all, onset=context.onset, tolerance_seconds=tolerance)

    def began(self) -> list[Event]:
        """What was found with a known beginning."""
        signs = [sign for cause in self.causes.all for sign in cause.signs]
        return [Event(f.since, f, f.source) for f in (*self.findings, *signs) if f.since]

    def known(self, name: str) -> Mapping[str, Any]:
        """What is known of the context when this symptom is first asked, which a replay will ask with."""
        former = self._steps.former_of(("", name)) or ("", "")
        return self._symptoms.known(name, self.context, former[1])

    def keep(self, name: str, finding: Finding) -> None:
        """Keep what was found about a symptom."""
        self.context = self._symptoms.keep(name, finding, self.context)

    def restore(self, one: Kept) -> None:
        """Take up a finding of the run that this one goes on with."""
        self._steps.knew(one.cell, (one.cause, one.name))
        if one.cause:
            self.causes.ledger(one.cause, one.title).restore(one.name, one.finding)
        else:
            self.known(one.name)
            self.keep(one.name, one.finding)

    def lapse(self, context: Context) -> None:
        """What was found counts no longer: another context is asked."""
        self.context = context
        self._symptoms.lapse()
        self.causes.lapse()

    def settle(self, change: Change) -> None:
        """Put right what a cell takes otherwise than before."""
        self.context = self._symptoms.settle(change, self.context)
        self.causes.settle(change)
