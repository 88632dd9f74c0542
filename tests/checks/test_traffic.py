"""The checks of traffic on known series: OpenMetrics, put into a real Prometheus and asked in the past.

Each service is one trap. Two hours of samples, one each 15 s, that ended three hours ago.
"""

import math
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from runbooklib.checks.alert_rule import firing_alert
from runbooklib.checks.deployments import errors_since_deployment
from runbooklib.checks.traffic import (
    error_rate,
    failing_endpoints,
    request_rate,
    response_time,
    slow_endpoints,
    status_codes,
)
from runbooklib.config.environment import Environment, Target
from runbooklib.errors import NoDataError, Reason, SourceError, StaleError
from runbooklib.model.findings import Finding, Status
from runbooklib.model.window import Window
from runbooklib.sources.context import Context, Sources
from runbooklib.sources.tape import Tape
from tests.support.known_series import serving

STEP = 15
SAMPLES = 2 * 3600 // STEP
END = datetime.fromtimestamp(datetime.now(UTC).timestamp() // 60 * 60 - 3 * 3600, UTC)
BROKE = END - timedelta(minutes=30)
Rate = Callable[[datetime], float]


def steady(per_second: float) -> Rate:
    return lambda _: per_second


def after(moment: datetime, per_second: float, before: float = 0.0) -> Rate:
    return lambda now: per_second if now >= moment else before


# service -> (endpoint, status code, requests per second at a moment)
SERVICES: dict[str, list[tuple[str, str, Rate]]] = {
    "sound": [("/a", "200", steady(10))],
    "broken": [("/a", "200", steady(9)), ("/b", "200", after(BROKE, 0, 5)), ("/b", "500", after(BROKE, 5))],
    "thin": [("/a", "500", steady(1 / 60))],
    "probed": [("/a", "200", steady(10)), ("/health", "503", steady(8))],
    "ended": [("/a", "200", after(BROKE, math.nan, 10))],
    "always": [("/a", "200", steady(5)), ("/a", "500", steady(5))],
    "idle": [("/a", "200", after(BROKE, 0, 10))],
}
BUCKETS = (0.1, 0.25, 0.5, 1.0, 2.5)


def moments() -> Iterator[datetime]:
    for number in range(SAMPLES + 1):
        yield END - timedelta(seconds=STEP * (SAMPLES - number))


def openmetrics() -> Iterator[str]:
    yield "# TYPE http_requests counter\n"
    for service, series in SERVICES.items():
        for endpoint, code, rate in series:
            labels = (
                f'service="{service}",instance="i",method="GET",endpoint="{endpoint}",status_code="{code}"'
            )
            total = 0.0
            for moment in moments():
                total += rate(moment) * STEP
                if not math.isnan(total):
                    yield f"http_requests_total{{{labels}}} {total} {moment.timestamp()}\n"
    yield "# TYPE http_request_duration_seconds histogram\n"
    for number, moment in enumerate(moments()):
        # Half of the requests take between 0.25 and 0.5 s, half between 1 and 2.5 s.
        counts = dict(zip(BUCKETS, (0, 0, 0.5, 0.5, 1), strict=True))
        for bound, share in [*counts.items(), ("+Inf", 1)]:
            labels = f'service="sound",instance="i",method="GET",endpoint="/a",le="{bound}"'
            counted = share * number * 150
            yield f"http_request_duration_seconds_bucket{{{labels}}} {counted} {moment.timestamp()}\n"
    yield "# EOF\n"


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("prometheus"), openmetrics()) as url:
        yield url


def make_context(
    url: str,
    service: str,
    *,
    repository: Path | None = None,
    rate_window: str = "5m",
    lookback: str = "90m",
) -> Context:
    systems: dict[str, dict[str, str]] = {"prometheus": {"url": url}, "alertmanager": {"url": url}}
    if repository:
        systems["git"] = {"repository": str(repository)}
    site = Environment.model_validate(
        {
            "title": "Known series",
            "systems": systems,
            "timing": {"rate_window": rate_window},
            "services": {service: {"title": service, "labels": {"service": service}}},
        }
    )
    target, tape = Target(environment_name="known", service_name=service, environment=site), Tape()
    window = Window.open(opened_at=datetime.now(UTC), at=END.isoformat(), lookback=lookback)
    return Context("HighErrorRate", target, window, Sources(target, tape))


def unknown(check: Callable[[], Finding], kind: type[SourceError]) -> None:
    with pytest.raises(kind):
        check()


def test_a_sound_service_is_ok(prometheus: str) -> None:
    finding = error_rate(make_context(prometheus, "sound"), above=0.05)
    assert (finding.status, finding.measured) == (Status.OK, 0.0)


def test_a_broken_service_is_critical_since_it_broke(prometheus: str) -> None:
    finding = error_rate(make_context(prometheus, "broken"), above=0.05)
    assert finding.status is Status.CRITICAL
    assert finding.measured == pytest.approx(5 / 14, rel=0.01)
    assert finding.since is not None
    # The rate window of five minutes smears the beginning.
    assert timedelta(0) <= finding.since - BROKE <= timedelta(minutes=2)


