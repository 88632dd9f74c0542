"""What a step prints, kept within bounds: its beginning and its end, with the size and digest of the whole.

A stream is given to the journal in pieces that can be redacted on their own: whole lines, and a private
key only as a whole. What was left out is neither redacted nor kept, but counted and hashed.

How long things may take, on the monotonic clock.
"""

import hashlib
from collections import deque
from dataclasses import dataclass

MAX_CHARACTERS = 512 * 1024  # at each end of a stream
MAX_OUTPUTS = 2000  # of one step
MAX_OUTPUT_BYTES = 6_000_000  # of one output that is no stream: the largest recording, and some

# A line without an end is cut into pieces of this size, so that it does not wait for ever.
_LONGEST_LINE = 64 * 1024
_OVERLAP = 4 * 1024
_KEY_BEGINS, _KEY_ENDS = "-----BEGIN ", "-----END "


class Stream:
    """One stream output of a step, as it grows."""

    def __init__(self) -> None:
        self.size_bytes = 0
        self._digest = hashlib.sha256()
        self._head: list[str] = []
        self._head_size = 0
        self._tail: deque[str] = deque()
        self._tail_size = 0
        self._given = 0
        self._has_dropped = False

    @property
    def is_cut(self) -> bool:
        """Whether the middle was left out."""
        return self._tail_size > MAX_CHARACTERS or self._has_dropped

    def add(self, text: str) -> None:
        """More of it."""
        content = text.encode("utf-8", "surrogatepass")
        self.size_bytes += len(content)
        self._digest.update(content)
        room = MAX_CHARACTERS - self._head_size
        if room > 0:
            self._head.append(text[:room])
            self._head_size += min(len(text), room)
            text = text[room:]
        if text:
            self._tail.append(text[-MAX_CHARACTERS:])
            self._has_dropped |= len(text) > MAX_CHARACTERS
            self._tail_size += min(len(text), MAX_CHARACTERS)
        while self._tail_size - len(self._tail[0] if self._tail else "") >= MAX_CHARACTERS:
            self._tail_size -= len(self._tail.popleft())
            self._has_dropped = True

    @property
    def is_short(self) -> bool:
        """Whether it is all in its beginning."""
        return not self._tail_size and not self._has_dropped

    def take_settled(self, *, is_last: bool = False) -> str:
        """What is new in the beginning and can be redacted by itself; at last, all that is new."""
        fresh = self._joined()[self._given :]
        end = len(fresh) if is_last else _settled(fresh)
        self._given += end
        return fresh[:end]

    @property
    def text(self) -> str:
        """All of it, or where that is too long, both ends and a mark between; not redacted yet."""
        head, tail = self._joined(), "".join(self._tail)
        if not self.is_cut:
            return head + tail
        # At the cut nothing but whole lines: half a secret would be found by nobody.
        head = head[: head.rfind("\n") + 1] or head[:-_OVERLAP]
        tail = tail[-MAX_CHARACTERS:]
        tail = tail[tail.find("\n") + 1 :] if "\n" in tail[:-1] else tail[_OVERLAP:]
        left_out = self.size_bytes - len((head + tail).encode("utf-8", "surrogatepass"))
        return (
            f"{head}\n[runbook: truncated: {left_out:,} of {self.size_bytes:,} bytes are left out here; "
            f"sha256 of the whole: {self._digest.hexdigest()}]\n{tail}"
        )

    def _joined(self) -> str:
        self._head = ["".join(self._head)]
        return self._head[0]


def _settled(text: str) -> int:
    """How much of the beginning of a text can be redacted by itself, whatever follows."""
    end = text.rfind("\n") + 1
    if len(text) - end > _LONGEST_LINE:
        end = len(text) - _OVERLAP
        end = max(text.rfind(" ", 0, end), 0) or end
    opened = text.rfind(_KEY_BEGINS, 0, end)
    if opened >= 0 and _KEY_ENDS not in text[opened:end]:
        end = opened
    return end


@dataclass(frozen=True, slots=True)
class Deadlines:
    """For a kernel to start, for a step, and for a run as a whole."""

    start_seconds: float = 60.0
    step_seconds: float = 120.0
    run_seconds: float = 600.0
