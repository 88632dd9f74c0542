"""Several workers behind one port, scraped over a connection that is kept open: real processes.

Prometheus always meets the same worker, so the start time that it has never goes back.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from runbooklib.checks.ask import ask
from runbooklib.checks.traffic import error_rate, request_rate, steady_counters
from runbooklib.config.environment import Environment, Target
from runbooklib.errors import Reason
from runbooklib.model.findings import Finding, Status
from runbooklib.model.window import Window
from runbooklib.render.sentences import sentence
from runbooklib.sources.context import Context, Sources
from runbooklib.sources.tape import Tape
from runbooklib.sources.web import Web
from tests.support.metrics_workers import scraped_workers
from tests.support.stand_in import answer, standin

Urls = tuple[str, str]


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Urls]:
    with scraped_workers(tmp_path_factory.mktemp("several"), 4) as urls:
        yield urls


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Urls]:
    with scraped_workers(tmp_path_factory.mktemp("single"), 1) as urls:
        yield urls


def asked(urls: Urls, check: Callable[..., Finding], tape: Tape | None = None, **limits: Any) -> Finding:
    prometheus, service = urls
    site = Environment.model_validate(
        {
            "title": "Workers",
            "systems": {"prometheus": {"url": prometheus}},
            "timing": {"rate_window": "4s", "scrape_interval": "1s"},
            "services": {"backend": {"title": "Backend", "labels": {"service": "backend"}, "url": service}},
        }
    )
    target, tape = Target(environment_name="test", service_name="backend", environment=site), tape or Tape()
    window = Window.open(opened_at=datetime.now(UTC), lookback="8s", scrape_interval="1s")
    return ask(check, limits, Context("Alert", target, window, Sources(target, tape)), tape)


CHECKS: list[tuple[Callable[..., Finding], dict[str, Any]]] = [
    (steady_counters, {}),
    (error_rate, {"above": 0.05}),
    (request_rate, {}),
]


@pytest.mark.parametrize(("check", "limits"), CHECKS)
def test_workers_that_a_kept_connection_hides_are_seen_over_new_ones(
    several: Urls, check: Callable[..., Finding], limits: dict[str, Any]
) -> None:
    finding = asked(several, check, **limits)
    assert (finding.status, finding.reason) == (Status.UNKNOWN, Reason.NONSENSE), sentence(finding)
    assert "processes answer at the metrics page, and Prometheus has the series of 1" in sentence(finding)


@pytest.mark.parametrize(("check", "limits"), CHECKS)
def test_one_worker_is_believed(single: Urls, check: Callable[..., Finding], limits: dict[str, Any]) -> None:
    finding = asked(single, check, **limits)
    assert finding.status is Status.OK, sentence(finding)


def test_a_replay_reads_the_start_times_from_the_recording(several: Urls) -> None:
    tape = Tape()
    first = Web(several[1], tape).process_starts("/metrics")
    assert len(first) > 1
    replayed = Web(several[1], Tape(recording=tape.take_recorded())).process_starts("/metrics")
    assert replayed == first


@pytest.mark.parametrize(
    ("text", "starts"),
    [
        ("process_start_time_seconds 1.76e+09\n", [1.76e9]),
        ('process_start_time_seconds{pid="1"} 5\nprocess_start_time_seconds{pid="2"} 6\n', [5.0, 6.0]),
        ("# process_start_time_seconds 7\n", []),
        ("<html>not a metrics page</html>", []),
    ],
)
def test_the_start_times_of_a_page(text: str, starts: list[float]) -> None:
    with standin(answer(text, content_type="text/plain")) as server:
        assert Web(server.url, Tape()).process_starts("/metrics") == starts


def test_a_page_that_refuses_has_no_start_times() -> None:
    with standin(answer("process_start_time_seconds 7\n", status=403)) as server:
        assert Web(server.url, Tape()).process_starts("/metrics") == []
