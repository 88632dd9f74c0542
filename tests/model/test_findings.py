import json
import math
from dataclasses import FrozenInstanceError, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from runbooklib.errors import Reason
from runbooklib.model.findings import Finding, Status, breach, unknown
from runbooklib.model.plan import Proposal
from runbooklib.model.verdict import Cause, Rank, judge, onset_of, rank_cause

ONSET = datetime(2026, 1, 15, 3, 0, tzinfo=UTC)
SYMPTOM = Finding(status=Status.CRITICAL, template="errors", since=ONSET, source="prometheus")


def sign(word: str, source: str = "prometheus", *, minutes: float | None = None) -> Finding:
    """A finding of one letter: C(ritical), W(arning), O(k), U(nknown); `minutes` after the onset."""
    since = None if minutes is None else ONSET + timedelta(minutes=minutes)
    if word == "U":
        return unknown(Reason.NO_DATA, "?", source=source)
    status = {"C": Status.CRITICAL, "W": Status.WARNING, "O": Status.OK}[word]
    return Finding(status=status, template=word, source=source, since=since)


def signs(words: str) -> tuple[Finding, ...]:
    """ "C/prometheus W/docker" as findings."""
    return tuple(sign(*word.split("/")) for word in words.split())


@pytest.mark.parametrize(
    ("words", "rank"),
    [
        # confirmed: 3 points from two systems, at least twice the points against
        ("C/a W/b", Rank.CONFIRMED),
        ("C/a W/b O/a", Rank.CONFIRMED),
        ("C/a C/b O/a O/b", Rank.CONFIRMED),
        ("W/a W/a W/b U/c U/d", Rank.CONFIRMED),
        # likely: more for it than against
        ("C/a W/a", Rank.LIKELY),
        ("C/a C/a C/a", Rank.LIKELY),
        ("C/a", Rank.LIKELY),
        ("W/a", Rank.LIKELY),
        ("W/a W/b", Rank.LIKELY),
        ("C/a W/b O/a O/b", Rank.LIKELY),
        ("C/a O/b U/c", Rank.LIKELY),
        # possible: points for it, but no more than against
        ("W/a O/b", Rank.POSSIBLE),
        ("C/a O/a O/b", Rank.POSSIBLE),
        ("W/a O/a O/b O/c", Rank.POSSIBLE),
        # unlikely: nothing for it, more against than missing
        ("O/a", Rank.UNLIKELY),
        ("O/a O/b U/c", Rank.UNLIKELY),
        # cannot tell: nothing for it, too much missing
        ("", Rank.CANNOT_TELL),
        ("U/a", Rank.CANNOT_TELL),
        ("O/a U/b", Rank.CANNOT_TELL),
        ("O/a O/b U/c U/d", Rank.CANNOT_TELL),
    ],
)
def test_a_cause_is_ranked_by_the_table_of_the_docstring(words: str, rank: Rank) -> None:
    assert rank_cause(Cause("c", "C", signs(words)), ONSET).rank is rank


def test_a_sign_that_began_after_the_symptom_speaks_against_the_cause() -> None:
    late, early = sign("C", "docker", minutes=10), sign("W", minutes=-10)
    ranked_cause = rank_cause(Cause("c", "C", (late, early)), ONSET)
    assert (ranked_cause.came_after, ranked_cause.speaks_for) == ((late,), (early,))
    assert (ranked_cause.points_for, ranked_cause.points_against, ranked_cause.rank) == (1, 1, Rank.POSSIBLE)


def test_a_sign_whose_start_is_known_late_is_not_taken_for_a_consequence() -> None:
    """A rate over five minutes sees a beginning up to five minutes late."""
    late = replace(sign("W", minutes=4), blur_seconds=300.0)
    assert rank_cause(Cause("c", "C", (late,)), ONSET).speaks_for == (late,)
    later = replace(sign("W", minutes=6), blur_seconds=300.0)
    assert rank_cause(Cause("c", "C", (later,)), ONSET).came_after == (later,)


@pytest.mark.parametrize(("minutes", "is_late"), [(-5.0, False), (0.0, False), (0.5, False), (0.51, True)])
def test_a_start_within_the_tolerance_of_the_clocks_is_not_late(minutes: float, *, is_late: bool) -> None:
    ranked_cause = rank_cause(Cause("c", "C", (sign("C", minutes=minutes),)), ONSET, tolerance_seconds=30)
    assert bool(ranked_cause.came_after) is is_late


