"""What a Docker engine knows: state, use of memory and CPU, events and logs of a container.

Only GET requests. Of what the engine tells about a container, only the leaves that are listed here are
kept: environment, command line, labels and mounts hold secrets and never leave the call.
"""

import difflib
import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NoReturn

import docker
import pandas as pd
import requests

from runbooklib.errors import (
    DeadlineError,
    NoDataError,
    NonsenseError,
    ParameterError,
    RefusedError,
    UnreachableError,
)
from runbooklib.logs import COLUMNS, Tail, demultiplexed, lines_of, moment_of_line, parse
from runbooklib.tape import Tape
from runbooklib.window import moment_of

SYSTEM = "docker"
# dockerd keeps only this many events, of all containers together.
EVENT_BUFFER = 256
OLDEST_VERSION = "1.24"
MOST_LOG_BYTES = 1_000_000
MOST_LOG_BYTES_READ = 64_000_000
_NAME = re.compile(r"[a-zA-Z0-9][\w.-]+", re.ASCII)
_ACTIONS = {
    "create",
    "start",
    "restart",
    "die",
    "kill",
    "stop",
    "oom",
    "pause",
    "unpause",
    "destroy",
    "rename",
}
# Signals that ask a process to end; others (HUP, USR1, WINCH) only tell it something.
_ENDING_SIGNALS = (2, 3, 6, 9, 15)
_ASKED_WITHIN_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Container:
    """A container as the engine describes it. Times are aware UTC, None where it never happened.

    `revision` and `version` are its image's OCI labels; `exit_code` is that of the last exit and 0 while it
    runs; `oom_killed` says "at some time", not "now"; `memory_limit_bytes` is None for no limit.
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
class Events:
    """What happened to the containers of one name, replaced ones too.

    `frame`: at (aware UTC), action, exit_code, signal, image, container_id, by time. `complete_since`: from
    when on no event can be missing; None when the engine has dropped none since it started, whenever that
    was. `oldest_at`: the oldest event, of any container, that it still has; None when it has none.
    """

    frame: pd.DataFrame
    complete_since: datetime | None
    oldest_at: datetime | None

    @property
    def ooms(self) -> pd.DataFrame:
        """The kernel killed a process of the container, not always its first, for lack of memory."""
        return self.frame[self.frame["action"] == "oom"]

    @property
    def starts(self) -> pd.DataFrame:
        """The container was started, by someone or by its restart policy."""
        return self.frame[self.frame["action"] == "start"]

    @property
    def deaths(self) -> pd.DataFrame:
        """The container died unasked: no signal to end it just before, no stop just after."""
        dies = [i for i in self.frame.index if self.frame.at[i, "action"] == "die"]
        return self.frame.loc[[i for i in dies if not self._was_asked_for(i)]]

    def _was_asked_for(self, index: Any) -> bool:
        died = self.frame.loc[index]
        own = self.frame[self.frame["container_id"] == died["container_id"]]
        before, after = own[own.index < index], own[own.index > index]
        starts = before[before["action"] == "start"]
        life = before[before.index > starts.index[-1]] if len(starts) else before
        if (life["action"] == "oom").any():
            return False
        age = (died["at"] - life["at"]).dt.total_seconds()
        asked = (
            (life["action"] == "kill") & life["signal"].isin(_ENDING_SIGNALS) & (age <= _ASKED_WITHIN_SECONDS)
        )
        return bool(asked.any()) or (len(after) > 0 and after["action"].iloc[0] == "stop")


@dataclass(frozen=True, slots=True)
class LogLines:
    """The end of what a container wrote in a window; `frame` has the columns of `logs.Record`.

    `is_cut`: there was more. `reads_since`: when this container was created; what one that it replaced had
    written is lost (aware UTC).
    """

    frame: pd.DataFrame
    is_cut: bool
    reads_since: datetime


class Docker:
    """A Docker engine, or the filtering proxy in front of it, at "unix:///…" or "tcp://…"."""

    def __init__(self, url: str, tape: Tape, *, deadline_seconds: float = 10.0) -> None:
        self._url = url
        self._tape = tape
        self._deadline_seconds = deadline_seconds

    def __repr__(self) -> str:
        return f"Docker({self._url!r})"

    def container(self, name: str) -> Container:
        """The container of exactly that name. Raises NoDataError, which names the nearest running ones."""
        leaves = self._ask({"question": "container"}, name, lambda engine: _leaves(engine.inspect(name)))
        times = {key: _moment(leaves[key]) for key in ("created_at", "started_at", "finished_at")}
        return Container(**(leaves | times))

    def stats(self, name: str) -> Stats:
        """What the container uses now; takes 1 to 2 s. Raises NoDataError when it is not running."""
        return Stats(**self._ask({"question": "stats"}, name, lambda engine: _stats(engine, name)))

    def events(self, name: str, since: datetime, until: datetime) -> Events:
        """What happened to the containers of that name. Raises NoDataError where nothing bears the name."""
        told = self._ask(
            {"question": "events", "since": since.isoformat(), "until": until.isoformat()},
            name,
            lambda engine: _events(engine, name, since, until),
        )
        columns = ["at", "action", "exit_code", "signal", "image", "container_id"]
        frame = pd.DataFrame(told["events"], columns=columns).astype(
            {"exit_code": "Int64", "signal": "Int64"}
        )
        return Events(_with_times(frame), _moment(told["complete_since"]), _moment(told["oldest_at"]))

    def logs(self, name: str, since: datetime, until: datetime, *, most_lines: int = 2000) -> LogLines:
        """The last lines, at most `most_lines` and MOST_LOG_BYTES, that the container wrote in the window."""
        told = self._ask(
            {
                "question": "logs",
                "since": since.isoformat(),
                "until": until.isoformat(),
                "most_lines": most_lines,
            },
            name,
            lambda engine: _logs(engine, name, since, until, most_lines),
        )
        records = parse(lines_of(told["text"]))
        rows = [[getattr(record, column) for column in COLUMNS] for record in records]
        frame = pd.DataFrame(rows, columns=list(COLUMNS))
        frame = frame.astype({"status_code": "Int64", "execution_time_ms": "float64"})
        return LogLines(_with_times(frame), told["is_cut"], moment_of(told["created_at"]))

    def _ask(self, request: dict[str, Any], name: str, call: Callable[["_Engine"], Any]) -> Any:
        if not _NAME.fullmatch(name):
            raise ParameterError(f"{name!r} is no name of a container", system=SYSTEM, target=self._url)

        def answer() -> Any:
            try:
                with closing(_Engine(self._url, self._deadline_seconds)) as engine:
                    return call(engine)
            except (docker.errors.DockerException, requests.RequestException, OSError) as error:
                _give_up(error, self._url)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise NonsenseError(
                    f"answered nonsense ({type(error).__name__})", system=SYSTEM, target=self._url
                ) from error

        return self._tape.ask(
            SYSTEM,
            request | {"name": name},
            answer,
            target=self._url,
            deadline_seconds=self._deadline_seconds,
        )


class _Engine:
    """One connection for one question: GET only, every read within what is left of the deadline."""

    def __init__(self, url: str, deadline_seconds: float) -> None:
        self.url = url
        self._ends = time.monotonic() + deadline_seconds
        if url.startswith("unix://"):
            # The client leaks its socket when it cannot connect, and hides why; so we try first.
            with socket.socket(socket.AF_UNIX) as probe:
                probe.settimeout(deadline_seconds)
                probe.connect("/" + url.removeprefix("unix://").lstrip("/"))
        # Given a version, the client asks nothing yet: its own negotiation leaks a socket when it fails.
        self._client = docker.APIClient(
            base_url=url, version=OLDEST_VERSION, timeout=int(deadline_seconds) + 1
        )
        self._version = ""

    def close(self) -> None:
        """Close its sockets."""
        self._client.close()

    def get(self, path: str, **parameters: str) -> requests.Response:
        """The engine's answer, not yet read. Raises RefusedError; 404 is for the caller to judge."""
        if not self._version and path != "/version":
            self._version = f"/v{self.json('/version')['ApiVersion']}"
        left = max(self._ends - time.monotonic(), 0.05)
        response: requests.Response = self._client.get(
            f"{self._client.base_url}{self._version}{path}", params=parameters, timeout=left, stream=True
        )
        if response.status_code >= 400 and response.status_code != 404:
            with response:
                _refuse(response, self.url)
        return response

    def chunks(self, response: requests.Response) -> Iterator[bytes]:
        """The answer's bytes. Raises DeadlineError, however slowly they trickle."""
        with response:
            for chunk in response.iter_content(65536):
                if time.monotonic() > self._ends:
                    raise DeadlineError("did not finish its answer in time", system=SYSTEM, target=self.url)
                yield chunk

    def json(self, path: str, **parameters: str) -> Any:
        """The whole answer as JSON; None for 404."""
        response = self.get(path, **parameters)
        whole = b"".join(self.chunks(response))
        return None if response.status_code == 404 else json.loads(whole)

    def inspect(self, name: str) -> dict[str, Any]:
        """All that the engine tells of the container; only listed leaves of it may leave the call."""
        found = self.json(f"/containers/{name}/json")
        # The engine also takes the first letters of an id for a name.
        if found is not None and found["Name"] == f"/{name}":
            return dict(found)
        running = sorted(n.lstrip("/") for c in self.json("/containers/json") for n in c["Names"])
        near = difflib.get_close_matches(name, running, n=3, cutoff=0.4) or running[:5]
        raise NoDataError(
            f"there is no container {name!r}",
            system=SYSTEM,
            target=self.url,
            remedy=f"running ones: {', '.join(near)}" if near else "no container is running at all",
        )


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
        "error": state.get("Error", ""),
        "oom_killed": bool(state["OOMKilled"]),
        "restart_count": int(told["RestartCount"]),
        "created_at": told["Created"],
        "started_at": state["StartedAt"],
        "finished_at": state["FinishedAt"],
        "memory_limit_bytes": host["Memory"] or None,
        "restart_policy": host["RestartPolicy"]["Name"],
        "health": (state.get("Health") or {}).get("Status", ""),
    }


