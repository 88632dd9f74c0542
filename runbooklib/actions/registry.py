"""Read a plan's target again, over a new tape, before it is approved and before it is performed."""

from collections.abc import Mapping

from runbooklib.actions import containers, database, dependencies, deployments, silences
from runbooklib.actions.action import Action

_MODULES = (containers, database, dependencies, deployments, silences)
# What can be approved, by the name that it has in a notebook.
ACTIONS: Mapping[str, Action] = {
    name: value for module in _MODULES for name, value in vars(module).items() if isinstance(value, Action)
}
