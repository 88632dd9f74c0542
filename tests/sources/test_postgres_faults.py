"""PostgreSQL refuses, hangs, dies or is full: findings that say so, in time, and no backend is left."""

import contextlib
import socket
import threading
import time
from typing import Any

import psycopg
import pytest

from runbooklib.checks.database import (
    connection_usage,
    dead_rows,
    full_scans,
    idle_transactions,
    lock_waits,
    long_queries,
)
from runbooklib.checks.database_access import database_answers
from runbooklib.errors import Reason, UnreachableError
from runbooklib.model.findings import Finding, Status
from runbooklib.sources.postgres.client import Postgres
from runbooklib.sources.tape import Tape
from tests.support.asking import Check, is_short_and_names, told
from tests.support.postgresql import (
    PASSWORD,
    STUBBORN,
    Server,
    Session,
    asking,
    connections,
    free_port,
    nothing_left,
    own_server,
    question,
)
from tests.support.survey import Survey
from tests.support.timing import BUSY_SECONDS, seconds_taken

CHECKS: list[Check | tuple[Check, dict[str, Any]]] = [
    (connection_usage, {"above": 0.9}),
    database_answers,
    (idle_transactions, {"older_than": "1m"}),
    (lock_waits, {"longer_than": "5s"}),
    (long_queries, {"longer_than": "5s"}),
    (full_scans, {"above_rows": 1000.0}),
    (dead_rows, {"above": 0.5}),
]


def unanswered(findings: list[Finding]) -> list[Finding]:
    """The findings of all checks except `database_answers`."""
    return [finding for finding in findings if finding.check != "database_answers"]


@pytest.mark.row("F50")
def test_a_closed_port_is_a_problem_and_every_other_finding_is_unknown(survey: Survey) -> None:
    port = free_port()
    where = asking(f"host=127.0.0.1 port={port} dbname=x user=x")
    begun = time.monotonic()
    findings = where.ask(*CHECKS)
    assert time.monotonic() - begun < BUSY_SECONDS
    [answers] = [finding for finding in findings if finding not in unanswered(findings)]
    assert answers.status is Status.CRITICAL
    others = unanswered(findings)
    survey.never_ok(finding.status for finding in others)
    assert {finding.reason for finding in others} == {Reason.UNREACHABLE}
    assert all(is_short_and_names(one, f"127.0.0.1:{port}", "refused") for one in findings)
    survey.no_canary({"findings": told(findings), "tape": where.recording}, PASSWORD)


@pytest.mark.row("F50")
def test_a_refused_connection_is_known_by_its_errno_on_the_tape_too(survey: Survey) -> None:
    """The answer on the tape is a code: a replay says the same without a system and without libpq."""
    port = free_port()
    where = asking(f"host=127.0.0.1 port={port} dbname=x user=x")
    [live] = where.ask(database_answers)
    [entry] = [entry for entry in where.entries if entry.source == "postgres"]
    assert (entry.error or {})["code"] == "ECONNREFUSED"
    replayed = Tape(recording=where.entries)
    source = Postgres(f"host=127.0.0.1 port={port} dbname=x user=x", replayed, password=PASSWORD)
    with pytest.raises(UnreachableError) as caught:
        source.connections()
    assert caught.value.code == "ECONNREFUSED"
    survey.never_ok([live.status])


@pytest.mark.row("F51")
def test_no_slot_for_the_application_is_a_problem_and_the_diagnosis_still_gets_in() -> None:
    with own_server(slots=6, app_limit=2) as server, connections(server, 2):
        with pytest.raises(psycopg.OperationalError, match="too many connections for role"):
            server.connect("app")
        usage, answers = asking(server.dsn()).ask((connection_usage, {"above": 0.9}), database_answers)
        assert (usage.status, usage.measured) == (Status.CRITICAL, 1.0)
        assert "role “app”" in told([usage])
        assert answers.status is Status.OK


@pytest.mark.row("F51")
def test_no_slot_for_anybody_is_a_problem_in_the_server_s_own_words() -> None:
    with own_server(slots=6, app_limit=2) as server, connections(server, 2):
        with connections(server, 1, "postgres"):
            refused = asking(server.dsn()).ask((connection_usage, {"above": 0.9}), database_answers)
        with connections(server, 4, "postgres"):
            full = asking(server.dsn()).ask((connection_usage, {"above": 0.9}), database_answers)
    assert {finding.status for finding in [*refused, *full]} == {Status.CRITICAL}
    assert "remaining connection slots" in told(refused)
    assert "too many clients" in told(full)


