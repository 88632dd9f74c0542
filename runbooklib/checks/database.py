"""PostgreSQL: are there connections left, who holds them, who waits for whom?"""

import pandas as pd

from runbooklib.errors import NoDataError, RefusedError
from runbooklib.findings import Finding, Status, breach
from runbooklib.scene import Scene
from runbooklib.window import seconds_of


def connection_usage(scene: Scene, *, above: float) -> Finding:
    """Are there database connections left?

    The fullest of: all connections over those that are open to everybody, and each role's over its own
    limit. `above` is a ratio 0–1. That the server refuses us because none is left is the finding itself.
    """
    scene.need_live("postgres")
    connections = scene.sources.postgres.connections()
    if connections.refused:
        return Finding(
            status=Status.CRITICAL,
            template="No connection is left: the server refused ours: “{text}”",
            facts={"text": connections.refused},
            source="postgres",
            query="connect",
        )
    usage, fullest = connections.usage, connections.fullest
    if usage is None:
        raise NoDataError("the server did not say how many connections it has", system="postgres")
    return Finding(
        status=breach(usage, above=above, status=Status.CRITICAL),
        template="{usage:percent} of the connections of {fullest} are taken; the limit is {limit:percent}.",
        facts={"usage": usage, "fullest": fullest, "limit": above},
        measured=usage,
        limit=above,
        unit="ratio",
        source="postgres",
        query="pg_stat_activity by user, application and state",
        rows=_renamed(connections.frame).head(8),
    )


def idle_transactions(scene: Scene, *, older_than: str) -> Finding:
    """Does a transaction stay open and do nothing?

    Sessions in state "idle in transaction" for longer than the duration `older_than`: each holds a
    connection and its locks.
    """
    scene.need_live("postgres")
    limit = seconds_of(older_than)
    sessions = _whole(scene.sources.postgres.sessions())
    idle = sessions[sessions["state"].fillna("").str.startswith("idle in transaction")]
    old = idle[idle["state_seconds"] > limit].sort_values("state_seconds", ascending=False)
    shown = ["pid", "usename", "application_name", "state_seconds", "query"]
    return Finding(
        status=Status.WARNING if len(old) else Status.OK,
        template=(
            "{count} sessions are idle in transaction for more than {limit:seconds}; "
            "the oldest for {oldest:seconds}, application {application}."
            if len(old)
            else "No session is idle in transaction for more than {limit:seconds}."
        ),
        facts={
            "count": len(old),
            "limit": limit,
            "oldest": float(old["state_seconds"].iloc[0]) if len(old) else None,
            "application": str(old["application_name"].iloc[0]) if len(old) else "",
        },
        measured=float(len(old)),
        unit="count",
        source="postgres",
        query="pg_stat_activity where state = 'idle in transaction'",
        rows=_renamed(old[shown]).head(5) if len(old) else None,
    )


def lock_waits(scene: Scene, *, longer_than: str) -> Finding:
    """Does a session wait for another's lock?

    Chains of locks, followed by pg_blocking_pids to their root, which is usually idle in transaction.
    """
    scene.need_live("postgres")
    limit = seconds_of(longer_than)
    chains = _whole(scene.sources.postgres.lock_chains())
    waiting = chains[chains["waited_seconds"] > limit] if len(chains) else chains
    if not len(waiting):
        return Finding(
            status=Status.OK,
            template="No session waits for a lock for more than {limit:seconds}.",
            facts={"limit": limit},
            source="postgres",
            query="pg_blocking_pids",
        )
    worst = waiting.sort_values("waited_seconds", ascending=False).iloc[0]
    shown = ["pid", "waited_seconds", "root_pid", "root_state", "root_application", "query"]
    return Finding(
        status=Status.WARNING,
        template=(
            "{count} sessions wait for locks; at the root is pid {root} ({application}), {state} "
            "for {seconds:seconds}."
        ),
        facts={
            "count": len(waiting),
            "root": str(int(worst["root_pid"])),  # a name, and no quantity
            "application": str(worst["root_application"]),
            "state": str(worst["root_state"]),
            "seconds": float(worst["root_xact_seconds"]),
        },
        measured=float(len(waiting)),
        unit="count",
        source="postgres",
        query="pg_blocking_pids",
        rows=_renamed(waiting[shown]).head(5),
    )


