"""A read-only transaction on a PostgreSQL server, on its own connection and within a deadline.

The transaction is rolled back. Errors of the server or the network become SourceErrors, whose messages hold
neither a password nor a literal of the query.
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
from runbooklib.sources.postgres.probe import Listener, probe
from runbooklib.sources.postgres.refusal import CONNECTION_REFUSED, RefusalError, code_of, read_refusal

SYSTEM = "postgres"
MAX_ROWS = 10_000
# A larger answer would not be recorded.
MAX_BYTES = 3_500_000
CONNECT_SECONDS = 3
LOCK_SECONDS = 2.0
# After the deadline, the query is cancelled; after that, the connection is closed.
_CANCEL_AFTER_SECONDS, _CLOSE_AFTER_SECONDS = 0.25, 1.0
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


@contextmanager
def transaction(
    parameters: Mapping[str, Any], *, target: str, deadline_seconds: float
) -> Iterator["Transaction"]:
    """A read-only transaction on a new connection. Every failure is raised as a SourceError.

    `parameters` are those of libpq; `target` is the name of the database in errors.
    """
    ends = time.monotonic() + deadline_seconds
    limits = {"connect_timeout": CONNECT_SECONDS, "application_name": "runbooklib"}
    # Packets without acknowledgement end the connection, so that no thread waits for ever.
    limits |= {"tcp_user_timeout": int(deadline_seconds * 1000), "keepalives_idle": 5}
    connection = _connected({**parameters, **limits}, target=target, ends=ends)
    # Closing rolls back. The server ends a backend within a second after its client has gone.
    with closing(connection), closing(_Watchdog(connection, parameters, ends)) as watchdog:
        try:
            connection.read_only = True
            opened = Transaction(connection)
            opened.limit(ends - time.monotonic())
            yield opened
        except psycopg.Error as error:
            _refuse(error, target, watchdog.blocked_by)


class _Watchdog:
    """A thread that sees which session blocks a connection, and closes it after its deadline.

    The server's own timeouts come first, but a function can catch them, and a server can stop answering.
    """

    def __init__(
        self, connection: psycopg.Connection[Any], parameters: Mapping[str, Any], ends: float
    ) -> None:
        self.blocked_by = ""
        self._connection, self._parameters, self._ends = connection, parameters, ends
        self._closed = threading.Event()
        # Our own copy of the descriptor: its number cannot belong to another connection when we close it.
        self._socket = socket.socket(fileno=os.dup(connection.fileno()))
        threading.Thread(target=self._watch, name="runbook-postgres", daemon=True).start()

    def close(self) -> None:
        """Stop watching the connection."""
        self._closed.set()
        self._socket.close()

    def _watch(self) -> None:
        remaining = self._ends - time.monotonic()
        if self._closed.wait(_lock_seconds(remaining) / 2):
            return
        with suppress(psycopg.Error):
            self.blocked_by = self._blockers()
        if self._closed.wait(max(self._ends - time.monotonic(), 0.0) + _CANCEL_AFTER_SECONDS):
            return
        with suppress(psycopg.Error):
            self._connection.cancel_safe(timeout=_CLOSE_AFTER_SECONDS)
        if not self._closed.wait(_CLOSE_AFTER_SECONDS):
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def _blockers(self) -> str:
        """The sessions that block ours, asked on another connection; empty for none."""
        options = {"connect_timeout": CONNECT_SECONDS, "application_name": "runbooklib"}
        with closing(psycopg.connect(**{**self._parameters, **options}, autocommit=True)) as other:
            rows = other.execute(_BLOCKERS, (self._connection.info.backend_pid,)).fetchall()
        return ", ".join(f"pid {pid} ({state}, application {name or '?'})" for pid, state, name in rows)


def _lock_seconds(seconds: float) -> float:
    return min(LOCK_SECONDS, max(0.45 * seconds, 0.025))


class Transaction:
    """Runs queries in one transaction. The extended protocol refuses two statements in one text."""

    def __init__(self, connection: psycopg.Connection[tuple[Any, ...]]) -> None:
        self._connection = connection

    def limit(self, seconds: float) -> None:
        """Set the server's timeouts below ours, so that its own error message arrives."""
        statement, lock = max(int(seconds * 900), 50), int(_lock_seconds(seconds) * 1000)
        self.table(_LIMITS, (f"{statement}ms", f"{lock}ms", f"{statement + 5000}ms"))

    def table(
        self, query: str, params: Sequence[Any] = (), *, max_rows: int = MAX_ROWS
    ) -> tuple[list[str], list[list[Any]], bool]:
        """The column names, at most `max_rows` rows as JSON values, and whether there are more.

        Long rows are fewer, up to MAX_BYTES in all. The server stops sending then.
        """
        rows: list[list[Any]] = []
        size, is_cut = 0, False
        with self._connection.cursor() as cursor:
            stream = cast(
                "Generator[tuple[Any, ...], None, None]", cursor.stream(query.encode(), params or None)
            )
            with closing(stream):
                for row in stream:
                    is_cut = len(rows) >= max_rows or size >= MAX_BYTES
                    if is_cut:
                        break
                    rows.append([plain(value) for value in row])
                    size += sum(len(value) for value in rows[-1] if isinstance(value, str))
            columns = [column.name for column in cursor.description or ()]
        return columns, rows, is_cut

    def rows(self, query: str) -> list[dict[str, Any]]:
        """The rows as dicts by column name. Raises RefusedError for more than MAX_ROWS rows."""
        columns, rows, is_cut = self.table(query)
        if is_cut:
            raise RefusedError(f"the answer has more than {len(rows):,} rows", system=SYSTEM)
        return [dict(zip(columns, row, strict=True)) for row in rows]


