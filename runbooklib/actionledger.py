"""Who did what to which target, when and why: `actions.jsonl` beside the bundles, hash-chained, append-only.

Before an action there is a line of kind `intent`, synced; after it one of kind `outcome`. An intent without
an outcome is one whose outcome nobody knows: it is never tried again by itself. Whoever shares the folder
shares the limits.
"""

import fcntl
import hashlib
import json
import os
import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from runbooklib import journal

FILE = "actions.jsonl"
STOP_FILE = "STOP-ACTIONS"
UNKNOWN = "unknown"
# What a look came to that decides nothing.
_UNDECIDED = ("", "CANNOT TELL")
# What was done longer ago is not taken for what helped.
_MAY_HELP = timedelta(hours=6)


@dataclass(frozen=True, slots=True)
class Deed:
    """One action, or the refusal of one. `outcome`: done, failed, refused, or unknown where nobody heard.

    `why` is the cause it was proposed for; `proposed_in` that run's bundle, `evidence`
    the bundle of what was captured before it; `recovery`
    what came of it: RECOVERED, NOT RECOVERED, CANNOT TELL, empty where nobody looked. `later`: what looks
    after that one came to, where it was something else; whatever mended it by then, it was not this deed.
    """

    id: str
    at: datetime
    by: str
    host: str
    action: str
    target: str
    environment: str
    service: str
    alert: str
    why: str
    plan: str
    evidence: str
    nonce: str = ""
    proposed_in: str = ""
    outcome: str = UNKNOWN
    told: str = ""
    recovery: str = ""
    recovered_after_seconds: float | None = None
    later: tuple[str, ...] = ()


class Book:
    """The ledger while nobody else can write it."""

    def __init__(self, file: int, lines: list[dict[str, Any]], previous: str) -> None:
        self._file, self.lines, self._previous = file, lines, previous

    @property
    def head(self) -> str:
        """The hash of the last line."""
        return self._previous

    @property
    def deeds(self) -> list[Deed]:
        """What was done so far."""
        return deeds_of(self.lines)

    def append(self, kind: str, told: Mapping[str, Any]) -> None:
        """Add a line and sync it. Raises OSError."""
        line = {"at": datetime.now(UTC).isoformat(), "kind": kind, "previous": self._previous, **told}
        line["host"] = socket.gethostname()
        content = (json.dumps(line, ensure_ascii=True, separators=(",", ":")) + "\n").encode()
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(self._file, rest) :]
        os.fsync(self._file)
        self._previous = hashlib.sha256(content).hexdigest()
        self.lines.append(line)


@contextmanager
def held(folder: Path) -> Iterator[Book]:
    """The folder's ledger, made where there is none. Raises OSError; ValueError where it was changed.

    The beginning of a line whose writer was killed goes: nothing had been done for it yet.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    file = os.open(folder / FILE, flags, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        content = _content(file)
        whole = content[: content.rfind(b"\n") + 1]
        if whole != content:
            os.ftruncate(file, len(whole))
        lines, wrong = journal.parse(whole, FILE)
        if wrong:
            raise ValueError(wrong)
        held_directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(held_directory)
        finally:
            os.close(held_directory)
        last = whole.split(b"\n")[-2] + b"\n" if whole else b""
        yield Book(file, lines, hashlib.sha256(last).hexdigest() if last else journal.FIRST)
    finally:
        os.close(file)


@contextmanager
def alone(folder: Path, environment: str, service: str) -> Iterator[bool]:
    """Whether no other action on this service is under way; none begins while this lasts. Raises OSError.

    A lock, which goes with its process however that ends: an intent without an outcome tells nothing of it.
    """
    name = hashlib.sha256(json.dumps([environment, service]).encode()).hexdigest()[:16]
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    file = os.open(folder / f".acting-{name}", flags, 0o600)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(file)


def _content(file: int) -> bytes:
    pieces, place = [], 0
    while piece := os.pread(file, 1 << 20, place):
        pieces.append(piece)
        place += len(piece)
    return b"".join(pieces)


def read(folder: Path) -> tuple[list[dict[str, Any]], str]:
    """The lines as far as the chain holds, and what is wrong with the next one. Raises OSError."""
    path = folder / FILE
    return journal.parse(path.read_bytes(), FILE) if path.exists() else ([], "")


def head_of(folder: Path) -> str:
    """The hash of the last whole line; empty where there is none. Raises OSError."""
    path = folder / FILE
    stored = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    return hashlib.sha256(stored[-1] + b"\n").hexdigest() if stored else ""


def deeds_of(lines: Iterable[Mapping[str, Any]]) -> list[Deed]:
    """The deeds that the lines tell of, oldest first. Raises ValueError for lines that are none of ours."""
    found: dict[str, Deed] = {}
    try:
        for line in lines:
            name = str(line["id"])
            if line["kind"] in ("intent", "refused"):
                found[name] = _begun(name, line)
            elif line["kind"] == "outcome":
                found[name] = replace(found[name], outcome=str(line["outcome"]), told=str(line["told"]))
            elif line["kind"] == "recovery":
                found[name] = _looked_at(found[name], line)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{FILE} holds a line that is none of ours: {error}") from None
    return list(found.values())


def _looked_at(deed: Deed, line: Mapping[str, Any]) -> Deed:
    """The deed with what one more look came to. The first answer that decides stays: it is the deed's own."""
    came_to, after = str(line["recovery"]), line["after_seconds"]
    if deed.recovery in _UNDECIDED:
        seconds = None if after is None else float(after)
        return replace(deed, recovery=came_to, recovered_after_seconds=seconds)
    is_news = came_to not in _UNDECIDED and came_to != (deed.recovery, *deed.later)[-1]
    return replace(deed, later=(*deed.later, came_to)) if is_news else deed


