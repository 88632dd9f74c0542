"""Any alert by its own expression, on known series of a real Prometheus: true, not true, missing."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from runbooklib.checks.alert_rule import alert_expression
from runbooklib.config.environment import Environment, Target
from runbooklib.errors import NoDataError
from runbooklib.model.findings import Status
from runbooklib.model.window import Window
from runbooklib.render.sentences import sentence
from runbooklib.sources.context import Context, Sources
from runbooklib.sources.tape import Tape
from tests.support.known_series import serving

STEP = 15
SAMPLES = 3600 // STEP
END = datetime.fromtimestamp(datetime.now(UTC).timestamp() // 60 * 60 - 3 * 3600, UTC)
BROKE = END - timedelta(minutes=20)
Value = Callable[[datetime], float | None]


def always(value: float) -> Value:
    return lambda _: value


def since(moment: datetime, value: float | None, before: float | None) -> Value:
    return lambda now: value if now >= moment else before


SERIES: dict[str, Value] = {
    'up{instance="a"}': always(1),
    'up{instance="b"}': since(BROKE, 0, 1),
    'kube_pods{phase="Failed"}': always(0),
    'disk_free_bytes{disk="sound"}': always(80),
    'disk_free_bytes{disk="full"}': since(BROKE, 3, 80),
    'disk_free_bytes{disk="ended"}': since(BROKE, None, 1),
    'disk_size_bytes{disk="sound"}': always(100),
    'disk_size_bytes{disk="full"}': always(100),
    'disk_size_bytes{disk="ended"}': always(100),
    'disk_readonly{disk="full"}': always(1),
    'unit_state{unit="x",state="failed"}': since(BROKE, 1, 0),
    'unit_state{unit="y",state="failed"}': always(0),
    'queue_length{queue="1"}': always(5),
    'undefined{queue="1"}': always(float("nan")),
    **{f'many{{number="{number}"}}': always(number) for number in range(50)},
}


def openmetrics() -> Iterator[str]:
    names = dict.fromkeys(series.partition("{")[0] for series in SERIES)
    for name in names:
        yield f"# TYPE {name} gauge\n"
        for series, value in SERIES.items():
            for number in range(SAMPLES + 1) if series.startswith(f"{name}{{") else ():
                now = END - timedelta(seconds=STEP * (SAMPLES - number))
                told = value(now)
                if told is not None:
                    yield f"{series} {told} {now.timestamp()}\n"
    yield "# EOF\n"


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Context]:
    with serving(tmp_path_factory.mktemp("prometheus"), openmetrics()) as url:
        systems = {"prometheus": {"url": url}}
        services = {"any": {"title": "Any", "labels": {"service": "any"}}}
        site = Environment.model_validate({"title": "Known", "systems": systems, "services": services})
        target, tape = Target(environment_name="known", service_name="any", environment=site), Tape()
        window = Window.open(opened_at=datetime.now(UTC), at=END.isoformat(), lookback="50m")
        yield Context("Alert", target, window, Sources(target, tape))


@pytest.mark.parametrize(
    ("text", "measured"),
    [
        ("up == 0", 0.0),
        ('unit_state{state="failed"} == 1', 1.0),
        ("unit_state >= 1", 1.0),
        ("disk_free_bytes / disk_size_bytes * 100 < 5", 3.0),
        ("disk_free_bytes / disk_size_bytes < 0.05 and disk_readonly == 1", 0.03),
        ("5 > disk_free_bytes", 3.0),
        ("disk_free_bytes < on(disk) disk_size_bytes * 0.1", 3.0),
        ("absent(nothing) == 1 and on() up{instance='b'} == 0", 0.0),
        ("sum by (instance) (up == 0) == 0", 0.0),
        ('up{instance="b"} == 0 or nothing > 1', 0.0),
    ],
)
def test_a_condition_that_is_true_is_a_finding_since_it_became_true(
    here: Context, text: str, measured: float
) -> None:
    finding = alert_expression(here, expression=text)
    assert finding.status is Status.WARNING
    assert finding.measured == measured
    assert finding.since == BROKE
    assert finding.rows is not None
    assert sentence(finding).startswith("The condition is true for 1 series")
    assert alert_expression(here, expression=text, severity="critical").status is Status.CRITICAL


def test_what_was_true_from_the_windows_start_on_has_no_known_beginning(here: Context) -> None:
    finding = alert_expression(here, expression="disk_readonly == 1")
    assert (finding.status, finding.since) == (Status.WARNING, None)


@pytest.mark.parametrize(
    "text",
    [
        'up{instance="a"} == 0',
        "kube_pods > 0",
        "sum(kube_pods == 1) > 0",
        "count(kube_pods > 3) / count(up) > 0.5",
        "queue_length > on(queue) queue_length * 2",
        "queue_length > 10 or kube_pods > 0",
        "absent(up) or queue_length > 10",
        "absent(up) == 1",
        "queue_length unless on(queue) queue_length",
        "queue_length > scalar(kube_pods) + 10",
        "time() - timestamp(queue_length) > 600",
        "(queue_length or vector(0)) > 10",
        "(vector(0) or on() queue_length) > 10",
        "(sum(nothing) or sum(queue_length)) > 10",
        "(sum(nothing) or sum(up) * 0) > 10",
        "sum(rate(queue_length[5m]) > bool 1 or vector(0)) > 5",
        "count(nothing > 1 or queue_length > 10) > 1",
        "count((up > 5 and nothing) or (queue_length > 10 and up)) > 1",
        "max without (queue) (sum without (instance) (up == bool 7) or count(rate(nothing[2m]) > 0.01)) > 0",
    ],
)
def test_a_condition_that_is_not_true_of_what_is_there_is_ok(here: Context, text: str) -> None:
    finding = alert_expression(here, expression=text)
    assert (finding.status, finding.since) == (Status.OK, None)
    assert "unknown" not in sentence(finding)


@pytest.mark.parametrize(
    "text",
    [
        "nothing > 1",
        "nothing == 0",
        "queue_length > 10 or nothing > 1",
        "queue_length > 1 and nothing == 0",
        "queue_length > nothing",
        "queue_length > scalar(nothing)",
        "sum(nothing == 0) > 1",
        "count(kube_pods > 3) / count(nothing) > 0.5",
        "undefined > 1",
        "undefined / 0 > 1",
        "queue_length / disk_size_bytes > 1",
        "rate(queue_length[10s]) > 1",
        "kube_pods > 0 or nothing",
        "nothing unless up",
        # Only constants would be left of these.
        "(nothing or vector(0)) > 5",
        "(sum(nothing) OR on() vector(0)) > 5",
        "(vector(0) or nothing) > 5",
        "(nothing or nothing_else or vector(0)) > 5",
        "(nothing or (nothing_else or vector(0))) > 5",
        "(nothing or vector(time() - time())) > 5",
        "(nothing or scalar(vector(0)) * hour()) > 5",
        "(nothing or label_replace(vector(0), 'a', 'b', '', '')) > 5",
        "(sum(nothing) or 0 * absent(nothing)) > 5",
        "(sum(nothing) or 1 - absent(nothing)) > 5",
        "(sum(nothing) or absent_over_time(nothing[5m]) - 1) > 5",
        "increase((max(nothing_total) or 0 * absent(nothing_total))[15m:1m]) >= 4",
        "sum(nothing or vector(0)) > 5 and on() up",
        "(sum(up) or vector(0)) / on() (sum(nothing) or vector(1)) > 5",
        "clamp_min(sum(nothing) or vector(0), 0) > 5",
        "topk(scalar(nothing or vector(1)), up) > 5",
        "-(nothing or vector(0)) > 5",
        "(nothing > bool 3 or vector(0)) > 5",
        "queue_length > on() group_left() (nothing or vector(7))",
        # The series is there, what is computed of it is not.
        "(rate(queue_length[10s]) or vector(0)) > 5",
        "sum(rate(queue_length[10s]) > bool 1 or vector(0)) > 5",
        "(undefined or vector(0)) > 5",
        # Neither operand of an `or` below the top.
        "count(nothing > 1 or nothing_else > 2) > 1",
        "max(sum(nothing == bool 0) or count(rate(nothing_else[2m]) > 0.01)) > 0",
        "count((nothing > 1 and up) or (nothing_else > 2 and up)) > 1",
    ],
)
def test_a_condition_that_is_not_true_because_something_is_missing_is_unknown(
    here: Context, text: str
) -> None:
    with pytest.raises(NoDataError):
        alert_expression(here, expression=text)


def test_a_series_that_ended_is_not_the_worst_however_bad_it_was(here: Context) -> None:
    finding = alert_expression(here, expression='disk_free_bytes{disk!="full"} < 5')
    assert (finding.status, finding.measured) == (Status.OK, 80.0)
    assert (
        sentence(finding)
        == "The condition is not true. The worst value is 80 bytes; the condition is < 5 bytes."
    )


def test_of_many_series_the_worst_few_are_shown_by_the_labels_that_differ(here: Context) -> None:
    finding = alert_expression(here, expression="many > 20")
    assert finding.series is not None
    assert finding.rows is not None
    assert list(finding.series.columns) == [f'number="{number}"' for number in range(49, 43, -1)]
    assert list(finding.rows["value"]) == [49.0, 48.0, 47.0, 46.0, 45.0, 44.0]
    assert (finding.facts["count"], finding.measured) == (29, 49.0)
