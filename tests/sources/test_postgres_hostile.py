"""SQL that wants to write, to read files, to run programs, to hang on or to hide: nothing of it happens."""

import contextlib
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psycopg
import pytest

from runbooklib import errors
from runbooklib.checks.database import idle_transactions, lock_waits, long_queries
from runbooklib.evidence.executed_notebook import read_recording
from runbooklib.redact.redactor import Redactor
from runbooklib.sources.postgres.client import Postgres
from runbooklib.sources.tape import Tape
from tests.support.asking import Asking, told
from tests.support.postgresql import (
    PASSWORD,
    STUBBORN,
    Server,
    asking,
    connections,
    lock_chain,
    nothing_left,
    own_server,
    question,
)
from tests.support.running import command
from tests.support.site import PASSWORD_VARIABLE, running_site
from tests.support.survey import Survey, folder_content
from tests.support.timing import BUSY_SECONDS

# What is in the database and the cluster, so that any lasting write shows.
STATE = """
select (select string_agg(id || name, ',' order by id) from things),
       (select string_agg(rolname || rolsuper || rolconnlimit, ',' order by rolname) from pg_authid),
       (select string_agg(relname, ',' order by oid) from pg_class where relname !~ '^pg_toast'),
       (select count(*) from pg_largeobject_metadata),
       (select string_agg(proname, ',' order by proname) from pg_proc
        where pronamespace = 'public'::regnamespace),
       (select string_agg(name || setting, ',' order by name) from pg_settings where source <> 'session'),
       pg_conf_load_time(), (select count(*) from pg_locks where locktype = 'advisory')
"""
WRITES = [
    "insert into things values (99, 'x')",
    "update things set name = 'x'",
    "delete from things",
    "truncate things",
    "drop table things",
    "create table mine (i int)",
    "create function f() returns int language sql as 'select 1'",
    "alter role runbook_reader superuser",
    "alter system set work_mem = '1MB'",
    "grant pg_execute_server_program to runbook_reader",
    "copy things to program 'touch {mark}'",
    "copy things from program 'touch {mark}'",
    "copy things to '{mark}'",
    "do $$ begin execute 'copy (select 1) to program ''touch {mark}'''; end $$",
    "select lo_import('/etc/passwd')",
    "select lo_export(1, '{mark}')",
    "select pg_read_file('/etc/passwd')",
    "select pg_read_binary_file('/etc/passwd')",
    "select pg_ls_dir('/')",
    "select pg_stat_file('/etc/passwd')",
    "select pg_reload_conf()",
    "select pg_rotate_logfile()",
    "select pg_switch_wal()",
    "select pg_create_restore_point('x')",
    "select pg_stat_reset()",
    "select pg_terminate_backend({pid})",
    "select pg_cancel_backend({pid})",
    "select dblink('host=127.0.0.1 port={port} dbname=postgres', 'select 1')",
    "select dblink_connect_u('host=127.0.0.1 port={port} dbname=postgres user=postgres')",
    "select query_to_xml('copy (select 1) to program ''touch {mark}''', true, true, '')",
]
INJECTIONS = [
    "'; copy (select 1) to program 'touch {mark}'; --",
    "'); copy things to program 'touch {mark}'; select ('",
    "1; drop table things; --",
    "x' union select pg_read_file('/etc/passwd') --",
    "%s %(x)s %% $1 \\' \"",
]


@contextlib.contextmanager
def unchanged(server: Server) -> Iterator[Path]:
    """Nothing is written: not in the cluster, and not to the file that is given to write to."""
    mark = server.home / "mark"
    with contextlib.closing(server.connect()) as watcher:
        before = watcher.execute(STATE.encode()).fetchone()
        watcher.rollback()
        yield mark
        time.sleep(0.05)
        after = watcher.execute(STATE.encode()).fetchone()
    assert after == before
    assert not mark.exists()


