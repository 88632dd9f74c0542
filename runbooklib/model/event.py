"""Events of the timeline: the alert, deployments, restarts and actions. Charts mark them.

A source that fails gives an event without a time, and the other sources still give theirs.
"""

from dataclasses import dataclass
from datetime import datetime

from runbooklib.model.findings import Finding


@dataclass(frozen=True, slots=True)
class Event:
    """One event. `at` is aware UTC; None if it is unknown, and then `what` gives the reason.

    `what` is a text, or a finding whose sentence is shown. `mark` is the word in charts; empty for no mark.
    """

    at: datetime | None
    what: str | Finding
    source: str
    mark: str = ""
