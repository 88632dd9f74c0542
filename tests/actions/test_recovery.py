from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from runbooklib.actions import recovery
from runbooklib.actions.recovery import Certificate, RecoveryOutcome, Sample, Wait
from runbooklib.config.environment import Target
from runbooklib.errors import ParameterError, Reason
from runbooklib.model.findings import Finding, Status, unknown
from runbooklib.model.window import Window, seconds_of
from runbooklib.sources.context import Context, Sources
from runbooklib.sources.prometheus import frames
from runbooklib.sources.tape import Tape

BEGAN = datetime(2026, 1, 15, 3, 0, tzinfo=UTC)
HOLD = 60.0
EVERY = 15.0


def finding(check: str, status: Status, at: datetime, values: list[float | None] | None = None) -> Finding:
    if status is Status.UNKNOWN:
        return unknown(Reason.NO_DATA, "nothing", check=check)
    index = pd.date_range(at - timedelta(seconds=HOLD + EVERY), at, freq=f"{EVERY:g}s")
    series = pd.DataFrame({check: values or [0.001] * len(index)}, index=index, dtype=float)
    return Finding(status=status, template="x", check=check, series=series, limit=0.01)


def sample(number: int, status: Status, other: Status = Status.OK, seconds: float | None = None) -> Sample:
    moment = number * EVERY if seconds is None else seconds
    at = BEGAN + timedelta(seconds=moment)
    return Sample(at, moment, (finding("errors", status, at), finding("health", other, at)))


def certified(*statuses: Status, last: Sample | None = None) -> Certificate:
    samples = [sample(number, status) for number, status in enumerate(statuses)]
    return recovery.certificate([*samples, *([last] if last else [])], BEGAN, HOLD)


OK, BAD, MISSING = Status.OK, Status.CRITICAL, Status.UNKNOWN


def test_what_holds_for_the_whole_time_is_recovered() -> None:
    found = certified(BAD, BAD, OK, OK, OK, OK, OK)
    assert found.outcome is RecoveryOutcome.RECOVERED
    assert (found.held_seconds, found.seconds_until_ok) == (60.0, {"errors": 30.0, "health": 0.0})
    assert found.held_since == BEGAN + timedelta(seconds=30)


@pytest.mark.parametrize(
    "statuses",
    [
        (OK, OK, OK, OK),  # 45 s
        (OK, OK, OK, BAD, OK, OK),  # a relapse
        (OK, OK, OK, MISSING, OK, OK),
        (BAD, OK, BAD, OK, BAD),  # a short dip
        (BAD, BAD, OK),
        (MISSING,) * 9,
        (BAD,) * 9,
        (OK,),
    ],
)
def test_what_does_not_hold_for_the_whole_time_is_never_recovered(statuses: tuple[Status, ...]) -> None:
    assert certified(*statuses).outcome is not RecoveryOutcome.RECOVERED


def test_what_is_bad_is_not_recovered_and_says_what() -> None:
    found = certified(BAD, OK, BAD)
    assert (found.outcome, found.says) == (
        RecoveryOutcome.NOT_RECOVERED,
        "Conditions that are not met: errors.",
    )
    assert found.seconds_until_ok == {"errors": None, "health": 0.0}
    back = certified(OK, OK, BAD, OK, OK)
    assert (
        back.says
        == "Conditions that are not met: errors. Since then, all conditions have been met for 15 s of 1 min."
    )


def test_what_could_not_be_asked_cannot_be_told_and_says_what() -> None:
    found = certified(OK, MISSING, MISSING)
    assert (found.outcome, found.says) == (
        RecoveryOutcome.CANNOT_TELL,
        "Conditions without an answer: errors.",
    )


def test_a_condition_that_is_bad_outweighs_one_that_could_not_be_asked() -> None:
    found = recovery.certificate([sample(0, MISSING, BAD)], BEGAN, HOLD)
    assert (found.outcome, found.says) == (
        RecoveryOutcome.NOT_RECOVERED,
        "Conditions that are not met: health.",
    )


def test_looks_that_are_far_apart_prove_nothing_of_the_time_between() -> None:
    samples = [sample(0, OK), sample(1, OK), sample(2, OK, seconds=15 + 3600)]
    assert recovery.held_seconds(samples) == 0.0


