"""SQLSTATEs in the words of each driver, and texts in which they are something else."""

import re

import pytest

from runbooklib.checks.sqlstates import DATABASE_LOST, DATABASE_REFUSES, REFUSALS, sqlstate_in

# As the drivers write them; the human sentences are in several languages, and none of them is read.
LINES = [
    ("53300", "psycopg.errors.TooManyConnections: 太多的客户"),
    ("28P01", "(psycopg2.errors.InvalidPassword) FATAL:  Passwort-Authentifizierung fehlgeschlagen"),
    ("28P01", "asyncpg.exceptions.InvalidPasswordError: password authentication failed"),
    ("28000", "asyncpg.exceptions._base.InvalidAuthorizationSpecificationError: role is not permitted"),
    ("3D000", "asyncpg.exceptions.InvalidCatalogNameError: database does not exist"),
    (
        "57P03",
        "sqlalchemy.exc.DBAPIError: (sqlalchemy.dialects.postgresql.asyncpg.Error) <class"
        " 'asyncpg.exceptions.CannotConnectNowError'>: x (Background: https://sqlalche.me/e/20/dbapi)",
    ),
    ("28P01", "SQL Error: 0, SQLState: 28P01"),
    ("53300", "o.h.engine.jdbc.spi.SqlExceptionHelper   : SQL Error: 0, SQLState: 53300"),
    ("28000", "nested exception is org.postgresql.util.PSQLException; SQL state [28000]; error code [0]"),
    ("08004", "Caused by: org.postgresql.util.PSQLException SQLState=08004"),
    ("28P01", 'failed SASL auth (FATAL: password authentication failed for user "x" (SQLSTATE 28P01))'),
    ("3D000", 'server error (FATAL: database "x" does not exist (SQLSTATE 3D000))'),
    ("28P01", "pq: password authentication failed for user (28P01)"),
    ("53300", "pq: sorry, too many clients already (53300)"),
    ("28P01", "  code: '28P01',"),
    ("53300", "  code: '53300',"),
    ("3D000", '{"level":50,"err":{"type":"DatabaseError","code":"3D000"}}'),
    ("53300", r'{"message":"{\"code\":\"53300\"}"}'),
    ("53300", "Npgsql.PostgresException (0x80004005): 53300: sorry, too many clients already"),
    ("08006", "SQLSTATE[08006] [7] connection to server failed"),
    ("28000", "** (Postgrex.Error) FATAL 28000 (invalid_authorization_specification) x"),
    ("28P01", "Error { kind: Db, cause: Some(DbError { code: SqlState(E28P01) }) }"),
    ("3D000", "ФАТАЛЬНО:  3D000: x"),
    ("53300", "PG::TooManyConnections: FATAL"),
    ("28000", "io.r2dbc.postgresql.ExceptionFactory$PostgresqlAuthenticationFailure: [28000] x"),
    ("08001", "SQL Error: 0, SQLState: 08001"),
    ("08006", "psycopg.errors.ConnectionFailure: x"),
    ("57P03", "pgconn: 57P03"),
]
# The server did not answer, or the driver does not give its SQLSTATE.
WITHOUT_SQLSTATE = [
    "sqlalchemy.exc.OperationalError: (psycopg.OperationalError) x (Background: https://sqlalche.me/e/20/e3q8)",
    "psycopg2.OperationalError: x",
    "Error: connect ECONNREFUSED 10.0.0.5:5432",
    "ConnectionRefusedError: [Errno 111] Connect call failed ('127.0.0.1', 5432)",
    "failed to connect: dial tcp 10.0.0.5:5432: connect: connection refused",
]
OTHERS = [
    "app.errors.InvalidPasswordError: the user typed a wrong password",
    "InvalidPassword",
    '{"code": 53300, "message": "not enough points"}',
    '{"code":"42601"}',
    "took 28000 ms",
    "order: 28000: paid",
    "page [28000] of 30000",
    "GET /items/53300 500",
    "#3D000",
    "trace 57P03-abc",
    "id=28P01a7",
    "SQLState: 42P01",
    "SQLSTATE[23505]: Unique violation",
    "asyncpg.exceptions.UniqueViolationError: x",
    "amount: 08001",
    "sqlalchemy.exc.OperationalError: (sqlite3.OperationalError) x (Background: https://sqlalche.me/e/20/e3q8)",
    "psycopg.errors.UndefinedTable: x",
    "connect ECONNREFUSED 10.0.0.5:6379",
]


@pytest.mark.parametrize(("code", "line"), LINES)
def test_each_driver_s_way_to_write_a_refusal_is_read(code: str, line: str) -> None:
    assert sqlstate_in(line) == code
    assert bool(re.search(DATABASE_REFUSES, line)) == (code in REFUSALS)
    assert bool(re.search(DATABASE_LOST, line)) == (code not in REFUSALS)


@pytest.mark.parametrize("line", WITHOUT_SQLSTATE)
def test_a_connection_that_fails_without_an_sqlstate_is_a_loss(line: str) -> None:
    assert re.search(DATABASE_LOST, line)
    assert not re.search(DATABASE_REFUSES, line)


@pytest.mark.parametrize("line", OTHERS)
def test_other_texts_are_not_a_refusal(line: str) -> None:
    assert sqlstate_in(line) == ""
    assert not re.search(DATABASE_LOST, line)