def test_a_share_of_few_requests_is_no_finding(prometheus: str) -> None:
    finding = error_rate(make_context(prometheus, "thin"), above=0.05)
    assert (finding.status, finding.reason) == (Status.UNKNOWN, Reason.THIN_TRAFFIC)


def test_failing_probes_of_the_health_page_are_no_errors_of_users(prometheus: str) -> None:
    assert error_rate(make_context(prometheus, "probed"), above=0.05).status is Status.OK
    assert status_codes(make_context(prometheus, "probed")).status is Status.OK


def test_a_target_that_vanished_is_unknown_and_not_sound(prometheus: str) -> None:
    unknown(lambda: error_rate(make_context(prometheus, "ended"), above=0.05), NoDataError)
    unknown(lambda: request_rate(make_context(prometheus, "ended")), StaleError)
    unknown(lambda: failing_endpoints(make_context(prometheus, "ended"), above=0.05), NoDataError)


def test_a_service_that_nobody_ever_scraped_is_unknown(prometheus: str) -> None:
    unknown(lambda: error_rate(make_context(prometheus, "nosuch"), above=0.05), NoDataError)
    unknown(lambda: status_codes(make_context(prometheus, "nosuch")), NoDataError)
    unknown(lambda: response_time(make_context(prometheus, "nosuch"), above=0.5), NoDataError)


def test_what_was_broken_from_the_first_sample_on_has_no_known_beginning(prometheus: str) -> None:
    finding = error_rate(make_context(prometheus, "always"), above=0.05)
    assert finding.status is Status.CRITICAL
    assert finding.since is None


def test_without_traffic_there_is_no_share_and_the_loss_is_seen(prometheus: str) -> None:
    finding = error_rate(make_context(prometheus, "idle"), above=0.05)
    assert (finding.status, finding.reason) == (Status.UNKNOWN, Reason.THIN_TRAFFIC)
    lost = request_rate(make_context(prometheus, "idle"))
    assert lost.status is Status.WARNING
    assert lost.since is not None
    assert abs(lost.since - BROKE) <= timedelta(minutes=4)


def test_the_failing_endpoint_is_named_and_the_sound_one_is_not(prometheus: str) -> None:
    finding = failing_endpoints(make_context(prometheus, "broken"), above=0.05)
    assert finding.rows is not None
    assert (finding.status, finding.facts["worst"], finding.facts["beyond"]) == (Status.WARNING, "GET /b", 1)
    assert list(finding.rows["failing share"]) == pytest.approx([1.0, 0.0])


def test_a_quantile_is_that_of_the_summed_buckets(prometheus: str) -> None:
    finding = response_time(make_context(prometheus, "sound"), above=0.5)
    # histogram_quantile: 0.95 lies at 90 % of the way through the bucket from 1 to 2.5 s.
    assert finding.measured == pytest.approx(1 + 1.5 * 0.9)
    assert finding.status is Status.WARNING
    slow = slow_endpoints(make_context(prometheus, "sound"), above=0.5)
    assert slow.facts["worst"] == "/a"


def test_a_system_that_knows_only_the_present_says_nothing_of_the_past(prometheus: str) -> None:
    unknown(lambda: firing_alert(make_context(prometheus, "sound")), StaleError)


def test_series_are_on_the_whole_grid_with_gaps_left_open(prometheus: str) -> None:
    finding = error_rate(make_context(prometheus, "broken"), above=0.05)
    assert finding.series is not None
    assert len(finding.series) == 90 * 60 / 15 + 1


def deployed(folder: Path, at: datetime) -> Path:
    """A real repository with one deployment at that moment."""
    moment = at.strftime("%Y-%m-%dT%H:%M:%SZ")
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_AUTHOR_DATE": moment}
    environment["GIT_COMMITTER_DATE"] = moment
    git = ["git", "-c", "user.name=Deployer", "-c", "user.email=deployer@example.invalid"]
    for words in (
        ["init", "-q"],
        ["commit", "-q", "--allow-empty", "-m", "Deploy"],
        ["tag", "-a", "deploy/1", "-m", "Deploy"],
    ):
        subprocess.run([*git, *words], cwd=folder, env=environment, check=True)
    return folder


def since_deployment(url: str, folder: Path, at: datetime, lookback: str) -> Finding:
    found = make_context(url, "broken", repository=deployed(folder, at), rate_window="30s", lookback=lookback)
    return errors_since_deployment(replace(found, onset=BROKE + timedelta(seconds=60)), above=0.05)


def test_errors_that_begin_with_a_deployment_speak_against_it_on_a_coarse_grid_too(
    prometheus: str, tmp_path: Path
) -> None:
    # Steps of a minute: no sample lies in the half minute before the deployment.
    finding = since_deployment(prometheus, tmp_path, BROKE - timedelta(seconds=20), "5h")
    assert finding.status is Status.CRITICAL
    assert finding.facts["before"] == 0.0


def test_a_deployment_with_nothing_known_before_it_is_unknown(prometheus: str, tmp_path: Path) -> None:
    unknown(
        lambda: since_deployment(prometheus, tmp_path, BROKE - timedelta(minutes=20), "45m"),
        NoDataError,
    )
