"""Mixed log text into records: JSON lines, access lines, tracebacks, coloured text, and anything else.

One stream of one container mixes all of them: a search for "ERROR" finds nothing in the JSON lines, and
a traceback is one event and not thirty lines. Pure: text in, records out; nothing is ever refused.
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
# As uvicorn writes them, and as nginx and Apache do.
_ACCESS = re.compile(
    r"(?:(?P<level>[A-Z]+):\s+\S+(?: -)?|\S+ \S+ \S+ \[[^\]]{1,40}\])"
    r' "(?P<method>[A-Z]+) (?P<path>\S+)(?: HTTP/[\d.]+)?" (?P<status>\d{3})\b'
)
_PREFIXED = re.compile(r"(?P<level>DEBUG|INFO|WARNING|WARN|ERROR|CRITICAL|FATAL):\s+(?P<message>.+)")
_BRACKETED = re.compile(r"\S+(?: \S+)? \[(?P<level>[a-z]+)\s*\] (?P<message>.*?)(?=\s{2,}|\s\[| \w+=|$)")
_LEVEL = re.compile(r"\b(DEBUG|INFO|WARNING|WARN|ERROR|CRITICAL|FATAL|PANIC)\b")
_PAIR = re.compile(r"""\b(\w+)=('[^']*'|"[^"]*"|\S+)""")
_LEVEL_WITHIN = 80
_SAME_LEVEL = {"warn": "warning", "fatal": "critical", "panic": "critical", "exception": "error"}
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
    """One event of a log. Texts that it does not have are empty, numbers None.

    `kind` is "json", "access", "traceback" or "text"; `level` is in lower case; `exception` is the type
    that a traceback ends with; `path` is without its query; `text` is the whole of it without colours,
    `line` a short form of it for people.
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


COLUMNS = tuple(f.name for f in fields(Record))


def plain(text: str) -> str:
    """The text without terminal colours and other escape sequences."""
    return _ESCAPES.sub("", text) if "\x1b" in text else text


def shortened(text: str, most: int = MAX_SHOWN_CHARACTERS) -> str:
    """The text on one line, cut to a readable length."""
    flat = " ".join(plain(text[: 4 * most]).split())
    return flat if len(flat) <= most else f"{flat[: most - 1]}…"


def parse(lines: Iterable[Line]) -> list[Record]:
    """The records of the lines, in the order in which each began. Empty lines are dropped."""
    tracebacks = Tracebacks()
    blocks: list[tuple[Line, list[str], bool]] = []
    latest: dict[str, list[str]] = {}
    for line in lines:
        text = plain(line.text).rstrip("\r\n")
        if tracebacks.goes_on(line.stream, text):
            latest[line.stream].append(text)
        elif text.strip():
            latest[line.stream] = [text]
            blocks.append((line, latest[line.stream], tracebacks.is_within(line.stream)))
    return [
        _traceback(first, "\n".join(texts).rstrip()) if is_traceback else _record(first, texts[0].rstrip())
        for first, texts, is_traceback in blocks
    ]


def is_quiet(text: str) -> bool:
    """Whether a line that is in no traceback tells of nothing wrong.

    That is an ordinary request, or a line of level info or below; but a server error or an exception
    is never quiet, whatever the level.
    """
    kind, facts, _ = _told(text)
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
    kind, facts, values = _told(text)
    return Record(first.at, first.stream, kind, text, _line(text, facts, values), **facts)


def _told(text: str) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """The kind of a line, its fields, and the object that it is where it is JSON."""
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
    """What happened, where, and what went wrong; the text itself where it is not JSON."""
    what = " ".join(part for part in (facts["message"], facts.get("path")) if part)
    if not values or not what:
        return shortened(text)
    error = _error_in(values)
    if not error and (facts["status_code"] or 0) >= _CLIENT_ERROR:
        error = str(facts["status_code"])
    return shortened(f"{what}: {error}" if error and error not in what else what)


def _facts(values: dict[str, Any]) -> dict[str, Any]:
    """The fields of a record that a JSON line, or the pairs of a line for people, hold."""
    message = next((values[k] for k in ("event", "message", "msg") if values.get(k)), "")
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
    found = _BRACKETED.match(text)
    if found:
        pairs = {key: value.strip("'\"") for key, value in _PAIR.findall(text[found.end() :])}
        return _facts({**pairs, "event": found["message"].strip(), "level": found["level"]})
    found = _PREFIXED.match(text)
    if found:
        return {"level": _level(found["level"]), "message": found["message"].strip()}
    level = _LEVEL.search(text, 0, _LEVEL_WITHIN)
    return {"level": _level(level[0]) if level else "", "message": text.strip()}


def _exception_in(values: dict[str, Any]) -> tuple[str, str]:
    """Type and text of the exception in a JSON line: a formatted traceback, or structlog's list of them."""
    told = values.get("exception") or values.get("exc_info") or values.get("traceback")
    if isinstance(told, str):
        return exception_of(told)
    if isinstance(told, list) and told and isinstance(told[0], dict):
        name, text = (_text(told[0].get(key)) for key in ("exc_type", "exc_value"))
        return name, ": ".join(part for part in (name, text) if part)
    return "", ""


def _error_in(values: dict[str, Any]) -> str:
    """What a JSON line says went wrong; of two texts the one that says more."""
    exception = _exception_in(values)[1]
    # Where the event is a name, the message is its text.
    names = ("error", "error_message", "err", "detail", "reason", "error_type")
    told = next((_text(values[name]) for name in names if values.get(name)), "")
    if not told and not exception and values.get("event"):
        told = _text(values.get("message") or values.get("msg"))
    return exception if told in exception else told


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
