"""Read the log of a container from its beginning, and from its end too if it is too large."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pandas as pd

from runbooklib.model.window import moment_of
from runbooklib.sources.docker.engine import Engine, PartialResponse, moment_or_none
from runbooklib.sources.docker.events import with_times
from runbooklib.sources.docker.log_frames import demultiplexed
from runbooklib.sources.docker.log_reach import lost_before, refuse_unreadable
from runbooklib.sources.docker.log_stream import Excerpt, lines_of, moment_of_line
from runbooklib.sources.logs.records import COLUMNS, Record, parse

MAX_LOG_BYTES_READ = 64_000_000
# Of a larger log, the newest lines: as many as fit into about half of these bytes.
TAIL_LINES, MAX_TAIL_BYTES = 20_000, 16_000_000


@dataclass(frozen=True, slots=True)
class LogLines:
    """The relevant log entries of a container in a window; `frame` has the columns of `logs.Record`.

    An entry that was written very often is one row: `at` is its first time, `last` its last one, and `times`
    their number. Of entries that differ only in numbers and ids, that row is the first one.
    Ordinary requests and lines of level info or below are not in it; `quiet_lines` counts them.
    `gap`: from when to when (aware UTC) entries are left out; None if none are. `ends_early_at`: up to when
    the log was read; None if it was read to the end of the window. `reads_since`: when this container was
    created, since the log of a container that it replaced is lost. If lines of this one may be deleted
    (rotation), `lost_before` and `reads_since` are the time of the first line that can be read.
    `cut_at`: when the first line was written that is too long to be kept whole; None if there is none.
    """

    frame: pd.DataFrame
    reads_since: datetime
    quiet_lines: int
    gap: tuple[datetime, datetime] | None
    ends_early_at: datetime | None
    lost_before: datetime | None = None
    cut_at: datetime | None = None

    @property
    def is_cut(self) -> bool:
        """Whether entries between the first and the last ones are left out."""
        return self.gap is not None


def read_log(engine: Engine, name: str, excerpt: Excerpt, span: tuple[datetime, datetime]) -> dict[str, Any]:
    """The relevant entries of the log from its beginning; of a log that is too large, from its end too."""
    container = engine.inspect(name)
    refuse_unreadable(container, engine.url)
    sizes: list[tuple[int, int, bool]] = []

    def read(since: datetime, max_bytes: int, **more: str) -> PartialResponse:
        bounds = {"since": f"{since.timestamp():.6f}", "until": f"{span[1].timestamp():.6f}"}
        parameters = {"stdout": "1", "stderr": "1", "timestamps": "1", **bounds, **more}
        part = PartialResponse(engine, f"/containers/{container['Id']}/logs", parameters, max_bytes=max_bytes)
        size, count = 0, 0
        for stream, payload in demultiplexed(part, is_tty=bool(container["Config"]["Tty"])):
            excerpt.add(stream, payload)
            size, count = size + len(payload), count + 1
        excerpt.finish()
        sizes.append((size, count, part.is_whole))
        return part

    part = read(span[0], MAX_LOG_BYTES_READ)
    ends_early_at = None if part.is_whole else excerpt.latest_at or span[0]
    if ends_early_at and part.has_more:
        excerpt.skip()
        line_bytes = sizes[0][0] // max(sizes[0][1], 1)
        lines = min(TAIL_LINES, MAX_TAIL_BYTES // (2 * max(line_bytes, 1)))
        tail = read(ends_early_at + timedelta(microseconds=1), MAX_TAIL_BYTES, tail=str(lines))
        if excerpt.latest_at != ends_early_at:
            ends_early_at = None if tail.is_whole else excerpt.latest_at
    lost = lost_before(engine, container, span[0], sizes)
    return {
        # Each line is redacted by itself: a redaction must not run from one entry into the next.
        "lines": excerpt.lines,
        "repeated": excerpt.templates.examples(),
        "gap": [moment.isoformat() for moment in excerpt.gap] if excerpt.gap else None,
        "quiet_lines": excerpt.quiet_lines,
        "ends_early_at": ends_early_at.isoformat() if ends_early_at else None,
        "created_at": container["Created"],
        "lost_before": lost.isoformat() if lost else None,
        "cut_at": moment_of_line(excerpt.cut_at).isoformat() if excerpt.cut_at else None,
    }


def log_lines(answer: dict[str, Any]) -> LogLines:
    """The recorded answer as LogLines. A recording of an earlier version holds the lines as a single text."""
    earlier = answer.get("text", "")
    lines = answer["lines"] if "lines" in answer else earlier.split("\n") if earlier else []
    records = parse(lines_of(lines))
    rows = [[*_values(record), 1, record.at] for record in records]
    for repeated in answer.get("repeated", ()):
        counted = [repeated["times"], moment_of(repeated["last"])]
        rows += [[*_values(record), *counted] for record in parse(lines_of(repeated["lines"]))[:1]]
    frame = pd.DataFrame(rows, columns=[*COLUMNS, "times", "last"])
    reads_since = moment_of(answer["created_at"])
    if answer.get("is_cut") and records:
        # An old recording holds only the newest lines, including routine ones: the log begins with them.
        reads_since = max(reads_since, records[0].at)
    lost = moment_or_none(answer.get("lost_before"))
    reads_since = max(reads_since, lost) if lost else reads_since
    gap = answer.get("gap")
    return LogLines(
        frame=_with_types(frame),
        reads_since=reads_since,
        quiet_lines=answer.get("quiet_lines", 0),
        gap=(moment_of(gap[0]), moment_of(gap[1])) if gap else None,
        ends_early_at=moment_or_none(answer.get("ends_early_at")),
        lost_before=lost,
        cut_at=moment_or_none(answer.get("cut_at")),
    )


def _values(record: Record) -> list[Any]:
    return [getattr(record, column) for column in COLUMNS]


def _with_types(frame: pd.DataFrame) -> pd.DataFrame:
    types = {"status_code": "Int64", "execution_time_ms": "float64", "times": "int64"}
    timed = with_times(frame.astype(types))
    last = pd.to_datetime(timed["last"], utc=True).astype(timed["at"].dtype)
    return timed.assign(last=last).sort_values("at", kind="stable", ignore_index=True)
