"""Each of the 18 alerts, fired for real on the lab, and its runbook run by name.

Each fault is real, and the whole way is taken: the rule fires, the command line runs the notebook, the
verdict is read from its JSON. Faults that do not touch each other share a lab's illness. A sound lab is
called sound by every runbook.
"""

import json
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from lab import Lab, faults, processes, web
from tests.support.lab import REST_SECONDS, environment, run, wait_until_firing
from tests.support.running import BIN, Ended, command, errors, notebook

HIGH_ERROR_RATE_CAUSES = [
    "container-crash",
    "database-connections",
    "database-unavailable",
    "external-dependency",
    "bad-deployment",
]
# faults -> alert -> (the cause that comes first, what its signs say); no cause where nothing must be claimed.
NOTHING = ("", "")
ILLNESSES: dict[tuple[str, ...], dict[str, tuple[str, str]]] = {
    ("crash-loop",): {"ServiceDown": ("container-crash", "invalid value for setting")},
    ("oom",): {"HighErrorRate": ("container-crash", "was killed at its memory limit of 192 MiB")},
    ("connections-exhausted",): {
        "HighErrorRate": ("database-connections", "QueuePool limit of size|too many connections for role"),
        "HighDatabaseConnections": ("leaked-transactions", "idle in transaction"),
    },
    ("ai-provider-down",): {
        "HighErrorRate": ("external-dependency", "refused"),
        "AIServiceErrors": ("provider-unreachable", "refused"),
    },
    ("bad-deploy",): {"HighErrorRate": ("bad-deployment", "was deployed")},
    ("error-trickle", "slow-queries"): {
        "MediumErrorRate": NOTHING,
        "SlowDatabaseQueries": ("missing-index", "public.messages"),
    },
    ("request-pile-up",): {
        "HighConcurrentRequests": NOTHING,
        "HighLatency": NOTHING,
        "VeryHighLatency": NOTHING,
    },
    ("lock-chain", "health-lies"): {
        "HighLatency": ("slow-database", "nightly-report"),
        "ComponentUnhealthy": ("health-page-wrong", "The health page is wrong"),
    },
    ("sandbox-slow",): {
        "SlowSandboxExecution": ("long-programs", "in use"),
        "SandboxPoolDepleted": ("stuck-executions", "in use"),
    },
    ("oom-child", "ai-provider-slow"): {
        "HighSandboxErrorRate": ("sandbox-memory", "the container kept running"),
        "SlowAIResponse": ("slow-provider", "P95 duration of AI requests"),
    },
    ("memory-growth", "descriptor-leak", "token-burst"): {
        "HighMemoryUsage": ("memory-leak", "usual is"),
        "HighFileDescriptorUsage": ("descriptor-leak", "without a request or a database connection"),
        "HighAITokenConsumption": ("longer-prompts", "One AI request uses"),
    },
    ("database-down",): {
        "ComponentUnhealthy": ("database-unavailable", "Matching log entries"),
        "HighErrorRate": ("database-unavailable", "No database server listens at"),
    },
    ("cpu-burn",): {"HighCPUUsage": ("dearer-code", "of CPU time")},
}
ALERTS = sorted({alert for fault in faults.FAULTS.values() for alert in fault.fires})


def test_each_alert_is_fired_for_real_by_one_of_these_illnesses() -> None:
    assert {alert for answers in ILLNESSES.values() for alert in answers} == set(ALERTS)


def test_a_sound_lab_is_ok_for_every_alert_and_no_cause_is_claimed(healed: Lab, tmp_path: Path) -> None:
    verdicts = batch(healed, tmp_path, "--all")
    if ill := [alert for alert, verdict in verdicts.items() if was_ill(verdict)]:
        # Eighteen runs beside other tests can slow the lab's database until its alert fires, rightly.
        healed.heal()
        time.sleep(REST_SECONDS)
        verdicts |= batch(healed, tmp_path / "again", *ill)
    wrong = {alert: told(verdict) for alert, verdict in verdicts.items() if verdict["status"] != "OK"}
    assert wrong == {}, json.dumps(wrong, indent=1)
    assert sorted(verdicts) == ALERTS
    for alert, verdict in verdicts.items():
        assert {cause["rank"] for cause in verdict["causes"]} == {"unlikely"}, (alert, told(verdict))
        assert verdict["not_checked"] == [], alert
    causes = [cause["id"] for cause in verdicts["HighErrorRate"]["causes"]]
    assert sorted(causes) == sorted(HIGH_ERROR_RATE_CAUSES)


def batch(lab: Lab, output: Path, *alerts: str) -> dict[str, dict[str, Any]]:
    """The verdicts of a batch, by alert; its exit code tells the worst of them."""
    argv = ["runbook", "batch", *alerts, "-e", "lab", "--lookback", "20s", "--jobs", "2", "--json"]
    ended = command([*argv, "--output", str(output)], environment(lab), seconds=1200)
    verdicts = {one["alert"]: one for one in json.loads(ended.out)}
    assert (ended.code == 0) == all(one["status"] == "OK" for one in verdicts.values()), ended.err
    return verdicts


