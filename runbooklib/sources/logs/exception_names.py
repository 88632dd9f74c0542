"""The exception in a text, its type and its line: Python, Java, .NET, Node, Go, Rust, PHP and others.

Go and Rust name no type: the type is "panic", or "fatal error". Pure functions.
"""

import re

PYTHON_FRAME = re.compile(r'[\s|+>│]*File ".+", line \d+')
# The lines of rich's box: a frame is "/app/shop.py:5 in pay".
RICH_EDGE = re.compile(r"\s*[╭╰┌└+][─\-]{3,}")
RICH_HEADER = re.compile(r"\s*[╭┌+][─\-]+ Traceback \(most recent call last\) [─\-]+[╮┐+]")
_BOX = re.compile(r"\s*\| ?")
_TYPE = r"(?:[A-Za-z_]\w*|<\w+>)(?:\.(?:\w+|<\w+>))*"
_PYTHON = re.compile(rf"\s*({_TYPE})(?:: |:?\s*$)")
_NAMED = (
    r"(?:[A-Za-z_$][\w$]*(?:[.\\]|::))*[A-Z][\w$]*(?:Error|Exception|Throwable|Panic|Fault)|Error|Exception"
)
_SUFFIX = r"(?:Error|Exception|Throwable|Fault|Failure|Panic|Timeout|Interrupt|Exit)"
_CLASS = rf"(?:[A-Za-z_$][\w$]*(?:[.\\]|::))*[A-Z][\w$]*{_SUFFIX}|(?:[a-z][\w$]*\.)+[A-Z][\w$]*"
# A type before its message. Node: Error [ERR_X]: no; a prefix of the program may stand before it.
_CLASS_AND_TEXT = re.compile(
    rf"(?<![\w.\\$])({_CLASS}|Error|Exception)(?:`\d)?(?: \[\w+\])?(?=: |:?$|:\n|\n|\()"
)
_STARTS_WITH_CLASS = re.compile(
    r"\s*(?:(?:Uncaught|Unhandled)\b[^\n:]{0,40}?[.:]? )?"
    rf"({_NAMED})(?:`\d)?(?: \[\w+\])?(?:: |:?$|\()"
)
# What a runtime writes itself; the first group is the type.
_REPORTS = tuple(
    re.compile(pattern)
    for pattern in (
        r"(panic)(?:: | serving )",
        r"^(fatal error): \S",
        r"(?:thread '[^']*'(?: \(\d+\))?|thread <unnamed>) (panic)ked at",
        r"Uncaught (?:\(in promise\) )?([\w\\]+)(?: \[[^\]]*\])?: ",
        r"\(([\w\\]+)\(code: -?\w+\): ",
        r"^\s*\S+:\d+:in [`'][^\n]*: [^\n]*\(([A-Z][\w:]*)\)\s*$",
        r"\*\* \(([A-Z][\w.]*)\) ",
        r"terminate called after throwing an instance of '([^']+)'",
        r"Fatal error: exception ([\w.]+)",
        r"^(Fatal Python error): ",
        r"^(\w[\w.]*) +Traceback \(most recent call last\)",
        r"Unhandled [Ee]xception[.:]\s+([\w.`+]+)(?:: |$)",
        r"Exception in thread \"[^\"]*\" ([\w.$]+)",
        r"(?i)\b(segmentation fault|stack overflow|double free or corruption|bus error)\b",
        r"(?i)\b(illegal instruction)\b",
        r"(Sanitizer): [\w-]+",
        r"^([A-Z]\w*(?:Error|Exception)) \([^\n]*\):\s*$",
    )
)
# Each report contains one of these: most lines have none, and to see that is fast.
_IN_REPORTS = (
    "panic", "fatal error", "uncaught", "(code: ", ":in ", "** (", "terminate called", "exception",
    "fatal python", "traceback", "segmentation", "stack overflow", "double free", "bus error",
    "illegal instruction", "sanitizer", "error (",
)  # fmt: skip


def exception_of(text: str) -> tuple[str, str]:
    """The type and the line of the exception in a text that has stack frames or is a runtime's report.

    Of a chain, it is the exception that ended the request: the last one of Python, the first one of others.
    The type is empty if it is in no known form; then the line is the text's last line.
    """
    lines = [_BOX.sub("", line, count=1) if _BOX.match(line) else line for line in text.splitlines()]
    python = _python(lines)
    if python is not None:
        return python
    for name in (_reported, _class_before_frames):
        found = name(lines)
        if found is not None:
            return found
    return "", lines[-1].strip() if lines else ""


def named_in(text: str) -> tuple[str, str]:
    """The type and the text of an exception that a line begins with or a runtime reports; else empty."""
    line, lower = text.strip(), text.lower()
    reported = _reported([line]) if any(part in lower for part in _IN_REPORTS) else None
    if reported is not None:
        return reported
    match = _STARTS_WITH_CLASS.match(line)
    return (match[1], line) if match else ("", "")


def _python(lines: list[str]) -> tuple[str, str] | None:
    """The first line after the last frame that names an exception; None if the text has no Python frame."""
    ends = [i for i, line in enumerate(lines) if PYTHON_FRAME.match(line)]
    if not ends and any("Traceback (most recent call last)" in line for line in lines):
        ends = [i for i, line in enumerate(lines) if RICH_EDGE.match(line) or "Traceback (most" in line]
    if not ends and len(lines) > 1:
        return None
    frame = _indent(lines[ends[-1]]) if ends else 1
    for line in lines[ends[-1] + 1 if ends else 0 :]:
        exception = _PYTHON.match(line)
        # The lines of code after a frame have a larger indent.
        if exception and (_indent(line) < frame or _indent(line) == 0 or RICH_EDGE.match(lines[ends[-1]])):
            return exception[1], line.strip()
    return None


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _reported(lines: list[str]) -> tuple[str, str] | None:
    for line in lines:
        for report in _REPORTS:
            match = report.search(line)
            if match:
                return match[1].rstrip(":"), line.strip()
    return None


def _class_before_frames(lines: list[str]) -> tuple[str, str] | None:
    for line in lines:
        match = _CLASS_AND_TEXT.search(line)
        if match:
            return match[1], line.strip()
    return None
