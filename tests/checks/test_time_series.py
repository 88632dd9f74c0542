from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from runbooklib.checks.time_series import began, beyond, latest, usual
from runbooklib.errors import NoDataError, StaleError

START = datetime(2026, 1, 15, 12, tzinfo=UTC)
GAP = float("nan")


def column(*values: float, step: int = 10) -> "pd.Series[float]":
    index = pd.date_range(START, periods=len(values), freq=f"{step}s")
    return pd.Series(values, index=index, dtype="float64")


def at(number: int, step: int = 10) -> datetime:
    return START + timedelta(seconds=number * step)


@pytest.mark.parametrize(
    ("values", "within", "expected"),
    [
        ((1.0, 2.0, 3.0), 0, 3.0),
        ((1.0, 2.0, GAP), 10, 2.0),
        ((1.0, GAP, GAP), 20, 1.0),
        ((1.0, 2.0, float("inf")), 10, 2.0),
        ((0.0,), 0, 0.0),
    ],
)
def test_latest_is_the_last_finite_sample_that_is_young_enough(
    values: tuple[float, ...], within: float, expected: float
) -> None:
    assert latest(column(*values), within_seconds=within) == expected


def test_a_last_sample_that_is_too_old_is_stale_and_says_how_old() -> None:
    with pytest.raises(StaleError, match="the last sample is 20 s older"):
        latest(column(1.0, GAP, GAP), within_seconds=19.9)


@pytest.mark.parametrize("values", [(GAP, GAP), (float("inf"), -float("inf")), ()])
def test_a_series_without_a_finite_sample_is_no_data_and_not_zero(values: tuple[float, ...]) -> None:
    with pytest.raises(NoDataError):
        latest(column(*values), within_seconds=1e9)


def test_beyond_is_strict_on_both_sides_and_a_gap_is_not_beyond() -> None:
    found = beyond(column(0.0, 1.0, 1.1, GAP, -1.0), above=1.0, below=0.0)
    assert found.tolist() == [False, False, True, False, True]
    assert beyond(column(1.0, 2.0)).tolist() == [False, False]


@pytest.mark.parametrize(
    ("values", "bridging", "expected"),
    [
        ((0, 0, 2, 2, 2), 0, 2),
        ((0, 0, 0, 0, 2), 0, 4),
        ((0, 2, 0, 0, 0), 0, 1),  # over already, and it did begin there
        ((0, 2, 2, 0, 2), 0, 4),
        ((0, 2, 2, 0, 2), 10, 1),  # a pause of one sample is bridged
        ((0, 2, 0, 0, 2), 10, 4),  # one of two is not
        ((0, 2, 0, 0, 2), 20, 1),
        ((0, 2, GAP, GAP, 2), 0, 4),  # a gap is a pause and no sample beyond
        ((0, 2, GAP, GAP, 2), 20, 1),
        ((GAP, 0, 2, 2, GAP), 0, 2),
        ((0, 1, 1, 1, 1), 0, None),  # at the limit is not beyond it
        ((0, 0, 0, 0, 0), 0, None),
        ((2, 2, 2, 2, 2), 0, None),  # before anything was seen: nobody knows when
        ((GAP, GAP, 2, 2, 2), 0, None),
        ((2, 0, 2, 2, 2), 10, None),  # bridged to the first sample
        ((2, 0, 0, 2, 2), 0, 3),
        ((GAP, GAP, GAP, GAP, GAP), 0, None),
    ],
)
def test_began_is_the_start_of_the_last_episode(
    values: tuple[float, ...], bridging: float, expected: int | None
) -> None:
    found = began(column(*values), above=1.0, bridging_seconds=bridging)
    assert found == (None if expected is None else at(expected))


def test_began_is_aware_utc_and_looks_below_as_well() -> None:
    found = began(column(5.0, 5.0, 0.5, 0.4), below=1.0)
    assert found == at(2)
    assert found is not None
    assert found.utcoffset() == timedelta(0)


def test_a_series_of_one_sample_or_none_has_no_beginning() -> None:
    assert began(column(9.0), above=1.0) is None
    assert began(column(), above=1.0) is None


def test_infinity_is_beyond_a_limit() -> None:
    assert began(column(0.0, float("inf"), float("inf")), above=1.0) == at(1)


def test_usual_is_the_median_of_what_was_before() -> None:
    values = column(1.0, 2.0, GAP, 3.0, 90.0, 95.0)
    assert usual(values, at(3)) == 2.0
    assert usual(column(4.0, 5.0, 6.0), None) == 5.0


def test_a_rate_that_was_still_filling_is_not_the_usual() -> None:
    """A series that begins within the window: its first rates are of a window that was not yet full."""
    values = column(GAP, 1.0, 5.0, 9.0, 10.0, 10.0)
    assert usual(values, None, filling_seconds=30) == 10.0
    whole = column(1.0, 5.0, 9.0, 10.0, 10.0)
    assert usual(whole, None, filling_seconds=30) == 9.0  # it was there before the window was opened


@pytest.mark.parametrize("before", [START - timedelta(seconds=1), START + timedelta(seconds=20)])
def test_where_nothing_was_before_nobody_knows_what_is_usual(before: datetime) -> None:
    with pytest.raises(NoDataError, match="no earlier samples"):
        usual(column(GAP, 1.0, 2.0, 3.0), before, filling_seconds=20)
