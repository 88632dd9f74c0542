"""Names that want to be another container, checks that want to act, secrets in all that a container holds."""

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from runbooklib import errors
from runbooklib.checks.container_state import container_state
from runbooklib.checks.logs import log_lines, new_exceptions
from runbooklib.model.findings import Finding, Status
from runbooklib.sources.context import Context
from runbooklib.sources.docker import client as client_module
from runbooklib.sources.docker import engine as engine_module
from runbooklib.sources.docker.client import Docker
from runbooklib.sources.tape import Tape
from tests.support.asking import told
from tests.support.docker_proxy import Proxy
from tests.support.dockerd import CHECKS, IMAGE, Engine, asking, span, until_true
from tests.support.running import DOWN, command
from tests.support.survey import Survey

REFUSED_NAMES = [
    "", "9", "/x", "x/", "a%2fb", "%2f", "..", ".", "-a", "_a", "a b", "name\n", "é1", "a\x00b", "a?b", "a#b",
    "../{victim}", "allowed/../{victim}", "allowed%2f..%2f{victim}", "allowed/json?x=/../../{victim}",
    "{victim}/", "/{victim}", "{victim}\u200b", "{victim},other",
]  # fmt: skip


@contextlib.contextmanager
def untouched(engine: Engine, *names: str) -> Iterator[None]:
    """The containers are what they were: the same ids, running since the same time, in the same state."""

    def state() -> list[object]:
        told = [engine.client.api.inspect_container(name) for name in names]
        everything = {c["Id"] for c in engine.client.api.containers(all=True)}
        return [*((one["Id"], one["State"], one["RestartCount"]) for one in told), everything]

    before = state()
    yield
    assert state() == before


@pytest.mark.row("H33", "H34")
@pytest.mark.parametrize("name", REFUSED_NAMES)
def test_what_is_no_name_is_refused_before_the_engine_is_asked(
    url: str, engine: Engine, tmp_path: Path, name: str
) -> None:
    victim = engine.run("sleep 300")
    name = name.replace("{victim}", victim)
    with untouched(engine, victim), Proxy(url, tmp_path / "s") as proxy:
        docker_source = Docker(proxy.url, Tape())
        questions: list[Callable[[], object]] = [
            lambda: docker_source.container(name),
            lambda: docker_source.stats(name),
            lambda: docker_source.events(name, *span()),
            lambda: docker_source.logs(name, *span()),
        ]
        for ask in questions:
            with pytest.raises(errors.ParameterError, match="not a valid container name"):
                ask()
        assert proxy.asked == []


@pytest.mark.row("H33", "H34")
def test_such_a_name_in_the_settings_is_refused_before_a_kernel_starts(tmp_path: Path) -> None:
    settings = DOWN.replace('containers: ["backend"]', 'containers: ["allowed/../victim"]')
    (tmp_path / "down.yaml").write_text(settings)
    argv = ["runbook", "run", "ServiceDown", "-e", "down", "--output", str(tmp_path / "out")]
    ended = command(argv, {"RUNBOOK_ENVIRONMENTS": str(tmp_path), "DOWN_PASSWORD": "x"})
    assert ended.code == 3
    assert "is not a container name" in ended.err
    assert not list((tmp_path / "out").glob("*/notebook.ipynb"))


@pytest.mark.row("H34")
def test_what_only_resembles_a_container_resolves_to_none(
    url: str, engine: Engine, tmp_path: Path, survey: Survey
) -> None:
    name = engine.run("sleep 300")
    whole = Docker(url, Tape()).container(name).id
    likes = [whole, whole[:12], whole[:2], name[:-1], name.upper(), f"{name}.", f"{name}x"]
    with untouched(engine, name), Proxy(url, tmp_path / "s") as proxy:
        for like in likes:
            with pytest.raises(errors.NoDataError):
                Docker(proxy.url, Tape()).container(like)
            findings = asking(proxy.url, like).ask(*CHECKS)
            survey.never_ok(finding.status for finding in findings)
        assert {method for method, _ in proxy.asked} == {"GET"}


@pytest.mark.row("H34")
def test_the_first_letters_of_several_ids_are_no_name(url: str, engine: Engine) -> None:
    """Where there is one such id the engine means it, and where there are more it fails with 500."""
    begun: dict[str, str] = {}
    shared = ""
    while not shared:  # at the latest with the 257th; with about the twentieth as a rule
        made = engine.client.api.create_container(IMAGE, "true")["Id"]
        engine.begun.append(made)
        shared = made[:2] if made[:2] in begun else ""
        begun[made[:2]] = made
    with pytest.raises(errors.NoDataError, match=f"there is no container '{shared}'"):
        Docker(url, Tape()).container(shared)


