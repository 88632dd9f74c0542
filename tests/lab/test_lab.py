"""The real lab: every fault is seen in the systems themselves, and heal brings green.

Faults share a lab and, where they do not hide each other, a heal: green needs the rate window to pass.
"""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dns.message
import dns.query
import dns.rcode
import docker
import psycopg
import pytest
import yaml
from docker.models.containers import Container

from lab import (
    Lab,
    LabError,
    Layout,
    deployments,
    engine,
    environment,
    faults,
    postgres,
    processes,
    rules,
    web,
)
from tests.support.supervisor import prefix

FIRING_SECONDS = 30.0
ALERTS = 18


@pytest.fixture
def container(lab: Lab) -> Iterator[Callable[[], Container]]:
    client = docker.DockerClient(base_url=lab.layout.docker_url)
    yield lambda: client.containers.get(lab.layout.container)
    client.close()


def eventually(holds: Callable[[], object], *, within: float = FIRING_SECONDS) -> None:
    deadline = time.monotonic() + within
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.3)


def is_firing(lab: Lab, alert: str) -> bool:
    return (web.alerts(lab.layout) or {}).get(alert) == "firing"


def rows(lab: Lab, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(lab.layout.dsn("runbook_reader")) as connection:
        return connection.execute(query.encode()).fetchall()


def events(lab: Lab, action: str, since: float) -> list[dict[str, Any]]:
    client = docker.DockerClient(base_url=lab.layout.docker_url)
    span = {"since": int(since), "until": int(time.time()) + 1}
    seen = list(client.events(decode=True, filters={"container": lab.layout.container}, **span))
    client.close()
    return [event for event in seen if event["Action"] == action]


def ask_nameserver(lab: Lab) -> dns.rcode.Rcode:
    query = dns.message.make_query("ai-provider.lab", "A")
    return dns.query.udp(query, "127.0.0.1", port=lab.layout.nameserver_port, timeout=2).rcode()


def error_counts(lab: Lab, labels: str) -> float:
    return web.value(lab.layout, f"sum(increase(http_requests_total{{{labels}}}[10s]))") or 0.0


def assert_green(lab: Lab) -> None:
    status = lab.status()
    assert status.green
    assert status.alerts == {}
    assert status.faults == []
    assert status.version == "1.4.2"
    assert web.status(lab.layout.backend_port, "/health") == 200


def test_committed_rules_are_the_rendered_template_and_pass_promtool(tmp_path: Path) -> None:
    assert rules.RENDERED.read_text(encoding="utf-8") == rules.render_lab()
    for times in (rules.LAB, rules.PRODUCTION):
        path = tmp_path / "rules.yml"
        path.write_text(rules.render(times), encoding="utf-8")
        groups = yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
        assert len([rule for group in groups for rule in group["rules"]]) == ALERTS
        if shutil.which("promtool"):
            subprocess.run(["promtool", "check", "rules", str(path)], check=True, capture_output=True)


def test_environment_of_the_default_lab_is_the_committed_one() -> None:
    committed = Path(__file__).parents[2] / "parameters" / "environments" / "lab.yaml"
    assert environment.render(Layout()) == committed.read_text(encoding="utf-8")


def test_each_alert_is_fired_by_a_fault_and_each_fault_fires_alerts_that_there_are() -> None:
    groups = yaml.safe_load(rules.render_lab())["groups"]
    there_are = {rule["alert"] for group in groups for rule in group["rules"]}
    fired = {alert for fault in faults.FAULTS.values() for alert in fault.fires}
    assert fired == there_are


def test_unknown_fault_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(LabError, match="connections-exhausted"):
        faults.find("conections")


def test_break_without_a_lab_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="python -m lab up"):
        Lab(tmp_path / "none", 31500).break_("oom")


def test_recycled_pid_is_never_stopped(tmp_path: Path) -> None:
    layout = Layout(tmp_path, 31500)
    layout.processes.mkdir()
    pid = os.getpid()
    record = f'{{"pid": {pid}, "started": 1, "stop_signal": 9}}'
    (layout.processes / "prometheus.json").write_text(record, encoding="utf-8")
    assert processes.running(layout, "prometheus") is None
    assert processes.stop(layout, "prometheus") is False


