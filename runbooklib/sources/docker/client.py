"""Docker: the state, memory and CPU use, events and logs of a container.

Sends GET requests only. Of a container's description, only the fields listed here are kept: environment,
command line, labels and mounts hold secrets and never leave the call.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pandas as pd

from runbooklib.errors import NoDataError, ParameterError, RefusedError, UnreachableError
from runbooklib.model.window import moment_of
from runbooklib.sources.docker.engine import SYSTEM, Engine, PartialResponse, moment_or_none, opened
from runbooklib.sources.docker.events import Events, read_events, with_times
from runbooklib.sources.docker.log_reach import lost_before, refuse_unreadable
from runbooklib.sources.docker.log_stream import (
    FIRST_ENTRIES,
    LAST_ENTRIES,
    Excerpt,
    demultiplexed,
    lines_of,
    moment_of_line,
)
from runbooklib.sources.docker.processes import workers_of
from runbooklib.sources.logs.records import COLUMNS, parse
from runbooklib.sources.tape import Tape

MAX_LOG_BYTES_READ = 64_000_000
# Of a larger log, the newest lines: as many as fit into about half of these bytes.
TAIL_LINES, MAX_TAIL_BYTES = 20_000, 16_000_000
_NAME = re.compile(r"[a-zA-Z0-9][\w.-]+", re.ASCII)
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"?')
_MIN_WORD_LENGTH = 4


@dataclass(frozen=True, slots=True)
class Container:
    """A container as Docker describes it. Times are aware UTC; None for what has not happened.

    `revision` and `version` are its image's OCI labels; `exit_code` is that of the last exit, 0 while it
    runs; `oom_killed` means at any time, not only now; `memory_limit_bytes` is None for no limit.
    `memory_swap_bytes` is memory and swap together, -1 for unlimited, None if not set.
    """

    name: str
    id: str
    image: str
    image_id: str
    revision: str
    version: str
    status: str
    is_running: bool
    exit_code: int
    error: str
    oom_killed: bool
    restart_count: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    memory_limit_bytes: int | None
    restart_policy: str
    health: str
    memory_swap_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Stats:
    """A container's use of memory, without page cache, and CPU as a share of one core (2.0 is two cores).

    `memory_limit_bytes` and `memory_share` (0–1) are None for a container without a limit.
    """

    memory_bytes: int
    memory_limit_bytes: int | None
    memory_share: float | None
    cpu_share: float
    pids: int


@dataclass(frozen=True, slots=True)
class LogLines:
    """The relevant log entries of a container in a window; `frame` has the columns of `logs.Record`.

    Ordinary requests and lines of level info or below are not in it; `quiet_lines` counts them.
    `gap`: from when to when (aware UTC) entries are left out; None if none are. `ends_early_at`: up to when
    the log was read; None if it was read to the end of the window. `reads_since`: when this container was
    created, since the log of a container that it replaced is lost. If lines of this one may be deleted
    (rotation), `lost_before` and `reads_since` are the time of the first line that can be read.
    `cut_at`: when
    the first line was written that is too long to be kept whole; None if there is none.
    """

    frame: pd.DataFrame
    reads_since: datetime
    quiet_lines: int
    gap: tuple[datetime, datetime] | None
    ends_early_at: datetime | None
    lost_before: datetime | None = None
    cut_at: datetime | None = None

    @property
    def is_cut(self) -> bool:
        """Whether entries between the first and the last ones are left out."""
        return self.gap is not None


class Docker:
    """A Docker engine, or the filtering proxy in front of it, at "unix:///…" or "tcp://…"."""

    def __init__(self, url: str, tape: Tape, *, deadline_seconds: float = 10.0) -> None:
        self._url = url
        self._tape = tape
        self._deadline_seconds = deadline_seconds
        self._has_answered = False

    def __repr__(self) -> str:
        return f"Docker({self._url!r})"

    def container(self, name: str) -> Container:
        """The container of exactly that name. Raises NoDataError that lists similar running containers."""
        described = self._ask({"question": "container"}, name, lambda engine: _fields(engine.inspect(name)))
        times = {key: moment_or_none(described[key]) for key in ("created_at", "started_at", "finished_at")}
        return Container(**(described | times))

    def stats(self, name: str) -> Stats:
        """The container's memory and CPU use; takes 1 to 2 s. Raises NoDataError if it is not running."""
        return Stats(**self._ask({"question": "stats"}, name, lambda engine: _stats(engine, name)))

    def events(self, name: str, since: datetime, until: datetime) -> Events:
        """The events of the containers of that name. Raises NoDataError if Docker knows no such container."""
        answer = self._ask(
            {"question": "events", "since": since.isoformat(), "until": until.isoformat()},
            name,
            lambda engine: read_events(engine, name, since, until),
        )
        return Events.of(answer)

    def workers(self, name: str) -> int:
        """How many worker processes of a Python web server run in the container; 0 without such a server."""
        # With a `part`, an engine that is late with this is not unreachable for the other questions.
        question, call = {"question": "workers"}, partial(workers_of, name=name)
        return int(self._ask(question, name, call, part="/top")["workers"])

    def logs(self, name: str, since: datetime, until: datetime) -> LogLines:
        """The relevant log entries of the container in the window, within the bounds of `logtail`."""
        answer = self._ask(
            {
                "question": "logs",
                "since": since.isoformat(),
                "until": until.isoformat(),
                "most_lines": FIRST_ENTRIES + LAST_ENTRIES,
            },
            name,
            lambda engine: _logs(
                engine, name, Excerpt(since, until, redact=self._tape.redactor.text), (since, until)
            ),
        )
        return _log_lines(answer)

    def _ask(
        self, request: dict[str, Any], name: str, call: Callable[[Engine], Any], *, part: str = ""
    ) -> Any:
        if not _NAME.fullmatch(name):
            raise ParameterError(f"{name!r} is not a valid container name", system=SYSTEM, target=self._url)

        def answer() -> Any:
            with self._engine() as engine:
                return call(engine)

        return self._tape.ask(
            SYSTEM,
            request | {"name": name},
            answer,
            target=f"{self._url}{part}",
            deadline_seconds=self._deadline_seconds,
        )

    @contextmanager
    def _engine(self) -> Iterator[Engine]:
        try:
            with opened(self._url, self._deadline_seconds) as engine:
                try:
                    yield engine
                finally:
                    self._has_answered |= engine.has_answered
        except UnreachableError as error:
            if not self._has_answered:
                raise
            # It may be restarting. After UnreachableError the tape would not ask it again in this run.
            raise RefusedError(
                f"{error.message}; it answered earlier in this run",
                system=SYSTEM,
                target=self._url,
                hint=error.hint,
            ) from error


