"""Levels of log lines: the names and numbers of the well-used loggers, as one scale.

The scale is trace, debug, info, notice, warning, error, critical. Pure functions.
"""

import re
from collections.abc import Iterable

SCALE = ("trace", "debug", "info", "notice", "warning", "error", "critical")
QUIET_LEVELS = frozenset({"trace", "debug", "info"})
ERROR_LEVELS = frozenset({"error", "critical"})
# Besides the names of the scale: winston, java.util.logging, .NET, Serilog, zerolog, log15, loguru, syslog,
# klog, MongoDB, and PostgreSQL and Java in other languages.
_NAMES = {
    "trace": "trce trc verbose verb vrb silly finest finer t v",
    "debug": "dbug dbg fine d d1 d2 d3 d4 d5",
    "info": "information informational inf config http success ok normal i",
    "notice": "note",
    "warning": "warn wrn warnung avertissement advertencia w",
    "error": "err eror severe fail fehler erreur errore erro ошибка 错误 エラー schwerwiegend grave e",
    "critical": "crit crt fatal ftl panic pnc dpanic panik alert emergency emerg exception fatale f c",
}
_LEVEL_OF_NAME = {name: level for level, names in _NAMES.items() for name in (level, *names.split())}
# At the start of a text line, these are ordinary words ("http: panic serving"), and a letter is no level.
_ONLY_IN_FIELDS = frozenset("http success config conf fine finer finest normal note silly verb".split())
_WORDS = frozenset(
    name for name in _LEVEL_OF_NAME if len(name) > 2 and name.isalpha() and name not in _ONLY_IN_FIELDS
)
_SYSLOG = dict(enumerate(("critical",) * 3 + ("error", "warning", "notice", "info", "debug")))
_MICROSOFT = dict(enumerate(("trace", "debug", "info", "warning", "error", "critical")))
_PYTHON = {
    0: "trace",
    5: "trace",
    10: "debug",
    20: "info",
    25: "info",
    30: "warning",
    40: "error",
    50: "critical",
}
_PINO = {10: "trace", 20: "debug", 30: "info", 40: "warning", 50: "error", 60: "critical"}
_PINO_FIELDS = frozenset({"msg", "pid", "hostname", "v"})
_PYTHON_FIELDS = ("levelno", "level_number", "no", "record.level.no")
_NUMBER = re.compile(r"-?\d{1,6}(?:\.0+)?")
# slog writes INFO+2 for a level between two names.
_NAME_AND_OFFSET = re.compile(r"([^\W\d_]+\d?)(?:[+-]\d+)?")


def level_of(value: object, field: str = "level", others: Iterable[str] = ()) -> str:
    """The level on the scale; empty if the value is not a level.

    `field` is the name of the JSON field, `others` are the names of the line's other fields: the same number
    means another level in another logger. An unknown name is returned in lower case.
    """
    if isinstance(value, str) and (known := _LEVEL_OF_NAME.get(value.lower())):
        return known
    text = value.decode() if isinstance(value, bytes) else str(value).strip().strip("[]<>:")
    if isinstance(value, bool) or value is None or not text:
        return ""
    if _NUMBER.fullmatch(text):
        return _of_number(int(float(text)), field.lower(), frozenset(others))
    name = _NAME_AND_OFFSET.fullmatch(text)
    lower = (name[1] if name else text).lower()
    return _LEVEL_OF_NAME.get(lower, lower)


def is_level(value: object) -> bool:
    """Whether the value is a name of a level."""
    return isinstance(value, str) and level_of(value) in SCALE and not _NUMBER.fullmatch(value.strip())


def worst(levels: Iterable[str]) -> str:
    """The most severe level; a level that is not on the scale only if there is no other."""
    return max(levels, key=lambda level: SCALE.index(level) if level in SCALE else -1, default="")


