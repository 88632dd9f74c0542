"""A possible cause in a notebook: `incident.cause(id, title)` returns it."""

from collections.abc import Callable, Mapping
from typing import Any

from runbooklib.checks.ask import Check
from runbooklib.model.findings import Finding
from runbooklib.model.plan import Proposal
from runbooklib.model.verdict import Cause


class PossibleCause:
    """A possible cause of the incident: checks that support or contradict it, and actions against it."""

    def __init__(
        self,
        cause: Callable[[], Cause],
        check: Callable[[Check, Mapping[str, Any]], Finding],
        propose: Callable[[Callable[..., Proposal], Mapping[str, Any]], Proposal],
    ) -> None:
        self._cause, self._check, self._propose = cause, check, propose

    @property
    def cause(self) -> Cause:
        """The cause with its findings and proposals so far."""
        return self._cause()

    def check(self, check: Check, **limits: Any) -> Finding:
        """Ask a check that supports or contradicts this cause. Raises ParameterError for a bad limit."""
        return self._check(check, limits)

    def propose(self, action: Callable[..., Proposal], **parameters: Any) -> Proposal:
        """Show an action against this cause. This does not perform it."""
        return self._propose(action, parameters)
