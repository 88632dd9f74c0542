"""What a site has promised, and by which rules somebody else is called: as questions to ask."""

from typing import Any

from runbooklib.answers import Check
from runbooklib.checks import escalation, slo
from runbooklib.scene import Scene
from runbooklib.window import seconds_of

Asked = list[tuple[Check, dict[str, Any]]]


def objectives(scene: Scene) -> Asked:
    """How much of each error budget is left; nothing where nothing was promised."""
    return [
        (slo.error_budget, {"promise": one.name, "of": one.of, "success": one.success, "over": one.over})
        for one in scene.target.environment.objectives
    ]


def escalations(scene: Scene) -> Asked:
    """Whether somebody else is to be called."""
    rules = scene.target.environment.escalation
    return [
        (escalation.lasting, {"longer_than_seconds": seconds_of(rules.lasting)}),
        (escalation.affected_users, {"above": rules.affected_users}),
    ]
