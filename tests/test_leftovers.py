"""What a test run starts ends with it: real pytest processes, which get real signals."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.supervisor import Process, process

ROOT = Path(__file__).parents[1]
# The server has a session of its own; its child has no environment.
TESTS = """
import subprocess, time
import pytest

SERVER = '''
TRAP
env -i sleep 987 &
echo $$ $! > $0.new && mv $0.new $0
while true; do sleep 0.2; done
'''

@pytest.mark.parametrize("number", [0, 1])
def test_that_starts_a_server(number):
    subprocess.Popen(["sh", "-c", SERVER, f"server-{number}"], start_new_session=True)
    time.sleep(SECONDS)
"""


class Inner:
    """A test run in a folder of its own, and the processes that its tests started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: list[subprocess.Popen[str]] = []

    def write(self, seconds: int = 1000, trap: str = "") -> None:
        """Its tests: each starts a server and sleeps."""
        tests = TESTS.replace("SECONDS", str(seconds)).replace("TRAP", trap)
        (self.folder / "test_inner.py").write_text(tests)

    def start(self, *options: str) -> subprocess.Popen[str]:
        argv = [
            sys.executable,
            "-m",
            "pytest",
            "-c",
            os.devnull,
            "--rootdir=.",
            "-p",
            "tests.support.leftovers",
        ]
        with (self.folder / "out").open("w") as out:
            self.processes.append(
                subprocess.Popen(
                    [*argv, *options],
                    cwd=self.folder,
                    env={**os.environ, "PYTHONPATH": str(ROOT)},
                    stdout=out,
                    stderr=out,
                    text=True,
                    start_new_session=True,
                )
            )
        return self.processes[-1]

    def servers(self, count: int) -> list[Process]:
        """The servers and their children, when so many have started."""
        files = [self.folder / f"server-{number}" for number in range(count)]
        until(lambda: all(file.exists() for file in files))
        return [process(int(pid)) for file in files for pid in file.read_text().split()]

    @property
    def records(self) -> list[Path]:
        return list((self.folder / ".pytest_cache" / "test-runs").glob("*.json"))

    def supervisor(self) -> Process:
        (record,) = self.records
        return Process(*json.loads(record.read_text())["supervisor"])

    @property
    def out(self) -> str:
        return (self.folder / "out").read_text()


def until(is_so: Callable[[], object], seconds: float = 150) -> None:
    ends_at = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < ends_at, "it did not happen"
        time.sleep(0.05)


@pytest.fixture
def inner(tmp_path: Path) -> Iterator[Inner]:
    made = Inner(tmp_path)
    made.write()
    yield made
    for started in made.processes:
        with suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGKILL)
        started.wait()
    until(lambda: not made.records)


def hold_ended(inner: Inner, servers: list[Process]) -> None:
    """All have ended, and the supervisor too, which has removed the record."""
    until(lambda: not any(server.is_running() for server in servers))
    until(lambda: not inner.records)


@pytest.mark.parametrize(
    ("number", "workers"),
    [
        (signal.SIGINT, "2"),
        (signal.SIGTERM, "0"),
        (signal.SIGHUP, "0"),
        (signal.SIGKILL, "0"),
        (signal.SIGKILL, "2"),
    ],
)
def test_what_a_run_started_ends_with_it(inner: Inner, number: signal.Signals, workers: str) -> None:
    run = inner.start("-n", workers)
    servers = inner.servers(max(1, int(workers)))
    assert all(server.is_running() for server in servers)
    os.killpg(run.pid, number)  # as the terminal does
    hold_ended(inner, servers)
    assert run.wait(60) == (2 if number == signal.SIGINT else -number)
    assert f"this test run left pid {servers[0].pid}: sh -c" in inner.out


def test_workers_and_servers_end_when_pytest_alone_is_killed(inner: Inner) -> None:
    run = inner.start("-n", "2")
    servers = inner.servers(2)
    run.kill()
    hold_ended(inner, servers)


def test_a_server_that_ignores_signals_is_killed(inner: Inner) -> None:
    inner.write(trap='trap "" TERM INT HUP')
    run = inner.start()
    servers = inner.servers(1)
    run.terminate()
    hold_ended(inner, servers)


def test_a_server_that_a_passed_test_left_is_named_and_ended(inner: Inner) -> None:
    inner.write(seconds=1)
    run = inner.start("-W", "ignore")
    servers = inner.servers(2)
    assert run.wait(150) == 0
    assert not any(server.is_running() for server in servers)  # pytest has waited for it
    for server in servers[::2]:
        assert f"this test run left pid {server.pid}: sh -c" in inner.out


def test_the_next_run_names_and_ends_what_a_killed_supervisor_could_not(inner: Inner) -> None:
    run = inner.start()
    servers = inner.servers(1)
    supervisor = inner.supervisor()
    supervisor.send(signal.SIGKILL)
    until(lambda: not supervisor.is_running())
    run.kill()
    run.wait()
    assert all(server.is_running() for server in servers)
    (inner.folder / "test_inner.py").write_text("def test_passes(): pass")
    assert inner.start().wait(150) == 0
    assert f"an earlier test run, which was killed, left pid {servers[0].pid}: sh -c" in inner.out
    assert "(ended now)" in inner.out
    hold_ended(inner, servers)


def test_a_run_that_goes_on_is_left_alone(inner: Inner) -> None:
    inner.start()
    servers = inner.servers(1)
    (inner.folder / "test_other.py").write_text("def test_passes(): pass")
    assert inner.start("test_other.py").wait(150) == 0
    assert all(server.is_running() for server in servers)
    assert "left pid" not in inner.out


def test_a_process_that_got_the_pid_of_another_is_left_alone() -> None:
    own = process(os.getpid())
    other = Process(own.pid, own.started + 1)
    assert own.is_running()
    assert not other.is_running()
    other.send(signal.SIGKILL)
