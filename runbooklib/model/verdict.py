"""The verdict, and the ranking of causes. Pure values and pure functions.

The ranking can be repeated by hand. A CRITICAL finding of a cause counts 2 points for the cause, WARNING 1.
A finding that is OK, or that began after the symptom, counts 1 point against it. UNKNOWN counts nothing
and is listed as missing. Then:

    confirmed    at least 3 points for, from at least two systems, and at least twice the points against
    likely       more points for than against
    possible     points for, but not more than against
    unlikely     no points for, and more points against than findings missing
    cannot tell  no points for, and too many findings missing

The status is that of the worst finding, with two exceptions. Other alerts (`OTHER_ALERTS`) are shown and have
no weight. If the alert's own question has no answer, the status is UNKNOWN, unless something is CRITICAL for
this alert: a symptom (but not the health page), or a finding that speaks for a cause that is supported.

The onset is that of the first symptom that shows when it began; without such a symptom, it is the earliest
finding for a cause that holds.

A finding that was the same before the symptom began is shown and has no weight: it changes neither the
status nor the rank of a cause. The alert's own question always has weight. A report of the service about
itself whose age is unknown counts for no cause.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from runbooklib.model.findings import Finding, Status, overall
from runbooklib.model.plan import Proposal

# The version of the rules, and of `verdict.json`. A replay judges recorded evidence by the rules of its time.
VERSION = 3
# The first version with the two exceptions above, and with findings that have no weight.
_OWN_QUESTION = 3
# The first version in which causes can show the onset.
ONSET_OF_CAUSES = 3
# Whether the alert's own rule is true, and whether it fires.
ALERT_CHECKS = frozenset({"alert_rule", "alert_expression", "firing_alert"})
OTHER_ALERTS = frozenset({"related_alerts"})
# What the service says about itself as a whole: it never answers the question of one alert.
_GENERAL = OTHER_ALERTS | {"health_page"}


class Rank(StrEnum):
    """How strongly the findings support a cause, in the order in which causes are shown."""

    CONFIRMED = "confirmed"
    LIKELY = "likely"
    POSSIBLE = "possible"
    CANNOT_TELL = "cannot tell"
    UNLIKELY = "unlikely"


_RANK_ORDER = {rank: place for place, rank in enumerate(Rank)}
SUPPORTED_RANKS = frozenset({Rank.CONFIRMED, Rank.LIKELY, Rank.POSSIBLE})


@dataclass(frozen=True, slots=True)
class Cause:
    """One possible cause, its findings (`signs`) and the proposals for it."""

    id: str
    title: str
    signs: tuple[Finding, ...] = ()
    proposals: tuple[Proposal, ...] = ()


@dataclass(frozen=True, slots=True)
class RankedCause:
    """A cause, its rank, and the findings that the rank follows from."""

    cause: Cause
    rank: Rank
    speaks_for: tuple[Finding, ...]
    speaks_against: tuple[Finding, ...]
    came_after: tuple[Finding, ...]
    missing: tuple[Finding, ...]
    not_counted: tuple[Finding, ...] = ()

    @property
    def points_for(self) -> int:
        """2 for each CRITICAL finding, 1 for each WARNING."""
        return sum(2 if sign.status is Status.CRITICAL else 1 for sign in self.speaks_for)

    @property
    def points_against(self) -> int:
        """1 for each finding that is OK or that began after the symptom."""
        return len(self.speaks_against) + len(self.came_after)

    @property
    def is_supported(self) -> bool:
        """Whether any finding supports the cause."""
        return self.rank in SUPPORTED_RANKS


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict over all findings so far. `onset` is aware UTC, None if it is unknown.

    `is_unanswered`: the alert's own question has no answer, which is said before everything else.
    `unchanged`: the problems that were the same before the symptom began; they have no weight.
    """

    status: Status
    onset: datetime | None
    symptoms: tuple[Finding, ...]
    causes: tuple[RankedCause, ...]
    not_checked: tuple[Finding, ...]
    is_unanswered: bool = False
    unchanged: tuple[Finding, ...] = ()

    @property
    def is_alert_true(self) -> bool:
        """Whether the alert's own rule is true, or the alert fires."""
        return _is_alert_true(self.symptoms)

    @property
    def beside(self) -> tuple[Finding, ...]:
        """The problems without weight: what was the same before the symptom, and other alerts that fire."""
        return (*self.unchanged, *(f for f in self.symptoms if _is_about_other_alerts(f)))

    @property
    def supported_causes(self) -> tuple[RankedCause, ...]:
        """The causes that a finding supports, strongest first."""
        return tuple(ranked_cause for ranked_cause in self.causes if ranked_cause.is_supported)

    @property
    def proposals(self) -> tuple[Proposal, ...]:
        """The proposals of the strongest cause."""
        return self.supported_causes[0].cause.proposals if self.supported_causes else ()


