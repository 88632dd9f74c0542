"""The one seam to the outside: every answer from a system passes here.

Live, a question is asked within its deadline, the answer is redacted, then recorded, then used. In a
replay the recorded answer is given, and a question that was never recorded fails loudly. Within one run
the same question has one answer, and a system that could not be reached is not waited for twice.
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
from runbooklib.errors import DeadlineError, NonsenseError, NotRecordedError, SourceError, UnreachableError
from runbooklib.redact.redactor import Depth, Redactor

VERSION = 1

# The source of what an incident was opened with; no system was asked for it.
OPENING = "opening"

# In an output's recording: the places of those entries that people asked and noted themselves.
OWN = "own"
DEADLINE_SECONDS = 10.0

# One answer larger than this is used but not recorded, and its finding says so.
MAX_RECORDED_BYTES = 4_000_000
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Entry:
    """One question and what came of it. `answer` is JSON; `error` is set where there was none."""

    source: str
    request: dict[str, Any]
    asked_at: datetime
    seconds: float
    answer: Any = None
    error: dict[str, str] | None = None
    is_cut: bool = False

    @property
    def key(self) -> str:
        """The same question gives the same key, however its request was put together."""
        return _key(self.source, self.request)

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
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
    """Records every answer of a live run, or plays a recording back.

    With `resumed`, the recording of a run that is to go on, what was answered then is not asked again; other
    questions are asked live, and so are those that had no answer.
    """

    def __init__(
        self,
        redactor: Redactor | None = None,
        *,
        recording: Iterable[Entry] | None = None,
        resumed: Iterable[Entry] = (),
    ) -> None:
        self.redactor = redactor or Redactor()
        self.is_replay = recording is not None
        # Of a question that was asked again, the newest answer counts, wherever in the notebook it lies.
        known = [*(recording or ()), *(one for one in resumed if one.error is None and not one.is_cut)]
        self._answered: dict[str, Entry] = {one.key: one for one in sorted(known, key=_asked_at)}
        self._recorded: list[Entry] = []
        self._used: list[Entry] = []
        self._noted: set[str] = set()
        self._remarks: list[str] = []
        self._dead: dict[tuple[str, str], SourceError] = {}
        self._lock = threading.Lock()
        self._asking: dict[str, threading.Lock] = {}

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
        """The JSON answer of `call`, which is given up after `deadline_seconds`, all retries included.

        `request` must tell the question from every other one; `target` names the system without
        credentials. An answer that `is_ours` is no system's but the site's own settings: only known secrets
        are taken out of it, and e-mail addresses stay. Raises the SourceError that the system's answer
        amounts to, live and in replay.
        """
        asked = self.redactor.json(request)
        key = _key(source, asked)
        if self.is_replay and key not in self._answered:
            raise NotRecordedError(
                f"was never asked {json.dumps(asked, ensure_ascii=False)[:300]} in this recording",
                system=source,
                target=target,
                hint="record the incident again, or replay it with the notebook that recorded it",
            )
        with self._lock:
            one_at_a_time = self._asking.setdefault(key, threading.Lock())
        with one_at_a_time:
            entry = self._answered.get(key) or self._ask(
                source,
                asked,
                call,
                target,
                deadline_seconds,
                Depth.KNOWN if is_ours else Depth.EVERYTHING,
            )
        self._note_use(entry)
        if entry.is_cut and self.is_replay:
            raise NotRecordedError("the answer was too large to record", system=source, target=target)
        if entry.error is not None:
            raise _error_of(entry.error)
        return entry.answer

    def _note_use(self, entry: Entry) -> None:
        with self._lock:
            self._used.append(entry)
            # A replay's own evidence must be replayable too: it records again what it plays.
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
        asked_at, begun = datetime.now(UTC), monotonic()
        answer, error = None, None
        try:
            self._refuse_the_dead(source, target)
            answer = self.redactor.json(_within(deadline, call, source, target), depth)
        except SourceError as caught:
            if isinstance(caught, UnreachableError | DeadlineError):
                self._dead.setdefault((source, target), caught)
            error = self.redactor.json(_error_as_dict(caught))
        is_cut = answer is not None and len(json.dumps(answer)) > MAX_RECORDED_BYTES
        entry = Entry(source, request, asked_at, monotonic() - begun, answer, error, is_cut)
        with self._lock:
            self._answered[entry.key] = entry
        return entry

    def _refuse_the_dead(self, source: str, target: str) -> None:
        dead = self._dead.get((source, target))
        if dead is not None:
            again = type(dead)(dead.message, system=dead.system, target=dead.target, hint=dead.hint)
            raise again from dead

    def take_recorded(self) -> list[Entry]:
        """What was recorded since this was last called; for the output of the cell that asked."""
        with self._lock:
            taken, self._recorded = self._recorded, []
        return taken

    def take_used(self) -> list[Entry]:
        """What was answered since this was last called, recorded now or before."""
        with self._lock:
            taken, self._used = self._used, []
        return taken

    def known(self, source: str) -> list[Entry]:
        """What this source has answered, then and now, by time."""
        with self._lock:
            return [entry for entry in self._answered.values() if entry.source == source]

    def remark(self, text: str) -> None:
        """A system warned of its own answer: it may be incomplete."""
        with self._lock:
            self._remarks.append(text)

    def take_remarks(self) -> list[str]:
        """What systems warned of since this was last called, each once."""
        with self._lock:
            taken, self._remarks = list(dict.fromkeys(self._remarks)), []
        return taken

    def forget(self, *, keeping: Container[str] = ()) -> None:
        """From now on questions are asked again, and dead systems get another chance.

        `keeping`: sources of which the answers stay.
        """
        if not self.is_replay:
            kept = {key: one for key, one in self._answered.items() if one.source in keeping}
            self._answered = kept
            self._dead.clear()
            self.record_again()

    def record_again(self) -> None:
        """From now on answers are recorded once more: the output that they lay in is gone."""
        with self._lock:
            self._noted.clear()


def _asked_at(entry: Entry) -> datetime:
    return entry.asked_at


def side_by_side(calls: Sequence[Callable[[], T]]) -> list[T]:
    """The results of independent calls, asked at the same time, in their order; the first error is raised."""
    if len(calls) < 2:
        return [call() for call in calls]
    with ThreadPoolExecutor(max_workers=min(len(calls), 16)) as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]


def _within(deadline_seconds: float, call: Callable[[], T], source: str, target: str) -> T:
    """The call's result, or DeadlineError: a whole deadline, which timeouts of single reads are not.

    The call runs in a daemon thread that is left behind when it is late; a source sets its own socket
    timeouts, so that such a thread ends soon after.
    """
    outcome: list[T] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            outcome.append(call())
        except BaseException as caught:  # noqa: BLE001 - carried to the asking thread and raised there
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
            hint="see whether it is overloaded, or hangs",
        )
    return outcome[0]


def _error_as_dict(error: SourceError) -> dict[str, str]:
    stored = {"type": type(error).__name__, "message": error.message, "system": error.system}
    return stored | {"target": error.target, "remedy": error.hint, "code": getattr(error, "code", "")}


def _error_of(stored: dict[str, str]) -> SourceError:
    about = {"system": stored["system"], "target": stored["target"], "hint": stored["remedy"]}
    kind = getattr(errors, stored["type"], NonsenseError)
    if kind is errors.RefusedError:
        return errors.RefusedError(stored["message"], code=stored["code"], **about)
    error: SourceError = kind(stored["message"], **about)
    return error


def pack(entries: Sequence[Entry]) -> dict[str, Any]:
    """A recording as the JSON that lies in a cell's output: versioned and compressed."""
    plain = json.dumps([entry.as_dict() for entry in entries], ensure_ascii=False, separators=(",", ":"))
    data = base64.b64encode(zlib.compress(plain.encode("utf-8", "surrogatepass"), 9)).decode()
    return {"version": VERSION, "encoding": "zlib+base64", "entries": len(entries), "data": data}


def unpack(recording: dict[str, Any]) -> list[Entry]:
    """The reverse of `pack`. Raises EvidenceError for what this version cannot read."""
    if recording.get("version") != VERSION or recording.get("encoding") != "zlib+base64":
        raise errors.EvidenceError(
            f"a recording of version {recording.get('version')!r} cannot be read",
            hint="use the runbooklib that recorded it, or a newer one",
        )
    try:
        plain = zlib.decompress(base64.b64decode(recording["data"])).decode("utf-8", "surrogatepass")
        return [Entry.from_dict(stored) for stored in json.loads(plain)]
    except (zlib.error, ValueError, TypeError, KeyError):
        raise errors.EvidenceError(
            "a recording is damaged", hint="take an undamaged copy of the notebook that holds it"
        ) from None


NOTE = "note"