def _fields(description: dict[str, Any]) -> dict[str, Any]:
    """The fields of a container that are kept; they hold no secret."""
    state, host, config = description["State"], description["HostConfig"], description["Config"]
    labels = config.get("Labels") or {}
    return {
        "name": description["Name"].lstrip("/"),
        "id": description["Id"],
        "image": config["Image"],
        "image_id": description["Image"],
        "revision": labels.get("org.opencontainers.image.revision", ""),
        "version": labels.get("org.opencontainers.image.version", ""),
        "status": state["Status"],
        "is_running": bool(state["Running"]),
        "exit_code": int(state["ExitCode"]),
        "error": _start_error(description),
        "oom_killed": bool(state["OOMKilled"]),
        "restart_count": int(description["RestartCount"]),
        "created_at": description["Created"],
        "started_at": state["StartedAt"],
        "finished_at": state["FinishedAt"],
        "memory_limit_bytes": host["Memory"] or None,
        "memory_swap_bytes": host.get("MemorySwap") or None,
        "restart_policy": host["RestartPolicy"]["Name"],
        "health": (state.get("Health") or {}).get("Status", ""),
    }


def _start_error(description: dict[str, Any]) -> str:
    """Why the container did not start, without parts of its command line and environment."""
    config = description["Config"]
    groups = (description.get("Args"), config.get("Cmd"), config.get("Entrypoint"), config.get("Env"))
    words = [description.get("Path") or "", *(word for group in groups for word in group or ())]
    words += [value for word in config.get("Env") or () for value in word.split("=", 1)[1:]]
    text = str(description["State"].get("Error") or "")
    for word in sorted({word for word in words if len(word) >= _MIN_WORD_LENGTH}, key=len, reverse=True):
        text = text.replace(word, "…")
    return _QUOTED.sub('"…"', text)


