"""The Docker source on a real engine: our own dockerd, or the one that answers where we are not root."""

import contextlib
import dataclasses
import json
import os
import resource
import shutil
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from runbooklib import errors
from runbooklib.sources.docker.client import Container, Docker, Stats
from runbooklib.sources.docker.container_logs import LogLines
from runbooklib.sources.docker.events import Events
from runbooklib.sources.tape import Entry, Tape
from tests.support.dockerd import IMAGE, Engine, span, until_true
from tests.support.stand_in import Standin, answer, head, in_turn, standin
from tests.support.timing import BUSY_SECONDS, HANG_SECONDS

# Time to read a large log on a busy machine: these tests are about what is kept, not about speed.
PATIENCE_SECONDS = 120.0
PLANTED = "planted-3f9c1e-secret"
MIXED = r"""
printf '{"event":"request failed","level":"ERROR","request_id":"r-1",'
echo '"method":"GET","path":"/api","status_code":500,"execution_time_ms":12.5}'
echo 'INFO:     127.0.0.1:55324 - "GET /health?x=1 HTTP/1.1" 200 OK'
printf 'Traceback (most recent call last):\n  File "a.py", line 1, in f\n    g()\nValueError: no\n' >&2
printf '\033[2m2026-01-15T03:12:00Z\033[0m [\033[31merror    \033[0m] \033[1mboom\033[0m   path=/x\n'
echo plain
sleep 300
"""


def recorded(tape: Tape) -> str:
    return json.dumps([entry.as_dict() for entry in tape.take_recorded()])


def test_a_running_container_is_described_by_listed_leaves_only(url: str, engine: Engine) -> None:
    name = engine.run(
        f"sleep 300 # {PLANTED}",
        environment={"DB_PASSWORD": PLANTED, "HARMLESS": f"x{PLANTED}"},
        labels={"org.opencontainers.image.revision": "abc123", "other": PLANTED},
        healthcheck={"test": ["CMD-SHELL", f"true {PLANTED}"], "interval": 10**9},
        mem_limit="64m",
        restart_policy={"Name": "on-failure", "MaximumRetryCount": 2},
    )
    tape = Tape()
    found = Docker(url, tape).container(name)
    assert isinstance(found, Container)
    assert (found.name, found.image, found.revision) == (name, IMAGE, "abc123")
    assert found.is_running
    assert found.memory_limit_bytes == 64 * 2**20
    assert found.restart_policy == "on-failure"
    assert found.health in ("starting", "healthy")
    assert found.started_at is not None
    assert found.started_at.tzinfo is UTC
    assert found.finished_at is None
    until_true(lambda: "exec" in str(health_events(engine, name)))
    Docker(url, tape).events(name, *span())
    Docker(url, tape).logs(name, *span())
    Docker(url, tape).stats(name)
    assert PLANTED not in recorded(tape)


def health_events(engine: Engine, name: str) -> list[object]:
    now = int(time.time())
    told = engine.client.api.events(since=1, until=now, filters={"container": name}, decode=True)
    return list(told)


def test_a_container_killed_by_its_memory_limit_says_so_in_state_and_events(url: str, engine: Engine) -> None:
    name = engine.run("x=xxxxxxxx; while :; do x=$x$x; done", wait=True, mem_limit="16m", memswap_limit="16m")
    source = Docker(url, Tape())
    assert source.container(name).oom_killed
    assert source.container(name).exit_code == 137
    events = source.events(name, *span())
    assert len(events.ooms) >= 1
    assert events.deaths["exit_code"].tolist() == [137]
    assert str(events.frame["at"].dtype) == "datetime64[us, UTC]"
    assert events.complete_since is None


def test_a_child_killed_for_memory_shows_only_as_an_event(url: str, engine: Engine) -> None:
    name = engine.run(
        "sh -c 'x=xxxxxxxx; while :; do x=$x$x; done'; sleep 300", mem_limit="16m", memswap_limit="16m"
    )
    until_true(lambda: len(Docker(url, Tape()).events(name, *span()).ooms) > 0)
    assert Docker(url, Tape()).container(name).is_running
    assert len(Docker(url, Tape()).events(name, *span()).deaths) == 0


