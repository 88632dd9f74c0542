"""Select the relevant entries of a container's log while it is read, in bounded memory.

Most lines of a log are routine: at 25 requests a second, the newest 2000 lines are less than a minute. So
ordinary requests and lines of level info are counted but not kept. Of the other entries, the first and the
last ones are kept: the first ones show when the problem began. Those in the middle are counted by template.
"""

import json
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from runbooklib.redact.private_keys import KeyLines
from runbooklib.redact.redactor import tag
from runbooklib.sources.docker.log_frames import STAMP, STREAMS
from runbooklib.sources.docker.log_templates import Templates
from runbooklib.sources.logs.exceptions import Tracebacks
from runbooklib.sources.logs.json_lines import object_of
from runbooklib.sources.logs.records import Line, is_quiet, plain

FIRST_ENTRIES, FIRST_BYTES = 500, 250_000
LAST_ENTRIES, LAST_BYTES = 1_500, 750_000
# Of a longer line, only the beginning and the end are kept.
MAX_LINE_CHARACTERS = 64_000
_END_CHARACTERS = 16_000
# Of a longer text in a JSON line that is too long, so that the line remains JSON.
_MAX_VALUE_CHARACTERS = 4_000
# Docker writes a longer line as several entries of 16 KB; they are joined up to this size.
MAX_JOINED_BYTES = 1_000_000
# Secrets are redacted in a longer part before the cut: half a secret would not be recognised.
_MAX_SECRET_CHARACTERS = 1_000
# Docker gives all parts of a line the same time, podman the time at which each was read.
_MAX_BETWEEN_PARTS = timedelta(milliseconds=50)
MAX_ENTRY_BYTES = 50_000
_STAMPED = re.compile(r"(\d{4}-\d\d-\d\dT\S+Z) (stdout|stderr) ?(.*)", re.DOTALL)


@dataclass(slots=True)
class _Part:
    """The first entries of the excerpt, or the last ones. `size` is in bytes."""

    entries: deque["_Entry"] = field(default_factory=deque)
    size: int = 0

    def begin(self, line: str) -> "_Entry":
        entry = _Entry(self)
        self.entries.append(entry)
        entry.add(line)
        return entry

    def drop_oldest(self) -> "_Entry":
        dropped = self.entries.popleft()
        dropped.part = None
        self.size -= dropped.size
        return dropped


@dataclass(slots=True)
class _Entry:
    """One event: a line, or all lines of a traceback. It is not kept if `part` is None."""

    part: _Part | None
    lines: list[str] = field(default_factory=list)
    size: int = 0

    def add(self, line: str) -> None:
        if self.part is not None:
            self.lines.append(line)
            size = len(json.dumps(line))
            self.size += size
            self.part.size += size


@dataclass(slots=True)
class _PartialLine:
    """A line without its end. Docker's driver `local` gives no line end to a long line at all."""

    at: str
    last_at: str
    text: bytes = b""
    parts: int = 0
    longest: int = 0
    last_size: int = 0

    def add(self, at: str, text: bytes) -> None:
        self.text = (self.text + text)[:MAX_JOINED_BYTES]
        self.parts, self.last_at, self.last_size = self.parts + 1, at or self.last_at, len(text)
        self.longest = max(self.longest, len(text))

    def is_continued_at(self, at: str) -> bool:
        """Whether a frame of this time continues the line; a frame without a time always does."""
        if not at or at == self.last_at:
            return True
        if self.last_size < self.longest or (self.parts > 1 and self.last_at == self.at):
            return False
        return abs(moment_of_line(at) - moment_of_line(self.last_at)) <= _MAX_BETWEEN_PARTS


