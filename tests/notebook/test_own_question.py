"""An alert whose own metric has no series, asked on a real Prometheus and a real Alertmanager."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from runbooklib.checks import ai, alert_rule, database_client, dependencies, resources, sandbox, traffic
from runbooklib.checks.ask import Check
from runbooklib.config.environment import Environment, Target
from runbooklib.model.findings import Status
from runbooklib.model.window import Window
from runbooklib.notebook.incident import Incident
from runbooklib.render.sentences import headline
from runbooklib.sources.context import Context, Sources
from runbooklib.sources.tape import Tape
from tests.support.alertmanagers import alert, own_alertmanager, post
from tests.support.incident import Listener
from tests.support.known_series import serving
from tests.support.stand_in import answer, standin

# By alert: its own check, and a metric that this service does not export.
OWN: dict[str, tuple[Check, dict[str, Any], str]] = {
    "AIServiceErrors": (ai.ai_error_rate, {"above": 0.1}, "ai_chat_requests_total"),
    "SlowAIResponse": (ai.ai_response_time, {"above": 15.0}, "ai_chat_duration_seconds_bucket"),
    "HighAITokenConsumption": (ai.ai_tokens, {"above": 10000.0}, "ai_chat_tokens_total"),
    "HighSandboxErrorRate": (sandbox.sandbox_error_rate, {"above": 0.1}, "sandbox_executions_total"),
    "SlowSandboxExecution": (
        sandbox.sandbox_time,
        {"above": 10.0},
        "sandbox_execution_duration_seconds_bucket",
    ),
    "SandboxPoolDepleted": (sandbox.sandbox_pool, {"below": 2.0}, "sandbox_pool_available"),
    "SlowDatabaseQueries": (
        database_client.slow_operations,
        {"above": 0.1},
        "db_query_duration_seconds_bucket",
    ),
    "HighDatabaseConnections": (database_client.connections_in_use, {"above": 50.0}, "db_connections_active"),
    "HighMemoryUsage": (resources.resident_memory, {"above": 2e9}, "process_resident_memory_bytes"),
}
ILL = {"status": "unhealthy", "components": {"database": {"status": "unhealthy"}}}


def openmetrics() -> Iterator[str]:
    now = datetime.now(UTC)
    moments = [now - timedelta(seconds=15 * number) for number in range(240, -1, -1)]
    yield "# TYPE up gauge\n"
    yield from (f'up{{service="backend"}} 1 {moment.timestamp()}\n' for moment in moments)
    yield "# TYPE http_requests counter\n"
    for number, moment in enumerate(moments):
        labels = 'service="backend",endpoint="/a",method="GET",status_code="200"'
        yield f"http_requests_total{{{labels}}} {number * 30} {moment.timestamp()}\n"
    yield "# EOF\n"


def rules() -> str:
    listed = [{"alert": name, "expr": f"sum(rate({metric}[5m])) > 5"} for name, (_, _, metric) in OWN.items()]
    return json.dumps({"groups": [{"name": "all", "rules": listed}]})


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    folder = tmp_path_factory.mktemp("servers")
    with (
        serving(folder, openmetrics(), rules=rules()) as prometheus,
        own_alertmanager(folder) as alertmanager,
        standin(answer(ILL, status=503)) as web,
    ):
        post(f"{alertmanager}/api/v2/alerts", [alert("DiskFull", severity="critical")])
        systems = {"prometheus": {"url": prometheus}, "alertmanager": {"url": alertmanager}}
        service = {"title": "Backend", "labels": {"service": "backend"}, "url": web.url}
        yield Environment.model_validate(
            {"title": "Site", "systems": systems, "services": {"backend": service}}
        )


def opened(site: Environment, name: str) -> Incident:
    target = Target(environment_name="site", service_name="backend", environment=site)
    tape = Tape()
    window = Window.open(opened_at=datetime.now(UTC), lookback="30m")
    return Incident(Context(name, target, window, Sources(target, tape)), tape, Listener())


@pytest.mark.parametrize("name", OWN)
def test_an_alert_without_series_is_unknown_and_says_so_first(site: Environment, name: str) -> None:
    check, limits, metric = OWN[name]
    incident = opened(site, name)
    incident.check(check, **limits)
    for side in (alert_rule.alert_rule, alert_rule.firing_alert, dependencies.health_page):
        incident.check(side)
    incident.check(alert_rule.related_alerts)
    assert [finding.status for finding in incident.findings] == [
        Status.UNKNOWN,
        Status.UNKNOWN,
        Status.OK,
        Status.WARNING,
        Status.WARNING,
    ]
    assert incident.verdict.status is Status.UNKNOWN
    said = headline(incident.verdict)
    assert said.startswith("Cannot tell.")
    assert f"{metric}, so the rule cannot become true" in said.split("Beside that")[0]


def test_another_alert_does_not_make_a_sound_service_ill(site: Environment) -> None:
    incident = opened(site, "HighErrorRate")
    incident.check(traffic.error_rate, above=0.05)
    incident.check(alert_rule.related_alerts)
    assert [finding.status for finding in incident.findings] == [Status.OK, Status.WARNING]
    assert incident.verdict.status is Status.OK
    assert headline(incident.verdict).endswith("Beside that: Other firing alerts: DiskFull.")
