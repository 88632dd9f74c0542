"""Requests: how many there are, how many fail, and which ones.

Response times.
"""

from dataclasses import replace

import pandas as pd

from runbooklib.checks import own_pages, queries, thresholds, workers
from runbooklib.checks.own_pages import Failures
from runbooklib.checks.registry import check
from runbooklib.checks.thresholds import Threshold, Wording
from runbooklib.checks.time_series import finite
from runbooklib.errors import NoDataError
from runbooklib.model.findings import Fact, Finding, Status
from runbooklib.promql import build
from runbooklib.sources.context import Context


@check
def error_rate(
    context: Context,
    *,
    above: float,
    critical_above: float | None = None,
    least_requests: float = thresholds.MIN_OF_A_SHARE,
) -> Finding:
    """What share of user requests fails?

    5xx over all requests, as rates over the site's rate window, without health and metrics pages. `above` is
    a ratio 0–1; above `critical_above` (default: `above`) the finding is CRITICAL. Fewer than
    `least_requests` in the rate window give UNKNOWN. The finding names the endpoint that fails most, and says
    so if only the service's own pages fail.
    """
    users = queries.request_outcomes(context.target)
    words = Wording(
        template="{now:percent} of requests fail; the limit is {limit:percent}.",
        line="failed requests",
        unit="ratio",
    )
    critical = above if critical_above is None else critical_above
    limit = Threshold(above=above, critical_above=critical)
    finding = thresholds.share(
        context, users.failed, users.every, limit, words, what=users.what, least=least_requests
    )
    return _with_endpoint(finding, own_pages.failures(context))


def _with_endpoint(finding: Finding, failing: Failures | None) -> Finding:
    """The finding, with the endpoint that fails most; of an OK finding, only the service's own pages."""
    if failing is None or (finding.status < Status.WARNING and not failing.own_pages):
        return finding
    template = "{endpoint} has most of the failures: {part:percent}."
    if failing.own_pages:
        template = (
            "All failed requests are those to {pages}, the service's own pages: no user's request fails."
        )
    facts: dict[str, Fact] = {
        "endpoint": failing.endpoint,
        "part": failing.share,
        "pages": failing.own_pages,
    }
    return replace(
        finding,
        further_templates=(*finding.further_templates, template),
        facts={**finding.facts, **facts},
    )


@check
def request_rate(context: Context, *, below_share: float = 0.5) -> Finding:
    """Does the service receive its usual traffic?

    Requests per second at the end of the window against the median of the window. Traffic counts as lost if
    the ratio of the two is below `below_share`.
    """
    query = queries.request_rate(context.target)
    frame = thresholds.line(context, query, "requests")
    usual = float(frame["requests"].median())
    if usual <= 0:
        raise NoDataError("the service had no traffic in this window", system="prometheus")
    words = Wording(
        template="{now:rate} requests arrive; {usual:rate} is usual in this window.",
        line="requests",
        unit="per second",
        facts={"usual": usual},
    )
    return thresholds.level(context, query, Threshold(below=usual * below_share), words)


@check
def traffic_surge(context: Context, *, above_times: float = 2.0) -> Finding:
    """Do more requests arrive than usual?

    Requests per second against the usual rate before the onset.
    """
    words = Wording(
        template="{now:rate} requests arrive; {usual:rate} was usual before the onset.",
        line="requests",
        unit="per second",
    )
    query = queries.request_rate(context.target)
    return thresholds.change(context, query, words, above_times=above_times)


@check
def requests_in_progress(context: Context, *, above: float) -> Finding:
    """How many requests are in progress at the same time?

    The gauge summed over endpoints and instances; `above` is a number of requests.
    """
    words = Wording(
        template="{now:number} requests are in progress; the limit is {limit:number}.",
        line="in progress",
        unit="count",
    )
    query = build.sum_of(build.selector(queries.IN_PROGRESS, context.labels))
    return thresholds.level(context, query, Threshold(above=above), words)


@check
def busy_endpoints(context: Context, *, above: float) -> Finding:
    """Which endpoints have many requests in progress?

    By endpoint, highest first; `above` is a number of requests.
    """
    words = Wording(
        template=(
            "{beyond} of {all} endpoints have more than {limit:number} requests in progress. "
            "The highest is {worst} with {now:number}."
        ),
        sound="None of {all} endpoints has more than {limit:number} requests in progress.",
        line="",
        unit="count",
    )
    query = build.sum_of(build.selector(queries.IN_PROGRESS, context.labels), by=("endpoint",))
    return thresholds.by_label(context, query, by="endpoint", above=above, words=words, column="in progress")


@check(judges_series=True)
def steady_counters(context: Context) -> Finding:
    """Can the counters be trusted?

    If several workers share one metrics page, each scrape shows the counters of another worker. Prometheus
    then sees counter resets that never happened, and each rate is too high by an unknown factor. The sign is
    a process start time that goes back: for one process it only ever increases. Of several workers that
    a kept connection hides, the metrics page over new connections shows the start times, else the container
    their processes.
    """
    doubt = workers.several_workers(context)
    if doubt is not None:
        return doubt
    back = workers.resets(context)
    if back.started is None or back.requests is None:
        missing = "the service has no start time" if back.started is None else "there are no requests"
        raise NoDataError(missing, system="prometheus", hint="check that the target is scraped")
    facts = {"times": back.started, "resets": back.requests, "span": context.window.span_seconds}
    return Finding(
        status=Status.OK,
        template=(
            "One process answers. Counter resets in the last {span:seconds}: {resets:number}."
            if back.requests
            else "One process answers. No counter reset in the last {span:seconds}."
        ),
        facts=facts,
        source="prometheus",
        query=back.query,
    )


