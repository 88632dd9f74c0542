"""The state before the incident, against which recovery is judged.

A page that was as ill before the incident as it is now would make recovery impossible for ever.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from runbooklib.checks.time_series import began
from runbooklib.errors import SourceError
from runbooklib.model.findings import Finding, Status
from runbooklib.promql import build
from runbooklib.sources.context import Context

_HISTORY, _STEP_SECONDS = timedelta(days=7), 300.0
# Episodes of an alert that are nearer to each other count as one incident. So long must a problem have lasted
# if the alert has not fired: the incident may have begun without it.
_DAY = timedelta(days=1)
_AS_BEFORE = "It was the same before the incident, so it does not prevent recovery."


def before_incident(context: Context) -> datetime | None:
    """A time before the incident began: the lead before the alert's last episode in Prometheus.

    A day before the window's end if the alert has not fired in seven days. None if this cannot be known:
    Prometheus does not answer or has no such rule, or the alert has fired for seven days.
    """
    end = context.window.end
    window = replace(context.window, start=end - _HISTORY, end=end, step_seconds=_STEP_SECONDS)
    alerts = build.selector("ALERTS", {"alertname": context.alert})
    prometheus = context.sources.prometheus
    try:
        prometheus.rule(context.alert)
        states = prometheus.range(f"max(max_over_time({alerts}[{_STEP_SECONDS:.0f}s]))", window)
    except SourceError:
        return None
    if not len(states.columns):
        return end - _DAY
    # ALERTS has no sample while the alert is inactive: for this series, a gap means "inactive".
    active = states.max(axis=1).fillna(0.0)
    start = began(active, above=0.5, bridging_seconds=_DAY.total_seconds())
    # The first point at which the alert was seen can be a step late.
    lead = timedelta(seconds=context.timing.lead_seconds + _STEP_SECONDS)
    return None if start is None else start - lead


def as_before(finding: Finding, before: datetime | None) -> Finding:
    """The finding as a condition of recovery: met if the problem was the same at the time `before`."""
    if not finding.was_the_same(before):
        return finding
    further = (*finding.further_templates, _AS_BEFORE)
    return replace(finding, status=Status.OK, since=None, further_templates=further)