@pytest.mark.row("H33")
def test_a_name_is_resolved_once_and_what_follows_asks_by_the_whole_id(
    url: str, engine: Engine, tmp_path: Path
) -> None:
    name = engine.run("echo hello; sleep 300", mem_limit="64m")
    whole = Docker(url, Tape()).container(name).id
    with Proxy(url, tmp_path / "s") as proxy:
        Docker(proxy.url, Tape()).stats(name)
        Docker(proxy.url, Tape()).logs(name, *span())
        paths = [target.partition("?")[0].partition("/containers/")[2] for _, target in proxy.asked]
    assert [one for one in paths if one] == [
        f"{name}/json",
        f"{whole}/stats",
        f"{name}/json",
        f"{whole}/logs",
    ]
    assert len(whole) == 64


@pytest.mark.row("H36")
def test_the_docker_source_works_through_a_proxy_that_lets_only_get_through(
    url: str, engine: Engine, tmp_path: Path
) -> None:
    name = engine.run("echo ERROR loud; sleep 300", mem_limit="64m")
    until_true(lambda: len(Docker(url, Tape()).logs(name, *span()).frame) == 1)
    with Proxy(url, tmp_path / "s") as proxy:
        through, direct = Docker(proxy.url, Tape()), Docker(url, Tape())
        since, until = span()
        assert through.container(name) == direct.container(name)
        assert through.stats(name).memory_limit_bytes == 64 * 2**20
        assert len(through.events(name, since, until).starts) == 1
        assert through.logs(name, since, until).frame.equals(direct.logs(name, since, until).frame)
        findings = asking(proxy.url, name).ask(*CHECKS[:7])
        assert not [one for one in findings if one.reason is errors.Reason.REFUSED], told(findings)
        assert findings[0].status is Status.OK
        assert {method for method, _ in proxy.asked} == {"GET"}


def acts(engine: Any, victim: str) -> list[Callable[[], object]]:
    """What turns a docker socket into the machine: each by docker's own client."""
    host = engine.create_host_config
    return [
        lambda: engine.create_container(
            IMAGE, "sh", host_config=host(binds=["/:/host"], privileged=True) if callable(host) else None
        ),
        lambda: engine.exec_create(victim, "sh"),
        lambda: engine.exec_start("0" * 64),
        lambda: engine.start(victim),
        lambda: engine.restart(victim),
        lambda: engine.kill(victim),
        lambda: engine.pause(victim),
        lambda: engine.remove_container(victim, force=True),
        lambda: engine.commit(victim),
        lambda: engine.put_archive(victim, "/", b""),
        lambda: engine.create_volume("x", driver_opts={"type": "none", "o": "bind", "device": "/"}),
        lambda: engine.update_container(victim, mem_limit=1),
        lambda: engine.rename(victim, "x"),
        lambda: engine.import_image_from_data(b"", "x"),
        lambda: engine.tag(IMAGE, "x"),
        lambda: engine.remove_image(IMAGE),
    ]


@pytest.mark.row("H36")
def test_what_a_check_tries_to_do_through_our_source_is_refused_and_unknown(
    url: str, engine: Engine, tmp_path: Path, survey: Survey
) -> None:
    """A check that reaches through to the client itself, past everything that is offered."""
    victim = engine.run("sleep 300")
    with untouched(engine, victim), Proxy(url, tmp_path / "s") as proxy:
        for number in range(len(acts(engine.client.api, victim))):

            def acting(_: Context, *, number: int = number) -> Finding:
                """Does it act?"""
                with engine_module.opened(proxy.url, 10) as opened:
                    acts(opened._client, victim)[number]()
                return Finding(status=Status.OK, template="It acted.")

            [finding] = asking(proxy.url, victim).ask(acting)
            survey.never_ok([finding.status])
            assert "checks are read-only" in told([finding]), number
        assert proxy.asked == [], "nothing was sent"


@pytest.mark.row("H36")
def test_the_proxy_itself_refuses_what_docker_s_own_client_tries(
    url: str, engine: Engine, tmp_path: Path
) -> None:
    victim = engine.run("sleep 300")
    with untouched(engine, victim), Proxy(url, tmp_path / "s") as proxy:
        with contextlib.closing(docker.APIClient(base_url=proxy.url, version="1.41")) as client:
            for act in acts(client, victim):
                with pytest.raises(docker.errors.APIError) as caught:
                    act()
                assert "403" in str(caught.value)
        assert "GET" not in {method for method, _ in proxy.asked}


# What each of them holds, by where it is.
PLANTED = {
    "environment": "pl4nted-env/1+x",
    "command": "pl4nted cmd 'quoted'",
    "entrypoint": "pl4nted-entrypoint",
    "label": "pl4nted-label",
    "health": "pl4nted-health-check",
    "mount": "pl4nted-mount",
    "hostname": "pl4nted-hostname",
    "log driver": "pl4nted-log-option",
}
LEAVES = {
    "name", "id", "image", "image_id", "revision", "version", "status", "is_running", "exit_code", "error",
    "oom_killed", "restart_count", "created_at", "started_at", "finished_at", "memory_limit_bytes",
    "memory_swap_bytes", "restart_policy", "health",
}  # fmt: skip