def test_a_sign_without_known_start_or_a_symptom_without_onset_is_never_late() -> None:
    assert not rank_cause(Cause("c", "C", (sign("C"),)), ONSET).came_after
    assert not rank_cause(Cause("c", "C", (sign("C", minutes=60),)), None).came_after


def test_a_sound_or_unknown_sign_is_never_late() -> None:
    ranked_cause = rank_cause(Cause("c", "C", (sign("O", minutes=60), sign("U"))), ONSET)
    assert (ranked_cause.came_after, ranked_cause.points_against, len(ranked_cause.missing)) == ((), 1, 1)


def test_the_onset_is_that_of_the_first_breached_symptom_and_not_the_earliest() -> None:
    older = sign("W", minutes=-60)
    assert onset_of([sign("O", minutes=-99), sign("C"), SYMPTOM, older]) == ONSET
    assert onset_of([sign("U"), sign("O")]) is None


def test_the_onset_that_the_alert_tells_wins_over_that_of_the_symptoms() -> None:
    told = ONSET - timedelta(hours=1)
    assert judge([SYMPTOM], [], onset=told).onset == told
    assert judge([SYMPTOM], []).onset == ONSET


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ("O O O", Status.OK),
        ("O U", Status.UNKNOWN),
        ("O U W", Status.WARNING),
        ("U C W O", Status.CRITICAL),
        ("U", Status.UNKNOWN),
        ("", Status.UNKNOWN),
    ],
)
def test_the_verdict_is_the_worst_finding_and_an_empty_ledger_is_unknown(words: str, status: Status) -> None:
    assert judge(signs(words), []).status is status
    assert judge([], [Cause("c", "C", signs(words))]).status is status


@pytest.mark.parametrize("place", ["symptom", "sign"])
def test_one_unknown_among_sound_findings_is_never_ok_and_is_named(place: str) -> None:
    missing, sound = sign("U"), sign("O")
    verdict = (
        judge([sound, missing], [])
        if place == "symptom"
        else judge([sound], [Cause("c", "C", (sound, missing))])
    )
    assert verdict.status is Status.UNKNOWN
    assert verdict.not_checked == (missing,)


def test_causes_stand_by_rank_then_points_then_in_the_order_of_the_notebook() -> None:
    words = {
        "unlikely": "O/a",
        "cannot-tell": "U/a",
        "possible": "W/a O/a",
        "likely-1": "W/a",
        "likely-2": "C/a",
        "likely-1-again": "W/b",
        "confirmed": "C/a C/b",
    }
    causes = [Cause(name, name, signs(text)) for name, text in words.items()]
    verdict = judge([SYMPTOM], causes)
    assert [ranked_cause.cause.id for ranked_cause in verdict.causes] == [
        "confirmed",
        "likely-2",
        "likely-1",
        "likely-1-again",
        "possible",
        "cannot-tell",
        "unlikely",
    ]
    assert [ranked_cause.cause.id for ranked_cause in verdict.supported_causes][-1] == "possible"


def test_only_the_strongest_supported_cause_proposes() -> None:
    restart, wait = Proposal("restart", "docker restart x", "…"), Proposal("wait", "", "…")
    weak = Cause("weak", "", signs("W/a"), (wait,))
    strong = Cause("strong", "", signs("C/a C/b"), (restart,))
    assert judge([], [weak, strong]).proposals == (restart,)
    assert judge([], [Cause("none", "", signs("O/a"), (wait,))]).proposals == ()


@pytest.mark.parametrize(
    ("status", "reason"), [(Status.UNKNOWN, None), (Status.OK, Reason.STALE), (Status.CRITICAL, Reason.STALE)]
)
def test_a_finding_is_unknown_if_and_only_if_it_says_why(status: Status, reason: Reason | None) -> None:
    with pytest.raises(ValueError, match="if and only if"):
        Finding(status=status, template="", reason=reason)


@pytest.mark.parametrize(
    ("measured", "limits", "status"),
    [
        (0.06, {"above": 0.05}, Status.CRITICAL),
        (0.05, {"above": 0.05}, Status.OK),
        (0.94, {"below": 0.95}, Status.CRITICAL),
        (0.95, {"below": 0.95}, Status.OK),
        (float("inf"), {"above": 1}, Status.CRITICAL),
        (5, {}, Status.OK),
    ],
)
def test_a_breach_is_beyond_the_limit_and_not_on_it(
    measured: float, limits: dict[str, float], status: Status
) -> None:
    assert breach(measured, status=Status.CRITICAL, **limits) is status


def test_nan_is_never_judged() -> None:
    with pytest.raises(ValueError, match="UNKNOWN"):
        breach(float("nan"), above=1, status=Status.CRITICAL)


