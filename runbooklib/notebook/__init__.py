"""Every name that a notebook may use: `from runbooklib.notebook import *` gives exactly those in `__all__`.

The registries fill it: a check, an action or a log pattern needs no entry here. The names are not in
`runbooklib` itself, so that the command line starts without pandas. `incident` is the open incident; before
there is one, it raises an error that says so.
"""

from typing import TYPE_CHECKING, Any

from runbooklib.actions.registry import all_proposals
from runbooklib.checks.registry import all_checks, log_patterns
from runbooklib.notebook.incident import Incident
from runbooklib.notebook.session import current
from runbooklib.notebook.session import open_incident as open_incident

if TYPE_CHECKING:
    incident: Incident

# Importing the module of that name has bound `incident`; the name must reach `__getattr__`.
del globals()["incident"]
_REGISTERED = {**log_patterns(), **all_proposals(), **all_checks()}
globals().update(_REGISTERED)
__all__ = sorted([*_REGISTERED, "incident", "open_incident"])


def __getattr__(name: str) -> Any:
    if name == "incident":
        return current()
    raise AttributeError(f"runbooklib.notebook has no {name}")
