"""The environment file that tells runbooks where the lab is; for the default lab it is the committed one."""

from pathlib import Path

from lab.layout import HOST, PROVIDER_NAME, Layout

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
timing: {{rate_window: "15s", lookback: "5m", lead: "20s", scrape_interval: "1s"}}
services:
  backend:
    title: "HelloAgents backend"
    labels: {{job: "helloagents-backend", service: "backend"}}
    url: "{backend}"
    health: "/health"
    probes: ["/health", "/health/ready", "/health/live", "/metrics"]
    containers: ["{container}"]
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
