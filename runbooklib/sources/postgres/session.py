"""A read-only transaction on a PostgreSQL server, each on a connection of its own, within a deadline.

The transaction is rolled back. What the server or the network says against it becomes a SourceError, in
words that hold neither a password nor a literal of the query.

The text of SQL: whether it is a question, and what it looks like without its literals. Pure.
"""

import os
import re
import socket
import threading
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import date, datetime
from datetime import time as clock_time
from decimal import Decimal
from typing import Any, NoReturn, cast

import psycopg
from psycopg.sql import SQL, Identifier

from runbooklib.errors import DeadlineError, ParameterError, RefusedError, UnreachableError

SYSTEM = "postgres"
NO_SLOT_LEFT = "53300"
MAX_ROWS = 10_000

# An answer that is larger would not be recorded.
MAX_BYTES = 3_500_000
CONNECT_SECONDS = 3
LOCK_SECONDS = 2.0

# How long after the deadline a question is cancelled, and how long after that we hang up.
_CANCEL_AFTER_SECONDS, _HANG_UP_AFTER_SECONDS = 0.25, 1.0
_NAME = re.compile(r"[A-Za-z_]\w{0,62}(?:\.[A-Za-z_]\w{0,62})?", re.ASCII)
_LIMITS = """
select set_config('statement_timeout', %s, true), set_config('lock_timeout', %s, true),
       set_config('idle_in_transaction_session_timeout', %s, true),
       (select set_config(name, '1s', true) from pg_settings
        where name = 'client_connection_check_interval' and version() !~* 'visual c|mingw')
"""
_BLOCKERS = """
select pid, coalesce(nullif(state, ''), 'state unknown'), coalesce(application_name, '')
from pg_stat_activity where pid = any(pg_blocking_pids(%s)) order by pid
"""
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
    # Closing rolls back; the server ends a backend whose client is gone within a second.
    with closing(connection), closing(_Watch(connection, parameters, ends)) as watch:
        try:
            connection.read_only = True
            begun = Transaction(connection)
            begun.limit(ends - time.monotonic())
            yield begun
        except psycopg.Error as error:
            _refuse(error, target, watch.blocked_by)


class _Watch:
    """Looks after a connection from a thread: who blocks it, and the end of what does not end by itself.

    The server's own timeouts come first; but a function can catch them, and a server can fall silent.
    """

    def __init__(
        self, connection: psycopg.Connection[Any], parameters: Mapping[str, Any], ends: float
    ) -> None:
        self.blocked_by = ""
        self._connection, self._parameters, self._ends = connection, parameters, ends
        self._over = threading.Event()
        # Of our own, so that it cannot be another connection's by the time that we hang up.
        self._line = socket.socket(fileno=os.dup(connection.fileno()))
        threading.Thread(target=self._look_after, name="runbook-postgres", daemon=True).start()

    def close(self) -> None:
        """The connection needs no more looking after."""
        self._over.set()
        self._line.close()

    def _look_after(self) -> None:
        left = self._ends - time.monotonic()
        if self._over.wait(_lock_seconds(left) / 2):
            return
        with suppress(psycopg.Error):
            self.blocked_by = self._blockers()
        if self._over.wait(max(self._ends - time.monotonic(), 0.0) + _CANCEL_AFTER_SECONDS):
            return
        with suppress(psycopg.Error):
            self._connection.cancel_safe(timeout=_HANG_UP_AFTER_SECONDS)
        if not self._over.wait(_HANG_UP_AFTER_SECONDS):
            with suppress(OSError):
                self._line.shutdown(socket.SHUT_RDWR)

    def _blockers(self) -> str:
        """Whom our session waits for, as another session sees it. Empty for nobody."""
        about = {"connect_timeout": CONNECT_SECONDS, "application_name": "runbooklib"}
        with closing(psycopg.connect(**{**self._parameters, **about}, autocommit=True)) as other:
            rows = other.execute(_BLOCKERS, (self._connection.info.backend_pid,)).fetchall()
        return ", ".join(f"pid {pid} ({state}, application {name or '?'})" for pid, state, name in rows)


def _lock_seconds(seconds: float) -> float:
    return min(LOCK_SECONDS, max(0.45 * seconds, 0.025))


