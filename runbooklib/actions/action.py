"""Actions that a person can approve.

`@action(…)` turns the function that describes a proposal into a `Action`. Calling it, as `propose` does, only
reads. The gate decides whether it may be performed, and whether the target is still the one that was seen.
"""

import inspect
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial, update_wrapper
from typing import Any, TypeVar

from runbooklib.config.environment import Actions
from runbooklib.errors import ActionError, NotConfiguredError, NotRecordedError, SourceError
from runbooklib.model.plan import Plan, Proposal
from runbooklib.sources.context import Context

System = TypeVar("System")


@dataclass(frozen=True, slots=True)
class TargetState:
    """The target of an action as it is now: its name, and what distinguishes it from a replacement."""

    target: str
    identity: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ApprovedAction:
    """An approved plan that is being performed: where, by whom, and the bundle of evidence that led to it."""

    context: Context
    plan: Plan
    by: str
    evidence: str


# Every action that a notebook may propose, by name; filled by `@action` and `@text_only`.
PROPOSALS: dict[str, Callable[..., Proposal]] = {}


class Action:
    """An action that can be approved.

    `identify(context, **parameters)` reads the target and returns its state. It raises ActionError if the
    action must not be performed on this target.
    `perform(approved)` performs the action and returns a sentence about what it did.
    `is_same(seen, current)` compares two identities.
    `destroys` names the systems whose state the action destroys.
    `needs_recovery_check`: a recovery check follows the action.
    `is_of_service`: the action changes the whole service, so the cooldown holds for the whole service.
    """

    __name__: str

    def __init__(
        self,
        describe: Callable[..., Proposal],
        *,
        identify: Callable[..., TargetState],
        perform: Callable[[ApprovedAction], str],
        destroys: frozenset[str],
        is_same: Callable[[Mapping[str, Any], Mapping[str, Any]], bool],
        needs_recovery_check: bool,
        is_of_service: bool,
    ) -> None:
        self._describe, self._identify, self._is_same = describe, identify, is_same
        self.perform, self.destroys = perform, destroys
        self.needs_recovery_check, self.is_of_service = needs_recovery_check, is_of_service
        update_wrapper(self, describe)
        PROPOSALS[self.__name__] = self

    def __call__(self, context: Context, **parameters: Any) -> Proposal:
        """Return the proposal, with a plan if the site allows actions and the target could be read."""
        proposal = self._describe(context, **parameters)
        if context.target.environment.actions is None or not context.window.is_live:
            return proposal
        try:
            plan = self.plan(context, parameters)
        except NotRecordedError:
            return proposal  # the version that recorded this run did not read the target
        except (SourceError, ActionError) as error:
            return replace(proposal, blocked=str(error))
        return replace(proposal, plan=plan)

    def plan(self, context: Context, parameters: Mapping[str, Any]) -> Plan:
        """Read the target and return the plan for it. Raises SourceError, ActionError."""
        state = self._identify(context, **parameters)
        return Plan(
            action=self.__name__,
            parameters=dict(parameters),
            alert=context.alert,
            service=context.target.service_name,
            environment=context.target.environment_name,
            target=state.target,
            identity=state.identity,
            seen_at=context.window.opened_at.isoformat(),
        )

    def has_changed(self, seen: Plan, current: Plan) -> bool:
        """Whether the target differs from the one in `seen`, or the two cannot be compared."""
        try:
            return seen.target != current.target or not self._is_same(seen.identity, current.identity)
        except (KeyError, TypeError, ValueError):
            return True

    def refuse_unknown_parameters(self, parameters: Mapping[str, Any]) -> None:
        """Raise ActionError for parameters that the action does not have: a plan is untrusted input."""
        try:
            inspect.signature(self._identify).bind(None, **parameters)
        except TypeError as error:
            raise ActionError(f"{self.__name__} does not accept these parameters: {error}") from None


def action(
    *,
    identify: Callable[..., TargetState],
    perform: Callable[[ApprovedAction], str],
    destroys: tuple[str, ...] = (),
    is_same: Callable[[Mapping[str, Any], Mapping[str, Any]], bool] = operator.eq,
    needs_recovery_check: bool = True,
    is_of_service: bool = False,
) -> Callable[[Callable[..., Proposal]], Action]:
    """Return a decorator that turns the function that describes a proposal into a Action."""
    return partial(
        Action,
        identify=identify,
        perform=perform,
        destroys=frozenset(destroys),
        is_same=is_same,
        needs_recovery_check=needs_recovery_check,
        is_of_service=is_of_service,
    )


def text_only(function: Callable[..., Proposal]) -> Callable[..., Proposal]:
    """Mark a function whose proposal is text for a person: it cannot be approved."""
    PROPOSALS[function.__name__] = function
    return function


def require_actions(context: Context) -> Actions:
    """Return what this site allows actions to change. Raises NotConfiguredError."""
    actions = context.target.environment.actions
    if actions is None:
        raise NotConfiguredError(
            "this environment allows no actions",
            system="actions",
            hint="add `actions` to the environment's file",
        )
    return actions


def require_writable(system: System | None, name: str) -> System:
    """Return the system, if actions may write to it. Raises NotConfiguredError."""
    if system is None:
        raise NotConfiguredError(
            "actions may not write to this system",
            system=name,
            hint=f"add actions.{name} to the environment's file",
        )
    return system