def test_a_finding_as_dict_is_json_and_cannot_be_changed() -> None:
    finding = Finding(status=Status.WARNING, template="{at}", facts={"at": ONSET, "n": 1}, since=ONSET)
    told = json.loads(json.dumps(finding.as_dict()))
    assert (told["status"], told["facts"]) == ("WARNING", {"at": ONSET.isoformat(), "n": 1})
    with pytest.raises(FrozenInstanceError):
        finding.status = Status.OK  # type: ignore[misc]


@pytest.mark.parametrize("about", [{"measured": math.nan}, {"facts": {"was": math.nan}}])
def test_what_rests_on_nan_is_not_ok(about: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="NaN"):
        Finding(status=Status.OK, template="Sound.", **about)


def test_a_finding_of_a_saved_notebook_is_the_finding_again() -> None:
    moment = datetime(2026, 1, 15, 3, 12, 7, 250, tzinfo=UTC)
    whole = Finding(
        status=Status.WARNING,
        template="{at:time} {share:percent} {word}",
        facts={"at": moment, "share": 0.5, "word": "2026-01-15", "none": None, "count": 3},
        check="error_rate",
        question="Why?",
        measured=0.5,
        limit=0.1,
        unit="ratio",
        since=moment,
        blur_seconds=300.0,
        source="prometheus",
        query="up",
        asked_at=moment,
        is_replayable=False,
    )
    missing = unknown(Reason.NO_DATA, "nothing")
    for finding in (whole, missing):
        assert Finding.from_dict(json.loads(json.dumps(finding.as_dict()))) == finding


@pytest.mark.parametrize(
    "change", [{"status": "FINE"}, {"reason": "mood"}, {"since": "soon"}, {"facts": None}]
)
def test_what_is_no_finding_is_not_taken_for_one(change: dict[str, object]) -> None:
    told = Finding(status=Status.OK, template="x").as_dict()
    with pytest.raises((KeyError, ValueError, TypeError, AttributeError)):
        Finding.from_dict({**told, **change})
    with pytest.raises(KeyError):
        Finding.from_dict({name: value for name, value in told.items() if name != "facts"})


def named(word: str, check: str, source: str = "prometheus") -> Finding:
    """A finding of one letter, of the check with that name."""
    return replace(sign(word, source), check=check)


def crash(words: str) -> Cause:
    return Cause("crash", "It crashed", signs(words))


OWN = named("U", "ai_error_rate")


@pytest.mark.parametrize(
    ("symptoms", "causes", "status"),
    [
        # The alert's own question has no answer, and what else was found does not answer it.
        ([OWN, named("W", "related_alerts")], [], Status.UNKNOWN),
        ([OWN, named("C", "related_alerts")], [], Status.UNKNOWN),
        ([OWN, named("W", "health_page")], [], Status.UNKNOWN),
        ([OWN, named("C", "health_page")], [], Status.UNKNOWN),
        ([OWN, named("W", "key_functions")], [], Status.UNKNOWN),
        ([OWN, named("U", "alert_rule"), named("O", "firing_alert")], [crash("W/a W/b")], Status.UNKNOWN),
        ([named("U", "alert_expression"), named("W", "slow_endpoints")], [], Status.UNKNOWN),
        # Something is CRITICAL for this alert: another symptom, or a cause that holds.
        ([OWN, named("C", "error_rate")], [], Status.CRITICAL),
        ([OWN], [crash("C/docker")], Status.CRITICAL),
        ([OWN, named("W", "related_alerts")], [crash("C/docker O/a O/b")], Status.CRITICAL),
        # The rule, or Alertmanager, answers in the place of the alert's own metric.
        ([OWN, named("W", "alert_rule")], [], Status.WARNING),
        ([OWN, named("W", "firing_alert")], [], Status.WARNING),
        ([OWN, named("C", "firing_alert"), named("W", "related_alerts")], [], Status.CRITICAL),
        # The alert's own question has an answer: another alert's sign does not change it.
        ([named("O", "error_rate"), named("W", "related_alerts")], [], Status.OK),
        ([named("O", "error_rate"), named("U", "related_alerts")], [], Status.UNKNOWN),
        ([named("O", "error_rate"), named("W", "health_page")], [], Status.WARNING),
        ([named("O", "error_rate"), named("U", "firing_alert")], [crash("W/a")], Status.WARNING),
    ],
)
def test_a_side_finding_does_not_answer_the_alerts_own_question(
    symptoms: list[Finding], causes: list[Cause], status: Status
) -> None:
    verdict = judge(symptoms, causes)
    assert verdict.status is status
    assert verdict.is_unanswered is (symptoms[0].status is Status.UNKNOWN and not verdict.is_alert_true)


