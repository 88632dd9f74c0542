"""Actions on the database."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pandas as pd

from runbooklib.actions import _postgres
from runbooklib.actions.action import (
    ApprovedAction,
    TargetState,
    action,
    require_actions,
    require_writable,
    text_only,
)
from runbooklib.errors import ActionError, NoDataError, ParameterError, SourceError
from runbooklib.model.plan import Proposal
from runbooklib.model.window import moment_of, seconds_of
from runbooklib.sources.context import Context
from runbooklib.text import filled

_IDLE_FOR = (
    "a.state like 'idle in transaction%%' and a.state_change < clock_timestamp() - make_interval(secs => %s)"
)
# Commands for a person to read and run. Their only variable parts are numbers and a time.
_TERMINATE_IDLE = (
    "SELECT pid, pg_terminate_backend(pid) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%' "
    "AND pid <> pg_backend_pid() AND state_change < now() - interval '{seconds} s'"
)
_SIGNAL = "SELECT {function}(pid) FROM pg_stat_activity WHERE pid = {pid}"
_SIGNAL_SINCE = _SIGNAL + " AND backend_start = '{start}'"
_LOSES_SESSION = "What the session does. Read pg_stat_activity first. Needs the role pg_signal_backend."
_MAX_SHOWN_PIDS, _MAX_SHOWN_APPLICATIONS = 8, 4


def _identify_idle_sessions(context: Context, *, older_than: str) -> TargetState:
    """The sessions that are idle in transaction for longer; a person types the database's name."""
    require_writable(require_actions(context).postgres, "postgres")
    sessions = context.sources.postgres.sessions()
    is_idle = sessions["state"].str.startswith("idle in transaction")
    is_ours = sessions["application_name"].str.startswith("runbooklib")
    idle = sessions[is_idle & (sessions["state_seconds"] > seconds_of(older_than)) & ~is_ours]
    if idle.empty:
        raise ActionError(f"no session is idle in transaction for more than {older_than}")
    marks = [_mark(row, "xact_start") for _, row in idle.sort_values("pid").iterrows()]
    counts = Counter(_holder(row) for _, row in idle.iterrows())
    held_by = ", ".join(f"{holder}: {count}" for holder, count in sorted(counts.items()))
    database = context.sources.postgres.target.rpartition("/")[2]
    return TargetState(database, {"sessions": marks, "held by": held_by})


def _holder(row: pd.Series) -> str:
    return f"{row['usename']} ({row['application_name'] or 'unnamed'})"


def _mark(row: pd.Series, start_column: str) -> list[Any]:
    """What identifies a session and its work: pid, and two times in ISO 8601."""
    work_start = None if pd.isna(row[start_column]) else str(row[start_column].isoformat())
    return [int(row["pid"]), row["backend_start"].isoformat(), work_start]


def _has_common_sessions(seen: Mapping[str, Any], current: Mapping[str, Any]) -> bool:
    """Some of the sessions are left. Those that have ended do not matter; new ones are never signalled."""
    return bool(_sessions(seen) & _sessions(current))


def _has_same_sessions(seen: Mapping[str, Any], current: Mapping[str, Any]) -> bool:
    """The same session in the same transaction, or with the same query: later work was not seen."""
    return _sessions(seen) == _sessions(current)


def _sessions(identity: Mapping[str, Any]) -> set[_postgres.Session]:
    return {(int(pid), str(start), mark) for pid, start, mark in identity["sessions"]}


def _perform_end_idle(approved: ApprovedAction) -> str:
    sessions = sorted(_sessions(approved.plan.identity))
    limit = seconds_of(str(approved.plan.parameters["older_than"]))
    ended = _postgres.signal(
        approved.context, "pg_terminate_backend", sessions, "xact_start", _IDLE_FOR, [limit]
    )
    if not ended:
        raise ActionError("no session of this plan is still idle in transaction", hint="look again")
    pids = [str(pid) for pid in sorted(ended)]
    shown = ", ".join(pids[:_MAX_SHOWN_PIDS] + ["…"] * (len(pids) > _MAX_SHOWN_PIDS))
    return (
        f"ended {len(ended)} of {len(sessions)} sessions (pids {shown}); skipped because they had ended, "
        f"continued, or are protected: {len(sessions) - len(ended)}"
    )


@action(
    identify=_identify_idle_sessions,
    perform=_perform_end_idle,
    destroys=("postgres",),
    is_same=_has_common_sessions,
)
def terminate_idle_transactions(context: Context, *, older_than: str) -> Proposal:  # noqa: ARG001 - every action gets the context
    """End the sessions that are idle in transaction."""
    return Proposal(
        title=f"Now: end the sessions that are idle in transaction for more than {older_than}",
        command=f'psql -c "{filled(_TERMINATE_IDLE, seconds=int(seconds_of(older_than)))}"',
        effect="Their connections and locks are freed. Their uncommitted work is rolled back.",
        loses="Which session held what. Read pg_stat_activity first. Needs the role pg_signal_backend.",
        undo="Not possible: the clients reconnect and repeat the work that was rolled back.",
    )


