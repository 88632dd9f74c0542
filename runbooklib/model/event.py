"""Events of an incident: for the timeline, and for the marks in charts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from runbooklib.model.findings import Fact, Finding


@dataclass(frozen=True, slots=True)
class Statement:
    """An English sentence with `{fact}` or `{fact:kind}` in it, and its facts. `render/` makes the text."""

    template: str
    facts: Mapping[str, Fact] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Event:
    """One event, with its time `at` (aware UTC). None: the time is unknown, and `what` gives the reason.

    `mark` is the word next to the event's line in charts; empty: charts do not mark the event.
    """

    at: datetime | None
    what: Statement | Finding
    source: str
    mark: str = ""
