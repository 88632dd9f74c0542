"""What happened, and when: the alert, deployments, restarts and actions, asked at once and side by side.

Charts mark it, and the timeline lists it with what was found, asked and noted. What cannot be asked is named,
and takes nothing else with it.
"""

from dataclasses import dataclass
from datetime import datetime

from runbooklib.model.findings import Finding


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened `at` a moment (aware UTC); None: it is not known, and `what` says why.

    `what` is a finding where its sentence is to be told. `mark` is the word by which charts mark it; empty
    where they do not.
    """

    at: datetime | None
    what: str | Finding
    source: str
    mark: str = ""