def _stats(engine: _Engine, name: str) -> dict[str, Any]:
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


def _events(engine: _Engine, name: str, since: datetime, until: datetime) -> dict[str, Any]:
    """Asks for the whole buffer, of all containers: only that shows how far back it reaches."""
    response = engine.get("/events", since="1", until=f"{time.time():.6f}")
    told = [json.loads(line) for line in b"".join(engine.chunks(response)).splitlines() if line.strip()]
    times = [datetime.fromtimestamp(event["timeNano"] / 1e9, UTC) for event in told]
    own = [
        (at, event)
        for at, event in zip(times, told, strict=True)
        if event.get("Type") == "container" and event["Actor"]["Attributes"].get("name") == name
    ]
    started = _started_at(engine, name, is_known=bool(own))
    oldest = min(times, default=None)
    starts = [at for at, event in own if event["Action"] == "start"]
    is_full = len(told) >= EVENT_BUFFER
    # A start that the buffer does not show was before the engine's own: it has been restarted since.
    is_younger = started is not None and not any(abs((at - started).total_seconds()) < 5 for at in starts)
    complete = (oldest or datetime.now(UTC)) if is_full or is_younger else None
    kept = [_event(at, event) for at, event in own if since <= at <= until and event["Action"] in _ACTIONS]
    return {
        "events": sorted(kept, key=lambda event: str(event["at"])),
        "complete_since": complete.isoformat() if complete else None,
        "oldest_at": oldest.isoformat() if oldest else None,
    }


