"""Prometheus and Alertmanager: configuration, start, reload, and past hours."""

import json
import subprocess
import time

from lab import history, processes, rules, web
from lab.errors import LabError
from lab.layout import HOST, Layout
from lab.processes import Server

SCRAPE_SECONDS = 1
JOB = "helloagents-backend"


def prometheus_config(layout: Layout, *, target: bool = True) -> str:
    """Prometheus' configuration as JSON, which is YAML; without the target for the fault target-gone."""
    labels = {"service": "backend", "app": "helloagents"}
    targets = [{"targets": [f"{HOST}:{layout.backend_port}"], "labels": labels}] if target else []
    config = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(layout.state / "prometheus" / "rules.yml")],
        "alerting": {
            "alertmanagers": [{"static_configs": [{"targets": [f"{HOST}:{layout.alertmanager_port}"]}]}]
        },
        "scrape_configs": [{"job_name": JOB, "static_configs": targets}],
    }
    return json.dumps(config, indent=2) + "\n"


def alertmanager_config() -> str:
    """Grouping and inhibition as in production, with waits of seconds; the receiver notifies no person."""
    critical, warning = ['severity="critical"'], ['severity="warning"']
    config = {
        "route": {
            "receiver": "on-call",
            "group_by": ["alertname", "severity", "component"],
            "group_wait": "1s",
            "group_interval": "2s",
            "repeat_interval": "1h",
        },
        "receivers": [{"name": "on-call"}],
        "inhibit_rules": [
            {
                "source_matchers": ['alertname="ServiceDown"'],
                "target_matchers": ['alertname!="ServiceDown"'],
                "equal": ["instance", "job"],
            },
            {"source_matchers": critical, "target_matchers": warning, "equal": ["component"]},
        ],
    }
    return json.dumps(config, indent=2) + "\n"


def prometheus(layout: Layout) -> Server:
    """Prometheus, with the lab's port and data."""
    home, port = layout.state / "prometheus", layout.prometheus_port
    argv = (
        processes.program("prometheus", "prometheus"),
        f"--config.file={home / 'prometheus.yml'}",
        f"--storage.tsdb.path={home / 'data'}",
        "--storage.tsdb.retention.time=15d",
        f"--web.listen-address={HOST}:{port}",
        "--web.enable-lifecycle",
        # If a notification is lost during a reload, it is sent again after 2 s, not after a minute.
        "--rules.alert.resend-delay=2s",
        "--log.level=warn",
    )
    return Server("prometheus", argv, lambda: web.is_ok(port, "/-/ready"), port=port)


def alertmanager(layout: Layout) -> Server:
    """Alertmanager without its cluster port."""
    home, port = layout.state / "alertmanager", layout.alertmanager_port
    argv = (
        processes.program("prometheus-alertmanager", "prometheus-alertmanager"),
        f"--config.file={home / 'alertmanager.yml'}",
        f"--storage.path={home / 'data'}",
        f"--web.listen-address={HOST}:{port}",
        "--cluster.listen-address=",
        "--log.level=warn",
    )
    return Server("alertmanager", argv, lambda: web.is_ok(port, "/-/ready"), port=port)


def write_configs(layout: Layout, *, target: bool = True) -> None:
    """Write the configuration files of both servers."""
    for name in ("prometheus", "alertmanager"):
        (layout.state / name).mkdir(exist_ok=True)
    (layout.state / "prometheus" / "rules.yml").write_text(rules.render_lab(), encoding="utf-8")
    write_targets(layout, target=target)
    (layout.state / "alertmanager" / "alertmanager.yml").write_text(alertmanager_config(), encoding="utf-8")


def write_targets(layout: Layout, *, target: bool) -> None:
    """Write the configuration of Prometheus, with or without the backend as a target."""
    path = layout.state / "prometheus" / "prometheus.yml"
    path.write_text(prometheus_config(layout, target=target), encoding="utf-8")


def set_target(layout: Layout, *, present: bool) -> None:
    """Remove or restore the target, and reload Prometheus."""
    write_targets(layout, target=present)
    if web.status(layout.prometheus_port, "/-/reload", method="POST") != 200:
        raise LabError("prometheus did not reload: is the lab up? python -m lab status")


def backfill(layout: Layout, hours: float) -> None:
    """Add past hours of a healthy backend to Prometheus. It restarts to read them."""
    promtool = processes.program("promtool", "prometheus")
    home = layout.state / "prometheus"
    source = home / "history.om"
    ends = time.time() - 60
    with source.open("w", encoding="utf-8") as file:
        history.write(file, layout, ends - hours * 3600, ends)
    pid = processes.stop(layout, "prometheus")
    argv = [promtool, "tsdb", "create-blocks-from", "--max-block-duration=168h", "openmetrics"]
    done = subprocess.run(
        [*argv, str(source), str(home / "data")], capture_output=True, text=True, check=False
    )
    source.unlink()
    if pid:
        processes.start(layout, prometheus(layout))
    if done.returncode:
        raise LabError(f"promtool refused the past hours: {done.stderr.strip().splitlines()[-1]}")
