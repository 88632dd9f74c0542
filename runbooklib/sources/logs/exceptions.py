"""Python's tracebacks in a log: which lines belong to one, and what exception it ends with. Pure."""

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
_GOES_ON = re.compile(r"\s|\[SQL|\[parameters|\(Background on|(?:DETAIL|HINT|CONTEXT|LINE \d+):")
_BOX = re.compile(r"\s*\| ?")


def exception_of(text: str) -> tuple[str, str]:
    """Type and last line of a traceback: the first line after its last frame that is not indented."""
    lines = [_BOX.sub("", line, count=1) if _BOX.match(line) else line for line in text.splitlines()]
    frames = [i for i, line in enumerate(lines) if _FRAME.match(line)]
    for line in lines[frames[-1] + 1 if frames else 0 :]:
        named = _EXCEPTION.match(line)
        if named:
            return named[1], line
    return "", lines[-1].strip() if lines else ""


class Tracebacks:
    """The tracebacks that are being read, one a stream.

    Streams are read apart, so that an access line on standard output does not tear a traceback on
    standard error in two.
    """

    def __init__(self) -> None:
        self._open: dict[str, _Unfinished] = {}

    def goes_on(self, stream: str, text: str) -> bool:
        """Take the stream's next line: whether it goes on with the traceback before it."""
        current = self._open.get(stream)
        if current is not None:
            if current.takes(text):
                return True
            del self._open[stream]
        if _BEGINS.match(text):
            self._open[stream] = _Unfinished(text)
        return False

    def is_within(self, stream: str) -> bool:
        """Whether the line that was taken last belongs to a traceback."""
        return stream in self._open


@dataclass(slots=True)
class _Unfinished:
    last: str
    is_named: bool = False

    def takes(self, text: str) -> bool:
        """Whether the line belongs to it. Notes when its exception has been named."""
        is_ours = self._is_ours(text)
        if is_ours and text.strip():
            self.last = text
        return is_ours

    def _is_ours(self, text: str) -> bool:
        if not text.strip() or text[0] in " \t" or _CHAIN.match(text):
            return True
        if _BEGINS.match(text):
            self.is_named = False
            return _CHAIN.match(self.last) is not None
        if self.is_named:
            return _GOES_ON.match(text) is not None
        self.is_named = not _LEVEL.match(text) and _EXCEPTION.match(text) is not None
        return self.is_named
