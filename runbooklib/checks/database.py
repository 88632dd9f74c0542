"""PostgreSQL: are connections left, who holds them, which session waits for which?"""

import pandas as pd

from runbooklib.checks.database_access import connections_of
from runbooklib.checks.registry import check
from runbooklib.errors import NoDataError, RefusedError
from runbooklib.model.findings import Fact, Finding, Status, breach
from runbooklib.model.window import seconds_of
from runbooklib.sources.context import Context


@check
def connection_usage(context: Context, *, above: float) -> Finding:
    """Are there database connections left?

    The highest of: all connections over the slots that are not reserved, and each role's connections over
    the role's own limit. `above` is a ratio 0–1. CRITICAL if the server refuses our own connection because
    no slot is left; UNKNOWN if only the limit of our own role is reached.
    """
    context.need_live("postgres")
    connections = connections_of(context)
    if connections.refused:
        return Finding(
            status=Status.CRITICAL,
            template="No connection is left. The server refused a new one: “{text}”",
            facts={"text": connections.refused},
            source="postgres",
            query="connect",
        )
    usage, role = connections.usage, connections.fullest_role
    template = "{usage:percent} of the server's connections are in use; the limit is {limit:percent}."
    if role:
        template = (
            "{usage:percent} of the connections of role “{role}” are in use; the limit is {limit:percent}."
        )
    return Finding(
        status=breach(usage, above=above, status=Status.CRITICAL),
        template=template,
        facts={"usage": usage, "role": role, "limit": above},
        measured=usage,
        limit=above,
        unit="ratio",
        source="postgres",
        query="pg_stat_activity by user, application and state",
        rows=_with_plain_names(connections.frame).head(8),
    )


@check
def idle_transactions(context: Context, *, older_than: str) -> Finding:
    """Does a transaction stay open without doing anything?

    Sessions in state "idle in transaction" for longer than the duration `older_than`: each holds a
    connection and its locks.
    """
    context.need_live("postgres")
    limit = seconds_of(older_than)
    sessions = _complete(context.sources.postgres.sessions())
    idle = sessions[sessions["state"].fillna("").str.startswith("idle in transaction")]
    old = idle[idle["state_seconds"] > limit].sort_values("state_seconds", ascending=False)
    template = "No session is idle in transaction for more than {limit:seconds}."
    if len(old):
        template = (
            "Sessions idle in transaction for more than {limit:seconds}: {count}; the longest for"
            " {longest:seconds}, application “{application}”."
        )
    facts: dict[str, Fact] = {
        "count": len(old),
        "limit": limit,
        "longest": float(old["state_seconds"].iloc[0]) if len(old) else None,
        "application": str(old["application_name"].iloc[0]) if len(old) else None,
    }
    shown = ["pid", "usename", "application_name", "state_seconds", "query"]
    return _listed(old[shown], template, facts, query="pg_stat_activity where state = 'idle in transaction'")


@check
def lock_waits(context: Context, *, longer_than: str) -> Finding:
    """Does a session wait for a lock that another session holds?

    Follows each chain of waiting sessions with pg_blocking_pids to the session at its root, which is
    usually idle in transaction.
    """
    context.need_live("postgres")
    limit = seconds_of(longer_than)
    chains = _complete(context.sources.postgres.lock_chains())
    waiting = chains[chains["waited_seconds"] > limit] if len(chains) else chains
    if not len(waiting):
        return Finding(
            status=Status.OK,
            template="No session waits for a lock for more than {limit:seconds}.",
            facts={"limit": limit},
            source="postgres",
            query="pg_blocking_pids",
        )
    longest = waiting.sort_values("waited_seconds", ascending=False).iloc[0]
    facts: dict[str, Fact] = {
        "count": len(waiting),
        "limit": limit,
        "root": str(int(longest["root_pid"])),  # a name, not a quantity: no thousands separator
        "application": str(longest["root_application"]),
        "state": str(longest["root_state"]),
        "seconds": None if pd.isna(longest["root_xact_seconds"]) else float(longest["root_xact_seconds"]),
    }
    shown = ["pid", "waited_seconds", "root_pid", "root_state", "root_application", "query"]
    return _listed(waiting[shown], _waits_template(facts), facts, query="pg_blocking_pids")


def _waits_template(facts: dict[str, Fact]) -> str:
    if facts["root"] == "0":
        return (
            "Sessions waiting for a lock for more than {limit:seconds}: {count}; a prepared transaction holds"
            " the lock."
        )
    if facts["seconds"] is None:
        return "Sessions waiting for a lock for more than {limit:seconds}: {count}; pid {root} blocks them."
    return (
        "Sessions waiting for a lock for more than {limit:seconds}: {count}; pid {root} (application"
        " “{application}”) blocks them, in state “{state}”, in a transaction of {seconds:seconds}."
    )


