"""What counts as a service's traffic, as PromQL: one definition for every check that asks about it.

Probes of health and metrics pages are no traffic: a health page that is broken itself would else count
as failed requests of users.
"""

from collections.abc import Iterable

from runbooklib import promql
from runbooklib.target import Target

REQUESTS = "http_requests_total"
DURATIONS = "http_request_duration_seconds_bucket"


def requests(target: Target) -> str:
    """Selector of the users' requests."""
    return promql.selector(REQUESTS, target.service.labels, none_of=_probes(target))


def failed_requests(target: Target) -> str:
    """Selector of the users' requests that were answered 5xx."""
    failed = {"status_code": "5.."}
    return promql.selector(REQUESTS, target.service.labels, matching=failed, none_of=_probes(target))


def request_rate(target: Target) -> str:
    """Requests per second."""
    return promql.sum_of(promql.rate(requests(target), target.timing.rate_window))


def failure_rate(target: Target, *, by: Iterable[str] = ()) -> str:
    """Failed requests per second."""
    return promql.sum_of(promql.rate(failed_requests(target), target.timing.rate_window), by=by)


def failed_share(target: Target, *, by: Iterable[str] = ()) -> str:
    """Failed requests over all requests, 0–1; no series where there is no traffic."""
    window, by = target.timing.rate_window, tuple(by)
    every = promql.rate(requests(target), window)
    return promql.share(promql.rate(failed_requests(target), window), every, by=by)


def requests_counted(target: Target) -> str:
    """Requests within one rate window."""
    return promql.sum_of(promql.increase(requests(target), target.timing.rate_window))


def duration_quantile(target: Target, q: float, *, by: Iterable[str] = ()) -> str:
    """Quantile (0–1) of the duration of requests in seconds."""
    buckets = promql.selector(DURATIONS, target.service.labels, none_of=_probes(target))
    return promql.quantile(q, buckets, target.timing.rate_window, by=by)


def _probes(target: Target) -> dict[str, tuple[str, ...]]:
    return {"endpoint": target.service.probes}
