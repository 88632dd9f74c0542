"""Checks of resources, pools, targets and budgets on known series: each service is one trap.

Two hours of samples, one each 15 s, that ended three hours ago; what broke, broke half an hour before the
end.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from runbooklib.actions.dependencies import break_circuit, set_timeout
from runbooklib.checks.ai import ai_response_time, ai_tokens
from runbooklib.checks.alert_rule import alert_expression
from runbooklib.checks.health_components import component_status, gauge_ever_set
from runbooklib.checks.objectives import error_budget
from runbooklib.checks.resources import (
    cpu_usage,
    descriptor_growth,
    descriptor_usage,
    memory_growth,
    memory_per_request,
    resident_memory,
)
from runbooklib.checks.sandbox import sandbox_pool, sandbox_throughput
from runbooklib.checks.scrape import scraped
from runbooklib.checks.traffic import steady_counters, traffic_surge
from runbooklib.config.environment import Environment, Target
from runbooklib.errors import NoDataError, Reason, SourceError
from runbooklib.model.findings import Finding, Status, unknown
from runbooklib.model.window import Window
from runbooklib.render.sentences import sentence
from runbooklib.sources.context import Context, Sources
from runbooklib.sources.tape import Tape
from tests.support.every_check import checks, limits_of
from tests.support.known_series import serving
from tests.support.survey import Survey

STEP = 15
SAMPLES = 2 * 3600 // STEP
END = datetime.fromtimestamp(datetime.now(UTC).timestamp() // 60 * 60 - 3 * 3600, UTC)
BROKE = END - timedelta(minutes=30)
Value = Callable[[datetime, int], float | None]
MIB = 1 << 20


def constant(value: float) -> Value:
    return lambda _, __: value


def jump(before: float, after: float) -> Value:
    return lambda now, _: after if now >= BROKE else before


def counter(per_second: float, after: float | None = None) -> Value:
    """A counter that grows evenly, and from the break on by `after`."""
    pace = per_second if after is None else after

    def value(now: datetime, number: int) -> float:
        seconds = max(0.0, (now - BROKE).total_seconds())
        return per_second * (number * STEP - seconds) + pace * seconds

    return value


def ends(value: float) -> Value:
    return lambda now, _: value if now < BROKE else None


def workers(now: datetime, number: int) -> float:
    """The start times of three processes, in turn."""
    del now
    return 1000.0 + number % 3


# (metric, type) -> [(service, more labels, value at a moment)]
SERIES: dict[tuple[str, str], list[tuple[str, str, Value]]] = {
    ("up", "gauge"): [
        ("sound", "", constant(1)),
        ("down", "", jump(1, 0)),
        ("gone", "", ends(1)),
        ("budget", "", constant(1)),
        ("outage", "", jump(1, 0)),
        ("surge", "", constant(1)),
        ("halved", "", ends(1)),
        ("halved", ',zone="b"', constant(1)),
        ("flapping", "", lambda now, number: float(now < BROKE or number % 2 == 1)),
    ],
    ("process_start_time_seconds", "gauge"): [
        ("sound", "", constant(1000)),
        ("restarted", "", jump(1000, 2000)),
        ("workers", "", workers),
    ],
    ("process_resident_memory_bytes", "gauge"): [
        ("sound", "", constant(100 * MIB)),
        ("leaking", "", jump(100 * MIB, 400 * MIB)),
    ],
    ("process_open_fds", "gauge"): [("sound", "", constant(50)), ("leaking", "", jump(50, 900))],
    ("process_max_fds", "gauge"): [("sound", "", constant(1024)), ("leaking", "", constant(1024))],
    ("process_cpu_seconds", "counter"): [
        ("sound", "", counter(0.2)),
        ("burning", "", counter(0.2, 0.95)),
    ],
    ("http_requests", "counter"): [
        *((name, ',status_code="200"', counter(10)) for name in ("sound", "leaking", "restarted", "workers")),
        ("surge", ',status_code="200"', counter(10, 40)),
        ("outage", ',status_code="200"', lambda now, n: counter(10)(now, n) if now < BROKE else None),
        ("budget", ',status_code="200"', counter(10)),
        ("budget", ',status_code="500"', counter(0, 0.5)),
    ],
    ("sandbox_pool_available", "gauge"): [
        ("sound", "", constant(4)),
        ("unset", "", constant(0)),
        ("emptied", "", jump(4, 0)),
    ],
    ("sandbox_executions", "counter"): [
        ("sound", ',status="success"', counter(3)),
        ("emptied", ',status="success"', counter(3, 0.1)),
    ],
    ("ai_chat_tokens", "counter"): [
        ("sound", ',model="m"', counter(100)),
        ("dear", ',model="m"', counter(20000)),
    ],
    ("ai_chat_requests", "counter"): [
        ("quick", ',status="success"', counter(0.6)),
        ("quick", ',status="error"', counter(0.4)),
    ],
    ("app_health_status", "gauge"): [
        ("sound", ',component="database"', constant(1)),
        ("silent", ',component="database"', ends(1)),
        ("silent", ',component="api"', constant(1)),
        ("ill", ',component="database"', jump(1, 0)),
        ("ill", ',component="api"', constant(1)),
    ],
}
# service -> requests per second that take up to each bound (cumulative), for the histogram of AI requests
BOUNDS = (10.0, 20.0, 30.0)
HISTOGRAMS = {
    "between": (0.0, 1.0, 1.0),
    "quick": (1.0, 1.0, 1.0),
    "off": (0.0, 0.0, 0.0),
    "few": (0.0, 0.002, 0.002),
}
RATES = {"few": 0.002}


def openmetrics() -> Iterator[str]:
    moments = [END - timedelta(seconds=STEP * (SAMPLES - number)) for number in range(SAMPLES + 1)]
    for (metric, kind), series in SERIES.items():
        yield f"# TYPE {metric} {kind}\n"
        name = f"{metric}_total" if kind == "counter" else metric
        for service, labels, value in series:
            for number, now in enumerate(moments):
                measured = value(now, number)
                if measured is not None:
                    yield f'{name}{{service="{service}",instance="i"{labels}}} {measured} {now.timestamp()}\n'
    yield "# TYPE ai_chat_duration_seconds histogram\n"
    for service, shares in HISTOGRAMS.items():
        for number, now in enumerate(moments):
            every = RATES.get(service, 1.0)
            for bound, pace in [*zip(BOUNDS, shares, strict=True), ("+Inf", every)]:
                labels = f'service="{service}",instance="i",le="{bound}"'
                counted = pace * number * STEP
                yield f"ai_chat_duration_seconds_bucket{{{labels}}} {counted} {now.timestamp()}\n"
    yield "# EOF\n"


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("prometheus"), openmetrics()) as url:
        yield url


def make_context(url: str, service: str, *, lookback: str = "90m", onset: datetime | None = None) -> Context:
    site = Environment.model_validate(
        {
            "title": "Known series",
            "systems": {"prometheus": {"url": url}},
            "services": {service: {"title": service, "labels": {"service": service}}},
        }
    )
    target, tape = Target(environment_name="known", service_name=service, environment=site), Tape()
    window = Window.open(opened_at=datetime.now(UTC), at=END.isoformat(), lookback=lookback)
    known = Context("Alert", target, window, Sources(target, tape))
    return replace(known, onset=onset, is_disturbed=onset is not None)


def test_a_gauge_that_nothing_sets_is_found_and_one_that_was_set_once_is_not(prometheus: str) -> None:
    check = gauge_ever_set
    assert check(make_context(prometheus, "unset"), metric="sandbox_pool_available").status is Status.WARNING
    assert check(make_context(prometheus, "emptied"), metric="sandbox_pool_available").status is Status.OK


def test_an_empty_pool_is_a_finding_since_it_was_emptied(prometheus: str) -> None:
    finding = sandbox_pool(make_context(prometheus, "emptied"), below=2)
    assert (finding.status, finding.measured) == (Status.WARNING, 0.0)
    assert finding.since is not None
    assert abs(finding.since - BROKE) <= timedelta(minutes=1)
    assert sandbox_throughput(make_context(prometheus, "emptied", onset=BROKE)).status is Status.WARNING
    assert sandbox_throughput(make_context(prometheus, "sound", onset=BROKE)).status is Status.OK


def test_several_workers_behind_one_page_make_every_rate_unknown(prometheus: str) -> None:
    finding = steady_counters(make_context(prometheus, "workers"))
    assert (finding.status, finding.reason) == (Status.UNKNOWN, Reason.NONSENSE)
    assert "Several workers" in sentence(finding)


def test_a_restart_is_not_taken_for_several_workers(prometheus: str) -> None:
    assert steady_counters(make_context(prometheus, "restarted")).status is Status.OK
    assert steady_counters(make_context(prometheus, "sound")).status is Status.OK


def test_a_target_that_is_down_and_one_that_vanished_are_told_apart(prometheus: str) -> None:
    down, gone = scraped(make_context(prometheus, "down")), scraped(make_context(prometheus, "gone"))
    assert down.status is gone.status is Status.CRITICAL
    assert "cannot reach 1 of 1" in sentence(down)
    assert "disappeared" in sentence(gone)
    for finding in (down, gone):
        assert finding.since is not None
        assert abs(finding.since - BROKE) <= timedelta(minutes=6)  # Prometheus looks back for five


def test_a_target_that_comes_and_goes_is_no_sound_one(prometheus: str) -> None:
    assert scraped(make_context(prometheus, "flapping")).status is not Status.OK
    assert scraped(make_context(prometheus, "sound")).status is Status.OK


def test_a_target_that_vanished_beside_another_is_not_passed_over(prometheus: str) -> None:
    finding = scraped(make_context(prometheus, "halved"))
    assert finding.status is Status.WARNING
    assert "1 targets disappeared within this window" in sentence(finding)


def test_a_component_that_is_no_longer_reported_is_not_healthy(prometheus: str) -> None:
    with pytest.raises(NoDataError, match="no longer reports the health of database"):
        component_status(make_context(prometheus, "silent"))


def test_a_budget_says_that_nothing_is_counted_while_nothing_is(prometheus: str) -> None:
    """In an outage no request fails, since none is counted: that is no budget that is kept."""
    finding = error_budget(
        make_context(prometheus, "outage", onset=BROKE),
        promise="Availability",
        of="requests",
        success=0.995,
        over="2h",
    )
    assert (finding.status, finding.reason, finding.facts["burn"]) == (Status.UNKNOWN, Reason.NO_DATA, None)
    assert "Nothing is counted at present" in sentence(finding)


def test_a_target_that_never_was_is_unknown_and_not_ok(prometheus: str) -> None:
    finding = scraped(make_context(prometheus, "unheard-of"))
    assert finding.status is Status.UNKNOWN
    assert "Check the labels of the service" in sentence(finding)


@pytest.mark.parametrize(
    ("service", "limit", "status", "is_estimate"),
    [
        ("between", 15, Status.WARNING, True),
        ("between", 10, Status.WARNING, False),
        ("quick", 15, Status.OK, False),
    ],
)
def test_a_limit_within_the_bucket_of_the_quantile_is_called_an_estimate(
    prometheus: str,
    service: str,
    limit: float,
    status: Status,
    is_estimate: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    finding = ai_response_time(make_context(prometheus, service), above=limit)
    assert finding.status is status
    assert ("an estimate" in sentence(finding)) is is_estimate
    if is_estimate:
        assert "between 10 s and 20 s" in sentence(finding)


def test_a_quantile_beyond_the_last_bucket_says_that_it_may_be_more(prometheus: str) -> None:
    finding = ai_response_time(make_context(prometheus, "off"), above=15)
    assert (finding.status, finding.measured) == (Status.WARNING, 30.0)
    assert "may be much higher" in sentence(finding)


def test_a_quantile_of_few_is_unknown(prometheus: str) -> None:
    finding = ai_response_time(make_context(prometheus, "few"), above=15)
    assert (finding.status, finding.reason) == (Status.UNKNOWN, Reason.THIN_TRAFFIC)


def test_a_surge_is_found_against_what_was_usual_before_it_began(prometheus: str) -> None:
    finding = traffic_surge(make_context(prometheus, "surge", onset=BROKE))
    assert finding.status is Status.WARNING
    assert finding.facts["usual"] == pytest.approx(10, rel=0.02)
    assert finding.measured == pytest.approx(40, rel=0.02)
    assert traffic_surge(make_context(prometheus, "sound", onset=BROKE)).status is Status.OK


def test_what_began_before_the_window_has_nothing_to_be_compared_with(prometheus: str) -> None:
    """Then nobody knows what is usual, and a surge that lasts must not be taken for the usual."""
    late = replace(make_context(prometheus, "surge", lookback="20m"), is_disturbed=True)
    with pytest.raises(NoDataError, match="the usual value is unknown"):
        traffic_surge(late)
    with pytest.raises(NoDataError, match="no earlier samples"):
        traffic_surge(make_context(prometheus, "surge", lookback="20m", onset=BROKE))


def test_memory_and_descriptors_that_grow_without_traffic_are_found(prometheus: str) -> None:
    leaking, sound = (make_context(prometheus, name, onset=BROKE) for name in ("leaking", "sound"))
    assert resident_memory(leaking, above=300 * MIB).status is Status.WARNING
    assert resident_memory(sound, above=300 * MIB).status is Status.OK
    assert descriptor_usage(leaking, above=0.8).status is Status.WARNING
    assert descriptor_usage(sound, above=0.8).status is Status.OK
    checks: tuple[Callable[[Context], Finding], ...] = (memory_growth, memory_per_request, descriptor_growth)
    for check in checks:
        assert check(leaking).status is Status.WARNING, check.__name__
        assert check(sound).status is Status.OK, check.__name__


def test_a_loop_that_takes_a_core_is_found(prometheus: str) -> None:
    finding = cpu_usage(make_context(prometheus, "burning"), above=0.8)
    assert finding.status is Status.WARNING
    assert finding.measured == pytest.approx(0.95, rel=0.02)
    assert cpu_usage(make_context(prometheus, "sound"), above=0.8).status is Status.OK


def test_tokens_are_told_for_a_second_and_for_an_hour(prometheus: str) -> None:
    finding = ai_tokens(make_context(prometheus, "dear"), above=10000)
    assert finding.status is Status.WARNING
    assert "20,000/s tokens are used (72,000,000 per hour)" in sentence(finding)


def test_an_unhealthy_component_is_named(prometheus: str) -> None:
    finding = component_status(make_context(prometheus, "ill"))
    assert finding.status is Status.CRITICAL
    assert "database" in sentence(finding)
    assert component_status(make_context(prometheus, "ill"), component="api").status is Status.OK


def test_the_budget_is_what_may_fail_and_the_incident_what_it_took_of_it(prometheus: str) -> None:
    """Half an hour of one failure in two seconds, in two hours of ten requests a second; 5 % may fail."""
    finding = error_budget(
        make_context(prometheus, "budget", onset=BROKE),
        promise="Availability",
        of="requests",
        success=0.95,
        over="2h",
    )
    every, failed = 10 * 7200 + 0.5 * 1800, 0.5 * 1800
    assert finding.facts["spent"] == pytest.approx(failed / (0.05 * every), rel=0.03)
    assert finding.facts["left"] == pytest.approx(1 - failed / (0.05 * every), rel=0.03)
    assert finding.facts["burn"] == pytest.approx(0.5 / 10.5 / 0.05, rel=0.03)
    assert finding.facts["budget"] == pytest.approx(0.05 * 7200)
    assert finding.status is Status.OK


def test_a_budget_that_burns_is_critical_and_one_that_is_used_up_no_sound_one(prometheus: str) -> None:
    site = make_context(prometheus, "budget", onset=BROKE)
    burning = error_budget(site, promise="Few errors", of="requests", success=0.999, over="2h")
    assert burning.status is Status.CRITICAL
    gone = error_budget(site, promise="Few errors", of="requests", success=0.99, over="2h")
    assert gone.status is Status.WARNING
    with pytest.raises(NoDataError):
        error_budget(
            make_context(prometheus, "surge"), promise="Code", of="executions", success=0.95, over="2h"
        )


def test_a_budget_of_a_part_of_the_month_counts_requests_and_failures_of_that_part(prometheus: str) -> None:
    """Two hours of the month were seen: neither the requests nor the failures are scaled to the month."""
    finding = error_budget(
        make_context(prometheus, "budget", onset=BROKE),
        promise="Availability",
        of="requests",
        success=0.995,
        over="30d",
    )
    every, failed = 10 * 7200 + 0.5 * 1800, 0.5 * 1800
    left = 1 - failed / (0.005 * every)
    assert left < -1  # 1.2 % failed where 0.5 % may
    assert finding.facts["left"] == pytest.approx(left, rel=0.03)
    assert finding.facts["spent"] == pytest.approx(failed / (0.005 * every), rel=0.03)
    assert finding.facts["budget"] == pytest.approx(0.005 * 7200, rel=0.03)
    assert finding.facts["spent_seconds"] == pytest.approx(failed / every * 7200, rel=0.03)
    assert finding.status is Status.WARNING
    said = sentence(finding)
    assert "of the error budget for the last 2 h is left" in said
    assert "has data for the last 2 h only, 0.28 % of 30d" in said


def test_a_budget_of_a_period_that_was_seen_as_a_whole_says_nothing_of_a_part(prometheus: str) -> None:
    site = make_context(prometheus, "budget", onset=BROKE)
    finding = error_budget(site, promise="Availability", of="requests", success=0.95, over="2h")
    assert "of the error budget for 2h is left" in sentence(finding)
    assert "only" not in sentence(finding)


def test_any_alert_is_judged_by_its_own_expression_since_it_became_true(prometheus: str) -> None:
    leaking, sound = (make_context(prometheus, name) for name in ("leaking", "sound"))
    text = f"process_resident_memory_bytes > 300 * {MIB}"
    finding = alert_expression(leaking, expression=text, severity="critical")
    assert (finding.status, finding.measured) == (Status.CRITICAL, 400.0 * MIB)
    assert (finding.limit, finding.unit) == (300.0 * MIB, "bytes")
    assert finding.since is not None
    assert abs(finding.since - BROKE) <= timedelta(minutes=1)
    assert finding.series is not None
    assert 'service="leaking"' in str(finding.series.columns[0])  # of two, the worst first
    one = f'process_resident_memory_bytes{{service="sound"}} > 300 * {MIB}'
    assert alert_expression(sound, expression=one).status is Status.OK


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ('absent(up{service="sound"})', Status.OK),
        ('absent(up{service="nobody"})', Status.WARNING),
        ('up{service="down"} == 0', Status.WARNING),
        ('process_max_fds{service="sound"} < process_open_fds{service="sound"}', Status.OK),
        ('0.9 < rate(process_cpu_seconds_total{service="burning"}[5m])', Status.WARNING),
        ('up{service="sound"} unless on(service) process_max_fds{service="nobody"}', Status.WARNING),
    ],
)
def test_conditions_of_every_kind_are_judged(prometheus: str, text: str, status: Status) -> None:
    assert alert_expression(make_context(prometheus, "sound"), expression=text).status is status


@pytest.mark.parametrize(
    "text", ["nothing > 1", "nothing / nothing2 > 1", "nothing unless other", "nothing == 0"]
)
def test_a_condition_on_what_is_not_there_is_never_ok(prometheus: str, text: str) -> None:
    with pytest.raises(NoDataError):
        alert_expression(make_context(prometheus, "sound"), expression=text)


@pytest.mark.row("F45")
@pytest.mark.parametrize("name", checks())
def test_no_check_calls_a_service_without_a_single_series_sound(
    prometheus: str, name: str, survey: Survey
) -> None:
    """Every check that there is, found by introspection: none is OK where nothing is known."""
    check = checks()[name]
    try:
        finding = check(make_context(prometheus, "unheard-of"), **limits_of(check))
    except SourceError:
        finding = unknown(Reason.NO_DATA, "")
    survey.never_ok([finding.status])


def test_a_timeout_and_a_circuit_breaker_are_proposed_with_what_was_measured(prometheus: str) -> None:
    quick = make_context(prometheus, "quick")
    assert set_timeout(quick).command == "# timeout of a request to the AI provider: 15 s"
    assert set_timeout(quick).effect.startswith("P50 of the last 5m is 5 s.")
    assert break_circuit(quick).effect.startswith("40.0% of 1 requests per second fail now.")
    with pytest.raises(NoDataError, match="beyond the largest bucket"):
        set_timeout(make_context(prometheus, "off"))
    for text in (set_timeout, break_circuit):
        with pytest.raises(NoDataError, match="no AI request was measured"):
            text(make_context(prometheus, "sound"))


def test_labels_that_no_target_has_are_named_with_the_jobs_that_there_are(prometheus: str) -> None:
    finding = scraped(make_context(prometheus, "nowhere"))
    assert (finding.status, finding.reason) == (Status.UNKNOWN, Reason.NO_DATA)
    assert 'had no target up{service="nowhere"} in the last 7d, and has ' in sentence(finding)
    assert 'up{service="down"}' in str(finding.facts["others"])
    assert scraped(make_context(prometheus, "gone")).status is Status.CRITICAL
