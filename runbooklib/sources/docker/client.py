"""What a Docker engine knows: state, use of memory and CPU, events and logs of a container.

Only GET requests. Of what the engine tells about a container, only the leaves that are listed here are
kept: environment, command line, labels and mounts hold secrets and never leave the call.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pandas as pd

from runbooklib.errors import NoDataError, ParameterError, RefusedError, UnreachableError
from runbooklib.model.window import moment_of
from runbooklib.sources.docker.engine import SYSTEM, Beginning, Engine, moment_or_none, opened
from runbooklib.sources.docker.events import Events, told_events, with_times
from runbooklib.sources.docker.log_stream import FIRST_ENTRIES, LAST_ENTRIES, Excerpt, demultiplexed, lines_of
from runbooklib.sources.logs.records import COLUMNS, parse
from runbooklib.sources.tape import Tape

MAX_LOG_BYTES_READ = 64_000_000
# Of a log that is larger: its newest lines, and so few that about half of these bytes would do.
TAIL_LINES, MAX_TAIL_BYTES = 20_000, 16_000_000
_NAME = re.compile(r"[a-zA-Z0-9][\w.-]+", re.ASCII)
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"?')
_SHORTEST_WORD = 4


@dataclass(frozen=True, slots=True)
class Container:
    """A container as the engine describes it. Times are aware UTC, None where it never happened.

    `revision` and `version` are its image's OCI labels; `exit_code` is that of the last exit and 0 while it
    runs; `oom_killed` says "at some time", not "now"; `memory_limit_bytes` is None for no limit.
    `memory_swap_bytes` is memory and swap together, -1 for any; None where the engine sets none.
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
    """What a container uses now: memory without page cache, CPU as a share of one core (2.0 is two cores).

    `memory_limit_bytes` and `memory_share` (0–1) are None for a container without a limit.
    """

    memory_bytes: int
    memory_limit_bytes: int | None
    memory_share: float | None
    cpu_share: float
    pids: int


