import time
from collections.abc import Sequence
from pathlib import Path

from lab import Lab, web
from tests.support.running import Ended, command

REST_SECONDS = 20.0
FIRING_SECONDS = 120.0


def environment(lab: Lab) -> dict[str, str]:
    return {"RUNBOOK_ENVIRONMENTS": str(lab.layout.state / "environments")}


def run(lab: Lab, output: Path, alert: str, *more: str) -> Ended:
    argv = ["runbook", "run", alert, "-e", "lab", "--output", str(output), "--json", *more]
    return command(argv, environment(lab))


def wait_until_firing(lab: Lab, alerts: Sequence[str]) -> None:
    deadline = time.monotonic() + FIRING_SECONDS
    while missing := [a for a in alerts if (web.alerts(lab.layout) or {}).get(a) != "firing"]:
        assert time.monotonic() < deadline, f"did not fire: {missing}"
        time.sleep(0.5)
    time.sleep(3)  # Alertmanager hears of it
