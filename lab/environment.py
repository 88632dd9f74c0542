"""The lab's environment file for runbooks. For the default lab it equals the committed file."""

import shlex
import sys
from pathlib import Path

from lab.layout import HOST, PROVIDER_NAME, Layout
from lab.processes import REPOSITORY

SETTINGS = "# What an operator may switch.\nFALLBACK_MODE=false\n"
TEMPLATE = """\
title: "Lab on this machine"
drill: true
systems:
  prometheus: {{url: "{prometheus}"}}
  alertmanager: {{url: "{alertmanager}"}}
  docker: {{url: "{docker}"}}
  postgres: {{dsn: "{dsn}"}}
  dns: {{nameservers: ["{nameserver}"]}}
  git: {{repository: "{deployments}", deployment_tags: "deploy/*"}}
actions:
  docker: {{url: "{docker}"}}
  postgres: {{dsn: "{operator}"}}
  alertmanager: {{url: "{alertmanager}"}}
  rollback: {{command: ["{rollback}", "{{revision}}"]}}
  revert: true
  switches:
    use_fallback_mode: {{file: "{settings}", set: {{FALLBACK_MODE: "true"}}, then: ["{redeploy}"]}}
  cooldown: "20s"
  most_per_hour: 60
timing: {{rate_window: "15s", lookback: "5m", lead: "20s", scrape_interval: "1s"}}
services:
  backend:
    title: "HelloAgents backend"
    labels: {{job: "helloagents-backend", service: "backend"}}
    url: "{backend}"
    health: "/health"
    probes: ["/health", "/health/ready", "/health/live", "/metrics"]
    containers: ["{container}"]
    database: {{role: "helloagents", name: "helloagents"}}
    key_functions:
      - {{name: "agents list", path: "/api/v1/agents"}}
      - {{name: "code execution", path: "/api/v1/sandbox/execute?language=python"}}
      - {{name: "AI chat", path: "/api/v1/chat?message=ping"}}
    dependencies:
      - {{name: "AI provider", url: "{provider}/health"}}
contacts:
  - {{role: "On-call engineer", name: "Lab on-call", reach: "oncall@lab.invalid"}}
  - {{role: "Team lead", name: "Lab lead", reach: "lead@lab.invalid"}}
objectives:
  - {{name: "Availability", of: "requests", success: 0.995, over: "1h"}}
  - {{name: "Few errors", of: "requests", success: 0.999, over: "1h"}}
  - {{name: "Code runs", of: "executions", success: 0.95, over: "1h"}}
  - {{name: "The AI answers", of: "chats", success: 0.98, over: "1h"}}
links:
  Prometheus: "{prometheus}/alerts"
  Alertmanager: "{alertmanager}/#/alerts"
"""


def render(layout: Layout) -> str:
    """The text of lab.yaml for this lab."""
    return TEMPLATE.format(
        prometheus=layout.prometheus_url,
        alertmanager=layout.alertmanager_url,
        docker=layout.docker_url,
        dsn=layout.dsn("runbook_reader"),
        nameserver=f"{HOST}:{layout.nameserver_port}",
        operator=layout.dsn("runbook_operator"),
        rollback=layout.rollback,
        redeploy=layout.redeploy,
        settings=layout.settings,
        deployments=layout.deployments,
        backend=layout.backend_url,
        container=layout.container,
        provider=f"http://{PROVIDER_NAME}:{layout.provider_port}",
    )


def write(layout: Layout) -> Path:
    """Write the file under the lab's state."""
    path = layout.state / "environments" / "lab.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(render(layout), encoding="utf-8")
    return path


def write_programs(layout: Layout) -> None:
    """Write the operator's programs that actions may run, and their settings."""
    for path, verb in ((layout.rollback, 'deploy "$1"'), (layout.redeploy, "redeploy")):
        place = f"--state {shlex.quote(str(layout.state))} --base-port {layout.base_port}"
        program = (
            f"cd {shlex.quote(str(REPOSITORY))} && exec {shlex.quote(sys.executable)} -m lab {verb} {place}"
        )
        path.write_text(f"#!/bin/sh\n{program}\n", encoding="utf-8")
        path.chmod(0o755)
    if not layout.settings.exists():
        write_settings(layout)


def write_settings(layout: Layout) -> bool:
    """Restore the backend's initial settings. True if they were different."""
    was = layout.settings.read_text(encoding="utf-8") if layout.settings.exists() else SETTINGS
    layout.settings.write_text(SETTINGS, encoding="utf-8")
    return was != SETTINGS