@pytest.mark.row("H64")
def test_of_a_container_only_the_listed_leaves_are_kept(
    url: str, engine: Engine, survey: Survey, tmp_path: Path
) -> None:
    mounted = tmp_path / PLANTED["mount"]
    mounted.mkdir()
    name = engine.run(
        f"# {PLANTED['command']}\nsleep 300",
        entrypoint=["sh", "-c", f"sleep 300; # {PLANTED['entrypoint']}"],
        environment={"DB_PASSWORD": PLANTED["environment"], "HARMLESS": PLANTED["environment"]},
        labels={"org.opencontainers.image.revision": "abc123", "other": PLANTED["label"]},
        healthcheck={"test": ["CMD-SHELL", f"echo {PLANTED['health']}"], "interval": 10**9},
        volumes={str(mounted): {"bind": f"/{PLANTED['mount']}", "mode": "ro"}},
        hostname=PLANTED["hostname"],
        log_config={"Type": "json-file", "Config": {"tag": PLANTED["log driver"]}},
    )
    whole = json.dumps(engine.client.api.inspect_container(name))
    assert all(json.dumps(secret)[1:-1] in whole for secret in PLANTED.values()), "the engine holds them all"
    until_true(lambda: engine.client.api.inspect_container(name)["State"]["Health"]["Log"])
    where = asking(url, name)
    findings = where.ask(*CHECKS)
    [kept] = [entry.answer for entry in where.entries if entry.request.get("question") == "container"]
    assert set(kept) == LEAVES
    told_of = {"tape": where.recording, "told": told(findings), "findings": str(findings)}
    survey.no_canary(told_of, *PLANTED.values())
    assert name in where.recording


@pytest.mark.row("H64")
def test_an_error_of_the_engine_does_not_repeat_the_command_line(
    url: str, engine: Engine, survey: Survey
) -> None:
    secret = "/no/such/pl4nted-command"
    name = f"failing-{time.monotonic_ns()}"
    with pytest.raises(docker.errors.APIError):
        engine.client.containers.run(IMAGE, [secret, "--x"], name=name, detach=True, network_mode="none")
    engine.begun.append(name)
    assert secret in engine.client.api.inspect_container(name)["State"]["Error"]
    where = asking(url, name)
    [finding] = where.ask(container_state)
    found = where.sources.docker.container(name)
    assert "exec" in found.error
    assert finding.status is Status.CRITICAL
    survey.no_canary({"tape": where.recording, "told": told([finding]), "error": found.error}, secret)


@pytest.mark.row("H65")
def test_secrets_in_a_log_and_in_a_process_list_stay_out_of_the_evidence(
    url: str, engine: Engine, survey: Survey
) -> None:
    known = 'kn0wn/of "this" site'
    shaped = ["sh4ped-password", "sh4pedBearerToken0123", "sh4ped-url-password", "sk-sh4ped0123456789abcd"]
    in_process = "pr0cess-arg"
    lines = [
        f"ERROR: login failed password={shaped[0]}",
        f"ERROR: Authorization: Bearer {shaped[1]}",
        f"ERROR: postgresql://app:{shaped[2]}@db:5432/x",
        f"ERROR: key {shaped[3]} refused",
        f"ERROR: {known}",
        json.dumps({"level": "error", "event": "x", "api_key": shaped[0], "dsn": known}),
        # Across both places where a long line is cut.
        f"ERROR: {'x' * (48_000 - 7 - len(known) // 2)}{known} and {'z' * 20_000}{known}{'y' * (16_000 - 5)}",
    ]
    script = "\n".join(f"cat <<'END'\n{line}\nEND" for line in lines)
    name = engine.run(f"{script}\nexec sh -c 'sleep 300; :' {in_process}")
    until_true(lambda: len(Docker(url, Tape()).logs(name, *span()).frame) == len(lines))
    assert in_process in str(engine.client.api.top(name))
    where = asking(url, name)
    where.tape.redactor.know(known)
    findings = where.ask((log_lines, {"matching": "ERROR|error", "about": "errors"}), new_exceptions)
    frame = where.sources.docker.logs(
        name, where.incident.context.window.start, where.incident.context.window.end
    ).frame
    assert len(frame) == len(lines)
    places = {
        "tape": where.recording,
        "told": told(findings),
        "findings": str(findings),
        "frame": str(frame.to_dict()),
    }
    survey.no_canary(places, known, *shaped, in_process)
    long = str(frame["text"].iloc[-1])
    assert known[: len(known) // 2] not in long, "half of a secret is one too"
    assert known[len(known) // 2 :] not in long
    assert 60_000 < len(long) < 65_000


@pytest.mark.row("H65")
def test_the_source_has_no_way_to_ask_for_processes_or_files(
    url: str, engine: Engine, tmp_path: Path
) -> None:
    name = engine.run("echo ERROR; sleep 300")
    with Proxy(url, tmp_path / "s") as proxy:
        asking(proxy.url, name).ask(*CHECKS)
        kinds = {target.partition("?")[0].rpartition("/")[2] for _, target in proxy.asked}
    assert kinds == {"version", "json", "events", "stats", "logs"}
    assert not hasattr(client_module.Docker, "top")
