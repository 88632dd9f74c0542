"""The Docker engine is missing, forbidden, hung, ill or restarting: UNKNOWN, in time, and never "none"."""

import contextlib
import json
import os
import random
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import docker
import pytest

from runbooklib import errors
from runbooklib.checks.container_state import container_state
from runbooklib.checks.containers import container_cpu, container_deaths, container_memory
from runbooklib.checks.logs import log_lines, new_exceptions
from runbooklib.errors import Reason
from runbooklib.model.findings import Status
from runbooklib.sources.docker.client import Docker
from runbooklib.sources.tape import Tape
from tests.support.asking import is_short_and_names, told
from tests.support.docker_proxy import Proxy
from tests.support.dockerd import CHECKS, Engine, asking, own_engine, span, until_true
from tests.support.stand_in import Standin, answer, head, in_turn, standin
from tests.support.survey import Survey
from tests.support.timing import ALONE_SECONDS, BUSY_SECONDS

ROOT = Path(__file__).parents[2]


@pytest.mark.row("F59")
def test_a_missing_socket_is_unknown_and_never_no_containers(tmp_path: Path, survey: Survey) -> None:
    url = f"unix://{tmp_path}/none.sock"
    findings = asking(url).ask(*CHECKS)
    survey.never_ok(finding.status for finding in findings)
    assert {finding.reason for finding in findings} == {Reason.UNREACHABLE}
    assert all(is_short_and_names(one, f"docker at {url}", "No such file") for one in findings)
    assert "no container" not in told(findings)
    assert all("see whether dockerd runs" in str(one.facts["hint"]) for one in findings)


