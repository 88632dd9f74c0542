"""Which lines of a log belong to a stack trace: Python, Java, .NET, Node, Go, Rust, PHP and others."""

import re
from dataclasses import dataclass

from runbooklib.sources.logs.exception_names import PYTHON_FRAME, RICH_EDGE, RICH_HEADER

_BEGINS = re.compile(
    r'\s*(?:\+ Exception Group )?Traceback \(most recent call last\):|[\s>]*File ".+", line \d+'
)
_CHAIN = re.compile(
    r"[\s|]*(?:During handling of the above exception|The above exception was the direct cause)"
)
_EXCEPTION = re.compile(r"\s*((?:[\w<>]+\.)*[A-Za-z_]\w*)(?:: |:?\s*$)")
_LEVEL = re.compile(r"(?:DEBUG|INFO|WARNING|WARN|ERROR|CRITICAL|FATAL):\s+.")
_CONTINUATION = re.compile(r"\s|\[SQL|\[parameters|\(Background on|(?:DETAIL|HINT|CONTEXT|LINE \d+):")
# Go's and Rust's reports begin a trace themselves, and end in another way than by an exception's line.
_PANIC = re.compile(r"(?:panic|fatal error): \S|.{0,80}http: panic serving |thread .{1,80} panicked at ")
# Every line that begins or continues a stack trace has one of these characters first, or one of these words.
_FIRST_CHARACTERS = frozenset(" \t.-#[>╭┌+\"'")
_WORDS = re.compile(
    r"Traceback|File |panic|fatal error: |thread |Caused by|Suppressed|Stack trace|goroutine"
    r"|(?i:stack )|lua stack|Call ?Stack"
)
_AFTER_PANIC = re.compile(
    r"\s|goroutine \d+|\[signal |created by |exit status \d|note: |stack backtrace:|panic: |\[recovered\]"
    r"|(?:[\w.\-/]+)\.[\w.(*){}\[\]\-/]+\(.*\)$"
)
# Lines that only a stack trace has: they belong to the line before them.
_STACK = re.compile(
    r"\s+at (?:async |new )?(?:\S{1,500}[.(:]|[\w<>.$\[\]]{1,200} \()|\s*Caused by: \S|\s*Suppressed: \S"
    r"|\s*\.\.\. \d+ (?:more|common frames)|\s*--- End of |\s*---> \S|\s*#\d+ (?:/|\{main\}|\[internal|main )"
    r"|Stack trace:|\[stacktrace\]|\[previous exception\]|\s+thrown in \S|\s+from \S+:\d+:in |\s+what\(\):"
    r"|\s+\(\w[\w. ]* [\d.]+\) \S+:\d+: |(?i:stack backtrace):|\s+\d+: \S+::|goroutine \d+ \["
    r"|(?:lua )?stack traceback:|\s*Call ?Stack"
)


class Tracebacks:
    """The stack traces that are being read, at most one per stream.

    Each stream is read separately, so that an access line on standard output does not split a traceback on
    standard error.
    """

    def __init__(self) -> None:
        self._open: dict[str, _OpenTraceback] = {}
        self._has_line: set[str] = set()

    def continues(self, stream: str, text: str) -> bool:
        """Add the next line of the stream. Whether it belongs to the entry of the line before it.

        `is_open` is true then, also if the line before was an ordinary line: that line names the exception.
        """
        current = self._open.get(stream)
        if current is not None:
            if current.add(text):
                return True
            del self._open[stream]
        if text[:1] not in _FIRST_CHARACTERS and not _WORDS.match(text) and "panic serving" not in text:
            self._has_line.add(stream)
            return False
        if current is None and stream in self._has_line and _STACK.match(text):
            self._open[stream] = _OpenTraceback(text, form="stack")
            return True
        self._has_line.add(stream)
        if RICH_HEADER.match(text):
            self._open[stream] = _OpenTraceback(text, form="rich")
        elif _BEGINS.match(text):
            self._open[stream] = _OpenTraceback(text)
        elif _PANIC.match(text):
            self._open[stream] = _OpenTraceback(text, form="panic")
        return False

    def is_open(self, stream: str) -> bool:
        """Whether the last line of the stream belongs to a traceback."""
        return stream in self._open


@dataclass(slots=True)
class _OpenTraceback:
    last: str
    has_exception: bool = False
    form: str = "python"

    def add(self, text: str) -> bool:
        """Whether the line belongs to this traceback. Updates `last` and `has_exception` if it does."""
        belongs = self._belongs(text)
        if belongs and text.strip():
            self.last = text
        return belongs

    def _belongs(self, text: str) -> bool:
        if self.form == "panic":
            return self._follows_panic(text)
        if self.form == "stack":
            return not text.strip() or text[0] in " \t" or _STACK.match(text) is not None
        if self.form == "rich" and not self.has_exception:
            return self._follows_rich(text)
        return self._follows_python(text)

    def _follows_panic(self, text: str) -> bool:
        is_message = not self.has_exception and "panicked at" in self.last
        self.has_exception = True
        return is_message or not text.strip() or _AFTER_PANIC.match(text) is not None

    def _follows_rich(self, text: str) -> bool:
        if not text.strip() or text.lstrip()[0] in "│|╰└❱╭┌" or RICH_EDGE.match(text):
            return True
        self.has_exception = not _LEVEL.match(text) and _EXCEPTION.match(text) is not None
        return self.has_exception

    def _follows_python(self, text: str) -> bool:
        if RICH_HEADER.match(text) and _CHAIN.match(self.last):
            self.form, self.has_exception = "rich", False
            return True
        if not text.strip() or text[0] in " \t" or _CHAIN.match(text) or PYTHON_FRAME.match(text):
            return True
        if _BEGINS.match(text):
            self.has_exception = False
            return _CHAIN.match(self.last) is not None
        if self.has_exception:
            return _CONTINUATION.match(text) is not None
        self.has_exception = not _LEVEL.match(text) and _EXCEPTION.match(text) is not None
        return self.has_exception
