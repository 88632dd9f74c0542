"""HighErrorRate on the real lab: each fault is found, named and quoted; a sound lab is called sound.

Each fault is real, and the whole way is taken: the rule fires, the command line runs the notebook, the
verdict is read from its JSON.
"""

import json
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from lab import Lab, processes, web
from tests.notebooks.running import BIN, Ended, command, errors, notebook

FIRING_SECONDS = 60.0
REST_SECONDS = 20.0
CAUSES = ["container-crash", "database-connections", "external-dependency", "bad-deployment"]


def run(lab: Lab, output: Path, *more: str) -> Ended:
    site = {"RUNBOOK_ENVIRONMENTS": str(lab.layout.state / "environments")}
    argv = ["runbook", "run", "HighErrorRate", "-e", "lab", "--output", str(output), "--json", *more]
    return command(argv, site)


@pytest.fixture
def healed(lab: Lab) -> Lab:
    lab.heal()
    # A fault that begins within a rate window of the last one's end is, rightly, the same incident.
    time.sleep(REST_SECONDS)
    return lab


def wait_until_firing(lab: Lab) -> None:
    deadline = time.monotonic() + FIRING_SECONDS
    while (web.alerts(lab.layout) or {}).get("HighErrorRate") != "firing":
        assert time.monotonic() < deadline, "HighErrorRate did not fire"
        time.sleep(0.5)
    time.sleep(3)  # Alertmanager hears of it


def test_a_sound_lab_is_ok_and_no_cause_is_claimed(healed: Lab, tmp_path: Path) -> None:
    ended = run(healed, tmp_path, "--lookback", "20s")
    assert ended.verdict["status"] == "OK", json.dumps(ended.verdict, indent=1)
    assert ended.code == 0
    assert {cause["rank"] for cause in ended.verdict["causes"]} == {"unlikely"}
    assert sorted(cause["id"] for cause in ended.verdict["causes"]) == sorted(CAUSES)
    assert ended.verdict["not_checked"] == []


@pytest.mark.parametrize(
    ("fault", "cause", "reason"),
    [
        ("oom", "container-crash", "Killed by its memory limit of 192 MiB"),
        (
            "connections-exhausted",
            "database-connections",
            "QueuePool limit of size|too many connections for role",
        ),
        ("ai-provider-down", "external-dependency", "refused"),
        ("bad-deploy", "bad-deployment", "was deployed"),
    ],
)
def test_a_fault_is_critical_with_its_cause_first_and_its_reason_quoted(
    healed: Lab, tmp_path: Path, fault: str, cause: str, reason: str
) -> None:
    healed.break_(fault)
    wait_until_firing(healed)
    ended = run(healed, tmp_path)
    told = json.dumps(ended.verdict, indent=1)
    assert ended.verdict["status"] == "CRITICAL", told
    assert ended.code == 1
    first = ended.verdict["causes"][0]
    assert first["id"] == cause, told
    assert first["rank"] in ("confirmed", "likely"), told
    assert re.search(reason, " ".join(sign["says"] for sign in first["for"])), told
    assert ended.verdict["next"], told
    bundle = Path(ended.verdict["bundle"])
    check_evidence(healed, bundle)
    if fault == "connections-exhausted":
        check_replay_without_network(bundle, tmp_path)


def check_evidence(lab: Lab, bundle: Path) -> None:
    executed = notebook(bundle / "notebook.ipynb")
    assert errors(executed) == []
    plain = (bundle / "notebook.ipynb").read_text()
    assert str(Path(__file__).parents[2]) not in plain
    assert sum(file.stat().st_size for file in bundle.iterdir()) < 1_500_000
    assert (bundle / "notebook.ipynb").stat().st_size < 1_000_000
    assert str(lab.layout.state) + "/deployments" not in (bundle / "notebook.html").read_text()


def check_replay_without_network(bundle: Path, folder: Path) -> None:
    """In a network namespace of its own, which has no interface, the recording gives the same bytes."""
    argv = [
        "unshare",
        "--net",
        str(BIN / "runbook"),
        "replay",
        str(bundle),
        "--output",
        str(folder / "again"),
    ]
    ended = subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert "The verdict is the recorded one, to the byte." in ended.stdout, ended.stdout + ended.stderr
    (replayed,) = (folder / "again").glob("*/verdict.json")
    assert replayed.read_bytes() == (bundle / "verdict.json").read_bytes()


def test_without_prometheus_it_is_unknown_and_the_others_still_speak(healed: Lab, tmp_path: Path) -> None:
    assert processes.stop(healed.layout, "prometheus")
    try:
        ended = run(healed, tmp_path, "--lookback", "20s")
    finally:
        healed.up()
    assert ended.verdict["status"] == "UNKNOWN", json.dumps(ended.verdict, indent=1)
    assert ended.code == 2
    assert ended.verdict["headline"].startswith("Cannot tell. Unreachable: prometheus at ")
    told = said(ended.verdict)
    assert any(one["source"] == "docker" and one["status"] == "OK" for one in told)
    assert any(one["source"] == "postgres" and one["status"] == "OK" for one in told)


def said(verdict: dict[str, Any]) -> list[dict[str, Any]]:
    return [*verdict["symptoms"], *(s for c in verdict["causes"] for s in (*c["for"], *c["against"]))]
