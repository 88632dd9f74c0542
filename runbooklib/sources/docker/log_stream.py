"""What matters of a container's log, picked out while it streams by, in bounded memory.

Most of a log says that all is well: at 25 requests a second the newest 2000 lines are less than a minute.
So ordinary requests and lines of level info are counted and not kept, and of the rest the first entries
stay as well as the last: the first show when it began.
"""

import json
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from runbooklib.sources.logs.exceptions import Tracebacks
from runbooklib.sources.logs.records import Line, is_quiet, plain

FIRST_ENTRIES, FIRST_BYTES = 500, 250_000
LAST_ENTRIES, LAST_BYTES = 1_500, 750_000
# A longer line is cut: patterns that look for secrets need time that grows with a line's length.
MAX_LINE_CHARACTERS = 16_000
# So much more is looked at for secrets first: half of one would not be known again.
_MAX_SECRET_CHARACTERS = 1_000
MAX_ENTRY_BYTES = 50_000
MAX_FRAME_BYTES = 1_000_000
_STREAMS = {1: "stdout", 2: "stderr"}
_FIRST_BYTES = (0, *_STREAMS)
_STAMPED = re.compile(r"(\d{4}-\d\d-\d\dT\S+Z) (stdout|stderr) ?(.*)", re.DOTALL)


@dataclass(slots=True)
class _Part:
    """The first entries, or the last ones."""

    entries: deque["_Entry"] = field(default_factory=deque)
    size: int = 0

    def begin(self, line: str) -> "_Entry":
        entry = _Entry(self)
        self.entries.append(entry)
        entry.add(line)
        return entry

    def drop_oldest(self) -> None:
        dropped = self.entries.popleft()
        dropped.part = None
        self.size -= dropped.size


@dataclass(slots=True)
class _Entry:
    """One event: a line, or all lines of a traceback. In no part, it is no longer kept."""

    part: _Part | None
    lines: list[str] = field(default_factory=list)
    size: int = 0

    def add(self, line: str) -> None:
        if self.part is not None:
            self.lines.append(line)
            size = len(json.dumps(line))
            self.size += size
            self.part.size += size


