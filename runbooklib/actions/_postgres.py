"""Signals to single PostgreSQL sessions, each identified by pid, start time and current work.

One statement both compares and signals, so no other session, transaction or query can take the place of the
one that was seen. The statement itself excludes the sessions that must never be ended.
"""

import re
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import psycopg

from runbooklib.actions.action import require_actions, require_writable
from runbooklib.config.site_secrets import secret
from runbooklib.errors import ActionError, UnreachableError
from runbooklib.sources.context import Context
from runbooklib.sources.postgres.session import CONNECT_SECONDS, SYSTEM
from runbooklib.text import filled

# pid, backend_start, and the start time of its transaction or query (None: it has none); times in ISO 8601.
Session = tuple[int, str, str | None]
Connection = psycopg.Connection[tuple[Any, ...]]
APPLICATION = "runbooklib-operator"
_STATEMENT_SECONDS = 10
_INSUFFICIENT_PRIVILEGE = "42501"
# Only ordinary client sessions: no superuser, no replication, no background worker, not our own.
_MAY_BE_ENDED = """
coalesce(a.backend_type, '') = 'client backend' and not r.rolsuper and not r.rolreplication
and a.pid <> pg_backend_pid() and coalesce(a.application_name, '') not like 'runbooklib%%'
"""
# Recordings hold this request and its answers: do not change the text.
_WHY_NOT = """
select case when coalesce(a.backend_type, '') <> 'client backend' then 'is a ' || a.backend_type
            when r.rolsuper then 'belongs to the superuser ' || r.rolname
            when r.rolreplication then 'belongs to the replication role ' || r.rolname
            when a.pid = pg_backend_pid() or coalesce(a.application_name, '') like 'runbooklib%%'
            then 'is a session of ours' end
from pg_stat_activity a left join pg_roles r on r.oid = a.usesysid where a.pid = %s
"""
# The answers of _WHY_NOT, most special first, and the sentence for each.
_PROTECTED = (
    (r"is a session of ours", "pid {pid} is a session of runbooklib and is never ended"),
    (r"is a (?P<name>.*)", "pid {pid} has the backend type {name} and is never ended"),
    (
        r"belongs to the superuser (?P<name>.*)",
        "pid {pid} belongs to the superuser {name} and is never ended",
    ),
    (
        r"belongs to the replication role (?P<name>.*)",
        "pid {pid} belongs to the replication role {name} and is never ended",
    ),
)
# PostgreSQL hides type and start time of a session that the role may not see.
_HIDDEN = "select count(*) from pg_stat_activity where pid = any(%s) and backend_start is null"


def protection(context: Context, pid: int) -> str:
    """Why the session must never be ended, as the reading role sees it; empty if it may be ended.

    Raises ActionError if there is no such session, and SourceError.
    """
    answer = context.sources.postgres.sql(_WHY_NOT, [pid])
    if answer.empty:
        raise ActionError(f"there is no session with pid {pid}; it has ended", system=SYSTEM)
    kind = answer.iloc[0, 0]
    if not isinstance(kind, str):
        return ""
    for pattern, sentence in _PROTECTED:
        if match := re.fullmatch(pattern, kind, re.DOTALL):
            return filled(sentence, pid=pid, **match.groupdict())
    return f"pid {pid} is protected ({kind}) and is never ended"


def signal(
    context: Context,
    function: str,
    sessions: Sequence[Session],
    start_column: str,
    condition: str = "true",
    values: Sequence[Any] = (),
) -> list[int]:
    """Call pg_terminate_backend or pg_cancel_backend for each unchanged session; return the signalled pids.

    `start_column` is the column of pg_stat_activity that must be unchanged: xact_start or query_start.
    `condition` is trusted SQL about `a`, a row of that view, with `values` for its %s. Raises ActionError,
    which names the pids that were signalled before the error.
    """
    query = (
        f"select {function}(a.pid) from pg_stat_activity a "  # noqa: S608 - names of ours
        "join pg_roles r on r.oid = a.usesysid where a.pid = %s and a.backend_start = %s::timestamptz "
        f"and a.{start_column} is not distinct from %s::timestamptz and {_MAY_BE_ENDED} and {condition}"
    )
    signalled: list[int] = []
    with closing(_connect(context)) as connection:
        _refuse_hidden(connection, context, [pid for pid, *_ in sessions])
        for session in sessions:
            try:
                row = connection.execute(query.encode(), (*session, *values)).fetchone()
            except psycopg.Error as error:
                raise _failure(error, context, signalled) from None
            if row and row[0]:
                signalled.append(session[0])
    return signalled


def _connect(context: Context) -> Connection:
    system = require_writable(require_actions(context).postgres, "postgres")
    password = secret(system.password_env, SYSTEM)
    options: dict[str, Any] = {"password": password} if password else {}
    options |= {"application_name": APPLICATION, "connect_timeout": CONNECT_SECONDS}
    options |= {"options": f"-c statement_timeout={_STATEMENT_SECONDS * 1000} -c lock_timeout=2000"}
    try:
        return psycopg.connect(system.dsn, autocommit=True, **options)
    except psycopg.Error as error:
        reason = str(error).strip().splitlines()[-1].rpartition("failed: ")[2]
        raise UnreachableError(f"the operator role cannot connect: {reason}", **_address(context)) from None


def _address(context: Context) -> dict[str, Any]:
    return {"system": SYSTEM, "target": context.sources.postgres.target}


def _refuse_hidden(connection: Connection, context: Context, pids: Sequence[int]) -> None:
    """Raise ActionError before any signal: a session that the role cannot see would look ended."""
    try:
        row = connection.execute(_HIDDEN, (list(pids),)).fetchone()
    except psycopg.Error as error:
        raise _failure(error, context, []) from None
    if row and row[0]:
        raise ActionError(
            "the operator role may not see these sessions",
            **_address(context),
            hint="grant it pg_monitor and pg_signal_backend",
        )


def _failure(error: psycopg.Error, context: Context, signalled: Sequence[int]) -> ActionError:
    """The error of one signal. Only a refusal before any signal is known to have changed nothing."""
    reason = error.diag.message_primary or "the connection was lost"
    is_refusal = error.sqlstate == _INSUFFICIENT_PRIVILEGE
    pids = ", ".join(str(pid) for pid in signalled)
    return ActionError(
        f"{reason} (pids signalled before this error: {pids})" if signalled else reason,
        **_address(context),
        hint="grant the role pg_signal_backend" if is_refusal else "see which sessions are left",
        is_outcome_known=is_refusal and not signalled,
    )