def _whole(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame, unless our role may not see other users' sessions: what it does not see is not absent."""
    if frame.attrs.get("is_partial"):
        raise RefusedError(
            "our role may not see the sessions of others", system="postgres", remedy="grant it pg_monitor"
        )
    return frame


def _renamed(frame: pd.DataFrame) -> pd.DataFrame:
    """The columns as a reader calls them, not as pg_stat_activity does."""
    return frame.rename(columns=lambda name: str(name).replace("usename", "user").replace("_", " "))


def long_queries(scene: Scene, *, longer_than: str) -> Finding:
    """Does a query run for long?

    Sessions that are active with the same query for longer than the duration `longer_than`, longest first.
    """
    scene.need_live("postgres")
    limit = seconds_of(longer_than)
    sessions = _whole(scene.sources.postgres.sessions())
    active = sessions[(sessions["state"] == "active") & (sessions["query_seconds"] > limit)]
    rows = active.sort_values("query_seconds", ascending=False)
    shown = ["pid", "application_name", "query_seconds", "wait_event_type", "query"]
    return Finding(
        status=Status.WARNING if len(rows) else Status.OK,
        template=(
            "{count} queries run for more than {limit:seconds}; the longest for {longest:seconds}."
            if len(rows)
            else "No query runs for more than {limit:seconds}."
        ),
        facts={
            "count": len(rows),
            "limit": limit,
            "longest": float(rows["query_seconds"].iloc[0]) if len(rows) else None,
        },
        measured=float(len(rows)),
        unit="count",
        source="postgres",
        query="pg_stat_activity where state = 'active'",
        rows=_renamed(rows[shown]).head(5) if len(rows) else None,
    )


def full_scans(scene: Scene, *, above_rows: float) -> Finding:
    """Is a table read from end to end again and again?

    Rows per second that all scans of one table read, with an index or without, from two readings of its
    statistics. `above_rows` is rows per second: a large table that is read whole for each question wants a
    better index.
    """
    scene.need_live("postgres")
    tables = scene.sources.postgres.table_activity()
    if tables.empty:
        raise NoDataError("the server counts no tables", system="postgres")
    rows = tables.sort_values("scanned_per_second", ascending=False)
    scanned, scans = (float(rows[name].iloc[0]) for name in ("scanned_per_second", "scans_per_second"))
    status = breach(scanned, above=above_rows, status=Status.CRITICAL)
    return Finding(
        status=status,
        template=(
            "{scans:rate} scans of {table} read {each:number} rows each, {scanned:number} in a second; it "
            "has {rows:number} rows, and {limit:number} in a second would be much."
            if status is not Status.OK
            else "No table is read at more than {limit:number} rows in a second; "
            "most {table}: {scanned:number}."
        ),
        facts={
            "scanned": scanned,
            "scans": scans,
            "each": scanned / scans if scans else None,
            "table": str(rows["table"].iloc[0]),
            "rows": float(rows["rows"].iloc[0]),
            "limit": above_rows,
        },
        measured=scanned,
        limit=above_rows,
        unit="per second",
        source="postgres",
        query="pg_stat_user_tables, twice",
        rows=_renamed(rows).head(5) if status is not Status.OK else None,
    )


def dead_rows(scene: Scene, *, above: float, least_rows: float = 10_000) -> Finding:
    """Are tables full of dead rows?

    Dead rows over all rows, of tables with at least `least_rows`: vacuum is late, or a long transaction keeps
    it from its work. `above` is a ratio 0–1.
    """
    scene.need_live("postgres")
    tables = scene.sources.postgres.table_activity()
    if tables.empty:
        raise NoDataError("the server counts no tables", system="postgres")
    every = tables["rows"] + tables["dead_rows"]
    large = tables.assign(share=tables["dead_rows"] / every.where(every > 0))[every >= least_rows]
    if large.empty:
        return Finding(
            status=Status.OK,
            template="No table has {least:number} rows or more.",
            facts={"least": least_rows},
            source="postgres",
            query="pg_stat_user_tables",
        )
    rows = large.sort_values("share", ascending=False)
    worst = float(rows["share"].iloc[0])
    return Finding(
        status=breach(worst, above=above, status=Status.WARNING),
        template="{worst:percent} of the rows of {table} are dead; the limit is {limit:percent}.",
        facts={"worst": worst, "table": str(rows["table"].iloc[0]), "limit": above},
        measured=worst,
        limit=above,
        unit="ratio",
        source="postgres",
        query="pg_stat_user_tables",
    )


def database_answers(scene: Scene) -> Finding:
    """Does the database answer a question of ours?

    A session of our own, and how many others there are. One that is refused because none is left is no
    answer.
    """
    scene.need_live("postgres")
    connections = scene.sources.postgres.connections()
    if connections.refused:
        return Finding(
            status=Status.CRITICAL,
            template="It refuses us: “{text}”",
            facts={"text": connections.refused},
            source="postgres",
            query="connect",
        )
    return Finding(
        status=Status.OK,
        template="It answers; {used} sessions of {most} are open.",
        facts={"used": connections.used, "most": connections.max_connections},
        source="postgres",
        query="connect",
    )
