"""The tape: every request to a system passes through it, and it records or replays the answer.

In a live run a request has a deadline; its answer is redacted, then recorded, then used. A replay returns the
recorded answer, and raises NotRecordedError for a request that is not in the recording. Within a run, equal
requests get the same answer, and a system that was unreachable is not tried a second time.
"""

import base64
import json
import threading
import zlib
from collections.abc import Callable, Container, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from time import monotonic
from typing import Any, TypeVar

from runbooklib import errors
from runbooklib.errors import DeadlineError, NotRecordedError, SourceError, UnreachableError
from runbooklib.redact.redactor import Depth, Redactor
from runbooklib.sources.error_fields import error_as_dict, error_of
from runbooklib.sources.shared_answers import SharedAnswers

VERSION = 1

# The source of the entry with the arguments of `open_incident`, which come from no system.
OPENING = "opening"

# The source of a note that a person wrote.
NOTE = "note"

# The key in an output's recording for the positions of the entries that a person caused: queries and notes.
OWN = "own"
DEADLINE_SECONDS = 10.0

# A larger answer is used but not recorded, and its finding says so.
MAX_RECORDED_BYTES = 4_000_000
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Entry:
    """A request and its outcome: `answer` as JSON, or `error` as the fields of a SourceError.

    `asked_at` is aware UTC. `is_cut`: the answer is too large to record.
    """

    source: str
    request: dict[str, Any]
    asked_at: datetime
    seconds: float
    answer: Any = None
    error: dict[str, str] | None = None
    is_cut: bool = False

    @property
    def key(self) -> str:
        """Equal requests have equal keys; the order of their fields does not matter."""
        return _key(self.source, self.request)

    def as_dict(self) -> dict[str, Any]:
        """The entry as JSON, for `from_dict`."""
        return {
            "source": self.source,
            "request": self.request,
            "asked_at": self.asked_at.isoformat(),
            "seconds": round(self.seconds, 4),
            "answer": self.answer,
            "error": self.error,
            "is_cut": self.is_cut,
        }

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> "Entry":
        """The reverse of `as_dict`."""
        return cls(**{**stored, "asked_at": datetime.fromisoformat(stored["asked_at"])})


def _key(source: str, request: dict[str, Any]) -> str:
    return f"{source} {json.dumps(request, sort_keys=True, ensure_ascii=False)}"


class Tape:
    """Records the answers of a live run, or replays a recording.

    `resumed` is the recording of an interrupted run. Its answers are used again; requests that have no
    recorded answer are sent live. `shared` are the answers of the batch that this run belongs to.
    """

    def __init__(
        self,
        redactor: Redactor | None = None,
        *,
        recording: Iterable[Entry] | None = None,
        resumed: Iterable[Entry] = (),
        shared: SharedAnswers | None = None,
    ) -> None:
        self.redactor = redactor or Redactor()
        self.shared = shared
        self.is_replay = recording is not None
        # If a request was sent several times, its newest answer counts, in whichever cell it is recorded.
        usable = [entry for entry in resumed if entry.error is None and not entry.is_cut]
        by_time = sorted([*(recording or ()), *usable], key=lambda entry: entry.asked_at)
        self._answered: dict[str, Entry] = {entry.key: entry for entry in by_time}
        self._recorded: list[Entry] = []
        self._used: list[Entry] = []
        self._noted: set[str] = set()
        self._remarks: list[str] = []
        self._unreachable: dict[tuple[str, str], SourceError] = {}
        self._lock = threading.Lock()
        self._request_locks: dict[str, threading.Lock] = {}

    def ask(
        self,
        source: str,
        request: dict[str, Any],
        call: Callable[[], Any],
        *,
        target: str = "",
        deadline_seconds: float = DEADLINE_SECONDS,
        is_ours: bool = False,
    ) -> Any:
        """The JSON answer of `call`, which gets `deadline_seconds` including all retries.

        `request` identifies the request: different requests must differ in it. `target` names the system
        without credentials. `is_ours`: the answer contains the site's own settings, so only known secrets are
        removed and e-mail addresses stay. Raises the SourceError of `call`, live and in a replay, and
        NotRecordedError in a replay whose recording has no answer.
        """
        request = self.redactor.json(request)
        key, depth = _key(source, request), Depth.KNOWN if is_ours else Depth.EVERYTHING
        if self.is_replay and key not in self._answered:
            raise _not_recorded(source, request, target)
        with self._lock:
            request_lock = self._request_locks.setdefault(key, threading.Lock())
        with request_lock:
            entry = self._answered.get(key) or self._ask(
                source, request, call, target, deadline_seconds, depth
            )
        self._note_use(entry)
        if entry.is_cut and self.is_replay:
            raise NotRecordedError("the answer was too large to record", system=source, target=target)
        if entry.error is not None:
            raise error_of(entry.error)
        return entry.answer

    def _note_use(self, entry: Entry) -> None:
        with self._lock:
            self._used.append(entry)
            # The evidence of a replay can be replayed too, so a replay records the answers that it uses.
            if entry.key not in self._noted:
                self._noted.add(entry.key)
                self._recorded.append(replace(entry, answer=None) if entry.is_cut else entry)

    def _ask(
        self,
        source: str,
        request: dict[str, Any],
        call: Callable[[], Any],
        target: str,
        deadline: float,
        depth: Depth,
    ) -> Entry:
        asked_at, start = datetime.now(UTC), monotonic()
        answer, error = None, None
        try:
            self._refuse_unreachable(source, target)
            answer = self.redactor.json(_call_with_deadline(deadline, call, source, target), depth)
        except SourceError as caught:
            if isinstance(caught, UnreachableError | DeadlineError):
                self._unreachable.setdefault((source, target), caught)
            error = self.redactor.json(error_as_dict(caught))
        is_cut = answer is not None and len(json.dumps(answer)) > MAX_RECORDED_BYTES
        entry = Entry(source, request, asked_at, monotonic() - start, answer, error, is_cut)
        with self._lock:
            self._answered[entry.key] = entry
        return entry

    def _refuse_unreachable(self, source: str, target: str) -> None:
        """Raise the earlier error of a system that was unreachable or late."""
        first = self._unreachable.get((source, target))
        if first is not None:
            raise error_of(error_as_dict(first)) from first

    def take_recorded(self) -> list[Entry]:
        """The entries recorded since the last call, for the output of the current cell."""
        with self._lock:
            taken, self._recorded = self._recorded, []
        return taken

    def take_used(self) -> list[Entry]:
        """The entries used since the last call, whether they were recorded now or earlier."""
        with self._lock:
            taken, self._used = self._used, []
        return taken

    def known(self, source: str) -> list[Entry]:
        """All entries of this source, including those of the recording."""
        with self._lock:
            return [entry for entry in self._answered.values() if entry.source == source]

    def remark(self, text: str) -> None:
        """Add a warning of a system that its answer may be incomplete."""
        with self._lock:
            self._remarks.append(text)

    def take_remarks(self) -> list[str]:
        """The different warnings since the last call, in order."""
        with self._lock:
            taken, self._remarks = list(dict.fromkeys(self._remarks)), []
        return taken

    def forget(self, *, keeping: Container[str] = ()) -> None:
        """Forget all answers and unreachable systems of a live run, so that requests are sent again.

        The answers of the sources in `keeping` stay. A replay forgets nothing.
        """
        if not self.is_replay:
            kept = {key: entry for key, entry in self._answered.items() if entry.source in keeping}
            self._answered = kept
            self._unreachable.clear()
            self.record_again()

    def record_again(self) -> None:
        """Record every answer once more when it is used: the output with its recording was deleted."""
        with self._lock:
            self._noted.clear()