def was_ill(verdict: dict[str, Any]) -> bool:
    """Whether this alert or another was firing on the lab meanwhile."""
    return any(
        one["check"] in ("firing_alert", "related_alerts") and one["status"] in ("WARNING", "CRITICAL")
        for one in verdict["symptoms"]
    )


def told(verdict: dict[str, Any]) -> list[str]:
    """What a verdict says, in lines for whoever reads the failure of a test."""
    lines = [f"{verdict['status']} {verdict['headline']}"]
    lines += [f"  {one['status']} {one['check']}: {one['says']}" for one in verdict["symptoms"]]
    for cause in verdict["causes"]:
        lines.append(f"  {cause['rank']} {cause['id']}")
        for side in ("for", "against", "missing"):
            lines += [f"    {side} {one['check']}: {one['says']}" for one in cause[side]]
    return lines


def _param(illness: tuple[str, ...]) -> Any:
    # A core is not burnt beside tests that want it too.
    marks = [pytest.mark.alone] if "cpu-burn" in illness else []
    return pytest.param(illness, id="+".join(illness), marks=marks)


@pytest.mark.parametrize("illness", [_param(one) for one in ILLNESSES])
def test_an_illness_is_found_with_its_cause_first_and_its_reason_quoted(
    healed: Lab, tmp_path: Path, illness: tuple[str, ...]
) -> None:
    for fault in illness:
        healed.break_(fault)
    answers = ILLNESSES[illness]
    wait_until_firing(healed, list(answers))
    for alert, (cause, reason) in answers.items():
        # The lab's minutes are seconds.
        scaled = ("-p", "idle_transaction_limit=5s") if alert == "HighDatabaseConnections" else ()
        ended = run(healed, tmp_path, alert, *scaled)
        if not was_ill(ended.verdict):
            # Between two deaths of a process its alert may end while the notebook asks.
            wait_until_firing(healed, [alert])
            ended = run(healed, tmp_path, alert, *scaled)
        check_verdict(ended, alert, cause, reason)
        bundle = Path(ended.verdict["bundle"])
        check_evidence(healed, bundle)
        if (illness, alert) == (("connections-exhausted",), "HighErrorRate"):
            check_replay_without_network(bundle, tmp_path)


def check_verdict(ended: Ended, alert: str, cause: str, reason: str) -> None:
    verdict = ended.verdict
    lines = "\n".join(told(verdict))
    assert verdict["failure"] == "", verdict["failure"]
    assert verdict["status"] in ("WARNING", "CRITICAL"), lines
    assert verdict["symptoms"][0]["status"] in ("WARNING", "CRITICAL"), lines
    assert ended.code == 1
    if alert == "HighErrorRate":
        assert verdict["status"] == "CRITICAL", lines
    claimed = [one["id"] for one in verdict["causes"] if one["rank"] in ("confirmed", "likely")]
    assert claimed[:1] == ([cause] if cause else []), lines
    if cause:
        first = verdict["causes"][0]
        assert first["id"] == cause, lines
        assert re.search(reason, " ".join(sign["says"] for sign in first["for"])), lines
        assert verdict["next"], lines


def test_a_target_that_vanished_is_its_own_finding(healed: Lab, tmp_path: Path) -> None:
    healed.break_("target-gone")
    time.sleep(5)
    assert "ServiceDown" not in (web.alerts(healed.layout) or {})  # `up == 0` has nothing to be 0
    ended = run(healed, tmp_path, "ServiceDown")
    lines = "\n".join(told(ended.verdict))
    assert ended.verdict["status"] == "CRITICAL", lines
    assert "The target disappeared" in ended.verdict["symptoms"][0]["says"], lines
    first = ended.verdict["causes"][0]
    assert (first["id"], first["rank"]) == ("not-scraped", "likely"), lines


def check_evidence(lab: Lab, bundle: Path) -> None:
    executed = notebook(bundle / "notebook.ipynb")
    assert errors(executed) == []
    plain = (bundle / "notebook.ipynb").read_text()
    assert str(Path(__file__).parents[2]) not in plain
    sizes = {file.name: file.stat().st_size for file in bundle.iterdir()}
    assert sum(sizes.values()) < 1_500_000, (sizes, parts(executed))
    assert sizes["notebook.ipynb"] < 1_000_000, parts(executed)
    assert str(lab.layout.state) + "/deployments" not in (bundle / "notebook.html").read_text()


def parts(executed: dict[str, Any]) -> dict[str, int]:
    """What a notebook's outputs are made of: kind -> characters."""
    found: dict[str, int] = {}
    for cell in executed["cells"]:
        for output in cell.get("outputs", ()):
            for kind, data in output.get("data", {}).items():
                name = f"{cell['id']}: {kind}"
                found[name] = found.get(name, 0) + len(json.dumps(data))
    return dict(sorted(found.items(), key=lambda one: -one[1])[:12])


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
        ended = run(healed, tmp_path, "HighErrorRate", "--lookback", "20s")
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