def test_a_crash_is_a_death_and_a_stop_is_not(url: str, engine: Engine) -> None:
    crashed = engine.run("exit 1", wait=True)
    stopped = engine.run("sleep 300")
    engine.client.containers.get(stopped).stop(timeout=1)
    hup = engine.run("trap 'exit 3' HUP; while :; do sleep 0.1; done")
    time.sleep(0.3)
    engine.client.containers.get(hup).kill("HUP")
    engine.client.containers.get(hup).wait(timeout=10)
    source = Docker(url, Tape())
    assert source.events(crashed, *span()).deaths["exit_code"].tolist() == [1]
    assert source.container(crashed).exit_code == 1
    assert len(source.events(stopped, *span()).deaths) == 0
    assert source.events(hup, *span()).deaths["exit_code"].tolist() == [3]


def test_events_cover_the_containers_that_were_replaced(url: str, engine: Engine) -> None:
    name = engine.run("exit 1", wait=True)
    first = Docker(url, Tape()).container(name)
    engine.remove(name)
    engine.run("sleep 300", name)
    tape = Tape()
    events = Docker(url, tape).events(name, *span())
    assert set(events.frame["container_id"]) == {first.id, Docker(url, tape).container(name).id}
    assert len(events.starts) == 2
    assert Docker(url, tape).logs(name, *span()).reads_since > first.created_at


def mixed(url: str, name: str) -> None:
    """Wait until all of MIXED is written."""
    until_true(lambda: len(Docker(url, Tape()).logs(name, *span()).frame) == 4)


def test_mixed_log_lines_become_records_and_an_ordinary_request_is_only_counted(
    url: str, engine: Engine
) -> None:
    name = engine.run(MIXED)
    mixed(url, name)
    lines = Docker(url, Tape()).logs(name, *span())
    assert sorted(lines.frame["kind"]) == ["json", "text", "text", "traceback"]
    rows = {row["kind"]: row for row in lines.frame.to_dict("records")}
    json_line, traceback = rows["json"], rows["traceback"]
    assert (json_line["level"], json_line["message"]) == ("error", "request failed")
    assert (json_line["request_id"], json_line["status_code"]) == ("r-1", 500)
    assert json_line["line"] == "request failed /api: 500"
    assert (traceback["exception"], traceback["stream"]) == ("ValueError", "stderr")
    assert traceback["line"] == "ValueError: no"
    assert "boom" in lines.frame["message"].tolist()
    assert (lines.quiet_lines, lines.is_cut, lines.ends_early_at) == (1, False, None)
    assert str(lines.frame["at"].dtype) == "datetime64[us, UTC]"


@pytest.mark.alone
def test_of_a_huge_log_the_first_and_the_last_entries_are_kept_in_little_memory(
    url: str, engine: Engine
) -> None:
    line = "x" * 100
    name = engine.run(f"seq -f 'line %.0f {line}' 1 200000", wait=True)
    begun, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    lines = Docker(url, Tape(), deadline_seconds=PATIENCE_SECONDS).logs(name, *span())
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    kept = lines.frame[lines.frame["last"] == lines.frame["at"]]
    numbers = [int(text.split()[1]) for text in kept["text"]]
    assert set(numbers) >= {*range(1, 501), *range(198_501, 200_001)}
    assert lines.frame["times"].sum() == 200_000
    assert not lines.is_cut
    assert (lines.quiet_lines, lines.ends_early_at) == (0, None)
    assert grown < 60_000, "kilobytes"
    assert time.process_time() - begun < 8


@pytest.mark.alone
def test_what_matters_is_found_among_many_quiet_lines(url: str, engine: Engine) -> None:
    quiet = 'INFO:     127.0.0.1:5 - "GET / HTTP/1.1" 200 OK'
    name = engine.run(f"echo ERROR early; seq -f '{quiet} %.0f' 1 200000; echo ERROR late", wait=True)
    lines = Docker(url, Tape(), deadline_seconds=PATIENCE_SECONDS).logs(name, *span())
    assert lines.frame["text"].tolist() == ["ERROR early", "ERROR late"]
    assert (lines.quiet_lines, lines.is_cut, lines.ends_early_at) == (200_000, False, None)


