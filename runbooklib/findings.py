"""What was found, what it means, and how causes are ranked. Pure values and pure functions.

Judging can be redone by hand. A sign of a cause that is CRITICAL counts 2 points for it, WARNING 1;
a sign that is OK, or that began after the symptom did, counts 1 against it; UNKNOWN counts nothing and
is named as missing. Then:

    confirmed    3 points or more for it, from two systems or more, and at least twice the points against
    likely       more points for it than against
    possible     points for it, but no more than against
    unlikely     nothing for it, and more against it than is missing
    cannot tell  nothing for it, and too much is missing
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Any

from runbooklib.errors import Reason
from runbooklib.plans import Proposal

if TYPE_CHECKING:
    import pandas as pd

Fact = str | int | float | datetime | None


class Status(IntEnum):
    """How bad it is. UNKNOWN is worse than OK: what was not seen is not sound."""

    OK = 0
    UNKNOWN = 1
    WARNING = 2
    CRITICAL = 3


class Rank(StrEnum):
    """How strongly the findings speak for a cause, in the order in which causes are shown."""

    CONFIRMED = "confirmed"
    LIKELY = "likely"
    POSSIBLE = "possible"
    CANNOT_TELL = "cannot tell"
    UNLIKELY = "unlikely"


_RANK_ORDER = {rank: place for place, rank in enumerate(Rank)}
CLAIMED = frozenset({Rank.CONFIRMED, Rank.LIKELY, Rank.POSSIBLE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The answer to one question. Facts, not sentences: `render/` makes the sentences.

    `template` is an English sentence with `{fact}` or `{fact:kind}` in it; kinds are those of
    `render.sentences` (percent, seconds, bytes, time, …). `measured` and `limit` are in `unit`
    ("ratio" 0–1, "seconds", "bytes", "count"). `series` is a wide frame, one float column a series,
    on an aware UTC index; `rows` is a small table that shows the answer. `since` is when what was
    found began, or None where that cannot be seen: the start of what is still kept (events, a log, a series)
    is not a beginning. A rate over a window sees a beginning up to `blur_seconds` late.
    `marks` are moments that a chart should show. A finding is
    not replayable where an answer was too large to record.
    """

    status: Status
    template: str
    facts: Mapping[str, Fact] = field(default_factory=dict)
    check: str = ""
    question: str = ""
    reason: Reason | None = None
    measured: float | None = None
    limit: float | None = None
    unit: str = ""
    since: datetime | None = None
    blur_seconds: float = 0.0
    source: str = ""
    query: str = ""
    asked_at: datetime | None = None
    series: pd.DataFrame | None = field(default=None, compare=False, repr=False)
    rows: pd.DataFrame | None = field(default=None, compare=False, repr=False)
    marks: tuple[tuple[datetime, str], ...] = ()
    is_replayable: bool = True

    def __post_init__(self) -> None:
        if (self.status is Status.UNKNOWN) != (self.reason is not None):
            raise ValueError("a finding is UNKNOWN if and only if it says why")
        if self.status is Status.OK and any(fact != fact for fact in (self.measured, *self.facts.values())):
            raise ValueError("what rests on NaN is not OK")

    def as_dict(self) -> dict[str, Any]:
        """JSON-able; without the series, whose raw answer lies in the recording."""
        return {
            "check": self.check,
            "question": self.question,
            "status": self.status.name,
            "reason": self.reason.value if self.reason else None,
            "template": self.template,
            "facts": {name: _plain(value) for name, value in self.facts.items()},
            "measured": self.measured,
            "limit": self.limit,
            "unit": self.unit,
            "since": _plain(self.since),
            "blur_seconds": self.blur_seconds,
            "source": self.source,
            "query": self.query,
            "asked_at": _plain(self.asked_at),
            "is_replayable": self.is_replayable,
        }

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Finding:
        """The reverse of `as_dict`, as far as that goes: no series, no rows. Raises KeyError, ValueError."""
        texts = ("check", "question", "template", "unit", "source", "query")
        named: dict[str, Any] = {name: str(told[name]) for name in texts}
        return cls(
            status=Status[told["status"]],
            reason=Reason(told["reason"]) if told["reason"] else None,
            facts={str(name): _fact(value) for name, value in told["facts"].items()},
            measured=told["measured"],
            limit=told["limit"],
            since=_moment(told["since"]),
            asked_at=_moment(told["asked_at"]),
            is_replayable=bool(told["is_replayable"]),
            blur_seconds=float(told["blur_seconds"]),
            **named,
        )


def _moment(told: str | None) -> datetime | None:
    return datetime.fromisoformat(told) if told else None


