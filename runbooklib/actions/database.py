"""Remedies for the database."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pandas as pd

from runbooklib.actions import _backends
from runbooklib.errors import ActionError, NoDataError, ParameterError, SourceError
from runbooklib.plans import Proposal
from runbooklib.remedy import Act, Seen, actions_of, may_write, remedy
from runbooklib.scene import Scene
from runbooklib.window import moment_of, seconds_of

_IDLE_FOR = (
    "a.state like 'idle in transaction%%' and a.state_change < clock_timestamp() - make_interval(secs => %s)"
)
_SHOWN_PIDS, _SHOWN_APPLICATIONS = 8, 4


def _database(scene: Scene) -> str:
    """What a person types: the name of the database."""
    return scene.sources.postgres.target.rpartition("/")[2]


def _idle(scene: Scene, *, older_than: str) -> Seen:
    """The sessions that are idle in transaction for longer, each by pid, beginning and transaction."""
    may_write(actions_of(scene).postgres, "postgres")
    found = scene.sources.postgres.sessions()
    is_idle = found["state"].str.startswith("idle in transaction")
    long = found[is_idle & (found["state_seconds"] > seconds_of(older_than))]
    ours = long["application_name"].str.startswith("runbooklib")
    rows = long[~ours]
    if rows.empty:
        raise ActionError(f"no session is idle in transaction for more than {older_than}")
    sessions = [_marks(row, "xact_start") for _, row in rows.sort_values("pid").iterrows()]
    held_by = Counter(_who(row) for _, row in rows.iterrows())
    told = ", ".join(f"{who}: {count}" for who, count in sorted(held_by.items()))
    return Seen(_database(scene), {"sessions": sessions, "held by": told})


def _who(row: pd.Series) -> str:
    return f"{row['usename']} ({row['application_name'] or 'unnamed'})"


def _marks(row: pd.Series, same: str) -> list[Any]:
    """By what a session, and what it is at, can be told from another: pid and two times in ISO 8601."""
    return [int(row["pid"]), row["backend_start"].isoformat(), _moment(row[same])]


def _moment(value: Any) -> str | None:
    return None if pd.isna(value) else str(value.isoformat())


def _some_are_left(then: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Those that have ended meanwhile are no reason to leave the others; new ones are never touched."""
    return bool(_sessions(then) & _sessions(now))


def _sessions(identity: Mapping[str, Any]) -> set[_backends.Session]:
    return {(int(pid), str(start), mark) for pid, start, mark in identity["sessions"]}


def _end_idle(act: Act) -> str:
    wanted = sorted(_sessions(act.plan.identity))
    limit = seconds_of(str(act.plan.parameters["older_than"]))
    ended = _backends.signal(act.scene, "pg_terminate_backend", wanted, "xact_start", _IDLE_FOR, [limit])
    if not ended:
        raise ActionError("none of these sessions is still idle in transaction", remedy="look again")
    left = len(wanted) - len(ended)
    shown = ", ".join(str(pid) for pid in sorted(ended)[:_SHOWN_PIDS])
    more = f", … (pids {shown})" if len(ended) > _SHOWN_PIDS else f" (pids {shown})"
    rest = f"; {left} had ended, went on, or must never be ended" if left else ""
    return f"ended {len(ended)} sessions{more}{rest}"


@remedy(identify=_idle, perform=_end_idle, destroys=("postgres",), is_same=_some_are_left)
def terminate_idle_transactions(scene: Scene, *, older_than: str) -> Proposal:  # noqa: ARG001 - every action gets the scene
    """End the sessions that are idle in transaction."""
    # A text for a person to read and run; the number in it is ours.
    ending = (
        "SELECT pid, pg_terminate_backend(pid) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%' "
        "AND pid <> pg_backend_pid() AND state_change < now() - interval '%d s'"
    )
    return Proposal(
        title=f"Now: end the sessions that are idle in transaction for more than {older_than}",
        command=f'psql -c "{ending.replace("%d", str(int(seconds_of(older_than))))}"',
        effect="Their connections and locks are given back; what they had not committed is undone.",
        loses="Which session held what: read pg_stat_activity first. Needs the role pg_signal_backend.",
        undo="None: their clients connect again and repeat what was undone.",
    )


