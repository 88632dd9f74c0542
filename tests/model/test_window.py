from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from runbooklib.errors import ParameterError
from runbooklib.model.window import MAX_POINTS, Window, moment_of, seconds_of

OPENED = datetime(2026, 1, 15, 3, 12, 7, 654321, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("15m", 900), ("1h30m", 5400), ("2d", 172800), ("1w", 604800), ("0s", 0)],
)
def test_durations_are_read_as_prometheus_reads_them(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "5", "m", "5 m", "-5m", "1.5h", "5m\n", "5x", "\u0665m", "9" * 5000 + "s"]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ParameterError, match="is not a duration"):
        seconds_of(text)


@pytest.mark.parametrize(
    "text", ["2026-01-15T03:12:00Z", "2026-01-15T11:12:00+08:00", "2026-01-14T22:12:00-05:00"]
)
def test_times_with_an_offset_become_utc(text: str) -> None:
    moment = moment_of(text)
    assert moment == datetime(2026, 1, 15, 3, 12, tzinfo=UTC)
    assert moment.tzinfo is UTC


@pytest.mark.parametrize("text", ["2026-01-15T03:12:00", "2026-01-15"])
def test_a_time_without_offset_is_refused_and_not_guessed(text: str) -> None:
    with pytest.raises(ParameterError, match="has no time zone"):
        moment_of(text)


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2026-13-01T00:00:00Z", "1736910720", "0001-01-01T00:00:00+08:00"]
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ParameterError, match="is not a time"):
        moment_of(text)


@pytest.mark.parametrize("lookback", ["5m", "1h", "6h", "1d", "7d", "30d", "50w"])
@pytest.mark.parametrize("scrape", ["1s", "15s", "1m", "7s"])
def test_start_and_end_lie_on_the_grid_of_the_step(lookback: str, scrape: str) -> None:
    window = Window.open(opened_at=OPENED, lookback=lookback, scrape_interval=scrape)
    assert window.start.timestamp() % window.step_seconds == 0
    assert window.end.timestamp() % window.step_seconds == 0
    assert window.step_seconds >= seconds_of(scrape)
    assert window.span_seconds / window.step_seconds <= MAX_POINTS + 1
    assert timedelta() <= OPENED - window.end < timedelta(seconds=window.step_seconds)
    assert 0 <= window.span_seconds - seconds_of(lookback) + window.step_seconds <= 2 * window.step_seconds


def test_windows_opened_within_one_step_are_the_same() -> None:
    opened = [OPENED.replace(second=second) for second in (0, 3, 14)]
    grids = {(w.start, w.end, w.step_seconds) for w in (Window.open(opened_at=at) for at in opened)}
    assert len(grids) == 1


def test_a_longer_lookback_never_has_a_finer_step() -> None:
    steps = [Window.open(opened_at=OPENED, lookback=f"{hours}h").step_seconds for hours in range(1, 500, 7)]
    assert all(a <= b for a, b in pairwise(steps))


def test_a_window_shorter_than_its_step_is_one_step_long() -> None:
    window = Window.open(opened_at=OPENED, lookback="1s", scrape_interval="15s")
    assert window.span_seconds == window.step_seconds == 15


def test_a_window_ends_at_the_time_given() -> None:
    window = Window.open(opened_at=OPENED, at="2026-01-14T20:00:00+08:00", lookback="1h")
    assert (window.start.hour, window.end) == (11, datetime(2026, 1, 14, 12, tzinfo=UTC))
    assert window.opened_at == OPENED


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"at": "2026-01-15T03:12:10Z"}, "is in the future"),
        ({"lookback": "0s"}, "lookback must be positive"),
        ({"lookback": "an hour"}, "is not a duration"),
        ({"lookback": "200000w"}, "too far back"),
        ({"scrape_interval": ""}, "is not a duration"),
    ],
)
def test_a_window_that_cannot_be_meant_is_refused(arguments: dict[str, str], told: str) -> None:
    with pytest.raises(ParameterError, match=told):
        Window.open(opened_at=OPENED, **arguments)


@pytest.mark.parametrize(("seconds_ago", "is_live"), [(0, True), (100, True), (180, False), (86400, False)])
def test_only_a_window_that_ends_now_is_live(seconds_ago: int, *, is_live: bool) -> None:
    at = (OPENED - timedelta(seconds=seconds_ago)).isoformat()
    assert Window.open(opened_at=OPENED, at=at).is_live is is_live