def _fact(value: Fact) -> Fact:
    """A moment is told as its text."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return value
    return moment if moment is not None and moment.isoformat() == value and moment.tzinfo else value


def _plain(value: Fact) -> str | int | float | None:
    return value.isoformat() if isinstance(value, datetime) else value


def unknown(reason: Reason, template: str, **about: Any) -> Finding:
    """An UNKNOWN finding; `about` are further fields of Finding."""
    return Finding(status=Status.UNKNOWN, reason=reason, template=template, **about)


def breach(
    measured: float,
    *,
    above: float | None = None,
    below: float | None = None,
    status: Status,
    critical_above: float | None = None,
) -> Status:
    """`status` where the measured value is beyond a limit, CRITICAL above the second one, else OK.

    NaN is a mistake of the caller.
    """
    if measured != measured:
        raise ValueError("NaN cannot be judged; a check must call it UNKNOWN")
    if critical_above is not None and measured > critical_above:
        return Status.CRITICAL
    beyond = (above is not None and measured > above) or (below is not None and measured < below)
    return status if beyond else Status.OK


@dataclass(frozen=True, slots=True)
class Cause:
    """One possible cause with its signs and the remedies proposed for it."""

    id: str
    title: str
    signs: tuple[Finding, ...] = ()
    proposals: tuple[Proposal, ...] = ()


@dataclass(frozen=True, slots=True)
class Weighed:
    """A cause, its rank, and the signs that put it there."""

    cause: Cause
    rank: Rank
    speaks_for: tuple[Finding, ...]
    speaks_against: tuple[Finding, ...]
    came_after: tuple[Finding, ...]
    missing: tuple[Finding, ...]

    @property
    def points_for(self) -> int:
        """2 for each CRITICAL sign, 1 for each WARNING."""
        return sum(2 if sign.status is Status.CRITICAL else 1 for sign in self.speaks_for)

    @property
    def points_against(self) -> int:
        """1 for each sign that is OK or that came after the symptom."""
        return len(self.speaks_against) + len(self.came_after)

    @property
    def is_claimed(self) -> bool:
        """Whether something speaks for it."""
        return self.rank in CLAIMED


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the incident comes to so far."""

    status: Status
    onset: datetime | None
    symptoms: tuple[Finding, ...]
    causes: tuple[Weighed, ...]
    not_checked: tuple[Finding, ...]

    @property
    def claimed(self) -> tuple[Weighed, ...]:
        """The causes that something speaks for, strongest first."""
        return tuple(weighed for weighed in self.causes if weighed.is_claimed)

    @property
    def proposals(self) -> tuple[Proposal, ...]:
        """What the strongest cause proposes."""
        return self.claimed[0].cause.proposals if self.claimed else ()


def onset_of(symptoms: Iterable[Finding]) -> datetime | None:
    """When the symptom began: the known start of the first symptom asked that is beyond its limit.

    The first and not the earliest: a runbook asks first what the alert is about, and a slow endpoint
    that has always been slow did not begin the incident.
    """
    return next((f.since for f in symptoms if f.status >= Status.WARNING and f.since is not None), None)


def weigh(cause: Cause, onset: datetime | None, tolerance_seconds: float = 0.0) -> Weighed:
    """Rank one cause by the table in this module's docstring.

    A sign whose start is known and lies more than the tolerance (the resolution of the clocks
    involved) and its own blur after the onset is a consequence, not a cause.
    """
    alarms = [sign for sign in cause.signs if sign.status >= Status.WARNING]
    latest = onset + timedelta(seconds=tolerance_seconds) if onset else None
    after = tuple(s for s in alarms if latest and s.since and s.since - _blur(s) > latest)
    weighed = Weighed(
        cause=cause,
        rank=Rank.CANNOT_TELL,
        speaks_for=tuple(sign for sign in alarms if sign not in after),
        speaks_against=tuple(sign for sign in cause.signs if sign.status is Status.OK),
        came_after=after,
        missing=tuple(sign for sign in cause.signs if sign.status is Status.UNKNOWN),
    )
    return Weighed(**{**_fields(weighed), "rank": _rank(weighed)})


def _blur(sign: Finding) -> timedelta:
    return timedelta(seconds=sign.blur_seconds)


def _fields(weighed: Weighed) -> dict[str, Any]:
    return {name: getattr(weighed, name) for name in Weighed.__dataclass_fields__}


def _rank(weighed: Weighed) -> Rank:
    points, against = weighed.points_for, weighed.points_against
    systems = {sign.source for sign in weighed.speaks_for}
    if not points:
        return Rank.UNLIKELY if against > len(weighed.missing) else Rank.CANNOT_TELL
    if points >= 3 and len(systems) >= 2 and points >= 2 * against:
        return Rank.CONFIRMED
    return Rank.LIKELY if points > against else Rank.POSSIBLE


def judge(
    symptoms: Sequence[Finding],
    causes: Sequence[Cause],
    *,
    onset: datetime | None = None,
    tolerance_seconds: float = 0.0,
) -> Verdict:
    """The verdict: the worst status of all findings, and the causes by rank, points and order.

    `onset` is when the alert says that it began; without it the symptoms tell. Nothing found at
    all is UNKNOWN: an empty ledger proves nothing.
    """
    began = onset or onset_of(symptoms)
    weighed = [weigh(cause, began, tolerance_seconds) for cause in causes]
    everything = [*symptoms, *(sign for cause in causes for sign in cause.signs)]
    return Verdict(
        status=max((finding.status for finding in everything), default=Status.UNKNOWN),
        onset=began,
        symptoms=tuple(symptoms),
        causes=tuple(sorted(weighed, key=_place)),
        not_checked=tuple(finding for finding in everything if finding.status is Status.UNKNOWN),
    )


def _place(weighed: Weighed) -> tuple[int, int]:
    return _RANK_ORDER[weighed.rank], weighed.points_against - weighed.points_for
