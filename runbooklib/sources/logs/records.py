"""Parse mixed log text into records: JSON lines, access lines, stack traces, coloured text, and other text.

One stream of one container mixes all of them: a search for "ERROR" does not match the JSON lines, and a
traceback is one event of thirty lines. Pure functions that accept any text.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from runbooklib.sources.logs import json_lines
from runbooklib.sources.logs.exception_names import exception_of, named_in
from runbooklib.sources.logs.exceptions import Tracebacks
from runbooklib.sources.logs.levels import ERROR_LEVELS, QUIET_LEVELS, is_level, level_in_text
from runbooklib.sources.logs.signs import (
    has_trace,
    is_broken_json,
    may_be_exception,
    may_have_exception_field,
)

MAX_SHOWN_CHARACTERS = 300
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\?)|[@-Z\\^_])")
# The access lines of uvicorn, nginx, Apache and envoy; of gin; of morgan.
_METHOD = r"(?P<method>[A-Z]{3,10})"
_ACCESS = tuple(
    re.compile(pattern)
    for pattern in (
        r"(?:(?P<level>[A-Z]+):\s+\S+(?: -)?|(?:\S+ ){0,5}\[[^\]]{1,40}\])"
        rf' "{_METHOD} (?P<path>\S+)(?: HTTP/[\d.]+)?" (?P<status>\d{{3}})\b',
        rf'\[GIN\] \S+ - \S+ \|\s*(?P<status>\d{{3}}) \|[^"]{{1,80}}\| {_METHOD}\s+"(?P<path>[^"]*)"',
        r"(?P<method>GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS) (?P<path>/\S*) (?P<status>\d{3})"
        r" (?:[\d.]+ ?m?s|- )",
    )
)
_BRACKETED = re.compile(r"\S+(?: \S+)? \[(?P<level>[a-z]+)\s*\] (?P<message>.*?)(?=\s{2,}|\s\[| \w+=|$)")
_PREFIXED = re.compile(r"(?P<level>DEBUG|INFO|WARNING|WARN|ERROR|CRITICAL|FATAL):\s+(?P<message>.+)")
_PAIR = re.compile(r"""(?<![\w.])([\w.]+)=('[^']*'|"(?:[^"\\]|\\.)*"|\S+)""")
_LOGFMT = re.compile(r"(?:^|\s)(?:level|lvl|severity)=")
_SERVER_ERROR = 500
_CLIENT_ERROR = 400


@dataclass(frozen=True, slots=True)
class Line:
    """One line as the container wrote it: when (aware UTC), on which stream, without the line's end."""

    at: datetime
    stream: str
    text: str


@dataclass(frozen=True, slots=True)
class Record:
    """One event of a log. Missing texts are empty, missing numbers are None.

    `kind` is "json", "access", "traceback" or "text"; `level` is in lower case, on the scale of `levels`;
    `exception` is the type of a stack trace or of a JSON line's exception; `path` has no query string;
    `text` is the whole event without colours, `line` a short form of it for readers. `is_unnamed_error`: the
    level is error or worse, or the text has a sign of an exception, and no exception could be named.
    """

    at: datetime
    stream: str
    kind: str
    text: str
    line: str
    level: str = ""
    message: str = ""
    exception: str = ""
    request_id: str = ""
    method: str = ""
    path: str = ""
    status_code: int | None = None
    execution_time_ms: float | None = None
    is_unnamed_error: bool = False


COLUMNS = tuple(column.name for column in fields(Record))


def plain(text: str) -> str:
    """The text without terminal colours and other escape sequences."""
    return _ESCAPES.sub("", text) if "\x1b" in text else text


def shortened(text: str, max_characters: int = MAX_SHOWN_CHARACTERS) -> str:
    """The text on one line without colours, cut to `max_characters`."""
    flat = " ".join(plain(text[: 4 * max_characters]).split())
    return flat if len(flat) <= max_characters else f"{flat[: max_characters - 1]}…"


def parse(lines: Iterable[Line]) -> list[Record]:
    """The records of the lines, in the order of their first lines. Empty lines are dropped."""
    tracebacks = Tracebacks()
    blocks: list[_Block] = []
    latest: dict[str, _Block] = {}
    for line in lines:
        text = plain(line.text).rstrip("\r\n")
        if tracebacks.continues(line.stream, text) and line.stream in latest:
            block = latest[line.stream]
            block.texts.append(text)
            block.is_traceback |= tracebacks.is_open(line.stream)
        elif text.strip():
            block = latest[line.stream] = _Block(line, [text], tracebacks.is_open(line.stream))
            blocks.append(block)
    return [block.record() for block in blocks]


@dataclass(slots=True)
class _Block:
    """The lines of one record."""

    first: Line
    texts: list[str]
    is_traceback: bool

    def record(self) -> Record:
        if not self.is_traceback:
            return _record(self.first, self.texts[0].rstrip())
        text = "\n".join(self.texts).rstrip()
        name, last = exception_of(text)
        line, at, stream = shortened(last), self.first.at, self.first.stream
        return Record(
            at,
            stream,
            "traceback",
            text,
            line,
            level="error",
            message=last,
            exception=name,
            is_unnamed_error=not name,
        )


def is_quiet(text: str) -> bool:
    """Whether a line outside a traceback is routine: an ordinary request, or a line of level info or below.

    A server error or an exception is never quiet, whatever the level.
    """
    if not any(sign in text for sign in '={"/'):
        # Most lines have only a level, and this is all that decides.
        return level_in_text(text) in QUIET_LEVELS and not has_trace(text)
    values = json_lines.object_of(text)
    if values is not None:
        return _is_quiet_json(values, text)
    kind, facts, _ = _parsed(text)
    if facts.get("exception") or (facts.get("status_code") or 0) >= _SERVER_ERROR:
        return False
    level = facts["level"]
    if kind == "access":
        return not level or level in QUIET_LEVELS
    return level in QUIET_LEVELS and not has_trace(text) and not is_broken_json(text)