def _of_number(number: int, field: str, others: frozenset[str]) -> str:
    if "severity" in field and "num" in field:  # OpenTelemetry
        return SCALE[(0, 0, 1, 2, 4, 5, 6)[min((number + 3) // 4, 6)]] if number > 0 else ""
    if field.endswith("loglevel"):
        return _MICROSOFT.get(number, "")
    if field.endswith(_PYTHON_FIELDS):
        return _at_most(_PYTHON, number)
    if field.startswith("severity") and number >= 100:  # Google Cloud; 0 is DEFAULT
        return _at_most(
            {100: "debug", 200: "info", 300: "notice", 400: "warning", 500: "error", 600: "critical"}, number
        )
    if number >= 1_000:  # logback
        return _at_most(
            {1_000: "trace", 10_000: "debug", 20_000: "info", 30_000: "warning", 40_000: "error"}, number
        )
    if number >= 100:  # Monolog
        return _at_most(
            {100: "debug", 200: "info", 250: "notice", 300: "warning", 400: "error", 500: "critical"}, number
        )
    if number >= 10:
        # 40 is a warning of pino and bunyan, and an error of Python: the worse without fields of pino.
        return _at_most(_PINO if _PINO_FIELDS & others else _PYTHON, number)
    if number < 0:  # slog's debug, and zap's
        return "debug"
    return _SYSLOG.get(number, "")


def _at_most(levels: dict[int, str], number: int) -> str:
    return next((levels[least] for least in sorted(levels, reverse=True) if number >= least), "trace")


# The ways in which text lines begin: klog, Ruby and tornado, .NET, syslog, winston.
_BEGINNINGS = tuple(
    re.compile(pattern)
    for pattern in (
        r"([IWEFD])\d{4} \d\d:\d\d:\d\d",
        r"\[?([TDIWEFC])(?:, \[| \d{2,6}[-/: ])",
        r"([^\W\d_]{3,16})(?:: |\(|\[)",
    )
)
_PRIORITY = re.compile(r"<(\d{1,3})>")
# level=info, "level": "info", 'levelname': 'INFO', severity="ERROR"
_FIELD = re.compile(
    r"""(?i)(?<![a-z])(?:log[._]?)?(?:level(?:[._]?name)?|lvl|severity(?:_text)?|priority)["']?"""
    r"""\s*[=:]\s*\\*["']?([a-z]+|\d{1,5})\b"""
)
# WARN in capitals, [warn], | Warn |, and lower case between tabs. The word must also name a level.
_WORD = re.compile(
    r"(?<![\w-])(?P<capitals>[A-Z\u0410-\u042f\u3040-\u30ff\u4e00-\u9fff]{2,16})(?![\w-]|\s*=)"
    r"|[\[(|\t]\s*(?P<enclosed>[^\W\d_]{3,16})\s*[\])|\t]"
)
_CAPITALS = frozenset(
    "DEBUG INFO NOTICE WARNING WARN ERROR CRITICAL FATAL PANIC SEVERE EMERGENCY TRACE VERBOSE"
    " FEHLER ERREUR ERRORE PANIK ОШИБКА 错误 エラー INF WRN ERR FTL DBG TRC PNC EROR CRIT"
    " SCHWERWIEGEND GRAVE AVERTISSEMENT".split()
)
_BEFORE_COLON = frozenset("FINE FINER FINEST CONFIG".split())
_PLACE_OF_LEVEL = 160
_ERROR_WORDS = ("ERROR", "CRITICAL", "FATAL", "PANIC", "SEVERE")
_ERRORS = re.compile(rf"(?<![\w-])(?:{'|'.join(_ERROR_WORDS)})(?![\w-])")


def level_in_text(text: str) -> str:
    """The level of a line that is not JSON, on the scale; empty if it has none."""
    priority = _PRIORITY.match(text)
    if priority:
        return _SYSLOG[int(priority[1]) % 8]
    for beginning in _BEGINNINGS:
        match = beginning.match(text)
        if match and (len(match[1]) == 1 or match[1].lower() in _WORDS):
            return level_of(match[1])
    if "=" in text or '"' in text or "'" in text:
        fields = [level for name in _FIELD.findall(text) if (level := level_of(name)) in SCALE]
        if fields:
            return worst(fields)
    word = next(filter(None, map(_level_word, _WORD.finditer(text, 0, _PLACE_OF_LEVEL))), "")
    if word:
        return level_of(word)
    has_error = any(part in text for part in _ERROR_WORDS) and _ERRORS.search(text)
    return "error" if has_error else ""


def _level_word(match: re.Match[str]) -> str:
    """The word that was matched, if a level is written so; else empty."""
    word = match["capitals"]
    if word is None:
        word = match["enclosed"]
        return word if word.lower() in _WORDS or word == "SUCCESS" else ""
    is_before_colon = match.string[match.end() : match.end() + 1] == ":"
    return word if word in _CAPITALS or (word in _BEFORE_COLON and is_before_colon) else ""