@pytest.fixture(scope="module")
def extended(server: Server) -> Server:
    server.do("create extension if not exists dblink")
    server.do(STUBBORN)
    return server


def filled(statements: Sequence[str], server: Server, mark: Path, pid: int) -> list[str]:
    put = {"{mark}": str(mark), "{port}": str(server.port), "{pid}": str(pid)}
    for name, value in put.items():
        statements = [one.replace(name, value) for one in statements]
    return list(statements)


@pytest.mark.row("H31", "H29")
def test_the_role_itself_can_neither_write_nor_read_files_nor_run_anything(extended: Server) -> None:
    """Not through our source: a session of the role's own, read-write, with all timeouts off."""
    with unchanged(extended) as mark, connections(extended, 1) as (other,):
        session = extended.connect("runbook_reader")
        session.autocommit = True
        session.execute("set default_transaction_read_only = off")
        session.execute("set statement_timeout = 0")
        for statement in filled(WRITES, extended, mark, other.info.backend_pid):
            with pytest.raises(psycopg.Error):
                session.execute(statement.encode())
        session.close()
        other.execute("select 1")


@pytest.mark.row("H31", "H27")
@pytest.mark.parametrize("dressed", ["{}", "with w as ({}) select * from w", "select 1; {}", "/* x */ ({})"])
def test_nothing_of_it_happens_through_our_source_in_any_dress(extended: Server, dressed: str) -> None:
    with unchanged(extended) as mark, connections(extended, 1) as (other,):
        for statement in filled(WRITES, extended, mark, other.info.backend_pid):
            with pytest.raises((errors.RefusedError, errors.ParameterError)):
                extended.source().sql(dressed.replace("{}", statement))
        other.execute("select 1")


@pytest.mark.row("H27")
@pytest.mark.parametrize("user", ["runbook_reader", "postgres"])
def test_a_value_stays_a_value_whoever_asks(server: Server, user: str) -> None:
    source = Postgres(server.dsn(user), Tape(), password={"postgres": "super"}.get(user, PASSWORD))
    with unchanged(server) as mark:
        for value in filled(INJECTIONS, server, mark, 1):
            assert source.sql("select %s::text as told", (value,))["told"].tolist() == [value]
            assert len(source.sql("select * from things where name = %s", (value,))) == 0
            # As a careless author would write it: it can be refused, and can do nothing.
            with contextlib.suppress(errors.RefusedError):
                source.sql(f"select * from things where name = '{value}'")  # noqa: S608


@pytest.mark.row("H28")
@pytest.mark.parametrize("user", ["runbook_reader", "app", "postgres"])
def test_a_second_statement_is_refused_even_where_the_role_could_do_it(server: Server, user: str) -> None:
    source = Postgres(
        server.dsn(user),
        Tape(),
        password={"postgres": "super", "app": "app-pass"}.get(user, PASSWORD),
    )
    with unchanged(server):
        for statement in (
            "select 1; commit; update things set name = 'x'",
            "select 1;commit;begin;delete from things;commit",
            "select 1 \\; update things set name = 'x'",
        ):
            with pytest.raises(errors.RefusedError) as caught:
                source.sql(statement)
            assert caught.value.code == "42601"
        with pytest.raises(errors.RefusedError) as caught:
            source.sql("with w as (update things set name = 'x' returning 1) select * from w")
        assert caught.value.code in ("25006", "42501")


