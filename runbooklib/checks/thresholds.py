"""Measurements that many checks share: the value of a series, its limit, and since when it is beyond.

`level` compares a series with a limit, `change` and `fall` with the usual value before the onset, `share` the
ratio of two counters and `quantile` a histogram, both with a minimum of traffic. `by_label` and `slowest`
give tables. Each asks Prometheus and returns a Finding with the caller's wording, whose template may use the
facts `now` and `limit` and those named below. A series without samples raises NoDataError: it is never zero.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial

import numpy as np
import pandas as pd

from runbooklib.checks.time_series import began, latest, unseen_seconds, usual
from runbooklib.errors import NoDataError, NonsenseError, Reason
from runbooklib.model.findings import Fact, Finding, Status, breach, unknown
from runbooklib.model.window import seconds_of
from runbooklib.promql import build
from runbooklib.promql.build import Histogram
from runbooklib.sources.context import Context
from runbooklib.sources.tape import side_by_side

# Below these numbers of requests, a share is chance, and a quantile is the maximum of a few values.
MIN_OF_A_SHARE = 20.0
MIN_OF_A_QUANTILE = 5.0
_THIN = "{counted:number} {what:term} in {window} are too few for a judgement; the minimum is {least:number}."
_ESTIMATE = (
    "This is an estimate: the limit lies in the same bucket, between {lower:seconds} and {upper:seconds}."
)
_OFF_THE_SCALE = "The real value may be much higher: the histogram has no larger bucket."


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """The wording of a measurement: its sentence, the name of its line in a chart, its unit, further facts.

    `sound` is the sentence for OK; if it is empty, `template` is used for each status.
    """

    template: str
    line: str
    unit: str = ""
    sound: str = ""
    facts: Mapping[str, Fact] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """Limits of a measurement: `status` beyond `above` or `below`, CRITICAL above `critical_above`."""

    above: float | None = None
    below: float | None = None
    critical_above: float | None = None
    status: Status = Status.WARNING

    @property
    def value(self) -> float | None:
        """The limit that a chart shows."""
        return self.above if self.above is not None else self.below

    def judge(self, measured: float) -> Status:
        """The status of a measured value that is not NaN."""
        return breach(
            measured,
            above=self.above,
            below=self.below,
            status=self.status,
            critical_above=self.critical_above,
        )


def fresh_seconds(context: Context) -> float:
    """The maximum age in seconds of the last sample of a rate: two steps and the rate window."""
    return 2 * context.window.step_seconds + seconds_of(context.timing.rate_window)


def line(context: Context, query: str, name: str) -> pd.DataFrame:
    """The only series of a query over the window, as the column `name`. Raises NoDataError."""
    frame = context.sources.prometheus.range(query, context.window).rename(columns={"value": name})
    if name not in frame:
        raise NoDataError("the query has no series in this window", system="prometheus")
    return frame


def level(context: Context, query: str, limit: Threshold, words: Wording) -> Finding:
    """Compare the value at the end of the window with the limit."""
    frame = line(context, query, words.line)
    return _judged(context, frame, query, limit, words)


def change(context: Context, query: str, words: Wording, *, above_times: float) -> Finding:
    """Compare the value at the end of the window with `above_times` the usual value before the onset.

    Facts: `usual`, `times` (now over usual). If the usual value is 0, a value of 0 is OK and any other is
    beyond the limit. Raises NoDataError if the window has no samples before the onset.
    """
    frame = line(context, query, words.line)
    usual_value = _usual(context, frame[words.line])
    now = newest(context, frame[words.line])
    facts = {**words.facts, "usual": usual_value, "times": now / usual_value if usual_value else None}
    return _judged(
        context, frame, query, Threshold(above=usual_value * above_times), replace(words, facts=facts)
    )


def fall(context: Context, query: str, words: Wording, *, below_share: float) -> Finding:
    """Compare the value at the end of the window with `below_share` (0–1) of the usual value.

    Facts: `usual`. Raises NoDataError if the usual value is 0, since nothing can fall below it.
    """
    frame = line(context, query, words.line)
    usual_value = _usual(context, frame[words.line])
    if usual_value <= 0:
        raise NoDataError("the value before the onset was 0 as well", system="prometheus")
    wording = replace(words, facts={**words.facts, "usual": usual_value})
    return _judged(context, frame, query, Threshold(below=usual_value * below_share), wording)


def newest(context: Context, column: "pd.Series[float]") -> float:
    """The last sample of the window. Raises NoDataError without a sample, StaleError if it is too old."""
    return latest(column, within_seconds=fresh_seconds(context))


def _usual(context: Context, column: "pd.Series[float]") -> float:
    return usual(column, _end_of_usual(context), filling_seconds=seconds_of(context.timing.rate_window))


def _end_of_usual(context: Context) -> datetime | None:
    """One rate window before the onset; None if nothing is wrong.

    Raises NoDataError if the incident began before the window.
    """
    if context.onset is not None:
        return context.onset - timedelta(seconds=seconds_of(context.timing.rate_window))
    if context.is_disturbed:
        raise NoDataError(
            "the incident began before this window, so the usual value is unknown",
            system="prometheus",
            hint="use a longer lookback",
        )
    return None


def _judged(context: Context, frame: pd.DataFrame, query: str, limit: Threshold, words: Wording) -> Finding:
    column = frame[words.line]
    now = newest(context, column)
    status = limit.judge(now)
    since = began(column, above=limit.above, below=limit.below, bridging_seconds=fresh_seconds(context))
    return Finding(
        status=status,
        template=words.sound or words.template if status is Status.OK else words.template,
        facts={"now": now, "limit": limit.value, **words.facts},
        measured=now,
        limit=limit.value,
        unit=words.unit,
        since=since,
        blur_seconds=seconds_of(context.timing.rate_window) + unseen_seconds(column, since),
        source="prometheus",
        query=query,
        series=frame,
    )


def share(
    context: Context,
    part: str,
    whole: str,
    limit: Threshold,
    words: Wording,
    *,
    what: str,
    least: float = MIN_OF_A_SHARE,
) -> Finding:
    """Compare the rate of the selector `part` over that of `whole` (0–1) with the limit.

    Fewer than `least` of the whole in the rate window give UNKNOWN; `what` is the term for them.
    """
    window = context.timing.rate_window
    query = build.share(build.rate(part, window), build.rate(whole, window))
    counted = count(context, whole)
    if counted < least:
        return _thin(context, query, counted, least, what)
    return level(context, query, limit, words)


def count(context: Context, selector: str) -> float:
    """The increase of the counter in the last rate window. Raises NoDataError without such a series."""
    return _one(context, build.sum_of(build.increase(selector, context.timing.rate_window)))


def _one(context: Context, query: str) -> float:
    frame = context.sources.prometheus.instant(query, context.window.end)
    return number(frame, "there is no such series for this service")


def number(answer: pd.DataFrame, missing: str) -> float:
    """The first value of an instant answer.

    Raises NoDataError with the message `missing` for an empty answer, and for NaN and infinity.
    """
    if answer.empty:
        raise NoDataError(missing, system="prometheus", hint="check that the target is scraped")
    value = float(answer["value"].iloc[0])
    if not np.isfinite(value):
        raise NoDataError(
            f"the query returned {value}, which cannot be compared with the limit", system="prometheus"
        )
    return value


def _thin(context: Context, query: str, counted: float, least: float, what: str) -> Finding:
    return unknown(
        Reason.THIN_TRAFFIC,
        _THIN,
        facts={"counted": counted, "what": what, "window": context.timing.rate_window, "least": least},
        source="prometheus",
        query=query,
    )


def quantile(
    context: Context,
    histogram: Histogram,
    limit: Threshold,
    words: Wording,
    *,
    q: float,
    what: str,
    least: float = MIN_OF_A_QUANTILE,
) -> Finding:
    """Compare the quantile `q` (0–1) of a histogram, in its unit, with the limit.

    Fewer than `least` observations in the rate window give UNKNOWN; `what` is the term for them. A quantile
    is interpolated within its bucket: if the limit lies in the same bucket, the finding says so.
    """
    window, ask = context.timing.rate_window, context.sources.prometheus
    query = histogram.quantile(q, window)
    counted, bounds = side_by_side(
        [
            partial(ask.instant, histogram.counted(window), context.window.end),
            partial(ask.instant, histogram.bounds(), context.window.end),
        ]
    )
    if counted.empty or bounds.empty:
        raise NoDataError(f"there is no histogram {histogram.name} for this service", system="prometheus")
    observed = number(counted, "")
    if observed < least:
        return _thin(context, query, observed, least, what)
    finding = level(context, query, limit, words)
    return _interpolated(finding, sorted(bounds["le"].astype(float)))


def _interpolated(finding: Finding, bounds: list[float]) -> Finding:
    """The finding, with a sentence about the precision of the buckets where it matters."""
    now, limit = finding.measured, finding.limit
    if now is None or limit is None:
        return finding
    finite = [bound for bound in bounds if bound != float("inf")]
    if finite and now >= finite[-1]:
        return _with(finding, _OFF_THE_SCALE, {})
    lower = max((bound for bound in finite if bound < now), default=0.0)
    upper = min((bound for bound in finite if bound >= now), default=lower)
    if lower < limit < upper:
        return _with(finding, _ESTIMATE, {"lower": lower, "upper": upper})
    return finding


def _with(finding: Finding, template: str, facts: Mapping[str, Fact]) -> Finding:
    templates = (*finding.further_templates, template)
    return replace(finding, further_templates=templates, facts={**finding.facts, **facts})


def slowest(
    context: Context, histogram: Histogram, *, by: str, q: float, above: float, words: Wording, top: int = 5
) -> Finding:
    """The quantile `q` (0–1) for each value of the label `by` with traffic, slowest first.

    Facts: `beyond` (how many are above the limit), `all`, `worst` (the slowest value), `now` (its quantile).
    """
    query = histogram.quantile(q, context.timing.rate_window, by=(by,))
    return by_label(
        context, query, by=by, above=above, words=words, column=f"P{q * 100:g} {words.unit}", top=top
    )


def by_label(
    context: Context, query: str, *, by: str, above: float, words: Wording, column: str, top: int = 5
) -> Finding:
    """The value of a query for each value of the label `by`, highest first, as a table with that `column`.

    Facts as for `slowest`. Label values without traffic are left out.
    """
    frame = context.sources.prometheus.instant(query, context.window.end)
    known = frame[frame["value"].notna()] if len(frame) else frame
    if known.empty:
        raise NoDataError("there was no traffic", system="prometheus")
    rows = known.sort_values("value", ascending=False).reset_index(drop=True)
    beyond = rows[rows["value"] > above]
    if not np.isfinite(rows["value"]).all() and not np.isfinite(beyond["value"]).any():
        raise NonsenseError(
            "the query returned an infinite value, which cannot be compared with the limit",
            system="prometheus",
        )
    worst = float(rows["value"].iloc[0])
    facts: dict[str, Fact] = {"beyond": len(beyond), "all": len(rows), "limit": above, "now": worst}
    shown = rows.head(top)[[by, "value"]].rename(columns={"value": column, by: by.replace("_", " ")})
    return Finding(
        status=Status.WARNING if len(beyond) else Status.OK,
        template=words.template if len(beyond) else words.sound,
        facts={**facts, "worst": str(rows[by].iloc[0])},
        measured=worst,
        limit=above,
        unit=words.unit,
        source="prometheus",
        query=query,
        rows=shown if len(beyond) else None,
        series=_history(context, query, by, list(rows[by].head(top))) if len(beyond) else None,
    )


def _history(context: Context, query: str, by: str, names: Iterable[str]) -> pd.DataFrame:
    frame = context.sources.prometheus.range(query, context.window, by=by)
    return frame[[name for name in names if name in frame]]
