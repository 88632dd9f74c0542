"""The container's log: does it contain lines that match, and new exceptions?"""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pandas as pd

from runbooklib.checks.registry import check, log_pattern
from runbooklib.errors import Reason
from runbooklib.model.findings import Finding, Status, unknown
from runbooklib.sources.context import Context
from runbooklib.sources.docker.container_logs import LogLines
from runbooklib.sources.docker.log_templates import sees
from runbooklib.sources.logs.records import MAX_SHOWN_CHARACTERS, shortened

# The messages of SQLAlchemy's pool and of PostgreSQL when no connection is left.
POOL_EXHAUSTED = log_pattern(
    "POOL_EXHAUSTED",
    r"QueuePool limit of size|connection pool exhausted|too many clients already"
    r"|too many connections for role|remaining connection slots",
)
# The messages of HTTP clients and resolvers when the other side does not answer.
DEPENDENCY_FAILED = log_pattern(
    "DEPENDENCY_FAILED",
    r"(?i)(?:provider|upstream|api\.deepseek)[^\n]{0,200}"
    r"(?:timed? ?out|refused|unreachable|resol|unavailable|reset)"
    r"|ConnectTimeout|ConnectError|NXDOMAIN|SERVFAIL",
)
# The process cannot start: invalid settings, a port in use, a missing module.
STARTUP_FAILED = log_pattern(
    "STARTUP_FAILED",
    r"invalid value for setting|ValidationError|ModuleNotFoundError|ImportError|[Aa]ddress already in use"
    r"|Application startup failed|KeyError: '[A-Z_]+'",
)
# The database cannot be reached at all; a lack of connections is in POOL_EXHAUSTED.
DATABASE_UNREACHABLE = log_pattern(
    "DATABASE_UNREACHABLE",
    r"connection to server at [^\n]{0,200} failed(?![^\n]{0,200}(?:too many c|remaining connection slots))"
    r"|could not connect to server|server closed the connection"
    r"|terminating connection due to|the database system is (?:starting up|shutting down|in recovery)",
)
# The sandbox: an execution killed for lack of memory, no free worker, an execution over its time limit.
SANDBOX_KILLED = log_pattern(
    "SANDBOX_KILLED", r"ended with code (?:-9|137)\b|OOMKilled|MemoryError|Cannot allocate memory"
)
SANDBOX_FULL = log_pattern("SANDBOX_FULL", r"no sandbox worker free|sandbox pool (?:is )?(?:exhausted|empty)")
SANDBOX_TIMEOUT = log_pattern("SANDBOX_TIMEOUT", r"execution took more than|execution timed out")
# The AI provider refuses the request (key, balance, rate), or does not answer in time.
PROVIDER_REFUSES = log_pattern(
    "PROVIDER_REFUSES",
    r"(?i)(?:provider|deepseek|status)[^\n]{0,100}\b(?:401|402|403|429)\b|rate limit|insufficient balance",
)
PROVIDER_TIMEOUT = log_pattern(
    "PROVIDER_TIMEOUT", r"(?i)provider[^\n]{0,200}(?:no answer within|timed? ?out)|ReadTimeout"
)
TOO_MANY_FILES = log_pattern("TOO_MANY_FILES", r"Too many open files|EMFILE")
_LAST_PART = re.compile(r"[^.\\:]+$")
_SOURCE = "docker logs"
_CHARACTERS_BEFORE_MATCH = 60


@dataclass(frozen=True, slots=True)
class _Sentences:
    """The sentences of one question about the log, by how much of the log was read."""

    complete: str
    incomplete: str
    start_unknown: str
    nothing: str
    too_few: str = ""


_MATCHES = _Sentences(
    complete="Matching log entries: {count}, first at {first:time}: “{line}”",
    incomplete="Matching log entries: at least {count}, first at {first:time}: “{line}”",
    start_unknown=(
        "Matching log entries: at least {count}, the earliest that can be read at {first:time}: “{line}”"
    ),
    nothing="No matching log entry since {since:time} (routine lines not searched: {quiet}).",
    too_few=(
        "Matching log entries since {since:time}: {count}; the limit is {least} (routine lines not searched:"
        " {quiet})."
    ),
)
_EXCEPTIONS = _Sentences(
    complete="{exception} was logged {count} times, first at {first:time}: “{line}”",
    incomplete="{exception} was logged at least {count} times, first at {first:time}: “{line}”",
    start_unknown=(
        "{exception} was logged at least {count} times, the earliest that can be read at {first:time}:"
        " “{line}”"
    ),
    nothing="No exception in the log since {since:time} (routine lines not searched: {quiet}).",
)


