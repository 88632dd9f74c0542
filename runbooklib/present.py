"""A plan's target as it is now: looked at again, with everything asked anew."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from runbooklib import settings
from runbooklib.actions import containers, database, dependencies, deploys, monitoring
from runbooklib.errors import ActionError, SourceError, suggestion
from runbooklib.plans import Plan, Proposal
from runbooklib.redact import Redactor
from runbooklib.remedy import Remedy, actions_of
from runbooklib.scene import Scene, Sources
from runbooklib.tape import Tape
from runbooklib.window import Window

_MODULES = (containers, database, dependencies, deploys, monitoring)
# What can be approved, by the name that it has in a notebook.
REMEDIES: Mapping[str, Remedy] = {
    name: found for module in _MODULES for name, found in vars(module).items() if isinstance(found, Remedy)
}
_SHOWN_CHARACTERS = 60
_MOST_AGO = timedelta(hours=12)


@dataclass(frozen=True, slots=True)
class Look:
    """A plan, its target as it is now, what it would do, and by what it was looked at.

    `at` (monotonic seconds) is when: an approval's time runs from what was seen.
    """

    plan: Plan
    now: Plan
    proposal: Proposal
    scene: Scene
    tape: Tape
    at: float


def scene_of(alert: str, environment: str, service: str) -> tuple[Scene, Tape]:
    """The service now, with a tape of its own. Raises InputError."""
    target = settings.read_target(environment, service)
    known = [*settings.secrets_of(target), *settings.operator_secrets_of(target)]
    tape = Tape(Redactor([*known, *settings.environment_secrets()]))
    timing = target.timing
    window = Window.open(
        opened_at=datetime.now(UTC), lookback=timing.lookback, scrape_interval=timing.scrape_interval
    )
    return Scene(alert, target, window, Sources(target, tape)).by_their_clock(), tape


def look(plan: Plan) -> Look:
    """Look at the plan's target again. Raises ActionError where it is another one by now."""
    remedy = REMEDIES.get(plan.action)
    if remedy is None:
        told = f"there is no action {plan.action[:80]!r}"
        raise ActionError(told, remedy=suggestion(plan.action, sorted(REMEDIES)))
    remedy.refuse_misfit(plan.parameters)
    begun = time.monotonic()
    scene, tape = scene_of(plan.alert, plan.environment, plan.service)
    try:
        actions_of(scene)
        now = remedy.plan(scene, plan.parameters)
        proposal = replace(remedy(scene, **plan.parameters), plan=now, blocked="")
    except SourceError as error:
        raise ActionError(f"the target cannot be looked at: {error}") from None
    if remedy.has_changed(plan, now):
        raise ActionError(
            f"{plan.target} is not what it was when this was proposed: {_differences(plan, now)}",
            remedy="run the runbook again, and approve what it proposes then",
        )
    _refuse_old(plan, scene)
    return Look(plan, now, proposal, scene, tape, begun)


def _refuse_old(plan: Plan, scene: Scene) -> None:
    """What was proposed long ago was proposed for another trouble. Raises ActionError."""
    try:
        ago = scene.window.opened_at - datetime.fromisoformat(plan.seen_at)
    except (TypeError, ValueError):
        raise ActionError("nobody knows when this was proposed", remedy="run the runbook again") from None
    if ago > _MOST_AGO:
        raise ActionError(
            f"this was proposed {ago.total_seconds() / 3600:.0f} h ago",
            remedy="run the runbook again, and approve what it proposes then",
        )


def _differences(then: Plan, now: Plan) -> str:
    before, after = dict(then.identity), dict(now.identity)
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    told = [f"{name} was {_short(before.get(name))}, is {_short(after.get(name))}" for name in names]
    return "; ".join(told) or f"it is {now.target} now"


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 1]}…"
