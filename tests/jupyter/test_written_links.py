"""A link that `runbook urls` wrote, filled in by Prometheus' own template engine, and clicked."""

import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote_plus, urlsplit

from runbooklib.jupyter import alert_link
from runbooklib.jupyter.alert_link import Link
from tests.support.alertmanagers import FakeAlertmanager
from tests.support.jupyter_server import Served, began, injected, led_to, stamp
from tests.support.running import ROOT, command
from tests.support.servers import program

RULES = """\
groups:
- name: site
  rules:
  - alert: ComponentUnhealthy
    expr: app_health_status == 0
"""


def filled(rules: Path, url: str, labels: dict[str, str]) -> None:
    """Fails unless Prometheus' engine makes this link of the rule's annotation, for a series like this."""
    series = ",".join(f"{name}={json.dumps(value)}" for name, value in labels.items())
    case = {
        "rule_files": [str(rules)],
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": f"app_health_status{{{series}}}", "values": "0 0 0"}],
                "alert_rule_test": [
                    {
                        "eval_time": "1m",
                        "alertname": "ComponentUnhealthy",
                        "exp_alerts": [{"exp_labels": labels, "exp_annotations": {"runbook_url": url}}],
                    }
                ],
            }
        ],
    }
    file = rules.with_name("test.yml")
    file.write_text(json.dumps(case))
    argv = [program("promtool"), "test", "rules", str(file)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_written_link_leads_to_the_notebook_with_the_labels_of_the_alert(
    served: Served, alertmanager: FakeAlertmanager, tmp_path: Path
) -> None:
    rules = tmp_path / "rules.yml"
    rules.write_text(RULES)
    argv = ["runbook", "urls", "--rules", str(rules), "--server", served.address, "--write"]
    ended = command(argv, {"RUNBOOK_HOME": str(ROOT)})
    assert ended.code == 0, ended.err
    named = {"api & more/ü": "-api_more-3a10892a", "": ""}
    for component, at in (("api & more/ü", began(12)), ("", began(14))):
        labels = {"service": "shop", **({"component": component} if component else {})}
        url = (
            f"{served.address}/runbooks/open?alertname=ComponentUnhealthy&service=shop"
            f"&component={quote_plus(component)}"
        )
        filled(rules, url, labels)
        alertmanager.alerts = []
        alertmanager.fires("ComponentUnhealthy", at, **labels)
        path = led_to(served, served.open(urlsplit(url).query))
        assert path.parent.name == f"{stamp(at)}-ComponentUnhealthy-shop{named[component]}"
        assert injected(path).get("component", "") == component


def test_the_template_for_alertmanager_in_the_documentation_makes_a_link_with_the_beginning(
    tmp_path: Path,
) -> None:
    text = (ROOT / "docs" / "jupyterlab.md").read_text("utf-8")
    (template,) = (line.strip() for line in text.splitlines() if line.startswith("    {{ range"))
    alert = {
        "labels": {"alertname": "A"},
        "annotations": {"runbook_url": "https://j.example/runbooks/open?alertname=A"},
        "startsAt": "2026-01-15T11:12:00.123+08:00",
    }
    data, nothing = tmp_path / "data.json", tmp_path / "none.tmpl"
    data.write_text(json.dumps({"receiver": "x", "status": "firing", "alerts": [alert]}))
    nothing.touch()
    argv = [program("amtool"), "template", "render", f"--template.glob={nothing}"]
    argv += [f"--template.data={data}", f"--template.text={template}"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    told = alert_link.read(urlsplit(done.stdout.strip()).query, datetime.now(UTC))
    assert told == Link("A", starts_at=datetime(2026, 1, 15, 3, 12, tzinfo=UTC))
