"""A real PostgreSQL server of the tests' own, started as user postgres where we are root."""

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from runbooklib.model.findings import Finding, Status
from runbooklib.sources.context import Context
from runbooklib.sources.postgres.client import Postgres
from runbooklib.sources.tape import Tape
from tests.support.asking import Asking, Check
from tests.support.supervisor import prefix

LITERAL = "planted-9ab3-literal"
PASSWORD = "reader-pass-71c2"
PASSWORDS = {"app": "app-pass", "postgres": "super", "runbook_reader": PASSWORD}
Session = psycopg.Connection[tuple[object, ...]]


def missing(reason: str) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A cluster with eight slots (or so many), three of them for superusers."""

    def __init__(self, binaries: Path, home: Path, slots: int = 8) -> None:
        self.home, self.binaries, self.port = home, binaries, free_port()
        self.user = {"user": "postgres"} if os.geteuid() == 0 else {}
        if self.user:
            shutil.chown(home, "postgres")
        (home / "password").write_text("super")
        self._run(
            "initdb",
            "-D",
            f"{home}/data",
            "-U",
            "postgres",
            "-A",
            "scram-sha-256",
            f"--pwfile={home}/password",
        )
        with (home / "data" / "postgresql.conf").open("a") as settings:
            settings.write(f"max_connections = {slots}\nfsync = off\nunix_socket_directories = ''\n")
            settings.write(f"port = {self.port}\nlisten_addresses = '127.0.0.1'\ncompute_query_id = on\n")

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [str(self.binaries / program), *arguments],
            capture_output=True, check=True, cwd="/", **self.user,  # type: ignore[call-overload]
        )  # fmt: skip

    def start(self, *, lets_in: bool = True) -> None:
        """Start it, and wait until it lets us in, or only until it listens."""
        log = (self.home / "log").open("ab")
        self.process = subprocess.Popen(
            [str(self.binaries / "postgres"), "-D", f"{self.home}/data"],
            stdout=log, stderr=log, cwd="/", **self.user,  # type: ignore[call-overload]
        )  # fmt: skip
        log.close()
        for _ in range(900):
            with contextlib.suppress(psycopg.OperationalError, OSError):
                if lets_in:
                    self.connect().close()
                else:
                    socket.create_connection(("127.0.0.1", self.port)).close()
                return
            time.sleep(0.1)
        pytest.fail((self.home / "log").read_text()[-800:])

    def stop(self) -> None:
        if not hasattr(self, "process"):
            return
        self.process.terminate()
        try:
            self.process.wait(3)
        except subprocess.TimeoutExpired:
            self.process.send_signal(2)
            self.process.wait(20)

    def connect(self, user: str = "postgres") -> Session:
        where = f"host=127.0.0.1 port={self.port} dbname=postgres user={user}"
        return psycopg.connect(
            where, password=PASSWORDS[user], application_name=f"app-{user}", connect_timeout=5
        )

    def do(self, statement: str) -> None:
        with self.connect() as connection:
            connection.execute(statement.encode())

    def do_alone(self, statement: str) -> None:
        """Run a statement that must not be in a transaction."""
        with contextlib.closing(self.connect()) as connection:
            connection.autocommit = True
            connection.execute(statement.encode())

    def dsn(self, user: str = "runbook_reader") -> str:
        return f"host=127.0.0.1 port={self.port} dbname=postgres user={user}"

    def source(self, tape: Tape | None = None, **options: float) -> Postgres:
        return Postgres(self.dsn(), tape or Tape(), password=PASSWORD, **options)


@contextlib.contextmanager
def own_server(slots: int = 8, app_limit: int = 4) -> Iterator[Server]:
    """A server with a reader, an application and a few things, until the end of the block."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not programs:
        missing("no PostgreSQL server is installed")
    home = Path(tempfile.mkdtemp(prefix=prefix("rbp"), dir="/tmp"))
    server: Server | None = None
    try:
        server = Server(programs[-1].parent, home, slots)
        server.start()
        server.do(f"create role runbook_reader login password '{PASSWORD}' in role pg_monitor")
        server.do(f"create role app login password 'app-pass' connection limit {app_limit}")
        server.do("create role nobody_special login password 'nobody-pass'")
        server.do("create table things (id int primary key, name text)")
        server.do("insert into things select i, 'thing ' || i from generate_series(1, 10) i")
        server.do("grant all on things to app")
        server.do("grant select on things to runbook_reader")
        yield server
    finally:
        if server is not None:
            server.stop()
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    with own_server() as server:
        yield server


