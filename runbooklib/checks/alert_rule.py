"""The alert itself: is its rule true, is it firing, and which other alerts are?

A check for any alert by its own expression, for rules without a check of their own.
"""

import math
from datetime import datetime

import pandas as pd

from runbooklib.checks import own_pages
from runbooklib.checks.needed_series import need_all, need_any
from runbooklib.checks.registry import check
from runbooklib.checks.time_series import began
from runbooklib.model.alert import Alert
from runbooklib.model.findings import Fact, Finding, Status
from runbooklib.promql import build, reading
from runbooklib.promql.reading import Condition
from runbooklib.sources.context import Context

_SEVERITIES = {"critical": Status.CRITICAL}


@check
def alert_rule(context: Context) -> Finding:
    """Is the alert's own rule true?

    The rule's expression in Prometheus, evaluated at the end of the window. The start is that of the pending
    or firing ALERTS series, which also works for the past. A rule whose series are all missing is UNKNOWN.
    A rule about failed requests may be true although only requests to the service's own pages fail: then the
    finding says so, is a WARNING, and gives no start of the symptom.
    """
    ask = context.sources.prometheus
    rule = ask.rule(context.alert)
    true_series = ask.instant(rule.query, context.window.end)
    if true_series.empty:
        need_any(context, rule.query)
    pages = own_pages.failing_in_rule(context, rule.query) if len(true_series) else ""
    if pages:
        return _true_by_own_pages(rule.query, pages)
    states = ask.range(build.selector("ALERTS", {"alertname": context.alert}), context.window)
    active = states.max(axis=1) if len(states.columns) else pd.Series(0.0, index=states.index)
    severity = _SEVERITIES.get(rule.labels.get("severity", ""), Status.WARNING)
    worst = float(true_series["value"].abs().max()) if len(true_series) else None
    # ALERTS has no sample while the alert is inactive: for this series, a gap means "inactive".
    since = began(active.fillna(0.0), above=0.5, bridging_seconds=2 * context.window.step_seconds)
    return Finding(
        status=severity if len(true_series) else Status.OK,
        template=(
            "The rule is true for {series} series. The largest value is {worst:number}, the severity is "
            "{severity}."
            if len(true_series)
            else "The rule is not true at the end of this window."
        ),
        facts={"worst": worst, "series": len(true_series), "severity": rule.labels.get("severity", "")},
        measured=worst,
        since=since if len(true_series) else None,
        source="prometheus",
        query=rule.query,
    )


def _true_by_own_pages(query: str, pages: str) -> Finding:
    """The rule is true, but no user's request fails. Without `measured` and `since` it shows no incident."""
    return Finding(
        status=Status.WARNING,
        template=(
            "The rule is true only because requests to {pages} fail, the service's own pages. No user's "
            "request fails. Leave these pages out of the rule."
        ),
        facts={"pages": pages},
        source="prometheus",
        query=query,
    )


@check
def firing_alert(context: Context) -> Finding:
    """Is the alert firing in Alertmanager, and is a notification sent?

    Silenced and inhibited alerts count as firing, and the finding says so. Alerts of other services do not
    count.
    """
    context.need_live("alertmanager")
    alerts = [alert for alert in context.sources.alertmanager.alerts(context.alert) if context.is_ours(alert)]
    if not alerts:
        return Finding(
            status=Status.OK,
            template="{alert} is not firing in Alertmanager.",
            facts={"alert": context.alert},
            source="alertmanager",
            query=f"alerts with alertname={context.alert}",
        )
    worst = max(alerts, key=lambda alert: _SEVERITIES.get(alert.labels.get("severity", ""), Status.WARNING))
    starts = [alert.starts_at for alert in alerts if alert.starts_at]
    return Finding(
        status=_SEVERITIES.get(worst.labels.get("severity", ""), Status.WARNING),
        template=_notification(worst),
        facts={"alert": context.alert, "since": min(starts, default=None)},
        since=min(starts, default=None),
        source="alertmanager",
        query=f"alerts with alertname={context.alert}",
    )


