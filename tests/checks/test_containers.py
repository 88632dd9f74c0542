"""What the checks say of a container on a real engine: running, ended, running only whenever one looks."""

from runbooklib.checks.containers import container_cpu, container_memory, container_state
from runbooklib.model.findings import Status
from runbooklib.render.sentences import sentence
from runbooklib.sources.docker.client import Docker
from runbooklib.sources.tape import Tape
from tests.support.dockerd import Engine, make_context, until_true

# It dies once, and runs when the engine has started it again.
DIES_ONCE = "[ -e /died ] && exec sleep 300; touch /died; exit 1"


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
        return now.is_running and now.restart_count > 0

    until_true(has_come_back)
    finding = container_state(make_context(url, name))
    assert finding.status is Status.WARNING
    assert "after automatic restarts by Docker: 1" in sentence(finding)


def test_what_a_container_uses_now_is_held_against_its_limit(url: str, engine: Engine) -> None:
    burning = engine.run("while :; do :; done")
    busy = container_cpu(make_context(url, burning), above=0.02)
    assert busy.status is Status.WARNING
    assert busy.measured is not None
    assert 0.02 < busy.measured < 1.5  # on a busy machine it gets what is left
    assert container_cpu(make_context(url, burning), above=5.0).status is Status.OK
    assert container_memory(make_context(url, burning), above=1.0).status is Status.WARNING
    assert container_memory(make_context(url, burning), above=1e12).status is Status.OK