def with_identifiers(query: str, names: Mapping[str, str]) -> str:
    """The query with each {placeholder} replaced by the name of a table or column, quoted.

    Raises ParameterError for a name other than a plain one such as `things` or `public.things`.
    """
    for name in names.values():
        if not _NAME.fullmatch(name):
            raise ParameterError(
                f"{name!r} is not a plain name of a table or column",
                system=SYSTEM,
                hint="use letters, digits and _, and one dot after a schema",
            )
    quoted = {key: Identifier(*name.split(".")) for key, name in names.items()}
    try:
        return SQL(cast("Any", query)).format(**quoted).as_string(None)
    except (KeyError, IndexError, ValueError) as error:
        raise ParameterError(
            f"the query's placeholders do not match `names`: {error}", system=SYSTEM
        ) from None


def _connected(
    parameters: Mapping[str, Any], *, target: str, ends: float
) -> psycopg.Connection[tuple[Any, ...]]:
    """A connection. The class of a failure is read from fields of the protocol, never from its text."""
    about = {"system": SYSTEM, "target": target}
    # A server that refused the first attempt can accept the second one, which only reads the answer.
    for _ in range(2):
        try:
            return psycopg.connect(**parameters, autocommit=False)
        except psycopg.errors.ConnectionTimeout:
            raise DeadlineError(f"no connection within {CONNECT_SECONDS} s", **about) from None
        except psycopg.Error as error:
            text = str(error).strip()
        refusal = read_refusal(parameters, min(ends - time.monotonic(), CONNECT_SECONDS))
        if refusal is None:
            seconds = min(ends - time.monotonic(), CONNECT_SECONDS)
            raise _no_connection(text, probe(parameters, seconds), about)
        if not refusal.is_accepted:
            message = refusal.message or "returned an error without a reason"
            raise RefusedError(message, code=refusal.code, hint=refusal.hint, **about) from RefusalError(
                refusal
            )
    raise RefusedError("refuses some connections and accepts others", hint="see the server's log", **about)


def _no_connection(text: str, listener: Listener, about: Mapping[str, str]) -> UnreachableError:
    """The error for a connection that no server answered; `text` is that of libpq."""
    if listener is Listener.REFUSES:
        hint = "see whether the server runs"
        return UnreachableError("connection refused", code=CONNECTION_REFUSED, hint=hint, **about)
    reason = text.rpartition("failed: ")[2].partition("\n")[0]
    hint = "check the address, the network and the firewall"
    if listener is Listener.ACCEPTS:
        hint = "a program listens there: check sslmode, and whether it is PostgreSQL"
    return UnreachableError(f"no connection: {reason}", hint=hint, **about)


def _refuse(error: psycopg.Error, target: str, blocked_by: str) -> NoReturn:
    message = normalised(error.diag.message_primary or str(error).strip().partition("\n")[0])
    if isinstance(error, psycopg.DataError):
        message = re.sub(r'".*"', '"?"', message)  # in these errors the quotes hold a value, not a name
    if isinstance(error, psycopg.errors.LockNotAvailable) and blocked_by:
        message += f": the lock is held by {blocked_by}"
    code = code_of(error.sqlstate or "08006", message, error.diag.source_function or "")
    remedy = "grant the role the right to read this" if error.sqlstate == "42501" else ""
    # Also for a lost connection: after UnreachableError the tape would not ask the server again in this run.
    raise RefusedError(message, code=code, system=SYSTEM, target=target, hint=remedy) from None


def plain(value: Any) -> Any:
    """The value as a JSON value: times in ISO 8601, decimals as floats, other types as text."""
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
_READS = re.compile(
    r"(?:\s|\(|--[^\n]*\n|/\*.*?\*/)*(?:select|with|values|table|show|explain)\b", re.I | re.S
)
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


def is_read_query(query: str) -> bool:
    """Whether the text begins like a statement that only reads.

    This gives an early error; the read-only transaction and the rights of the role are what protects.
    """
    return _READS.match(query) is not None


def normalised(query: str) -> str:
    """The query on one line with ? for every literal, without comments, cut to MAX_QUERY_CHARACTERS.

    If the end of a literal is not clear (a backslash before its quote), everything after it is left out.
    """

    def replace(match: re.Match[str]) -> str:
        if match["name"]:
            return match[0]
        return " " if match["comment"] else "?"

    text = " ".join(_LITERALS.sub(replace, query).split())
    text = re.sub(r"\?(?:, ?\?)+", "?, …", text)
    return text if len(text) <= MAX_QUERY_CHARACTERS else f"{text[: MAX_QUERY_CHARACTERS - 1]}…"
