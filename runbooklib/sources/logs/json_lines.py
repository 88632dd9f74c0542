"""The fields of a JSON log line, by the names that the well-used loggers give them.

Known are structlog, python-json-logger, loguru, ECS, Google Cloud, GELF, OpenTelemetry, pino, bunyan,
winston, zap, zerolog, logrus, slog, log4j2, logback, Serilog, NLog, .NET, Monolog, MongoDB, journald and AWS
Lambda.
"""

import json
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from runbooklib.sources.logs.exception_names import exception_of, named_in
from runbooklib.sources.logs.levels import ERROR_LEVELS, is_level, level_of, worst
from runbooklib.sources.logs.signs import has_trace

_MAX_DEPTH = 6
_MAX_FIELDS = 400
_LEVEL_NAMES = frozenset(
    "level levelname levelno level_name level_value level_number loglevel log_level log.level severity"
    " severitytext severity_text severitynumber severity_number lvl l @l s priority record.level.name"
    " record.level.no log.syslog.severity.name level.name syslog_severity severity_name".split()
)
_WRAPPERS = frozenset(
    "record fields attributes log resource payload jsonpayload context extra event error err exception exc"
    " exc_info thrown throwable contextmap body data mdc attr cause @x".split()
)
_NESTED = frozenset({dict, list})
_MESSAGES = (
    "event message msg @m @mt body short_message text log renderedmessage messagetemplate m textpayload"
    " record.message fields.message"
).split()
_TEXT_OF_EXCEPTION = frozenset(
    "exception exc_info exc_text traceback stacktrace stack_trace stack error_stack backtrace @x exc"
    " error.stack error.stack_trace exception.stacktrace err.stack full_message throwable thrown"
    " exception_stacktrace stack_info errorverbose".split()
)
_PARTS_OF_TYPE = frozenset(
    "type name class classname class_name exc_type exceptiontype exception_type kind errortype".split()
)
_PARTS_OF_VALUE = ("exc_value", "value", "message", "msg", "reason", "exceptionmessage")
_FIELDS_OF_TYPE = re.compile(
    r"(?:.*[._])?(?:error|exception|exc|err)[._]?(?:type|name|class|kind)|errortype|exceptiontype|exc_type"
)
_EXCEPTIONS = frozenset(
    "exception exc exc_info error err thrown throwable record.exception errors cause".split()
)
_TYPE = re.compile(r"(?:[\w$<>]+(?:\.|\\|::))*[A-Za-z_$][\w$]*(?:`\d)?", re.ASCII)
_TYPE_WITH_SIGN = re.compile(
    r".*(?:Error|Exception|Fault|Failure|Panic|Interrupt|Exit|Timeout)$|.*[.\\:][A-Z]\w*$"
)
_REQUEST_FIELDS = frozenset(
    "request method request_method path uri url request_uri req requestpath http_method verb"
    " requesturl".split()
)
_STATUS = re.compile(r"[1-9]\d\d", re.ASCII)
_STATUS_NAMES = (
    "status_code status statuscode http.response.status_code http.status_code response.status res.statuscode"
    " response_status downstreamstatus http_status response_code responsecode httprequest.status code"
).split()


def object_of(text: str) -> dict[str, Any] | None:
    """The JSON object that a line is, perhaps after a prefix without a quote; None if there is none."""
    start = text.find("{")
    if start < 0 or not text.rstrip().endswith("}") or '"' in text[:start]:
        return None
    for candidate in dict.fromkeys((text[start:], text[start:].replace("\\x", "\\\\x"))):
        try:
            values = json.loads(candidate)
        except (ValueError, RecursionError):
            continue
        # A short object at the end of a text line is an argument of the message.
        is_line = (
            start == 0 or not text[:start].strip() or "level" in text[start:] or "everity" in text[start:]
        )
        return values if isinstance(values, dict) and is_line else None
    return None


def flat(values: dict[str, Any]) -> dict[str, Any]:
    """The fields by dotted name in lower case, of nested objects too; the objects are also kept."""
    if len(values) < _MAX_FIELDS and _NESTED.isdisjoint(map(type, values.values())):
        return {_lower(name): value for name, value in values.items()}
    return dict(_fields(values, "", 0, iter(range(_MAX_FIELDS))))


# The lines of a log repeat their field names. The caches are bounded: a name may also be random.
_lower = lru_cache(maxsize=4_096)(str.lower)


def _fields(
    values: dict[str, Any], prefix: str, depth: int, room: Iterator[int]
) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if next(room, None) is None:
            return
        name = f"{prefix}{key}".lower()
        if isinstance(value, list):
            pairs = _pairs(value)
            if pairs is not None:  # OpenTelemetry's attributes
                value = pairs
        yield name, value
        if isinstance(value, dict) and depth < _MAX_DEPTH:
            yield from _fields(value, f"{name}.", depth + 1, room)


def _pairs(items: list[Any]) -> dict[str, Any] | None:
    """[{"key": k, "value": {"stringValue": v}}] as {k: v}; None for another list."""
    if not items or not all(isinstance(item, dict) and "key" in item and "value" in item for item in items):
        return None
    return {
        str(item["key"]): next(iter(item["value"].values()), None)
        if isinstance(item["value"], dict)
        else item["value"]
        for item in items
    }


