"""The PostgreSQL source on a real server of our own, started as user postgres where we are root."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator

import pandas as pd
import psycopg
import pytest

from runbooklib import errors
from runbooklib.redact.redactor import Redactor
from runbooklib.sources.postgres.client import Postgres
from runbooklib.sources.postgres.session import normalised
from runbooklib.sources.tape import Tape
from tests.support.postgresql import LITERAL, PASSWORD, Server, Session, connections, free_port, lock_chain
from tests.support.timing import BUSY_SECONDS


def entries_of(tape: Tape) -> list[dict[str, object]]:
    return [entry.as_dict() for entry in tape.take_recorded()]


def test_connections_are_counted_against_their_limits_without_ours(server: Server) -> None:
    with connections(server, 3) as (_, _, busy):
        busy.execute("select 1")
        found = server.source().connections()
        assert (found.max_connections, found.reserved, found.used) == (8, 3, 3)
        assert found.refused == ""
        assert found.role_limits == {"app": (3, 4)}
        assert found.usage == pytest.approx(0.75)
        assert found.fullest == 'role "app"'
        counts = found.frame.set_index("state")["count"]
        assert counts["idle"] == 2
        assert counts["idle in transaction"] == 1
        assert (found.frame["longest_seconds"] >= 0).all()


def test_a_role_at_its_own_limit_is_full_while_we_get_in(server: Server) -> None:
    with connections(server, 4):
        assert server.source().connections().usage == 1.0


def test_a_refused_connection_because_none_is_left_is_the_finding(server: Server) -> None:
    tape = Tape()
    with connections(server, 4), connections(server, 1, "postgres"):
        found = server.source(tape).connections()
        assert "remaining connection slots" in found.refused
        assert found.max_connections is None
        assert found.usage == 1.0
        assert found.fullest == "server"
        assert len(found.frame) == 0
        with connections(server, 3, "postgres"):
            assert "too many clients" in server.source().connections().refused
        with pytest.raises(errors.RefusedError) as caught:
            server.source().sessions()
        assert caught.value.code == "53300"
        refused = Postgres(server.dsn("app"), Tape(), password="app-pass").connections()
        assert refused.fullest == 'role "app"' or refused.fullest == "server"


def test_sessions_show_no_literals(server: Server) -> None:
    tape = Tape()
    with connections(server, 2) as (one, two):
        one.execute(f"select '{LITERAL}', 12345, $${LITERAL}$$ -- {LITERAL}".encode())
        two.execute(f'select 1 as "{"x" * 60}" /* {LITERAL} */'.encode())
        two.commit()
        found = server.source(tape).sessions()
    assert set(found["application_name"]) == {"app-app"}
    row = found[found["state"] == "idle in transaction"].iloc[0]
    assert row["query"] == "select ?, …"
    assert row["xact_seconds"] >= 0
    assert row["query_id"] != ""
    assert str(found["backend_start"].dtype) == "datetime64[us, UTC]"
    assert not found.attrs["is_partial"]
    assert LITERAL not in json.dumps(entries_of(tape))


def test_a_role_that_may_not_see_is_told_so(server: Server) -> None:
    with connections(server, 1):
        found = Postgres(server.dsn("nobody_special"), Tape(), password="nobody-pass").sessions()
    assert found.attrs["is_partial"]


def test_a_lock_chain_is_followed_to_its_idle_root(server: Server) -> None:
    tape = Tape()
    with lock_chain(server) as (root, second, third):
        found = server.source(tape).lock_chains().set_index("pid")
    assert set(found.index) == {second, third}
    assert found.loc[third, "blocked_by"] == [second]
    assert found["root_pid"].tolist() == [root, root]
    assert set(found["root_state"]) == {"idle in transaction"}
    assert set(found["root_application"]) == {"app-app"}
    assert (found["root_xact_seconds"] > 0.3).all()
    assert (found["waited_seconds"] > 0.3).all()
    assert found.loc[third, "query"] == "update things set name = ? where id = ?"
    assert LITERAL not in json.dumps(entries_of(tape))


def test_no_lock_is_an_empty_frame_with_its_columns(server: Server) -> None:
    found = server.source().lock_chains()
    assert len(found) == 0
    assert "root_pid" in found.columns


def test_a_circle_of_waiters_ends_at_its_lowest_pid(server: Server) -> None:
    """Two sessions deadlocked for real, seen before deadlock_timeout ends it."""
    with connections(server, 2, "postgres") as (one, two):
        threads = []
        for number, connection in enumerate((one, two)):
            connection.execute("set deadlock_timeout = '20s'")
            connection.execute(f"select pg_advisory_xact_lock({number})".encode())
        for number, connection in enumerate((two, one)):

            def wait(connection: Session = connection, number: int = number) -> None:
                with contextlib.suppress(psycopg.Error):
                    connection.execute(f"select pg_advisory_xact_lock({number})".encode())

            threads.append(threading.Thread(target=wait))
            threads[-1].start()
        time.sleep(0.3)
        found = server.source().lock_chains()
        one.cancel_safe()
        two.cancel_safe()
        for thread in threads:
            thread.join(5)
    assert len(found) == 2
    assert found["root_pid"].nunique() == 1


def test_an_engineer_s_question_is_answered(server: Server) -> None:
    found = server.source().sql(
        "select id, name, 1.5::numeric as n, now() as at from things where id < %s order by id", (3,)
    )
    assert found["name"].tolist() == ["thing 1", "thing 2"]
    assert found["n"].tolist() == [1.5, 1.5]
    assert not found.attrs["is_cut"]
    assert server.source().sql("select name from things where name like '% 3'")["name"].tolist() == [
        "thing 3"
    ]
    assert server.source().sql("show max_connections").iloc[0, 0] == "8"
    assert server.source().sql("select 1 as a, 2 as a").shape == (1, 2)
    assert len(server.source().sql("explain select 1")) == 1


def test_three_million_rows_are_cut_and_marked(server: Server) -> None:
    begun = time.process_time()
    found = server.source().sql("select i from generate_series(1, 3000000) i")
    assert len(found) == 10_000
    assert found.attrs["is_cut"]
    assert time.process_time() - begun < 5


@pytest.mark.parametrize(
    "statement",
    [
        "update things set name = 'x'",
        "commit",
        "set statement_timeout = 0",
        "copy things to program 'id'",
        "do $$begin end$$",
    ],
)
def test_what_is_no_question_is_refused_before_it_is_asked(server: Server, statement: str) -> None:
    tape = Tape()
    with pytest.raises(errors.ParameterError):
        server.source(tape).sql(statement)
    assert tape.take_recorded() == []


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("select 1; commit; update things set name = 'x'", "42601"),
        ("with w as (update things set name = 'x' returning 1) select * from w", "25006"),
        ("select set_config('transaction_read_only', 'off', true)", "25001"),
        ("select nextval('pg_catalog.nothing')", "42P01"),
        ("explain analyze insert into things values (99)", "25006"),
        ("select pg_read_file('/etc/passwd')", "42501"),
    ],
)
def test_a_write_in_a_question_s_clothes_is_refused_by_the_server(
    server: Server, statement: str, code: str
) -> None:
    superuser = Postgres(server.dsn("postgres"), Tape(), password="super")
    source = server.source() if code == "42501" else superuser
    with pytest.raises(errors.RefusedError) as caught:
        source.sql(statement)
    assert caught.value.code == code
    assert server.source().connections().max_connections == 8


def test_a_hanging_query_is_ended_by_the_server_too(server: Server) -> None:
    begun = time.monotonic()
    with pytest.raises(errors.RefusedError, match="statement timeout") as caught:
        server.source(deadline_seconds=1.0).sql("select pg_sleep(600)")
    assert caught.value.code == "57014"
    assert time.monotonic() - begun < 1 + BUSY_SECONDS
    time.sleep(0.2)
    left = server.source().sql(
        "select count(*) as n from pg_stat_activity where query like %s", ("%pg_sleep(600)%",)
    )
    assert left["n"].iloc[0] == 0


def test_a_lock_is_not_waited_for_long(server: Server) -> None:
    with connections(server, 1, "postgres") as (holder,):
        holder.execute("lock table things in access exclusive mode")
        with pytest.raises(errors.RefusedError, match="lock timeout") as caught:
            Postgres(server.dsn("postgres"), Tape(), password="super", deadline_seconds=2).sql(
                "select * from things"
            )
    assert caught.value.code == "55P03"


def test_a_terminated_backend_is_refused_and_asked_again(server: Server) -> None:
    source = server.source()
    caught: list[errors.SourceError] = []

    def ask() -> None:
        try:
            source.sql("select pg_sleep(8)")
        except errors.SourceError as error:
            caught.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    time.sleep(0.5)
    server.do("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'runbooklib'")
    thread.join(5)
    assert isinstance(caught[0], errors.RefusedError)
    assert "terminating connection" in caught[0].message
    assert source.connections().max_connections == 8


def test_a_restarted_server_is_asked_again_without_ado(server: Server) -> None:
    tape = Tape()
    source = server.source(tape)
    assert source.connections().max_connections == 8
    server.stop()
    server.start()
    assert source.sessions() is not None


def test_a_wrong_password_or_a_missing_role_is_refused_without_the_password(server: Server) -> None:
    for user, password, code in (
        ("runbook_reader", "wrong-secret-1", "28P01"),
        ("no_such_role", "wrong-secret-1", "28P01"),
        ("runbook_reader", "", "28P01"),
    ):
        tape = Tape()
        with pytest.raises(errors.RefusedError) as caught:
            Postgres(server.dsn(user), tape, password=password).sessions()
        assert caught.value.code == code
        assert "wrong-secret-1" not in str(caught.value) + json.dumps(entries_of(tape))
    with pytest.raises(errors.RefusedError, match="does not exist") as caught:
        Postgres(server.dsn().replace("dbname=postgres", "dbname=nope"), Tape(), password=PASSWORD).sessions()
    assert caught.value.code == "3D000"


def test_a_closed_port_is_unreachable() -> None:
    with pytest.raises(errors.UnreachableError, match="refused"):
        Postgres(f"host=127.0.0.1 port={free_port()} dbname=x user=x", Tape()).connections()


def test_a_black_hole_is_given_up_at_the_deadline() -> None:
    begun = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as hole:
        dsn = f"host=127.0.0.1 port={hole.getsockname()[1]} dbname=x user=x"
        with pytest.raises(errors.DeadlineError):
            Postgres(dsn, Tape(), deadline_seconds=10).connections()
        assert time.monotonic() - begun < 3 + BUSY_SECONDS
        with pytest.raises(errors.DeadlineError):
            Postgres(dsn, Tape(), deadline_seconds=0.3).connections()
        assert time.monotonic() - begun < 4 + BUSY_SECONDS
        time.sleep(3)  # until the connection that was left behind has ended too


@contextlib.contextmanager
def reading(server: Server, statement: str, *, pause: float = 0.05) -> Iterator[None]:
    """A session that asks the same question again and again, as a service does."""
    over = threading.Event()

    def ask() -> None:
        with server.connect() as connection:
            connection.autocommit = True
            while not over.wait(pause):
                connection.execute(statement.encode())

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(10)


@pytest.mark.parametrize(
    "asked",
    [
        "select * from heap where lower(name) = 'x'",
        # The planner walks the index of the order to its end, which is no better than no index.
        "select * from heap where lower(name) = 'x' order by id limit 20",
    ],
)
def test_a_table_that_is_read_from_end_to_end_again_and_again_is_found(server: Server, asked: str) -> None:
    server.do("create table if not exists heap (id int primary key, name text)")
    server.do("insert into heap select i, i::text from generate_series(1, 20000) i on conflict do nothing")
    server.do("analyze heap")
    with reading(server, asked):
        time.sleep(1.5)
        rows = server.source().table_activity()
    worst = rows.sort_values("scanned_per_second", ascending=False).iloc[0]
    assert worst["table"] == "public.heap"
    assert worst["scans_per_second"] > 2
    assert worst["scanned_per_second"] / worst["scans_per_second"] == pytest.approx(20000, rel=0.01)
    with reading(server, "select * from heap where id = 7"):
        time.sleep(1.5)
        rows = server.source().table_activity()
    quiet = rows[rows["table"] == "public.heap"].iloc[0]
    assert quiet["scanned_per_second"] == pytest.approx(quiet["scans_per_second"], rel=0.1)


def test_a_bad_connection_string_is_not_repeated() -> None:
    with pytest.raises(errors.SettingsError) as caught:
        Postgres("host=x password", Tape())
    assert "password" not in str(caught.value)


def test_a_password_in_the_connection_string_stays_out_of_everything(server: Server) -> None:
    tape = Tape(Redactor())
    source = Postgres(f"{server.dsn()} password={PASSWORD}", tape)
    source.sql("select %s as x", (PASSWORD,))
    assert PASSWORD not in json.dumps(entries_of(tape)) + repr(source) + source.target
    assert source.target == f"127.0.0.1:{server.port}/postgres"


def test_a_replay_without_the_server_gives_equal_answers(server: Server) -> None:
    tape = Tape()
    live = server.source(tape)
    with lock_chain(server):
        first = (live.connections(), live.sessions(), live.lock_chains(), live.sql("select 1 as one"))
    entries = [type(e).from_dict(json.loads(json.dumps(e.as_dict()))) for e in tape.take_recorded()]
    replay = Postgres(server.dsn().replace("127.0.0.1", "192.0.2.1"), Tape(recording=entries))
    again = (replay.connections(), replay.sessions(), replay.lock_chains(), replay.sql("select 1 as one"))
    assert first[0].role_limits == again[0].role_limits
    pd.testing.assert_frame_equal(first[0].frame, again[0].frame)
    for one, other in zip(first[1:], again[1:], strict=True):
        pd.testing.assert_frame_equal(one, other)
        assert one.attrs == other.attrs
    with pytest.raises(errors.NotRecordedError):
        replay.sql("select 2")


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("select * from t where a = 'x''y' and b = 12.5e3", "select * from t where a = ? and b = ?"),
        ("alter role app password 'hunter2'", "alter role app password ?"),
        (r"select E'it\'s secret', 'b'", "select ?, …"),
        (r"select 'it\'s secret' from t", "select ?"),
        ("select $tag$secret 'x' $y$ $tag$, $1 from t2", "select ?, $1 from t2"),
        ("select 'cut off in the midd", "select ?"),
        ("select $$cut off", "select ?"),
        ('select "O\'Neil 5", 5', 'select "O\'Neil 5", ?'),
        ("select 1 -- secret\n from t /* secret", "select ? from t"),
        ("select * from t where id in (1, 2,3)", "select * from t where id in (?, …)"),
        ("select U&'secret', x'ff', B'01', 0xff, .5", "select ?, …"),
    ],
)  # fmt: skip
def test_a_normalised_query_has_no_literals(query: str, told: str) -> None:
    assert normalised(query) == told


def test_a_normalised_query_is_cut() -> None:
    assert len(normalised("select " + "a" * 500)) == 200
