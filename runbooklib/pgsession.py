"""A read-only transaction on a PostgreSQL server, each on a connection of its own, within a deadline.

The transaction is rolled back. What the server or the network says against it becomes a SourceError, in
words that hold neither a password nor a literal of the query.
"""

import re
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import date, datetime
from datetime import time as clock_time
from decimal import Decimal
from typing import Any, NoReturn, cast

import psycopg

from runbooklib.errors import DeadlineError, RefusedError, UnreachableError
from runbooklib.sqltext import normalised

SYSTEM = "postgres"
NO_SLOT_LEFT = "53300"
MOST_ROWS = 10_000
CONNECT_SECONDS = 3
LOCK_SECONDS = 2.0
_SAID_NO = re.compile(r"(?:FATAL|PANIC|ERROR):\s+(.*)")
_CODES = (
    (
        re.compile(r"too many clients|remaining connection slots|too many connections for"),
        NO_SLOT_LEFT,
    ),
    (re.compile(r"password authentication failed|no password supplied"), "28P01"),
    (re.compile(r"role .* does not exist|no pg_hba.conf entry|not permitted to log in"), "28000"),
    (re.compile(r"database .* does not exist"), "3D000"),
    (re.compile(r"permission denied"), "42501"),
    (re.compile(r"starting up|shutting down|recovery mode"), "57P03"),
)


@contextmanager
def transaction(
    parameters: Mapping[str, Any], *, target: str, deadline_seconds: float
) -> Iterator["Transaction"]:
    """A connection of its own in a read-only transaction. Raises the SourceError of what goes wrong.

    `parameters` are libpq's; `target` is how errors name the database.
    """
    ends = time.monotonic() + deadline_seconds
    limits = {"connect_timeout": CONNECT_SECONDS, "application_name": "runbooklib"}
    # Packets that nobody acknowledges end the connection, so that no thread waits for ever.
    limits |= {"tcp_user_timeout": int(deadline_seconds * 1000), "keepalives_idle": 5}
    try:
        connection = psycopg.connect(**{**parameters, **limits}, autocommit=False)
    except psycopg.Error as error:
        _refuse_connection(error, target)
    try:
        connection.read_only = True
        begun = Transaction(connection)
        begun.limit(ends - time.monotonic())
        yield begun
    except psycopg.Error as error:
        _refuse(error, target)
    finally:
        # Closing rolls back; a backend that is still busy is ended by its own statement timeout.
        connection.close()


class Transaction:
    """Asks within one transaction, by the extended protocol: two statements in one text are refused."""

    def __init__(self, connection: psycopg.Connection[tuple[Any, ...]]) -> None:
        self._connection = connection

    def limit(self, seconds: float) -> None:
        """Let the server give up before we do, so that its own words arrive."""
        most = max(int(seconds * 900), 50)
        lock = min(int(LOCK_SECONDS * 1000), max(most // 2, 25))
        self.table(
            "select set_config('statement_timeout', %s, true), set_config('lock_timeout', %s, true),"
            " set_config('idle_in_transaction_session_timeout', %s, true)",
            (f"{most}ms", f"{lock}ms", f"{most + 5000}ms"),
        )

    def table(
        self, query: str, params: Sequence[Any] = (), *, most: int = MOST_ROWS
    ) -> tuple[list[str], list[list[Any]]]:
        """The names of the columns, and at most so many rows as JSON; the server is told to stop then."""
        rows: list[list[Any]] = []
        with self._connection.cursor() as cursor:
            stream = cast(
                "Generator[tuple[Any, ...], None, None]", cursor.stream(query.encode(), params or None)
            )
            with closing(stream):
                for row in stream:
                    rows.append([plain(value) for value in row])
                    if len(rows) >= most:
                        break
            columns = [column.name for column in cursor.description or ()]
        return columns, rows

    def rows(self, query: str) -> list[dict[str, Any]]:
        """The rows by the columns' names."""
        columns, rows = self.table(query)
        return [dict(zip(columns, row, strict=True)) for row in rows]


def _refuse_connection(error: psycopg.Error, target: str) -> NoReturn:
    text = str(error).strip()
    about = {"system": SYSTEM, "target": target}
    if isinstance(error, psycopg.errors.ConnectionTimeout):
        raise DeadlineError(f"no connection within {CONNECT_SECONDS} s", **about) from None
    said_no = _SAID_NO.search(text)
    told = said_no[1] if said_no else text.rpartition("failed: ")[2].partition("\n")[0]
    code = next((code for pattern, code in _CODES if pattern.search(told)), "")
    if said_no or code:
        raise RefusedError(told, code=code, remedy="see the server's log", **about) from None
    raise UnreachableError(f"no connection: {told}", remedy="see whether it runs", **about) from None


def _refuse(error: psycopg.Error, target: str) -> NoReturn:
    told = error.diag.message_primary or str(error).strip().partition("\n")[0]
    remedy = "grant this role what it needs to read that" if error.sqlstate == "42501" else ""
    # A connection that was lost is refused, and not unreachable: the next question may try again.
    raise RefusedError(
        normalised(told), code=error.sqlstate or "08006", system=SYSTEM, target=target, remedy=remedy
    ) from None


def plain(value: Any) -> Any:
    """The value as JSON has it: times in ISO 8601, decimals as floats, what else there is as text."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, datetime | date | clock_time):
        return value.isoformat()
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    return str(value)