def _notification(alert: Alert) -> str:
    if alert.silenced_by:
        return "{alert} has been firing since {since:time}. It is silenced."
    if alert.inhibited_by:
        return "{alert} has been firing since {since:time}. It is inhibited by another alert."
    return "{alert} has been firing since {since:time}. Notifications are sent."


@check
def related_alerts(context: Context) -> Finding:
    """Which other alerts are firing?"""
    context.need_live("alertmanager")
    others = [alert for alert in context.sources.alertmanager.alerts() if alert.name != context.alert]
    rows = pd.DataFrame(
        [
            {
                "alert": alert.name,
                "severity": alert.labels.get("severity", ""),
                "component": alert.labels.get("component", ""),
                "state": alert.state,
                "since": alert.starts_at,
            }
            for alert in others
        ]
    )
    return Finding(
        status=Status.WARNING if others else Status.OK,
        template="Other firing alerts: {names}." if others else "No other alert is firing.",
        facts={"names": ", ".join(sorted({alert.name for alert in others}))},
        source="alertmanager",
        query="alerts",
        rows=_grouped(rows) if others else None,
    )


def _grouped(rows: pd.DataFrame) -> pd.DataFrame:
    """One row for all series of the same alert, oldest first."""
    same = rows.groupby(["alert", "severity", "component", "state"], sort=False)
    return same.agg(series=("since", "size"), since=("since", "min")).reset_index().sort_values("since")


_MAX_SERIES = 6
_RULE_SEVERITIES = {"critical": Status.CRITICAL, "page": Status.CRITICAL}
_KINDS = {"seconds": "seconds", "bytes": "bytes", "ratio": "percent"}

# With these in the expression, the unit of the metric's name is not the unit of the result.
_OTHER_UNIT = ("rate(", "increase(", "deriv(", "changes(", "resets(", "count", " / ", " * ")
_COMPARED = {
    "number": "The worst value is {worst:number}; the condition is {operator} {threshold:number}.",
    "seconds": "The worst value is {worst:seconds}; the condition is {operator} {threshold:seconds}.",
    "bytes": "The worst value is {worst:bytes}; the condition is {operator} {threshold:bytes}.",
    "percent": "The worst value is {worst:percent}; the condition is {operator} {threshold:percent}.",
    "series": "The worst value is {worst:number}; the condition is {operator} {other}.",
}
_NOT_COMPARED = "No series has a value that can be compared."


@check
def alert_expression(context: Context, *, expression: str, severity: str = "warning") -> Finding:
    """Is the alert's own condition true?

    The whole expression at the end of the window, and its measured side over the window with the threshold,
    the worst series first. A condition that is not true is OK only if all its series exist; a missing series
    gives UNKNOWN. Raises ParameterError for invalid PromQL.
    """
    condition = reading.condition_of(expression)
    true_series = context.sources.prometheus.instant(expression, context.window.end)
    if true_series.empty:
        need_all(context, expression)
    elif pages := own_pages.failing_in_rule(context, expression):
        return _true_by_own_pages(expression, pages)
    status = _RULE_SEVERITIES.get(severity, Status.WARNING) if len(true_series) else Status.OK
    since = _since(context, expression) if len(true_series) else None
    if condition is None:
        return _without_threshold(expression, true_series, status, since)
    frame = context.sources.prometheus.range(condition.measured, context.window)
    return _measured(
        expression, condition, _shortened(_worst_first(frame, condition)), true_series, status, since
    )


def _since(context: Context, expression: str) -> datetime | None:
    """When the condition became true for the first of the series for which it is true now.

    The answer of a whole condition has a gap where the condition is not true.
    """
    frame = context.sources.prometheus.range(expression, context.window)
    is_true = frame.loc[:, _last(frame).notna()].notna().any(axis="columns").astype(float)
    return began(is_true, above=0.5, bridging_seconds=2 * context.window.step_seconds)


