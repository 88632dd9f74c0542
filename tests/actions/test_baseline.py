"""Recovery is judged against the state before the incident, on known series of a real Prometheus."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache

import pytest

from runbooklib.actions.baseline import before_incident
from runbooklib.actions.recovery import Wait, watch
from runbooklib.config.environment import Environment, Target
from runbooklib.model.findings import Status
from runbooklib.model.window import Window
from runbooklib.render.sentences import sentence
from runbooklib.sources.context import Context, Sources
from runbooklib.sources.tape import Tape
from tests.support.known_series import serving
from tests.support.stand_in import answer, standin

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
DAYS = 8
# By alert: the episodes in which it fired, as the time from and until before now.
EPISODES = {
    "Short": ((HOUR, 10 * MINUTE),),
    "Flapping": ((26 * HOUR, 25 * HOUR), (3 * HOUR, 2 * HOUR)),
    "Always": ((DAYS * DAY, timedelta(0)),),
    "Never": (),
}
# By service: how long its page has been ill.
ILL_FOR = {"week": DAYS * DAY, "two-days": 2 * DAY, "hours": 5 * HOUR, "minutes": 50 * MINUTE}


@cache
def now() -> datetime:
    """The minute in which the first test of this module runs: the import can be an hour before it."""
    return datetime.fromtimestamp(datetime.now(UTC).timestamp() // 60 * 60, UTC)


def openmetrics() -> Iterator[str]:
    moments = [now() - MINUTE * number for number in range(DAYS * 1440, -1, -1)]
    yield "# TYPE ALERTS gauge\n"
    for name, episodes in EPISODES.items():
        for start, end in episodes:
            yield from (
                f'ALERTS{{alertname="{name}",alertstate="firing"}} 1 {moment.timestamp()}\n'
                for moment in moments
                if now() - start <= moment <= now() - end
            )
    yield "# TYPE app_health_status gauge\n"
    for service, age in ILL_FOR.items():
        labels = f'service="{service}",component="database"'
        for moment in moments:
            yield f"app_health_status{{{labels}}} {0 if moment >= now() - age else 1} {moment.timestamp()}\n"
    yield "# EOF\n"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    rules = {"groups": [{"name": "g", "rules": [{"alert": name, "expr": "up < 0"} for name in EPISODES]}]}
    ill = {"status": "unhealthy", "components": {"database": {"status": "unhealthy"}}}
    with (
        serving(tmp_path_factory.mktemp("prometheus"), openmetrics(), rules=json.dumps(rules)) as url,
        standin(answer(ill, status=503)) as web,
    ):
        services = {name: {"title": name, "labels": {"service": name}, "url": web.url} for name in ILL_FOR}
        yield Environment.model_validate(
            {"title": "Site", "systems": {"prometheus": {"url": url}}, "services": services}
        )


def opened(site: Environment, alert: str, service: str = "week") -> tuple[Context, Tape]:
    target, tape = Target(environment_name="site", service_name=service, environment=site), Tape()
    window = Window.open(opened_at=datetime.now(UTC), lookback="1h")
    return Context(alert, target, window, Sources(target, tape)), tape


@pytest.mark.parametrize(
    ("alert", "age"),
    [("Short", HOUR + 35 * MINUTE), ("Flapping", 26 * HOUR + 35 * MINUTE), ("Never", DAY)],
)
def test_the_time_before_the_incident_is_the_lead_before_the_alert(
    site: Environment, alert: str, age: timedelta
) -> None:
    before = before_incident(opened(site, alert)[0])
    assert before is not None
    assert abs(now() - before - age) <= 6 * MINUTE


@pytest.mark.parametrize("alert", ["Always", "NoSuchRule"])
def test_the_time_before_the_incident_can_be_unknown(site: Environment, alert: str) -> None:
    assert before_incident(opened(site, alert)[0]) is None


@pytest.mark.parametrize(
    ("alert", "service", "status"),
    [
        ("Short", "week", Status.OK),
        ("Short", "two-days", Status.OK),
        ("Short", "hours", Status.OK),
        ("Short", "minutes", Status.WARNING),  # it became ill with the incident
        ("Flapping", "two-days", Status.OK),
        ("Flapping", "hours", Status.WARNING),  # it became ill between two episodes
        ("Never", "week", Status.OK),
        ("Never", "hours", Status.WARNING),
        ("Always", "week", Status.WARNING),
        ("NoSuchRule", "week", Status.WARNING),
    ],
)
def test_what_was_ill_before_the_incident_does_not_prevent_recovery(
    site: Environment, alert: str, service: str, status: Status
) -> None:
    def look() -> tuple[Context, Tape]:
        return opened(site, alert, service)

    wait = Wait(hold_seconds=60.0, within_seconds=0.0, every_seconds=0.0)
    certificate = watch(look, wait, before=before_incident(look()[0]))
    [page] = [finding for finding in certificate.findings if finding.check == "health_page"]
    assert page.status is status
    assert "The health page answers 503" in sentence(page)
    assert ("It was the same before the incident" in sentence(page)) is (status is Status.OK)