class Transaction:
    """Asks within one transaction, by the extended protocol: two statements in one text are refused."""

    def __init__(self, connection: psycopg.Connection[tuple[Any, ...]]) -> None:
        self._connection = connection

    def limit(self, seconds: float) -> None:
        """Let the server give up before we do, so that its own words arrive."""
        most, lock = max(int(seconds * 900), 50), int(_lock_seconds(seconds) * 1000)
        self.table(_LIMITS, (f"{most}ms", f"{lock}ms", f"{most + 5000}ms"))

    def table(
        self, query: str, params: Sequence[Any] = (), *, most: int = MAX_ROWS
    ) -> tuple[list[str], list[list[Any]], bool]:
        """The names of the columns, at most so many rows as JSON, and whether that was not all.

        Of long rows fewer: MAX_BYTES. The server is told to stop then.
        """
        rows: list[list[Any]] = []
        size, is_cut = 0, False
        with self._connection.cursor() as cursor:
            stream = cast(
                "Generator[tuple[Any, ...], None, None]", cursor.stream(query.encode(), params or None)
            )
            with closing(stream):
                for row in stream:
                    is_cut = len(rows) >= most or size >= MAX_BYTES
                    if is_cut:
                        break
                    rows.append([plain(value) for value in row])
                    size += sum(len(value) for value in rows[-1] if isinstance(value, str))
            columns = [column.name for column in cursor.description or ()]
        return columns, rows, is_cut

    def rows(self, query: str) -> list[dict[str, Any]]:
        """The rows by the columns' names. Raises RefusedError for more than are read."""
        columns, rows, is_cut = self.table(query)
        if is_cut:
            raise RefusedError(f"it has more to tell than {len(rows):,} rows", system=SYSTEM)
        return [dict(zip(columns, row, strict=True)) for row in rows]


def identified(query: str, names: Mapping[str, str]) -> str:
    """The query with each {placeholder} replaced by the name of a table or column, quoted.

    Raises ParameterError for what is no plain name, like `things` or `public.things`.
    """
    for name in names.values():
        if not _NAME.fullmatch(name):
            raise ParameterError(
                f"{name!r} is no name of a table or column",
                system=SYSTEM,
                hint="letters, digits and _, with one dot after a schema",
            )
    quoted = {key: Identifier(*name.split(".")) for key, name in names.items()}
    try:
        return SQL(cast("Any", query)).format(**quoted).as_string(None)
    except (KeyError, IndexError, ValueError) as error:
        raise ParameterError(f"the query's placeholders: {error}", system=SYSTEM) from None


def _refuse_connection(error: psycopg.Error, target: str) -> NoReturn:
    text = str(error).strip()
    about = {"system": SYSTEM, "target": target}
    if isinstance(error, psycopg.errors.ConnectionTimeout):
        raise DeadlineError(f"no connection within {CONNECT_SECONDS} s", **about) from None
    said_no = _SAID_NO.search(text)
    told = said_no[1] if said_no else text.rpartition("failed: ")[2].partition("\n")[0]
    code = next((code for pattern, code in _CODES if pattern.search(told)), "")
    if said_no or code:
        raise RefusedError(told, code=code, hint="see the server's log", **about) from None
    raise UnreachableError(f"no connection: {told}", hint="see whether it runs", **about) from None


def _refuse(error: psycopg.Error, target: str, blocked_by: str) -> NoReturn:
    told = normalised(error.diag.message_primary or str(error).strip().partition("\n")[0])
    if isinstance(error, psycopg.DataError):
        told = re.sub(r'".*"', '"?"', told)  # the value that it could not read, and no name
    if isinstance(error, psycopg.errors.LockNotAvailable) and blocked_by:
        told += f": {blocked_by} holds it"
    hint = "grant this role what it needs to read that" if error.sqlstate == "42501" else ""
    # A connection that was lost is refused, and not unreachable: the next question may try again.
    raise RefusedError(
        told, code=error.sqlstate or "08006", system=SYSTEM, target=target, hint=hint
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


MAX_QUERY_CHARACTERS = 200
_ASKS = re.compile(r"(?:\s|\(|--[^\n]*\n|/\*.*?\*/)*(?:select|with|values|table|show|explain)\b", re.I | re.S)
_LITERALS = re.compile(
    r"""(?P<name>"(?:[^"]|"")*"?)
    | (?P<comment>--[^\n]*|/\*.*?(?:\*/|\Z))
    | \b[eE]'(?:[^'\\]|\\.|'')*(?:'|\Z)
    | (?P<unclear>'(?:[^'\\]|''|\\(?!'))*\\'.*)
    | (?:\b(?:[uU]&|[bBxXnN]))?'(?:[^']|'')*(?:'|\Z)
    | (?<![\w$])\$(?P<quote>[A-Za-z_]\w*|)\$.*?(?:\$(?P=quote)\$|\Z)
    | (?<![\w$.])(?:0[xX][0-9a-fA-F]+|\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+)
    """,
    re.VERBOSE | re.DOTALL,
)


def is_question(query: str) -> bool:
    """Whether the text begins as a question does. A seat belt: what it does, only the server can tell."""
    return _ASKS.match(query) is not None


def normalised(query: str) -> str:
    """The query's text with ? for every literal, without comments, on one line, cut.

    Where it is not clear where a literal ends (a backslash before its quote), all that follows is left out.
    """

    def replace(found: re.Match[str]) -> str:
        if found["name"]:
            return found[0]
        return " " if found["comment"] else "?"

    text = " ".join(_LITERALS.sub(replace, query).split())
    text = re.sub(r"\?(?:, ?\?)+", "?, …", text)
    return text if len(text) <= MAX_QUERY_CHARACTERS else f"{text[: MAX_QUERY_CHARACTERS - 1]}…"
