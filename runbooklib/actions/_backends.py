"""The writing side of a PostgreSQL server: signals to single sessions, each known by pid and beginning.

One statement looks and acts, so that nothing can take a session's place in between. What must never be
ended is left out by the statement itself, and not only by whoever asks for it.
"""

from collections.abc import Sequence
from contextlib import closing
from typing import Any

import psycopg

from runbooklib.errors import ActionError, UnreachableError
from runbooklib.pgsession import CONNECT_SECONDS, SYSTEM
from runbooklib.remedy import actions_of, may_write
from runbooklib.scene import Scene
from runbooklib.settings import secret

Session = tuple[int, str]
APPLICATION = "runbooklib-operator"
_ACT_SECONDS = 10
# Ordinary clients only: nobody's superuser, no replication, no background worker, and not ourselves.
_MAY_BE_ENDED = """
coalesce(a.backend_type, '') = 'client backend' and not r.rolsuper and not r.rolreplication
and a.pid <> pg_backend_pid() and coalesce(a.application_name, '') not like 'runbooklib%%'
"""
_WHY_NOT = """
select case when coalesce(a.backend_type, '') <> 'client backend' then 'is a ' || a.backend_type
            when r.rolsuper then 'belongs to the superuser ' || r.rolname
            when r.rolreplication then 'belongs to the replication role ' || r.rolname
            when a.pid = pg_backend_pid() or coalesce(a.application_name, '') like 'runbooklib%%'
            then 'is a session of ours' end
from pg_stat_activity a left join pg_roles r on r.oid = a.usesysid where a.pid = %s
"""


# Of a session that a role may not see, it is told neither the kind nor the beginning.
_HIDDEN = "select count(*) from pg_stat_activity where pid = any(%s) and backend_start is null"


def why_not(scene: Scene, pid: int) -> str:
    """Why the session of that pid must never be ended, as the reading role sees it; empty where it may be.

    Raises ActionError where there is no such session, and SourceError.
    """
    found = scene.sources.postgres.sql(_WHY_NOT, [pid])
    if found.empty:
        raise ActionError(f"there is no session with pid {pid} any more", system=SYSTEM)
    told = found.iloc[0, 0]
    return f"pid {pid} {told}, and is never ended" if isinstance(told, str) else ""


def signal(scene: Scene, function: str, sessions: Sequence[Session], condition: str = "true") -> list[int]:
    """Call pg_terminate_backend or pg_cancel_backend for those that are still there; the pids that were hit.

    `sessions` are (pid, backend_start in ISO 8601); `condition` is SQL of ours about `a`, a row of
    pg_stat_activity. Raises ActionError.
    """
    system = may_write(actions_of(scene).postgres, "postgres")
    query = (
        f"select a.pid, {function}(a.pid) from pg_stat_activity a "  # noqa: S608 - names of ours
        "join pg_roles r on r.oid = a.usesysid "
        "join unnest(%s::int[], %s::timestamptz[]) as w(pid, backend_start) "
        "on w.pid = a.pid and w.backend_start = a.backend_start "
        f"where {_MAY_BE_ENDED} and {condition}"
    )
    pids, starts = [pid for pid, _ in sessions], [start for _, start in sessions]
    about: dict[str, Any] = {"system": SYSTEM, "target": scene.sources.postgres.target}
    password = secret(system.password_env)
    given: dict[str, Any] = {"password": password} if password else {}
    given |= {"application_name": APPLICATION, "connect_timeout": CONNECT_SECONDS}
    given |= {"options": f"-c statement_timeout={_ACT_SECONDS * 1000} -c lock_timeout=2000"}
    try:
        connection = psycopg.connect(system.dsn, autocommit=True, **given)
    except psycopg.Error as error:
        told = str(error).strip().splitlines()[-1].rpartition("failed: ")[2]
        raise UnreachableError(f"the operator cannot connect: {told}", **about) from None
    with closing(connection):
        try:
            rows = connection.execute(query.encode(), (pids, starts)).fetchall()
            hidden = connection.execute(_HIDDEN, (pids,)).fetchone()
        except psycopg.Error as error:
            told = error.diag.message_primary or "the connection was lost"
            is_known = error.sqlstate is not None
            remedy = "grant the role pg_signal_backend" if error.sqlstate == "42501" else ""
            raise ActionError(told, **about, remedy=remedy, is_outcome_known=is_known) from None
    if hidden and hidden[0]:
        told = "the operator may not see these sessions"
        raise ActionError(told, **about, remedy="grant its role pg_monitor and pg_signal_backend")
    return [int(pid) for pid, was_hit in rows if was_hit]
