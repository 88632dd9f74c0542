"""Actions on a real PostgreSQL server, through the gate: sessions are ended by pid and beginning."""

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from runbooklib.actions import _postgres, registry
from runbooklib.actions.database import fit_pool_size
from runbooklib.errors import ActionError
from runbooklib.evidence import manifest
from runbooklib.sources.context import context_of
from tests.support.acting import Acting
from tests.support.asking import Asking
from tests.support.postgresql import PASSWORD, Server, connections, own_server

OPERATOR = "operator-pass-55d1"


@pytest.fixture(scope="module")
def busy() -> Iterator[Server]:
    with own_server(slots=14, app_limit=8) as server:
        server.do(
            f"create role runbook_operator login password '{OPERATOR}' in role pg_signal_backend, pg_monitor"
        )
        server.do("create role copier login replication password 'copier-pass'")
        yield server


@pytest.fixture
def site(busy: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Acting:
    monkeypatch.setenv("READER_PASSWORD", PASSWORD)
    monkeypatch.setenv("RUNBOOK_OPERATOR_PASSWORD", OPERATOR)
    operator = {"dsn": busy.dsn("runbook_operator"), "password_env": "RUNBOOK_OPERATOR_PASSWORD"}
    return Acting(
        tmp_path,
        monkeypatch,
        systems={"postgres": {"dsn": busy.dsn(), "password_env": "READER_PASSWORD"}},
        actions={"postgres": operator, "cooldown": "1s"},
    )


def is_alive(session: psycopg.Connection[tuple[object, ...]]) -> bool:
    try:
        session.execute("select 1")
    except psycopg.Error:
        return False
    return True


def began(server: Server, pid: int) -> str:
    with server.connect() as connection:
        [moment] = connection.execute(
            "select backend_start from pg_stat_activity where pid = %s", (pid,)
        ).fetchone() or [None]
    return str(getattr(moment, "isoformat", lambda: "")())


def test_sessions_idle_in_transaction_are_ended_and_only_those_that_were_seen(
    busy: Server, site: Acting
) -> None:
    with connections(busy, 3) as (first, second, working), connections(busy, 1) as (late,):
        for one in (first, second):
            one.execute("select 1")
        working.execute("select 1")
        working.commit()
        time.sleep(1.2)
        plan = site.plan("terminate_idle_transactions", older_than="1s")
        gate = site.gate()
        approval = gate.approve(gate.look(plan), "postgres")
        late.execute("select 1")
        second.rollback()
        time.sleep(1.2)
        deed = gate.perform(plan, approval)
        assert f"ended 1 of 2 sessions (pids {first.info.backend_pid}); skipped" in deed.message
        assert [is_alive(one) for one in (first, second, working, late)] == [False, True, True, True]
    captured = (site.folder / deed.evidence / "notebook.ipynb").read_text()
    assert str(first.info.backend_pid) in captured
    assert OPERATOR not in captured
    assert manifest.verify_folder(site.folder) == []


@pytest.mark.usefixtures("site")
def test_where_nothing_is_idle_for_long_there_is_no_plan() -> None:
    context, _ = context_of("Small", "site", "backend")
    proposal = registry.ACTIONS["terminate_idle_transactions"](context, older_than="1h")
    assert proposal.plan is None
    assert proposal.blocked == "no session is idle in transaction for more than 1h"
    assert proposal.command.startswith("psql -c")


def test_one_session_is_ended_by_pid_and_beginning(busy: Server, site: Acting) -> None:
    with connections(busy, 2) as (one, other):
        pid = one.info.backend_pid
        deed = site.perform(site.plan("end_session", pid=pid))
        assert deed.message == f"ended the session with pid {pid}"
        assert [is_alive(one), is_alive(other)] == [False, True]


def test_a_session_that_has_gone_on_to_another_transaction_is_left_alone(busy: Server, site: Acting) -> None:
    """A pool's session keeps pid and beginning for hours; what it holds now was not seen."""
    with connections(busy, 2) as (first, second):
        for one in (first, second):
            one.execute("select 1")
        time.sleep(1.2)
        plan = site.plan("terminate_idle_transactions", older_than="1s")
        alone = site.plan("end_session", pid=second.info.backend_pid)
        gate = site.gate()
        approval = gate.approve(gate.look(plan), "postgres")
        second.commit()
        second.execute("select 2")
        time.sleep(1.2)
        deed = gate.perform(plan, approval)
        assert f"ended 1 of 2 sessions (pids {first.info.backend_pid})" in deed.message
        with pytest.raises(ActionError, match="has changed since this was proposed"):
            gate.look(alone)
        context, _ = context_of("Small", "site", "backend")
        [[pid, began_at, mark]] = alone.identity["sessions"]
        session = (pid, began_at, mark)
        assert _postgres.signal(context, "pg_terminate_backend", [session], "xact_start") == []
        assert [is_alive(first), is_alive(second)] == [False, True]


def test_another_query_than_the_one_that_was_seen_is_not_cancelled(busy: Server, site: Acting) -> None:
    with connections(busy, 1) as (one,):
        pid = one.info.backend_pid
        with pytest.raises(ActionError, match=f"pid {pid} runs no query; its state is idle"):
            site.plan("cancel_query", pid=pid)
        with running(one, "select pg_sleep(30) as runaway"):
            plan = site.plan("cancel_query", pid=pid)
            assert (plan.identity["held by"], plan.identity["state"]) == ("app (app-app)", "active")
            assert plan.identity["query"].startswith("select pg_sleep(?)")
            one.cancel()
        changed = pytest.raises(ActionError, match="has changed since this was proposed")
        with running(one, "select pg_sleep(1) as urgent") as ended, changed:
            site.perform(plan)
        assert ended == []


@contextlib.contextmanager
def running(session: psycopg.Connection[tuple[object, ...]], query: str) -> Iterator[list[str]]:
    """The session runs the query meanwhile; how it was ended, if it was."""
    ended: list[str] = []

    def run() -> None:
        try:
            session.execute(query.encode())
        except psycopg.Error as error:
            ended.append(error.sqlstate or "")
        session.rollback()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        time.sleep(0.3)
        yield ended
    finally:
        thread.join(35)


def test_a_query_is_cancelled_and_its_session_goes_on(busy: Server, site: Acting) -> None:
    with connections(busy, 1) as (one,):
        ended: list[str] = []

        def sleep() -> None:
            try:
                one.execute("select pg_sleep(30)")
            except psycopg.Error as error:
                ended.append(error.sqlstate or "")
                one.rollback()

        thread = threading.Thread(target=sleep)
        thread.start()
        time.sleep(0.3)
        deed = site.perform(site.plan("cancel_query", pid=one.info.backend_pid))
        thread.join(10)
        assert ended == ["57014"]
        assert deed.message == f"cancelled the query of pid {one.info.backend_pid}"
        assert is_alive(one)


@contextlib.contextmanager
def protected(server: Server, kind: str) -> Iterator[int]:
    """The pid of a session that must never be ended."""
    with contextlib.ExitStack() as stack:
        where = f"host=127.0.0.1 port={server.port} dbname=postgres"
        if kind == "autovacuum":
            with server.connect() as connection:
                found = connection.execute(
                    "select pid from pg_stat_activity where backend_type = 'autovacuum launcher'"
                ).fetchone()
            assert found is not None
            yield int(str(found[0]))
            return
        user, password, more = {
            "superuser": ("postgres", "super", ""),
            "walsender": ("copier", "copier-pass", " replication=true"),
            "our own": ("runbook_operator", OPERATOR, " application_name=runbooklib"),
        }[kind]
        session = psycopg.connect(f"{where} user={user}{more}", password=password, autocommit=True)
        stack.enter_context(contextlib.closing(session))
        yield session.info.backend_pid
        assert session.closed is False
        assert not session.broken


@pytest.mark.row("H32")
@pytest.mark.parametrize("kind", ["superuser", "walsender", "autovacuum", "our own"])
@pytest.mark.parametrize("action", ["end_session", "cancel_query"])
def test_what_must_never_be_ended_is_refused(busy: Server, site: Acting, kind: str, action: str) -> None:
    with protected(busy, kind) as pid:
        with pytest.raises(ActionError, match="and is never ended"):
            site.plan(action, pid=pid)
        # A forged plan is refused too, and so is a signal by the statement itself.
        with pytest.raises(ActionError, match="and is never ended"):
            site.perform(site.forged(action, str(pid), pid=pid))
        context, _ = context_of("Small", "site", "backend")
        hit = _postgres.signal(context, "pg_terminate_backend", [(pid, began(busy, pid), None)], "xact_start")
        assert hit == []
        assert began(busy, pid)
    assert site.outcomes == ["refused"]


@pytest.mark.row("H32", "F78")
def test_a_pid_that_is_another_session_by_now_is_left_alone(busy: Server, site: Acting) -> None:
    with connections(busy, 1) as (one,):
        pid = one.info.backend_pid
        plan = site.plan("end_session", pid=pid)
        [[_, start, mark]] = plan.identity["sessions"]
        older = start.replace("20", "19", 1)
        recycled = replace(plan, identity={**plan.identity, "sessions": [[pid, older, mark]]})
        gate = site.gate()
        with pytest.raises(ActionError, match="has changed since this was proposed"):
            gate.look(recycled)
        context, _ = context_of("Small", "site", "backend")
        assert _postgres.signal(context, "pg_terminate_backend", [(pid, older, mark)], "xact_start") == []
        assert is_alive(one)
    with pytest.raises(ActionError, match="there is no session with pid"):
        site.perform(plan)
    assert site.outcomes == ["refused", "refused"]


def test_without_the_right_to_signal_it_fails_and_says_what_to_grant(busy: Server, site: Acting) -> None:
    site.write(postgres={"dsn": busy.dsn("nobody_special"), "password_env": "RUNBOOK_OPERATOR_NOBODY"})
    with pytest.MonkeyPatch.context() as patch, connections(busy, 1) as (one,):
        patch.setenv("RUNBOOK_OPERATOR_NOBODY", "nobody-pass")
        with pytest.raises(ActionError, match=r"may not see these sessions \(grant it pg_monitor"):
            site.perform(site.plan("end_session", pid=one.info.backend_pid))
        busy.do("grant pg_monitor to nobody_special")
        try:
            time.sleep(1.1)
            with pytest.raises(ActionError, match=r"must be a member of .*grant the role pg_signal_backend"):
                site.perform(site.plan("end_session", pid=one.info.backend_pid))
        finally:
            busy.do("revoke pg_monitor from nobody_special")
        assert is_alive(one)
    assert site.outcomes == ["failed", "failed"]


def test_what_was_hit_before_a_refusal_is_named_and_the_outcome_is_not_failed(
    busy: Server, site: Acting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An operator who may end the sessions of one role, and not those of another."""
    busy.do("create role halfway login password 'halfway-pass' in role app, pg_monitor")
    busy.do("create role other login password 'other-pass'")
    site.write(postgres={"dsn": busy.dsn("halfway"), "password_env": "RUNBOOK_OPERATOR_HALFWAY"})
    monkeypatch.setenv("RUNBOOK_OPERATOR_HALFWAY", "halfway-pass")
    where = f"host=127.0.0.1 port={busy.port} dbname=postgres user=other"
    with connections(busy, 1) as (mine,), psycopg.connect(where, password="other-pass") as theirs:
        context, _ = context_of("Small", "site", "backend")
        pids = [mine.info.backend_pid, theirs.info.backend_pid]
        sessions = [(pid, began(busy, pid), None) for pid in pids]
        with pytest.raises(ActionError, match=f"pids signalled before this error: {pids[0]}") as caught:
            _postgres.signal(context, "pg_terminate_backend", sessions, "xact_start")
        assert not caught.value.is_outcome_known
        assert [is_alive(mine), is_alive(theirs)] == [False, True]


def test_a_wrong_password_of_the_operator_is_told_and_not_shown(
    busy: Server, site: Acting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNBOOK_OPERATOR_PASSWORD", "wrong-operator-password")
    with connections(busy, 1) as (one,):
        with pytest.raises(ActionError, match="the operator role cannot connect") as caught:
            site.perform(site.plan("end_session", pid=one.info.backend_pid))
        assert "wrong-operator-password" not in str(caught.value)
        assert is_alive(one)
    assert site.outcomes == ["failed"]


def test_a_pool_is_fitted_to_what_the_fullest_limit_leaves(busy: Server) -> None:
    with connections(busy, 6):
        asking = Asking({"postgres": {"dsn": busy.dsn()}}, postgres=busy.source)
        proposal = fit_pool_size(asking.incident.context)
    assert proposal.command == "# workers x (pool_size + max_overflow) of all clients <= 8"
    assert '6 of 8 connections of role "app" are in use: app-app 6' in proposal.effect
