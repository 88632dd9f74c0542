"""The alert itself: does its rule hold, is it firing, what else is?"""

import math

import pandas as pd

from runbooklib import expression, promql
from runbooklib.errors import NoDataError
from runbooklib.findings import Finding, Status
from runbooklib.scene import Scene
from runbooklib.series import began

_SEVERITIES = {"critical": Status.CRITICAL}


def alert_rule(scene: Scene) -> Finding:
    """Is the alert real: does its own rule hold?

    The rule's expression as Prometheus has it, evaluated at the end of the window, and since when it
    has been pending or firing (from the ALERTS series, so that it holds for the past as well). A rule whose
    series are all gone cannot hold, and is UNKNOWN.
    """
    ask = scene.sources.prometheus
    rule = ask.rule(scene.alert)
    holds = ask.instant(rule.query, scene.window.end)
    if holds.empty:
        _need_series(scene, rule.query)
    states = ask.range(promql.selector("ALERTS", {"alertname": scene.alert}), scene.window)
    active = states.max(axis=1) if len(states.columns) else pd.Series(0.0, index=states.index)
    severity = _SEVERITIES.get(rule.labels.get("severity", ""), Status.WARNING)
    worst = float(holds["value"].abs().max()) if len(holds) else None
    # ALERTS has no sample while the alert is inactive: here, and only here, a gap does mean "not active".
    since = began(active.fillna(0.0), above=0.5, bridging_seconds=2 * scene.window.step_seconds)
    return Finding(
        status=severity if len(holds) else Status.OK,
        template=(
            "The rule holds: {worst:number} from {series} series, severity {severity}."
            if len(holds)
            else "The rule does not hold at the end of this window."
        ),
        facts={"worst": worst, "series": len(holds), "severity": rule.labels.get("severity", "")},
        measured=worst,
        since=since if len(holds) else None,
        source="prometheus",
        query=rule.query,
    )


def _need_series(scene: Scene, query: str) -> None:
    """Raises NoDataError where an alternative of the rule has no series at all to be true of.

    One of those that it rests on suffices: a counter of errors has none before its first error.
    """
    for alternative in expression.alternatives(query):
        selectors = expression.rests_on(alternative)
        counted = scene.sources.prometheus.counts(selectors, scene.window.end)
        if selectors and not any(count is None or 0 < count < math.inf for count in counted):
            raise NoDataError(
                f"there is no series of {', '.join(selectors)[:200]}, so the rule cannot hold",
                system="prometheus",
                remedy="see whether the target is still scraped",
            )


def firing_alert(scene: Scene) -> Finding:
    """Is the alert firing in Alertmanager, and does somebody hear it?

    Silenced and inhibited alerts count as firing, and are called so; another service's do not count.
    """
    scene.need_live("alertmanager")
    alerts = [one for one in scene.sources.alertmanager.alerts(scene.alert) if scene.is_ours(one)]
    if not alerts:
        return Finding(
            status=Status.OK,
            template="Alertmanager has no {alert} that is firing.",
            facts={"alert": scene.alert},
            source="alertmanager",
            query=f"alerts with alertname={scene.alert}",
        )
    worst = max(alerts, key=lambda alert: _SEVERITIES.get(alert.labels.get("severity", ""), Status.WARNING))
    heard = "silenced" if worst.silenced_by else "inhibited" if worst.inhibited_by else "notified"
    starts = [alert.starts_at for alert in alerts if alert.starts_at]
    return Finding(
        status=_SEVERITIES.get(worst.labels.get("severity", ""), Status.WARNING),
        template="{alert} is firing since {since:time}; it is {heard}.",
        facts={"alert": scene.alert, "since": min(starts, default=None), "heard": heard},
        since=min(starts, default=None),
        source="alertmanager",
        query=f"alerts with alertname={scene.alert}",
    )


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
        template="Other alerts that are firing: {names}." if others else "No other alert is firing.",
        facts={"names": ", ".join(sorted({alert.name for alert in others}))},
        source="alertmanager",
        query="alerts",
        rows=_grouped(rows) if others else None,
    )


def _grouped(rows: pd.DataFrame) -> pd.DataFrame:
    """One row for all series of an alert, oldest first."""
    same = rows.groupby(["alert", "severity", "component", "state"], sort=False)
    return same.agg(series=("since", "size"), since=("since", "min")).reset_index().sort_values("since")