def _event(at: datetime, event: dict[str, Any]) -> dict[str, Any]:
    facts = event["Actor"]["Attributes"]
    return {
        "at": at.isoformat(timespec="microseconds"),
        "action": event["Action"],
        "exit_code": int(facts["exitCode"]) if "exitCode" in facts else None,
        "signal": int(facts["signal"]) if facts.get("signal", "").isdigit() else None,
        "image": facts.get("image", ""),
        "container_id": event["Actor"]["ID"],
    }


def _started_at(engine: _Engine, name: str, *, is_known: bool) -> datetime | None:
    try:
        return _moment(engine.inspect(name)["State"]["StartedAt"])
    except NoDataError:
        if is_known:
            return None
        raise


def _logs(engine: _Engine, name: str, since: datetime, until: datetime, most: int) -> dict[str, Any]:
    """First the tail of the log, which is cheap; a window that ends before it costs a whole read."""
    found = engine.inspect(name)
    path, is_tty = f"/containers/{found['Id']}/logs", bool(found["Config"]["Tty"])

    def read(**parameters: str) -> Tail:
        response = engine.get(path, stdout="1", stderr="1", timestamps="1", **parameters)
        if response.status_code == 404:
            raise NoDataError(f"{name} has vanished", system=SYSTEM, target=engine.url)
        tail = Tail(most_lines=most, most_bytes=MOST_LOG_BYTES)
        size = 0
        with response:
            for stream, payload in demultiplexed(engine.chunks(response), is_tty=is_tty):
                tail.add(stream, payload)
                size += len(payload)
                if size > MOST_LOG_BYTES_READ:
                    tail.is_cut = True
                    break
        return tail

    def within(tail: Tail) -> list[str]:
        return [line for line in tail.lines() if since <= moment_of_line(line) <= until]

    tail = read(tail=str(most + 1))
    lines = within(tail)
    oldest = next((moment_of_line(line) for line in tail.lines()), until)
    is_cut = tail.is_cut and oldest > since
    if is_cut and len(lines) < len(tail.lines()):
        tail = read(since=f"{since.timestamp():.6f}", until=f"{until.timestamp():.6f}")
        lines, is_cut = within(tail), tail.is_cut
    return {"text": "\n".join(lines), "is_cut": is_cut, "created_at": found["Created"]}