@pytest.mark.row("F60")
@pytest.mark.skipif(os.geteuid() != 0, reason="drops root's rights in a child process")
def test_a_forbidden_socket_is_unknown_and_names_the_group(url: str, survey: Survey) -> None:
    code = (
        "import os, sys; from tests.support.asking import told\n"
        "from tests.support.dockerd import CHECKS, asking\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "for one in asking(sys.argv[1]).ask(*CHECKS):\n"
        "    print(one.status.name, one.facts['hint'], told([one]))"
    )
    path = Path("/tmp") / f"forbidden-{os.getpid()}.sock"
    with Proxy(url, path) as proxy:
        path.chmod(0o600)
        done = subprocess.run(
            [sys.executable, "-c", code, proxy.url],
            capture_output=True, text=True, check=True, cwd=ROOT,
            env={**os.environ, **survey.environment, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
    lines = done.stdout.splitlines()
    assert len(lines) == len(CHECKS)
    survey.never_ok(line.split()[0] for line in lines)
    assert all("permission denied" in line and "join the group docker" in line for line in lines)
    assert proxy.asked == []


def hung_at(
    path: Path, says: Callable[[socket.socket], None] | None
) -> contextlib.AbstractContextManager[str]:
    """A daemon that takes each connection and then does this; None: it does not even take it."""

    @contextlib.contextmanager
    def serving() -> Iterator[str]:
        over = threading.Event()
        with socket.socket(socket.AF_UNIX) as server, contextlib.ExitStack() as stack:
            server.bind(str(path))
            server.listen(0 if says is None else 16)
            server.settimeout(0.05)
            if says is None:
                for _ in range(2):  # what the kernel would still take for it
                    line = stack.enter_context(socket.socket(socket.AF_UNIX))
                    line.settimeout(0)
                    with contextlib.suppress(OSError):
                        line.connect(str(path))
            thread = threading.Thread(target=_serve, args=(server, over, says))
            if says is not None:
                thread.start()
            try:
                yield f"unix://{path}"
            finally:
                over.set()
                if says is not None:
                    thread.join(30)

    return serving()


def _serve(server: socket.socket, over: threading.Event, says: Callable[[socket.socket], None]) -> None:
    with contextlib.ExitStack() as stack:
        taken: list[socket.socket] = []
        while not over.is_set():
            with contextlib.suppress(TimeoutError):
                taken.append(stack.enter_context(server.accept()[0]))
                taken[-1].settimeout(5)
            for line in taken:
                with contextlib.suppress(OSError):
                    says(line)


def silent(_: socket.socket) -> None:
    """It says nothing."""


def trickling(line: socket.socket) -> None:
    """It says a byte now and then."""
    line.sendall(b"H" if id(line) not in _BEGUN else b"a")
    _BEGUN.add(id(line))


_BEGUN: set[int] = set()


@pytest.mark.row("F61")
@pytest.mark.alone
@pytest.mark.parametrize("says", [silent, trickling, None])
def test_a_hung_daemon_is_unknown_at_the_deadline_and_waited_for_once(
    tmp_path: Path, survey: Survey, says: Callable[[socket.socket], None] | None
) -> None:
    with hung_at(tmp_path / "s", says) as url:
        begun = time.monotonic()
        findings = asking(url, deadline=1.0).ask(*CHECKS)
        assert time.monotonic() - begun < 1 + ALONE_SECONDS
    survey.never_ok(finding.status for finding in findings)
    assert findings[0].reason in (Reason.TIMED_OUT, Reason.UNREACHABLE)
    assert {finding.reason for finding in findings} <= {Reason.TIMED_OUT, Reason.UNREACHABLE}
    assert all(is_short_and_names(one, f"docker at {url}") for one in findings)


@pytest.mark.row("F61")
@pytest.mark.slow
@pytest.mark.alone
def test_a_hung_daemon_costs_ten_seconds_of_a_run_and_no_more(tmp_path: Path, survey: Survey) -> None:
    with hung_at(tmp_path / "s", silent) as url:
        begun = time.monotonic()
        findings = asking(url).ask(*CHECKS)
        assert time.monotonic() - begun < 10 + ALONE_SECONDS
    survey.never_ok(finding.status for finding in findings)
    assert all(is_short_and_names(one, f"docker at {url}", "within 10 s") for one in findings)


@pytest.mark.row("F61")
def test_a_daemon_that_is_stopped_is_unknown_and_works_again(
    url: str, engine: Engine, survey: Survey
) -> None:
    """The real one, by SIGSTOP."""
    name = engine.run("sleep 300")
    pid = int(Path(url.removeprefix("unix://")).with_name("pid").read_text())
    os.kill(pid, 19)
    try:
        begun = time.monotonic()
        findings = asking(url, name, deadline=1.0).ask(*CHECKS)
        assert time.monotonic() - begun < 1 + BUSY_SECONDS
    finally:
        os.kill(pid, 18)
    survey.never_ok(finding.status for finding in findings)
    assert asking(url, name).ask(container_state)[0].status is Status.OK


@pytest.mark.row("F62")
@pytest.mark.parametrize("status", [500, 503, 502])
def test_a_daemon_s_error_is_unknown_in_its_own_words(survey: Survey, status: int) -> None:
    ill = answer({"message": "layer store on fire"}, status)
    with standin(in_turn(answer({"ApiVersion": "1.41"}), ill)) as server:
        first = asking(server.url.replace("http", "tcp")).ask(*CHECKS)
    with standin(ill) as server:
        every = asking(server.url.replace("http", "tcp")).ask(*CHECKS)
    survey.never_ok(finding.status for finding in [*first, *every])
    assert {finding.reason for finding in every} == {Reason.REFUSED}
    assert all(
        is_short_and_names(one, "docker at", f"answered {status}: layer store on fire") for one in every
    )


@pytest.mark.row("F62")
def test_a_daemon_that_answers_without_end_is_cut_off(survey: Survey) -> None:
    def endless(line: socket.socket, _: Standin) -> None:
        line.sendall(head(200, "application/json", None))
        for _number in range(300):
            line.sendall(b" " * 1_000_000)

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with standin(in_turn(answer({"ApiVersion": "1.41"}), endless)) as server:
        findings = asking(server.url.replace("http", "tcp")).ask(container_state)
    survey.never_ok(finding.status for finding in findings)
    assert "larger than 16,000,000 bytes" in told(findings)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


READING = """
import json, resource, sys, time
from datetime import datetime
from runbooklib.sources.docker.client import Docker
from runbooklib.sources.tape import Tape
url, name, since, until = sys.argv[1:]
source = Docker(url, Tape())
source.container(name)
before, begun = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
lines = source.logs(name, datetime.fromisoformat(since), datetime.fromisoformat(until))
texts = lines.frame["text"]
told = {"grown": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, "size": texts.str.len().sum()}
told |= {"seconds": time.monotonic() - begun, "first": texts.iloc[0], "last": texts.iloc[-1]}
told |= {"is_cut": lines.is_cut, "ends": str(lines.ends_early_at), "rows": len(texts)}
print(json.dumps(told, default=int))
"""


@pytest.mark.row("F63")
@pytest.mark.slow
@pytest.mark.alone
def test_of_a_log_of_200_mb_its_ends_are_read_in_little_memory(
    url: str, engine: Engine, survey: Survey
) -> None:
    line = "x" * 4000
    name = engine.run(f"seq -f 'line %.0f {line}' 1 50000; echo ERROR at the very end")
    until_true(lambda: _has_written(engine, name), 240)
    since, until = span()
    done = subprocess.run(
        [sys.executable, "-c", READING, url, name, since.isoformat(), until.isoformat()],
        capture_output=True, text=True, check=True, cwd=ROOT,
        env={**os.environ, **survey.environment, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    found = json.loads(done.stdout)
    assert found["grown"] < 100_000, "kilobytes"
    assert found["size"] < 3_000_000
    assert found["seconds"] < 10 + ALONE_SECONDS
    assert found["first"].startswith("line 1 xxx")
    assert (found["last"], found["is_cut"], found["ends"]) == ("ERROR at the very end", True, "None")
    spoken, silent_of = asking(url, name).ask(
        (log_lines, {"matching": "very end", "about": "the end"}),
        (log_lines, {"matching": "of this it does not speak", "about": "nothing"}),
    )
    assert spoken.status is Status.WARNING
    survey.never_ok([silent_of.status])
    assert "are missing" in told([silent_of])
    engine.remove(name)


def _has_written(engine: Engine, name: str) -> bool:
    container = engine.client.containers.get(name)
    return bool(container.status == "exited") or b"very end" in container.logs(tail=1)


@pytest.fixture
def other_engine(url: str) -> Iterator[Engine]:
    """An engine whose events are of no other test; where we may not start one, the one that answers."""
    with contextlib.ExitStack() as stack:
        other = Engine(stack.enter_context(own_engine()) if os.geteuid() == 0 else url)
        try:
            yield other
        finally:
            other.close()


@pytest.mark.row("F64")
@pytest.mark.slow
def test_a_container_that_vanishes_at_any_moment_crashes_nothing_and_is_recorded(
    other_engine: Engine, seed: int, survey: Survey
) -> None:
    url, engine = other_engine.url, other_engine
    chance, wrong, outcomes = random.Random(seed), [], []
    for _ in range(50):
        name = engine.run("echo ERROR; sleep 300")
        where = asking(url, name, deadline=5.0)
        remover = threading.Thread(target=_remove_after, args=(engine, name, chance.uniform(0, 0.05)))
        remover.start()
        findings = where.ask(*CHECKS[:3], *CHECKS[5:])
        remover.join(20)
        wrong += [one for one in findings if "check itself failed" in told([one])]
        outcomes += [one.reason for one in findings]
        recorded = where.entries
        assert all(entry.answer is not None or entry.error for entry in recorded)
        after = asking(url, name).ask(container_state, (container_cpu, {"above": 0.9}))
        survey.never_ok(one.status for one in after)
        assert {one.reason for one in after} == {Reason.NO_DATA}
    assert wrong == []
    assert Reason.NO_DATA in outcomes, "it vanished under none of the questions"
    assert Reason.NONSENSE not in outcomes


def _remove_after(engine: Engine, name: str, seconds: float) -> None:
    time.sleep(seconds)
    with contextlib.closing(docker.DockerClient(base_url=engine.url)) as client:
        client.containers.get(name).remove(force=True)


@pytest.mark.row("F65")
@pytest.mark.parametrize("keep_file", [True, False])
def test_a_daemon_that_restarts_in_the_middle_is_unknown_meanwhile_and_asked_again(
    url: str,
    engine: Engine,
    tmp_path: Path,
    survey: Survey,
    keep_file: bool,  # noqa: FBT001
) -> None:
    name = engine.run("sleep 300", mem_limit="64m")
    with Proxy(url, tmp_path / "s") as proxy:
        where = asking(proxy.url, name)
        [before] = where.ask(container_state)
        proxy.kill(keep_file=keep_file)
        meanwhile = where.ask(container_deaths, (container_memory, {"above": 1e9}))
        proxy.start()
        after = where.ask(new_exceptions)
        where.tape.forget()
        again = where.ask(container_state, (container_memory, {"above": 1e9}))
    assert [one.status for one in (before, *after, *again)] == [Status.OK] * 4
    survey.never_ok(one.status for one in meanwhile)
    assert all(is_short_and_names(one, "docker", "it answered earlier in this run") for one in meanwhile)


@pytest.mark.row("F65")
def test_a_daemon_that_dies_in_the_middle_of_an_answer_is_unknown_and_the_next_is_answered(
    url: str, engine: Engine, tmp_path: Path, survey: Survey
) -> None:
    name = engine.run("while :; do echo ERROR x; done")
    with Proxy(url, tmp_path / "s") as proxy:
        where = asking(proxy.url, name)
        asked = threading.Thread(target=lambda: where.ask((container_cpu, {"above": 0.5})))
        asked.start()
        until_true(lambda: any("/stats" in target for _, target in proxy.asked))
        proxy.kill()
        asked.join(15)
        proxy.start()
        [lost], [after] = where.incident.findings, where.ask(container_state)
    survey.never_ok([lost.status])
    assert after.status is Status.OK
    engine.remove(name)


@pytest.mark.row("F66")
@pytest.mark.parametrize("hours", [-1, 1])
def test_an_engine_s_events_are_asked_up_to_its_own_time(hours: int) -> None:
    """A clock of ours that is an hour behind would leave out the last hour, and one ahead would wait."""
    theirs = datetime.now(UTC) - timedelta(hours=hours)
    date = {"Date": format_datetime(theirs.replace(microsecond=0), usegmt=True)}
    found = {"Name": "/backend", "Id": "c" * 64, "State": {"StartedAt": "2026-01-15T03:00:00Z"}}
    with standin(
        in_turn(answer({"ApiVersion": "1.41"}, headers=date), answer(b"", headers=date), answer(found))
    ) as server:
        events = Docker(server.url.replace("http", "tcp"), Tape()).events("backend", *span())
    assert len(events.frame) == 0
    asked_until = float(server.asked[1].params["until"][0])
    assert abs(asked_until - theirs.timestamp()) < 3


def test_an_engine_that_never_answered_is_not_waited_for_twice(tmp_path: Path) -> None:
    where = asking(f"unix://{tmp_path}/none")
    where.ask(*CHECKS)
    kinds = {entry.error["type"] for entry in where.entries if entry.error}
    assert kinds == {errors.UnreachableError.__name__}
