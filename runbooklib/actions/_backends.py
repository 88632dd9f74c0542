"""The writing side of a PostgreSQL server: signals to single sessions, each known by pid, beginning and work.

One statement looks and acts, so that nothing can take a session's place in between, and no other transaction
or query that of the one that was seen: a pool's sessions live for hours. What must never be ended is left
out by the statement itself, and not only by whoever asks for it.
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

# pid, backend_start, and the beginning of what it does (None: it does nothing); times in ISO 8601.
Session = tuple[int, str, str | None]
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


def signal(
    scene: Scene,
    function: str,
    sessions: Sequence[Session],
    same: str,
    condition: str = "true",
    values: Sequence[Any] = (),
) -> list[int]:
    """Call pg_terminate_backend or pg_cancel_backend for those that are still there; the pids that were hit.

    `same` is the column of pg_stat_activity by which a session still does the same: xact_start, query_start.
    `condition` is SQL of ours about `a`, a row of it, with `values` for its %s. Raises ActionError, which
    names the pids that were hit before it.
    """
    query = (
        f"select {function}(a.pid) from pg_stat_activity a "  # noqa: S608 - names of ours
        "join pg_roles r on r.oid = a.usesysid where a.pid = %s and a.backend_start = %s::timestamptz "
        f"and a.{same} is not distinct from %s::timestamptz and {_MAY_BE_ENDED} and {condition}"
    )
    hit: list[int] = []
    with closing(_operator(scene)) as connection:
        _refuse_hidden(connection, scene, [pid for pid, *_ in sessions])
        for session in sessions:
            try:
                row = connection.execute(query.encode(), (*session, *values)).fetchone()
            except psycopg.Error as error:
                raise _trouble(error, scene, hit) from None
            if row and row[0]:
                hit.append(session[0])
    return hit


def _operator(scene: Scene) -> "psycopg.Connection[tuple[Any, ...]]":
    system = may_write(actions_of(scene).postgres, "postgres")
    password = secret(system.password_env)
    given: dict[str, Any] = {"password": password} if password else {}
    given |= {"application_name": APPLICATION, "connect_timeout": CONNECT_SECONDS}
    given |= {"options": f"-c statement_timeout={_ACT_SECONDS * 1000} -c lock_timeout=2000"}
    try:
        return psycopg.connect(system.dsn, autocommit=True, **given)
    except psycopg.Error as error:
        told = str(error).strip().splitlines()[-1].rpartition("failed: ")[2]
        raise UnreachableError(f"the operator cannot connect: {told}", **_about(scene)) from None


def _about(scene: Scene) -> dict[str, Any]:
    return {"system": SYSTEM, "target": scene.sources.postgres.target}


def _refuse_hidden(
    connection: "psycopg.Connection[tuple[Any, ...]]", scene: Scene, pids: Sequence[int]
) -> None:
    """Before anything is done: what cannot be seen would look as if it had ended."""
    try:
        hidden = connection.execute(_HIDDEN, (list(pids),)).fetchone()
    except psycopg.Error as error:
        raise _trouble(error, scene, []) from None
    if hidden and hidden[0]:
        told = "the operator may not see these sessions"
        raise ActionError(told, **_about(scene), remedy="grant its role pg_monitor and pg_signal_backend")


def _trouble(error: psycopg.Error, scene: Scene, hit: Sequence[int]) -> ActionError:
    """A refusal by the server is known to have done nothing; of anything else, and of some before, not."""
    told = error.diag.message_primary or "the connection was lost"
    is_refusal = error.sqlstate == "42501"
    before = f"; before it these were hit: {', '.join(str(pid) for pid in hit)}" if hit else ""
    return ActionError(
        f"{told}{before}",
        **_about(scene),
        remedy="grant the role pg_signal_backend" if is_refusal else "see which sessions are left",
        is_outcome_known=is_refusal and not hit,
    )
