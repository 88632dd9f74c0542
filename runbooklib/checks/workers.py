"""Whether one process answers at the service's metrics page. Asked once a run, for every check.

If several workers share the page, each scrape shows the series of one of them. A scrape over a new connection
meets another worker each time: Prometheus then sees counter resets that never happened, and each rate is too
high by an unknown factor. A scrape over a connection that is kept open always meets the same worker: then
everything that the other workers count is missing.
"""

from dataclasses import dataclass

from runbooklib.checks import queries
from runbooklib.errors import NonsenseError, NotRecordedError, Reason, SourceError
from runbooklib.model.findings import Finding, unknown
from runbooklib.promql import build
from runbooklib.render.sentences import say
from runbooklib.sources.context import Context

STARTED = "process_start_time_seconds"
METRICS_PAGE = "/metrics"
# The start time that a client library computes from the boot time may move by a second without a restart.
_JITTER_SECONDS = 1.0
# A counter of a service without a start time that goes back this often is taken for several counters.
_MIN_RESETS = 3


@dataclass(frozen=True, slots=True)
class Resets:
    """How often the start time of the process went back, and how often its counter of requests did.

    None where there is no such series.
    """

    started: float | None
    requests: float | None
    query: str


def several_workers(context: Context) -> Finding | None:
    """An UNKNOWN finding that says why the series of the metrics page cannot be trusted; None if they can.

    Raises SourceError if Prometheus does not answer.
    """
    return _alternating(context) or _seen_from_here(context)


def require_single_worker(context: Context) -> None:
    """Raises NonsenseError if the series of the metrics page cannot be trusted."""
    mixed = several_workers(context)
    if mixed is not None:
        raise NonsenseError(say(mixed.template, mixed.facts), system=mixed.source)


def resets(context: Context) -> Resets:
    """The resets within the window. Raises SourceError."""
    span = f"{int(context.window.span_seconds)}s"
    query = f"max(resets({_started(context)}[{span}]))"
    requests = f"max(resets({queries.requests(context.target)}[{span}]))"
    return Resets(_value(context, query), _value(context, requests), query)


def _alternating(context: Context) -> Finding | None:
    """Start times of several processes in turn: for one process the start time only ever increases."""
    back = resets(context)
    facts = {"times": back.started, "resets": back.requests, "span": context.window.span_seconds}
    if back.started is None and (back.requests or 0) >= _MIN_RESETS:
        return unknown(
            Reason.NONSENSE,
            "The counter of requests went back {resets:number} times in the last {span:seconds}, and the "
            "service exports no start time. Several workers share one metrics page, or the service restarts "
            "again and again: its rates cannot be trusted.",
            facts=facts,
            source="prometheus",
            query=back.query,
        )
    if not back.started or _is_jitter(context):
        return None
    return unknown(
        Reason.NONSENSE,
        "The start time of the process went back {times:number} times in the last {span:seconds}. "
        "Several workers share one metrics page, so its rates cannot be trusted.",
        facts=facts,
        source="prometheus",
        query=back.query,
    )


def _is_jitter(context: Context) -> bool:
    """Whether the start time moved by no more than its computation does, and the counters did not."""
    span = f"[{int(context.window.span_seconds)}s]"
    started = _started(context)
    moved = _value(context, f"max(max_over_time({started}{span}) - min_over_time({started}{span}))")
    counted = resets(context).requests
    return moved is not None and moved <= _JITTER_SECONDS and not counted


def _seen_from_here(context: Context) -> Finding | None:
    """More processes than Prometheus has: that answer at the metrics page, else that run in the container.

    The container is asked only if the page cannot be read: its processes show less.
    """
    scraped = _value(context, f"count({_started(context)})") if context.window.is_live else None
    if not scraped:
        return None
    on_page = _on_fresh_connections(context)
    if on_page is not None:
        return _more_on_page(on_page, scraped) if on_page > scraped else None
    running = _in_container(context)
    return _more_in_container(context, running, scraped) if running > scraped else None


def _on_fresh_connections(context: Context) -> int | None:
    """How many processes answer at the metrics page over new connections; None if it cannot be read."""
    if METRICS_PAGE not in context.service.probes:
        return None
    try:
        return len(context.sources.web.process_starts(METRICS_PAGE)) or None
    except (SourceError, NotRecordedError):
        return None  # the checks of the service say why it does not answer


def _in_container(context: Context) -> int:
    """How many worker processes run in the containers of the service; 0 if Docker cannot be asked."""
    try:
        return sum(context.sources.docker.workers(name) for name in context.service.containers)
    except (SourceError, NotRecordedError):
        return 0  # the checks of the container say why


def _more_on_page(count: int, scraped: float) -> Finding:
    return unknown(
        Reason.NONSENSE,
        "{count} processes answer at the metrics page, and Prometheus has the series of {scraped:number}. "
        "Several workers share one metrics page, so its rates cannot be trusted.",
        facts={"count": count, "scraped": scraped},
        source="web",
        query=f"GET {METRICS_PAGE}",
    )


def _more_in_container(context: Context, running: int, scraped: float) -> Finding:
    names = ", ".join(context.service.containers)
    return unknown(
        Reason.NONSENSE,
        "{count} worker processes run in {container}, and Prometheus has the series of {scraped:number}. "
        "Several workers share one metrics page, so its rates cannot be trusted.",
        facts={"count": running, "container": names, "scraped": scraped},
        source="docker",
        query=f"processes of {names}",
    )


def _started(context: Context) -> str:
    return build.selector(STARTED, context.labels)


def _value(context: Context, query: str) -> float | None:
    """The value of the query; None without a series, and in a replay that does not contain the query."""
    try:
        frame = context.sources.prometheus.instant(query, context.window.end)
    except NotRecordedError:
        return None
    return float(frame["value"].iloc[0]) if len(frame) else None
