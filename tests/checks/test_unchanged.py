"""Since when a health page has been ill, on known series of a real Prometheus."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import pytest

from runbooklib.checks.ask import ask
from runbooklib.checks.dependencies import component_health, health_page
from runbooklib.config.environment import Environment, Target
from runbooklib.model.findings import Finding, Status
from runbooklib.model.window import Window
from runbooklib.render.sentences import sentence
from runbooklib.sources.context import Context, Sources
from runbooklib.sources.tape import Tape
from tests.support.known_series import serving
from tests.support.stand_in import answer, standin

STEP = timedelta(minutes=1)
DAYS = 3
# For each service: since when its page has been ill, and by which series this is known.
ILL_SINCE = {
    "always": timedelta(days=DAYS),
    "two-days": timedelta(days=2),
    "minutes": timedelta(minutes=20),
    "sound": timedelta(0),
}
# How much younger the answer can be. The history is asked in steps of 30 min for the 30 min before each step.
BLUR = {"always": timedelta(minutes=62), "two-days": timedelta(minutes=62), "minutes": timedelta(minutes=10)}


@cache
def now() -> datetime:
    """The minute in which the first test of this module runs: the import can be an hour before it."""
    return datetime.fromtimestamp(datetime.now(UTC).timestamp() // 60 * 60, UTC)


def openmetrics() -> Iterator[str]:
    moments = [now() - STEP * number for number in range(DAYS * 1440, -1, -1)]
    yield "# TYPE http_requests counter\n"
    for service, age in ILL_SINCE.items():
        labels = f'service="{service}",endpoint="/health",method="GET"'
        counts = {"200": 0, "503": 0}
        lines: dict[str, list[str]] = {code: [] for code in counts}
        for moment in moments:
            code = "503" if moment > now() - age else "200"
            counts[code] += 4
            lines[code].append(
                f'http_requests_total{{{labels},status_code="{code}"}} {counts[code]} {moment.timestamp()}\n'
            )
        yield from (line for code in lines for line in lines[code])
    yield "# TYPE app_health_status gauge\n"
    for service, age in ILL_SINCE.items():
        for component in ("database", "api"):
            for moment in moments:
                is_ill = component == "database" and moment > now() - age
                labels = f'service="gauge-{service}",component="{component}"'
                yield f"app_health_status{{{labels}}} {0 if is_ill else 1} {moment.timestamp()}\n"
    yield "# EOF\n"


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("prometheus"), openmetrics()) as url:
        yield url


ILL: dict[str, Any] = {"status": "unhealthy", "components": {"database": {"status": "unhealthy"}}}


@contextmanager
def asked(prometheus: str, service: str, page: Any = ILL, status: int = 503) -> Iterator[Context]:
    with standin(answer(page, status=status)) as web:
        site = Environment.model_validate(
            {
                "title": "Site",
                "systems": {"prometheus": {"url": prometheus}},
                "services": {"it": {"title": "It", "labels": {"service": service}, "url": web.url}},
            }
        )
        target = Target(environment_name="site", service_name="it", environment=site)
        window = Window.open(opened_at=datetime.now(UTC), lookback="1h")
        yield Context("Alert", target, window, Sources(target, Tape()))


def age_of(finding: Finding) -> timedelta | None:
    return None if finding.unchanged_since is None else now() - finding.unchanged_since


@pytest.mark.parametrize("service", ["always", "two-days", "minutes"])
@pytest.mark.parametrize("series", ["", "gauge-"])
def test_a_page_that_is_ill_says_since_when_a_series_has_shown_it(
    prometheus: str, service: str, series: str
) -> None:
    with asked(prometheus, f"{series}{service}") as context:
        finding = ask(health_page, {}, context, Tape())
        assert finding.status is Status.WARNING
        age = age_of(finding)
        assert age is not None
        assert ILL_SINCE[service] - BLUR[service] < age <= ILL_SINCE[service] + STEP
        assert "Unchanged for " in sentence(finding)
        assert finding.was_the_same(context.time_before) is (service != "minutes")


@pytest.mark.parametrize("service", ["always", "minutes"])
def test_a_component_that_is_ill_says_since_when_its_gauge_has_shown_it(
    prometheus: str, service: str
) -> None:
    with asked(prometheus, f"gauge-{service}") as context:
        finding = ask(component_health, {"component": "database"}, context, Tape())
        age = age_of(finding)
        assert age is not None
        assert ILL_SINCE[service] - BLUR[service] < age <= ILL_SINCE[service] + STEP


@pytest.mark.parametrize("service", ["sound", "gauge-sound"])
def test_a_series_that_shows_a_sound_page_makes_the_problem_new(prometheus: str, service: str) -> None:
    with asked(prometheus, service) as context:
        finding = ask(health_page, {}, context, Tape())
        assert not finding.was_the_same(context.time_before)
        assert finding.unchanged_since is not None


def test_the_age_is_unknown_without_a_series_and_without_prometheus(prometheus: str) -> None:
    for url in (prometheus, "http://127.0.0.1:1"):
        with asked(url, "none") as context:
            finding = ask(health_page, {}, context, Tape())
            assert (finding.status, finding.unchanged_since) == (Status.WARNING, None)


def test_evidence_of_an_older_version_is_not_asked_what_it_does_not_contain() -> None:
    with asked("http://127.0.0.1:1", "always") as context:
        finding = ask(health_page, {}, replace(context, verdict_version=2), Tape())
        assert finding.unchanged_since is None


@pytest.mark.parametrize(
    ("page", "status", "expected"),
    [
        ({"status": "alive"}, 200, Status.OK),
        ({"status": "UP"}, 200, Status.OK),
        ({"status": "pass"}, 200, Status.OK),
        ({"status": "ready"}, 200, Status.OK),
        ("Healthy", 200, Status.OK),
        ({"status": "alive"}, 503, Status.WARNING),
        ({"status": "dead"}, 200, Status.WARNING),
        ("<html>login</html>", 200, Status.UNKNOWN),
        ({"alive": True}, 200, Status.UNKNOWN),
    ],
)
def test_the_words_of_liveness_pages_are_read(page: Any, status: int, expected: Status) -> None:
    with asked("http://127.0.0.1:1", "always", page, status) as context:
        assert ask(health_page, {}, context, Tape()).status is expected