def _one(scene: Scene, same: str, *, pid: int, backend_start: str = "") -> Seen:
    """One session by pid, its beginning and that of its work, if it may be ended at all."""
    may_write(actions_of(scene).postgres, "postgres")
    if isinstance(pid, bool) or not isinstance(pid, int) or pid <= 0:
        raise ParameterError(f"pid is {pid!r}", remedy="give the session's pid as a number")
    if why := _backends.why_not(scene, pid):
        raise ActionError(why)
    found = scene.sources.postgres.sessions()
    rows = found[found["pid"] == pid]
    if rows.empty:
        raise ActionError(f"there is no session with pid {pid} any more")
    row = rows.iloc[0]
    began = row["backend_start"]
    if backend_start and moment_of(backend_start) != began:
        told = f"pid {pid} is another session now: it began at {began.isoformat()}"
        raise ActionError(told, remedy="look again")
    facts = {"sessions": [_marks(row, same)], "held by": _who(row), "state": str(row["state"])}
    return Seen(str(pid), {**facts, "query": str(row["query"])})


def _a_session(scene: Scene, *, pid: int, backend_start: str = "") -> Seen:
    return _one(scene, "xact_start", pid=pid, backend_start=backend_start)


def _a_query(scene: Scene, *, pid: int, backend_start: str = "") -> Seen:
    seen = _one(scene, "query_start", pid=pid, backend_start=backend_start)
    if seen.identity["state"] != "active":
        raise ActionError(f"pid {pid} runs no query: it is {seen.identity['state'] or 'hidden from us'}")
    return seen


def _is_the_session(then: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """The same session in the same transaction, or with the same query: what follows was not seen."""
    return _sessions(then) == _sessions(now)


def _signal_one(act: Act, function: str, done: str, same: str, condition: str = "true") -> str:
    [session] = _sessions(act.plan.identity)
    pid = session[0]
    if not _backends.signal(act.scene, function, [session], same, condition):
        try:
            why = _backends.why_not(act.scene, pid)
        except (ActionError, SourceError) as error:
            why = error.message
        raise ActionError(why or f"pid {pid} does something else by now", remedy="look again")
    return f"{done} pid {pid}"


def _end(act: Act) -> str:
    return _signal_one(act, "pg_terminate_backend", "ended the session with", "xact_start")


def _cancel(act: Act) -> str:
    return _signal_one(
        act, "pg_cancel_backend", "cancelled the query of", "query_start", "a.state = 'active'"
    )


@remedy(identify=_a_session, perform=_end, destroys=("postgres",), is_same=_is_the_session)
def end_session(scene: Scene, *, pid: int, backend_start: str = "") -> Proposal:  # noqa: ARG001 - every action gets the scene
    """End one session of the database."""
    began = f" AND backend_start = '{moment_of(backend_start).isoformat()}'" if backend_start else ""
    query = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = {int(pid)}{began}"  # noqa: S608 - a text to read; a number and a time
    return Proposal(
        title=f"Now: end the session with pid {int(pid)}",
        command=f'psql -c "{query}"',
        effect="Its connection and its locks are given back; what it had not committed is undone.",
        loses="What it was doing: read pg_stat_activity first. Needs the role pg_signal_backend.",
        undo="None: its client connects again and repeats what was undone.",
    )


@remedy(identify=_a_query, perform=_cancel, destroys=("postgres",), is_same=_is_the_session)
def cancel_query(scene: Scene, *, pid: int, backend_start: str = "") -> Proposal:  # noqa: ARG001 - every action gets the scene
    """Cancel what one session of the database is doing."""
    began = f" AND backend_start = '{moment_of(backend_start).isoformat()}'" if backend_start else ""
    query = f"SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE pid = {int(pid)}{began}"  # noqa: S608 - a text to read; a number and a time
    return Proposal(
        title=f"Now: cancel the query of pid {int(pid)}",
        command=f'psql -c "{query}"',
        effect="The statement ends with an error; its session and its other work go on.",
        loses="The result of that statement.",
        undo="None: the client may ask again.",
    )


def fit_pool_size(scene: Scene) -> Proposal:
    """Fit the service's connection pool to what the database has; a text, with today's numbers."""
    told = scene.sources.postgres.connections()
    if told.refused or told.max_connections is None:
        raise NoDataError(
            f"the database lets nobody in to count ({told.refused})",
            system="postgres",
            remedy="end some first",
        )
    role = told.fullest.partition('"')[2].rstrip('"')
    used, room = told.role_limits.get(role, (told.used or 0, told.max_connections - (told.reserved or 0)))
    by = told.frame.groupby("application_name")["count"].sum().sort_values(ascending=False)
    most = ", ".join(f"{name or 'unnamed'} {count}" for name, count in by.head(_SHOWN_APPLICATIONS).items())
    return Proposal(
        title="Soon: a pool that the database can serve",
        command=f"# workers x (pool_size + max_overflow) of all clients <= {room}",
        effect=f"{used} of {room} connections of {told.fullest} are taken now: {most}. A pool that is too "
        "small lets requests wait; one that is too large lets them fail, and everybody else's with them.",
        undo="The former numbers.",
    )