def _not_recorded(source: str, request: dict[str, Any], target: str) -> NotRecordedError:
    return NotRecordedError(
        f"was never asked {json.dumps(request, ensure_ascii=False)[:300]} in this recording",
        system=source,
        target=target,
        hint="record the incident again, or replay it with the notebook that recorded it",
    )


def side_by_side(calls: Sequence[Callable[[], T]]) -> list[T]:
    """Run independent calls in parallel and return their results in order.

    Raises the error of the first call in order that fails.
    """
    if len(calls) < 2:
        return [call() for call in calls]
    with ThreadPoolExecutor(max_workers=min(len(calls), 16)) as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]


def _call_with_deadline(deadline_seconds: float, call: Callable[[], T], source: str, target: str) -> T:
    """The result of the call. Raises DeadlineError if the whole call takes longer than the deadline.

    The call runs in a daemon thread, which continues after the deadline. Each source sets socket timeouts, so
    the thread ends soon after.
    """
    outcome: list[T] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            outcome.append(call())
        except BaseException as caught:  # noqa: BLE001 - raised again in the calling thread
            failure.append(caught)

    worker = threading.Thread(target=run, daemon=True, name=f"ask-{source}")
    worker.start()
    worker.join(deadline_seconds)
    if failure:
        raise failure[0]
    if not outcome:
        raise DeadlineError(
            f"no answer within {deadline_seconds:g} s",
            system=source,
            target=target,
            hint="check whether it is overloaded or hangs",
        )
    return outcome[0]


def pack(entries: Sequence[Entry]) -> dict[str, Any]:
    """The entries as the JSON for a cell's output, with a version and compressed data."""
    plain = json.dumps([entry.as_dict() for entry in entries], ensure_ascii=False, separators=(",", ":"))
    data = base64.b64encode(zlib.compress(plain.encode("utf-8", "surrogatepass"), 9)).decode()
    return {"version": VERSION, "encoding": "zlib+base64", "entries": len(entries), "data": data}


def unpack(recording: dict[str, Any]) -> list[Entry]:
    """The reverse of `pack`. Raises EvidenceError for another version or damaged data."""
    if recording.get("version") != VERSION or recording.get("encoding") != "zlib+base64":
        raise errors.EvidenceError(
            f"a recording of version {recording.get('version')!r} cannot be read",
            hint="use the runbooklib that recorded it, or a newer version",
        )
    try:
        plain = zlib.decompress(base64.b64decode(recording["data"])).decode("utf-8", "surrogatepass")
        return [Entry.from_dict(stored) for stored in json.loads(plain)]
    except (zlib.error, ValueError, TypeError, KeyError):
        raise errors.EvidenceError(
            "a recording is damaged", hint="use an undamaged copy of the notebook that contains it"
        ) from None