def test_a_lock_of_a_prepared_transaction_is_a_problem_although_no_session_holds_it() -> None:
    with own_server() as server:
        server.stop()
        with (server.home / "data" / "postgresql.conf").open("a") as settings:
            settings.write("max_prepared_transactions = 1\n")
        server.start()
        with connections(server, 2) as (holder, waiter):
            holder.execute("update things set name = 'held' where id = 1")
            holder.execute("prepare transaction 'held'")
            update = "update things set name = 'waits' where id = 1"
            thread = threading.Thread(target=waiter.execute, args=(update,))
            thread.start()
            time.sleep(1.2)
            (finding,) = asking(server.dsn()).ask((lock_waits, {"longer_than": "1s"}))
            with server.connect() as other:
                other.autocommit = True
                other.execute("rollback prepared 'held'")
            thread.join(5)
            waiter.rollback()
    assert (finding.status, finding.measured) == (Status.WARNING, 1.0), told([finding])
    assert "a prepared transaction holds the lock" in told([finding])


@pytest.mark.row("F52")
@pytest.mark.parametrize("says", [b"", b"N", b"S"])
def test_a_black_hole_is_unknown_at_the_connect_deadline(survey: Survey, says: bytes) -> None:
    """It takes the connection and says nothing, or a first byte and then nothing."""
    with socket.create_server(("127.0.0.1", 0)) as hole:
        over = threading.Event()
        taken: list[socket.socket] = []

        def serve() -> None:
            hole.settimeout(0.05)
            while not over.is_set():
                with contextlib.suppress(TimeoutError):
                    taken.append(hole.accept()[0])
                    taken[-1].sendall(says)
            for line in taken:
                line.close()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            where = asking(f"host=127.0.0.1 port={hole.getsockname()[1]} dbname=x user=x")
            begun = time.monotonic()
            findings = where.ask(*CHECKS)
            assert time.monotonic() - begun < 3 + BUSY_SECONDS
            assert len(taken) == 1, "it is waited for once, and not seven times"
        finally:
            over.set()
            thread.join()
    survey.never_ok(finding.status for finding in findings)
    assert {finding.reason for finding in findings} == {Reason.TIMED_OUT}
    assert all(is_short_and_names(one, "postgres", "127.0.0.1", "within 3 s") for one in findings)


@pytest.mark.row("F53")
def test_a_hanging_query_is_ended_by_the_server_s_own_timeout(server: Server, survey: Survey) -> None:
    with nothing_left(server):
        where = asking(server.dsn(), deadline=5.0)
        begun = time.monotonic()
        hung, other = where.ask(question("select pg_sleep(600)"), (connection_usage, {"above": 0.9}))
        assert time.monotonic() - begun < 5 + BUSY_SECONDS
    survey.never_ok([hung.status])
    assert is_short_and_names(hung, "postgres", "statement timeout")
    assert other.status is Status.OK, "the others are asked all the same"


@pytest.mark.row("F53")
def test_a_query_that_catches_its_timeout_is_cancelled_and_hung_up_on(server: Server, survey: Survey) -> None:
    server.do(STUBBORN)
    with nothing_left(server):
        where = asking(server.dsn(), deadline=1.0)
        begun = time.monotonic()
        [hung] = where.ask(question("select stubborn()"))
        assert time.monotonic() - begun < 1 + BUSY_SECONDS
    survey.never_ok([hung.status])
    assert hung.reason is Reason.TIMED_OUT


@pytest.mark.row("F54")
def test_a_lock_is_not_waited_for_long_and_its_holder_is_named(server: Server, survey: Survey) -> None:
    with nothing_left(server), connections(server, 1) as (holder,):
        holder.execute("lock table things in access exclusive mode")
        where = asking(server.dsn())
        seconds = seconds_taken(lambda: where.ask(question("select * from things")))
        [waited, other] = [*where.incident.findings, *where.ask((connection_usage, {"above": 0.9}))]
        pid = holder.info.backend_pid
    assert seconds < 3 + BUSY_SECONDS
    survey.never_ok([waited.status])
    assert is_short_and_names(waited, "lock timeout", f"pid {pid} (idle in transaction, application app-app)")
    assert other.status is Status.OK


@pytest.mark.row("F54")
def test_who_holds_the_lock_that_the_application_waits_for_is_a_finding(server: Server) -> None:
    with connections(server, 2) as (holder, waiter):
        holder.execute("lock table things in access exclusive mode")
        thread = threading.Thread(target=_run_until_cancelled, args=(waiter, "select * from things"))
        thread.start()
        time.sleep(1.4)
        [found] = asking(server.dsn()).ask((lock_waits, {"longer_than": "1s"}))
        pid = holder.info.backend_pid
        waiter.cancel_safe()
        thread.join(5)
    assert found.status is Status.WARNING
    assert f"pid {pid}" in told([found])


