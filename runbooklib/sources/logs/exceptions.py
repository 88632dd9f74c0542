"""Python tracebacks in a log: which lines belong to a traceback, and the exception it ends with."""

import re
from dataclasses import dataclass

_BEGINS = re.compile(
    r'\s*(?:\+ Exception Group )?Traceback \(most recent call last\):|\s+File ".+", line \d+'
)
_FRAME = re.compile(r'[\s|+]*File ".+", line \d+')
_CHAIN = re.compile(
    r"[\s|]*(?:During handling of the above exception|The above exception was the direct cause)"
)
_EXCEPTION = re.compile(r"((?:\w+\.)*[A-Za-z_]\w*)(?:: |:?$)")
_LEVEL = re.compile(r"(?:DEBUG|INFO|WARNING|WARN|ERROR|CRITICAL|FATAL):\s+.")
_CONTINUATION = re.compile(r"\s|\[SQL|\[parameters|\(Background on|(?:DETAIL|HINT|CONTEXT|LINE \d+):")
_BOX = re.compile(r"\s*\| ?")


def exception_of(text: str) -> tuple[str, str]:
    """The exception's type and message line: the first line after the last frame that names an exception."""
    lines = [_BOX.sub("", line, count=1) if _BOX.match(line) else line for line in text.splitlines()]
    frames = [i for i, line in enumerate(lines) if _FRAME.match(line)]
    for line in lines[frames[-1] + 1 if frames else 0 :]:
        exception = _EXCEPTION.match(line)
        if exception:
            return exception[1], line
    return "", lines[-1].strip() if lines else ""


class Tracebacks:
    """The tracebacks that are being read, at most one per stream.

    Each stream is read separately, so that an access line on standard output does not split a traceback on
    standard error.
    """

    def __init__(self) -> None:
        self._open: dict[str, _OpenTraceback] = {}

    def continues(self, stream: str, text: str) -> bool:
        """Add the next line of the stream. Whether it continues the traceback before it."""
        current = self._open.get(stream)
        if current is not None:
            if current.add(text):
                return True
            del self._open[stream]
        if _BEGINS.match(text):
            self._open[stream] = _OpenTraceback(text)
        return False

    def is_open(self, stream: str) -> bool:
        """Whether the last line of the stream belongs to a traceback."""
        return stream in self._open


@dataclass(slots=True)
class _OpenTraceback:
    last: str
    has_exception: bool = False

    def add(self, text: str) -> bool:
        """Whether the line belongs to this traceback. Updates `last` and `has_exception` if it does."""
        belongs = self._belongs(text)
        if belongs and text.strip():
            self.last = text
        return belongs

    def _belongs(self, text: str) -> bool:
        if not text.strip() or text[0] in " \t" or _CHAIN.match(text):
            return True
        if _BEGINS.match(text):
            self.has_exception = False
            return _CHAIN.match(self.last) is not None
        if self.has_exception:
            return _CONTINUATION.match(text) is not None
        self.has_exception = not _LEVEL.match(text) and _EXCEPTION.match(text) is not None
        return self.has_exception