def test_of_a_log_that_is_too_large_the_beginning_and_the_newest_lines_are_read(
    url: str, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runbooklib.sources.docker.container_logs.MAX_LOG_BYTES_READ", 1_000_000)
    name = engine.run("echo ERROR early; seq -f 'INFO: %.0f' 1 200000; sleep 0.2; echo ERROR late", wait=True)
    lines = Docker(url, Tape()).logs(name, *span())
    assert lines.frame["text"].tolist() == ["ERROR early", "ERROR late"]
    assert 25_000 < lines.quiet_lines < 200_000
    assert lines.ends_early_at is None
    assert lines.gap is not None
    assert lines.frame["at"].iloc[0] < lines.gap[0] < lines.gap[1] < lines.frame["at"].iloc[1]


def test_a_log_whose_newest_lines_cannot_be_read_either_says_up_to_when_it_was_read(
    url: str, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runbooklib.sources.docker.container_logs.MAX_LOG_BYTES_READ", 1_000_000)
    monkeypatch.setattr("runbooklib.sources.docker.container_logs.MAX_TAIL_BYTES", 200_000)
    long = "x" * 4000
    name = engine.run(
        f"echo ERROR early; seq -f 'INFO: %.0f' 1 100000; seq -f 'INFO: %.0f {long}' 1 5000; echo ERROR late",
        wait=True,
    )
    lines = Docker(url, Tape()).logs(name, *span())
    assert lines.frame["text"].tolist() == ["ERROR early"]
    assert lines.gap is not None
    assert lines.ends_early_at is not None
    assert lines.gap[1] < lines.ends_early_at < span()[1]


def test_only_the_window_is_read(url: str, engine: Engine) -> None:
    name = engine.run("echo early; sleep 1; seq 1 5000; sleep 1; echo late; sleep 300")
    until_true(lambda: "late" in set(Docker(url, Tape()).logs(name, *span()).frame["text"]))
    source = Docker(url, Tape())
    started = source.container(name).started_at
    assert started is not None
    first = source.logs(name, started - timedelta(seconds=1), started + timedelta(seconds=0.8))
    assert (first.frame["text"].tolist(), first.is_cut) == (["early"], False)
    last = source.logs(name, started + timedelta(seconds=1.8), span()[1])
    assert (last.frame["text"].tolist(), last.is_cut) == (["late"], False)


def test_a_very_long_line_is_one_line_and_cut(url: str, engine: Engine) -> None:
    name = engine.run(
        "head -c 200000 /dev/zero | while read -r x; do :; done; seq -s , 1 80000; echo end", wait=True
    )
    texts = Docker(url, Tape()).logs(name, *span()).frame["text"].tolist()
    assert texts[-1] == "end"
    assert len(texts) == 2
    assert 60_000 < len(texts[0]) <= 64_100
    assert "characters left out" in texts[0]
    assert texts[0].endswith(",79999,80000")
    assert "T" not in texts[0], "no time of a later part within the line"


def test_a_terminal_s_output_is_read(url: str, engine: Engine) -> None:
    name = engine.run("echo one; echo two", wait=True, tty=True)
    assert Docker(url, Tape()).logs(name, *span()).frame["text"].tolist() == ["one", "two"]


def test_stats_measure_memory_and_cpu(url: str, engine: Engine) -> None:
    busy = engine.run("while :; do :; done", mem_limit="64m")
    stats = Docker(url, Tape()).stats(busy)
    assert 0.02 < stats.cpu_share < 1.3  # on a busy machine it gets what is left
    assert 0 < stats.memory_bytes < 64 * 2**20
    assert stats.memory_limit_bytes == 64 * 2**20
    assert stats.memory_share == pytest.approx(stats.memory_bytes / stats.memory_limit_bytes)
    engine.client.containers.get(busy).stop(timeout=0)
    with pytest.raises(errors.NoDataError, match="not running"):
        Docker(url, Tape()).stats(busy)


def test_memory_without_a_limit_has_no_share(url: str, engine: Engine) -> None:
    stats = Docker(url, Tape()).stats(engine.run("sleep 300"))
    assert stats.memory_limit_bytes is None
    assert stats.memory_share is None


def test_an_unknown_container_names_the_nearest_running_one(url: str, engine: Engine) -> None:
    name = engine.run("sleep 300", f"backend-{uuid.uuid4().hex[:6]}")
    for ask in ("container", "stats"):
        with pytest.raises(errors.NoDataError, match=name):
            getattr(Docker(url, Tape()), ask)(f"{name}x")
    with pytest.raises(errors.NoDataError):
        Docker(url, Tape()).events(f"{name}x", *span())


def test_an_id_prefix_is_no_name(url: str, engine: Engine) -> None:
    found = Docker(url, Tape()).container(engine.run("sleep 300"))
    for prefix in (found.id[:12], found.id):
        with pytest.raises(errors.NoDataError):
            Docker(url, Tape()).container(prefix)


@pytest.mark.parametrize("name", ["9", "", "/x", "a%2fb", "allowed/../victim", "a b", "name\n", "é1"])
def test_what_is_no_name_is_refused_before_anything_is_asked(name: str) -> None:
    tape = Tape()
    with pytest.raises(errors.ParameterError):
        Docker("unix:///nowhere", tape).container(name)
    assert tape.take_recorded() == []


def test_a_replay_without_the_engine_gives_equal_answers(url: str, engine: Engine) -> None:
    name = engine.run(MIXED, mem_limit="64m")
    mixed(url, name)
    since, until = span()
    tape = Tape()

    def answers(source: Docker) -> tuple[Container, Stats, Events, LogLines]:
        logs = source.logs(name, since, until)
        return source.container(name), source.stats(name), source.events(name, since, until), logs

    live = answers(Docker(url, tape))
    entries = [type(e).from_dict(json.loads(json.dumps(e.as_dict()))) for e in tape.take_recorded()]
    engine.remove(name)
    source = Docker(url, Tape(recording=entries))
    again = answers(source)
    assert live[:2] == again[:2]
    pd.testing.assert_frame_equal(live[2].frame, again[2].frame)
    pd.testing.assert_frame_equal(live[3].frame, again[3].frame)
    for name_of_fact in ("reads_since", "quiet_lines", "gap", "ends_early_at", "lost_before", "cut_at"):
        assert getattr(live[3], name_of_fact) == getattr(again[3], name_of_fact)
    with pytest.raises(errors.NotRecordedError):
        source.container("never-asked")


def test_a_recording_of_the_newest_lines_only_begins_where_it_was_cut() -> None:
    since, until = datetime(2026, 1, 15, 3, tzinfo=UTC), datetime(2026, 1, 15, 4, tzinfo=UTC)
    span = {"since": since.isoformat(), "until": until.isoformat()}
    text = "2026-01-15T03:59:01Z stdout INFO: a\n2026-01-15T03:59:02Z stdout ERROR: b"
    entry = Entry(
        "docker",
        {"question": "logs", **span, "most_lines": 2000, "name": "backend"},
        until,
        0.1,
        {"text": text, "is_cut": True, "created_at": "2026-01-01T00:00:00Z"},
    )
    lines = Docker("unix:///nowhere", Tape(recording=[entry])).logs("backend", since, until)
    assert lines.frame["level"].tolist() == ["info", "error"]
    assert lines.reads_since == datetime(2026, 1, 15, 3, 59, 1, tzinfo=UTC)
    assert not lines.is_cut


def test_a_full_event_buffer_says_since_when_it_is_complete(url: str, engine: Engine) -> None:
    early = engine.run("sleep 300")
    for _ in range(260):
        engine.client.api.tag(IMAGE, "runbook-test", "again")
    late = Docker(url, Tape()).events(engine.run("sleep 300"), *span())
    assert len(late.starts) == 1
    assert late.complete_since is not None
    assert late.complete_since == late.oldest_at
    assert len(Docker(url, Tape()).events(early, *span()).starts) == 0


def test_a_missing_socket_is_unreachable(tmp_path: Path) -> None:
    with pytest.raises(errors.UnreachableError, match="no connection"):
        Docker(f"unix://{tmp_path}/none", Tape()).container("backend")


@pytest.mark.skipif(os.geteuid() != 0, reason="drops root's rights in a child process")
def test_a_forbidden_socket_names_the_group(url: str) -> None:
    code = (
        "import os, sys; from runbooklib.sources.docker.client import Docker\n"
        "from runbooklib.sources.tape import Tape\n"
        "from runbooklib.errors import RefusedError; os.setgid(65534); os.setuid(65534)\n"
        "try: Docker(sys.argv[1], Tape()).container('backend')\n"
        "except RefusedError as error: print(error)"
    )
    path = Path(url.removeprefix("unix://"))
    path.parent.chmod(0o755)
    done = subprocess.run(
        [shutil.which("python3", path=str(Path(os.__file__).parent)) or os.sys.executable, "-c", code, url],  # type: ignore[attr-defined]
        capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert "group docker" in done.stdout


@contextlib.contextmanager
def stand_in(directory: Path, answer: bytes | None) -> Iterator[str]:
    """A socket that accepts and says this to every request, or nothing at all."""
    path = directory / "s"
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen()
    server.settimeout(0.1)
    ends = threading.Event()
    taken: list[socket.socket] = []

    def serve() -> None:
        while not ends.is_set():
            with contextlib.suppress(TimeoutError):
                taken.append(server.accept()[0])
                if answer is not None and taken[-1].recv(65536):
                    taken[-1].sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"unix://{path}"
    finally:
        ends.set()
        thread.join()
        for connection in [*taken, server]:
            connection.close()


def test_a_hung_engine_is_given_up_at_the_deadline(tmp_path: Path) -> None:
    begun = time.monotonic()
    with stand_in(tmp_path, None) as url, pytest.raises(errors.DeadlineError):
        Docker(url, Tape(), deadline_seconds=0.5).container("backend")
    assert time.monotonic() - begun < 0.5 + BUSY_SECONDS


def test_an_engine_that_falls_silent_in_a_log_has_ended_it_early() -> None:
    found = {"Name": "/backend", "Id": "c" * 64, "Config": {"Tty": True}, "Created": "2026-01-15T03:00:00Z"}
    found["HostConfig"] = {"LogConfig": {"Type": "json-file", "Config": {}}}
    since, until = datetime(2026, 1, 15, 3, tzinfo=UTC), datetime(2026, 1, 15, 4, tzinfo=UTC)

    def silent(line: socket.socket, server: Standin) -> None:
        text = b"2026-01-15T03:12:00Z ERROR lost\n"
        chunked = head(200, "text/plain", None, {"Transfer-Encoding": "chunked"})
        line.sendall(chunked + b"%x\r\n%b\r\n" % (len(text), text))
        server.is_over.wait(HANG_SECONDS)

    begun = time.monotonic()
    with standin(in_turn(answer({"ApiVersion": "1.41"}), answer(found), silent)) as server:
        url = server.url.replace("http", "tcp")
        lines = Docker(url, Tape(), deadline_seconds=2).logs("backend", since, until)
    assert lines.frame["text"].tolist() == ["ERROR lost"]
    assert lines.ends_early_at == datetime(2026, 1, 15, 3, 12, tzinfo=UTC)
    assert time.monotonic() - begun < 2 + BUSY_SECONDS


@pytest.mark.parametrize(
    ("body", "error"), [(b'{"message":"disk on fire"}', "disk on fire"), (b"oh no", "oh no")]
)
def test_an_engine_s_500_is_refused_with_its_text(tmp_path: Path, body: bytes, error: str) -> None:
    head = b"HTTP/1.1 500 Internal Server Error\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(
        body
    )
    with stand_in(tmp_path, head + body) as url, pytest.raises(errors.RefusedError, match=error) as caught:
        Docker(url, Tape()).container("backend")
    assert caught.value.code == "500"


def test_nonsense_is_called_so(tmp_path: Path) -> None:
    head = b'HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 21\r\n\r\n{"ApiVersion":"1.41"}'
    with stand_in(tmp_path, head) as url, pytest.raises(errors.NonsenseError):
        Docker(url, Tape()).container("backend")


def test_container_is_frozen(url: str, engine: Engine) -> None:
    found = Docker(url, Tape()).container(engine.run("sleep 300"))
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.status = "x"  # type: ignore[misc]
