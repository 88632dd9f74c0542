"""Who performed which action on which target, when and why: `actions.jsonl` beside the bundles.

The file is append-only and hash-chained. Before an action it gets a line of kind `intent`, synced; after the
action a line of kind `outcome`. An intent without an outcome has an unknown outcome, and is never retried
automatically. All who share the folder share its limits.
"""

import fcntl
import hashlib
import json
import os
import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from runbooklib import files
from runbooklib.evidence import journal

FILE = "actions.jsonl"
STOP_FILE = "STOP-ACTIONS"
UNKNOWN = "unknown"
_INCONCLUSIVE = ("", "CANNOT TELL")
# An older action is not taken for the cause of a recovery.
_MAX_RECOVERY_DELAY = timedelta(hours=6)
_HOUR_SECONDS = 3600
_MAX_REASON_LENGTH = 500
_TEXT_FIELDS = "by host action target environment service alert why plan evidence nonce proposed_in".split()


@dataclass(frozen=True, slots=True)
class ActionRecord:
    """One action, or the refusal of one.

    `outcome`: done, failed, refused, or unknown if none was recorded; `message` is the sentence about it.
    `why` is the cause that the action addresses. `proposed_in` is the bundle of the run that proposed it,
    `evidence` the bundle of the state saved before it.
    `recovery` is the first conclusive result of a recovery check: RECOVERED or NOT RECOVERED; else CANNOT
    TELL, or empty without a check. `later` are the different results of later checks: other events may
    explain them.
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
    message: str = ""
    recovery: str = ""
    recovered_after_seconds: float | None = None
    later: tuple[str, ...] = ()


class Book:
    """The ledger while this process holds its lock."""

    def __init__(self, file: int, lines: list[dict[str, Any]], head: str) -> None:
        self._file, self.lines, self._head = file, lines, head

    @property
    def head(self) -> str:
        """The hash of the last line."""
        return self._head

    @property
    def deeds(self) -> list[ActionRecord]:
        """All actions and refusals so far."""
        return deeds_of(self.lines)

    def append(self, kind: str, fields: Mapping[str, Any]) -> None:
        """Add a line and sync it. Raises OSError."""
        line = {"at": datetime.now(UTC).isoformat(), "kind": kind, "previous": self._head, **fields}
        line["host"] = socket.gethostname()
        content = (json.dumps(line, ensure_ascii=True, separators=(",", ":")) + "\n").encode()
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(self._file, rest) :]
        os.fsync(self._file)
        self._head = hashlib.sha256(content).hexdigest()
        self.lines.append(line)


@contextmanager
def held(folder: Path) -> Iterator[Book]:
    """Lock the folder's ledger; create it if it does not exist. Raises OSError; ValueError if it was changed.

    An incomplete last line is removed: its writer was killed before it did anything.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    file = os.open(folder / FILE, flags, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        content = _content(file)
        whole = content[: content.rfind(b"\n") + 1]
        if whole != content:
            os.ftruncate(file, len(whole))
        lines, problem = journal.parse(whole, FILE)
        if problem:
            raise ValueError(problem)
        files.sync(folder)
        yield Book(file, lines, _hash_of_last_line(whole) or journal.FIRST)
    finally:
        os.close(file)


@contextmanager
def service_lock(folder: Path, environment: str, service: str) -> Iterator[bool]:
    """Lock the service against other actions; False if another action is running. Raises OSError.

    A file lock ends with its process, however the process ends; an intent without an outcome does not show
    whether an action is still running.
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
    pieces, position = [], 0
    while piece := os.pread(file, 1 << 20, position):
        pieces.append(piece)
        position += len(piece)
    return b"".join(pieces)


def _hash_of_last_line(content: bytes) -> str:
    """The hash of the last complete line; empty if there is none."""
    lines = content.split(b"\n")[:-1]
    return hashlib.sha256(lines[-1] + b"\n").hexdigest() if lines else ""


def read(folder: Path) -> tuple[list[dict[str, Any]], str]:
    """The lines up to the first broken one, and what is wrong with that one. Raises OSError."""
    path = folder / FILE
    return journal.parse(path.read_bytes(), FILE) if path.exists() else ([], "")


def head_of(folder: Path) -> str:
    """The hash of the last complete line; empty if there is none. Raises OSError."""
    path = folder / FILE
    return _hash_of_last_line(path.read_bytes()) if path.exists() else ""


def deeds_of(lines: Iterable[Mapping[str, Any]]) -> list[ActionRecord]:
    """The actions and refusals in the lines, oldest first. Raises ValueError for an unknown kind of line."""
    deeds: dict[str, ActionRecord] = {}
    try:
        for line in lines:
            name = str(line["id"])
            if line["kind"] in ("intent", "refused"):
                deeds[name] = _from_line(name, line)
            elif line["kind"] == "outcome":
                deeds[name] = replace(deeds[name], outcome=str(line["outcome"]), message=str(line["told"]))
            elif line["kind"] == "recovery":
                deeds[name] = _with_recovery(deeds[name], line)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{FILE} holds a line that cannot be read: {error}") from None
    return list(deeds.values())


def _from_line(name: str, line: Mapping[str, Any]) -> ActionRecord:
    texts: dict[str, Any] = {field: str(line[field]) for field in _TEXT_FIELDS}
    return ActionRecord(
        id=name,
        at=datetime.fromisoformat(line["at"]),
        outcome="refused" if line["kind"] == "refused" else UNKNOWN,
        message=str(line.get("told", "")),
        **texts,
    )


def _with_recovery(deed: ActionRecord, line: Mapping[str, Any]) -> ActionRecord:
    """The deed with the result of one more recovery check. The first conclusive result stays its own."""
    result, after = str(line["recovery"]), line["after_seconds"]
    if deed.recovery in _INCONCLUSIVE:
        seconds = None if after is None else float(after)
        return replace(deed, recovery=result, recovered_after_seconds=seconds)
    is_new = result not in _INCONCLUSIVE and result != (deed.recovery, *deed.later)[-1]
    return replace(deed, later=(*deed.later, result)) if is_new else deed


def last_of(folder: Path, environment: str, service: str, alert: str) -> ActionRecord | None:
    """The newest action of the last hours on this service for this alert, refusals excluded.

    A failed action counts: it may have changed something. Raises OSError, ValueError.
    """
    lines, _ = read(folder)
    incident_key = (environment, service, alert)
    performed = [
        deed
        for deed in deeds_of(lines)
        if (deed.environment, deed.service, deed.alert) == incident_key and deed.outcome != "refused"
    ]
    is_recent = performed and datetime.now(UTC) - performed[-1].at < _MAX_RECOVERY_DELAY
    return performed[-1] if is_recent else None


def refusal(
    deeds: Iterable[ActionRecord],
    deed: ActionRecord,
    *,
    cooldown_seconds: float,
    most_per_hour: int,
    is_of_service: bool = False,
) -> str:
    """Why `deed` must not be performed now, after the earlier `deeds`; empty if it may be.

    Earlier refusals do not count; failed actions and unknown outcomes do. `is_of_service`: the action changes
    the whole service, so its cooldown holds for every target of the service.
    """
    earlier = [each for each in deeds if each.outcome != "refused"]
    for each in reversed(earlier):
        if each.plan == deed.plan:
            return (
                f"this plan was already performed by {each.by} at {each.at:%H:%M:%S} UTC (outcome: "
                f"{each.outcome}); see the target's state, then run the runbook again"
            )
    for each in reversed(earlier):
        if (
            _shares_cooldown(each, deed, is_of_service=is_of_service)
            and _age_seconds(each, deed) < cooldown_seconds
        ):
            return _cooldown_refusal(each, deed, cooldown_seconds)
    recent = [
        each
        for each in earlier
        if each.environment == deed.environment and _age_seconds(each, deed) < _HOUR_SECONDS
    ]
    if len(recent) >= most_per_hour:
        return (
            f"{len(recent)} actions within an hour in {deed.environment}; the limit is {most_per_hour}: "
            "find the cause first"
        )
    return ""


def _age_seconds(earlier: ActionRecord, deed: ActionRecord) -> float:
    return (deed.at - earlier.at).total_seconds()


def _shares_cooldown(earlier: ActionRecord, deed: ActionRecord, *, is_of_service: bool) -> bool:
    if (earlier.environment, earlier.target) == (deed.environment, deed.target):
        return True
    is_same_service = (earlier.environment, earlier.service) == (deed.environment, deed.service)
    return is_of_service and is_same_service and earlier.action == deed.action


def _cooldown_refusal(earlier: ActionRecord, deed: ActionRecord, cooldown_seconds: float) -> str:
    age = _age_seconds(earlier, deed)
    if age < 0:
        return (
            f"{earlier.by} performed {earlier.action} on {earlier.target} ({earlier.outcome}) at a time that "
            f"is {-age:.0f} s ahead of this machine's clock; the cooldown is {cooldown_seconds:g} s"
        )
    return (
        f"{earlier.by} performed {earlier.action} on {earlier.target} {age:.0f} s ago ({earlier.outcome}); "
        f"the cooldown is {cooldown_seconds:g} s: wait, and see whether it helped"
    )


def stop_reason(folder: Path) -> str:
    """The text of the stop file, the reason why no action is allowed; empty if there is no such file."""
    path = folder / STOP_FILE
    if not os.path.lexists(path):
        return ""
    reason = ""
    with suppress(OSError):
        reason = path.read_text(encoding="utf-8", errors="backslashreplace")[:_MAX_REASON_LENGTH].strip()
    return reason or f"{STOP_FILE} is empty"
