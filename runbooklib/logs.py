"""Mixed log text into records: JSON lines, access lines, tracebacks, coloured text, and anything else.

One stream of one container mixes all of them: a search for "ERROR" finds nothing in the JSON lines, and
a traceback is one event and not thirty lines. Pure: text in, records out; nothing is ever refused.
"""

import json
import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_])")
_ACCESS = re.compile(
    r'(?P<level>[A-Z]+):\s+\S+(?: -)? "(?P<method>[A-Z]+) (?P<path>\S+)(?: HTTP/[\d.]+)?" (?P<status>\d{3})\b'
)
_PREFIXED = re.compile(r"(?P<level>DEBUG|INFO|WARNING|WARN|ERROR|CRITICAL|FATAL):\s+(?P<message>.+)")
_BRACKETED = re.compile(r"\S+(?: \S+)? \[(?P<level>[a-z]+)\s*\] (?P<message>.*?)(?=\s{2,}|\s\[| \w+=|$)")
_LEVEL = re.compile(r"\b(DEBUG|INFO|WARNING|WARN|ERROR|CRITICAL|FATAL|PANIC)\b")
_PAIR = re.compile(r"""\b(\w+)=('[^']*'|"[^"]*"|\S+)""")
_LEVEL_WITHIN = 80

_TRACEBACK = re.compile(
    r'\s*(?:\+ Exception Group )?Traceback \(most recent call last\):|\s+File ".+", line \d+'
)
_FRAME = re.compile(r'[\s|+]*File ".+", line \d+')
_CHAIN = re.compile(
    r"[\s|]*(?:During handling of the above exception|The above exception was the direct cause)"
)
_EXCEPTION = re.compile(r"((?:\w+\.)*[A-Za-z_]\w*)(?:: |:?$)")
_EXCEPTION_GOES_ON = re.compile(r"\s|\[SQL|\[parameters|\(Background on|(?:DETAIL|HINT|CONTEXT|LINE \d+):")
_BOX = re.compile(r"\s*\| ?")
_STAMPED = re.compile(r"(\d{4}-\d\d-\d\dT\S+Z) (stdout|stderr) ?(.*)", re.DOTALL)
# A longer line is cut: patterns that look for secrets need time that grows with a line's length.
MOST_LINE_CHARACTERS = 16_000
_STREAMS = {1: "stdout", 2: "stderr"}
_SAME_LEVEL = {"warn": "warning", "fatal": "critical", "panic": "critical", "exception": "error"}


@dataclass(frozen=True, slots=True)
class Line:
    """One line as the container wrote it: when (aware UTC), on which stream, without the line's end."""

    at: datetime
    stream: str
    text: str


@dataclass(frozen=True, slots=True)
class Record:
    """One event of a log. Texts that it does not have are empty, numbers None.

    `kind` is "json", "access", "traceback" or "text"; `level` is in lower case; `exception` is the type
    that a traceback ends with; `path` is without its query; `text` is the whole of it without colours.
    """

    at: datetime
    stream: str
    kind: str
    text: str
    level: str = ""
    message: str = ""
    exception: str = ""
    request_id: str = ""
    method: str = ""
    path: str = ""
    status_code: int | None = None
    execution_time_ms: float | None = None


COLUMNS = tuple(f.name for f in fields(Record))


@dataclass(slots=True)
class _Block:
    """Lines that belong together; only a traceback takes more than its first."""

    at: datetime
    stream: str
    texts: list[str]
    is_traceback: bool = False
    is_named: bool = False

    def takes(self, text: str) -> bool:
        """Whether the line goes on with this traceback. Notes when its exception has been named."""
        if not self.is_traceback:
            return False
        if not text.strip() or text[0] in " \t" or _CHAIN.match(text):
            return True
        if _TRACEBACK.match(text):
            last = next((t for t in reversed(self.texts) if t.strip()), "")
            self.is_named = False
            return _CHAIN.match(last) is not None
        if self.is_named:
            return _EXCEPTION_GOES_ON.match(text) is not None
        self.is_named = not _PREFIXED.match(text) and _EXCEPTION.match(text) is not None
        return self.is_named


def plain(text: str) -> str:
    """The text without terminal colours and other escape sequences."""
    return _ESCAPES.sub("", text)


def parse(lines: Iterable[Line]) -> list[Record]:
    """The records of the lines, in the order in which each began. Empty lines are dropped.

    Streams are read apart, so that an access line on standard output does not tear a traceback on
    standard error in two.
    """
    blocks: list[_Block] = []
    latest: dict[str, _Block] = {}
    for line in lines:
        text = plain(line.text).rstrip("\r\n")
        if line.stream in latest and latest[line.stream].takes(text):
            latest[line.stream].texts.append(text)
        elif text.strip():
            block = _Block(line.at, line.stream, [text], is_traceback=_TRACEBACK.match(text) is not None)
            latest[line.stream] = block
            blocks.append(block)
    return [_record(block) for block in blocks]