@contextlib.contextmanager
def connections(server: Server, count: int, user: str = "app") -> Iterator[list[Session]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(contextlib.closing(_free(server, user))) for _ in range(count)]


def _free(server: Server, user: str) -> Session:
    """A session; the places of those of the test before may take a moment to become free."""
    ends = time.monotonic() + 60
    while True:
        try:
            return server.connect(user)
        except psycopg.OperationalError:
            if time.monotonic() > ends:
                raise
            time.sleep(0.05)


@contextlib.contextmanager
def lock_chain(server: Server) -> Iterator[list[int]]:
    """Three sessions: the first idle in transaction, the second waits for it, the third for the second."""
    with connections(server, 3) as (root, second, third):
        root.execute("update things set name = 'root' where id = 1")
        second.execute("update things set name = 'second' where id = 2")
        threads = []
        for waiter, statement in (
            (second, f"update things set name = '{LITERAL}' where id = 1"),  # noqa: S608
            (third, f"update things set name = '{LITERAL}' where id = 2"),  # noqa: S608
        ):

            def wait(waiter: Session = waiter, statement: str = statement) -> None:
                with contextlib.suppress(psycopg.Error):
                    waiter.execute(statement.encode())

            threads.append(threading.Thread(target=wait))
            threads[-1].start()
        time.sleep(0.4)
        yield [c.info.backend_pid for c in (root, second, third)]
        root.rollback()
        threads[0].join(5)
        second.rollback()
        threads[1].join(5)


# It catches the cancelling of its query, and sleeps on.
STUBBORN = """
create or replace function stubborn() returns void language plpgsql as $$
begin
  loop
    begin perform pg_sleep(600); exception when query_canceled then null; end;
  end loop;
end $$
"""


def asking(
    dsn: str,
    *,
    password: str = PASSWORD,
    deadline: float = 10.0,
    systems: dict[str, Any] | None = None,
    **about: Any,
) -> Asking:
    """Questions to the server at `dsn`; `about` are further arguments of Asking."""
    return Asking(
        systems or {},
        postgres=lambda tape: Postgres(dsn, tape, password=password, deadline_seconds=deadline),
        **about,
    )


def question(query: str) -> Check:
    """A check of a runbook's own, which needs an answer to this."""

    def own_question(context: Context) -> Finding:
        """Does it answer?"""
        rows = context.sources.postgres.sql(query)
        return Finding(status=Status.OK, template="It answers; rows: {count}.", facts={"count": len(rows)})

    return own_question


@contextlib.contextmanager
def nothing_left(server: Server, within_seconds: float = 60.0) -> Iterator[None]:
    """None of our backends is there any more when the block has ended, and none of our threads."""
    with contextlib.closing(server.connect()) as watcher:
        yield
        ends = time.monotonic() + within_seconds
        while sessions := [*backends_of(watcher), *watching_threads()]:
            assert time.monotonic() < ends, sessions
            time.sleep(0.1)


def backends_of(watcher: Session) -> list[tuple[object, ...]]:
    """Our sessions, as a superuser sees them."""
    query = "select pid, state, query from pg_stat_activity where application_name = 'runbooklib'"
    rows = watcher.execute(query).fetchall()
    watcher.rollback()
    return rows


def watching_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "runbook-postgres"]