def onset_of(symptoms: Iterable[Finding]) -> datetime | None:
    """The known start of the first symptom in the notebook that is beyond its limit.

    The first in order, not the earliest in time: a runbook begins with the alert's own symptom, and an
    endpoint that has always been slow did not start the incident.
    """
    return next((f.since for f in symptoms if f.status >= Status.WARNING and f.since is not None), None)


def onset_of_causes(causes: Iterable[Cause], *, before: datetime | None = None) -> datetime | None:
    """The earliest start of the findings for the causes that hold, where no symptom shows when it began.

    A cause holds if it is confirmed or likely, and a CRITICAL finding with a known start speaks for it.
    """
    ranked_causes = [rank_cause(cause, None, before=before) for cause in causes]
    holding = [
        item.speaks_for
        for item in ranked_causes
        if item.rank in (Rank.CONFIRMED, Rank.LIKELY)
        and any(sign.status is Status.CRITICAL and sign.since for sign in item.speaks_for)
    ]
    return min((sign.since for signs in holding for sign in signs if sign.since), default=None)


def rank_cause(
    cause: Cause,
    onset: datetime | None,
    tolerance_seconds: float = 0.0,
    *,
    before: datetime | None = None,
    version: int = VERSION,
) -> RankedCause:
    """Rank one cause by the table in this module's docstring.

    A finding that began after the onset is a consequence and not a cause. "After" allows for
    `tolerance_seconds` (the resolution of the clocks) and the finding's own `blur_seconds`. `before` is a
    time before the symptom began: a finding that was the same then is not counted.
    """
    problems = [sign for sign in cause.signs if sign.status >= Status.WARNING]
    is_ageless = version < _OWN_QUESTION
    not_counted = tuple(s for s in problems if not is_ageless and not _can_speak_for_a_cause(s, before))
    alarms = [sign for sign in problems if sign not in not_counted]
    latest = onset + timedelta(seconds=tolerance_seconds) if onset else None
    after = tuple(s for s in alarms if latest and s.since and s.since - _blur(s) > latest)
    ranked_cause = RankedCause(
        cause=cause,
        rank=Rank.CANNOT_TELL,
        speaks_for=tuple(sign for sign in alarms if sign not in after),
        speaks_against=tuple(sign for sign in cause.signs if sign.status is Status.OK),
        came_after=after,
        missing=tuple(sign for sign in cause.signs if sign.status is Status.UNKNOWN),
        not_counted=not_counted,
    )
    return RankedCause(**{**_fields(ranked_cause), "rank": _compute_rank(ranked_cause)})


def _can_speak_for_a_cause(sign: Finding, before: datetime | None) -> bool:
    """False if it was the same before the symptom, or is a report of the service of unknown age."""
    is_of_unknown_age = sign.since is None and (sign.unchanged_since is None or before is None)
    return not sign.was_the_same(before) and not (sign.is_report and is_of_unknown_age)


def _blur(sign: Finding) -> timedelta:
    return timedelta(seconds=sign.blur_seconds)


def _fields(ranked_cause: RankedCause) -> dict[str, Any]:
    return {name: getattr(ranked_cause, name) for name in RankedCause.__dataclass_fields__}