def last_of(folder: Path, environment: str, service: str, alert: str) -> Deed | None:
    """The newest deed on this service for this alert that may have helped; None for none of the last hours.

    One that failed may have changed as much as one that was done. Raises OSError, ValueError.
    """
    lines, _ = read(folder)
    place = (environment, service, alert)
    done = [
        deed
        for deed in deeds_of(lines)
        if (deed.environment, deed.service, deed.alert) == place and deed.outcome != "refused"
    ]
    is_recent = done and datetime.now(UTC) - done[-1].at < _MAY_HELP
    return done[-1] if is_recent else None


def _begun(name: str, line: Mapping[str, Any]) -> Deed:
    names = "by host action target environment service alert why plan evidence nonce proposed_in".split()
    texts: dict[str, Any] = {name: str(line[name]) for name in names}
    outcome = "refused" if line["kind"] == "refused" else UNKNOWN
    return Deed(
        id=name,
        at=datetime.fromisoformat(line["at"]),
        outcome=outcome,
        told=str(line.get("told", "")),
        **texts,
    )


def refusal(
    deeds: Iterable[Deed],
    deed: Deed,
    *,
    cooldown_seconds: float,
    most_per_hour: int,
    is_of_service: bool = False,
) -> str:
    """Why this deed must not be done now, after those of before; empty where it may.

    What was refused does not count; what failed, and what nobody knows, does. `is_of_service`: the action
    changes the whole service, whatever its target is called, and rests for all of it.
    """
    begun = [one for one in deeds if one.outcome != "refused"]
    same_plan = [one for one in begun if one.plan == deed.plan]
    if same_plan:
        last = same_plan[-1]
        what = "nobody knows what came of it" if last.outcome == UNKNOWN else f"it was {last.outcome}"
        return (
            f"this very plan was acted upon by {last.by} at {last.at:%H:%M:%S} UTC, and {what}: "
            "look for yourself, then run the runbook again"
        )
    for one in reversed(begun):
        ago = (deed.at - one.at).total_seconds()
        is_same_service = (one.environment, one.service) == (deed.environment, deed.service)
        is_same = is_same_service and one.action == deed.action and is_of_service
        is_same = is_same or (one.environment, one.target) == (deed.environment, deed.target)
        if is_same and ago < cooldown_seconds:
            return (
                f"{one.by} did {one.action} on {one.target} {_ago(ago)} ({one.outcome}); the cooldown is "
                f"{cooldown_seconds:g} s: wait, and see what came of it"
            )
    hour = [one for one in begun if one.environment == deed.environment and _is_within_an_hour(one, deed)]
    if len(hour) >= most_per_hour:
        return f"{len(hour)} actions within an hour in {deed.environment} are enough: find the cause"
    return ""


def _is_within_an_hour(one: Deed, deed: Deed) -> bool:
    return (deed.at - one.at).total_seconds() < 3600


def _ago(seconds: float) -> str:
    return f"{seconds:.0f} s ago" if seconds >= 0 else "just now, by a clock ahead of ours"


def stopped(folder: Path) -> str:
    """Why no action may be taken at all: what the stop file says. Empty where there is none."""
    path = folder / STOP_FILE
    if not os.path.lexists(path):
        return ""
    try:
        told = path.read_text(encoding="utf-8", errors="backslashreplace")[:500].strip()
    except OSError:
        told = ""
    return told or "no reason is given"
