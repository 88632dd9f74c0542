"""Whom PostgreSQL refuses: everybody, only our own login, or the service. On real servers."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from runbooklib.checks.database import connection_usage
from runbooklib.checks.database_access import database_answers, service_login
from runbooklib.errors import Reason
from runbooklib.model.findings import Finding, Status
from runbooklib.render.sentences import sentence
from tests.support.dockerd import Engine
from tests.support.pgbouncer import pgbouncer
from tests.support.postgresql import Server, asking, connections, own_server

SERVICE = {"role": "app", "name": "postgres"}


@pytest.fixture(scope="module")
def own() -> Iterator[Server]:
    with own_server() as server:
        server.do("create role no_login nologin")
        server.do("create role limited login password 'x' connection limit 0 in role pg_monitor")
        server.do("create role superior login superuser connection limit 0")
        for name in ("filled", "closed", "invalid", "private"):
            server.do_alone(f"create database {name}")
        server.do("alter database closed allow_connections false")
        server.do("alter database filled connection limit 0")
        server.do("update pg_database set datconnlimit = -2 where datname = 'invalid'")
        server.do("revoke connect on database private from public")
        yield server


@contextmanager
def changed(server: Server, change: str, restored: str) -> Iterator[None]:
    server.do(change)
    try:
        yield
    finally:
        server.do(restored)


def answers(dsn: str, **about: object) -> Finding:
    [finding] = asking(dsn, **about).ask(database_answers)  # type: ignore[arg-type]
    return finding


def at(server: Server, database: str = "postgres", user: str = "runbook_reader") -> str:
    return server.dsn(user).replace("dbname=postgres", f"dbname={database}")


# The server as a whole.


@pytest.mark.parametrize(
    ("database", "words"),
    [
        ("nowhere", 'does not exist: “database "nowhere"'),
        ("closed", "closed to connections"),
        ("filled", "none is left"),
    ],
)
def test_a_missing_or_closed_or_full_database_is_critical(own: Server, database: str, words: str) -> None:
    finding = answers(at(own, database))
    assert finding.status is Status.CRITICAL
    assert words in sentence(finding)


def test_a_database_that_only_we_use_says_nothing_about_the_service(own: Server) -> None:
    finding = answers(at(own, "nowhere"), database=SERVICE)
    assert (finding.status, finding.reason) == (Status.UNKNOWN, Reason.REFUSED)
    assert "fix dbname of systems.postgres" in str(finding.facts["hint"])
    assert answers(at(own, "nowhere"), database={"role": "app", "name": "nowhere"}).status is Status.CRITICAL


def test_a_server_that_recovers_without_hot_standby_is_critical() -> None:
    with own_server() as server:
        server.stop()
        (server.home / "data" / "standby.signal").touch()
        with (server.home / "data" / "postgresql.conf").open("a") as settings:
            settings.write("hot_standby = off\n")
        server.start(lets_in=False)
        finding = answers(server.dsn())
        usage = asking(server.dsn()).ask((connection_usage, {"above": 0.9}))[0]
        server.process.kill()
        server.process.wait(20)
        stopped = answers(server.dsn())
    assert finding.status is Status.CRITICAL
    assert "starting, stopping or recovering" in sentence(finding)
    assert (usage.status, usage.reason) == (Status.UNKNOWN, Reason.REFUSED)
    assert stopped.status is Status.CRITICAL
    assert "No database server listens at 127.0.0.1" in sentence(stopped)


def test_a_pooler_in_front_of_a_stopped_server_is_critical_and_names_the_server() -> None:
    with own_server() as server, pgbouncer(server, server_login_retry=1) as port:
        dsn = f"host=127.0.0.1 port={port} dbname=postgres user=runbook_reader"
        assert answers(dsn).status is Status.OK
        server.stop()
        finding = _until_it_is_no_timeout(dsn)
    assert finding.status is Status.CRITICAL, sentence(finding)
    assert "pooler cannot reach the database server" in sentence(finding)


def _until_it_is_no_timeout(dsn: str) -> Finding:
    """The pooler tries to log in to the server for some seconds before it gives up."""
    for _ in range(20):
        finding = answers(dsn)
        if finding.reason is not Reason.TIMED_OUT:
            return finding
        time.sleep(0.5)
    return finding


def test_a_database_that_the_pooler_does_not_know_is_critical(own: Server) -> None:
    with pgbouncer(own) as port:
        finding = answers(f"host=127.0.0.1 port={port} dbname=nope user=runbook_reader")
    assert finding.status is Status.CRITICAL, sentence(finding)
    assert "does not exist" in sentence(finding)


# Our own login.


def test_a_refusal_of_our_own_login_is_unknown_and_has_a_hint(own: Server) -> None:
    findings = {
        "password": answers(own.dsn(), password="wrong"),
        "no password": answers(own.dsn(), password=""),
        "missing role": answers(at(own, user="nobody_here")),
        "limit": answers(at(own, user="limited"), password="x"),
        "no right": answers(at(own, "private")),
    }
    with changed(own, "alter role runbook_reader nologin", "alter role runbook_reader login"):
        findings["no login"] = answers(own.dsn())
    with changed(
        own,
        "alter role runbook_reader valid until '2020-01-01'",
        "alter role runbook_reader valid until 'infinity'",
    ):
        findings["expired"] = answers(own.dsn())
    for name, finding in findings.items():
        assert (finding.status, finding.reason) == (Status.UNKNOWN, Reason.REFUSED), (name, sentence(finding))
        assert "systems.postgres" in str(finding.facts["hint"]), name


def test_the_limit_of_our_own_role_is_not_a_lack_of_connections(own: Server) -> None:
    [usage] = asking(at(own, user="limited"), password="x").ask((connection_usage, {"above": 0.9}))
    assert (usage.status, usage.reason) == (Status.UNKNOWN, Reason.REFUSED)


def test_a_rule_of_pg_hba_that_rejects_us_is_unknown(own: Server) -> None:
    rules = own.home / "data" / "pg_hba.conf"
    before = rules.read_text()
    try:
        rules.write_text(f"host all runbook_reader 127.0.0.1/32 reject\n{before}")
        own.do("select pg_reload_conf()")
        time.sleep(1)
        finding = answers(own.dsn())
    finally:
        rules.write_text(before)
        own.do("select pg_reload_conf()")
    assert (finding.status, finding.reason) == (Status.UNKNOWN, Reason.REFUSED)
    assert "pg_hba.conf" in str(finding.facts["hint"])


def test_tls_that_the_server_does_not_have_is_unknown(own: Server) -> None:
    finding = answers(f"{own.dsn()} sslmode=require")
    assert finding.status is Status.UNKNOWN
    assert "sslmode" in str(finding.facts["hint"])


# The login of the service, as the server knows it.


def login(server: Server, role: str = "app", name: str = "postgres") -> Finding:
    """The answer where the service has no log that can be read."""
    [finding] = asking(server.dsn(), database={"role": role, "name": name}).ask(service_login)
    return finding


@pytest.mark.parametrize(
    ("role", "name", "words"),
    [
        ("no_login", "postgres", "may not log in (NOLOGIN)"),
        ("nobody_here", "postgres", "role “nobody_here” does not exist"),
        ("app", "nowhere", "database “nowhere” does not exist"),
        ("app", "closed", "ALLOW_CONNECTIONS"),
        ("superior", "closed", "ALLOW_CONNECTIONS"),
        ("app", "invalid", "its removal was interrupted"),
        ("app", "private", "no right to connect"),
        ("limited", "postgres", "role “limited” is reached: 0 of 0"),
        ("app", "filled", "limit of database “filled” is reached: 0 of 0"),
    ],
)
def test_a_login_that_the_server_refuses_is_critical(own: Server, role: str, name: str, words: str) -> None:
    finding = login(own, role, name)
    assert (finding.status, finding.source) == (Status.CRITICAL, "postgres"), sentence(finding)
    assert words in sentence(finding)


@pytest.mark.parametrize("until", ["2020-01-01 00:00:00+00", "-infinity"])
def test_a_password_that_has_expired_is_critical_unless_the_role_came_in_since(
    own: Server, until: str
) -> None:
    with changed(own, f"alter role app valid until '{until}'", "alter role app valid until 'infinity'"):
        finding = login(own)
    assert finding.status is Status.CRITICAL
    assert "has expired: VALID UNTIL " in sentence(finding)
    with ExitStack() as stack:
        stack.enter_context(connections(own, 1))
        stack.enter_context(
            changed(own, "alter role app valid until '2020-01-01'", "alter role app valid until 'infinity'")
        )
        finding = login(own)
    assert finding.status is Status.OK, "a session began after the expiry"


def test_the_limit_of_the_service_s_role_counts_its_sessions(own: Server) -> None:
    with connections(own, 3):
        assert login(own).status is Status.OK
    with connections(own, 4):
        finding = login(own)
    assert finding.status is Status.CRITICAL
    assert "role “app” is reached: 4 of 4" in sentence(finding)


def test_limits_do_not_stop_a_superuser(own: Server) -> None:
    assert "lets role “superior” log in" in sentence(login(own, "superior", "filled"))


def test_without_a_session_or_a_log_a_right_password_is_not_known(own: Server) -> None:
    finding = login(own)
    assert (finding.status, finding.reason) == (Status.UNKNOWN, Reason.NOT_CONFIGURED)
    assert "nothing shows that its password is right" in sentence(finding)
    with connections(own, 1):
        finding = login(own)
    assert finding.status is Status.OK
    assert "Open sessions of the role in the database: 1." in sentence(finding)


# The login of the service, as its own log knows it.

REFUSED = "echo 'ERROR db: failed SASL auth (SQLSTATE 28P01)'"
LOST = "echo 'ERROR db: SQLState: 08001'"
NOTHING = "echo 'INFO all is well'"


def by_log(own: Server, url: str, engine: Engine, script: str, **about: object) -> Finding:
    """The answer beside a log, of which `script` writes the lines."""
    name = engine.run(script, wait=True)
    dsn = str(about.pop("dsn", own.dsn()))
    where = asking(dsn, systems={"docker": {"url": url}}, container=name, **about)  # type: ignore[arg-type]
    [finding] = where.ask(service_login)
    return finding


def test_the_log_and_the_server_are_two_witnesses(own: Server, url: str, engine: Engine) -> None:
    refused = by_log(own, url, engine, REFUSED, database=SERVICE)
    assert (refused.status, refused.source) == (Status.CRITICAL, "docker logs")
    assert refused.since is not None
    assert "SQLSTATE 28P01" in sentence(refused)
    assert "The server lets role “app” log in" in sentence(refused)
    both = by_log(own, url, engine, REFUSED, database={"role": "no_login", "name": "postgres"})
    assert (both.status, both.source) == (Status.CRITICAL, "postgres")
    assert "NOLOGIN" in sentence(both)
    assert "SQLSTATE 28P01" in sentence(both)
    lost = by_log(own, url, engine, LOST, database=SERVICE)
    assert (lost.status, "cannot connect to its database" in sentence(lost)) == (Status.WARNING, True)
    quiet = by_log(own, url, engine, NOTHING, database=SERVICE)
    assert (quiet.status, quiet.source) == (Status.OK, "postgres")


def test_without_a_database_in_the_settings_the_log_alone_answers(
    own: Server, url: str, engine: Engine
) -> None:
    refused = by_log(own, url, engine, REFUSED)
    quiet = by_log(own, url, engine, NOTHING)
    assert (refused.status, quiet.status) == (Status.CRITICAL, Status.OK)
    for finding in (refused, quiet):
        assert "Only the service's log was read" in sentence(finding)
    [nothing] = asking(own.dsn()).ask(service_login)
    assert (nothing.status, nothing.reason) == (Status.UNKNOWN, Reason.NOT_CONFIGURED)
    assert "add `database`" in str(nothing.facts["hint"])


@contextmanager
def silent_server() -> Iterator[str]:
    """The connection string of a server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"host=127.0.0.1 port={server.getsockname()[1]} dbname=postgres user=runbook_reader"


def test_where_we_do_not_get_in_the_log_decides_and_never_says_ok(
    own: Server, url: str, engine: Engine
) -> None:
    with silent_server() as dsn:
        refused = by_log(own, url, engine, REFUSED, database=SERVICE, dsn=dsn)
        quiet = by_log(own, url, engine, NOTHING, database=SERVICE, dsn=dsn)
        assert answers(dsn).reason is Reason.TIMED_OUT
    assert refused.status is Status.CRITICAL
    assert "The server itself gives no answer: " in sentence(refused)
    assert (quiet.status, quiet.reason) == (Status.UNKNOWN, Reason.TIMED_OUT)
    assert "The service's log has no sign of a refusal" in sentence(quiet)
    wrong = by_log(own, url, engine, NOTHING, database=SERVICE, password="wrong")
    assert (wrong.status, wrong.reason) == (Status.UNKNOWN, Reason.REFUSED)
