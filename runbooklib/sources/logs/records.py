"""Parse mixed log text into records: JSON lines, access lines, tracebacks, coloured text, and other text.

One stream of one container mixes all of them: a search for "ERROR" does not match the JSON lines, and a
traceback is one event of thirty lines. Pure functions that accept any text.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from runbooklib.sources.logs.exceptions import Tracebacks, exception_of

MAX_SHOWN_CHARACTERS = 300
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_])")
# The access lines of uvicorn, and of nginx and Apache.
_ACCESS = re.compile(
    r"(?:(?P<level>[A-Z]+):\s+\S+(?: -)?|\S+ \S+ \S+ \[[^\]]{1,40}\])"
    r' "(?P<method>[A-Z]+) (?P<path>\S+)(?: HTTP/[\d.]+)?" (?P<status>\d{3})\b'
)
_PREFIXED = re.compile(r"(?P<level>DEBUG|INFO|WARNING|WARN|ERROR|CRITICAL|FATAL):\s+(?P<message>.+)")
_BRACKETED = re.compile(r"\S+(?: \S+)? \[(?P<level>[a-z]+)\s*\] (?P<message>.*?)(?=\s{2,}|\s\[| \w+=|$)")
_LEVEL = re.compile(r"\b(DEBUG|INFO|WARNING|WARN|ERROR|CRITICAL|FATAL|PANIC)\b")
_PAIR = re.compile(r"""\b(\w+)=('[^']*'|"[^"]*"|\S+)""")
_MAX_LEVEL_POSITION = 80
_LEVEL_ALIASES = {"warn": "warning", "fatal": "critical", "panic": "critical", "exception": "error"}
_QUIET_LEVELS = frozenset({"trace", "debug", "info"})
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

    `kind` is "json", "access", "traceback" or "text"; `level` is in lower case; `exception` is the type
    that a traceback ends with; `path` has no query string; `text` is the whole event without colours,
    `line` a short form of it for readers.
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
    blocks: list[tuple[Line, list[str], bool]] = []
    latest: dict[str, list[str]] = {}
    for line in lines:
        text = plain(line.text).rstrip("\r\n")
        if tracebacks.continues(line.stream, text):
            latest[line.stream].append(text)
        elif text.strip():
            latest[line.stream] = [text]
            blocks.append((line, latest[line.stream], tracebacks.is_open(line.stream)))
    return [
        _traceback(first, "\n".join(texts).rstrip()) if is_traceback else _record(first, texts[0].rstrip())
        for first, texts, is_traceback in blocks
    ]


def is_quiet(text: str) -> bool:
    """Whether a line outside a traceback is routine: an ordinary request, or a line of level info or below.

    A server error or an exception is never quiet, whatever the level.
    """
    kind, facts, _ = _parsed(text)
    if facts.get("exception") or (facts.get("status_code") or 0) >= _SERVER_ERROR:
        return False
    return kind == "access" or facts["level"] in _QUIET_LEVELS


def _traceback(first: Line, text: str) -> Record:
    name, last = exception_of(text)
    line = shortened(last)
    return Record(
        first.at, first.stream, "traceback", text, line, level="error", message=last, exception=name
    )


def _record(first: Line, text: str) -> Record:
    kind, facts, values = _parsed(text)
    return Record(first.at, first.stream, kind, text, _line(text, facts, values), **facts)


def _parsed(text: str) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """The kind of a line, its fields, and for a JSON line its object, else an empty dict."""
    if text.lstrip().startswith("{"):
        try:
            values = json.loads(text)
        except (ValueError, RecursionError):
            values = None
        if isinstance(values, dict):
            return "json", _facts(values), values
    access = _ACCESS.match(text)
    if access:
        return "access", _access_facts(access), {}
    return "text", _text_facts(text), {}


def _line(text: str, facts: dict[str, Any], values: dict[str, Any]) -> str:
    """The short form of a JSON line: message, path and error. Of other lines, the text itself."""
    summary = " ".join(part for part in (facts["message"], facts.get("path")) if part)
    if not values or not summary:
        return shortened(text)
    error = _error_in(values)
    if not error and (facts["status_code"] or 0) >= _CLIENT_ERROR:
        error = str(facts["status_code"])
    return shortened(f"{summary}: {error}" if error and error not in summary else summary)


def _facts(values: dict[str, Any]) -> dict[str, Any]:
    """The fields of a record, from a JSON object or from the key=value pairs of a text line."""
    message = next((values[key] for key in ("event", "message", "msg") if values.get(key)), "")
    facts: dict[str, Any] = {name: _text(values.get(name)) for name in ("request_id", "method")}
    return facts | {
        "level": _level(_text(values.get("level") or values.get("severity"))),
        "message": _text(message),
        "exception": _exception_in(values)[0],
        "path": _text(values.get("path")).partition("?")[0],
        "status_code": _status(values.get("status_code")),
        "execution_time_ms": _number(values.get("execution_time_ms")),
    }


def _access_facts(access: re.Match[str]) -> dict[str, Any]:
    path = access["path"].partition("?")[0]
    return {
        "level": _level(access["level"] or ""),
        "message": f"{access['method']} {path}",
        "method": access["method"],
        "path": path,
        "status_code": int(access["status"]),
    }


def _text_facts(text: str) -> dict[str, Any]:
    bracketed = _BRACKETED.match(text)
    if bracketed:
        pairs = {key: value.strip("'\"") for key, value in _PAIR.findall(text[bracketed.end() :])}
        return _facts({**pairs, "event": bracketed["message"].strip(), "level": bracketed["level"]})
    prefixed = _PREFIXED.match(text)
    if prefixed:
        return {"level": _level(prefixed["level"]), "message": prefixed["message"].strip()}
    level = _LEVEL.search(text, 0, _MAX_LEVEL_POSITION)
    return {"level": _level(level[0]) if level else "", "message": text.strip()}


def _exception_in(values: dict[str, Any]) -> tuple[str, str]:
    """The exception's type and text in a JSON line: from a formatted traceback or from structlog's list."""
    exception = values.get("exception") or values.get("exc_info") or values.get("traceback")
    if isinstance(exception, str):
        return exception_of(exception)
    if isinstance(exception, list) and exception and isinstance(exception[0], dict):
        name, text = (_text(exception[0].get(key)) for key in ("exc_type", "exc_value"))
        return name, ": ".join(part for part in (name, text) if part)
    return "", ""


def _error_in(values: dict[str, Any]) -> str:
    """The error field of a JSON line, or the exception's text if that contains it."""
    exception = _exception_in(values)[1]
    # structlog's `event` may be a short name; then `message` holds the text.
    names = ("error", "error_message", "err", "detail", "reason", "error_type")
    error = next((_text(values[name]) for name in names if values.get(name)), "")
    if not error and not exception and values.get("event"):
        error = _text(values.get("message") or values.get("msg"))
    return exception if error in exception else error


def _level(text: str) -> str:
    lower = text.lower()
    return _LEVEL_ALIASES.get(lower, lower)


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
