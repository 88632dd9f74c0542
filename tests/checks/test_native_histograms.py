"""Alerts on native histograms, scraped by a real Prometheus."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from runbooklib.checks.alert_rule import alert_expression
from runbooklib.config.environment import Environment, Target
from runbooklib.errors import NoDataError
from runbooklib.model.findings import Status
from runbooklib.model.window import Window
from runbooklib.render.sentences import sentence
from runbooklib.sources.context import Context, Sources
from runbooklib.sources.prometheus.client import Prometheus
from runbooklib.sources.tape import Tape
from tests.support.native_histograms import scraping

DURATION = "job_duration_seconds"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with scraping(tmp_path_factory.mktemp("prometheus")) as url:
        yield url


@pytest.fixture
def window() -> Window:
    return Window.open(opened_at=datetime.now(UTC), lookback="1m", scrape_interval="1s")


@pytest.fixture
def context(url: str, window: Window) -> Context:
    services = {"jobs": {"title": "Jobs", "labels": {"job": "jobs"}}}
    systems = {"prometheus": {"url": url}}
    site = Environment.model_validate({"title": "Site", "systems": systems, "services": services})
    target = Target(environment_name="site", service_name="jobs", environment=site)
    return Context("Alert", target, window, Sources(target, Tape()))


def test_a_histogram_sample_counts_as_the_number_of_its_observations(url: str, window: Window) -> None:
    ask = Prometheus(url, Tape())
    frame = ask.instant(DURATION, window.end)
    assert list(frame["path"]) == ["/x"]
    assert frame["value"].iloc[0] == ask.instant(f"histogram_count({DURATION})", window.end)["value"].iloc[0]
    assert frame.attrs["histograms"] == 1
    assert ask.instant("job_ready", window.end).attrs["histograms"] == 0


def test_the_histogram_samples_of_a_range_stand_on_their_steps(url: str, window: Window) -> None:
    ask = Prometheus(url, Tape())
    frame = ask.range(f"sum({DURATION})", window)
    counted = ask.range(f"histogram_count(sum({DURATION}))", window)
    assert frame["value"].notna().any()
    assert frame["value"].equals(counted["value"])


def test_a_series_that_became_a_histogram_is_one_column(url: str, window: Window) -> None:
    mixed = f"sum({DURATION} unless on() (vector(time()) % 2 == 0)) or sum(job_ready)"
    frame = Prometheus(url, Tape()).range(mixed, window)
    values = frame["value"].dropna()
    assert (values == 1.0).any()
    assert (values > 5.0).any()


@pytest.mark.parametrize(
    ("text", "measured"),
    [
        (f"histogram_quantile(0.9, sum(rate({DURATION}[10s]))) > 5", 0.95),
        (f"histogram_quantile(0.9, rate({DURATION}[10s])) > 5", 0.95),
        (f"histogram_sum(rate({DURATION}[10s])) / histogram_count(rate({DURATION}[10s])) > 5", 0.7),
        (f"(histogram_quantile(0.9, sum(rate({DURATION}[10s]))) or vector(0)) > 5", 0.95),
        (f"job_ready > 1 and on() {DURATION}", 1.0),
    ],
)
def test_a_sound_alert_on_a_native_histogram_is_ok(context: Context, text: str, measured: float) -> None:
    finding = alert_expression(context, expression=text)
    assert finding.status is Status.OK
    assert finding.measured == pytest.approx(measured, rel=0.1)


@pytest.mark.parametrize(
    "text",
    [
        f"histogram_quantile(0.9, sum(rate({DURATION}[10s]))) > 0.6",
        f"{DURATION} and on() job_ready == 1",
        f"absent(nothing) and on() {DURATION}",
        DURATION,
    ],
)
def test_a_true_alert_on_a_native_histogram_is_a_finding(context: Context, text: str) -> None:
    finding = alert_expression(context, expression=text)
    assert finding.status is Status.WARNING
    assert sentence(finding).startswith("The condition is true for 1 series")


@pytest.mark.parametrize(
    "text", [f"{DURATION} > 1e9", f"sum(rate({DURATION}[10s])) > 1e9", f"1e9 < {DURATION}"]
)
def test_an_alert_that_compares_a_histogram_with_a_number_can_never_fire(context: Context, text: str) -> None:
    with pytest.raises(NoDataError, match="native histogram"):
        alert_expression(context, expression=text)