def _without_threshold(
    expression: str, true_series: pd.DataFrame, status: Status, since: datetime | None
) -> Finding:
    """A condition without a threshold: it is true for each series of its answer."""
    sound = "The condition is true for no series."
    if reading.is_absence(expression):
        sound = "The series whose absence would raise the alert exists."
    return Finding(
        status=status,
        template="The condition is true for {count} series." if len(true_series) else sound,
        facts={"count": len(true_series)},
        measured=float(len(true_series)),
        unit="count",
        since=since,
        source="prometheus",
        query=expression,
        rows=_table(true_series.iloc[:_MAX_SERIES]) if len(true_series) else None,
    )


def _measured(
    query: str,
    condition: Condition,
    frame: pd.DataFrame,
    true_series: pd.DataFrame,
    status: Status,
    since: datetime | None,
) -> Finding:
    worst, unit = _number(_last(frame)), _unit(condition)
    facts: dict[str, Fact] = {
        "count": len(true_series),
        "worst": worst,
        "operator": condition.operator,
        "threshold": condition.threshold,
        "other": condition.other,
    }
    kind = "series" if condition.threshold is None else _KINDS.get(unit, "number")
    worst_first = true_series.loc[_order(true_series["value"], condition)[:_MAX_SERIES]]
    return Finding(
        status=status,
        template="The condition is true for {count} series."
        if len(true_series)
        else "The condition is not true.",
        further_templates=(_COMPARED[kind] if len(true_series) or worst is not None else _NOT_COMPARED,),
        facts=facts,
        measured=worst,
        limit=condition.threshold,
        unit=unit,
        since=since,
        source="prometheus",
        query=query,
        series=frame if len(frame.columns) else None,
        rows=_table(worst_first) if len(true_series) else None,
    )


def _worst_first(frame: pd.DataFrame, condition: Condition) -> pd.DataFrame:
    """The series nearest to the condition, or beyond it, at the end of the window; ended series come last."""
    return pd.DataFrame(frame[list(_order(_last(frame), condition)[:_MAX_SERIES])])


def _last(frame: pd.DataFrame) -> "pd.Series[float]":
    """The last value of each series within the last two steps; NaN if it ended before."""
    return frame.iloc[-2:].ffill().iloc[-1] if len(frame.columns) else pd.Series(dtype=float)


def _number(values: "pd.Series[float]") -> float | None:
    """The first value; None if it is not a finite number."""
    return float(values.iloc[0]) if len(values) and math.isfinite(values.iloc[0]) else None


def _order(values: "pd.Series[float]", condition: Condition) -> "pd.Index[str]":
    if condition.threshold is not None and condition.operator in ("==", "!="):
        values = (values - condition.threshold).abs()
    return values.sort_values(ascending=condition.operator in ("<", "<=", "==")).index


def _unit(condition: Condition) -> str:
    """The unit by the name of a single metric, or "ratio" for a ratio of one metric to itself."""
    names, text = reading.metrics(condition.measured), condition.measured
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
    """The frame with columns named by the labels in which they differ."""
    parts = [set(str(name).split(",")) for name in frame.columns]
    if len(parts) < 2:
        return frame
    same = set.intersection(*parts)
    names = [
        ",".join(p for p in str(name).split(",") if p not in same) or str(name) for name in frame.columns
    ]
    return frame.set_axis(names, axis="columns") if len(set(names)) == len(names) else frame


def _table(true_series: pd.DataFrame) -> pd.DataFrame:
    labels = [name for name in true_series.columns if name not in ("value", "__name__")]
    differing = [name for name in labels if true_series[name].nunique() > 1 or len(true_series) == 1]
    return true_series[[*differing, "value"]].reset_index(drop=True)
