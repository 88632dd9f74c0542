"""Signs of an exception in a text of unknown form: with one of them, "no exception" must not be said."""

import re

# Only a stack trace or a runtime's own report has these, whatever the level of the line is.
_TRACE = re.compile(
    r"Traceback \(most recent call|(?:^|\n)\s+at [^\n]{1,300}(?:\(.*:\d+|:line \d+|\.java:|:\d+:\d+)"
    r"|Caused by: |\bpanic(?:: |ked at | serving )|goroutine \d+ \["
    r"|(?i:\b(?:un(?:handled|caught)) [\w ]{0,40}"
    r"(?:exception|error|rejection)|\bsegmentation fault|\bcore dumped|\bstack ?trace\b|\bbacktrace\b"
    r"|\bfatal error\b|\bterminate called\b)|\bUncaught \w|\bSIG(?:SEGV|ABRT|BUS|ILL|FPE)\b|\*\* \([A-Z]\w*"
    r"|\bException in |(?:^|\n)#\d+ (?:/|\{main\})|File \"[^\"\n]{1,300}\", line \d+|Sanitizer: "
)
# Each match of the pattern contains one of these: most lines have none, and to see that is fast.
_IN_TRACE = (
    "traceback (most recent call", " at ", "\tat ", "caused by: ", "panic", "goroutine ", "unhandled",
    "uncaught", "segmentation fault", "core dumped", "stack trace", "stacktrace", "backtrace", "fatal error",
    "terminate called", "sigsegv", "sigabrt", "sigbus", "sigill", "sigfpe", "** (",  "exception in ", "#",
    'file "', "sanitizer: ",
)  # fmt: skip
# Names of fields with an exception contain one of these.
_IN_FIELDS = ("exc", "err", "stack", "trac", "thro", "cause", "@x", "full_message", *_IN_TRACE)
# A name of an exception, or the word: a line of level info or below may mention them.
_NAME = re.compile(
    r"(?<![\w.$])(?:[\w$]++[.:\\]++){0,9}[A-Z][\w$]*(?:Error|Exception|Panic|Fault)(?![\w])(?! rate)"
    r"|(?i:\bexceptions?\b(?! handler| rate|s: 0)|\berror(?:: |s? occurred)"
    r"|\baborted\b|\bassertion\b.{0,80}\bfailed)"
)
_BROKEN_JSON = re.compile(r'\s*\{\s*"[^"]{0,200}"\s*:')


def has_trace(text: str) -> bool:
    """Whether the text has a part that only a stack trace or a runtime's report has."""
    return _has_one_of(_IN_TRACE, text) and _TRACE.search(text) is not None


def may_have_exception_field(text: str) -> bool:
    """Whether a JSON text may have a field with an exception; false for most routine lines, and fast."""
    return _has_one_of(_IN_FIELDS, text)


def _has_one_of(parts: tuple[str, ...], text: str) -> bool:
    lower = text.lower()
    for part in parts:  # noqa: SIM110 - half the time of any(): each line of a log is searched
        if part in lower:
            return True
    return False


def may_be_exception(text: str) -> bool:
    """Whether a text may report an exception: by a trace, a name, a word or damaged JSON."""
    return has_trace(text) or _NAME.search(text) is not None or is_broken_json(text)


def is_broken_json(text: str) -> bool:
    """Whether the text, which is not JSON, begins as a JSON object: its end is missing or damaged."""
    return _BROKEN_JSON.match(text) is not None