def _run_until_cancelled(session: Session, query: str) -> None:
    with contextlib.suppress(psycopg.Error):
        session.execute(query.encode())


@pytest.mark.row("F55")
def test_a_terminated_backend_is_unknown_with_its_reason_and_the_next_gets_in(
    server: Server, survey: Survey
) -> None:
    where = asking(server.dsn())
    with nothing_left(server):
        thread = threading.Thread(target=lambda: where.ask(question("select pg_sleep(8)")))
        thread.start()
        time.sleep(0.5)
        server.do(
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'runbooklib'"
        )
        thread.join(5)
        [lost] = where.incident.findings
        [other] = where.ask((connection_usage, {"above": 0.9}))
    survey.never_ok([lost.status])
    assert is_short_and_names(lost, "postgres", "terminating connection due to administrator command")
    assert other.status is Status.OK


@pytest.mark.row("F56")
@pytest.mark.parametrize(
    ("user", "database", "words"),
    [
        ("runbook_reader", "postgres", "password authentication failed"),
        ("no_such_role", "postgres", "password authentication failed"),
        ("no_such_role", "nowhere", "password authentication failed"),
    ],
)
def test_a_wrong_password_or_a_missing_role_is_unknown_without_the_password(
    server: Server, survey: Survey, user: str, database: str, words: str
) -> None:
    canary = "wr0ng/p4ss word'quoted"
    dsn = server.dsn(user).replace("dbname=postgres", f"dbname={database}")
    where = asking(dsn, password=canary)
    findings = where.ask(*CHECKS)
    survey.never_ok(finding.status for finding in findings)
    assert {finding.reason for finding in findings} == {Reason.REFUSED}
    assert all(is_short_and_names(one, "postgres", str(server.port), words) for one in findings)
    assert {one.facts["hint"] for one in findings} == {
        "check user and password_env of systems.postgres in the environment's file"
    }
    survey.no_canary({"told": told(findings), "tape": where.recording, "repr": repr(where.sources)}, canary)


@pytest.mark.row("F57")
@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ("select i from generate_series(1, 3000000) i", 10_000),
        ("select repeat('x', 100000) from generate_series(1, 3000000) i", 35),
    ],
)
def test_millions_of_rows_are_cut_and_marked(server: Server, query: str, rows: int) -> None:
    with nothing_left(server):
        begun = time.process_time()
        found = server.source().sql(query)
        assert time.process_time() - begun < 10
    assert (len(found), found.attrs["is_cut"]) == (rows, True)
    assert not server.source().sql("select i from generate_series(1, 10000) i").attrs["is_cut"]


@pytest.mark.row("F58")
def test_a_server_that_restarts_in_the_middle_is_unknown_meanwhile_and_asked_again(
    server: Server, survey: Survey
) -> None:
    where = asking(server.dsn())
    [before] = where.ask((connection_usage, {"above": 0.9}))
    server.stop()
    try:
        meanwhile = where.ask(database_answers, question("select 1"))
    finally:
        server.start()
    after = where.ask(question("select 2"), (lock_waits, {"longer_than": "5s"}))
    assert (before.status, {one.status for one in after}) == (Status.OK, {Status.OK})
    # The same question has the same answer within a run; a new one meets no server.
    survey.never_ok([meanwhile[1].status])
    assert is_short_and_names(meanwhile[1], "postgres", "refused", "it answered earlier in this run")


@pytest.mark.row("F58")
def test_a_question_that_a_restart_cuts_off_is_unknown_and_the_next_is_answered(
    server: Server, survey: Survey
) -> None:
    where = asking(server.dsn())
    thread = threading.Thread(target=lambda: where.ask(question("select pg_sleep(8)")))
    thread.start()
    time.sleep(0.5)
    server.process.send_signal(2)  # a fast shutdown, as pg_ctl restart does it
    server.process.wait(20)
    thread.join(10)
    server.start()
    [after] = where.ask((connection_usage, {"above": 0.9}))
    survey.never_ok([where.incident.findings[0].status])
    assert "terminating connection" in told(where.incident.findings)
    assert after.status is Status.OK


def test_a_database_that_never_answered_is_not_waited_for_twice() -> None:
    where = asking(f"host=127.0.0.1 port={free_port()} dbname=x user=x")
    where.ask(*CHECKS)
    assert {entry.error["type"] for entry in where.entries if entry.error} == {"UnreachableError"}