class Excerpt:
    """The first and the last relevant entries of a log that arrives as frames, and templates of the others.

    Each frame begins with its time. A line longer than 16 KB comes in several frames without a line end, each
    with a time. `quiet_lines` counts the routine lines; `cut_at` is the time (text) of the first line of
    which only a part is kept, None if there is none. `redact` removes secrets from a line before it is cut.
    """

    def __init__(
        self, since: datetime, until: datetime, *, redact: Callable[[str], str] = lambda text: text
    ) -> None:
        self.quiet_lines = 0
        self.cut_at: str | None = None
        self._since, self._until, self._redact = since, until, redact
        self._skipped_after: datetime | None = None
        self._resumed_at: datetime | None = None
        self._first, self._last = _Part(), _Part()
        self.templates = Templates()
        self._latest = ""
        self._tracebacks, self._keys = Tracebacks(), KeyLines()
        self._open: dict[str, _Entry] = {}
        self._dropped: dict[str, _Entry] = {}  # of these, entries that are open
        # A quiet line is kept after all if the next line is a frame of a stack trace.
        self._quiet: dict[str, str] = {}
        self._partial: dict[str, _PartialLine] = {}

    def add(self, stream: str, payload: bytes) -> None:
        """Add one frame. Raises ValueError if it has no time and continues no other frame."""
        stamp = STAMP.match(payload)
        at, text = (stamp[1].decode(), payload[stamp.end() :]) if stamp else ("", payload)
        if at and stream not in self._partial and text.endswith(b"\n"):
            self._take(at, stream, text)
            return
        partial = self._partial.pop(stream, None)
        if partial is not None and not partial.is_continued_at(at):
            self._take(partial.at, stream, partial.text)
            partial = None
        if partial is None:
            if not at:
                raise ValueError("a log entry without a time")
            partial = _PartialLine(at, at)
        partial.add(at, text)
        if text.endswith(b"\n"):
            self._take(partial.at, stream, partial.text)
        else:
            self._partial[stream] = partial

    def finish(self) -> None:
        """End of the frames: a last line without a line end is added too."""
        for stream, partial in self._partial.items():
            self._take(partial.at, stream, partial.text)
        self._partial.clear()
        for stream in STREAMS.values():
            self._close(stream)

    def skip(self) -> None:
        """Mark a gap: the next frame does not directly follow the last one."""
        self.finish()
        self._skipped_after = self.latest_at or self._since
        self._tracebacks, self._keys = Tracebacks(), KeyLines()
        self._quiet.clear()

    @property
    def lines(self) -> list[str]:
        """The lines as "time stream text", in the order of the first lines of their entries."""
        return [line for part in (self._first, self._last) for entry in part.entries for line in entry.lines]

    @property
    def gap(self) -> tuple[datetime, datetime] | None:
        """From when to when entries are left out; None if all relevant entries are kept or counted."""
        gaps = []
        if not self.templates.is_complete:
            before, after = self._first.entries[-1], self._last.entries[0]
            gaps.append((moment_of_line(before.lines[0]), moment_of_line(after.lines[0])))
        if self._skipped_after and self._resumed_at:
            gaps.append((self._skipped_after, self._resumed_at))
        return (min(start for start, _ in gaps), max(end for _, end in gaps)) if gaps else None

    @property
    def latest_at(self) -> datetime | None:
        """The time of the last line that was read, whether it is kept or not."""
        return moment_of_line(self._latest) if self._latest else None

    def _take(self, at: str, stream: str, content: bytes) -> None:
        line = content.decode("utf-8", "backslashreplace").rstrip("\r\n")
        text = plain(line)
        self._latest = at
        if self._skipped_after and not self._resumed_at:
            self._resumed_at = self.latest_at
        prefix = f"{at} {stream} "
        if self._keys.is_secret(stream, text):
            if stream in self._open and stream not in self._quiet:
                self._continue(stream, prefix + (tag(text) if text.strip() else text))
        elif self._tracebacks.continues(stream, text):
            self._continue(stream, prefix + self._bounded(at, line))
        elif not text.strip():
            return
        elif not self._tracebacks.is_open(stream) and is_quiet(text) and len(content) < MAX_JOINED_BYTES:
            self.quiet_lines += 1
            self._quiet[stream] = prefix + line[:MAX_LINE_CHARACTERS]
        else:
            self._quiet.pop(stream, None)
            self._begin(stream, prefix + self._bounded(at, line))

    def _bounded(self, at: str, line: str) -> str:
        """The line, or the beginning and the end of one that is too long, without half secrets."""
        if len(line) <= MAX_LINE_CHARACTERS:
            return line
        if self.cut_at is None and self._since <= moment_of_line(at) <= self._until:
            self.cut_at = at
        values = object_of(line)
        if values is not None:
            short = json.dumps(self._with_short_values(values), ensure_ascii=False)
            if len(short) <= MAX_LINE_CHARACTERS:
                return short
        return self._ends_of(line, MAX_LINE_CHARACTERS - _END_CHARACTERS, _END_CHARACTERS)

    def _with_short_values(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self._with_short_values(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self._with_short_values(item) for item in value]
        if isinstance(value, str) and len(value) > _MAX_VALUE_CHARACTERS:
            return self._ends_of(value, _MAX_VALUE_CHARACTERS // 2, _MAX_VALUE_CHARACTERS // 2)
        return value

    def _ends_of(self, text: str, first: int, last: int) -> str:
        """The text's first and last characters, of which both ends at the cut may not be half a secret."""
        margin = _MAX_SECRET_CHARACTERS
        start = self._redact(text[: first + margin])[:-margin]
        end = self._redact(text[-last - margin :])[margin:]
        return f"{start} …[{len(text) - first - last:,} characters left out]… {end}"

    def _continue(self, stream: str, line: str) -> None:
        if stream in self._quiet:
            self.quiet_lines -= 1
            self._begin(stream, self._quiet.pop(stream))
        entry = self._open.setdefault(stream, _Entry(None))
        if entry.part is not None and entry.size > MAX_ENTRY_BYTES:
            self._begin(stream, line)
        else:
            entry.add(line)

    def _begin(self, stream: str, line: str) -> None:
        self._close(stream)
        if not self._since <= moment_of_line(line) <= self._until:
            self._open[stream] = _Entry(None)
            return
        first, last = self._first, self._last
        is_full = len(first.entries) >= FIRST_ENTRIES or first.size >= FIRST_BYTES
        self._open[stream] = (last if is_full else first).begin(line)
        while len(last.entries) > LAST_ENTRIES or (last.size > LAST_BYTES and len(last.entries) > 1):
            self._count(last.drop_oldest())

    def _count(self, dropped: _Entry) -> None:
        """Count an entry by its template; an entry to which lines are still added, after the last of them."""
        stream = next((name for name, entry in self._open.items() if entry is dropped), None)
        if stream is None:
            self.templates.add(dropped.lines)
        else:
            dropped.part, self._dropped[stream] = _Part(), dropped

    def _close(self, stream: str) -> None:
        if stream in self._dropped:
            self.templates.add(self._dropped.pop(stream).lines)


def lines_of(lines: Iterable[str]) -> Iterator[Line]:
    """The lines of an excerpt. A line that lost its time by redaction gets that of the line before."""
    at, stream = datetime.fromtimestamp(0, UTC), "stdout"
    for line in lines:
        match = _STAMPED.fullmatch(line)
        if match:
            at, stream = moment_of_line(line), match[2]
        yield Line(at, stream, match[3] if match else line)


def moment_of_line(line: str) -> datetime:
    """The time at the start of a line of an excerpt, aware UTC."""
    return datetime.fromisoformat(line.partition(" ")[0]).astimezone(UTC)
