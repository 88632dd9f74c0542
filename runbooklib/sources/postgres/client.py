"""What a PostgreSQL server knows: its connections, who waits for whom, and an engineer's own question.

Each question has a connection of its own and one read-only transaction, which is rolled back. That is a
seat belt; the wall is a role that may only read (pg_monitor). Query texts are stripped of their literals
before they are recorded.
"""

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pandas as pd
import psycopg
from psycopg.conninfo import conninfo_to_dict

from runbooklib.errors import ParameterError, RefusedError, SettingsError, UnreachableError
from runbooklib.sources.postgres.locks import chains
from runbooklib.sources.postgres.session import (
    MAX_ROWS,
    NO_SLOT_LEFT,
    SYSTEM,
    Transaction,
    identified,
    is_question,
    normalised,
    plain,
    transaction,
)
from runbooklib.sources.tape import Tape

_LIMITS = """
select current_setting('max_connections')::int as max_connections,
       current_setting('superuser_reserved_connections')::int
       + coalesce(current_setting('reserved_connections', true)::int, 0) as reserved,
       (select count(*)::int from pg_stat_activity
        where usesysid is not null and coalesce(backend_type, 'client backend') = 'client backend'
              and pid <> pg_backend_pid()) as used
"""
_GROUPS = """
select coalesce(usename, '') as usename, coalesce(application_name, '') as application_name,
       coalesce(state, '') as state, count(*)::int as count,
       max(extract(epoch from clock_timestamp() - state_change))::float8 as longest_seconds
from pg_stat_activity
where usesysid is not null and coalesce(backend_type, 'client backend') = 'client backend'
      and pid <> pg_backend_pid()
group by 1, 2, 3 order by 4 desc, 1, 2, 3
"""
_ROLE_LIMITS = """
select r.rolname as role, r.rolconnlimit as limit,
       (select count(*)::int from pg_stat_activity a
        where a.usesysid = r.oid and coalesce(a.backend_type, 'client backend') = 'client backend'
              and a.pid <> pg_backend_pid()) as used
from pg_roles r where r.rolcanlogin and r.rolconnlimit >= 0 and not r.rolsuper order by 1
"""
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
# Statistics are what sessions told the collector, at most once a second each.
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


@dataclass(frozen=True, slots=True)
class Connections:
    """Connections against their limits, without our own. All numbers are None where we were `refused`.

    `reserved`: slots that ordinary roles cannot have. `frame`: usename, application_name, state, count,
    longest_seconds (in this state). `role_limits`: role -> (used, limit). `refused`: the server's own text
    when it had no slot left for us, which is the finding itself; else empty.
    """

    max_connections: int | None
    reserved: int | None
    used: int | None
    frame: pd.DataFrame
    role_limits: dict[str, tuple[int, int]]
    refused: str

    @property
    def usage(self) -> float:
        """The highest used share (0–1) of a limit: of the server's slots, or of a role's own limit."""
        return self._fullest()[0]

    @property
    def fullest_role(self) -> str:
        """The role whose own limit has that share; "" for the slots of the server."""
        return self._fullest()[1]

    @property
    def fullest(self) -> str:
        """That limit as PostgreSQL names it: "server" or 'role "app"'."""
        return f'role "{self.fullest_role}"' if self.fullest_role else "server"

    def _fullest(self) -> tuple[float, str]:
        if self.refused:
            match = re.search(r'too many connections for role "([^"]+)"', self.refused)
            return 1.0, match[1] if match else ""
        slots = (self.max_connections or 0) - (self.reserved or 0)
        shares = [((self.used or 0) / slots if slots > 0 else 1.0, "")]
        for role, (used, limit) in self.role_limits.items():
            shares.append((used / limit if limit else 1.0, role))
        return max(shares, key=lambda share: share[0])


