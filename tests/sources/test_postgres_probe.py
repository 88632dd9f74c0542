"""Does nothing listen at the addresses of a connection string? By errno, on real sockets."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from runbooklib.sources.postgres.probe import Listener, probe
from tests.support.postgresql import free_port


@pytest.fixture
def listening() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield int(server.getsockname()[1])


@pytest.fixture
def silent() -> Iterator[int]:
    """A port whose queue is full: the kernel drops each further connection, as a firewall does."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        port = int(server.getsockname()[1])
        for _ in range(20):
            try:
                stack.enter_context(socket.create_connection(("127.0.0.1", port), 0.5))
            except TimeoutError:
                break
        else:
            pytest.fail("the queue of the port is never full")
        yield port


def probed(dsn: str, seconds: float = 5.0) -> Listener:
    return probe(conninfo_to_dict(f"{dsn} user=x dbname=x connect_timeout=2"), seconds)


def test_a_closed_port_refuses_by_each_way_to_write_it() -> None:
    port = free_port()
    for dsn in (
        f"host=127.0.0.1 port={port}",
        f"host=localhost port={port}",
        f"hostaddr=127.0.0.1 port={port}",
        f"host=name.invalid hostaddr=127.0.0.1 port={port}",
        f"host=::1 port={port}",
        f"host=127.0.0.1,localhost port={port}",
        f"host=127.0.0.1,127.0.0.1 port={port},{free_port()}",
    ):
        expected = Listener.REFUSES
        if "::1" in dsn and not has_ipv6():
            expected = Listener.UNCLEAR
        assert probed(dsn) is expected, dsn


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


def test_the_environment_of_libpq_completes_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHOST", "127.0.0.1")
    monkeypatch.setenv("PGPORT", str(free_port()))
    assert probed("") is Listener.REFUSES


def test_a_host_that_accepts_is_enough(listening: int) -> None:
    assert probed(f"host=127.0.0.1 port={listening}") is Listener.ACCEPTS
    assert probed(f"host=127.0.0.1,127.0.0.1 port={free_port()},{listening}") is Listener.ACCEPTS


def test_a_host_without_an_answer_leaves_it_open(silent: int) -> None:
    closed = free_port()
    assert probed(f"host=127.0.0.1 port={silent}", seconds=0.5) is Listener.UNCLEAR
    assert probed(f"host=127.0.0.1,127.0.0.1 port={closed},{silent}", seconds=0.5) is Listener.UNCLEAR
    assert probed(f"host=127.0.0.1,name.invalid port={closed}") is Listener.UNCLEAR
    assert probed("host=name.invalid") is Listener.UNCLEAR
    assert probed(f"host=127.0.0.1 port={closed}", seconds=0.0) is Listener.UNCLEAR


def test_a_socket_of_a_server_that_stopped_or_died_refuses(tmp_path: Path) -> None:
    dsn = f"host={tmp_path} port=5432"
    path = tmp_path / ".s.PGSQL.5432"
    assert probed(dsn) is Listener.REFUSES, "the server removed its socket"
    with closing(socket.socket(socket.AF_UNIX)) as server:
        server.bind(str(path))
        server.listen()
        assert probed(dsn) is Listener.ACCEPTS
    assert path.exists()
    assert probed(dsn) is Listener.REFUSES, "the server died and left its socket"
    assert probed(f"host={tmp_path}/nothing port=5432") is Listener.UNCLEAR, "the folder is wrong"
