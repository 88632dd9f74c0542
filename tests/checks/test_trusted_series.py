"""Series that prove nothing, on a real Prometheus: gauges that nothing sets, counters of several workers.

Two hours of samples, one each 15 s, that ended three hours ago. Each service is one trap.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from runbooklib.actions.dependencies import break_circuit, set_timeout
from runbooklib.checks.alert_rule import alert_expression
from runbooklib.checks.ask import ask, propose
from runbooklib.checks.containers import process_restarts
from runbooklib.checks.database_client import connections_in_use, query_load, query_time
from runbooklib.checks.health_components import component_status, gauge_ever_set
from runbooklib.checks.objectives import affected_users, error_budget
from runbooklib.checks.resources import (
    cpu_usage,
    descriptor_usage,
    descriptors_besides_requests,
    memory_growth,
    resident_memory,
)
from runbooklib.checks.sandbox import sandbox_pool, sandbox_throughput, sandboxes_in_use
from runbooklib.checks.traffic import (
    busy_endpoints,
    error_rate,
    failing_endpoints,
    request_rate,
    requests_in_progress,
    status_codes,
    steady_counters,
    traffic_surge,
)
from runbooklib.config.environment import Environment, Target
from runbooklib.errors import Reason
from runbooklib.model.findings import Finding, Status
from runbooklib.model.window import Window
from runbooklib.render.sentences import sentence
from runbooklib.sources.context import Context, Sources
from runbooklib.sources.tape import Tape
from tests.support.known_series import serving

STEP = 15
SAMPLES = 2 * 3600 // STEP
END = datetime.fromtimestamp(datetime.now(UTC).timestamp() // 60 * 60 - 3 * 3600, UTC)
BROKE = END - timedelta(minutes=30)
START = (END - timedelta(hours=2)).timestamp()
Value = Callable[[datetime, int], float | None]
Series = tuple[str, str, str, Value]


def constant(value: float) -> Value:
    return lambda _, __: value


def moving(low: float, high: float) -> Value:
    return lambda _, number: high if number % 4 == 1 else low


def until_broke(before: Value, after: Value) -> Value:
    return lambda now, number: before(now, number) if now < BROKE else after(now, number)


def counter(per_second: float) -> Value:
    return lambda _, number: per_second * STEP * number


def in_turn(*values: Value) -> Value:
    """The page of another worker at each scrape."""
    return lambda now, number: values[number % len(values)](now, number)


def work(service: str, instance: str = "i") -> Iterator[Series]:
    """Requests, queries and executions that a working service counts."""
    about = f'service="{service}",instance="{instance}"'
    yield ("http_requests_total", "counter", f'{about},endpoint="/a",status_code="200"', counter(10))
    for name, pace, busy in (
        ("http_request_duration_seconds", 10, 2.0),
        ("db_query_duration_seconds", 20, 1.0),
        ("sandbox_execution_duration_seconds", 1, 0.8),
    ):
        labels = f'{about},endpoint="/a"' if name.startswith("http") else about
        yield (f"{name}_bucket", "histogram", f'{labels},le="+Inf"', counter(pace))
        yield (f"{name}_count", "histogram", labels, counter(pace))
        yield (f"{name}_sum", "histogram", labels, counter(busy))
    yield ("sandbox_executions_total", "counter", f'{about},status="success"', counter(1))


def gauges(service: str, value: Value, instance: str = "i", *, free: Value | None = None) -> Iterator[Series]:
    about = f'service="{service}",instance="{instance}"'
    yield ("http_requests_in_progress", "gauge", f'{about},endpoint="/a",method="GET"', value)
    yield ("db_connections_active", "gauge", about, value)
    yield ("sandbox_pool_in_use", "gauge", about, value)
    yield ("sandbox_pool_available", "gauge", about, free or value)
    for component in ("api", "database", "sandbox"):
        yield ("app_health_status", "gauge", f'{about},component="{component}"', value)


def process(service: str, instance: str = "i", started: Value | None = None) -> Iterator[Series]:
    about = f'service="{service}",instance="{instance}"'
    yield ("up", "gauge", about, constant(1))
    yield ("process_start_time_seconds", "gauge", about, started or constant(START))
    yield ("process_open_fds", "gauge", about, constant(50))
    yield ("process_max_fds", "gauge", about, constant(1024))
    yield ("process_resident_memory_bytes", "gauge", about, constant(1e8))
    yield ("process_cpu_seconds_total", "counter", about, counter(0.2))


def every_series() -> Iterator[Series]:
    zero, restarted = constant(0), until_broke(constant(START), constant(BROKE.timestamp()))
    yield from (*process("unset"), *work("unset"), *gauges("unset", zero))
    yield from (*process("set"), *work("set"), *gauges("set", moving(1, 3), free=moving(4, 2)))
    yield from (*process("quiet"), *gauges("quiet", zero))
    yield ("http_requests_total", "counter", 'service="quiet",endpoint="/a",status_code="200"', constant(3))
    yield from (*process("uncounted"), *gauges("uncounted", zero))
    yield from [series for series in work("uncounted") if series[0] == "http_requests_total"]
    yield from (*process("frozen"), *work("frozen"), *gauges("frozen", constant(7)))
    yield from process("released", started=restarted)
    yield from work("released")
    yield from gauges("released", until_broke(moving(1, 3), zero))
    for instance, value in (("one", zero), ("two", moving(1, 3))):
        yield from (*process("half", instance), *work("half", instance), *gauges("half", value, instance))
    yield from (*process("emptied"), *gauges("emptied", zero))
    failing = 'service="emptied",instance="i",status="error"'
    yield ("sandbox_executions_total", "counter", failing, counter(1))
    yield from workers()


def workers() -> Iterator[Series]:
    """Two workers behind one page: each scrape meets the other one."""
    about = 'service="workers",instance="i"'
    yield from process("workers", started=in_turn(constant(START), constant(START + 0.5)))
    for labels, one, two in (
        ('method="GET",endpoint="/a",status_code="200"', 3.0, 7.0),
        ('method="GET",endpoint="/a",status_code="500"', 1.0, 0.1),
    ):
        yield ("http_requests_total", "counter", f"{about},{labels}", in_turn(counter(one), counter(two)))
    durations = in_turn(counter(20), counter(5))
    for suffix, labels in (("bucket", f'{about},le="+Inf"'), ("bucket", f'{about},le="1"')):
        yield (f"db_query_duration_seconds_{suffix}", "histogram", labels, durations)
    yield ("db_query_duration_seconds_count", "histogram", about, durations)
    yield ("db_query_duration_seconds_sum", "histogram", about, durations)
    yield from gauges("workers", in_turn(moving(2, 3), moving(20, 30)))
    succeeded = in_turn(counter(5), counter(1))
    yield ("sandbox_executions_total", "counter", f'{about},status="success"', succeeded)


def openmetrics() -> Iterator[str]:
    moments = [END - timedelta(seconds=STEP * (SAMPLES - number)) for number in range(SAMPLES + 1)]
    families: dict[tuple[str, str], list[Series]] = {}
    for series in every_series():
        name, kind = series[0], series[1]
        for suffix in ("_total", "_bucket", "_count", "_sum"):
            name = name.removesuffix(suffix)
        families.setdefault((name, kind), []).append(series)
    for (family, kind), members in families.items():
        yield f"# TYPE {family} {kind}\n"
        for name, _, labels, value in sorted(members, key=lambda member: (member[2], member[0])):
            for number, now in enumerate(moments):
                measured = value(now, number)
                if measured is not None:
                    yield f"{name}{{{labels}}} {measured} {now.timestamp()}\n"
    yield "# EOF\n"


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("prometheus"), openmetrics()) as url:
        yield url


def make_context(url: str, service: str, *, onset: datetime | None = None) -> Context:
    site = Environment.model_validate(
        {
            "title": "Known series",
            "systems": {"prometheus": {"url": url}},
            "services": {service: {"title": service, "labels": {"service": service}}},
        }
    )
    target, tape = Target(environment_name="known", service_name=service, environment=site), Tape()
    window = Window.open(opened_at=datetime.now(UTC), at=END.isoformat(), lookback="90m")
    known = Context("Alert", target, window, Sources(target, tape))
    return replace(known, onset=onset, is_disturbed=onset is not None)


def asked(url: str, service: str, check: Callable[..., Finding], **limits: Any) -> Finding:
    context = make_context(url, service)
    return ask(check, limits, context, Tape())


GAUGES: list[tuple[Callable[..., Finding], dict[str, Any], str]] = [
    (connections_in_use, {"above": 50}, "db_connections_active"),
    (requests_in_progress, {"above": 100}, "http_requests_in_progress"),
    (busy_endpoints, {"above": 100}, "http_requests_in_progress"),
    (sandbox_pool, {"below": 2}, "sandbox_pool_available"),
    (descriptors_besides_requests, {"above": 100}, "http_requests_in_progress"),
    (component_status, {}, "app_health_status"),
    (component_status, {"component": "database"}, "app_health_status"),
    (alert_expression, {"expression": "db_connections_active > 50"}, "db_connections_active"),
    (alert_expression, {"expression": "sandbox_pool_available < 2"}, "sandbox_pool_available"),
    (alert_expression, {"expression": "sum(http_requests_in_progress) > 100"}, "http_requests_in_progress"),
    (
        alert_expression,
        {"expression": "avg_over_time(db_connections_active[5m]) > 50"},
        "db_connections_active",
    ),
]


@pytest.mark.parametrize(("check", "limits", "metric"), GAUGES)
def test_a_gauge_that_nothing_sets_proves_nothing_in_any_check(
    prometheus: str, check: Callable[..., Finding], limits: dict[str, Any], metric: str
) -> None:
    finding = asked(prometheus, "unset", check, **limits)
    assert (finding.status, finding.reason) == (Status.UNKNOWN, Reason.NO_DATA), sentence(finding)
    assert metric in sentence(finding)
    assert "in every sample of the last 2 h" in sentence(finding)
    assert finding.since is None  # so that it gives no onset


@pytest.mark.parametrize(("check", "limits", "metric"), GAUGES)
def test_a_gauge_that_is_set_is_believed(
    prometheus: str, check: Callable[..., Finding], limits: dict[str, Any], metric: str
) -> None:
    assert asked(prometheus, "set", check, **limits).status is not Status.UNKNOWN, metric


def test_both_gauges_of_the_pool_are_guarded(prometheus: str) -> None:
    """`sandbox_pool_in_use` alone is not set: its share of the pool would be 0 %."""
    assert asked(prometheus, "frozen", sandboxes_in_use).status is Status.UNKNOWN
    assert asked(prometheus, "set", sandboxes_in_use).status is Status.OK


def test_a_gauge_that_stays_at_a_start_value_other_than_zero_is_not_set_either(prometheus: str) -> None:
    finding = asked(prometheus, "frozen", connections_in_use, above=50)
    assert finding.status is Status.UNKNOWN
    assert "7 in every sample" in sentence(finding)


def test_a_gauge_that_is_full_since_the_start_is_still_beyond_its_limit(prometheus: str) -> None:
    """All connections may have been in use since a restart: that must not be hidden."""
    assert asked(prometheus, "frozen", connections_in_use, above=5).status is Status.WARNING


def test_zero_is_an_answer_while_nothing_happens(prometheus: str) -> None:
    assert asked(prometheus, "quiet", connections_in_use, above=50).status is Status.OK
    assert asked(prometheus, "quiet", requests_in_progress, above=50).status is Status.OK


def test_a_pool_that_never_had_a_sandbox_is_unknown_while_nothing_is_executed(prometheus: str) -> None:
    assert asked(prometheus, "quiet", sandbox_pool, below=2).status is Status.UNKNOWN


def test_a_pool_in_which_no_execution_ever_succeeds_is_really_empty(prometheus: str) -> None:
    assert asked(prometheus, "emptied", sandbox_pool, below=2).status is Status.WARNING


def test_requests_show_that_a_service_works_if_it_exports_no_durations(prometheus: str) -> None:
    finding = asked(prometheus, "uncounted", connections_in_use, above=50)
    assert finding.status is Status.UNKNOWN
    assert "requests were answered" in sentence(finding)


def test_the_life_of_the_process_counts_and_not_that_of_its_predecessor(prometheus: str) -> None:
    """The release before set the gauge; the one that runs now does not."""
    finding = asked(prometheus, "released", connections_in_use, above=50)
    assert finding.status is Status.UNKNOWN
    assert "in every sample of the last 30 min" in sentence(finding)


def test_one_instance_that_does_not_set_it_makes_the_sum_too_low(prometheus: str) -> None:
    assert asked(prometheus, "half", connections_in_use, above=50).status is Status.UNKNOWN
    # What the other instance holds is above this limit already.
    assert asked(prometheus, "half", connections_in_use, above=0.5).status is Status.WARNING


def test_a_component_that_was_unhealthy_all_the_time_is_believed_without_a_sign_of_its_work(
    prometheus: str,
) -> None:
    finding = asked(prometheus, "emptied", component_status)
    assert finding.status is Status.CRITICAL


def test_the_check_of_the_gauge_itself_still_answers(prometheus: str) -> None:
    finding = asked(prometheus, "unset", gauge_ever_set, metric="sandbox_pool_available")
    assert finding.status is Status.WARNING  # the monitoring is wrong, not the service


def test_a_gauge_that_can_be_right_at_zero_is_not_called_unset(prometheus: str) -> None:
    """The pool is empty: every execution fails, so nothing shows that the gauge is wrong."""
    finding = asked(prometheus, "emptied", gauge_ever_set, metric="sandbox_pool_available")
    assert finding.status is Status.UNKNOWN
    assert "can be right" in sentence(finding)
    quiet = asked(prometheus, "quiet", gauge_ever_set, metric="db_connections_active")
    assert quiet.status is Status.UNKNOWN


def test_gauges_of_the_process_collector_are_believed(prometheus: str) -> None:
    """The client library itself reads them from the kernel at each scrape."""
    assert asked(prometheus, "unset", resident_memory, above=1e9).status is Status.OK
    assert asked(prometheus, "unset", descriptor_usage, above=0.8).status is Status.OK


COUNTERS: list[tuple[Callable[..., Finding], dict[str, Any]]] = [
    (error_rate, {"above": 0.05}),
    (request_rate, {}),
    (traffic_surge, {}),
    (failing_endpoints, {"above": 0.05}),
    (status_codes, {}),
    (query_load, {}),
    (query_time, {"above": 0.1}),
    (sandbox_throughput, {}),
    (cpu_usage, {"above": 0.8}),
    (memory_growth, {}),
    (process_restarts, {"above": 1}),
    (error_budget, {"promise": "Availability", "of": "requests", "success": 0.995, "over": "2h"}),
    (alert_expression, {"expression": "rate(http_requests_total[5m]) > 1"}),
    (resident_memory, {"above": 1e9}),
    (steady_counters, {}),
]


@pytest.mark.parametrize(("check", "limits"), COUNTERS)
def test_nothing_is_claimed_from_the_counters_of_several_workers(
    prometheus: str, check: Callable[..., Finding], limits: dict[str, Any]
) -> None:
    finding = asked(prometheus, "workers", check, **limits)
    assert (finding.status, finding.reason) == (Status.UNKNOWN, Reason.NONSENSE), sentence(finding)
    assert "Several workers share one metrics page" in sentence(finding)


def test_no_action_is_proposed_from_the_counters_of_several_workers(prometheus: str) -> None:
    for action in (set_timeout, break_circuit):
        proposal = propose(action, {}, make_context(prometheus, "workers"))
        assert proposal.command == ""
        assert "Several workers share one metrics page" in proposal.effect
    finding = asked(prometheus, "workers", affected_users, above=0.1)
    assert finding.facts["share"] is None


def test_a_gauge_of_one_worker_that_is_above_the_limit_is_above_it(prometheus: str) -> None:
    assert asked(prometheus, "workers", connections_in_use, above=50).status is Status.UNKNOWN
    assert asked(prometheus, "workers", connections_in_use, above=1).status is Status.WARNING
    assert asked(prometheus, "workers", sandbox_pool, below=1000).status is Status.UNKNOWN


def test_whether_prometheus_reaches_the_page_does_not_rest_on_the_page(prometheus: str) -> None:
    assert asked(prometheus, "workers", alert_expression, expression="up == 0").status is Status.OK


def test_one_process_that_restarted_is_one_process(prometheus: str) -> None:
    assert asked(prometheus, "released", error_rate, above=0.05).status is Status.OK


def test_the_question_is_asked_once_a_run(prometheus: str) -> None:
    tape = Tape()
    context = make_context(prometheus, "workers")
    context = replace(context, sources=Sources(context.target, tape))
    for check, limits in COUNTERS:
        ask(check, limits, context, tape)
    entries = [entry for entry in tape.take_recorded() if "resets(process_start" in str(entry.request)]
    assert len(entries) == 1
