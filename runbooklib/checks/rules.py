"""Any alert by its own expression: what a runbook asks of a rule that nobody wrote checks for."""

import math
from datetime import datetime
from functools import partial

import pandas as pd

from runbooklib import expression as promql
from runbooklib.errors import NoDataError
from runbooklib.expression import Condition
from runbooklib.findings import Fact, Finding, Status
from runbooklib.scene import Scene
from runbooklib.series import began, finite
from runbooklib.tape import side_by_side

_MOST_SERIES = 6
_SEVERITIES = {"critical": Status.CRITICAL, "page": Status.CRITICAL}
_KINDS = {"seconds": "seconds", "bytes": "bytes", "ratio": "percent"}
# What makes another unit of a series than its name says.
_OTHER_UNIT = ("rate(", "increase(", "deriv(", "changes(", "resets(", "count", " / ", " * ")


def alert_expression(scene: Scene, *, expression: str, severity: str = "warning") -> Finding:
    """Is the alert's own condition true?

    The whole expression at the end of the window, and its measured side over the window against its
    threshold, the worst series first. Not true is only OK where everything is there that could make it true:
    a missing series is not sound. Raises ParameterError for what is no PromQL.
    """
    condition = promql.condition_of(expression)
    holds = scene.sources.prometheus.instant(expression, scene.window.end)
    if holds.empty:
        _need_all(scene, expression)
    status = _SEVERITIES.get(severity, Status.WARNING) if len(holds) else Status.OK
    since = _since(scene, expression) if len(holds) else None
    if condition is None:
        return _without_threshold(expression, holds, status, since)
    frame = scene.sources.prometheus.range(condition.measured, scene.window)
    return _measured(expression, condition, _shortened(_worst_first(frame, condition)), holds, status, since)


def _need_all(scene: Scene, expression: str) -> None:
    """Raises NoDataError where the condition is not true because something is missing."""
    for alternative in promql.alternatives(expression):
        _need(scene, promql.rests_on(alternative))
        condition = promql.condition_of(alternative)
        for side in (condition.measured, condition.other) if condition else ():
            # A side with a comparison of its own is empty where that one is not true; what the comparison
            # rests on was there.
            if side and promql.condition_of(side) is None:
                _need(scene, (side,))


def _need(scene: Scene, queries: tuple[str, ...]) -> None:
    ask, end = scene.sources.prometheus, scene.window.end
    answers = side_by_side([partial(ask.instant, query, end) for query in queries])
    for query, answer in zip(queries, answers, strict=True):
        if finite(answer["value"]).empty:
            raise NoDataError(
                f"there is no sample of {query[:120]}, without which the alert cannot fire",
                system="prometheus",
                remedy="see whether the target is still scraped",
            )


def _since(scene: Scene, expression: str) -> datetime | None:
    """When the first of the series for which it is true became so.

    Of a whole condition, and here only, a gap does mean "not true".
    """
    frame = scene.sources.prometheus.range(expression, scene.window)
    is_true = frame.loc[:, _last(frame).notna()].notna().any(axis="columns").astype(float)
    return began(is_true, above=0.5, bridging_seconds=2 * scene.window.step_seconds)


def _without_threshold(
    expression: str, holds: pd.DataFrame, status: Status, since: datetime | None
) -> Finding:
    """A condition without a number: true for the series that it answers."""
    sound = "What it looks for is there."
    if not promql.is_absence(expression):
        sound = "The condition is true for nothing."
    return Finding(
        status=status,
        template="The condition is true for {count} series." if len(holds) else sound,
        facts={"count": len(holds)},
        measured=float(len(holds)),
        unit="count",
        since=since,
        source="prometheus",
        query=expression,
        rows=_table(holds.iloc[:_MOST_SERIES]) if len(holds) else None,
    )


def _measured(
    query: str,
    condition: Condition,
    frame: pd.DataFrame,
    holds: pd.DataFrame,
    status: Status,
    since: datetime | None,
) -> Finding:
    worst, unit = _number(_last(frame)), _unit(condition)
    facts: dict[str, Fact] = {
        "count": len(holds),
        "worst": worst,
        "operator": condition.operator,
        "threshold": condition.threshold,
        "other": condition.other,
    }
    worst_first = holds.loc[_order(holds["value"], condition)[:_MOST_SERIES]]
    return Finding(
        status=status,
        template=_template(condition, _KINDS.get(unit, "number"), is_true=len(holds) > 0, worst=worst),
        facts=facts,
        measured=worst,
        limit=condition.threshold,
        unit=unit,
        since=since,
        source="prometheus",
        query=query,
        series=frame if len(frame.columns) else None,
        rows=_table(worst_first) if len(holds) else None,
    )


def _template(condition: Condition, kind: str, *, is_true: bool, worst: float | None) -> str:
    told = "{operator} {other}" if condition.threshold is None else f"{{operator}} {{threshold:{kind}}}"
    if is_true:
        return (
            f"The condition is true for {{count}} series; the worst is {{worst:{kind}}}, and true is {told}."
        )
    if worst is None:
        return f"The condition is not true: no series comes as far as to be compared, and true is {told}."
    return f"The condition is not true: the nearest is {{worst:{kind}}}, and true is {told}."


def _worst_first(frame: pd.DataFrame, condition: Condition) -> pd.DataFrame:
    """The series that are nearest to the condition at the end, or beyond it; those that ended come last."""
    return pd.DataFrame(frame[list(_order(_last(frame), condition)[:_MOST_SERIES])])


def _last(frame: pd.DataFrame) -> "pd.Series[float]":
    """The value of each series in the last two steps; NaN where it ended before."""
    return frame.iloc[-2:].ffill().iloc[-1] if len(frame.columns) else pd.Series(dtype=float)


def _number(values: "pd.Series[float]") -> float | None:
    """The first of the values, where it is a number."""
    return float(values.iloc[0]) if len(values) and math.isfinite(values.iloc[0]) else None


def _order(values: "pd.Series[float]", condition: Condition) -> "pd.Index[str]":
    if condition.threshold is not None and condition.operator in ("==", "!="):
        values = (values - condition.threshold).abs()
    return values.sort_values(ascending=condition.operator in ("<", "<=", "==")).index


def _unit(condition: Condition) -> str:
    """The unit that the name of a single metric says, or a ratio of one metric to itself."""
    names, text = promql.metrics(condition.measured), condition.measured
    if len(names) != 1:
        return ""
    is_share = " / " in text and " * " not in text and condition.threshold is not None
    if names[0].endswith("_ratio") or (is_share and 0 <= (condition.threshold or 0) <= 1):
        return "ratio"
    if text.startswith("histogram_quantile(") or not any(word in text for word in _OTHER_UNIT):
        for suffix in ("seconds", "bytes"):
            if names[0].endswith(f"_{suffix}") or f"_{suffix}_" in names[0]:
                return suffix
    return ""


def _shortened(frame: pd.DataFrame) -> pd.DataFrame:
    """Columns called by the labels in which they differ."""
    parts = [set(str(name).split(",")) for name in frame.columns]
    if len(parts) < 2:
        return frame
    same = set.intersection(*parts)
    names = [
        ",".join(p for p in str(name).split(",") if p not in same) or str(name) for name in frame.columns
    ]
    return frame.set_axis(names, axis="columns") if len(set(names)) == len(names) else frame


def _table(holds: pd.DataFrame) -> pd.DataFrame:
    labels = [name for name in holds.columns if name not in ("value", "__name__")]
    differing = [name for name in labels if holds[name].nunique() > 1 or len(holds) == 1]
    return holds[[*differing, "value"]].reset_index(drop=True)
