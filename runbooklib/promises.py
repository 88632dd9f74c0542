"""The checks that follow from the environment's settings: service level objectives and escalation rules."""

from typing import Any

from runbooklib.answers import Check
from runbooklib.checks import escalation, slo
from runbooklib.scene import Scene
from runbooklib.window import seconds_of

Checks = list[tuple[Check, dict[str, Any]]]


def objectives(scene: Scene) -> Checks:
    """One check for each objective of the environment, with its parameters."""
    return [
        (
            slo.error_budget,
            {
                "promise": objective.name,
                "of": objective.of,
                "success": objective.success,
                "over": objective.over,
            },
        )
        for objective in scene.target.environment.objectives
    ]


def escalations(scene: Scene) -> Checks:
    """The checks of the escalation rules, with their parameters."""
    rules = scene.target.environment.escalation
    return [
        (escalation.lasting, {"longer_than_seconds": seconds_of(rules.lasting)}),
        (escalation.affected_users, {"above": rules.affected_users}),
    ]