def test_sound_lab_is_green_and_has_all_rules_roles_and_deployments(lab: Lab) -> None:
    assert_green(lab)
    lab.up()  # again: nothing to do
    answer = web.fetch(lab.layout.prometheus_port, "/api/v1/rules")
    assert answer is not None
    assert answer[1].count(b'"type":"alerting"') == ALERTS
    granted = rows(
        lab, "SELECT pg_has_role(current_user, 'pg_monitor', 'usage'), current_setting('max_connections')"
    )
    assert granted == [(True, str(postgres.MAX_CONNECTIONS))]
    assert (
        len(deployments.text(lab.layout, "tag", "--list", "deploy/*").splitlines()) >= 3
    )  # earlier tests of this lab may have deployed
    assert ask_nameserver(lab) == dns.rcode.NOERROR


def test_second_lab_runs_beside_the_first_on_its_engine(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "MACHINE_SOCKET", lab.layout.docker_socket)
    second = Lab(Path(tempfile.mkdtemp(dir="/tmp", prefix=prefix("rl"))), lab.base_port + 1000)
    try:
        second.up()
        assert second.status().green
        second.backfill(1)
        hour_ago = f"sum(http_requests_total offset 30m) > 0 and vector({second.base_port}) > 0"
        eventually(lambda: web.value(second.layout, hour_ago))
    finally:
        second.down(wipe=True)
    assert lab.status().green
    assert not second.state.exists()


def test_oom_and_broken_dns(lab: Lab, container: Callable[[], Container]) -> None:
    started = time.time()
    lab.break_("oom")
    lab.break_("dns-broken")
    assert ask_nameserver(lab) == dns.rcode.SERVFAIL
    eventually(lambda: error_counts(lab, 'endpoint="/api/v1/chat",status_code="502"'))
    eventually(lambda: container().attrs["RestartCount"] >= 1)
    eventually(lambda: is_firing(lab, "HighErrorRate"))
    assert events(lab, "oom", started)
    assert any(event["Actor"]["Attributes"]["exitCode"] == "137" for event in events(lab, "die", started))
    lab.heal()
    assert_green(lab)


def test_bad_deploy_and_then_all_that_only_slows(lab: Lab, container: Callable[[], Container]) -> None:
    lab.break_("bad-deploy")
    eventually(lambda: is_firing(lab, "HighErrorRate"))
    newest = deployments.text(
        lab.layout, "for-each-ref", "--sort=-creatordate", "--count=1", "--format=%(*objectname)", "refs/tags"
    )
    labels = container().labels
    assert labels[engine.REVISION_LABEL] == newest != deployments.original(lab.layout)
    assert labels[engine.VERSION_LABEL] == "1.5.0"
    assert "KeyError: 'display_name'" in container().logs(tail=4000).decode()
    for fault in ("lock-chain", "pool-depleted", "ai-provider-hangs", "slow-responses", "error-burst"):
        lab.break_(fault)
    chain = "SELECT count(*) FROM pg_stat_activity WHERE cardinality(pg_blocking_pids(pid)) > 0"
    eventually(lambda: rows(lab, chain)[0][0] >= 2)
    root = "SELECT state FROM pg_stat_activity WHERE application_name = 'nightly-report'"
    assert rows(lab, root) == [("idle in transaction",)]
    eventually(lambda: web.value(lab.layout, "sandbox_pool_available") == 0)
    eventually(lambda: error_counts(lab, 'endpoint="/api/v1/chat",status_code="504"'))
    eventually(lambda: error_counts(lab, 'endpoint="/api/v1/sandbox/pool/stats",status_code="500"'))
    eventually(lambda: is_firing(lab, "VeryHighLatency"))
    lab.heal()
    assert_green(lab)
    assert container().labels[engine.REVISION_LABEL] == deployments.original(lab.layout)


def test_lying_health_crash_loop_lost_target_and_no_traffic(
    lab: Lab, container: Callable[[], Container]
) -> None:
    lab.break_("health-lies")
    eventually(lambda: web.status(lab.layout.backend_port, "/health") == 503)
    assert rows(lab, "SELECT 1") == [(1,)]
    eventually(lambda: is_firing(lab, "ComponentUnhealthy"))
    lab.break_("no-traffic")
    assert processes.running(lab.layout, "traffic") is None
    lab.break_("crash-loop")
    eventually(lambda: container().attrs["RestartCount"] >= 2)
    eventually(lambda: is_firing(lab, "ServiceDown"))
    lab.break_("target-gone")
    eventually(lambda: web.value(lab.layout, 'absent(up{job="helloagents-backend"})') == 1)
    lab.heal()
    assert_green(lab)
