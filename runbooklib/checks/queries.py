"""PromQL for the traffic of a service: one definition for all checks.

Requests to health and metrics pages are not traffic: otherwise a broken health page would count as failed
requests of users.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from runbooklib.config.environment import Target
from runbooklib.promql import build
from runbooklib.promql.build import Histogram

REQUESTS = "http_requests_total"
EXECUTIONS = "sandbox_executions_total"
CHATS = "ai_chat_requests_total"
# The gauges that the service itself sets.
IN_PROGRESS = "http_requests_in_progress"
CONNECTIONS = "db_connections_active"
FREE_SANDBOXES = "sandbox_pool_available"
SANDBOXES_IN_USE = "sandbox_pool_in_use"
COMPONENT_HEALTH = "app_health_status"


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Selectors of a counter: all attempts, and the failed ones. `what` is the term for the attempts."""

    every: str
    failed: str
    what: str


def requests(target: Target) -> str:
    """Selector of user requests."""
    return build.selector(REQUESTS, target.service.labels, none_of=_probes(target))


def failed_requests(target: Target) -> str:
    """Selector of user requests with a status code 5xx."""
    failed = {"status_code": "5.."}
    return build.selector(REQUESTS, target.service.labels, matching=failed, none_of=_probes(target))


def every_failed_request(target: Target) -> str:
    """Selector of all requests with a status code 5xx, also of those to the service's own pages."""
    return build.selector(REQUESTS, target.service.labels, matching={"status_code": "5.."})


def request_outcomes(target: Target) -> Outcomes:
    """All user requests, and those with a status code 5xx."""
    return Outcomes(requests(target), failed_requests(target), "requests")


def executions(target: Target) -> Outcomes:
    """Code executions in the sandbox."""
    return _by_status(target, EXECUTIONS, "code executions")


def chats(target: Target) -> Outcomes:
    """Requests to the AI provider."""
    return _by_status(target, CHATS, "AI requests")


def database_queries(target: Target) -> Outcomes:
    """Queries to the database."""
    every, failed = (
        build.selector(name, target.service.labels)
        for name in ("db_query_duration_seconds_count", "db_query_errors_total")
    )
    return Outcomes(every, failed, "queries")


def _by_status(target: Target, metric: str, what: str) -> Outcomes:
    labels: Mapping[str, str] = target.service.labels
    failed = build.selector(metric, {**labels, "status": "error"})
    return Outcomes(build.selector(metric, labels), failed, what)


def request_rate(target: Target) -> str:
    """Requests per second."""
    return rate_of(target, requests(target))


def rate_of(target: Target, selector: str, *, by: Iterable[str] = ()) -> str:
    """The counter's increase per second, summed, over the site's rate window."""
    return build.sum_of(build.rate(selector, target.timing.rate_window), by=by)


def failure_rate(target: Target, *, by: Iterable[str] = ()) -> str:
    """Failed requests per second."""
    return rate_of(target, failed_requests(target), by=by)


def failed_share(target: Target, *, by: Iterable[str] = ()) -> str:
    """Failed requests over all requests, 0–1; no series without traffic."""
    return share_of(target, request_outcomes(target), by=by)


def share_of(target: Target, outcomes: Outcomes, *, by: Iterable[str] = ()) -> str:
    """Failed over all attempts, 0–1; no series without traffic."""
    window, by = target.timing.rate_window, tuple(by)
    return build.share(build.rate(outcomes.failed, window), build.rate(outcomes.every, window), by=by)


def durations(target: Target) -> Histogram:
    """Duration of user requests in seconds."""
    return Histogram("http_request_duration_seconds", target.service.labels, _probes(target))


def execution_durations(target: Target) -> Histogram:
    """Duration of code executions in seconds."""
    return Histogram("sandbox_execution_duration_seconds", target.service.labels)


def chat_durations(target: Target) -> Histogram:
    """Duration of requests to the AI provider in seconds."""
    return Histogram("ai_chat_duration_seconds", target.service.labels)


def query_durations(target: Target) -> Histogram:
    """Duration of database queries in seconds."""
    return Histogram("db_query_duration_seconds", target.service.labels)


def duration_quantile(target: Target, q: float, *, by: Iterable[str] = ()) -> str:
    """Quantile `q` (0–1) of the duration of user requests in seconds."""
    return durations(target).quantile(q, target.timing.rate_window, by=by)


def own_pages(target: Target) -> tuple[str, ...]:
    """The pages that probers, Prometheus and this library ask: the service's probes and its health page."""
    return tuple(dict.fromkeys((*target.service.probes, target.service.health)))


def _probes(target: Target) -> dict[str, tuple[str, ...]]:
    return {"endpoint": own_pages(target)}