def _compute_rank(ranked_cause: RankedCause) -> Rank:
    points, against = ranked_cause.points_for, ranked_cause.points_against
    systems = {sign.source for sign in ranked_cause.speaks_for}
    if not points:
        return Rank.UNLIKELY if against > len(ranked_cause.missing) else Rank.CANNOT_TELL
    if points >= 3 and len(systems) >= 2 and points >= 2 * against:
        return Rank.CONFIRMED
    return Rank.LIKELY if points > against else Rank.POSSIBLE


def judge(
    symptoms: Sequence[Finding],
    causes: Sequence[Cause],
    *,
    onset: datetime | None = None,
    tolerance_seconds: float = 0.0,
    before: datetime | None = None,
    version: int = VERSION,
) -> Verdict:
    """The verdict: the status by the rules in this module's docstring, and the causes by rank and points.

    `onset` is the start time of the alert (aware UTC); without it, the symptoms give the onset. Without any
    finding the verdict is UNKNOWN. `before` (aware UTC) is a time before the symptom began, None if it is
    unknown. `version` is that of the rules: older evidence is judged by its own.
    """
    onset = onset or onset_of(symptoms)
    ranked_causes = [
        rank_cause(cause, onset, tolerance_seconds, before=before, version=version) for cause in causes
    ]
    everything = [*symptoms, *(sign for cause in causes for sign in cause.signs)]
    is_current = version >= _OWN_QUESTION
    unchanged = _unchanged(symptoms, causes, before) if is_current else ()
    return Verdict(
        status=_status(symptoms, ranked_causes, unchanged) if is_current else overall(everything),
        onset=onset,
        symptoms=tuple(symptoms),
        causes=tuple(sorted(ranked_causes, key=_sort_key)),
        not_checked=tuple(finding for finding in everything if finding.status is Status.UNKNOWN),
        is_unanswered=is_current and _is_unanswered(symptoms),
        unchanged=unchanged,
    )


def _is_alert_true(symptoms: Iterable[Finding]) -> bool:
    return any(f.status >= Status.WARNING for f in symptoms if f.check in ALERT_CHECKS)


def _is_unanswered(symptoms: Sequence[Finding]) -> bool:
    """Whether the first symptom, which is the alert's own, has no answer, and the alert is not true."""
    return bool(symptoms) and symptoms[0].status is Status.UNKNOWN and not _is_alert_true(symptoms)


def _unchanged(
    symptoms: Sequence[Finding], causes: Sequence[Cause], before: datetime | None
) -> tuple[Finding, ...]:
    """The problems that were the same before the symptom began, each once; never the alert's own question."""
    signs = [sign for cause in causes for sign in cause.signs]
    sides = [finding for finding in symptoms[1:] if finding.check not in ALERT_CHECKS]
    same = [finding for finding in (*sides, *signs) if finding.was_the_same(before)]
    return tuple({(finding.check, finding.question): finding for finding in reversed(same)}.values())[::-1]


def _status(
    symptoms: Sequence[Finding], causes: Sequence[RankedCause], unchanged: Sequence[Finding]
) -> Status:
    def has_weight(finding: Finding) -> bool:
        return not _is_about_other_alerts(finding) and finding not in unchanged

    signs = [sign for ranked_cause in causes for sign in ranked_cause.cause.signs]
    status = overall([finding for finding in (*symptoms, *signs) if has_weight(finding)])
    if not _is_unanswered(symptoms):
        return status
    supporting = [sign for cause in causes if cause.is_supported for sign in cause.speaks_for]
    of_this_alert = [f for f in symptoms if f.check not in _GENERAL and has_weight(f)]
    is_critical = overall([*of_this_alert, *supporting]) is Status.CRITICAL
    return Status.CRITICAL if is_critical else Status.UNKNOWN


def _is_about_other_alerts(finding: Finding) -> bool:
    return finding.check in OTHER_ALERTS and finding.status >= Status.WARNING


def _sort_key(ranked_cause: RankedCause) -> tuple[int, int]:
    return _RANK_ORDER[ranked_cause.rank], ranked_cause.points_against - ranked_cause.points_for