def _identify_session(
    context: Context, start_column: str, *, pid: int, backend_start: str = ""
) -> TargetState:
    """One session by pid, start time and start of its work, if it may be ended at all."""
    require_writable(require_actions(context).postgres, "postgres")
    if isinstance(pid, bool) or not isinstance(pid, int) or pid <= 0:
        raise ParameterError(f"pid is {pid!r}", hint="pass the session's pid as a number")
    if reason := _postgres.protection(context, pid):
        raise ActionError(reason)
    sessions = context.sources.postgres.sessions()
    rows = sessions[sessions["pid"] == pid]
    if rows.empty:
        raise ActionError(f"there is no session with pid {pid}; it has ended")
    row = rows.iloc[0]
    start = row["backend_start"]
    if backend_start and moment_of(backend_start) != start:
        raise ActionError(
            f"pid {pid} is another session now: it started at {start.isoformat()}", hint="look again"
        )
    identity = {"sessions": [_mark(row, start_column)], "held by": _holder(row), "state": str(row["state"])}
    return TargetState(str(pid), {**identity, "query": str(row["query"])})


def _identify_open_session(context: Context, *, pid: int, backend_start: str = "") -> TargetState:
    return _identify_session(context, "xact_start", pid=pid, backend_start=backend_start)


def _identify_running_query(context: Context, *, pid: int, backend_start: str = "") -> TargetState:
    session = _identify_session(context, "query_start", pid=pid, backend_start=backend_start)
    if session.identity["state"] != "active":
        raise ActionError(f"pid {pid} runs no query; its state is {session.identity['state'] or 'hidden'}")
    return session


def _signal_session(
    approved: ApprovedAction, function: str, start_column: str, condition: str = "true"
) -> int:
    """Signal the session of the plan and return its pid. Raises ActionError if it was not signalled."""
    [session] = _sessions(approved.plan.identity)
    pid = session[0]
    if not _postgres.signal(approved.context, function, [session], start_column, condition):
        try:
            reason = _postgres.protection(approved.context, pid)
        except (ActionError, SourceError) as error:
            reason = error.message
        raise ActionError(reason or f"pid {pid} has started other work since", hint="look again")
    return pid


def _perform_end(approved: ApprovedAction) -> str:
    pid = _signal_session(approved, "pg_terminate_backend", "xact_start")
    return f"ended the session with pid {pid}"


def _perform_cancel(approved: ApprovedAction) -> str:
    pid = _signal_session(approved, "pg_cancel_backend", "query_start", "a.state = 'active'")
    return f"cancelled the query of pid {pid}"


def _signal_command(function: str, pid: int, backend_start: str) -> str:
    start = moment_of(backend_start).isoformat() if backend_start else ""
    query = filled(_SIGNAL_SINCE if start else _SIGNAL, function=function, pid=int(pid), start=start)
    return f'psql -c "{query}"'


@action(
    identify=_identify_open_session, perform=_perform_end, destroys=("postgres",), is_same=_has_same_sessions
)
def end_session(context: Context, *, pid: int, backend_start: str = "") -> Proposal:  # noqa: ARG001 - every action gets the context
    """End one session of the database."""
    return Proposal(
        title=f"Now: end the session with pid {int(pid)}",
        command=_signal_command("pg_terminate_backend", pid, backend_start),
        effect="Its connection and its locks are freed. Its uncommitted work is rolled back.",
        loses=_LOSES_SESSION,
        undo="Not possible: the client reconnects and repeats the work that was rolled back.",
    )


@action(
    identify=_identify_running_query,
    perform=_perform_cancel,
    destroys=("postgres",),
    is_same=_has_same_sessions,
)
def cancel_query(context: Context, *, pid: int, backend_start: str = "") -> Proposal:  # noqa: ARG001 - every action gets the context
    """Cancel the query that one session of the database runs."""
    return Proposal(
        title=f"Now: cancel the query of pid {int(pid)}",
        command=_signal_command("pg_cancel_backend", pid, backend_start),
        effect="The statement ends with an error. The session stays open.",
        loses="The result of that statement.",
        undo="Not possible: the client may run the query again.",
    )


@text_only
def fit_pool_size(context: Context) -> Proposal:
    """Fit the service's connection pool to the limits of the database; text only, with current numbers."""
    usage = context.sources.postgres.connections()
    if usage.refused or usage.max_connections is None:
        raise NoDataError(
            f"the database refuses connections, so sessions cannot be counted: {usage.refused}",
            system="postgres",
            hint="end some sessions first",
        )
    role = usage.fullest.partition('"')[2].rstrip('"')
    used, limit = usage.role_limits.get(
        role, (usage.used or 0, usage.max_connections - (usage.reserved or 0))
    )
    counts = usage.frame.groupby("application_name")["count"].sum().sort_values(ascending=False)
    largest = counts.head(_MAX_SHOWN_APPLICATIONS).items()
    clients = ", ".join(f"{name or 'unnamed'} {count}" for name, count in largest)
    return Proposal(
        title="Soon: fit the pool size to the database",
        command=f"# workers x (pool_size + max_overflow) of all clients <= {limit}",
        effect=f"{used} of {limit} connections of {usage.fullest} are in use: {clients}. With a pool that is "
        "too small, requests wait. With one that is too large, requests fail, also those of other clients.",
        undo="Set the former numbers again.",
    )
