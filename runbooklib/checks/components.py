"""The parts that the service itself reports about, and whether that report can be believed."""

import pandas as pd

from runbooklib import measures, promql
from runbooklib.errors import NoDataError, NonsenseError
from runbooklib.findings import Finding, Status
from runbooklib.scene import Scene
from runbooklib.series import began, finite, unseen_seconds

HEALTH = "app_health_status"


def component_status(scene: Scene, *, component: str = "") -> Finding:
    """Which components does the service call unhealthy?

    The gauge app_health_status (1 healthy, 0 not) of each component, or of the one that is named.
    """
    labels = {**scene.labels, "component": component} if component else scene.labels
    query = promql.selector(HEALTH, labels)
    lowest = f"min by(component) ({query})"
    frame = scene.sources.prometheus.range(lowest, scene.window, by="component")
    last = finite(frame.iloc[-1])
    if last.empty:
        raise NoDataError("the service reports no component", system="prometheus")
    gone = [str(name) for name in frame.columns if name not in last.index and frame[name].notna().any()]
    ill = [str(name) for name in last.index if last[name] < 1]
    if gone and not ill:
        raise NoDataError(
            f"the service no longer reports {', '.join(gone)}",
            system="prometheus",
            remedy="ask its health page, which sets these metrics",
        )
    lowest_ill = frame[ill].min(axis=1)
    since = began(lowest_ill, below=1.0, bridging_seconds=2 * scene.window.step_seconds) if ill else None
    return Finding(
        status=Status.CRITICAL if ill else Status.OK,
        template="Unhealthy by the service's own word: {ill}."
        if ill
        else "The service calls all {all} healthy.",
        facts={"ill": ", ".join(ill), "all": len(last)},
        measured=float(len(ill)),
        unit="count",
        since=since,
        blur_seconds=unseen_seconds(lowest_ill, since),
        source="prometheus",
        query=lowest,
        rows=pd.DataFrame(
            {"component": list(last.index), "healthy": ["no" if v < 1 else "yes" for v in last]}
        ),
    )


def health_page_contradicted(scene: Scene) -> Finding:
    """Does the health page contradict the database itself?

    The page can be broken by its own query. Where it calls the database unhealthy and the database answers
    us and has connections left, not the database is ill but the page.
    """
    scene.need_live("web")
    page = scene.sources.web.page(scene.service.health)
    database = page.components.get("database", {})
    if "status" not in database:
        raise NonsenseError(
            "the health page does not speak of the database", system="web", target=scene.service.url
        )
    connections = scene.sources.postgres.connections()
    answers = not connections.refused and connections.usage < 1
    contradicts = str(database["status"]) not in ("healthy", "disabled") and answers
    return Finding(
        status=Status.CRITICAL if contradicts else Status.OK,
        template=(
            "The page calls the database “{told}” ({why}), and the database answers with "
            "connections to spare: "
            "the page is wrong."
            if contradicts
            else "The page calls the database “{told}”, and that is what the database shows."
        ),
        facts={"told": str(database["status"]), "why": str(database.get("message", ""))},
        source="web",
        query=f"GET {scene.service.health}",
    )


def gauge_ever_set(scene: Scene, *, metric: str, over: str = "1d") -> Finding:
    """Was {metric} ever anything but zero?

    A gauge that nothing sets exports 0 for ever, and an alert on a low value then fires for ever. The highest
    value within the duration `over` before the end of the window.
    """
    query = f"max(max_over_time({promql.selector(metric, scene.labels)}[{over}]))"
    frame = scene.sources.prometheus.instant(query, scene.window.end)
    highest = measures.number(frame, f"there is no series {metric} for this service")
    is_unset = highest == 0
    return Finding(
        status=Status.CRITICAL if is_unset else Status.OK,
        template=(
            "{metric} was 0 all through the last {over}: nothing sets it, and the alert says nothing."
            if is_unset
            else "{metric} was as high as {highest:number} in the last {over}."
        ),
        facts={"metric": metric, "over": over, "highest": highest},
        measured=highest,
        source="prometheus",
        query=query,
    )
