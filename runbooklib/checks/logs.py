"""What the service itself wrote."""

import re
from datetime import datetime

import pandas as pd

from runbooklib.errors import Reason
from runbooklib.findings import Finding, Status, unknown
from runbooklib.scene import Scene

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


def log_lines(scene: Scene, *, matching: str, about: str, least: int = 1) -> Finding:
    """Does the log speak of {about}?

    Lines and tracebacks of the present container since the lead before the symptom that match the
    regular expression `matching`; `about` says in words what that is, `least` how many it takes. A
    replaced container took its log along: where the present one is younger than that, finding nothing
    proves nothing.
    """
    logs = scene.sources.docker.logs(scene.container, scene.suspect_since, scene.window.end)
    frame = logs.frame
    found = frame[frame["text"].str.contains(matching, regex=True)] if len(frame) else frame
    if len(found) < least:
        return _nothing(scene, logs.reads_since, is_cut=logs.is_cut, matching=matching)
    first = found.iloc[0]
    return Finding(
        status=Status.WARNING,
        template="{count} log entries speak of {about}, first at {first:time}: “{line}”",
        facts={
            "about": about,
            "count": len(found),
            "first": first["at"].to_pydatetime(),
            "line": _quoted(str(first["text"]), matching),
        },
        measured=float(len(found)),
        unit="count",
        # A tail that was cut does not show the first line that there was.
        since=None if logs.is_cut else first["at"].to_pydatetime(),
        source="docker logs",
        query=matching,
        rows=_examples(found, matching),
    )


def _nothing(scene: Scene, reads_since: datetime | None, *, is_cut: bool, matching: str) -> Finding:
    if is_cut or reads_since is None or (scene.onset and reads_since > scene.onset):
        return unknown(
            Reason.NO_DATA,
            "The log that can still be read begins at {since:time}, after it would have been written.",
            facts={"since": reads_since},
            source="docker logs",
            query=matching,
        )
    return Finding(
        status=Status.OK,
        template="The log since {since:time} says nothing of it.",
        facts={"since": max(reads_since, scene.suspect_since)},
        measured=0.0,
        unit="count",
        source="docker logs",
        query=matching,
    )


def _quoted(text: str, matching: str) -> str:
    """The line of the entry that matches, cut to a readable length."""
    lines = [line.strip() for line in text.splitlines() if re.search(matching, line)]
    line = lines[-1] if lines else text.strip()
    return line if len(line) <= 220 else f"{line[:219]}…"


def _examples(found: pd.DataFrame, matching: str, most: int = 5) -> pd.DataFrame:
    lines = found["text"].map(lambda text: _quoted(str(text), matching))
    # A request id or a time makes each line its own: count them without digits.
    shape = lines.str.replace(r"[0-9a-f]{8,}|\d+", "#", regex=True)
    grouped = pd.DataFrame({"first": found["at"], "shape": shape, "line": lines}).groupby("shape", sort=False)
    rows = grouped.agg(times=("line", "size"), first=("first", "min"), line=("line", "first"))
    return rows.sort_values("times", ascending=False).head(most).reset_index(drop=True)


def new_exceptions(scene: Scene) -> Finding:
    """Does an exception turn up that was not there before?

    Tracebacks of the present container by the type of their exception, most frequent first.
    """
    logs = scene.sources.docker.logs(scene.container, scene.suspect_since, scene.window.end)
    frame = logs.frame
    raised = frame[(frame["kind"] == "traceback") & (frame["exception"] != "")] if len(frame) else frame
    if not len(raised):
        return _nothing(scene, logs.reads_since, is_cut=logs.is_cut, matching="Traceback")
    counts = raised.groupby("exception", sort=False).agg(times=("text", "size"), first=("at", "min"))
    rows = counts.sort_values("times", ascending=False).reset_index()
    first = raised[raised["exception"] == rows["exception"].iloc[0]].iloc[0]
    return Finding(
        status=Status.WARNING,
        template="{exception}, times: {count}, first at {first:time}: “{line}”",
        facts={
            "exception": str(rows["exception"].iloc[0]),
            "count": int(rows["times"].iloc[0]),
            "first": rows["first"].iloc[0].to_pydatetime(),
            "line": str(first["text"]).strip().splitlines()[-1][:220],
        },
        measured=float(rows["times"].iloc[0]),
        unit="count",
        since=None if logs.is_cut else rows["first"].iloc[0].to_pydatetime(),
        source="docker logs",
        query="Traceback",
        rows=rows.head(5),
    )
