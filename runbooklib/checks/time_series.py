"""One measured series: its latest value, its usual value, and since when it is beyond a limit.

Pure functions on a float column with an aware UTC index. A gap is NaN and is never read as zero.
"""

from datetime import datetime, timedelta

import pandas as pd

from runbooklib.errors import NoDataError, StaleError


def finite(column: "pd.Series[float]") -> "pd.Series[float]":
    """The samples that are neither NaN nor infinite."""
    return column[column.abs() != float("inf")].dropna()


def latest(column: "pd.Series[float]", *, within_seconds: float) -> float:
    """The last finite sample.

    Raises NoDataError without a finite sample, StaleError if the last one is more than `within_seconds` older
    than the end of the index.
    """
    known = finite(column)
    if known.empty:
        raise NoDataError("there is no sample in this window", system="prometheus")
    age = (column.index[-1] - known.index[-1]).total_seconds()
    if age > within_seconds:
        raise StaleError(
            f"the last sample is {age:.0f} s older than the end of the window", system="prometheus"
        )
    return float(known.iloc[-1])


def beyond(
    column: "pd.Series[float]", *, above: float | None = None, below: float | None = None
) -> "pd.Series[bool]":
    """For each sample, whether it is beyond a limit; False for a gap."""
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
    """The start of the last episode beyond the limit. Pauses up to `bridging_seconds` do not end an episode.

    None if the series is never beyond the limit, and if it is beyond it from its first sample on: then the
    start is unknown.
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
    """The median of the samples until `before`, or of all samples.

    If the series starts within the index, its first `filling_seconds` do not count: a rate is too low until
    its window is filled. Raises NoDataError without such samples.
    """
    known = finite(column)
    if len(known) and known.index[0] > column.index[0]:
        known = known[known.index >= known.index[0] + timedelta(seconds=filling_seconds)]
    earlier = known if before is None else known[known.index <= before]
    if earlier.empty:
        raise NoDataError(
            "this window has no earlier samples, so the usual value is unknown",
            system="prometheus",
            hint="use a longer lookback",
        )
    return float(earlier.median())


def _step(column: "pd.Series[float]") -> timedelta:
    if len(column.index) < 2:
        return timedelta()
    return timedelta(seconds=(column.index[1] - column.index[0]).total_seconds())


def _utc(moment: pd.Timestamp) -> datetime:
    aware: datetime = moment.to_pydatetime()
    return aware