@check
def log_lines(context: Context, *, matching: str, about: str, least: int = 1) -> Finding:
    """Does the log contain entries about {about}?

    Log entries of the current container since the lead before the symptom that match the regular expression
    `matching`: lines and tracebacks, but not ordinary requests and lines of level info. `about` names their
    subject for the question, `least` is the number of entries that counts as a finding. The log of a
    replaced container is lost: if the current one is younger than the symptom, no match proves nothing, and
    the answer is UNKNOWN.
    """
    logs = _logs(context)
    pattern = re.compile(matching)
    texts = zip(logs.frame["text"], logs.frame["line"], strict=True)
    entries = logs.frame.loc[[bool(pattern.search(text) or pattern.search(line)) for text, line in texts]]
    count = int(entries["times"].sum())
    if count < least:
        return _too_few(context, logs, _MATCHES, count=count, least=least, query=matching)
    first = entries.iloc[0]
    return Finding(
        status=Status.WARNING,
        template=_template(context, logs, first["at"], _MATCHES),
        facts={
            "about": about,
            "count": count,
            "first": first["at"].to_pydatetime(),
            "line": _quoted(first["text"], first["line"], pattern),
        },
        measured=float(count),
        unit="count",
        since=_since(context, logs, first["at"]),
        source=_SOURCE,
        query=matching,
        rows=_examples(entries, pattern),
    )


@check
def new_exceptions(context: Context) -> Finding:
    """Does the log contain exceptions?

    Exceptions of the current container by type, most frequent first: from stack traces, from JSON lines that
    contain one, and from lines that begin with the name of one. UNKNOWN if there is none, but an entry of
    level error, or an entry with a sign of an exception in an unknown form.
    """
    logs = _logs(context)
    entries = _with_full_names(logs.frame[logs.frame["exception"] != ""])
    if not len(entries):
        errors = logs.frame[logs.frame["is_unnamed_error"]]
        if len(errors):
            return _errors_without_exception(errors)
        return _too_few(context, logs, _EXCEPTIONS, count=0, least=1, query="Traceback")
    rows = _by_exception(entries)
    name, first = str(rows["exception"].iloc[0]), rows["first"].iloc[0]
    return Finding(
        status=Status.WARNING,
        template=_template(context, logs, first, _EXCEPTIONS),
        facts={
            "exception": name,
            "count": int(rows["times"].iloc[0]),
            "first": first.to_pydatetime(),
            "line": str(entries[entries["exception"] == name]["line"].iloc[0]),
        },
        measured=float(rows["times"].iloc[0]),
        unit="count",
        since=_since(context, logs, first),
        source=_SOURCE,
        query="Traceback",
        rows=rows.head(5),
    )


def _errors_without_exception(errors: pd.DataFrame) -> Finding:
    first = errors.iloc[0]
    return unknown(
        Reason.NO_DATA,
        "The log has entries of level error, or with a sign of an exception, in which no exception can be"
        " named: {count}, first at {first:time}: “{line}”",
        facts={
            "count": int(errors["times"].sum()),
            "first": first["at"].to_pydatetime(),
            "line": str(first["line"]),
        },
        source=_SOURCE,
        query="Traceback",
        rows=_examples(errors, re.compile("")),
    )


def _logs(context: Context) -> LogLines:
    return context.sources.docker.logs(context.container, context.suspect_since, context.window.end)


def _starts_after_onset(context: Context, logs: LogLines) -> bool:
    return context.onset is not None and logs.reads_since > context.onset


def _is_rotated(context: Context, logs: LogLines) -> bool:
    return logs.lost_before is not None and logs.lost_before > context.suspect_since


def _since(context: Context, logs: LogLines, first: pd.Timestamp) -> datetime | None:
    """When the first entry was written; None if an earlier one may be missing."""
    is_after_gap = logs.gap is not None and first > logs.gap[0]
    is_late = _starts_after_onset(context, logs) or _is_rotated(context, logs)
    return None if is_after_gap or is_late else first.to_pydatetime()


def _template(context: Context, logs: LogLines, first: pd.Timestamp, sentences: _Sentences) -> str:
    """The sentence about entries that match, which claims no more than was read."""
    if _since(context, logs, first) is None:
        return sentences.start_unknown
    return sentences.incomplete if _unread(context, logs) else sentences.complete


