"""Docker's frames of a log: the stream and the content of each, also of a terminal, which has no frames."""

import re
from collections.abc import Iterable, Iterator

STREAMS = {1: "stdout", 2: "stderr"}
_STREAM_BYTES = (0, *STREAMS)
# Docker writes a longer line as several entries of this size.
PARTIAL_BYTES = 16_384
MAX_FRAME_BYTES = 1_000_000
STAMP = re.compile(rb"(\d{4}-\d\d-\d\dT\d\S{4,30}) ")
_NANOSECONDS = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z ")


def demultiplexed(chunks: Iterable[bytes], *, is_tty: bool) -> Iterator[tuple[str, bytes]]:
    """Docker's frames as (stream, payload). A terminal's output has none: each line is one payload."""
    rest = b""
    for chunk in chunks:
        rest += chunk
        start = 0
        while frame := (_line_in if is_tty else _frame_in)(rest, start):
            stream, payload, start = frame
            yield from ((stream, line) for line in (_lines_of_terminal(payload) if is_tty else [payload]))
        rest = rest[start:]
    if is_tty and rest:
        yield from (("stdout", line) for line in _lines_of_terminal(rest))
    elif rest and rest[0] not in _STREAM_BYTES:
        raise ValueError("the last bytes are not the beginning of a Docker frame")


def _lines_of_terminal(payload: bytes) -> Iterator[bytes]:
    """A terminal's line without the times that Docker writes before each further 16 KB of it.

    The driver `local` writes no line end after such a line: what follows it is another line.
    """
    stamp = STAMP.match(payload)
    last = payload.rfind(stamp[0]) if stamp and len(payload) > PARTIAL_BYTES else 0
    if stamp is None or last <= 0:
        yield payload
        return
    following = _NANOSECONDS.search(payload, last + len(stamp[0]))
    end = following.start() if following else len(payload)
    line = stamp[0] + payload[:end].replace(stamp[0], b"")
    yield line + b"\n" if following else line
    if following:
        yield from _lines_of_terminal(payload[end:])


def _line_in(rest: bytes, start: int) -> tuple[str, bytes, int] | None:
    end = rest.find(b"\n", start) + 1
    if not end and len(rest) - start > MAX_FRAME_BYTES:
        end = len(rest)
    return ("stdout", rest[start:end], end) if end else None


def _frame_in(rest: bytes, start: int) -> tuple[str, bytes, int] | None:
    if len(rest) < start + 8:
        return None
    size = int.from_bytes(rest[start + 4 : start + 8], "big")
    if rest[start] not in _STREAM_BYTES:
        raise ValueError("the stream does not consist of Docker frames")
    if size > MAX_FRAME_BYTES:
        raise ValueError(f"a frame of {size} bytes")
    end = start + 8 + size
    if len(rest) < end:
        return None
    return STREAMS.get(rest[start], "stdout"), rest[start + 8 : end], end
