"""What the service itself wrote."""

import re
from datetime import datetime
from typing import Any

import pandas as pd

from runbooklib.errors import Reason
from runbooklib.findings import Finding, Status, unknown
from runbooklib.logs import MOST_SHOWN_CHARACTERS, shortened
from runbooklib.scene import Scene
from runbooklib.sources.docker import LogLines

# What HelloAgents' libraries write when no connection is left (SQLAlchemy's pool, then PostgreSQL).
POOL_EXHAUSTED = (
    r"QueuePool limit of size|connection pool exhausted|too many clients already"
    r"|too many connections for role|remaining connection slots"
)
# What an HTTP client writes when the other side does not answer.
DEPENDENCY_FAILED = (
    r"(?i)(?:provider|upstream|api\.deepseek)[^\n]{0,200}"
    r"(?:timed? ?out|refused|unreachable|resol|unavailable|reset)"
    r"|ConnectTimeout|ConnectError|NXDOMAIN|SERVFAIL"
)
# A process that does not come up: unreadable settings, a taken port, a missing module.
STARTUP_FAILED = (
    r"invalid value for setting|ValidationError|ModuleNotFoundError|ImportError|[Aa]ddress already in use"
    r"|Application startup failed|KeyError: '[A-Z_]+'"
)
# What is written where the database cannot be reached at all.
DATABASE_UNREACHABLE = (
    r"connection to server at [^\n]{0,200} failed|could not connect to server|server closed the connection"
    r"|terminating connection due to|the database system is (?:starting up|shutting down|in recovery)"
)
# The sandbox: killed for want of memory, no worker left, ended at the time limit.
SANDBOX_KILLED = r"ended with code (?:-9|137)\b|OOMKilled|MemoryError|Cannot allocate memory"
SANDBOX_FULL = r"no sandbox worker free|sandbox pool (?:is )?(?:exhausted|empty)"
SANDBOX_TIMEOUT = r"execution took more than|execution timed out"
# The AI provider: it refuses us (key, balance, rate), or does not answer in time.
PROVIDER_REFUSES = (
    r"(?i)(?:provider|deepseek|status)[^\n]{0,100}\b(?:401|402|403|429)\b|rate limit|insufficient balance"
)
PROVIDER_TIMEOUT = r"(?i)provider[^\n]{0,200}(?:no answer within|timed? ?out)|ReadTimeout"
TOO_MANY_FILES = r"Too many open files|EMFILE"
_SOURCE = "docker logs"
_BEFORE_A_MATCH = 60


def log_lines(scene: Scene, *, matching: str, about: str, least: int = 1) -> Finding:
    """Does the log speak of {about}?

    Entries of the present container since the lead before the symptom that match the regular expression
    `matching`: lines and tracebacks, but not ordinary requests and lines of level info. `about` says in
    words what that is, `least` how many it takes. A replaced container took its log along: where the
    present one is younger than the symptom, finding nothing proves nothing.
    """
    logs = _logs(scene)
    pattern = re.compile(matching)
    frame = logs.frame
    matches = [
        bool(pattern.search(text) or pattern.search(line))
        for text, line in zip(frame["text"], frame["line"], strict=True)
    ]
    found = frame.loc[matches]
    if len(found) < least:
        return _too_few(scene, logs, count=len(found), least=least, query=matching)
    first = found.iloc[0]
    return Finding(
        status=Status.WARNING,
        template=_counted(scene, logs, first["at"], "log entries speak of {about}"),
        facts={
            "about": about,
            "count": len(found),
            "first": first["at"].to_pydatetime(),
            "line": _quoted(first["text"], first["line"], pattern),
        },
        measured=float(len(found)),
        unit="count",
        since=_since(scene, logs, first["at"]),
        source=_SOURCE,
        query=matching,
        rows=_examples(found, pattern),
    )


def new_exceptions(scene: Scene) -> Finding:
    """Does an exception turn up that was not there before?

    Exceptions of the present container by their type, most frequent first: from tracebacks, and from JSON
    lines that hold one.
    """
    logs = _logs(scene)
    raised = logs.frame[logs.frame["exception"] != ""]
    if not len(raised):
        return _too_few(scene, logs, count=0, least=1, query="Traceback")
    rows = _by_exception(raised)
    name, at = str(rows["exception"].iloc[0]), rows["first"].iloc[0]
    return Finding(
        status=Status.WARNING,
        template=_counted(scene, logs, at, "times {exception}"),
        facts={
            "exception": name,
            "count": int(rows["times"].iloc[0]),
            "first": at.to_pydatetime(),
            "line": str(raised[raised["exception"] == name]["line"].iloc[0]),
        },
        measured=float(rows["times"].iloc[0]),
        unit="count",
        since=_since(scene, logs, at),
        source=_SOURCE,
        query="Traceback",
        rows=rows.head(5),
    )


