"""A remedy: how it is worded for a person, on what exactly it would act, what it destroys, how it is done.

`@remedy(…)` makes one of the function that words the proposal. Called with a scene, as `propose` does, it
only looks. Whether it may act, and whether the target is still the one that was seen, is for the gate.
"""

import inspect
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import update_wrapper
from typing import Any, TypeVar

from runbooklib.errors import ActionError, NotConfiguredError, NotRecordedError, SourceError
from runbooklib.plans import Plan, Proposal
from runbooklib.scene import Scene
from runbooklib.target import Actions

System = TypeVar("System")


@dataclass(frozen=True, slots=True)
class Seen:
    """The target of an action as it is now: its name, and what tells it from what may take its place."""

    target: str
    identity: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Act:
    """A plan that is performed: where, what, by whom, and the evidence that led to it."""

    scene: Scene
    plan: Plan
    by: str
    evidence: str


class Remedy:
    """An action that can be approved. `destroys` names the systems whose state is lost by it.

    `identify(scene, **parameters)` looks at the target; it raises ActionError where the action must never be
    done. `perform(act)` does it, and says what was done; `is_same(then, now)` compares identities.
    What `mends` is followed by a look at whether it did. What `is_of_service` changes the whole service.
    """

    __name__: str

    def __init__(
        self,
        word: Callable[..., Proposal],
        *,
        identify: Callable[..., Seen],
        perform: Callable[[Act], str],
        destroys: frozenset[str],
        is_same: Callable[[Mapping[str, Any], Mapping[str, Any]], bool],
        mends: bool,
        is_of_service: bool,
    ) -> None:
        self._word, self._identify = word, identify
        self.perform, self.destroys, self._is_same = perform, destroys, is_same
        self.mends, self.is_of_service = mends, is_of_service
        update_wrapper(self, word)

    def __call__(self, scene: Scene, **parameters: Any) -> Proposal:
        """The proposal; with a plan where the site lets actions act, and its target could be looked at."""
        proposal = self._word(scene, **parameters)
        if scene.target.environment.actions is None or not scene.window.is_live:
            return proposal
        try:
            plan = self.plan(scene, parameters)
        except NotRecordedError:
            return proposal  # a recording of a version that did not look yet
        except (SourceError, ActionError) as error:
            return replace(proposal, blocked=str(error))
        return replace(proposal, plan=plan)

    def plan(self, scene: Scene, parameters: Mapping[str, Any]) -> Plan:
        """The plan, by the target as it is now. Raises SourceError, ActionError."""
        seen = self._identify(scene, **parameters)
        return Plan(
            action=self.__name__,
            parameters=dict(parameters),
            alert=scene.alert,
            service=scene.target.service_name,
            environment=scene.target.environment_name,
            target=seen.target,
            identity=seen.identity,
            seen_at=scene.window.opened_at.isoformat(),
        )

    def has_changed(self, then: Plan, now: Plan) -> bool:
        """Whether the target is another one than when the plan was made, or cannot be compared."""
        try:
            return then.target != now.target or not self._is_same(then.identity, now.identity)
        except (KeyError, TypeError, ValueError):
            return True

    def refuse_misfit(self, parameters: Mapping[str, Any]) -> None:
        """Raises ActionError for parameters that the action does not have: a plan may come from anybody."""
        try:
            inspect.signature(self._identify).bind(None, **parameters)
        except TypeError as error:
            raise ActionError(f"{self.__name__} does not take these parameters: {error}") from None


def remedy(
    *,
    identify: Callable[..., Seen],
    perform: Callable[[Act], str],
    destroys: tuple[str, ...] = (),
    is_same: Callable[[Mapping[str, Any], Mapping[str, Any]], bool] = operator.eq,
    mends: bool = True,
    is_of_service: bool = False,
) -> Callable[[Callable[..., Proposal]], Remedy]:
    """Make a Remedy of the function that words its proposal."""

    def made(word: Callable[..., Proposal]) -> Remedy:
        return Remedy(
            word,
            identify=identify,
            perform=perform,
            destroys=frozenset(destroys),
            is_same=is_same,
            mends=mends,
            is_of_service=is_of_service,
        )

    return made


def actions_of(scene: Scene) -> Actions:
    """What may be changed at this site. Raises NotConfiguredError."""
    actions = scene.target.environment.actions
    if actions is None:
        raise NotConfiguredError(
            "no action may be taken here",
            system="actions",
            remedy="add `actions` to the environment's file",
        )
    return actions


def may_write(system: System | None, name: str) -> System:
    """The system that actions may write to. Raises NotConfiguredError."""
    if system is None:
        raise NotConfiguredError(
            "actions may not write to it",
            system=name,
            remedy=f"add actions.{name} to the environment's file",
        )
    return system
