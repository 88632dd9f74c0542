"""Findings: the answer of each check, as facts, and its status. `model/verdict.py` ranks causes with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from runbooklib.errors import Reason

if TYPE_CHECKING:
    import pandas as pd

Fact = str | int | float | datetime | None


class Status(IntEnum):
    """Severity of a finding. UNKNOWN is worse than OK: a check without an answer proves nothing."""

    OK = 0
    UNKNOWN = 1
    WARNING = 2
    CRITICAL = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The answer to one question, as facts. `render/` makes the sentences.

    `template` is an English sentence with `{fact}` or `{fact:kind}` in it; kinds are those of
    `render.sentences` (percent, seconds, bytes, time, …). `further_templates` are more sentences over the
    same `facts`. A fact is a number, a time, a name from a system, or a term of `render.sentences.TERMS`.

    `measured` and `limit` are in `unit` ("ratio" 0–1, "seconds", "bytes", "count"). `series` is a wide frame,
    one float column for each series, on an aware UTC index; `rows` is a small table that shows the answer.
    `since` is the start of the problem (aware UTC), None if it is unknown. The start of what is still kept
    (events, a log, a series) is not the start of the problem. A rate over a window shows a start
    up to `blur_seconds` late. `marks` are moments for the chart. `is_replayable` is False if an answer was
    too large to record. `unchanged_since` (aware UTC) is a time at which the state was known to be the same,
    with no other state since. `is_report`: the service's own word about itself, read at one moment.

    Raises ValueError if only one of UNKNOWN and `reason` is given, and if an OK finding contains NaN.
    """

    status: Status
    template: str
    further_templates: tuple[str, ...] = ()
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
    unchanged_since: datetime | None = None
    is_report: bool = False

    def was_the_same(self, before: datetime | None) -> bool:
        """Whether this problem is known to have been the same at the time `before`; False if that is None."""
        if self.status < Status.WARNING or before is None or self.unchanged_since is None:
            return False
        return self.unchanged_since <= before

    def __post_init__(self) -> None:
        if (self.status is Status.UNKNOWN) != (self.reason is not None):
            raise ValueError("a finding has a reason if and only if it is UNKNOWN")
        if self.status is Status.OK and any(
            value != value for value in (self.measured, *self.facts.values())
        ):
            raise ValueError("a finding with NaN cannot be OK")

    def as_dict(self) -> dict[str, Any]:
        """The finding as JSON values, without series and rows: the recording contains the raw answers."""
        return {
            "check": self.check,
            "question": self.question,
            "status": self.status.name,
            "reason": self.reason.value if self.reason else None,
            "template": self.template,
            "further_templates": list(self.further_templates),
            "facts": {name: _json_value(value) for name, value in self.facts.items()},
            "measured": self.measured,
            "limit": self.limit,
            "unit": self.unit,
            "since": _json_value(self.since),
            "blur_seconds": self.blur_seconds,
            "source": self.source,
            "query": self.query,
            "asked_at": _json_value(self.asked_at),
            "is_replayable": self.is_replayable,
            "unchanged_since": _json_value(self.unchanged_since),
            "is_report": self.is_report,
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Finding:
        """The reverse of `as_dict`, without series and rows. Raises KeyError, ValueError.

        Findings of older evidence have no `further_templates`, `unchanged_since` and `is_report`.
        """
        names = ("check", "question", "template", "unit", "source", "query")
        texts: dict[str, Any] = {name: str(fields[name]) for name in names}
        return cls(
            status=Status[fields["status"]],
            reason=Reason(fields["reason"]) if fields["reason"] else None,
            further_templates=tuple(fields.get("further_templates", ())),
            facts={str(name): _parse_fact(value) for name, value in fields["facts"].items()},
            measured=fields["measured"],
            limit=fields["limit"],
            since=_parse_time(fields["since"]),
            asked_at=_parse_time(fields["asked_at"]),
            is_replayable=bool(fields["is_replayable"]),
            blur_seconds=float(fields["blur_seconds"]),
            unchanged_since=_parse_time(fields.get("unchanged_since")),
            is_report=bool(fields.get("is_report", False)),
            **texts,
        )


def _parse_time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _parse_fact(value: Fact) -> Fact:
    """The reverse of `_json_value`: a time is stored as its ISO 8601 text."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return value
    return moment if moment is not None and moment.isoformat() == value and moment.tzinfo else value


def _json_value(value: Fact) -> str | int | float | None:
    return value.isoformat() if isinstance(value, datetime) else value


def unknown(reason: Reason, template: str, **about: Any) -> Finding:
    """An UNKNOWN finding; `about` are further fields of Finding."""
    return Finding(status=Status.UNKNOWN, reason=reason, template=template, **about)


def overall(findings: Sequence[Finding]) -> Status:
    """The worst status of the findings; UNKNOWN without any finding."""
    return max((finding.status for finding in findings), default=Status.UNKNOWN)


def breach(
    measured: float,
    *,
    above: float | None = None,
    below: float | None = None,
    status: Status,
    critical_above: float | None = None,
) -> Status:
    """`status` if the measured value is beyond a limit, CRITICAL above `critical_above`, else OK.

    Raises ValueError for NaN.
    """
    if measured != measured:
        raise ValueError("NaN cannot be compared with a limit; the check must return UNKNOWN")
    if critical_above is not None and measured > critical_above:
        return Status.CRITICAL
    beyond = (above is not None and measured > above) or (below is not None and measured < below)
    return status if beyond else Status.OK
