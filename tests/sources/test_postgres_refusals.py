"""Why a connection is refused, in the languages of a real server, and in the words of poolers."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from runbooklib import errors
from runbooklib.checks.database import connection_usage
from runbooklib.checks.database_access import database_answers
from runbooklib.model.findings import Finding, Status
from runbooklib.sources.postgres.client import Postgres
from runbooklib.sources.postgres.refusal import NO_SLOT_LEFT, POOLER_WITHOUT_SERVER, code_of
from runbooklib.sources.tape import Tape
from tests.support.asking import told
from tests.support.pgbouncer import pgbouncer
from tests.support.postgresql import PASSWORD, Server, asking, connections, own_server
from tests.support.supervisor import prefix

# language -> words of PostgreSQL's own translation of "too many clients" and "remaining slots are reserved".
LANGUAGES = {
    "de_DE": ("schon zu viele Verbindungen", "sind für"),
    "zh_CN": ("太多的客户", "超级用户"),
}


@contextmanager
def locale(language: str) -> Iterator[None]:
    """The locale of the language in UTF-8, compiled into a folder that user postgres can read."""
    folder = Path(tempfile.mkdtemp(prefix=prefix("rbl"), dir="/tmp"))
    folder.chmod(0o755)
    argv = ["localedef", "-i", language, "-f", "UTF-8", str(folder / f"{language}.UTF-8")]
    try:
        subprocess.run(argv, check=True, capture_output=True)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("LOCPATH", str(folder))
            yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module", params=LANGUAGES)
def translated(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server with six slots that speaks the language."""
    with locale(str(request.param)), own_server(slots=6, app_limit=2) as server:
        with (server.home / "data" / "postgresql.conf").open("a") as settings:
            settings.write(f"lc_messages = '{request.param}.UTF-8'\n")
        server.stop()
        server.start()
        server.do("create role limited login password 'x' connection limit 0 in role pg_monitor")
        yield server


def asked(server: Server) -> list[Finding]:
    return asking(server.dsn()).ask((connection_usage, {"above": 0.9}), database_answers)


def refusal(dsn: str, password: str = PASSWORD) -> errors.RefusedError:
    with pytest.raises(errors.RefusedError) as caught:
        Postgres(dsn, Tape(), password=password).sessions()
    return caught.value


def test_no_slot_left_is_a_problem_in_each_language(translated: Server) -> None:
    with connections(translated, 2):
        with connections(translated, 1, "postgres"):
            reserved = asked(translated)
        with connections(translated, 4, "postgres"):
            full = asked(translated)
    assert {finding.status for finding in [*reserved, *full]} == {Status.CRITICAL}
    text = told([*reserved, *full])
    assert any(all(word in text for word in words) for words in LANGUAGES.values())


def test_the_class_of_each_refusal_is_its_sqlstate(translated: Server) -> None:
    assert refusal(translated.dsn(), "wrong").code == "28P01"
    assert refusal(translated.dsn(), "").code == "28P01"
    assert refusal(translated.dsn().replace("dbname=postgres", "dbname=nope")).code == "3D000"
    assert refusal(translated.dsn("limited"), "x").code == NO_SLOT_LEFT
    limited = Postgres(translated.dsn("limited"), Tape(), password="x").connections()
    assert limited.fullest == 'role "limited"'
    translated.do("alter database template1 allow_connections false")
    closed = translated.dsn().replace("dbname=postgres", "dbname=template1")
    assert refusal(closed).code == "55000"


def of_pooler(port: int, deadline: float = 10.0) -> list[Finding]:
    where = asking(f"host=127.0.0.1 port={port} dbname=postgres user=runbook_reader", deadline=deadline)
    return where.ask((connection_usage, {"above": 0.9}), database_answers)


@contextmanager
def sessions(port: int, count: int) -> Iterator[None]:
    """So many clients of the pooler, each of which holds a server connection."""
    dsn = f"host=127.0.0.1 port={port} dbname=postgres user=app password=app-pass"
    clients = [psycopg.connect(dsn) for _ in range(count)]
    for client in clients:
        client.execute("select 1")
    try:
        yield
    finally:
        for client in clients:
            client.close()


def test_a_pooler_that_takes_no_more_clients_has_no_connection_left(server: Server) -> None:
    with pgbouncer(server, max_client_conn=1) as port:
        assert {finding.status for finding in of_pooler(port)} == {Status.OK}
        with sessions(port, 1):
            findings = of_pooler(port)
    assert {finding.status for finding in findings} == {Status.CRITICAL}
    assert "max_client_conn" in told(findings)


def test_a_pooler_whose_queue_takes_too_long_has_no_connection_left(server: Server) -> None:
    with (
        pgbouncer(server, max_db_connections=1, query_wait_timeout=1) as port,
        sessions(port, 1),
    ):
        findings = of_pooler(port)
    assert {finding.status for finding in findings} == {Status.CRITICAL}
    assert "query_wait_timeout" in told(findings)


def test_other_refusals_of_a_pooler_are_not_read_as_a_lack_of_connections(server: Server) -> None:
    with pgbouncer(server) as port:
        where = f"host=127.0.0.1 port={port} user=runbook_reader"
        assert refusal(f"{where} dbname=nope").code not in ("", NO_SLOT_LEFT)
        assert refusal(f"{where} dbname=postgres", "wrong").code not in ("", NO_SLOT_LEFT)


@pytest.mark.parametrize(
    ("code", "message", "function", "expected"),
    [
        ("08P01", "no more connections allowed (max_client_conn)", "pooler_error", NO_SLOT_LEFT),
        ("08P01", "client connections exceeded (max_db_client_connections)", "", NO_SLOT_LEFT),
        ("08P01", "query_wait_timeout", "", NO_SLOT_LEFT),
        ("58000", "could not get connection from the pool - AllServersDown", "", NO_SLOT_LEFT),
        ("XX000", "(EMAXCONNSESSION) max clients reached in session mode", "", NO_SLOT_LEFT),
        ("XX000", "MaxClientsInSessionMode: max clients reached", "", NO_SLOT_LEFT),
        ("", "Timed-out waiting to acquire database connection", "", NO_SLOT_LEFT),
        ("53300", "too many tcp connections", "", NO_SLOT_LEFT),
        ("08P01", "no such database: nope", "pooler_error", "3D000"),
        ("08P01", "password authentication failed", "pooler_error", "08P01"),
        ("08P01", "server login has been failing (server_login_retry)", "", POOLER_WITHOUT_SERVER),
        # PostgreSQL's own error, which quotes the name of a setting.
        ("42704", 'unrecognized configuration parameter "query_wait_timeout"', "find_option", "42704"),
    ],
)
def test_the_words_of_poolers(code: str, message: str, function: str, expected: str) -> None:
    assert code_of(code, message, function) == expected