def _unread(context: Context, logs: LogLines) -> tuple[str, dict[str, Any]] | None:
    """Which part of the log was not read, as a template and its facts; None if all of it was read."""
    if _is_rotated(context, logs):
        return (
            "The log that can be read begins at {since:time}; its earlier lines may be deleted (rotation).",
            {"since": logs.reads_since},
        )
    if _starts_after_onset(context, logs):
        return (
            "The log begins at {since:time}, when the container was created, after the symptom began.",
            {"since": logs.reads_since},
        )
    if logs.ends_early_at is not None:
        return "The log was read only up to {until:time}.", {"until": logs.ends_early_at}
    if logs.gap is not None:
        return (
            "The log was read only in part: the entries between {after:time} and {before:time} are missing.",
            {"after": logs.gap[0], "before": logs.gap[1]},
        )
    if logs.cut_at is not None:
        return (
            "The log was read only in part: the entry at {at:time} is too long, and its middle is left out.",
            {"at": logs.cut_at},
        )
    return None


def _counted_together(logs: LogLines, pattern: str) -> tuple[str, dict[str, Any]] | None:
    """The same, if entries that differ only in numbers were counted together and the pattern asks for one."""
    repeated = int(logs.frame.loc[logs.frame["times"] > 1, "times"].sum())
    if not repeated or sees(pattern):
        return None
    return (
        "{count} entries that differ only in numbers were counted together: the number that the pattern asks"
        " for was searched in an example of them only.",
        {"count": repeated},
    )


def _too_few(
    context: Context, logs: LogLines, sentences: _Sentences, *, count: int, least: int, query: str
) -> Finding:
    """OK if the whole log was read, else UNKNOWN."""
    unread = _unread(context, logs) or _counted_together(logs, query)
    if unread is not None:
        template, facts = unread
        return unknown(Reason.NO_DATA, template, facts=facts, source=_SOURCE, query=query)
    return Finding(
        status=Status.OK,
        template=sentences.too_few if count else sentences.nothing,
        facts={
            "since": max(logs.reads_since, context.suspect_since),
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
    """The entry's short form if it matches, else the last line of its text that does."""
    if pattern.search(line):
        return line
    raw = next((part.strip() for part in reversed(text.splitlines()) if pattern.search(part)), "")
    match = pattern.search(raw) if raw else None
    if match is None:
        return line
    start = max(match.start() - _CHARACTERS_BEFORE_MATCH, 0) if len(raw) > MAX_SHOWN_CHARACTERS else 0
    return shortened(f"…{raw[start:]}" if start else raw)


def _examples(entries: pd.DataFrame, pattern: re.Pattern[str], max_rows: int = 5) -> pd.DataFrame:
    """times, first, line: one row for each kind of entry, most frequent first."""
    texts = zip(entries["text"], entries["line"], strict=True)
    lines = pd.Series([_quoted(text, line, pattern) for text, line in texts], index=entries.index)
    # A request id or a time makes each line unique, so entries are grouped without their digits.
    shape = lines.str.replace(r"[0-9a-f]{8,}|\d+", "#", regex=True)
    frame = pd.DataFrame({"first": entries["at"], "times": entries["times"], "shape": shape, "line": lines})
    rows = frame.groupby("shape", sort=False).agg(
        times=("times", "sum"), first=("first", "min"), line=("line", "first")
    )
    return rows.sort_values("times", ascending=False).head(max_rows).reset_index(drop=True)


def _with_full_names(entries: pd.DataFrame) -> pd.DataFrame:
    """The entries, in which a short name of an exception is replaced by its full name, if that is logged too.

    A JSON line says "TimeoutError" and the stack trace below it "sqlalchemy.exc.TimeoutError". A short name
    that belongs to several full names stays.
    """
    names = sorted(set(entries["exception"]))
    full: dict[str, list[str]] = {}
    for name in names:
        short = _LAST_PART.findall(name)
        if short and short[0] != name:
            full.setdefault(short[0], []).append(name)
    only = {short: longer[0] for short, longer in full.items() if len(longer) == 1 and short in names}
    return entries.assign(exception=entries["exception"].replace(only)) if only else entries


def _by_exception(entries: pd.DataFrame) -> pd.DataFrame:
    """exception, times, first. An exception that is logged both as JSON and as a traceback counts once."""
    times = entries.groupby(["exception", "kind"])["times"].sum().groupby("exception").max()
    first = entries.groupby("exception")["at"].min()
    rows = pd.DataFrame({"times": times, "first": first})
    return rows.sort_values(["times", "first"], ascending=[False, True]).reset_index()
