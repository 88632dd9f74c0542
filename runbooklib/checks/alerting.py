"""The alert itself: is its rule true, is it firing, and which other alerts are?"""

import math

import pandas as pd

from runbooklib import promql
from runbooklib.alerts import Alert
from runbooklib.errors import NoDataError
from runbooklib.findings import Finding, Status
from runbooklib.scene import Scene
from runbooklib.series import began

_SEVERITIES = {"critical": Status.CRITICAL}


def alert_rule(scene: Scene) -> Finding:
    """Is the alert's own rule true?

    The rule's expression in Prometheus, evaluated at the end of the window. The start is that of the pending
    or firing ALERTS series, which also works for the past. A rule whose series are all missing is UNKNOWN.
    """
    ask = scene.sources.prometheus
    rule = ask.rule(scene.alert)
    true_series = ask.instant(rule.query, scene.window.end)
    if true_series.empty:
        _need_series(scene, rule.query)
    states = ask.range(promql.selector("ALERTS", {"alertname": scene.alert}), scene.window)
    active = states.max(axis=1) if len(states.columns) else pd.Series(0.0, index=states.index)
    severity = _SEVERITIES.get(rule.labels.get("severity", ""), Status.WARNING)
    worst = float(true_series["value"].abs().max()) if len(true_series) else None
    # ALERTS has no sample while the alert is inactive: for this series, a gap means "inactive".
    since = began(active.fillna(0.0), above=0.5, bridging_seconds=2 * scene.window.step_seconds)
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


def _need_series(scene: Scene, query: str) -> None:
    """Raises NoDataError if an alternative of the rule has no series, so that it cannot become true.

    One existing series is enough: a counter of errors has none before the first error.
    """
    for alternative in promql.alternatives(query):
        selectors = promql.rests_on(alternative)
        counted = scene.sources.prometheus.counts(selectors, scene.window.end)
        if selectors and not any(count is None or 0 < count < math.inf for count in counted):
            raise NoDataError(
                f"there is no series of {', '.join(selectors)[:200]}, so the rule cannot become true",
                system="prometheus",
                remedy="check that the target is scraped",
            )


def firing_alert(scene: Scene) -> Finding:
    """Is the alert firing in Alertmanager, and is a notification sent?

    Silenced and inhibited alerts count as firing, and the finding says so. Alerts of other services do not
    count.
    """
    scene.need_live("alertmanager")
    alerts = [alert for alert in scene.sources.alertmanager.alerts(scene.alert) if scene.is_ours(alert)]
    if not alerts:
        return Finding(
            status=Status.OK,
            template="{alert} is not firing in Alertmanager.",
            facts={"alert": scene.alert},
            source="alertmanager",
            query=f"alerts with alertname={scene.alert}",
        )
    worst = max(alerts, key=lambda alert: _SEVERITIES.get(alert.labels.get("severity", ""), Status.WARNING))
    starts = [alert.starts_at for alert in alerts if alert.starts_at]
    return Finding(
        status=_SEVERITIES.get(worst.labels.get("severity", ""), Status.WARNING),
        template=_notification(worst),
        facts={"alert": scene.alert, "since": min(starts, default=None)},
        since=min(starts, default=None),
        source="alertmanager",
        query=f"alerts with alertname={scene.alert}",
    )


def _notification(alert: Alert) -> str:
    if alert.silenced_by:
        return "{alert} has been firing since {since:time}. It is silenced."
    if alert.inhibited_by:
        return "{alert} has been firing since {since:time}. It is inhibited by another alert."
    return "{alert} has been firing since {since:time}. Notifications are sent."


def related_alerts(scene: Scene) -> Finding:
    """Which other alerts are firing?"""
    scene.need_live("alertmanager")
    others = [alert for alert in scene.sources.alertmanager.alerts() if alert.name != scene.alert]
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
