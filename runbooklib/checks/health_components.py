"""The health that the service reports of its components, and whether that report is correct."""

from datetime import datetime

import pandas as pd

from runbooklib.checks import queries, thresholds
from runbooklib.checks.database_access import connections_of
from runbooklib.checks.dependencies import DISABLED, HEALTHY, component_state
from runbooklib.checks.registry import check
from runbooklib.checks.time_series import began, finite, unseen_seconds
from runbooklib.checks.unset_gauges import GAUGES, unset_gauge
from runbooklib.errors import NoDataError, NotRecordedError, Reason
from runbooklib.model.findings import Finding, Status, unknown
from runbooklib.promql import build
from runbooklib.promql.reading import Selector
from runbooklib.sources.context import Context


@check
def component_status(context: Context, *, component: str = "") -> Finding:
    """Which components does the service report as unhealthy?

    The gauge app_health_status (1 healthy, 0 unhealthy) of all components, or of `component` alone.
    """
    labels = {**context.labels, "component": component} if component else context.labels
    query = f"min by(component) ({build.selector(queries.COMPONENT_HEALTH, labels)})"
    frame = context.sources.prometheus.range(query, context.window, by="component")
    last = finite(frame.iloc[-1])
    if last.empty:
        raise NoDataError("the service reports the health of no component", system="prometheus")
    unhealthy = [str(name) for name in last.index if last[name] < 1]
    if not unhealthy:
        _require_all_reported(frame, last)
    since = _unhealthy_since(context, frame[unhealthy])
    return Finding(
        status=Status.CRITICAL if unhealthy else Status.OK,
        template="Components that the service reports as unhealthy: {unhealthy}."
        if unhealthy
        else "The service reports all {all} components as healthy.",
        facts={"unhealthy": ", ".join(unhealthy), "all": len(last)},
        measured=float(len(unhealthy)),
        unit="count",
        since=since,
        blur_seconds=unseen_seconds(frame[unhealthy].min(axis=1), since) if unhealthy else 0.0,
        source="prometheus",
        query=query,
        rows=pd.DataFrame(
            {"component": list(last.index), "healthy": ["no" if value < 1 else "yes" for value in last]}
        ),
    )


def _require_all_reported(frame: pd.DataFrame, last: "pd.Series[float]") -> None:
    """Raises NoDataError if a component was reported earlier in the window and no longer is."""
    missing = [str(name) for name in frame.columns if name not in last.index and frame[name].notna().any()]
    if missing:
        raise NoDataError(
            f"the service no longer reports the health of {', '.join(missing)}",
            system="prometheus",
            hint="open its health page: each request to it sets these metrics",
        )


def _unhealthy_since(context: Context, unhealthy: pd.DataFrame) -> datetime | None:
    if unhealthy.empty:
        return None
    return began(unhealthy.min(axis=1), below=1.0, bridging_seconds=2 * context.window.step_seconds)


@check
def health_page_contradicted(context: Context) -> Finding:
    """Does the health page contradict the database itself?

    The query of the health page itself can be broken. If the page reports the database as unhealthy, but the
    database answers us and has free connections, the page is wrong.
    """
    context.need_live("web")
    page = context.sources.web.page(context.service.health)
    state = component_state(context, page, "database")
    message = str(page.components["database"].get("message", ""))
    if state.lower() in DISABLED:
        return unknown(
            Reason.NOT_CONFIGURED,
            "The health page reports the database as “{state}”: it makes no statement that can be compared.",
            facts={"state": state},
            source="web",
            query=f"GET {context.service.health}",
        )
    connections = connections_of(context)
    has_free_connections = not connections.refused and connections.usage < 1
    is_wrong = state.lower() not in HEALTHY and has_free_connections
    template = "The health page reports the database as “{state}”; the database itself shows the same."
    if is_wrong:
        template = (
            "The health page is wrong: it reports the database as “{state}” (message “{message}”), but the"
            " database answers and has free connections."
        )
    return Finding(
        status=Status.CRITICAL if is_wrong else Status.OK,
        template=template,
        facts={"state": state, "message": message},
        source="web",
        query=f"GET {context.service.health}",
    )


@check(judges_series=True)
def gauge_ever_set(context: Context, *, metric: str, over: str = "1d") -> Finding:
    """Was {metric} ever above zero?

    A gauge that the service never sets is always 0, so an alert on a low value fires all the time. The
    highest value within the duration `over` before the end of the window. UNKNOWN if 0 can be right: if a
    pool is empty because no execution succeeds, or if nothing happened that the gauge measures.
    """
    query = f"max(max_over_time({build.selector(metric, context.labels)}[{over}]))"
    frame = context.sources.prometheus.instant(query, context.window.end)
    highest = thresholds.number(frame, f"{metric} has no series for this service")
    if highest == 0 and _can_be_right(context, metric):
        return unknown(
            Reason.NO_DATA,
            "{metric} was 0 all the time in the last {over}, which can be right: nothing shows that what it "
            "measures was ever different.",
            facts={"metric": metric, "over": over},
            source="prometheus",
            query=query,
        )
    is_unset = highest == 0
    return Finding(
        status=Status.WARNING if is_unset else Status.OK,
        template=(
            "{metric} was 0 all the time in the last {over}. The service never sets it, so the alert is not"
            " meaningful."
            if is_unset
            else "The highest value of {metric} in the last {over} was {highest:number}."
        ),
        facts={"metric": metric, "over": over, "highest": highest},
        measured=highest,
        source="prometheus",
        query=query,
    )


def _can_be_right(context: Context, metric: str) -> bool:
    """Whether a value of 0 all the time can be right; False for a metric of which nothing else is known."""
    if metric not in GAUGES:
        return False
    try:
        return unset_gauge(context, Selector(metric, (), None)) is None
    except NotRecordedError:
        return False  # the replay of an older recording