@pytest.mark.row("H29")
@pytest.mark.parametrize(
    "setting",
    [
        ("default_transaction_read_only", "off", False),
        ("statement_timeout", "0", True),
        ("statement_timeout", "0", False),
        ("lock_timeout", "0", True),
        ("session_replication_role", "replica", False),
    ],
)
def test_a_setting_that_is_undone_helps_nobody(
    extended: Server, survey: Survey, setting: tuple[str, str, bool]
) -> None:
    """Within its own question, for the next question, or against the client's own watch."""
    name, value, is_local = setting
    undo = f"select set_config('{name}', '{value}', {str(is_local).lower()})"
    with unchanged(extended), nothing_left(extended):
        where = asking(extended.dsn(), deadline=1.0)
        begun = time.monotonic()
        hung = where.ask(question(f"{undo}, pg_sleep(600)"), question(f"{undo}, stubborn()"))
        assert time.monotonic() - begun < 2 + BUSY_SECONDS
        survey.never_ok(finding.status for finding in hung)
        source = extended.source()
        with contextlib.suppress(errors.RefusedError):
            source.sql(undo)
        with pytest.raises(errors.RefusedError):
            source.sql("with w as (update things set name = 'x' returning 1) select * from w")
    timeout = str(extended.source().sql("show statement_timeout").iloc[0, 0])
    assert 8_000 < int(timeout.removesuffix("ms").replace("9s", "8999")) < 9_000, timeout
    with pytest.raises(errors.ParameterError):
        extended.source().sql(f"set {name} = {value}")


@pytest.mark.row("H29")
def test_a_transaction_cannot_be_made_writable_from_within(server: Server) -> None:
    superuser = Postgres(server.dsn("postgres"), Tape(), password="super")
    with unchanged(server), pytest.raises(errors.RefusedError) as caught:
        superuser.sql(
            "with a as materialized (select set_config('transaction_read_only', 'off', true))"
            " select * from a, query_to_xml('select 1', true, true, '')"
        )
    assert caught.value.code == "25001"


@pytest.mark.row("H30")
@pytest.mark.parametrize(
    "name",
    [
        "things; drop table things",
        'things" where false union select usename, passwd from pg_shadow --',
        "id desc, (select pg_sleep(9))",
        "(select 1)",
        "a.b.c",
        "things\n",
        "",
        "1",
        "ünï",
        "a" * 64,
    ],
)
def test_what_is_no_name_of_a_table_or_column_is_refused_before_it_is_asked(
    server: Server, name: str
) -> None:
    tape = Tape()
    with unchanged(server):
        for names in (
            {"table": name, "column": "id", "order": "id"},
            {"table": "things", "column": name, "order": "id"},
            {"table": "things", "column": "id", "order": name},
        ):
            with pytest.raises(errors.ParameterError, match="no name of a table or column"):
                server.source(tape).sql("select {column} from {table} order by {order}", names=names)
    assert tape.take_recorded() == []


@pytest.mark.row("H30")
def test_a_name_is_quoted_and_only_what_is_there_is_found(server: Server) -> None:
    source = server.source()
    query = "select {column} as told from {table} where id < %s order by {order} desc"
    names = {"table": "public.things", "column": "name", "order": "id"}
    assert source.sql(query, (3,), names=names)["told"].tolist() == ["thing 2", "thing 1"]
    for wrong in ({"table": "pg_catalog.nothing"}, {"column": "current_user"}, {"order": "random"}):
        with pytest.raises(errors.RefusedError, match="does not exist"):
            source.sql(query, (3,), names=names | wrong)
    with pytest.raises(errors.ParameterError, match="placeholders"):
        source.sql(query, (3,), names={"table": "things"})
    with pytest.raises(errors.RefusedError) as caught:
        source.sql("select rolpassword from {table}", names={"table": "pg_catalog.pg_authid"})
    assert caught.value.code == "42501"


@pytest.mark.row("H30")
def test_a_table_with_a_hostile_name_is_data_to_our_own_questions(server: Server) -> None:
    hostile = "x\"; drop table things; --' %s {y}"
    quoted = hostile.replace('"', '""')
    server.do(f'create table "{quoted}" (i int)')
    try:
        with unchanged(server):
            rows = server.source().table_activity()
            sessions = server.source().sessions()
        assert f"public.{hostile}" in rows["table"].tolist()
        assert "things" in " ".join(rows["table"])
        assert sessions is not None
    finally:
        server.do(f'drop table "{quoted}"')