@check
def long_queries(context: Context, *, longer_than: str) -> Finding:
    """Does a query run for a long time?

    Sessions that are active with the same query for longer than the duration `longer_than`, longest first.
    """
    context.need_live("postgres")
    limit = seconds_of(longer_than)
    sessions = _complete(context.sources.postgres.sessions())
    active = sessions[(sessions["state"] == "active") & (sessions["query_seconds"] > limit)]
    rows = active.sort_values("query_seconds", ascending=False)
    template = "No query runs for more than {limit:seconds}."
    if len(rows):
        template = (
            "Queries running for more than {limit:seconds}: {count}; the longest for {longest:seconds}."
        )
    facts: dict[str, Fact] = {
        "count": len(rows),
        "limit": limit,
        "longest": float(rows["query_seconds"].iloc[0]) if len(rows) else None,
    }
    shown = ["pid", "application_name", "query_seconds", "wait_event_type", "query"]
    return _listed(rows[shown], template, facts, query="pg_stat_activity where state = 'active'")


def _listed(rows: pd.DataFrame, template: str, facts: dict[str, Fact], *, query: str) -> Finding:
    """WARNING with the first rows if there are any, else OK."""
    return Finding(
        status=Status.WARNING if len(rows) else Status.OK,
        template=template,
        facts=facts,
        measured=float(len(rows)),
        unit="count",
        source="postgres",
        query=query,
        rows=_with_plain_names(rows).head(5) if len(rows) else None,
    )


def _complete(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame. Raises RefusedError if our role cannot see other users' sessions: there may be more."""
    if frame.attrs.get("is_partial"):
        raise RefusedError(
            "the role cannot see the sessions of other users", system="postgres", hint="grant it pg_monitor"
        )
    return frame


def _with_plain_names(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with column names for readers: "user" instead of "usename", spaces instead of "_"."""
    return frame.rename(columns=lambda name: str(name).replace("usename", "user").replace("_", " "))


@check
def full_scans(context: Context, *, above_rows: float) -> Finding:
    """Is a large table scanned in full again and again?

    Rows per second that all scans of one table read, with or without an index, from two readings of its
    statistics. `above_rows` is rows per second: a large table that every query reads in full needs a better
    index.
    """
    context.need_live("postgres")
    tables = _tables(context).sort_values("scanned_per_second", ascending=False)
    scanned, scans = (float(tables[name].iloc[0]) for name in ("scanned_per_second", "scans_per_second"))
    status = breach(scanned, above=above_rows, status=Status.CRITICAL)
    template = (
        "No table is scanned at more than {limit:number} rows per second; the highest is {table}:"
        " {scanned:number} rows per second."
    )
    if status is not Status.OK:
        template = (
            "{table} ({rows:number} rows) is scanned at {scanned:number} rows per second: {scans:rate} scans"
            " of {each:number} rows each; the limit is {limit:number} rows per second."
        )
    return Finding(
        status=status,
        template=template,
        facts={
            "scanned": scanned,
            "scans": scans,
            "each": scanned / scans if scans else None,
            "table": str(tables["table"].iloc[0]),
            "rows": float(tables["rows"].iloc[0]),
            "limit": above_rows,
        },
        measured=scanned,
        limit=above_rows,
        unit="per second",
        source="postgres",
        query="pg_stat_user_tables, twice",
        rows=_with_plain_names(tables).head(5) if status is not Status.OK else None,
    )


@check
def dead_rows(context: Context, *, above: float, least_rows: float = 10_000) -> Finding:
    """Are tables full of dead rows?

    Dead rows over all rows, of tables with at least `least_rows` rows: vacuum is late, or a long transaction
    prevents it. `above` is a ratio 0–1.
    """
    context.need_live("postgres")
    tables = _tables(context)
    totals = tables["rows"] + tables["dead_rows"]
    large = tables.assign(share=tables["dead_rows"] / totals.where(totals > 0))[totals >= least_rows]
    if large.empty:
        return Finding(
            status=Status.OK,
            template="No table has {least:number} rows or more.",
            facts={"least": least_rows},
            source="postgres",
            query="pg_stat_user_tables",
        )
    worst = large.sort_values("share", ascending=False).iloc[0]
    share = float(worst["share"])
    return Finding(
        status=breach(share, above=above, status=Status.WARNING),
        template="{worst:percent} of the rows of {table} are dead; the limit is {limit:percent}.",
        facts={"worst": share, "table": str(worst["table"]), "limit": above},
        measured=share,
        limit=above,
        unit="ratio",
        source="postgres",
        query="pg_stat_user_tables",
    )


def _tables(context: Context) -> pd.DataFrame:
    """The activity of all tables, at least one. Raises NoDataError."""
    tables = context.sources.postgres.table_activity()
    if tables.empty:
        raise NoDataError("the server has statistics of no table", system="postgres")
    return tables