class Postgres:
    """A PostgreSQL database, by libpq's connection string. Its password is never shown."""

    def __init__(self, dsn: str, tape: Tape, *, password: str = "", deadline_seconds: float = 10.0) -> None:
        try:
            self._parameters: dict[str, Any] = dict(conninfo_to_dict(dsn))
        except psycopg.Error:
            raise SettingsError(
                "the connection string cannot be read",
                system=SYSTEM,
                hint='write it like "host=db port=5432 dbname=app user=runbook_reader"',
            ) from None
        if password:
            self._parameters["password"] = password
        tape.redactor.know(str(self._parameters.get("password") or ""))
        given = {name: self._parameters.get(name) for name in ("host", "port", "dbname", "user")}
        place = f"{given['host'] or 'localhost'}:{given['port'] or 5432}"
        self.target = f"{place}/{given['dbname'] or given['user'] or ''}"
        self._tape = tape
        self._deadline_seconds = deadline_seconds
        self._has_answered = False

    def __repr__(self) -> str:
        return f"Postgres({self.target!r})"

    def connections(self) -> Connections:
        """Connections against their limits. That none is left for us is an answer, not an error."""

        def call() -> dict[str, Any]:
            try:
                with self._transaction() as ask:
                    return {
                        "limits": ask.rows(_LIMITS)[0],
                        "groups": ask.rows(_GROUPS),
                        "roles": ask.rows(_ROLE_LIMITS),
                        "refused": "",
                    }
            except RefusedError as error:
                if error.code != NO_SLOT_LEFT:
                    raise
                return {"limits": {}, "groups": [], "roles": [], "refused": error.message}

        told = self._ask({"question": "connections"}, call)
        numbers = {name: told["limits"].get(name) for name in ("max_connections", "reserved", "used")}
        columns = ["usename", "application_name", "state", "count", "longest_seconds"]
        roles = {row["role"]: (int(row["used"]), int(row["limit"])) for row in told["roles"]}
        frame = pd.DataFrame(told["groups"], columns=columns)
        return Connections(**numbers, frame=frame, role_limits=roles, refused=told["refused"])

    def sessions(self) -> pd.DataFrame:
        """Every client session but ours: pid, backend_start, xact_start, query_start (aware UTC), usename,
        application_name, state, xact_seconds, query_seconds, state_seconds, wait_event_type, wait_event,
        query_id, query (no literals).

        `attrs["is_partial"]`: this role may not see all of them (grant it pg_monitor).
        """  # noqa: D205 - the columns do not fit into a line

        def call() -> dict[str, Any]:
            with self._transaction() as ask:
                return _normalised(ask.rows(_SESSIONS))

        told = self._ask({"question": "sessions"}, call)
        frame = pd.DataFrame(told["rows"], columns=_SESSION_COLUMNS.split())
        for name in ("backend_start", "xact_start", "query_start"):
            moments = pd.to_datetime(frame[name], utc=True, format="ISO8601")
            frame[name] = moments.astype("datetime64[us, UTC]")
        frame.attrs["is_partial"] = told["is_partial"]
        return frame

    def lock_chains(self) -> pd.DataFrame:
        """A row for each backend that waits for a lock: pid, blocked_by (pids), root_pid, root_state,
        root_xact_seconds, root_application, waited_seconds, query, root_query (no literals).

        The root waits for nobody; it is usually idle in transaction. 0 is a prepared transaction.
        `attrs["is_partial"]` as for `sessions`.
        """  # noqa: D205 - the columns do not fit into a line

        def call() -> dict[str, Any]:
            with self._transaction() as ask:
                return _normalised(ask.rows(_WAITERS))

        told = self._ask({"question": "lock_chains"}, call)
        frame = pd.DataFrame(chains(told["rows"]), columns=_CHAIN_COLUMNS.split())
        frame.attrs["is_partial"] = told["is_partial"]
        return frame

    def table_activity(self) -> pd.DataFrame:
        """A row a table of our database: table, rows, dead_rows, scans_per_second, scanned_per_second (rows).

        Scans of every kind: an index that is read from end to end for its order alone is no better than no
        index. Their pace is that between two readings two seconds apart, so this takes that long.
        """

        def call() -> dict[str, Any]:
            with self._transaction() as ask:
                before = ask.rows(_TABLES)
            time.sleep(_TABLE_PAUSE_SECONDS)
            with self._transaction() as ask:  # one transaction would see its own snapshot again
                return {"before": before, "after": ask.rows(_TABLES)}

        told = self._ask({"question": "table_activity"}, call)
        return pd.DataFrame(_paces(told["before"], told["after"]), columns=list(_TABLE_COLUMNS))

    def sql(
        self, query: str, params: Sequence[Any] = (), *, names: Mapping[str, str] | None = None
    ) -> pd.DataFrame:
        """The answer to one query of your own, at most MAX_ROWS rows (then `attrs["is_cut"]` is true).

        Values go into `params`, for %s in the query; names of tables and columns into `names`, for {…} in it.
        Raises ParameterError for anything but a question, and for a name that is none.
        """
        query = identified(query, names) if names else query
        if not is_question(query):
            raise ParameterError("only questions may be asked", system=SYSTEM, hint="begin with SELECT")

        def call() -> dict[str, Any]:
            with self._transaction() as ask:
                columns, rows, is_cut = ask.table(query, params, most=MAX_ROWS)
            return {"columns": columns, "rows": rows, "is_cut": is_cut}

        told = self._ask({"question": "sql", "query": query, "params": [plain(p) for p in params]}, call)
        frame = pd.DataFrame(told["rows"], columns=told["columns"])
        frame.attrs["is_cut"] = told["is_cut"]
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
            # It may be restarting: refused, and not unreachable, so that the next question tries again.
            raise RefusedError(
                f"{error.message}; it answered earlier in this run",
                code="08001",
                system=SYSTEM,
                target=self.target,
                hint=error.hint,
            ) from None


def _paces(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> list[dict[str, Any]]:
    earlier = {row["table"]: row for row in before}
    paces = []
    for row in after:
        was = earlier.get(row["table"])
        seconds = row["at"] - was["at"] if was else 0.0
        if was is None or seconds <= 0 or row["scans"] < was["scans"]:
            continue  # new, or its statistics were reset in between
        pace = {"scans_per_second": (row["scans"] - was["scans"]) / seconds}
        pace["scanned_per_second"] = (row["scanned"] - was["scanned"]) / seconds
        paces.append({"table": row["table"], "rows": row["rows"], "dead_rows": row["dead_rows"], **pace})
    return paces


def _normalised(rows: list[dict[str, Any]]) -> dict[str, Any]:
    is_partial = any(row["query"] == "<insufficient privilege>" for row in rows)
    return {"rows": [row | {"query": normalised(row["query"])} for row in rows], "is_partial": is_partial}