@check
def failing_endpoints(context: Context, *, above: float, top: int = 5) -> Finding:
    """Which endpoints fail?

    The share of 5xx at each endpoint, worst first. `above` is a ratio 0–1.
    """
    return _failing(context, ("method", "endpoint"), above, top)


@check
def failing_instances(context: Context, *, above: float, top: int = 5) -> Finding:
    """Which instances fail?

    The share of 5xx at each instance, worst first. `above` is a ratio 0–1.
    """
    return _failing(context, ("instance",), above, top)


def _failing(context: Context, by: tuple[str, ...], above: float, top: int) -> Finding:
    query = queries.failed_share(context.target, by=by)
    ask = context.sources.prometheus
    shares = ask.instant(query, context.window.end)
    shares = shares.loc[finite(shares["value"]).index]
    if shares.empty:
        raise NoDataError("there was no traffic", system="prometheus")
    rates = ask.instant(queries.failure_rate(context.target, by=by), context.window.end)
    rows = _table(shares, rates, by).head(top)
    worst = rows.iloc[0]
    beyond = int((shares["value"] > above).sum())
    return Finding(
        status=Status.WARNING if beyond else Status.OK,
        template=(
            "{beyond} of {all} are above {limit:percent}. The worst is {worst}: {share:percent} of its "
            "requests fail."
            if beyond
            else "None of {all} is above {limit:percent}."
        ),
        facts={
            "beyond": beyond,
            "all": len(shares),
            "limit": above,
            "worst": " ".join(str(worst[name]) for name in by),
            "share": float(worst["failing share"]),
        },
        measured=float(worst["failing share"]),
        limit=above,
        unit="ratio",
        source="prometheus",
        query=query,
        rows=rows if beyond else None,
        series=_worst_shares(context, by[-1], top) if beyond and len(shares) > 1 else None,
    )


def _table(shares: pd.DataFrame, rates: pd.DataFrame, by: tuple[str, ...]) -> pd.DataFrame:
    columns = list(by)
    known = rates.rename(columns={"value": "failures per second"})
    if known.empty:
        known = pd.DataFrame(columns=[*columns, "failures per second"])
    rows = shares.rename(columns={"value": "failing share"}).merge(known, on=columns, how="left")
    rows["failures per second"] = rows["failures per second"].astype(float).fillna(0.0)
    ranked = rows.sort_values(["failures per second", "failing share"], ascending=False)
    return ranked[[*columns, "failing share", "failures per second"]].reset_index(drop=True)


def _worst_shares(context: Context, label: str, top: int) -> pd.DataFrame:
    query = queries.failed_share(context.target, by=(label,))
    frame = context.sources.prometheus.range(query, context.window, by=label)
    worst = frame.max().sort_values(ascending=False).index[:top]
    return pd.DataFrame(frame[worst])


@check
def status_codes(context: Context, *, top: int = 5) -> Finding:
    """With which status codes do requests fail?

    Failures per second by status code. OK if no request fails.
    """
    query = queries.failure_rate(context.target, by=("status_code",))
    frame = context.sources.prometheus.instant(query, context.window.end)
    rows = frame[frame["value"] > 0].sort_values("value", ascending=False).head(top)
    if rows.empty:
        thresholds.count(context, queries.requests(context.target))
        return Finding(status=Status.OK, template="No request fails.", source="prometheus", query=query)
    return Finding(
        status=Status.WARNING,
        template="The most frequent failure is status {code}: {rate:rate}.",
        facts={"code": str(rows["status_code"].iloc[0]), "rate": float(rows["value"].iloc[0])},
        source="prometheus",
        query=query,
        rows=rows.rename(columns={"status_code": "status code", "value": "failures per second"}),
    )


@check
def response_time(
    context: Context, *, above: float, critical_above: float | None = None, quantile: float = 0.95
) -> Finding:
    """How long do users wait?

    The `quantile` (0–1) of the duration of user requests, from the histogram's buckets summed over
    instances; `above` and `critical_above` are seconds.
    """
    name = f"P{quantile * 100:g}"
    words = Wording(
        template="{name} is {now:seconds}; the limit is {limit:seconds}.",
        line=name,
        unit="seconds",
        facts={"name": name},
    )
    limit = Threshold(above=above, critical_above=critical_above)
    return thresholds.quantile(
        context, queries.durations(context.target), limit, words, q=quantile, what="requests"
    )


@check
def slow_endpoints(context: Context, *, above: float, quantile: float = 0.95, top: int = 5) -> Finding:
    """Which endpoints are slow?

    The `quantile` (0–1) of the duration at each endpoint, slowest first; `above` is seconds.
    """
    words = Wording(
        template=(
            "{beyond} of {all} endpoints are slower than {limit:seconds}. "
            "The slowest is {worst} with {now:seconds}."
        ),
        sound="None of {all} endpoints is slower than {limit:seconds}.",
        line="",
        unit="seconds",
    )
    histogram = queries.durations(context.target)
    return thresholds.slowest(
        context, histogram, by="endpoint", q=quantile, above=above, words=words, top=top
    )
