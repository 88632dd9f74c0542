"""What many checks ask of a measured series, whatever it measures: how much, against what, and since when?

`level` judges a series against a limit, `change` against what was usual before it began, `share` a part of
a whole and `quantile` a histogram, both with a floor of traffic. `by_label` and `slowest` are the tables.
Each asks Prometheus and returns a Finding in the words of its caller, whose template may use the facts
`now` and `limit` and those named below. What has no sample raises NoDataError: it is never zero.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial

import numpy as np
import pandas as pd

from runbooklib import promql
from runbooklib.errors import NoDataError, NonsenseError, Reason
from runbooklib.findings import Fact, Finding, Status, breach, unknown
from runbooklib.promql import Histogram
from runbooklib.scene import Scene
from runbooklib.series import began, latest, unseen_seconds, usual
from runbooklib.tape import side_by_side
from runbooklib.window import seconds_of

# A share of fewer than this is chance, not a finding; a quantile of fewer is the highest of a few.
LEAST_OF_A_SHARE = 20.0
LEAST_OF_A_QUANTILE = 5.0
_THIN = "{counted:number} {what} in {window} are too few to judge them by; it takes {least:number}."
_GUESS = " It lies, as the limit does, between the buckets {lower:seconds} and {upper:seconds}: a guess."
_OFF_THE_SCALE = " The histogram ends there: it may be much more."


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """How a measure is told: the sentence, the name of its line in a chart, its unit, further facts.

    `sound` is the sentence where nothing is beyond the limit, if that wants another one.
    """

    template: str
    line: str
    unit: str = ""
    sound: str = ""
    facts: Mapping[str, Fact] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """Beyond what it is a finding, and how grave: `status`, and CRITICAL above `critical_above`."""

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


def fresh_seconds(scene: Scene) -> float:
    """How old the last sample of a rate may be: two steps and the rate window."""
    return 2 * scene.window.step_seconds + seconds_of(scene.timing.rate_window)


def line(scene: Scene, query: str, name: str) -> pd.DataFrame:
    """The one series of a query over the window, as the column `name`. Raises NoDataError."""
    frame = scene.sources.prometheus.range(query, scene.window).rename(columns={"value": name})
    if name not in frame:
        raise NoDataError("the query has no series in this window", system="prometheus")
    return frame


def level(scene: Scene, query: str, limit: Limit, words: Words) -> Finding:
    """The series at the end of the window against the limit."""
    frame = line(scene, query, words.line)
    return _judged(scene, frame, query, limit, words)


def change(scene: Scene, query: str, words: Words, *, above_times: float) -> Finding:
    """The series at the end of the window against `above_times` what was usual before it began.

    Facts: `usual`, `times` (now over usual). Nothing before it in the window is NoDataError; nothing where
    there used to be nothing is OK, and something where there was nothing is a finding.
    """
    frame = line(scene, query, words.line)
    was = _usual(scene, frame[words.line])
    now = newest(scene, frame[words.line])
    facts = {**words.facts, "usual": was, "times": now / was if was else None}
    return _judged(scene, frame, query, Limit(above=was * above_times), replace(words, facts=facts))


def fall(scene: Scene, query: str, words: Words, *, below_share: float) -> Finding:
    """The series at the end of the window against `below_share` (0–1) of what was usual before it began.

    Facts: `usual`. Where there used to be nothing, nothing can have been lost: NoDataError.
    """
    frame = line(scene, query, words.line)
    was = _usual(scene, frame[words.line])
    if was <= 0:
        raise NoDataError("there was nothing before it began either", system="prometheus")
    told = replace(words, facts={**words.facts, "usual": was})
    return _judged(scene, frame, query, Limit(below=was * below_share), told)


def newest(scene: Scene, column: "pd.Series[float]") -> float:
    """The last sample of the window. Raises NoDataError for none, StaleError for an old one."""
    return latest(column, within_seconds=fresh_seconds(scene))


def _usual(scene: Scene, column: "pd.Series[float]") -> float:
    filling = seconds_of(scene.timing.rate_window)
    return usual(column, _before_it_began(scene), filling_seconds=filling)


def _before_it_began(scene: Scene) -> datetime | None:
    """Until when things were as usual: a rate window before the onset; None where nothing is wrong.

    Raises NoDataError where it began before anything was seen.
    """
    if scene.onset is not None:
        return scene.onset - timedelta(seconds=seconds_of(scene.timing.rate_window))
    if scene.is_disturbed:
        raise NoDataError(
            "it began before this window, so there is nothing to compare with",
            system="prometheus",
            remedy="give a longer lookback",
        )
    return None


def _judged(scene: Scene, frame: pd.DataFrame, query: str, limit: Limit, words: Words) -> Finding:
    column = frame[words.line]
    now = newest(scene, column)
    status = limit.judge(now)
    since = began(column, above=limit.above, below=limit.below, bridging_seconds=fresh_seconds(scene))
    return Finding(
        status=status,
        template=words.sound or words.template if status is Status.OK else words.template,
        facts={"now": now, "limit": limit.value, **words.facts},
        measured=now,
        limit=limit.value,
        unit=words.unit,
        since=since,
        blur_seconds=seconds_of(scene.timing.rate_window) + unseen_seconds(column, since),
        source="prometheus",
        query=query,
        series=frame,
    )


def share(
    scene: Scene,
    part: str,
    whole: str,
    limit: Limit,
    words: Words,
    *,
    what: str,
    least: float = LEAST_OF_A_SHARE,
) -> Finding:
    """The rate of the selector `part` over that of `whole`, 0–1, at the end of the window.

    Fewer than `least` of the whole (`what` they are, in words) in the rate window is UNKNOWN.
    """
    window = scene.timing.rate_window
    query = promql.share(promql.rate(part, window), promql.rate(whole, window))
    counted = count(scene, whole)
    if counted < least:
        return _thin(scene, query, counted, least, what)
    return level(scene, query, limit, words)


def count(scene: Scene, selector: str) -> float:
    """By how much the counter grew in the last rate window. Raises NoDataError where it does not exist."""
    return _one(scene, promql.sum_of(promql.increase(selector, scene.timing.rate_window)))


def _one(scene: Scene, query: str) -> float:
    frame = scene.sources.prometheus.instant(query, scene.window.end)
    return number(frame, "there is no such series for this service")


def number(answer: pd.DataFrame, missing: str) -> float:
    """The first value of an instant answer. Raises NoDataError, which says what is missing, and for NaN."""
    if answer.empty:
        raise NoDataError(missing, system="prometheus", remedy="see whether the target is still scraped")
    value = float(answer["value"].iloc[0])
    if not np.isfinite(value):
        raise NoDataError(f"the answer is {value}, which is no number to judge by", system="prometheus")
    return value


def _thin(scene: Scene, query: str, counted: float, least: float, what: str) -> Finding:
    return unknown(
        Reason.THIN_TRAFFIC,
        _THIN,
        facts={"counted": counted, "what": what, "window": scene.timing.rate_window, "least": least},
        source="prometheus",
        query=query,
    )


def quantile(
    scene: Scene,
    histogram: Histogram,
    limit: Limit,
    words: Words,
    *,
    q: float,
    what: str,
    least: float = LEAST_OF_A_QUANTILE,
) -> Finding:
    """The quantile (0–1) of a histogram at the end of the window, in the histogram's unit.

    Fewer than `least` observations (`what` they are, in words) in the rate window is UNKNOWN. A quantile is
    interpolated within its bucket: where the limit lies in the same bucket, the finding says so.
    """
    window, ask = scene.timing.rate_window, scene.sources.prometheus
    query = histogram.quantile(q, window)
    counted, bounds = side_by_side(
        [
            partial(ask.instant, histogram.counted(window), scene.window.end),
            partial(ask.instant, histogram.bounds(), scene.window.end),
        ]
    )
    if counted.empty or bounds.empty:
        raise NoDataError(f"there is no histogram {histogram.name} for this service", system="prometheus")
    observed = number(counted, "")
    if observed < least:
        return _thin(scene, query, observed, least, what)
    finding = level(scene, query, limit, words)
    return _interpolated(finding, sorted(bounds["le"].astype(float)))


def _interpolated(finding: Finding, bounds: list[float]) -> Finding:
    """The finding with a word on how far the buckets allow it to be judged."""
    now, limit = finding.measured, finding.limit
    if now is None or limit is None:
        return finding
    finite = [bound for bound in bounds if bound != float("inf")]
    if finite and now >= finite[-1]:
        return _with(finding, _OFF_THE_SCALE, {})
    lower = max((bound for bound in finite if bound < now), default=0.0)
    upper = min((bound for bound in finite if bound >= now), default=lower)
    if lower < limit < upper:
        return _with(finding, _GUESS, {"lower": lower, "upper": upper})
    return finding


def _with(finding: Finding, more: str, facts: Mapping[str, Fact]) -> Finding:
    return replace(finding, template=finding.template + more, facts={**finding.facts, **facts})


def slowest(
    scene: Scene, histogram: Histogram, *, by: str, q: float, above: float, words: Words, top: int = 5
) -> Finding:
    """The quantile (0–1) of each value of a label, slowest first; those without traffic are left out.

    Facts: `beyond` (how many are above), `all`, `worst`, `now` (its quantile).
    """
    query = histogram.quantile(q, scene.timing.rate_window, by=(by,))
    return by_label(
        scene, query, by=by, above=above, words=words, column=f"P{q * 100:g} {words.unit}", top=top
    )


def by_label(
    scene: Scene, query: str, *, by: str, above: float, words: Words, column: str, top: int = 5
) -> Finding:
    """The value of a query for each value of a label, highest first, as a table with that `column`.

    Facts as for `slowest`. What has no traffic has no value and is left out.
    """
    frame = scene.sources.prometheus.instant(query, scene.window.end)
    known = frame[frame["value"].notna()] if len(frame) else frame
    if known.empty:
        raise NoDataError("there was no traffic to judge", system="prometheus")
    rows = known.sort_values("value", ascending=False).reset_index(drop=True)
    beyond = rows[rows["value"] > above]
    if not np.isfinite(rows["value"]).all() and not np.isfinite(beyond["value"]).any():
        raise NonsenseError("an infinite value cannot be judged", system="prometheus")
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
        series=_history(scene, query, by, list(rows[by].head(top))) if len(beyond) else None,
    )


def _history(scene: Scene, query: str, by: str, names: Iterable[str]) -> pd.DataFrame:
    frame = scene.sources.prometheus.range(query, scene.window, by=by)
    return frame[[name for name in names if name in frame]]