def _logs(scene: Scene) -> LogLines:
    return scene.sources.docker.logs(scene.container, scene.suspect_since, scene.window.end)


def _begins_late(scene: Scene, logs: LogLines) -> bool:
    return scene.onset is not None and logs.reads_since > scene.onset


def _since(scene: Scene, logs: LogLines, first: pd.Timestamp) -> datetime | None:
    """When it was first written; None where an earlier entry may be missing."""
    is_after_gap = logs.gap is not None and first > logs.gap[0]
    return None if is_after_gap or _begins_late(scene, logs) else first.to_pydatetime()


def _counted(scene: Scene, logs: LogLines, first: pd.Timestamp, what: str) -> str:
    """The template of what was found, which claims no more than was read."""
    count = "At least {count}" if _missing(scene, logs) else "{count}"
    when = "first" if _since(scene, logs, first) else "the earliest that can be read"
    return f"{count} {what}, {when} at {{first:time}}: “{{line}}”"


def _missing(scene: Scene, logs: LogLines) -> tuple[str, dict[str, Any]] | None:
    """What of the log was not read, as a template and its facts; None where it was read whole."""
    if _begins_late(scene, logs):
        return (
            "The log that can still be read begins at {since:time}, when the container was created, and that"
            " is after the symptom began.",
            {"since": logs.reads_since},
        )
    if logs.ends_early_at is not None:
        return "Reading the log stopped early: it was read up to {until:time}.", {"until": logs.ends_early_at}
    if logs.gap is not None:
        return (
            "Only the first and the last entries of the log were read: those between {after:time} and"
            " {before:time} are missing.",
            {"after": logs.gap[0], "before": logs.gap[1]},
        )
    return None


def _too_few(scene: Scene, logs: LogLines, *, count: int, least: int, query: str) -> Finding:
    missing = _missing(scene, logs)
    if missing is not None:
        template, facts = missing
        return unknown(Reason.NO_DATA, template, facts=facts, source=_SOURCE, query=query)
    told = "{count} log entries since {since:time} speak of it, fewer than {least}"
    return Finding(
        status=Status.OK,
        template=(told if count else "The log since {since:time} says nothing of it")
        + "; ordinary lines left out: {quiet}.",
        facts={
            "since": max(logs.reads_since, scene.suspect_since),
            "count": count,
            "least": least,
            "quiet": logs.quiet_lines,
        },
        measured=float(count),
        unit="count",
        source=_SOURCE,
        query=query,
    )


def _quoted(text: str, line: str, pattern: re.Pattern[str]) -> str:
    """The entry's short form where it matches, else the line of its text that does."""
    if pattern.search(line):
        return line
    raw = next((one.strip() for one in reversed(text.splitlines()) if pattern.search(one)), "")
    found = pattern.search(raw) if raw else None
    if found is None:
        return line
    start = max(found.start() - _BEFORE_A_MATCH, 0) if len(raw) > MOST_SHOWN_CHARACTERS else 0
    return shortened(f"…{raw[start:]}" if start else raw)


def _examples(found: pd.DataFrame, pattern: re.Pattern[str], most: int = 5) -> pd.DataFrame:
    lines = pd.Series(
        [_quoted(text, line, pattern) for text, line in zip(found["text"], found["line"], strict=True)],
        index=found.index,
    )
    # A request id or a time makes each line its own: count them without digits.
    shape = lines.str.replace(r"[0-9a-f]{8,}|\d+", "#", regex=True)
    grouped = pd.DataFrame({"first": found["at"], "shape": shape, "line": lines}).groupby("shape", sort=False)
    rows = grouped.agg(times=("line", "size"), first=("first", "min"), line=("line", "first"))
    return rows.sort_values("times", ascending=False).head(most).reset_index(drop=True)


def _by_exception(raised: pd.DataFrame) -> pd.DataFrame:
    """exception, times, first. Where the service writes both JSON and a traceback, it is counted once."""
    times = raised.groupby(["exception", "kind"]).size().groupby("exception").max()
    first = raised.groupby("exception")["at"].min()
    rows = pd.DataFrame({"times": times, "first": first})
    return rows.sort_values(["times", "first"], ascending=[False, True]).reset_index()
