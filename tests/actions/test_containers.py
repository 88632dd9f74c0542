"""Actions on a real Docker host, through the gate."""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import docker
import pytest

from runbooklib.actions import registry
from runbooklib.actions.gate import Approval
from runbooklib.errors import ActionError, ParameterError
from runbooklib.evidence import action_ledger, manifest
from runbooklib.evidence import runs as extension_runs
from runbooklib.evidence.action_ledger import ActionRecord
from runbooklib.evidence.verdict_json import ACTION_MIME
from runbooklib.model.plan import Plan
from runbooklib.sources.context import context_of
from tests.support.acting import Acting
from tests.support.dockerd import IMAGE, Engine, busy_url, host, until_true
from tests.support.running import ROOT

__all__ = ["busy_url", "host"]
MEBIBYTE = 1024 * 1024
QUICK = "trap 'exit 0' TERM; while :; do sleep 0.1; done"


@pytest.fixture
def container(host: Engine) -> str:
    name = host.run(f"echo began; {QUICK}", mem_limit="64m", memswap_limit="64m")
    until_true(lambda: b"began" in host.client.containers.get(name).logs())
    return name


@pytest.fixture
def site(busy_url: str, container: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Acting:
    docker = {"docker": {"url": busy_url}}
    return Acting(
        tmp_path, monkeypatch, systems=docker, actions={**docker, "cooldown": "1s"}, containers=(container,)
    )


def state(host: Engine, name: str) -> tuple[str, str]:
    told = host.client.api.inspect_container(name)
    return told["Id"], told["State"]["StartedAt"]


def test_a_restart_is_captured_performed_once_and_written_down(
    host: Engine, container: str, site: Acting
) -> None:
    before = state(host, container)
    deed = site.perform(site.plan("restart_container"))
    now = state(host, container)
    assert now[0] == before[0]
    assert now[1] > before[1]
    assert (deed.outcome, deed.by, deed.why) == ("done", "Ada", "The process hangs")
    assert site.deeds == [deed] or site.deeds[0].message == f"restarted {container}"
    lines, _ = action_ledger.read(site.folder)
    assert [line["kind"] for line in lines] == ["intent", "outcome"]
    captured = (site.folder / deed.evidence / "notebook.ipynb").read_text()
    assert "began" in captured
    assert ACTION_MIME in captured
    [shown], unread = extension_runs.recent_runs(site.folder, 5)
    assert (shown.status, shown.headline, unread) == (
        "ACTION",
        f"restart_container on {container}, approved by Ada",
        [],
    )
    assert manifest.verify_folder(site.folder) == []


def test_a_memory_limit_is_raised_and_the_lasting_change_is_told(
    host: Engine, container: str, site: Acting
) -> None:
    deed = site.perform(site.plan("raise_memory_limit", factor=2.0))
    assert host.client.api.inspect_container(container)["HostConfig"]["Memory"] == 128 * MEBIBYTE
    assert "deploy.resources.limits.memory: 128M" in deed.message


@pytest.mark.parametrize("swap", ["128m", -1])
def test_a_raised_limit_leaves_as_much_swap_and_its_undo_brings_both_back(
    host: Engine, busy_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, swap: str | int
) -> None:
    name = host.run(QUICK, mem_limit="64m", memswap_limit=swap)
    site = at(busy_url, tmp_path, monkeypatch, name)
    context, _ = context_of("Small", "site", "backend")
    proposal = registry.ACTIONS["raise_memory_limit"](context, factor=1.5)
    site.perform(site.plan("raise_memory_limit", factor=1.5))
    limits = host.client.api.inspect_container(name)["HostConfig"]
    now, size = (160 * MEBIBYTE, "160m") if swap == "128m" else (-1, "-1")
    assert (limits["Memory"], limits["MemorySwap"]) == (96 * MEBIBYTE, now)
    assert proposal.command == f"docker update --memory 96m --memory-swap {size} {name}"
    assert proposal.undo == f"docker update --memory 64m --memory-swap {swap} {name}"


def test_a_factor_that_adds_nothing_is_refused(site: Acting) -> None:
    with pytest.raises(ParameterError, match="adds less than 1 MiB"):
        site.plan("raise_memory_limit", factor=1.002)


def test_a_container_has_the_time_to_end_that_it_asks_for(
    host: Engine, busy_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = "trap 'sleep 12; echo ended well; exit 0' TERM; echo up; while :; do sleep 0.1; done"
    made = host.client.api.create_container(
        IMAGE, ["sh", "-c", slow], name="slow-to-end", stop_timeout=30, network_disabled=True
    )
    host.begun.append(made["Id"])
    host.client.api.start(made["Id"])
    name = "slow-to-end"
    until_true(lambda: b"up" in host.client.containers.get(name).logs())
    site = at(busy_url, tmp_path, monkeypatch, name)
    assert site.perform(site.plan("restart_container")).outcome == "done"
    assert b"ended well" in host.client.containers.get(name).logs()


def test_a_crash_loop_that_somebody_has_stopped_is_not_started_again(
    host: Engine, busy_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = host.run("sleep 0.3; exit 1", restart_policy={"Name": "always"})
    until_true(lambda: host.client.api.inspect_container(name)["RestartCount"] >= 2)
    site = at(busy_url, tmp_path, monkeypatch, name)
    plan, gate = site.plan("restart_container"), site.gate()
    approval = gate.approve(gate.look(plan), name)
    host.client.containers.get(name).stop(timeout=1)
    with pytest.raises(ActionError, match="started_at: not up for long -> exited since"):
        gate.perform(plan, approval)
    assert host.client.api.inspect_container(name)["State"]["Status"] == "exited"


def test_of_a_restart_that_stopped_it_and_could_not_start_it_the_outcome_is_unknown(
    host: Engine, busy_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "mounted"
    place.mkdir()
    name = host.run(QUICK, mounts=[docker.types.Mount("/mounted", str(place), type="bind")])
    site = at(busy_url, tmp_path, monkeypatch, name)
    plan = site.plan("restart_container")
    place.rmdir()
    with pytest.raises(ActionError, match=f"state of {name}: exited"):
        site.perform(plan)
    assert site.outcomes == ["unknown"]


def at(url: str, folder: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> Acting:
    """A site whose service has that one container."""
    docker = {"docker": {"url": url}}
    actions = {**docker, "cooldown": "1s"}
    return Acting(folder, monkeypatch, systems=docker, actions=actions, containers=(name,))


@pytest.mark.row("F78")
def test_a_container_that_was_made_anew_is_not_restarted(host: Engine, container: str, site: Acting) -> None:
    plan = site.plan("restart_container")
    gate = site.gate()
    approval = gate.approve(gate.look(plan), container)
    host.remove(container)
    host.run(QUICK, container)
    before = state(host, container)
    with pytest.raises(ActionError, match="has changed since this was proposed: id: "):
        gate.perform(plan, approval)
    assert state(host, container) == before
    assert site.outcomes == ["refused"]


@pytest.mark.row("F78")
def test_a_container_that_was_started_anew_meanwhile_is_not_restarted_again(
    host: Engine, container: str, site: Acting
) -> None:
    plan = site.plan("restart_container")
    gate = site.gate()
    approval = gate.approve(gate.look(plan), container)
    host.client.containers.get(container).restart(timeout=2)
    before = state(host, container)
    with pytest.raises(ActionError, match="started_at: "):
        gate.perform(plan, approval)
    assert state(host, container) == before


def test_a_container_that_crashes_again_and_again_is_the_same_one_between_two_crashes(
    host: Engine, busy_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = host.run("sleep 0.3; exit 1", restart_policy={"Name": "always"})
    until_true(lambda: host.client.api.inspect_container(name)["RestartCount"] >= 2)
    site = at(busy_url, tmp_path, monkeypatch, name)
    plan, crashes = (
        site.plan("restart_container"),
        host.client.api.inspect_container(name)["RestartCount"],
    )
    until_true(lambda: host.client.api.inspect_container(name)["RestartCount"] > crashes)
    assert site.perform(plan).outcome == "done"


@pytest.mark.row("H35")
def test_a_container_that_the_service_does_not_name_is_refused_and_that_is_recorded(
    host: Engine, site: Acting
) -> None:
    victim = host.run(QUICK)
    before = state(host, victim)
    forged = Plan(
        "restart_container",
        {"container": victim},
        "Small",
        "backend",
        "site",
        victim,
        {"id": before[0], "started_at": before[1]},
    )
    with pytest.raises(ActionError, match="is not a container of backend"):
        site.perform(forged)
    assert state(host, victim) == before
    assert [(deed.outcome, deed.target) for deed in site.deeds] == [("refused", victim)]


@pytest.mark.row("F79")
@pytest.mark.parametrize(
    "case", ["expired", "used twice", "for another plan", "given elsewhere", "stretched"]
)
def test_an_approval_serves_once_in_time_for_one_plan_at_one_gate(
    host: Engine, container: str, site: Acting, case: str
) -> None:
    site.write(cooldown="1s", approval="1s" if case in ("expired", "stretched") else "10m")
    plan, gate = site.plan("restart_container"), site.gate()
    approval: Approval = gate.approve(gate.look(plan), container)
    wanted, plan_now = {
        "expired": ("the approval expired", plan),
        "used twice": ("was already used", plan),
        "for another plan": ("for another plan", site.plan("raise_memory_limit")),
        "given elsewhere": ("was not issued by this process", plan),
        "stretched": ("was not issued by this process", plan),
    }[case]
    if case == "used twice":
        gate.perform(plan, approval)
        plan_now = plan
    if case == "given elsewhere":
        gate = site.gate()
    if case == "stretched":
        approval = replace(approval, deadline=approval.deadline + 600)
    if case in ("expired", "stretched"):
        time.sleep(1.1)
    before = state(host, container)
    with pytest.raises(ActionError, match=wanted):
        gate.perform(plan_now, approval)
    assert state(host, container) == before
    assert site.outcomes[-1] == "refused"


@pytest.mark.row("F30")
def test_two_approvers_at_once_do_it_once(host: Engine, container: str, site: Acting) -> None:
    site.write(cooldown="15m")
    plan = site.plan("restart_container")

    def approve(name: str) -> str:
        gate = site.gate(name)
        approval = gate.approve(gate.look(plan), container)
        try:
            return gate.perform(plan, approval).outcome
        except ActionError as error:
            return str(error)

    since = int(time.time())
    with ThreadPoolExecutor(2) as pool:
        told = list(pool.map(approve, ("Ada", "Bob")))
    assert told.count("done") == 1, told
    assert sorted(site.outcomes) == ["done", "refused"]
    until_true(lambda: restarts(host, container, since) == 1)


def restarts(host: Engine, container: str, since: int) -> int:
    filters = {"container": container, "event": "restart"}
    events = host.client.events(since=since, until=int(time.time()) + 1, decode=True, filters=filters)
    return len(list(events))


def test_a_target_rests_after_an_action_and_an_hour_has_only_so_many(site: Acting) -> None:
    site.write(cooldown="15m")
    site.perform(site.plan("restart_container"))
    with pytest.raises(ActionError, match="the cooldown is 900 s"):
        site.perform(site.plan("raise_memory_limit"))
    site.write(cooldown="1s", most_per_hour=1)
    time.sleep(1.1)
    with pytest.raises(ActionError, match="1 actions within an hour in site; the limit is 1"):
        site.perform(site.plan("raise_memory_limit"))
    assert site.outcomes == ["done", "refused", "refused"]
    assert manifest.verify_folder(site.folder) == []


def test_a_stop_file_stops_everything(host: Engine, container: str, site: Acting) -> None:
    (site.folder / action_ledger.STOP_FILE).write_text("the release freeze\n")
    before = state(host, container)
    with pytest.raises(ActionError, match="all actions are stopped: the release freeze"):
        site.perform(site.plan("restart_container"))
    assert state(host, container) == before


def test_what_cannot_be_saved_first_is_not_destroyed_unless_somebody_takes_it_upon_themselves(
    host: Engine, busy_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = host.run(QUICK, log_config={"Type": "none"})
    docker = {"docker": {"url": busy_url}}
    actions = {**docker, "cooldown": "1s"}
    site = Acting(tmp_path, monkeypatch, systems=docker, actions=actions, containers=(name,))
    before = state(host, name)
    with pytest.raises(ActionError, match="cannot be saved first"):
        site.perform(site.plan("restart_container"))
    assert state(host, name) == before
    deed = site.perform(site.plan("restart_container"), without_capture="it has no log")
    assert state(host, name) != before
    page = (site.folder / deed.evidence / "notebook.html").read_text()
    assert ("Ada" in page, "it has no log" in page) == (True, True)


def test_a_ledger_that_was_changed_lets_nothing_be_done(host: Engine, container: str, site: Acting) -> None:
    site.perform(site.plan("restart_container"))
    book = site.folder / action_ledger.FILE
    book.write_text(book.read_text().replace('"by":"Ada"', '"by":"Eve"', 1))
    assert any(action_ledger.FILE in line for line in manifest.verify_folder(site.folder))
    before = state(host, container)
    with pytest.raises(ActionError, match="was changed, or a line before it is missing"):
        site.perform(site.plan("raise_memory_limit"))
    assert state(host, container) == before


_PERFORM = """
import sys
from pathlib import Path
from runbooklib.actions.gate import Gate, Justification
from runbooklib.model.plan import Plan
from runbooklib.evidence.verdict_json import ACTION_MIME
import json
plan = Plan.from_dict(json.loads(sys.argv[1]))
gate = Gate(Path(sys.argv[2]), "Ada", Justification("b", "c"))
gate.perform(plan, gate.approve(gate.look(plan), plan.target))
"""


def in_a_process(site: Acting, plan: Plan, *before: str) -> "subprocess.Popen[bytes]":
    argv = [*before, sys.executable, "-c", _PERFORM, json.dumps(plan.as_dict()), str(site.folder)]
    return subprocess.Popen(argv, cwd=ROOT, env={**os.environ}, stderr=subprocess.PIPE)


@pytest.mark.row("F76")
def test_of_an_action_whose_gate_was_killed_nobody_knows_the_outcome_and_it_is_not_repeated(
    host: Engine, busy_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = host.run("trap '' TERM; while :; do sleep 0.1; done")  # Docker waits ten seconds for it
    docker = {"docker": {"url": busy_url}}
    site = Acting(
        tmp_path, monkeypatch, systems=docker, actions={**docker, "cooldown": "1s"}, containers=(name,)
    )
    plan, since = site.plan("restart_container"), int(time.time())
    with in_a_process(site, plan) as process:
        until_true(lambda: any(deed.outcome == "unknown" for deed in _deeds(site)), 30)
        time.sleep(0.5)  # it has been asked for by now
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=10)
    until_true(lambda: restarts(host, name, since) == 1, 30)
    assert site.outcomes == ["unknown"]
    with pytest.raises(ActionError, match="has changed since this was proposed"):
        site.perform(plan)
    assert manifest.verify_folder(site.folder) == []
    time.sleep(1)
    assert restarts(host, name, since) == 1


def _deeds(site: Acting) -> list[ActionRecord]:
    return site.deeds if (site.folder / action_ledger.FILE).exists() else []


@pytest.mark.row("F76")
@pytest.mark.slow
def test_wherever_its_gate_is_killed_nothing_is_done_without_an_intent_and_nothing_twice(
    host: Engine, container: str, site: Acting
) -> None:
    site.write(cooldown="1s", most_per_hour=1000)
    for number in range(1, 60):
        plan, since = site.plan("restart_container"), int(time.time())
        done = restarts(host, container, since)
        inject = ("strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync")
        with in_a_process(site, plan, *inject, "-e", f"inject=fsync:signal=SIGKILL:when={number}") as process:
            process.communicate(timeout=60)
        begun = [deed for deed in _deeds(site) if deed.plan == plan.digest and deed.outcome != "refused"]
        time.sleep(1.1)
        now = restarts(host, container, since) - done
        assert now <= len(begun) <= 1
        if begun and begun[0].outcome == "done":
            break
        assert not begun or begun[0].outcome == "unknown"
        if begun:
            with pytest.raises(ActionError):
                site.perform(plan)
        assert action_ledger.read(site.folder)[1] == ""
    else:
        pytest.fail("it never came to its end")
    assert number > 3
