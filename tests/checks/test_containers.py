"""What the checks say of a container on a real engine: running, ended, running only whenever one looks."""

from datetime import UTC, datetime, timedelta

from runbooklib.checks.container_state import container_state
from runbooklib.checks.containers import container_cpu, container_deaths, container_memory, out_of_memory
from runbooklib.model.findings import Status
from runbooklib.render.sentences import sentence
from runbooklib.sources.context import Context
from runbooklib.sources.docker.client import Docker
from runbooklib.sources.tape import Tape
from tests.support.dockerd import IMAGE, Engine, make_context, until_true

# It dies once, and runs when the engine has started it again.
DIES_ONCE = "[ -e /died ] && exec sleep 300; : >/died; exit 1"


def test_running_and_ended_are_told_apart(url: str, engine: Engine) -> None:
    running, ended = engine.run("sleep 300"), engine.run("exit 7", wait=True)
    assert container_state(make_context(url, running)).status is Status.OK
    finding = container_state(make_context(url, ended))
    assert finding.status is Status.CRITICAL
    assert "last exit code is 7" in sentence(finding)


def test_one_that_the_engine_had_to_start_again_is_not_sound_though_it_runs(url: str, engine: Engine) -> None:
    name = engine.run(DIES_ONCE, restart_policy={"Name": "always"})

    def has_come_back() -> bool:
        now = Docker(url, Tape()).container(name)
        return now.status == "running" and now.restart_count > 0

    until_true(has_come_back)
    finding = container_state(make_context(url, name))
    assert finding.status is Status.WARNING
    assert "after automatic restarts by Docker: 1" in sentence(finding)


def test_a_paused_container_is_a_problem(url: str, engine: Engine) -> None:
    name = engine.run("sleep 300")
    engine.client.containers.get(name).pause()
    try:
        finding = container_state(make_context(url, name))
    finally:
        engine.client.containers.get(name).unpause()
    assert (finding.status, finding.since) == (Status.CRITICAL, None)
    assert "is paused" in sentence(finding)
    assert container_state(make_context(url, name)).status is Status.OK


def test_a_container_that_waits_for_its_next_start_is_a_problem(url: str, engine: Engine) -> None:
    name = engine.run("exit 3", restart_policy={"Name": "always"})

    def is_waiting() -> bool:
        described = engine.client.api.inspect_container(name)
        return bool(described["RestartCount"] > 3 and described["State"]["Status"] == "restarting")

    until_true(is_waiting)
    assert engine.client.api.inspect_container(name)["State"]["Running"]
    finding = container_state(make_context(url, name))
    assert finding.status is Status.WARNING
    assert "is restarting" in sentence(finding)
    assert "last exit code 3" in sentence(finding)


def test_a_container_that_never_started_is_a_problem(url: str, engine: Engine) -> None:
    created = engine.client.containers.create(IMAGE, ["sleep", "300"], network_mode="none")
    engine.begun.append(str(created.id))
    finding = container_state(make_context(url, str(created.name)))
    assert finding.status is Status.CRITICAL
    assert "has never started" in sentence(finding)


def test_a_failing_and_an_unfinished_health_check_are_said(url: str, engine: Engine) -> None:
    second = 1_000_000_000
    failing_check = {"test": ["CMD-SHELL", "exit 1"], "interval": second, "timeout": second, "retries": 1}
    failing = engine.run("sleep 300", healthcheck=failing_check)
    slow = {"test": ["CMD-SHELL", "exit 0"], "interval": 300 * second}
    unfinished = engine.run("sleep 300", healthcheck=slow)
    until_true(lambda: Docker(url, Tape()).container(failing).health == "unhealthy")
    finding = container_state(make_context(url, failing))
    assert finding.status is Status.WARNING
    assert "health check fails" in sentence(finding)
    finding = container_state(make_context(url, unfinished))
    assert finding.status is Status.OK
    assert "has not succeeded yet" in sentence(finding)


def fill_events_like_health_checks(host: Engine, name: str) -> None:
    """More events than the engine keeps, of the kind that a health check makes: three each."""
    for _ in range(90):
        host.client.containers.get(name).exec_run(["cat", "/dev/null"])


def since(url: str, name: str, moment: datetime) -> Context:
    """A context whose suspect time begins at that moment."""
    lead = make_context(url, name).timing.lead_seconds
    return make_context(url, name, onset=moment + timedelta(seconds=lead))


def test_events_of_health_checks_hide_neither_a_sound_container_nor_a_dead_one(
    busy_url: str, host: Engine
) -> None:
    sound, restarted, neighbour = (host.run("sleep 300") for _ in range(3))
    before = datetime.now(UTC)
    dying = host.run(DIES_ONCE, restart_policy={"Name": "always"})
    until_true(lambda: Docker(busy_url, Tape()).container(dying).restart_count == 1)
    host.client.containers.get(restarted).restart(timeout=0)
    fill_events_like_health_checks(host, neighbour)
    for name, status in (
        (sound, Status.OK),
        (dying, Status.CRITICAL),
        (restarted, Status.UNKNOWN),  # a restart on request, and an exit: the state is the same
    ):
        finding = container_deaths(since(busy_url, name, before))
        assert finding.status is status, sentence(finding)
        assert out_of_memory(since(busy_url, name, before)).status is Status.UNKNOWN
    assert "without an exit" in sentence(container_deaths(since(busy_url, sound, before)))


def test_a_death_for_memory_is_known_without_its_event(busy_url: str, host: Engine) -> None:
    before = datetime.now(UTC)
    script = "x=xxxxxxxx; while :; do x=$x$x; done"
    name = host.run(script, wait=True, mem_limit="16m", memswap_limit="16m")
    fill_events_like_health_checks(host, host.run("sleep 300"))
    for check in (out_of_memory, container_deaths):
        finding = check(since(busy_url, name, before))
        assert finding.status is Status.CRITICAL
        assert "because memory ran out (exit code 137)" in sentence(finding)


def test_what_a_container_uses_now_is_held_against_its_limit(url: str, engine: Engine) -> None:
    burning = engine.run("while :; do :; done")
    try:
        busy = container_cpu(make_context(url, burning), above=0.02)
        assert busy.status is Status.WARNING
        assert busy.measured is not None
        assert 0.02 < busy.measured < 1.5  # on a busy machine it gets what is left
        assert container_cpu(make_context(url, burning), above=5.0).status is Status.OK
        assert container_memory(make_context(url, burning), above=1.0).status is Status.WARNING
        assert container_memory(make_context(url, burning), above=1e12).status is Status.OK
    finally:
        engine.remove(burning)  # it would burn a core until the last test
