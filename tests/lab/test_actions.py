"""Remedies on the lab with real faults: proposed, approved, done, and proof of recovery."""

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest

from lab import Lab, engine, faults
from runbooklib.evidence import manifest
from tests.support.lab import environment, run, wait_until_firing
from tests.support.running import Ended, command

HELD = ("--held", "12s")


def proposed(output: Path, action: str) -> tuple[Path, dict[str, Any]]:
    """The bundle of the run, and what it proposed."""
    (bundle,) = [one for one in manifest.bundles(output) if "-action-" not in one.name]
    verdict = json.loads((bundle / "verdict.json").read_bytes())
    found = [one for one in verdict["actions"] if one["plan"]["action"] == action]
    assert found, verdict
    return bundle, found[0]


def approve(lab: Lab, output: Path, action: str, within: str = "75s") -> Ended:
    """Approve it as somebody who has seen the plan's fingerprint."""
    bundle, found = proposed(output, action)
    fingerprint = str(found["fingerprint"])
    argv = ["runbook", "approve", str(bundle), action, "--by", "Ada", "--yes", fingerprint]
    return command([*argv, *HELD, "--within", within], environment(lab), seconds=150)


def assert_recovered(ended: Ended, output: Path) -> None:
    assert ended.code == 0, (ended.out, ended.err)
    assert "\nRECOVERED  All conditions have been met for" in ended.out
    assert manifest.verify_folder(output) == []
    told = command(["runbook", "actions", "--output", str(output)], {})
    assert re.search(r" done .* by Ada@\S+  RECOVERED\n", told.out), told.out
    (certificate,) = [one for one in manifest.bundles(output) if "-recovery-" in one.name]
    about = json.loads((certificate / "manifest.json").read_bytes())
    assert (about["kind"], about["outcome"]) == ("recovery", "RECOVERED")


def test_exhausted_connections_are_given_back_by_ending_idle_transactions(
    healed: Lab, tmp_path: Path
) -> None:
    healed.break_("connections-hoarded")
    wait_until_firing(healed, ["HighErrorRate", "ComponentUnhealthy"])
    assert run(healed, tmp_path, "HighErrorRate", "-p", "idle_transaction_limit=2s").code == 1
    ended = approve(healed, tmp_path, "terminate_idle_transactions")
    assert "Done: ended 64 of 64 sessions" in ended.out
    assert_recovered(ended, tmp_path)


@pytest.mark.row("F77")
def test_a_restart_that_does_not_help_is_not_recovered_and_one_after_the_cause_is_mended_is(
    healed: Lab, tmp_path: Path
) -> None:
    healed.break_("crash-loop")
    wait_until_firing(healed, ["ServiceDown"])
    until_waiting(healed)
    useless, useful = tmp_path / "useless", tmp_path / "useful"
    assert run(healed, useless, "ServiceDown").code == 1
    until_waiting(healed)
    ended = approve(healed, useless, "restart_container", "20s")
    assert ended.code == 5, (ended.out, ended.err)
    assert "\nNOT RECOVERED  Conditions that are not met: " in ended.out
    assert manifest.verify_folder(useless) == []
    told = command(["runbook", "actions", "--output", str(useless)], {})
    assert "NOT RECOVERED" in told.out
    until_waiting(healed)
    assert run(healed, useful, "ServiceDown").code == 1
    until_waiting(healed, 8)  # 25 s and more
    faults.switch(healed.layout, [])  # the setting is mended, and Docker does not know
    assert_recovered(approve(healed, useful, "restart_container"), useful)


def until_waiting(lab: Lab, least_restarts: int = 6) -> None:
    """Docker saw it crash just now, and waits before it starts it: 0.1 s, twice that each time."""
    ends, before = time.monotonic() + 150, engine.state(lab.layout)["restarts"]
    while time.monotonic() < ends:
        now = engine.state(lab.layout)
        is_new = int(now["restarts"]) > int(before) or int(before) < least_restarts
        if now["status"] == "restarting" and int(now["restarts"]) >= least_restarts and is_new:
            return
        time.sleep(0.2)
    pytest.fail("it never came to that")


def test_a_container_that_is_killed_for_its_memory_gets_more(healed: Lab, tmp_path: Path) -> None:
    healed.break_("cache-too-large")
    wait_until_firing(healed, ["HighErrorRate"])
    assert run(healed, tmp_path, "HighErrorRate").code == 1
    ended = approve(healed, tmp_path, "raise_memory_limit", "110s")
    assert "deploy.resources.limits.memory: 384M" in ended.out
    assert_recovered(ended, tmp_path)


def test_a_bad_deployment_is_rolled_back_by_the_sites_own_script(healed: Lab, tmp_path: Path) -> None:
    original = engine.state(healed.layout)["revision"]
    healed.break_("bad-deploy")
    wait_until_firing(healed, ["HighErrorRate"])
    assert run(healed, tmp_path, "HighErrorRate").code == 1
    ended = approve(healed, tmp_path, "roll_back")
    assert f"Done: rolled back to {original[:12]}" in ended.out
    assert engine.state(healed.layout)["revision"] == original
    assert_recovered(ended, tmp_path)


def test_fallback_mode_lets_the_rest_work_without_the_provider(healed: Lab, tmp_path: Path) -> None:
    healed.break_("ai-provider-down")
    wait_until_firing(healed, ["HighErrorRate"])
    assert run(healed, tmp_path, "HighErrorRate").code == 1
    _, found = proposed(tmp_path, "use_fallback_mode")
    assert "-FALLBACK_MODE=false\n+FALLBACK_MODE=true" in found["command"]
    assert_recovered(approve(healed, tmp_path, "use_fallback_mode"), tmp_path)


def test_recovery_of_a_sound_service_is_certified_and_without_traffic_it_is_not(
    healed: Lab, tmp_path: Path
) -> None:
    argv = ["runbook", "verify-recovery", "HighErrorRate", "-e", "lab", "--output", str(tmp_path), *HELD]
    sound = command([*argv, "--within", "60s"], environment(healed), seconds=120)
    assert (sound.code, "RECOVERED  All conditions have been met" in sound.out) == (0, True), (
        sound.out,
        sound.err,
    )
    healed.break_("no-traffic")
    time.sleep(20)
    silent = command([*argv, "--within", "20s"], environment(healed), seconds=120)
    assert (silent.code, "CANNOT TELL  Conditions without an answer: error_rate" in silent.out) == (
        2,
        True,
    ), silent.out


def test_recovery_is_not_certified_where_the_metric_has_vanished(healed: Lab, tmp_path: Path) -> None:
    healed.break_("target-gone")
    time.sleep(20)
    argv = ["runbook", "verify-recovery", "HighErrorRate", "-e", "lab", "--output", str(tmp_path), *HELD]
    gone = command([*argv, "--within", "20s"], environment(healed), seconds=120)
    assert gone.code == 2, gone.out
    assert "CANNOT TELL" in gone.out