def _is_quiet_json(values: dict[str, Any], text: str) -> bool:
    """The same for a JSON line: it reads no more fields than a routine line needs."""
    fields = json_lines.flat(values)
    status = json_lines.status(fields) or 0
    level = _level(fields)
    if status >= _SERVER_ERROR or (level not in QUIET_LEVELS and (level or not status)):
        return False
    if not may_have_exception_field(text):
        return True
    return not json_lines.exception(fields, level)[0] and not has_trace(text)


def _record(first: Line, text: str) -> Record:
    kind, facts, values = _parsed(text)
    is_error = not facts.get("exception") and _is_error(kind, facts, values, text)
    line = _line(text, facts, values)
    return Record(first.at, first.stream, kind, text, line, **facts, is_unnamed_error=is_error)


def _is_error(kind: str, facts: dict[str, Any], values: dict[str, Any], text: str) -> bool:
    level = facts["level"]
    if level in ERROR_LEVELS or kind == "access":
        return level in ERROR_LEVELS
    if level in QUIET_LEVELS:
        return has_trace(text) or (kind == "text" and is_broken_json(text))
    if kind == "text":
        return may_be_exception(text)
    fields = json_lines.flat(values)
    return json_lines.has_exception_field(fields) or may_be_exception(json_lines.texts(fields))


def _parsed(text: str) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """The kind of a line, its fields, and for a JSON line its object, else an empty dict."""
    values = json_lines.object_of(text)
    if values is not None:
        return "json", _facts(values, text), values
    access = next((match for form in _ACCESS if (match := form.match(text))), None)
    if access:
        level = level_in_text(text[: access.start("method")])
        return "access", {**_access_facts(access.groupdict()), "level": level}, {}
    return "text", _text_facts(text), {}


def _line(text: str, facts: dict[str, Any], values: dict[str, Any]) -> str:
    """The short form of a JSON line: message, path and error. Of other lines, the text itself."""
    # A message with a stack trace is long, and the exception's own text says more.
    message = facts["message"].partition("\n")[0] if facts.get("exception") else facts["message"]
    message = "" if message.startswith("Traceback (most recent") else message
    summary = " ".join(part for part in (message, facts.get("path")) if part)
    if not values:
        return shortened(text)
    error = _error_in(values)
    if not summary:
        return shortened(error if facts.get("exception") and error else text)
    if not error and (facts["status_code"] or 0) >= _CLIENT_ERROR:
        error = str(facts["status_code"])
    return shortened(f"{summary}: {error}" if error and error not in summary else summary)


def _facts(values: dict[str, Any], text: str) -> dict[str, Any]:
    """The fields of a record, from a JSON object or from the key=value pairs of a text line."""
    fields = json_lines.flat(values)
    message = _text(json_lines.message(fields))
    level = _level(fields)
    is_routine = level in QUIET_LEVELS and not may_have_exception_field(text)
    exception = "" if is_routine else json_lines.exception(fields, level)[0]
    facts: dict[str, Any] = {name: _text(values.get(name)) for name in ("request_id", "method")}
    return facts | {
        "level": level,
        "message": message,
        "exception": exception,
        "path": _text(values.get("path")).partition("?")[0],
        "status_code": json_lines.status(fields),
        "execution_time_ms": _number(values.get("execution_time_ms")),
    }


def _level(fields: dict[str, Any]) -> str:
    """The level by a field, else by the message: some objects only wrap a line of text."""
    level = json_lines.level(fields)
    message = "" if level else _text(json_lines.message(fields))
    return level_in_text(message) if message else level


def _access_facts(access: dict[str, str | None]) -> dict[str, Any]:
    path = (access["path"] or "").partition("?")[0]
    return {
        "message": f"{access['method']} {path}",
        "method": access["method"],
        "path": path,
        "status_code": int(access["status"] or 0),
    }


def _text_facts(text: str) -> dict[str, Any]:
    bracketed = _BRACKETED.match(text)
    if bracketed and is_level(bracketed["level"]):
        named = {"event": bracketed["message"].strip(), "level": bracketed["level"]}
        return _facts({**_pairs(text[bracketed.end() :]), **named}, text)
    if "=" in text and _LOGFMT.search(text):
        return _facts(_pairs(text), text) | {"level": level_in_text(text)}
    level, prefixed = level_in_text(text), _PREFIXED.match(text)
    message = prefixed["message"].strip() if prefixed else text.strip()
    # A warning that begins with an exception's name handles it; a line of level error reports it.
    exception = named_in(message)[0] if not level or level in ERROR_LEVELS or has_trace(text) else ""
    return {"level": level, "message": message, "exception": exception}


def _pairs(text: str) -> dict[str, str]:
    return {key: value.strip("'\"") for key, value in _PAIR.findall(text)}


def _error_in(values: dict[str, Any]) -> str:
    """The error field of a JSON line, or the exception's text if that contains it."""
    fields = json_lines.flat(values)
    exception = json_lines.exception(fields, json_lines.level(fields))[1]
    # structlog's `event` may be a short name; then `message` holds the text.
    names = ("error", "error_message", "err", "detail", "reason", "error_type")
    error = next((_text(values[name]) for name in names if _is_short(values.get(name))), "")
    if not error and not exception and values.get("event"):
        error = _text(values.get("message") or values.get("msg"))
    return exception if error in exception else error


def _is_short(value: Any) -> bool:
    return bool(value) and not isinstance(value, dict | list)


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None
