"""The actions that a notebook may propose, and those of them that can be approved, by name."""

from collections.abc import Callable, Mapping

# Imported for their actions, which register themselves.
from runbooklib.actions import containers, database, dependencies, deployments, silences
from runbooklib.actions.action import PROPOSALS, Action
from runbooklib.model.plan import Proposal

MODULES = (containers, database, dependencies, deployments, silences)
# What can be approved.
ACTIONS: Mapping[str, Action] = {
    name: proposal for name, proposal in PROPOSALS.items() if isinstance(proposal, Action)
}


def all_proposals() -> Mapping[str, Callable[..., Proposal]]:
    """Every action that a notebook may propose, also those that are only text for a person."""
    return dict(sorted(PROPOSALS.items()))