def _moment(text: str | None) -> datetime | None:
    """The time; None for none and for Go's zero time."""
    return None if not text or text.startswith("0001-") else moment_of(text)


def _with_times(frame: pd.DataFrame) -> pd.DataFrame:
    at = pd.to_datetime(frame["at"], utc=True, format="ISO8601").astype("datetime64[us, UTC]")
    return frame.assign(at=at)


def _refuse(response: requests.Response, url: str) -> NoReturn:
    try:
        text = str(response.json()["message"])
    except (ValueError, KeyError, TypeError):
        text = response.text
    told = text.strip()[:500] or "no reason given"
    raise RefusedError(
        f"answered {response.status_code}: {told}", system=SYSTEM, target=url, code=str(response.status_code)
    )


def _give_up(error: BaseException, url: str) -> NoReturn:
    """The SourceError that a failed request amounts to, by what lies at the bottom of it."""
    causes = list(_causes(error))
    about = {"system": SYSTEM, "target": url}
    if any(isinstance(cause, PermissionError) for cause in causes):
        raise RefusedError(
            "permission denied",
            remedy="join the group docker, or ask through its proxy",
            code="EACCES",
            **about,
        ) from error
    if any(isinstance(cause, TimeoutError | requests.Timeout) for cause in causes):
        raise DeadlineError("no answer in time", remedy="see whether dockerd hangs", **about) from error
    told = str(causes[-1]) or type(causes[-1]).__name__
    raise UnreachableError(f"no connection: {told}", remedy="see whether dockerd runs", **about) from error


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what caused it, outermost first; requests hides causes in the arguments."""
    seen: list[BaseException] = []
    todo: list[Any] = [error]
    while todo:
        cause = todo.pop(0)
        if isinstance(cause, BaseException) and not any(cause is other for other in seen):
            seen.append(cause)
            todo += [cause.__cause__, *cause.args, getattr(cause, "reason", None)]
    yield from seen