@pytest.mark.parametrize(
    ("values", "outcome"),
    [
        ([0.001, 0.001, 0.02, 0.001, 0.001, 0.001], RecoveryOutcome.NOT_RECOVERED),
        ([0.001, 0.001, None, 0.001, 0.001, 0.001], RecoveryOutcome.CANNOT_TELL),
        ([0.02, 0.001, 0.001, 0.001, 0.001, 0.001], RecoveryOutcome.RECOVERED),  # before the span
    ],
)
def test_the_series_themselves_must_have_held(values: list[float | None], outcome: RecoveryOutcome) -> None:
    last = sample(5, OK)
    last = Sample(last.at, last.seconds, (finding("errors", OK, last.at, values), last.findings[1]))
    assert certified(OK, OK, OK, OK, OK, last=last).outcome is outcome


def test_a_series_that_begins_after_the_span_proves_nothing() -> None:
    last = sample(5, OK)
    errors = last.findings[0]
    assert errors.series is not None
    short = Finding(status=OK, template="x", check="errors", series=errors.series.iloc[3:], limit=0.01)
    last = Sample(last.at, last.seconds, (short, last.findings[1]))
    assert certified(OK, OK, OK, OK, OK, last=last).outcome is RecoveryOutcome.CANNOT_TELL


def test_the_curve_has_a_row_a_look_and_a_column_a_condition() -> None:
    curve = certified(BAD, MISSING, OK).curve
    assert curve["errors"].tolist() == ["CRITICAL", "UNKNOWN", "OK"]
    assert curve["health"].tolist() == ["OK", "OK", "OK"]


def make_context(scrape_interval: str, lookback: str = "1h", at: datetime = BEGAN) -> Context:
    timing = {"scrape_interval": scrape_interval, "lookback": lookback}
    target = Target.model_validate(
        {
            "environment_name": "site",
            "service_name": "backend",
            "environment": {
                "title": "Site",
                "systems": {},
                "timing": timing,
                "services": {"backend": {"title": "B", "labels": {}}},
            },
        }
    )
    window = Window.open(opened_at=at, lookback=lookback, scrape_interval=scrape_interval)
    return Context("A", target, window, Sources(target, Tape()))


@pytest.mark.parametrize("held", ["0s", "1s", "3s"])
def test_no_single_look_proves_anything(held: str) -> None:
    with pytest.raises(ParameterError, match=r"too short to prove recovery .use 4 s or more"):
        Wait.of(make_context("1s"), held)
    assert Wait.of(make_context("1s"), "4s").hold_seconds == 4.0


def test_a_span_holds_two_scrapes_however_often_it_is_looked_at() -> None:
    with pytest.raises(ParameterError, match=r"use 240 s or more"):
        Wait.of(make_context("2m"), "200s")


@pytest.mark.parametrize(
    ("interval", "every"), [("1s", 2.0), ("15s", 15.0), ("30s", 30.0), ("60s", 30.0), ("2m", 30.0)]
)
def test_it_is_looked_at_every_scrape_and_every_half_minute_at_least(interval: str, every: float) -> None:
    assert Wait.of(make_context(interval), "5m").every_seconds == every


def whole(wait: Wait, interval: str, lookback: str, at: datetime) -> tuple[Finding, ...]:
    """What a look at that moment finds: a sound series on the grid on which Prometheus is asked."""
    span = max(seconds_of(lookback), 1.5 * wait.hold_seconds)
    window = make_context(interval, f"{span:.0f}s", at).window
    index = frames.grid_of(window)
    series = pd.DataFrame({"errors": [0.001] * len(index)}, index=index)
    return (Finding(status=OK, template="x", check="errors", series=series, limit=0.01),)


@pytest.mark.parametrize("lookback", ["5m", "1h", "6h"])
@pytest.mark.parametrize("held", ["4m", "5m", "30m"])
@pytest.mark.parametrize("interval", ["15s", "30s", "60s", "120s"])
def test_a_sound_service_is_certified_however_seldom_its_site_scrapes(
    interval: str, held: str, lookback: str
) -> None:
    wait = Wait.of(make_context(interval), held)
    for phase in range(0, 120, 7):  # of the grid, against the first look
        took = 1.3  # seconds; the next look begins when the last one is over or a little later
        samples: list[Sample] = []
        while recovery.held_seconds(samples) < wait.hold_seconds and len(samples) < 200:
            seconds = phase + len(samples) * (wait.every_seconds + 0.01)
            found = whole(wait, interval, lookback, BEGAN + timedelta(seconds=seconds))
            samples.append(Sample(BEGAN + timedelta(seconds=seconds + took), seconds + took, found))
        assert recovery.flaws(samples, wait.hold_seconds) == []
        assert recovery.certificate(samples, BEGAN, wait.hold_seconds).outcome is RecoveryOutcome.RECOVERED
