"""Limits of a run: the size of the outputs of a step, and the deadlines of steps and runs.

Of a stream that is too long, the beginning and the end are kept, with the size and digest of the whole.
The journal receives a stream in pieces that can be redacted alone: whole lines, and a private key only as a
whole. The part that is left out is counted and hashed, but not kept.
"""

import hashlib
from collections import deque
from dataclasses import dataclass

MAX_CHARACTERS = 512 * 1024  # at each end of a stream
MAX_OUTPUTS = 2000  # per step
MAX_OUTPUT_BYTES = 6_000_000  # per output that is not a stream; the largest recording is smaller

# A longer line without a line break is cut, so that the journal does not wait for its end.
_MAX_LINE_CHARACTERS = 64 * 1024
_OVERLAP = 4 * 1024
_KEY_BEGINS, _KEY_ENDS = "-----BEGIN ", "-----END "


class Stream:
    """One stream output of a step, while it grows."""

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
        """Add text to the stream."""
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
        """Whether the whole stream fits into its beginning."""
        return not self._tail_size and not self._has_dropped

    def take_settled(self, *, is_last: bool = False) -> str:
        """The new text of the beginning that can be redacted alone. With `is_last`, all new text."""
        fresh = self._joined()[self._given :]
        end = len(fresh) if is_last else _settled(fresh)
        self._given += end
        return fresh[:end]

    @property
    def text(self) -> str:
        """The whole stream, or if that is too long, both ends with a notice between them. Not redacted."""
        head, tail = self._joined(), "".join(self._tail)
        if not self.is_cut:
            return head + tail
        # Only whole lines stand at the cut: redaction does not recognize half a secret.
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


class Lines:
    """The text of the streams of a step in whole lines, so that a secret printed in two parts is redacted."""

    def __init__(self) -> None:
        self._waiting: dict[str, str] = {}

    def add(self, name: str, text: str) -> str:
        """Add text to the stream. Returns the lines that are now complete, or "" if none is."""
        whole = self._waiting.get(name, "") + text
        end = _settled(whole)
        self._waiting[name] = whole[end:]
        return whole[:end]

    def rest(self) -> list[tuple[str, str]]:
        """(stream, text) of what is left at the end of the step."""
        waiting, self._waiting = self._waiting, {}
        return [(name, text) for name, text in waiting.items() if text]


def _settled(text: str) -> int:
    """The length of the beginning of the text that can be redacted alone, whatever follows."""
    end = text.rfind("\n") + 1
    if len(text) - end > _MAX_LINE_CHARACTERS:
        end = len(text) - _OVERLAP
        end = max(text.rfind(" ", 0, end), 0) or end
    opened = text.rfind(_KEY_BEGINS, 0, end)
    if opened >= 0 and _KEY_ENDS not in text[opened:end]:
        end = opened
    return end


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Deadlines in seconds (monotonic clock): the start of a kernel, a step, and a whole run."""

    start_seconds: float = 60.0
    step_seconds: float = 120.0
    run_seconds: float = 600.0
