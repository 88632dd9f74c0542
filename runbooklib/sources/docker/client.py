"""Docker: the state, memory and CPU use, events and logs of a container.

Sends GET requests only. Of a container's description, only the fields listed here are kept: environment,
command line, labels and mounts hold secrets and never leave the call.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from runbooklib.errors import NoDataError, ParameterError, RefusedError, UnreachableError
from runbooklib.sources.docker.container_logs import LogLines, log_lines, read_log
from runbooklib.sources.docker.engine import SYSTEM, Engine, moment_or_none, opened
from runbooklib.sources.docker.events import Events, read_events
from runbooklib.sources.docker.log_stream import FIRST_ENTRIES, LAST_ENTRIES, Excerpt
from runbooklib.sources.docker.processes import workers_of
from runbooklib.sources.tape import Tape

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
        """The relevant log entries of the container in the window, within the bounds of `Excerpt`."""
        answer = self._ask(
            {
                "question": "logs",
                "since": since.isoformat(),
                "until": until.isoformat(),
                "most_lines": FIRST_ENTRIES + LAST_ENTRIES,
            },
            name,
            lambda engine: read_log(
                engine, name, Excerpt(since, until, redact=self._tape.redactor.text), (since, until)
            ),
        )
        return log_lines(answer)

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