def test_a_critical_sign_of_a_cause_that_began_later_is_not_critical_for_this_alert() -> None:
    late = Cause("late", "Late", (sign("C", "docker", minutes=30), *signs("O/a O/b")))
    verdict = judge([OWN], [late], onset=ONSET)
    assert (verdict.causes[0].rank, verdict.status) == (Rank.UNLIKELY, Status.UNKNOWN)


@pytest.mark.parametrize(
    ("symptoms", "status"),
    [
        ([OWN, named("W", "related_alerts")], Status.WARNING),
        ([named("O", "error_rate"), named("W", "related_alerts")], Status.WARNING),
        ([OWN, named("C", "health_page")], Status.CRITICAL),
    ],
)
def test_evidence_of_an_older_version_is_judged_by_its_own_rules(
    symptoms: list[Finding], status: Status
) -> None:
    for version in (1, 2):
        verdict = judge(symptoms, [], version=version)
        assert (verdict.status, verdict.is_unanswered) == (status, False)


BEFORE = ONSET - timedelta(minutes=30)
WEEK, MINUTES = timedelta(days=7), timedelta(minutes=5)


def aged(word: str, check: str, age: timedelta | None, *, is_report: bool = True) -> Finding:
    """A finding of one letter that has been the same since `age` before the onset."""
    since = None if age is None else ONSET - age
    return replace(named(word, check, "web"), unchanged_since=since, is_report=is_report)


@pytest.mark.parametrize(
    ("sign_", "before", "is_counted"),
    [
        (aged("W", "component_health", WEEK), BEFORE, False),
        (aged("C", "dependencies_reachable", WEEK, is_report=False), BEFORE, False),
        (aged("W", "component_health", MINUTES), BEFORE, True),
        # Of unknown age: what the service says about itself counts for no cause, what was measured does.
        (aged("W", "component_health", None), BEFORE, False),
        (aged("C", "dependencies_reachable", None, is_report=False), BEFORE, True),
        # Nobody knows when the symptom began.
        (aged("W", "component_health", WEEK), None, False),
        (aged("C", "dependencies_reachable", WEEK, is_report=False), None, True),
    ],
)
def test_what_was_the_same_before_the_symptom_speaks_for_no_cause(
    sign_: Finding, before: datetime | None, *, is_counted: bool
) -> None:
    ranked_cause = rank_cause(Cause("c", "C", (sign_,)), ONSET, before=before)
    assert ranked_cause.speaks_for == ((sign_,) if is_counted else ())
    assert ranked_cause.not_counted == (() if is_counted else (sign_,))
    assert rank_cause(Cause("c", "C", (sign_,)), ONSET, before=before, version=2).speaks_for == (sign_,)


@pytest.mark.parametrize(
    ("symptoms", "before", "status"),
    [
        ([named("O", "error_rate"), aged("W", "health_page", WEEK)], BEFORE, Status.OK),
        ([named("O", "error_rate"), aged("W", "key_functions", WEEK, is_report=False)], BEFORE, Status.OK),
        ([named("O", "error_rate"), aged("W", "health_page", MINUTES)], BEFORE, Status.WARNING),
        ([named("O", "error_rate"), aged("W", "health_page", None)], BEFORE, Status.WARNING),
        ([named("O", "error_rate"), aged("W", "health_page", WEEK)], None, Status.WARNING),
        # The alert's own question always has weight.
        ([aged("C", "component_status", WEEK)], BEFORE, Status.CRITICAL),
        ([named("O", "error_rate"), aged("W", "alert_rule", WEEK)], BEFORE, Status.WARNING),
        ([OWN, aged("C", "key_functions", WEEK, is_report=False)], BEFORE, Status.UNKNOWN),
    ],
)
def test_what_is_ill_every_day_does_not_change_the_status(
    symptoms: list[Finding], before: datetime | None, status: Status
) -> None:
    verdict = judge(symptoms, [], before=before)
    assert verdict.status is status
    if verdict.unchanged:  # said once, though it is asked for a cause as well
        both = judge(symptoms, [Cause("c", "C", (symptoms[-1],))], before=before)
        assert (both.unchanged, both.status) == (verdict.unchanged, status)
    assert Finding.from_dict(symptoms[-1].as_dict()).unchanged_since == symptoms[-1].unchanged_since
