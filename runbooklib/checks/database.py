"""PostgreSQL: are there connections left, who holds them, who waits for whom?"""

import pandas as pd

from runbooklib import promql
from runbooklib.errors import NoDataError, RefusedError
from runbooklib.findings import Finding, Status, breach
from runbooklib.scene import Scene
from runbooklib.series import began, latest
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
            "root": int(worst["root_pid"]),
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


def database_errors(scene: Scene, *, above: float = 0.0) -> Finding:
    """Do the service's own queries fail?

    db_query_errors_total per second by error type; `above` is per second.
    """
    errors = promql.selector("db_query_errors_total", scene.labels)
    query = promql.sum_of(promql.rate(errors, scene.timing.rate_window), by=("error_type",))
    ask = scene.sources.prometheus
    frame = ask.range(query, scene.window, by="error_type")
    if not len(frame.columns):
        _need_queries(scene)
        return Finding(
            status=Status.OK,
            template="No query has failed since the service started.",
            source="prometheus",
            query=query,
        )
    total = frame.sum(axis=1, min_count=1)
    fresh = 2 * scene.window.step_seconds + seconds_of(scene.timing.rate_window)
    now = latest(total, within_seconds=fresh)
    worst = str(frame.iloc[-1].fillna(0.0).idxmax())
    return Finding(
        status=breach(now, above=above, status=Status.WARNING),
        template="{now:rate} queries fail, most by {worst}." if now > above else "No query fails.",
        facts={"now": now, "worst": worst},
        measured=now,
        limit=above,
        unit="per second",
        since=began(total, above=above, bridging_seconds=fresh),
        source="prometheus",
        query=query,
    )


def _need_queries(scene: Scene) -> None:
    """A counter with labels has no series before its first error: then the queries must be seen to run."""
    ran = promql.selector("db_query_duration_seconds_count", scene.labels)
    if scene.sources.prometheus.instant(promql.sum_of(ran), scene.window.end).empty:
        raise NoDataError("the service exports no metrics of its queries", system="prometheus")