@lru_cache(maxsize=4_096)
def _level_field(name: str) -> str:
    """The name without its wrapper if the field has a level, "status" for that field; else empty."""
    short = _without_wrapper(name)
    return short if short in _LEVEL_NAMES or name in _LEVEL_NAMES else "status" if name == "status" else ""


def _without_wrapper(name: str) -> str:
    if "." not in name:
        return name
    first, _, rest = name.partition(".")
    return rest if rest and first in _WRAPPERS else name


def level(fields: dict[str, Any]) -> str:
    """The worst of the line's levels; empty if no field has a level."""
    levels = []
    for name, value in fields.items():
        short = _level_field(name)
        # Datadog calls the level "status". A single letter is a level of MongoDB only under its names.
        if not short or (short == "status" and not is_level(value)) or (short == "s" and "c" not in fields):
            continue
        if isinstance(value, str | int | float):
            levels.append(level_of(value, short, fields))
    if not levels and "@t" in fields:  # Serilog's compact form leaves out Information
        return "info"
    return worst(levels)


def message(fields: dict[str, Any]) -> Any:
    """The line's message; empty if it has none."""
    return next(_messages(fields), "")


def _messages(fields: dict[str, Any]) -> Iterator[Any]:
    by_name = {_without_wrapper(name): value for name, value in reversed(fields.items())} | fields
    for name in _MESSAGES:
        value = by_name.get(name)
        if value and not isinstance(value, dict):
            yield value


def status(fields: dict[str, Any]) -> int | None:
    """The HTTP status of a request; None if the line has none."""
    for name in _STATUS_NAMES:
        if name in fields and _STATUS.fullmatch(str(fields[name])):
            return int(str(fields[name])) if name == "status_code" or _has_request(fields) else None
    return None


def _has_request(fields: dict[str, Any]) -> bool:
    return any(_last(name) in _REQUEST_FIELDS for name in fields)


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def exception(fields: dict[str, Any], level: str) -> tuple[str, str]:
    """The type and the text of the line's exception; empty if it has none in a known form.

    A message that begins with an exception's name reports it, unless the level says that it was handled.
    """
    unnamed = ("", "")
    for found in _exceptions(fields, reports=not level or level in ERROR_LEVELS):
        if found[0]:
            return found
        unnamed = unnamed if unnamed[1] else found
    return unnamed


def has_exception_field(fields: dict[str, Any]) -> bool:
    """Whether a field that only an exception fills has a value, in whatever form."""
    return any(value and _last(name) in _TEXT_OF_EXCEPTION for name, value in fields.items())


def texts(fields: dict[str, Any]) -> str:
    """The line's string values, one a line."""
    return "\n".join(value for value in fields.values() if isinstance(value, str))


def _exceptions(fields: dict[str, Any], *, reports: bool) -> Iterator[tuple[str, str]]:
    """The exceptions of the line, the best known form first."""
    for name, value in fields.items():
        short = _without_wrapper(name)
        if short in _EXCEPTIONS or name in _EXCEPTIONS:
            yield from _of_object(value)
        if isinstance(value, str) and value and (short in _TEXT_OF_EXCEPTION or name in _TEXT_OF_EXCEPTION):
            yield exception_of(value) if has_trace(value) or ": " in value or "\n" in value else ("", value)
    for name, value in fields.items():
        if isinstance(value, str) and _FIELDS_OF_TYPE.fullmatch(name) and _is_type(value):
            prefix = re.sub(r"(?:type|name|class|kind)$", "", name)
            text = next(
                (fields[prefix + part] for part in ("message", "value", "msg") if fields.get(prefix + part)),
                "",
            )
            yield value, _joined(value, text)
    for value in (*(fields.get(name) for name in ("error", "err", "cause")), *_messages(fields)):
        if isinstance(value, str) and value:
            if has_trace(value):
                yield exception_of(value)
            elif reports:
                yield named_in(value)


def _of_object(value: Any) -> Iterator[tuple[str, str]]:
    """The exception that an object describes, or the first one of a list (structlog, Sentry)."""
    if isinstance(value, dict):
        lower = {str(key).lower(): part for key, part in value.items()}
        if isinstance(lower.get("values"), list):
            yield from _of_object(lower["values"])
        name = next(
            (lower[key] for key in lower if key in _PARTS_OF_TYPE and isinstance(lower[key], str)), ""
        )
        if name and _TYPE.fullmatch(name):
            yield name, _joined(name, next((lower[key] for key in _PARTS_OF_VALUE if lower.get(key)), ""))
    elif isinstance(value, list):
        for item in value[:1]:
            yield from _of_object(item)


def _joined(name: str, text: Any) -> str:
    return f"{name}: {text}" if text else name


def _is_type(text: str) -> bool:
    return _TYPE.fullmatch(text) is not None and _TYPE_WITH_SIGN.fullmatch(text) is not None
