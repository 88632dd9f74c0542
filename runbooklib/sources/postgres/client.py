"""PostgreSQL: connections, sessions, locks, table statistics, and an engineer's own queries.

Each question uses its own connection and one read-only transaction, which is rolled back. That guards
against mistakes; what protects the database is a role that can only read (pg_monitor). Literals are removed
from query texts before they are recorded.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pandas as pd
import psycopg
from psycopg.conninfo import conninfo_to_dict

from runbooklib.errors import ParameterError, RefusedError, SettingsError, UnreachableError
from runbooklib.sources.postgres.connections import Connections, no_connections, read_connections
from runbooklib.sources.postgres.locks import lock_chains
from runbooklib.sources.postgres.login import Login, read_login
from runbooklib.sources.postgres.refusal import NO_SLOT_LEFT, RefusalError
from runbooklib.sources.postgres.session import (
    MAX_ROWS,
    SYSTEM,
    Transaction,
    is_read_query,
    normalised,
    plain,
    transaction,
    with_identifiers,
)
from runbooklib.sources.tape import Tape

_SESSIONS = """
select a.pid, a.backend_start, a.xact_start, a.query_start, coalesce(a.usename, '') as usename,
       coalesce(a.application_name, '') as application_name, coalesce(a.state, '') as state,
       extract(epoch from clock_timestamp() - a.xact_start)::float8 as xact_seconds,
       extract(epoch from clock_timestamp() - a.query_start)::float8 as query_seconds,
       extract(epoch from clock_timestamp() - a.state_change)::float8 as state_seconds,
       coalesce(a.wait_event_type, '') as wait_event_type, coalesce(a.wait_event, '') as wait_event,
       coalesce(to_jsonb(a)->>'query_id', '') as query_id, coalesce(a.query, '') as query
from pg_stat_activity a
where a.usesysid is not null and coalesce(a.backend_type, 'client backend') = 'client backend'
      and a.pid <> pg_backend_pid()
order by a.xact_start nulls last, a.pid
"""
_WAITERS = """
select a.pid, pg_blocking_pids(a.pid) as blocked_by, coalesce(a.state, '') as state,
       coalesce(a.application_name, '') as application, coalesce(a.query, '') as query,
       extract(epoch from clock_timestamp() - a.xact_start)::float8 as xact_seconds,
       extract(epoch from clock_timestamp() - coalesce(
           (select min((to_jsonb(l)->>'waitstart')::timestamptz)
            from pg_locks l where l.pid = a.pid and not l.granted), a.query_start))::float8 as waited_seconds
from pg_stat_activity a where a.pid <> pg_backend_pid() order by a.pid
"""
# Sessions report their statistics at most once a second.
_TABLES = """
select schemaname || '.' || relname as "table", coalesce(seq_scan, 0) + coalesce(idx_scan, 0) as scans,
       (coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))::float8 as scanned,
       coalesce(n_live_tup, 0)::float8 as rows,
       coalesce(n_dead_tup, 0)::float8 as dead_rows, extract(epoch from clock_timestamp())::float8 as at
