"""Gauges that nothing sets: they stay at their start value while what they measure moves.

A client library exports a gauge with its start value, usually 0, before the service sets it. A service that
never sets it says "0 connections" for ever. So a gauge that has had one value since the process started is
believed only if that value can be right:

- A gauge of what is going on now (requests, connections) is sampled at each scrape. By Little's law the
  samples must show the time that was spent, over the scrape interval. If that is less than `MIN_SEEN`, a
  value that never moves is possible.
- A pool without a free sandbox can be empty. Then no execution succeeds, or sandboxes are in use.
- A component can be unhealthy since the start. Then none of its operations succeeds.

Gauges of the client library itself (`process_*`) are not listed: it reads them from the kernel at each
scrape. So are gauges that this library does not know: nothing shows whether what they measure moved.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from runbooklib.checks import queries
from runbooklib.checks.queries import Outcomes
from runbooklib.checks.workers import STARTED
from runbooklib.errors import Reason
from runbooklib.model.findings import Fact, Finding, unknown
from runbooklib.model.window import seconds_of
from runbooklib.promql import build
from runbooklib.promql.build import Histogram
from runbooklib.promql.reading import Selector
from runbooklib.sources.context import Context

# So many samples must show a value other than the start value before their absence proves anything.
MIN_SEEN = 10.0
# Without durations: so many requests or operations.
MIN_EVENTS = 20.0
# A longer life is not read: it costs Prometheus too much.
_MAX_LIFE_SECONDS = 86_400
_FLOWS = (queries.IN_PROGRESS, queries.CONNECTIONS, queries.SANDBOXES_IN_USE)
GAUGES = frozenset({*_FLOWS, queries.FREE_SANDBOXES, queries.COMPONENT_HEALTH})


@dataclass(frozen=True, slots=True)
class Unset:
    """A gauge that nothing sets: why, as an UNKNOWN finding, and whether no instance sets it.

    `is_zero`: it stays at 0. A gauge that stays at another value may be full since the start instead.
    """

    finding: Finding
    is_everywhere: bool
    is_zero: bool = True


@dataclass(frozen=True, slots=True)
class _Life:
    """One process: the labels of its series, and for how many seconds it has been running."""

    labels: dict[str, str]
    seconds: int

    @property
    def range(self) -> str:
        return f"[{self.seconds}s]"


def unset_gauge(context: Context, selector: Selector) -> Unset | None:
    """Why the gauge that is selected proves nothing; None if it can be believed.

    Raises SourceError if Prometheus does not answer, NotRecordedError in the replay of an older recording.
    """
    if selector.metric not in GAUGES:
        return None
    lives = _lives(context)
    if selector.metric == queries.COMPONENT_HEALTH:
        finding = _unset_components(context, max(lives, key=lambda life: life.seconds), selector)
        return Unset(finding, is_everywhere=True) if finding else None
    judge = _unset_pool if selector.metric == queries.FREE_SANDBOXES else _unset_flow
    findings = [judge(context, life, selector.metric) for life in lives]
    unset = [finding for finding in findings if finding is not None]
    if not unset:
        return None
    is_zero = all(finding.facts["value"] == 0 for finding in unset)
    return Unset(unset[0], len(unset) == len(findings), is_zero)


def _lives(context: Context) -> list[_Life]:
    """The processes that run at the end of the window; one of unknown age if they export no start time."""
    query = build.selector(STARTED, context.labels)
    frame = context.sources.prometheus.instant(query, context.window.end)
    if frame.empty or "instance" not in frame:
        return [_Life(context.labels, _MAX_LIFE_SECONDS)]
    shortest = 2 * seconds_of(context.timing.scrape_interval)
    end = context.window.end.timestamp()
    return [
        _Life(
            {**context.labels, "instance": str(instance)},
            int(min(max(end - float(started), shortest), _MAX_LIFE_SECONDS)),
        )
        for instance, started in zip(frame["instance"], frame["value"], strict=True)
        if started == started
    ] or [_Life(context.labels, _MAX_LIFE_SECONDS)]


def _only_value(context: Context, series: str, life: _Life) -> float | None:
    """The value of the gauge if it never moved in the life of the process; None if it moved or is missing."""
    spread = f"max(max_over_time({series}{life.range}) - min_over_time({series}{life.range}))"
    if _value(context, spread) != 0:
        return None
    return _value(context, f"max(max_over_time({series}{life.range}))")


def _unset_flow(context: Context, life: _Life, metric: str) -> Finding | None:
    """A gauge of what is going on now."""
    # A scrape is a request in progress: without the probes, each sample would show itself.
    none_of = {"endpoint": queries.own_pages(context.target)} if metric == queries.IN_PROGRESS else None
    value = _only_value(context, build.selector(metric, life.labels, none_of=none_of), life)
    if value is None:
        return None
    histogram = _durations(context, metric)
    busy = _increase(context, f"{histogram.name}_sum", histogram, life)
    if busy is not None:
        return _busy(context, metric, value, life, histogram.name, busy)
    answered = _value(context, build.sum_of(f"increase({_requests(context, life)}{life.range})"))
    if value != 0 or (answered or 0.0) < MIN_EVENTS:
        return None
    return unknown(
        Reason.NO_DATA,
        "{metric} was {value:number} in every sample of the last {life:seconds}, although {events:number} "
        "requests were answered in that time: nothing sets it, so it proves nothing.",
        facts={**_facts(metric, value, life), "events": answered},
    )


def _durations(context: Context, metric: str) -> Histogram:
    """The histogram of how long that lasts which the gauge counts."""
    return {
        queries.IN_PROGRESS: queries.durations,
        queries.CONNECTIONS: queries.query_durations,
        queries.SANDBOXES_IN_USE: queries.execution_durations,
        queries.FREE_SANDBOXES: queries.execution_durations,
    }[metric](context.target)


def _busy(
    context: Context, metric: str, value: float, life: _Life, histogram: str, busy: float
) -> Finding | None:
    if busy / seconds_of(context.timing.scrape_interval) < MIN_SEEN:
        return None
    return unknown(
        Reason.NO_DATA,
        "{metric} was {value:number} in every sample of the last {life:seconds}, although {histogram} "
        "counted {busy:seconds} in that time: nothing sets it, so it proves nothing.",
        facts={**_facts(metric, value, life), "histogram": histogram, "busy": busy},
    )


def _unset_pool(context: Context, life: _Life, metric: str) -> Finding | None:
    """The gauge of free sandboxes."""
    value = _only_value(context, build.selector(metric, life.labels), life)
    if value is None:
        return None
    if value != 0:
        histogram = _durations(context, metric)
        busy = _increase(context, f"{histogram.name}_sum", histogram, life)
        return _busy(context, metric, value, life, histogram.name, busy or 0.0)
    in_use = build.selector(queries.SANDBOXES_IN_USE, life.labels)
    if _value(context, f"max(max_over_time({in_use}{life.range}))"):
        return None
    attempts, succeeded = _attempts(context, queries.executions(context.target), life)
    if attempts and not succeeded:
        return None
    return unknown(
        Reason.NO_DATA,
        "{metric} was {value:number} in every sample of the last {life:seconds}, although {events:number} "
        "code executions succeeded in that time: nothing sets it, so it proves nothing."
        if succeeded
        else "{metric} was {value:number} in every sample of the last {life:seconds}, in which no code was "
        "executed: nothing sets it, or the pool never had a sandbox.",
        facts={**_facts(metric, value, life), "events": succeeded},
    )


def _unset_components(context: Context, life: _Life, selector: Selector) -> Finding | None:
    """The health of components, if none of those that are 0 now can be believed."""
    chosen = {name: value for name, operator, value in selector.matchers if (name, operator) == _COMPONENT}
    series = build.selector(queries.COMPONENT_HEALTH, {**context.labels, **chosen})
    frame = context.sources.prometheus.instant(f"min by(component) ({series})", context.window.end)
    names = [str(name) for name in frame[frame["value"] == 0].get("component", ())]
    doubtful = [(name, done) for name in names if (done := _done_while_zero(context, life, name))]
    if not doubtful or len(doubtful) < len(names):
        return None
    return unknown(
        Reason.NO_DATA,
        "{metric} of {component} was {value:number} in every sample of the last {life:seconds}, although "
        "{events:number} of its operations succeeded in that time: nothing sets it, or the service's own "
        "check of it is wrong.",
        facts={
            **_facts(queries.COMPONENT_HEALTH, 0.0, life),
            "component": ", ".join(name for name, _ in doubtful),
            "events": min(done for _, done in doubtful),
        },
    )


_COMPONENT = ("component", "=")


def _done_while_zero(context: Context, life: _Life, component: str) -> float | None:
    """How many operations of the component succeeded while its gauge was 0 all the time; None if too few."""
    labels = {**context.labels, "component": component}
    series = build.selector(queries.COMPONENT_HEALTH, labels)
    outcomes = dict(_outcomes(context)).get(component)
    if outcomes is None or _only_value(context, series, life) != 0:
        return None
    _, succeeded = _attempts(context, outcomes, life)
    return succeeded if succeeded >= MIN_EVENTS else None


def _outcomes(context: Context) -> Iterator[tuple[str, Outcomes]]:
    """By component: all of its operations, and those that failed."""
    yield "api", queries.request_outcomes(context.target)
    yield "database", queries.database_queries(context.target)
    yield "sandbox", queries.executions(context.target)
    yield "ai_service", queries.chats(context.target)


def _attempts(context: Context, outcomes: Outcomes, life: _Life) -> tuple[float, float]:
    """How many operations there were in the life of the process, and how many succeeded."""
    every, failed = (
        _value(context, build.sum_of(f"increase({series}{life.range})")) or 0.0
        for series in (outcomes.every, outcomes.failed)
    )
    return every, max(every - failed, 0.0)


def _increase(context: Context, series: str, histogram: Histogram, life: _Life) -> float | None:
    selector = build.selector(series, life.labels, none_of=histogram.none_of)
    return _value(context, build.sum_of(f"increase({selector}{life.range})"))


def _requests(context: Context, life: _Life) -> str:
    none_of = {"endpoint": queries.own_pages(context.target)}
    return build.selector(queries.REQUESTS, life.labels, none_of=none_of)


def _facts(metric: str, value: float, life: _Life) -> dict[str, Fact]:
    return {"metric": metric, "value": value, "life": life.seconds}


def _value(context: Context, query: str) -> float | None:
    """The value of the query; None without a series or with NaN."""
    frame = context.sources.prometheus.instant(query, context.window.end)
    value = float(frame["value"].iloc[0]) if len(frame) else None
    return value if value is not None and value == value else None