@dataclass(frozen=True, slots=True)
class LogLines:
    """What matters of what a container wrote in a window; `frame` has the columns of `logs.Record`.

    Ordinary requests and lines of level info or below are not in it; `quiet_lines` counts them.
    `gap`: between its first and its last entries others are left out, from when to when (aware UTC); None
    where none are. `ends_early_at`: up to when the log was read where that is not the window's end.
    `reads_since`: when this container was created; what one that it replaced had written is lost.
    """

    frame: pd.DataFrame
    reads_since: datetime
    quiet_lines: int
    gap: tuple[datetime, datetime] | None
    ends_early_at: datetime | None

    @property
    def is_cut(self) -> bool:
        """Something is missing between the first entries and the last ones."""
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
        """The container of exactly that name. Raises NoDataError, which names the nearest running ones."""
        leaves = self._ask({"question": "container"}, name, lambda engine: _leaves(engine.inspect(name)))
        times = {key: moment_or_none(leaves[key]) for key in ("created_at", "started_at", "finished_at")}
        return Container(**(leaves | times))

    def stats(self, name: str) -> Stats:
        """What the container uses now; takes 1 to 2 s. Raises NoDataError when it is not running."""
        return Stats(**self._ask({"question": "stats"}, name, lambda engine: _stats(engine, name)))

    def events(self, name: str, since: datetime, until: datetime) -> Events:
        """What happened to the containers of that name. Raises NoDataError where nothing bears the name."""
        told = self._ask(
            {"question": "events", "since": since.isoformat(), "until": until.isoformat()},
            name,
            lambda engine: told_events(engine, name, since, until),
        )
        return Events.of(told)

    def logs(self, name: str, since: datetime, until: datetime) -> LogLines:
        """What matters of what the container wrote in the window, within the bounds of `logtail`."""
        told = self._ask(
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
        return _log_lines(told)

    def _ask(self, request: dict[str, Any], name: str, call: Callable[[Engine], Any]) -> Any:
        if not _NAME.fullmatch(name):
            raise ParameterError(f"{name!r} is no name of a container", system=SYSTEM, target=self._url)

        def answer() -> Any:
            with self._engine() as engine:
                return call(engine)

        return self._tape.ask(
            SYSTEM,
            request | {"name": name},
            answer,
            target=self._url,
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
            # It may be restarting: refused, and not unreachable, so that the next question tries again.
            raise RefusedError(
                f"{error.message}; it answered earlier in this run",
                system=SYSTEM,
                target=self._url,
                hint=error.hint,
            ) from error


def _leaves(told: dict[str, Any]) -> dict[str, Any]:
    """The only facts of a container that are ever kept."""
    state, host, config = told["State"], told["HostConfig"], told["Config"]
    labels = config.get("Labels") or {}
    return {
        "name": told["Name"].lstrip("/"),
        "id": told["Id"],
        "image": config["Image"],
        "image_id": told["Image"],
        "revision": labels.get("org.opencontainers.image.revision", ""),
        "version": labels.get("org.opencontainers.image.version", ""),
        "status": state["Status"],
        "is_running": bool(state["Running"]),
        "exit_code": int(state["ExitCode"]),
        "error": _error(told),
        "oom_killed": bool(state["OOMKilled"]),
        "restart_count": int(told["RestartCount"]),
        "created_at": told["Created"],
        "started_at": state["StartedAt"],
        "finished_at": state["FinishedAt"],
        "memory_limit_bytes": host["Memory"] or None,
        "memory_swap_bytes": host.get("MemorySwap") or None,
        "restart_policy": host["RestartPolicy"]["Name"],
        "health": (state.get("Health") or {}).get("Status", ""),
    }


def _error(told: dict[str, Any]) -> str:
    """Why it did not start, without what the engine repeats of its command line and environment."""
    config = told["Config"]
    groups = (told.get("Args"), config.get("Cmd"), config.get("Entrypoint"), config.get("Env"))
    words = [told.get("Path") or "", *(word for group in groups for word in group or ())]
    words += [value for word in config.get("Env") or () for value in word.split("=", 1)[1:]]
    text = str(told["State"].get("Error") or "")
    for word in sorted({one for one in words if len(one) >= _SHORTEST_WORD}, key=len, reverse=True):
        text = text.replace(word, "…")
    return _QUOTED.sub('"…"', text)


def _stats(engine: Engine, name: str) -> dict[str, Any]:
    found = engine.inspect(name)
    told = engine.json(f"/containers/{found['Id']}/stats", stream="false") or {}
    if not told.get("memory_stats", {}).get("usage"):
        raise NoDataError(f"{name} is not running", system=SYSTEM, target=engine.url)
    memory, now, then = told["memory_stats"], told["cpu_stats"], told["precpu_stats"]
    kinds = memory["stats"]
    # Page cache that the kernel would give up first is not counted: control groups 1, then 2.
    cache = kinds.get("total_inactive_file", kinds.get("inactive_file", 0))
    used = memory["usage"] - cache if cache < memory["usage"] else memory["usage"]
    own = now["cpu_usage"]["total_usage"] - then["cpu_usage"]["total_usage"]
    whole = now["system_cpu_usage"] - then.get("system_cpu_usage", 0)
    cores = now.get("online_cpus") or len(now["cpu_usage"].get("percpu_usage") or [0])
    limit = found["HostConfig"]["Memory"] or None
    return {
        "memory_bytes": used,
        "memory_limit_bytes": limit,
        "memory_share": used / limit if limit else None,
        "cpu_share": own / whole * cores if whole > 0 else 0.0,
        "pids": told.get("pids_stats", {}).get("current", 0),
    }


def _logs(engine: Engine, name: str, excerpt: Excerpt, span: tuple[datetime, datetime]) -> dict[str, Any]:
    """What matters of the log from its beginning; where that is too much, from its end too."""
    found = engine.inspect(name)

    def read(since: datetime, most_bytes: int, **more: str) -> tuple[Beginning, int]:
        bounds = {"since": f"{since.timestamp():.6f}", "until": f"{span[1].timestamp():.6f}"}
        parameters = {"stdout": "1", "stderr": "1", "timestamps": "1", **bounds, **more}
        part = Beginning(engine, f"/containers/{found['Id']}/logs", parameters, most_bytes=most_bytes)
        size, count = 0, 0
        for stream, payload in demultiplexed(part, is_tty=bool(found["Config"]["Tty"])):
            excerpt.add(stream, payload)
            size, count = size + len(payload), count + 1
        excerpt.finish()
        return part, size // max(count, 1)

    part, line_bytes = read(span[0], MAX_LOG_BYTES_READ)
    ends_early_at = None if part.is_whole else excerpt.latest_at or span[0]
    if ends_early_at and part.has_more:
        excerpt.skip()
        lines = min(TAIL_LINES, MAX_TAIL_BYTES // (2 * max(line_bytes, 1)))
        tail, _ = read(ends_early_at + timedelta(microseconds=1), MAX_TAIL_BYTES, tail=str(lines))
        if excerpt.latest_at != ends_early_at:
            ends_early_at = None if tail.is_whole else excerpt.latest_at
    return {
        "text": excerpt.text,
        "gap": [moment.isoformat() for moment in excerpt.gap] if excerpt.gap else None,
        "quiet_lines": excerpt.quiet_lines,
        "ends_early_at": ends_early_at.isoformat() if ends_early_at else None,
        "created_at": found["Created"],
    }


def _log_lines(told: dict[str, Any]) -> LogLines:
    records = parse(lines_of(told["text"]))
    rows = [[getattr(record, column) for column in COLUMNS] for record in records]
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    reads_since = moment_of(told["created_at"])
    if told.get("is_cut") and records:
        # Recorded by a version that kept only the newest lines, quiet ones too: there its log begins.
        reads_since = max(reads_since, records[0].at)
    gap = told.get("gap")
    return LogLines(
        frame=with_times(frame.astype({"status_code": "Int64", "execution_time_ms": "float64"})),
        reads_since=reads_since,
        quiet_lines=told.get("quiet_lines", 0),
        gap=(moment_of(gap[0]), moment_of(gap[1])) if gap else None,
        ends_early_at=moment_or_none(told.get("ends_early_at")),
    )