class Tail:
    """Keeps the last lines of a stream of frames, at most so many and of so many bytes together.

    Each frame begins with its time. A line longer than 16 KB comes in several frames, each with a time.
    `is_cut`: something had to go.
    """

    def __init__(self, *, most_lines: int, most_bytes: int) -> None:
        self.is_cut = False
        self._most_lines, self._most_bytes = most_lines, most_bytes
        self._lines: deque[str] = deque()
        self._bytes = 0
        self._begun: dict[str, str] = {}

    def add(self, stream: str, payload: bytes) -> None:
        """Take one frame."""
        at, _, text = payload.decode("utf-8", "backslashreplace").partition(" ")
        line = self._begun.pop(stream, f"{at} {stream} ") + text
        if not line.endswith("\n"):
            self._begun[stream] = line[:MOST_LINE_CHARACTERS]
            return
        self._keep(line)

    def lines(self) -> list[str]:
        """The lines as "time stream text", oldest first."""
        for stream in tuple(self._begun):
            self._keep(self._begun.pop(stream))
        return list(self._lines)

    def _keep(self, line: str) -> None:
        line = line.rstrip("\r\n")[:MOST_LINE_CHARACTERS]
        self._lines.append(line)
        self._bytes += len(json.dumps(line))
        while len(self._lines) > self._most_lines or self._bytes > self._most_bytes:
            self._bytes -= len(json.dumps(self._lines.popleft()))
            self.is_cut = True


def demultiplexed(chunks: Iterable[bytes], *, is_tty: bool) -> Iterator[tuple[str, bytes]]:
    """Docker's frames as (stream, payload); a terminal's output has none, there each line is one."""
    rest = b""
    for chunk in chunks:
        rest += chunk
        start = 0
        while True:
            if is_tty:
                end = rest.find(b"\n", start) + 1
                if not end:
                    break
                yield "stdout", rest[start:end]
            else:
                if len(rest) < start + 8:
                    break
                end = start + 8 + int.from_bytes(rest[start + 4 : start + 8], "big")
                if len(rest) < end:
                    break
                yield _STREAMS.get(rest[start], "stdout"), rest[start + 8 : end]
            start = end
        rest = rest[start:]
    if is_tty and rest:
        yield "stdout", rest


def lines_of(text: str) -> Iterator[Line]:
    """The lines of `Tail` again. One that redaction has torn from its time keeps that of the one before."""
    at, stream = datetime.fromtimestamp(0, UTC), "stdout"
    for line in text.split("\n") if text else ():
        found = _STAMPED.fullmatch(line)
        if found:
            at, stream = moment_of_line(line), found[2]
        yield Line(at, stream, found[3] if found else line)


def moment_of_line(line: str) -> datetime:
    """The time with which a line of `Tail` begins, aware UTC."""
    return datetime.fromisoformat(line.partition(" ")[0]).astimezone(UTC)


def _record(block: _Block) -> Record:
    at, stream = block.at, block.stream
    text = "\n".join(block.texts).rstrip()
    if block.is_traceback:
        name, message = _exception(text)
        return Record(at, stream, "traceback", text, level="error", message=message, exception=name)
    if text.lstrip().startswith("{"):
        try:
            values = json.loads(text)
        except (ValueError, RecursionError):
            values = None
        if isinstance(values, dict):
            return Record(at, stream, "json", text, **_facts(values))
    access = _ACCESS.match(text)
    if access:
        path = access["path"].partition("?")[0]
        return Record(
            at,
            stream,
            "access",
            text,
            level=_level(access["level"]),
            message=f"{access['method']} {path}",
            method=access["method"],
            path=path,
            status_code=int(access["status"]),
        )
    return Record(at, stream, "text", text, **_text_facts(text))


def _facts(values: dict[str, Any]) -> dict[str, Any]:
    """The fields of a record that a JSON line, or the pairs of a line for people, hold."""
    message = next((values[k] for k in ("event", "message", "msg") if values.get(k)), "")
    facts: dict[str, Any] = {name: _text(values.get(name)) for name in ("request_id", "method")}
    return facts | {
        "level": _level(_text(values.get("level") or values.get("severity"))),
        "message": _text(message),
        "exception": _exception_in(values),
        "path": _text(values.get("path")).partition("?")[0],
        "status_code": _status(values.get("status_code")),
        "execution_time_ms": _number(values.get("execution_time_ms")),
    }


def _text_facts(text: str) -> dict[str, Any]:
    found = _BRACKETED.match(text)
    if found:
        pairs = {key: value.strip("'\"") for key, value in _PAIR.findall(text[found.end() :])}
        return _facts({**pairs, "event": found["message"].strip(), "level": found["level"]})
    found = _PREFIXED.match(text)
    if found:
        return {"level": _level(found["level"]), "message": found["message"].strip()}
    level = _LEVEL.search(text, 0, _LEVEL_WITHIN)
    return {"level": _level(level[0]) if level else "", "message": text.strip()}


def _exception(text: str) -> tuple[str, str]:
    """Type and last line of a traceback: the first line after its last frame that is not indented."""
    lines = [_BOX.sub("", line, count=1) if _BOX.match(line) else line for line in text.splitlines()]
    frames = [i for i, line in enumerate(lines) if _FRAME.match(line)]
    for line in lines[frames[-1] + 1 if frames else 0 :]:
        named = _EXCEPTION.match(line)
        if named:
            return named[1], line
    return "", lines[-1].strip() if lines else ""


def _exception_in(values: dict[str, Any]) -> str:
    """The type of the exception in a JSON line, as a formatted traceback or as structlog's list of them."""
    told = values.get("exception") or values.get("exc_info") or values.get("traceback")
    if isinstance(told, str):
        return _exception(told)[0]
    if isinstance(told, list) and told and isinstance(told[0], dict):
        return _text(told[0].get("exc_type"))
    return ""


def _level(text: str) -> str:
    lower = text.lower()
    return _SAME_LEVEL.get(lower, lower)


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _status(value: Any) -> int | None:
    text = str(value)
    return int(text) if re.fullmatch(r"[1-9]\d\d", text, re.ASCII) else None


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None