class Excerpt:
    """The first and the last entries that matter, of a stream of frames.

    Each frame begins with its time. A line longer than 16 KB comes in several frames, each with a time.
    `quiet_lines` counts what does not matter. `redact` takes secrets out of a line that will be cut.
    """

    def __init__(
        self, since: datetime, until: datetime, *, redact: Callable[[str], str] = lambda text: text
    ) -> None:
        self.quiet_lines = 0
        self._since, self._until, self._redact = since, until, redact
        self._skipped_after: datetime | None = None
        self._resumed_at: datetime | None = None
        self._first, self._last = _Part(), _Part()
        self._is_cut = False
        self._latest = ""
        self._tracebacks = Tracebacks()
        self._open: dict[str, _Entry] = {}
        self._begun: dict[str, tuple[str, str]] = {}

    def add(self, stream: str, payload: bytes) -> None:
        """Take one frame."""
        at, _, text = payload.decode("utf-8", "backslashreplace").partition(" ")
        if stream in self._begun:
            at, begun = self._begun.pop(stream)
            text = begun + text
        if text.endswith("\n"):
            self._take(at, stream, text)
        else:
            self._begun[stream] = at, text[: MAX_LINE_CHARACTERS + _MAX_SECRET_CHARACTERS]

    def finish(self) -> None:
        """There are no more frames: a line without its end is one too."""
        for stream, (at, text) in self._begun.items():
            self._take(at, stream, text)
        self._begun.clear()

    def skip(self) -> None:
        """What comes next does not follow at once: between them is a gap."""
        self.finish()
        self._skipped_after, self._tracebacks = self.latest_at or self._since, Tracebacks()

    @property
    def text(self) -> str:
        """The lines as "time stream text", in the order in which their entries began."""
        return "\n".join(line for part in self._parts for entry in part.entries for line in entry.lines)

    @property
    def gap(self) -> tuple[datetime, datetime] | None:
        """Between which entries others are left out; None where all that matter are here."""
        gaps = []
        if self._is_cut:
            before, after = self._first.entries[-1], self._last.entries[0]
            gaps.append((moment_of_line(before.lines[0]), moment_of_line(after.lines[0])))
        if self._skipped_after and self._resumed_at:
            gaps.append((self._skipped_after, self._resumed_at))
        return (min(start for start, _ in gaps), max(end for _, end in gaps)) if gaps else None

    @property
    def latest_at(self) -> datetime | None:
        """The time of the last line that was read, kept or not."""
        return moment_of_line(self._latest) if self._latest else None

    @property
    def _parts(self) -> tuple[_Part, _Part]:
        return self._first, self._last

    def _take(self, at: str, stream: str, text: str) -> None:
        line = text.rstrip("\r\n")
        if len(line) > MAX_LINE_CHARACTERS:
            whole = line[: MAX_LINE_CHARACTERS + _MAX_SECRET_CHARACTERS]
            line = self._redact(whole)[:MAX_LINE_CHARACTERS]
        seen = plain(line)
        self._latest = at
        if self._skipped_after and not self._resumed_at:
            self._resumed_at = self.latest_at
        if self._tracebacks.goes_on(stream, seen):
            self._go_on(stream, f"{at} {stream} {line}")
        elif not seen.strip():
            return
        elif not self._tracebacks.is_within(stream) and is_quiet(seen):
            self.quiet_lines += 1
        else:
            self._begin(stream, f"{at} {stream} {line}")

    def _go_on(self, stream: str, line: str) -> None:
        entry = self._open[stream]
        if entry.part is not None and entry.size > MAX_ENTRY_BYTES:
            self._begin(stream, line)
        else:
            entry.add(line)

    def _begin(self, stream: str, line: str) -> None:
        if not self._since <= moment_of_line(line) <= self._until:
            self._open[stream] = _Entry(None)
            return
        first, last = self._parts
        is_full = len(first.entries) >= FIRST_ENTRIES or first.size >= FIRST_BYTES
        self._open[stream] = (last if is_full else first).begin(line)
        while len(last.entries) > LAST_ENTRIES or (last.size > LAST_BYTES and len(last.entries) > 1):
            last.drop_oldest()
            self._is_cut = True


def demultiplexed(chunks: Iterable[bytes], *, is_tty: bool) -> Iterator[tuple[str, bytes]]:
    """Docker's frames as (stream, payload); a terminal's output has none, there each line is one."""
    rest = b""
    for chunk in chunks:
        rest += chunk
        start = 0
        while found := (_line_in if is_tty else _frame_in)(rest, start):
            stream, payload, start = found
            yield stream, payload
        rest = rest[start:]
    if is_tty and rest:
        yield "stdout", rest
    elif rest and rest[0] not in _FIRST_BYTES:
        raise ValueError("what is left is the beginning of no frame")


def _line_in(rest: bytes, start: int) -> tuple[str, bytes, int] | None:
    end = rest.find(b"\n", start) + 1
    if not end and len(rest) - start > MAX_FRAME_BYTES:
        end = len(rest)
    return ("stdout", rest[start:end], end) if end else None


def _frame_in(rest: bytes, start: int) -> tuple[str, bytes, int] | None:
    if len(rest) < start + 8:
        return None
    size = int.from_bytes(rest[start + 4 : start + 8], "big")
    if rest[start] not in _FIRST_BYTES:
        raise ValueError("not Docker's frames")
    if size > MAX_FRAME_BYTES:
        raise ValueError(f"a frame of {size} bytes")
    end = start + 8 + size
    if len(rest) < end:
        return None
    return _STREAMS.get(rest[start], "stdout"), rest[start + 8 : end], end


def lines_of(text: str) -> Iterator[Line]:
    """The lines of an excerpt again. One that redaction tore from its time keeps that of the one before."""
    at, stream = datetime.fromtimestamp(0, UTC), "stdout"
    for line in text.split("\n") if text else ():
        found = _STAMPED.fullmatch(line)
        if found:
            at, stream = moment_of_line(line), found[2]
        yield Line(at, stream, found[3] if found else line)


def moment_of_line(line: str) -> datetime:
    """The time with which a line of an excerpt begins, aware UTC."""
    return datetime.fromisoformat(line.partition(" ")[0]).astimezone(UTC)
