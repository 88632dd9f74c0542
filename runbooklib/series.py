"""Questions about one measured series: what it is now, and since when it is beyond a limit.

Pure functions on a float column with an aware UTC index. A gap is NaN and is never read as zero.
"""

from datetime import datetime, timedelta

import pandas as pd

from runbooklib.errors import NoDataError, StaleError


def finite(column: "pd.Series[float]") -> "pd.Series[float]":
    """The samples that are numbers: neither NaN nor infinite."""
    return column[column.abs() != float("inf")].dropna()


def latest(column: "pd.Series[float]", *, within_seconds: float) -> float:
    """The last sample, which must not be older than `within_seconds` before the end of the index.

    Raises NoDataError where there is no finite sample at all, StaleError where the last is too old.
    """
    known = finite(column)
    if known.empty:
        raise NoDataError("there is no sample in this window", system="prometheus")
    age = (column.index[-1] - known.index[-1]).total_seconds()
    if age > within_seconds:
        raise StaleError(f"the last sample is {age:.0f} s older than the window's end", system="prometheus")
    return float(known.iloc[-1])


def beyond(
    column: "pd.Series[float]", *, above: float | None = None, below: float | None = None
) -> "pd.Series[bool]":
    """Where the column is beyond a limit; a gap is not."""
    over = column > above if above is not None else pd.Series(data=False, index=column.index)
    under = column < below if below is not None else pd.Series(data=False, index=column.index)
    return over | under


def began(
    column: "pd.Series[float]",
    *,
    above: float | None = None,
    below: float | None = None,
    bridging_seconds: float = 0.0,
) -> datetime | None:
    """When the last episode beyond the limit began; pauses up to `bridging_seconds` do not end it.

    None where the limit was never passed, and where the series was beyond it from its first sample on:
    then it began before anything was seen, and nobody knows when.
    """
    known = column.dropna()
    over = known[beyond(known, above=above, below=below)]
    if over.empty:
        return None
    first = over.index[-1]
    for moment in reversed(over.index[:-1]):
        if first - moment > timedelta(seconds=bridging_seconds) + _step(column):
            break
        first = moment
    return None if first == known.index[0] else _utc(first)


def unseen_seconds(column: "pd.Series[float]", since: datetime | None) -> float:
    """How much earlier than `since` it may have begun: how long no sample was seen before that moment."""
    if since is None:
        return 0.0
    known = column.dropna().index
    earlier = known[known < since]
    if not len(earlier):
        return 0.0
    unseen: timedelta = since - _utc(earlier[-1]) - _step(column)
    return max(unseen.total_seconds(), 0.0)


def usual(column: "pd.Series[float]", before: datetime | None, *, filling_seconds: float = 0.0) -> float:
    """The median of what was measured until `before`, or of everything. Raises NoDataError for nothing.

    Of a series that begins within the index, the first `filling_seconds` do not count: a rate over a window
    that is not yet filled is too low.
    """
    known = finite(column)
    if len(known) and known.index[0] > column.index[0]:
        known = known[known.index >= known.index[0] + timedelta(seconds=filling_seconds)]
    earlier = known if before is None else known[known.index <= before]
    if earlier.empty:
        raise NoDataError(
            "there is nothing earlier in this window to compare with",
            system="prometheus",
            remedy="give a longer lookback",
        )
    return float(earlier.median())


def _step(column: "pd.Series[float]") -> timedelta:
    if len(column.index) < 2:
        return timedelta()
    return timedelta(seconds=(column.index[1] - column.index[0]).total_seconds())


def _utc(moment: pd.Timestamp) -> datetime:
    aware: datetime = moment.to_pydatetime()
    return aware