def _stats(engine: Engine, name: str) -> dict[str, Any]:
    container = engine.inspect(name)
    stats = engine.json(f"/containers/{container['Id']}/stats", stream="false") or {}
    if not stats.get("memory_stats", {}).get("usage"):
        raise NoDataError(f"{name} is not running", system=SYSTEM, target=engine.url)
    memory, now, before = stats["memory_stats"], stats["cpu_stats"], stats["precpu_stats"]
    details = memory["stats"]
    # Inactive page cache does not count, since the kernel frees it first: cgroup version 1, then 2.
    cache = details.get("total_inactive_file", details.get("inactive_file", 0))
    used = memory["usage"] - cache if cache < memory["usage"] else memory["usage"]
    own = now["cpu_usage"]["total_usage"] - before["cpu_usage"]["total_usage"]
    total = now["system_cpu_usage"] - before.get("system_cpu_usage", 0)
    cores = now.get("online_cpus") or len(now["cpu_usage"].get("percpu_usage") or [0])
    limit = container["HostConfig"]["Memory"] or None
    return {
        "memory_bytes": used,
        "memory_limit_bytes": limit,
        "memory_share": used / limit if limit else None,
        "cpu_share": own / total * cores if total > 0 else 0.0,
        "pids": stats.get("pids_stats", {}).get("current", 0),
    }


def _logs(engine: Engine, name: str, excerpt: Excerpt, span: tuple[datetime, datetime]) -> dict[str, Any]:
    """The relevant entries of the log from its beginning; of a log that is too large, from its end too."""
    container = engine.inspect(name)
    refuse_unreadable(container, engine.url)
    sizes: list[tuple[int, int, bool]] = []

    def read(since: datetime, max_bytes: int, **more: str) -> PartialResponse:
        bounds = {"since": f"{since.timestamp():.6f}", "until": f"{span[1].timestamp():.6f}"}
        parameters = {"stdout": "1", "stderr": "1", "timestamps": "1", **bounds, **more}
        part = PartialResponse(engine, f"/containers/{container['Id']}/logs", parameters, max_bytes=max_bytes)
        size, count = 0, 0
        for stream, payload in demultiplexed(part, is_tty=bool(container["Config"]["Tty"])):
            excerpt.add(stream, payload)
            size, count = size + len(payload), count + 1
        excerpt.finish()
        sizes.append((size, count, part.is_whole))
        return part

    part = read(span[0], MAX_LOG_BYTES_READ)
    ends_early_at = None if part.is_whole else excerpt.latest_at or span[0]
    if ends_early_at and part.has_more:
        excerpt.skip()
        line_bytes = sizes[0][0] // max(sizes[0][1], 1)
        lines = min(TAIL_LINES, MAX_TAIL_BYTES // (2 * max(line_bytes, 1)))
        tail = read(ends_early_at + timedelta(microseconds=1), MAX_TAIL_BYTES, tail=str(lines))
        if excerpt.latest_at != ends_early_at:
            ends_early_at = None if tail.is_whole else excerpt.latest_at
    lost = lost_before(engine, container, span[0], sizes)
    return {
        # Each line is redacted by itself: a redaction must not run from one entry into the next.
        "lines": excerpt.lines,
        "gap": [moment.isoformat() for moment in excerpt.gap] if excerpt.gap else None,
        "quiet_lines": excerpt.quiet_lines,
        "ends_early_at": ends_early_at.isoformat() if ends_early_at else None,
        "created_at": container["Created"],
        "lost_before": lost.isoformat() if lost else None,
        "cut_at": moment_of_line(excerpt.cut_at).isoformat() if excerpt.cut_at else None,
    }


def _log_lines(answer: dict[str, Any]) -> LogLines:
    # A recording of an earlier version holds the lines as a single text.
    earlier = answer.get("text", "")
    records = parse(
        lines_of(answer["lines"] if "lines" in answer else earlier.split("\n") if earlier else [])
    )
    rows = [[getattr(record, column) for column in COLUMNS] for record in records]
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    reads_since = moment_of(answer["created_at"])
    if answer.get("is_cut") and records:
        # An old recording holds only the newest lines, including routine ones: the log begins with them.
        reads_since = max(reads_since, records[0].at)
    lost = moment_or_none(answer.get("lost_before"))
    reads_since = max(reads_since, lost) if lost else reads_since
    gap = answer.get("gap")
    return LogLines(
        frame=with_times(frame.astype({"status_code": "Int64", "execution_time_ms": "float64"})),
        reads_since=reads_since,
        quiet_lines=answer.get("quiet_lines", 0),
        gap=(moment_of(gap[0]), moment_of(gap[1])) if gap else None,
        ends_early_at=moment_or_none(answer.get("ends_early_at")),
        lost_before=lost,
        cut_at=moment_or_none(answer.get("cut_at")),
    )
