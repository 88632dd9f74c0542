"""The AI provider, as the service's own metrics see it."""

from runbooklib import promql
from runbooklib.errors import NoDataError, Reason
from runbooklib.findings import Finding, Status, breach, unknown
from runbooklib.scene import Scene
from runbooklib.series import began, latest
from runbooklib.window import seconds_of

_REQUESTS = "ai_chat_requests_total"
LEAST_REQUESTS = 5.0


def ai_error_rate(scene: Scene, *, above: float, least_requests: float = LEAST_REQUESTS) -> Finding:
    """What share of the requests to the AI provider fails?

    `above` is a ratio 0–1; fewer than `least_requests` in the rate window is UNKNOWN.
    """
    window = scene.timing.rate_window
    every = promql.selector(_REQUESTS, scene.labels)
    failed = promql.selector(_REQUESTS, {**scene.labels, "status": "error"})
    ask = scene.sources.prometheus
    counted = ask.instant(promql.sum_of(promql.increase(every, window)), scene.window.end)
    if counted.empty:
        raise NoDataError(f"there is no series {_REQUESTS} for this service", system="prometheus")
    requests = float(counted["value"].iloc[0])
    query = promql.share(promql.rate(failed, window), promql.rate(every, window))
    if requests < least_requests:
        return unknown(
            Reason.THIN_TRAFFIC,
            "{requests:number} requests in {window} are too few to judge a share of them by.",
            facts={"requests": requests, "window": window},
            source="prometheus",
            query=query,
        )
    frame = ask.range(query, scene.window).rename(columns={"value": "failed AI requests"})
    if not len(frame.columns):
        raise NoDataError("the query has no series in this window", system="prometheus")
    column = frame["failed AI requests"]
    fresh = 2 * scene.window.step_seconds + seconds_of(window)
    share = latest(column, within_seconds=fresh)
    return Finding(
        status=breach(share, above=above, status=Status.CRITICAL),
        template="{share:percent} of AI requests fail ({kinds}); the limit is {limit:percent}.",
        facts={"share": share, "limit": above, "kinds": _kinds(scene) or "no error type counted"},
        measured=share,
        limit=above,
        unit="ratio",
        since=began(column, above=above, bridging_seconds=seconds_of(window)),
        source="prometheus",
        query=query,
        series=frame,
    )


def _kinds(scene: Scene) -> str:
    """The error types that are being counted, most frequent first."""
    errors = promql.selector("ai_chat_errors_total", scene.labels)
    query = promql.sum_of(promql.rate(errors, scene.timing.rate_window), by=("error_type",))
    frame = scene.sources.prometheus.instant(query, scene.window.end)
    if frame.empty:
        return ""
    seen = frame[frame["value"] > 0].sort_values("value", ascending=False)
    return ", ".join(seen["error_type"].astype(str))
