"""Read a plan's target again, over a new tape, before it is approved and before it is performed."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from runbooklib.actions.action import require_actions
from runbooklib.actions.registry import ACTIONS
from runbooklib.errors import ActionError, SourceError, suggestion
from runbooklib.model.plan import Plan, Proposal
from runbooklib.sources.context import Context, context_of
from runbooklib.sources.tape import Tape

_MAX_SHOWN_CHARACTERS = 60
_MAX_AGE = timedelta(hours=12)


@dataclass(frozen=True, slots=True)
class Preflight:
    """A plan, the same plan for the target as it is now, and what the action would do.

    `context` and `tape` are those that the target was read with. `at` (monotonic seconds) is when the read
    began: the validity of an approval counts from it.
    """

    plan: Plan
    current: Plan
    proposal: Proposal
    context: Context
    tape: Tape
    at: float


def look(plan: Plan) -> Preflight:
    """Read the plan's target again. Raises ActionError if it has changed since the plan was made."""
    action = ACTIONS.get(plan.action)
    if action is None:
        raise ActionError(
            f"there is no action {plan.action[:80]!r}", hint=suggestion(plan.action, sorted(ACTIONS))
        )
    action.refuse_unknown_parameters(plan.parameters)
    started = time.monotonic()
    context, tape = context_of(plan.alert, plan.environment, plan.service)
    try:
        require_actions(context)
        current = action.plan(context, plan.parameters)
        proposal = replace(action(context, **plan.parameters), plan=current, blocked="")
    except SourceError as error:
        raise ActionError(f"the target cannot be read: {error}") from None
    if action.has_changed(plan, current):
        raise ActionError(
            f"{plan.target} has changed since this was proposed: {_differences(plan, current)}",
            hint="run the runbook again, and approve what it proposes then",
        )
    _refuse_old(plan, context)
    return Preflight(plan, current, proposal, context, tape, started)


def _refuse_old(plan: Plan, context: Context) -> None:
    """Raise ActionError for an old plan: it was proposed for an earlier incident."""
    try:
        age = context.window.opened_at - datetime.fromisoformat(plan.seen_at)
    except (TypeError, ValueError):
        raise ActionError("the plan has no valid time (seen_at)", hint="run the runbook again") from None
    if age > _MAX_AGE:
        raise ActionError(
            f"this was proposed {age.total_seconds() / 3600:.0f} h ago; "
            f"the maximum is {_MAX_AGE.total_seconds() / 3600:.0f} h",
            hint="run the runbook again, and approve what it proposes then",
        )


def _differences(seen: Plan, current: Plan) -> str:
    """The facts that differ, as `name: before -> now`."""
    before, now = _facts(seen), _facts(current)
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    return "; ".join(f"{name}: {_shorten(before.get(name))} -> {_shorten(now.get(name))}" for name in names)


def _facts(plan: Plan) -> dict[str, object]:
    """Target and identity; a mapping in the identity gives one fact for each of its names."""
    facts: dict[str, object] = {"target": plan.target}
    for name, value in plan.identity.items():
        if isinstance(value, Mapping):
            facts |= {f"{name} {key}": each for key, each in value.items()}
        else:
            facts[name] = value
    return facts


def _shorten(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= _MAX_SHOWN_CHARACTERS else f"{text[: _MAX_SHOWN_CHARACTERS - 1]}…"