@pytest.fixture(scope="module")
def roomy() -> Iterator[Server]:
    with own_server(slots=20, app_limit=10) as server:
        yield server


@contextlib.contextmanager
def telling(server: Server, *canaries: str) -> Iterator[None]:
    """Sessions whose last query holds the canaries, as a password and as literals of every kind."""
    password, literal = canaries
    with connections(server, 2, "postgres") as (altering, asking_), lock_chain(server):
        altering.execute(f"alter role nobody_special password '{password}'".encode())
        asking_.execute(f"select '{literal}', E'{literal}\\n', $x${literal}$x$ -- {literal}".encode())
        yield
        altering.rollback()


@pytest.mark.row("H66")
def test_no_literal_and_no_password_leaves_the_source(roomy: Server, survey: Survey) -> None:
    password, literal = "alter3d/pass word", "l1teral-of-a-customer"
    with telling(roomy, password, literal):
        time.sleep(1.2)
        where = asking(roomy.dsn())
        findings = where.ask(
            (idle_transactions, {"older_than": "1s"}),
            (long_queries, {"longer_than": "1s"}),
            (lock_waits, {"longer_than": "1s"}),
        )
        sessions = where.sources.postgres.sessions()
    queries = sessions["query"].tolist()
    assert "alter role nobody_special password ?" in queries
    assert "select ?, …" in queries
    assert (sessions["query_id"] != "").any()
    recorded = where.recording
    assert "alter role nobody_special password ?" in recorded
    rows = "".join(str(one.rows.to_dict()) for one in findings if one.rows is not None)
    assert "nobody_special" in rows, "the session itself is evidence"
    survey.no_canary({"told": told(findings), "rows": rows, "tape": recorded}, password, literal)


@pytest.mark.row("H66")
@pytest.mark.slow
def test_no_literal_and_no_password_is_in_a_whole_bundle(
    roomy: Server, survey: Survey, tmp_path: Path
) -> None:
    password, literal = "alter3d/pass word", "l1teral-of-a-customer"
    with running_site(tmp_path, dsn=roomy.dsn()) as site, telling(roomy, password, literal):
        time.sleep(2.0)
        more = {**site.environment, **survey.environment, PASSWORD_VARIABLE: PASSWORD}
        argv = ["runbook", "run", "HighDatabaseConnections", "-e", "site", "--json"]
        argv += ["-p", "idle_transaction_limit=1s", "--output", str(tmp_path / "evidence")]
        ended = command(argv, more)
    bundle = Path(ended.verdict["bundle"])
    recording = json.dumps([entry.as_dict() for entry in read_recording(bundle / "notebook.ipynb")])
    assert "alter role nobody_special password ?" in recording, "the run has seen that session"
    places: dict[str, bytes | str] = {**folder_content(tmp_path / "evidence"), "recording": recording}
    survey.no_canary(places | {"out": ended.out, "err": ended.err}, password, literal, PASSWORD)


@pytest.mark.row("H66")
def test_an_error_of_the_server_does_not_repeat_a_literal(server: Server, survey: Survey) -> None:
    literal = "l1teral-of-a-customer"
    where = Asking({}, postgres=lambda tape: server.source(tape))
    findings = where.ask(
        question(f"select '{literal}'::int"),
        question(f"select * from \"{'x' * 30}\" where name = '{literal}'"),  # noqa: S608
    )
    survey.never_ok(finding.status for finding in findings)
    survey.no_canary({"told": told(findings)}, literal)


def test_a_known_password_is_taken_out_of_the_question_too(server: Server, survey: Survey) -> None:
    tape = Tape(Redactor())
    server.source(tape).sql("select %s as x", (PASSWORD,))
    survey.no_canary({"tape": json.dumps([entry.as_dict() for entry in tape.take_recorded()])}, PASSWORD)
