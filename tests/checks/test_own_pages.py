"""Requests of probers and of our own are traffic: a failing health page is not a failing service.

Known series in a real Prometheus, with the rule of an alert that counts every request. Each service is one
trap.
"""

import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from runbooklib.checks.alert_rule import alert_expression, alert_rule
from runbooklib.checks.deployments import deployments
from runbooklib.checks.traffic import error_rate, failing_endpoints
from runbooklib.config.environment import Environment, Target
from runbooklib.model.findings import Finding, Status
from runbooklib.model.verdict import Cause, judge
from runbooklib.model.window import Window
from runbooklib.render.sentences import sentence
from runbooklib.sources.context import Context, Sources
from runbooklib.sources.tape import Tape
from tests.support.known_series import serving

STEP = 15
SAMPLES = 2 * 3600 // STEP
END = datetime.fromtimestamp(datetime.now(UTC).timestamp() // 60 * 60 - 3 * 3600, UTC)
BROKE = END - timedelta(minutes=30)
# service -> (endpoint, status code, requests per second since the break)
SERVICES: dict[str, list[tuple[str, str, float]]] = {
    "probed": [("/a", "200", 10), ("/health", "503", 2)],
    "metrics": [("/a", "200", 10), ("/metrics", "500", 2)],
    "elsewhere": [("/a", "200", 10), ("/healthz", "503", 2)],
    "users": [("/a", "200", 10), ("/a", "500", 0.5), ("/b", "500", 2), ("/health", "503", 1)],
    "unlabelled": [("", "200", 10), ("", "503", 2)],
    "sound": [("/a", "200", 10)],
}
OWN = "the service's own pages"


def expression(service: str) -> str:
    """The rule of the platform: every request counts."""
    failed = f'http_requests_total{{service="{service}",status_code=~"5.."}}'
    return f'sum(rate({failed}[5m])) / sum(rate(http_requests_total{{service="{service}"}}[5m])) > 0.05'


def rules() -> str:
    lines = ["groups:", "- name: errors", "  rules:"]
    for service in SERVICES:
        lines += [f"  - alert: Errors-{service}", f"    expr: '{expression(service)}'"]
        lines += ["    labels: {severity: critical}"]
    return "\n".join(lines) + "\n"


def openmetrics() -> Iterator[str]:
    yield "# TYPE http_requests counter\n"
    for service, series in SERVICES.items():
        for endpoint, code, rate in series:
            labels = f'service="{service}",method="GET",status_code="{code}"'
            labels += f',endpoint="{endpoint}"' if endpoint else ""
            for number in range(SAMPLES + 1):
                now = END - timedelta(seconds=STEP * (SAMPLES - number))
                failing = max(0.0, (now - BROKE).total_seconds()) * rate
                counted = failing if code.startswith("5") else rate * number * STEP
                yield f"http_requests_total{{{labels}}} {counted} {now.timestamp()}\n"
    yield "# EOF\n"


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("prometheus"), openmetrics(), rules=rules()) as url:
        yield url


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with a deployment ten minutes before the break."""
    folder = tmp_path_factory.mktemp("repository")
    moment = (BROKE - timedelta(minutes=10)).strftime("%Y-%m-%dT%H:%M:%SZ")
    dates = {"GIT_AUTHOR_DATE": moment, "GIT_COMMITTER_DATE": moment}
    git = ["git", "-c", "user.name=Deployer", "-c", "user.email=deployer@example.invalid"]
    for words in (
        ["init", "-q"],
        ["commit", "-q", "--allow-empty", "-m", "Deploy"],
        ["tag", "-a", "deploy/1", "-m", "Deploy"],
    ):
        subprocess.run([*git, *words], cwd=folder, env={**os.environ, **dates}, check=True)
    return folder


def make_context(
    url: str, service: str, repository: Path | None = None, *, health: str = "/health"
) -> Context:
    systems: dict[str, dict[str, str]] = {"prometheus": {"url": url}}
    if repository:
        systems["git"] = {"repository": str(repository)}
    about = {"title": service, "labels": {"service": service}, "health": health}
    site = Environment.model_validate(
        {"title": "Known series", "systems": systems, "services": {service: about}}
    )
    target, tape = Target(environment_name="known", service_name=service, environment=site), Tape()
    window = Window.open(opened_at=datetime.now(UTC), at=END.isoformat(), lookback="90m")
    return Context(f"Errors-{service}", target, window, Sources(target, tape))


@pytest.mark.parametrize(("service", "page"), [("probed", "/health"), ("metrics", "/metrics")])
def test_a_rule_that_only_the_own_pages_make_true_says_so(prometheus: str, service: str, page: str) -> None:
    context = make_context(prometheus, service)
    for finding in (alert_rule(context), alert_expression(context, expression=expression(service))):
        assert finding.status is Status.WARNING
        assert OWN in sentence(finding)
        assert page in sentence(finding)
        assert finding.since is None  # the failures of a prober have no symptom that began


def test_the_health_page_of_the_environment_is_an_own_page(prometheus: str) -> None:
    """It is not in `probes`, and is the health page all the same."""
    ours = make_context(prometheus, "elsewhere", health="/healthz")
    assert OWN in sentence(alert_rule(ours))
    assert error_rate(ours, above=0.05).status is Status.OK
    theirs = make_context(prometheus, "elsewhere")
    assert alert_rule(theirs).status is Status.CRITICAL
    assert error_rate(theirs, above=0.05).status is Status.CRITICAL


def test_a_rule_that_is_true_for_users_is_judged_as_before(prometheus: str) -> None:
    finding = alert_rule(make_context(prometheus, "users"))
    assert (finding.status, OWN in sentence(finding)) == (Status.CRITICAL, False)
    sound = alert_rule(make_context(prometheus, "sound"))
    assert (sound.status, OWN in sentence(sound)) == (Status.OK, False)


def test_a_rule_about_something_else_says_nothing_of_failing_pages(prometheus: str) -> None:
    other = 'sum(rate(http_requests_total{service="probed"}[5m])) > 1'
    finding = alert_expression(make_context(prometheus, "probed"), expression=other)
    assert OWN not in sentence(finding)


def test_without_the_endpoint_nothing_is_claimed(prometheus: str) -> None:
    assert alert_rule(make_context(prometheus, "unlabelled")).status is Status.CRITICAL


def test_the_failing_endpoint_leads_the_answer(prometheus: str) -> None:
    finding = error_rate(make_context(prometheus, "users"), above=0.05)
    assert finding.status is Status.CRITICAL
    assert "/b has most of the failures: 57.1 %" in sentence(finding)
    assert OWN not in sentence(finding)


def test_the_error_rate_of_users_says_that_only_the_health_page_fails(prometheus: str) -> None:
    finding = error_rate(make_context(prometheus, "probed"), above=0.05)
    assert finding.status is Status.OK
    assert OWN in sentence(finding)
    assert failing_endpoints(make_context(prometheus, "probed"), above=0.05).status is Status.OK
    assert OWN not in sentence(error_rate(make_context(prometheus, "sound"), above=0.05))


def asked(prometheus: str, service: str, repository: Path) -> tuple[Finding, Finding]:
    """The alert's rule, and the deployment before an alert that fires since the break."""
    context = make_context(prometheus, service, repository)
    return alert_rule(context), deployments(replace(context, onset=BROKE + timedelta(minutes=2)))


def test_a_failing_health_page_supports_no_deployment(prometheus: str, repository: Path) -> None:
    symptom, deployed = asked(prometheus, "probed", repository)
    assert deployed.status is Status.OK
    assert "does not point to a deployment" in sentence(deployed)
    verdict = judge([symptom], [Cause("bad-deployment", "A deployment broke it", (deployed,))])
    assert not verdict.supported_causes


def test_failing_requests_of_users_still_point_to_the_deployment(prometheus: str, repository: Path) -> None:
    for service in ("users", "unlabelled", "elsewhere"):
        _, deployed = asked(prometheus, service, repository)
        assert deployed.status is Status.WARNING, service
