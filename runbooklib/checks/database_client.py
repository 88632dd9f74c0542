"""The database, measured by the service that uses it."""

from runbooklib.checks import queries, thresholds
from runbooklib.checks.registry import check
from runbooklib.checks.thresholds import Threshold, Wording
from runbooklib.checks.time_series import began, unseen_seconds
from runbooklib.model.findings import Finding, Status, breach
from runbooklib.model.window import seconds_of
from runbooklib.promql import build
from runbooklib.sources.context import Context


@check
def database_errors(context: Context, *, above: float = 0.0) -> Finding:
    """Do the service's database queries fail?

    db_query_errors_total per second by error type; `above` is per second.
    """
    errors = build.selector("db_query_errors_total", context.labels)
    query = queries.rate_of(context.target, errors, by=("error_type",))
    frame = context.sources.prometheus.range(query, context.window, by="error_type")
    if frame.iloc[-1].isna().all():
        # The process that runs now has counted no error; earlier samples are those of its predecessor.
        _require_query_metrics(context)
        return Finding(
            status=Status.OK,
            template="No query has failed since the service started.",
            source="prometheus",
            query=query,
        )
    total = frame.sum(axis=1, min_count=1)
    now = thresholds.newest(context, total)
    since = began(total, above=above, bridging_seconds=thresholds.fresh_seconds(context))
    status = breach(now, above=above, status=Status.WARNING)
    return Finding(
        status=status,
        template=_errors_template(now, status),
        facts={"now": now, "limit": above, "worst": str(frame.iloc[-1].fillna(0.0).idxmax())},
        measured=now,
        limit=above,
        unit="per second",
        since=since,
        blur_seconds=seconds_of(context.timing.rate_window) + unseen_seconds(total, since),
        source="prometheus",
        query=query,
    )


def _errors_template(now: float, status: Status) -> str:
    if now <= 0:
        return "No query fails."
    if status is Status.OK:
        return "{now:rate} queries fail; the limit is {limit:rate}."
    return "{now:rate} queries fail, most often with error type {worst}; the limit is {limit:rate}."


def _require_query_metrics(context: Context) -> None:
    """Raises NoDataError if the service exports no query metrics.

    A counter with labels has no series before its first error, so a missing series alone proves nothing.
    """
    counted = build.selector("db_query_duration_seconds_count", context.labels)
    answer = context.sources.prometheus.instant(build.sum_of(counted), context.window.end)
    thresholds.number(answer, "db_query_duration_seconds_count has no series for this service")


@check
def query_time(context: Context, *, above: float, quantile: float = 0.95) -> Finding:
    """How long do database queries take?

    A quantile (0–1) of the duration of all queries in seconds, including the wait for a connection; `above`
    is seconds.
    """
    name = f"P{quantile * 100:g}"
    words = Wording(
        template="The {name} duration of database queries is {now:seconds}; the limit is {limit:seconds}.",
        line=name,
        unit="seconds",
        facts={"name": name},
    )
    histogram = queries.query_durations(context.target)
    return thresholds.quantile(context, histogram, Threshold(above=above), words, q=quantile, what="queries")


@check
def slow_operations(context: Context, *, above: float, quantile: float = 0.95) -> Finding:
    """Which database operations are slow?

    The quantile (0–1) of each operation's duration in seconds, slowest first. One slow operation needs an
    index or waits for a lock; if all are slow, connections or the server are the bottleneck.
    """
    words = Wording(
        template=(
            "{beyond} of {all} operations are slower than {limit:seconds}; the slowest is {worst}:"
            " {now:seconds}."
        ),
        sound="None of the {all} operations is slower than {limit:seconds}.",
        line="",
        unit="seconds",
    )
    histogram = queries.query_durations(context.target)
    return thresholds.slowest(context, histogram, by="operation", q=quantile, above=above, words=words)


@check
def connections_in_use(context: Context, *, above: float) -> Finding:
    """How many database connections does the service hold?

    The pool's own gauge, summed over instances; `above` is a number of connections.
    """
    words = Wording(
        template="{now:number} connections are in use; the limit is {limit:number}.",
        line="connections in use",
        unit="count",
    )
    query = build.sum_of(build.selector(queries.CONNECTIONS, context.labels))
    return thresholds.level(context, query, Threshold(above=above), words)


@check
def query_load(context: Context, *, above_times: float = 2.0) -> Finding:
    """Does the service send more database queries than usual?

    Queries per second, compared with the usual value before the symptom began.
    """
    ran = build.selector("db_query_duration_seconds_count", context.labels)
    words = Wording(
        template="The service sends {now:rate} queries; usual is {usual:rate}.",
        line="queries",
        unit="per second",
    )
    return thresholds.change(context, queries.rate_of(context.target, ran), words, above_times=above_times)
