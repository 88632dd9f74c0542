"""Where requests fail, and whether that is only at the service's own pages, such as its health page.

Probers, load balancers and this library ask these pages. If the page fails, its requests count as failed
requests in rules that do not leave them out, although no user's request fails.
"""

from dataclasses import dataclass

from runbooklib.checks import queries
from runbooklib.errors import NotRecordedError, SourceError
from runbooklib.model.window import seconds_of
from runbooklib.promql import build, reading
from runbooklib.sources.context import Context

# 5xx in any notation: `5..`, `5\d\d`, `5[0-9]{2}`, `500|503`, or a single code.
_FAILED = "5"
_STATUS_LABELS = frozenset({"status_code", "status", "code"})


@dataclass(frozen=True, slots=True)
class Failures:
    """Where requests fail: the endpoint with most failures, its share of all failures (0–1).

    `own_pages` are the service's own pages if no request fails elsewhere; else empty.
    """

    endpoint: str
    share: float
    own_pages: str


def failures(context: Context, *, over_seconds: float = 0.0) -> Failures | None:
    """Where requests failed in the rate window, or in `over_seconds` if that is longer.

    None if none failed, if the counter has no endpoint, and in the replay of a recording without the answer.
    Raises SourceError.
    """
    seconds = max(int(over_seconds), int(seconds_of(context.timing.rate_window)))
    failed = queries.every_failed_request(context.target)
    query = build.sum_of(build.increase(failed, f"{seconds}s"), by=("endpoint",))
    try:
        frame = context.sources.prometheus.instant(query, context.window.end)
    except NotRecordedError:
        return None
    rows = frame[frame["value"] > 0].sort_values("value", ascending=False)
    if rows.empty or "endpoint" not in rows or not rows["endpoint"].astype(str).all():
        return None
    names = [str(name) for name in rows["endpoint"]]
    is_own = set(names) <= set(queries.own_pages(context.target))
    share = float(rows["value"].iloc[0] / rows["value"].sum())
    return Failures(names[0], share, ", ".join(names) if is_own else "")


def failing_in_rule(context: Context, expression: str) -> str:
    """The service's own pages, if the rule is about failed requests and only requests to these pages fail.

    Empty if it is about something else, or if other requests fail as well. Raises SourceError.
    """
    counted = [selector for selector in reading.selectors(expression) if selector.metric == queries.REQUESTS]
    is_about_failures = any(
        name in _STATUS_LABELS and value.startswith(_FAILED) and operator in ("=", "=~")
        for selector in counted
        for name, operator, value in selector.matchers
    )
    if not is_about_failures:
        return ""
    longest = max((selector.range_seconds or 0.0 for selector in counted), default=0.0)
    failing = failures(context, over_seconds=longest)
    return failing.own_pages if failing else ""


def failing_in_alert(context: Context) -> str:
    """The same for the alert's own rule; empty if Prometheus has no such rule or does not answer.

    What another system says of a deployment then stands: it is never hidden because Prometheus is down.
    """
    try:
        return failing_in_rule(context, context.sources.prometheus.rule(context.alert).query)
    except (SourceError, NotRecordedError):
        return ""