from pg_stat_user_tables order by 1
"""
_TABLE_PAUSE_SECONDS = 2.0
_TABLE_COLUMNS = ("table", "rows", "dead_rows", "scans_per_second", "scanned_per_second")
_CHAIN_COLUMNS = (
    "pid blocked_by root_pid root_state root_xact_seconds root_application waited_seconds query root_query"
)
_SESSION_COLUMNS = (
    "pid backend_start xact_start query_start usename application_name state"
    " xact_seconds query_seconds state_seconds wait_event_type wait_event query_id query"
)


class Postgres:
    """A PostgreSQL database, by libpq's connection string. Its password is never shown."""

    def __init__(self, dsn: str, tape: Tape, *, password: str = "", deadline_seconds: float = 10.0) -> None:
        try:
            self._parameters: dict[str, Any] = dict(conninfo_to_dict(dsn))
        except psycopg.Error:
            raise SettingsError(
                "the connection string has an invalid form",
                system=SYSTEM,
                hint='write it like "host=db port=5432 dbname=app user=runbook_reader"',
            ) from None
        if password:
            self._parameters["password"] = password
        tape.redactor.know(str(self._parameters.get("password") or ""))
        parts = {name: self._parameters.get(name) for name in ("host", "port", "dbname", "user")}
        address = f"{parts['host'] or 'localhost'}:{parts['port'] or 5432}"
        self.target = f"{address}/{self.database}"
        self._tape = tape
        self._deadline_seconds = deadline_seconds
        self._has_answered = False

    def __repr__(self) -> str:
        return f"Postgres({self.target!r})"

    def connections(self) -> Connections:
        """Connections and their limits. If no slot is left for us, that is the answer, not an error."""

        def call() -> dict[str, Any]:
            try:
                with self._transaction() as ask:
                    return read_connections(ask)
            except RefusedError as error:
                if error.code != NO_SLOT_LEFT:
                    raise
                return no_connections(error.message, self._limited_role(error))

        return Connections.of(self._ask({"question": "connections"}, call))

    def _limited_role(self, error: RefusedError) -> str:
        """Our own role if it is refused by its own limit; "" if the limit is that of the server."""
        cause = error.__cause__
        is_role_limit = isinstance(cause, RefusalError) and cause.refusal.is_role_limit
        return str(self._parameters.get("user") or "") if is_role_limit else ""

    def login(self, role: str, database: str) -> Login:
        """What the server knows of a role that logs in to a database, and of that database."""

        def call() -> dict[str, Any]:
            with self._transaction() as ask:
                return read_login(ask, role, database)

        request = {"question": "login", "role": role, "database": database}
        return Login.of(self._ask(request, call))

    @property
    def database(self) -> str:
        """The database that our own session uses; "" if the settings leave it to libpq."""
        return str(self._parameters.get("dbname") or self._parameters.get("user") or "")

    def sessions(self) -> pd.DataFrame:
        """Every client session except ours: pid, backend_start, xact_start, query_start (aware UTC), usename,
        application_name, state, xact_seconds, query_seconds, state_seconds, wait_event_type, wait_event,
        query_id, query (no literals).

        `attrs["is_partial"]`: the role cannot see all of them (grant it pg_monitor).
        """  # noqa: D205 - the columns do not fit into a line

        def call() -> dict[str, Any]:
            with self._transaction() as ask:
                return _normalised(ask.rows(_SESSIONS))

        answer = self._ask({"question": "sessions"}, call)
        frame = pd.DataFrame(answer["rows"], columns=_SESSION_COLUMNS.split())
        for name in ("backend_start", "xact_start", "query_start"):
            moments = pd.to_datetime(frame[name], utc=True, format="ISO8601")
            frame[name] = moments.astype("datetime64[us, UTC]")
        frame.attrs["is_partial"] = answer["is_partial"]
        return frame

    def lock_chains(self) -> pd.DataFrame:
        """One row for each backend that waits for a lock: pid, blocked_by (pids), root_pid, root_state,
        root_xact_seconds, root_application, waited_seconds, query, root_query (no literals).

        The root does not wait; it is usually idle in transaction. Pid 0 is a prepared transaction.
        `attrs["is_partial"]` as for `sessions`.
        """  # noqa: D205 - the columns do not fit into a line

        def call() -> dict[str, Any]:
            with self._transaction() as ask:
                return _normalised(ask.rows(_WAITERS))

        answer = self._ask({"question": "lock_chains"}, call)
        frame = pd.DataFrame(lock_chains(answer["rows"]), columns=_CHAIN_COLUMNS.split())
        frame.attrs["is_partial"] = answer["is_partial"]
        return frame

    def table_activity(self) -> pd.DataFrame:
        """One row for each table: table, rows, dead_rows, scans_per_second, scanned_per_second (rows).

        Counts scans of every kind, since reading a whole index is no better than reading the whole table.
        The rates are from two readings that are two seconds apart, so this takes two seconds.
        """

        def call() -> dict[str, Any]:
            with self._transaction() as ask:
                before = ask.rows(_TABLES)
            time.sleep(_TABLE_PAUSE_SECONDS)
            with self._transaction() as ask:  # within one transaction the statistics do not change
                return {"before": before, "after": ask.rows(_TABLES)}

        answer = self._ask({"question": "table_activity"}, call)
        return pd.DataFrame(_rates(answer["before"], answer["after"]), columns=list(_TABLE_COLUMNS))

    def sql(
        self, query: str, params: Sequence[Any] = (), *, names: Mapping[str, str] | None = None
    ) -> pd.DataFrame:
        """The answer to an engineer's own query, at most MAX_ROWS rows; `attrs["is_cut"]` if there are more.

        `params` replace %s in the query, `names` (of tables and columns) replace {…} in it.
        Raises ParameterError for a statement that does not read, and for an invalid name.
        """
        query = with_identifiers(query, names) if names else query
        if not is_read_query(query):
            raise ParameterError(
                "only queries that read are allowed", system=SYSTEM, hint="begin with SELECT"
            )

        def call() -> dict[str, Any]:
            with self._transaction() as ask:
                columns, rows, is_cut = ask.table(query, params, max_rows=MAX_ROWS)
            return {"columns": columns, "rows": rows, "is_cut": is_cut}

        answer = self._ask(
            {"question": "sql", "query": query, "params": [plain(value) for value in params]}, call
        )
        frame = pd.DataFrame(answer["rows"], columns=answer["columns"])
        frame.attrs["is_cut"] = answer["is_cut"]
        return frame

    def _ask(self, request: dict[str, Any], call: Callable[[], Any]) -> Any:
        return self._tape.ask(
            SYSTEM, request, call, target=self.target, deadline_seconds=self._deadline_seconds
        )

    @contextmanager
    def _transaction(self) -> Iterator[Transaction]:
        try:
            with transaction(
                self._parameters, target=self.target, deadline_seconds=self._deadline_seconds
            ) as ask:
                self._has_answered = True
                yield ask
        except UnreachableError as error:
            if not self._has_answered:
                raise
            # It may be restarting. After UnreachableError the tape would not ask it again in this run.
            raise RefusedError(
                f"{error.message}; it answered earlier in this run",
                code=error.code or "08001",
                system=SYSTEM,
                target=self.target,
                hint=error.hint,
            ) from None


def _rates(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> list[dict[str, Any]]:
    earlier = {row["table"]: row for row in before}
    rates = []
    for row in after:
        first = earlier.get(row["table"])
        seconds = row["at"] - first["at"] if first else 0.0
        if first is None or seconds <= 0 or row["scans"] < first["scans"]:
            continue  # a new table, or its statistics were reset in between
        rate = {"scans_per_second": (row["scans"] - first["scans"]) / seconds}
        rate["scanned_per_second"] = (row["scanned"] - first["scanned"]) / seconds
        rates.append({"table": row["table"], "rows": row["rows"], "dead_rows": row["dead_rows"], **rate})
    return rates


def _normalised(rows: list[dict[str, Any]]) -> dict[str, Any]:
    is_partial = any(row["query"] == "<insufficient privilege>" for row in rows)
    return {"rows": [row | {"query": normalised(row["query"])} for row in rows], "is_partial": is_partial}
