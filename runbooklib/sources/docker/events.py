"""The events of the containers of one name that Docker still keeps."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from runbooklib.errors import NoDataError
from runbooklib.sources.docker.engine import Engine, moment_or_none

# dockerd keeps this many events, of all containers together.
EVENT_BUFFER = 256
# Events during the answer displace older ones, and are not part of the answer themselves.
_MAX_EVENTS_DURING_ANSWER = 32
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
# States in which the main process exists. "restarting" is not one of them, although Docker sets Running.
_ALIVE = ("running", "paused")
# The exit code of a process that got signal 9.
_KILLED = 137
# Signals that end a process; others (HUP, USR1, WINCH) are notifications.
_ENDING_SIGNALS = (2, 3, 6, 9, 15)
_MAX_SECONDS_FROM_SIGNAL_TO_EXIT = 30.0


@dataclass(frozen=True, slots=True)
class LastRun:
    """The last run of a container as `inspect` describes it, which needs no event. Times are aware UTC.

    `finished_at` is the last exit, also while the container runs again. `exit_code` is 0 while it runs.
    """

    is_running: bool
    started_at: datetime | None
    finished_at: datetime | None
    exit_code: int
    oom_killed: bool
    restart_count: int

    def covers(self, since: datetime) -> bool:
        """Whether the container has run without an exit since that time."""
        return self.is_running and self.started_at is not None and self.started_at <= since

    def restarted_after(self, since: datetime) -> bool:
        """Whether the last exit is later than that time and Docker's restart policy answered one.

        Docker does not restart a container that was stopped on request.
        """
        return self.restart_count > 0 and self.finished_at is not None and self.finished_at >= since

    def was_killed_for_memory_after(self, since: datetime) -> bool:
        """Whether the last exit is later than that time and the kernel killed the main process.

        The flag alone is not enough: Docker keeps it after the next start.
        """
        return (
            self.oom_killed
            and self.exit_code == _KILLED
            and self.finished_at is not None
            and self.finished_at >= since
        )

    @classmethod
    def of(cls, fields: dict[str, Any]) -> "LastRun":
        """The last run from its part of the answer of `read_events`."""
        times = {name: moment_or_none(fields[name]) for name in ("started_at", "finished_at")}
        return cls(**(fields | times))


@dataclass(frozen=True, slots=True)
class Events:
    """The events of the containers of one name, including replaced containers.

    `frame`: at (aware UTC), action, exit_code, signal, image, container_id, by time. `complete_since`: no
    event since then is missing; None if Docker has dropped no event since it started. `oldest_at`: the
    oldest event of any container that Docker still keeps; None if it keeps no event. `last_run`: None if the
    container is gone, and in an older recording.
    """

    frame: pd.DataFrame
    complete_since: datetime | None
    oldest_at: datetime | None
    last_run: LastRun | None = None

    @classmethod
    def of(cls, answer: dict[str, Any]) -> "Events":
        """The events from the answer of `read_events`."""
        columns = ["at", "action", "exit_code", "signal", "image", "container_id"]
        frame = pd.DataFrame(answer["events"], columns=columns)
        frame = with_times(frame.astype({"exit_code": "Int64", "signal": "Int64"}))
        last_run = LastRun.of(answer["last_run"]) if answer.get("last_run") else None
        return cls(
            frame, moment_or_none(answer["complete_since"]), moment_or_none(answer["oldest_at"]), last_run
        )

    @property
    def ooms(self) -> pd.DataFrame:
        """The kernel killed a process of the container, not always its main process, for lack of memory."""
        return self.frame[self.frame["action"] == "oom"]

    @property
    def starts(self) -> pd.DataFrame:
        """The container was started, by a person or by its restart policy."""
        return self.frame[self.frame["action"] == "start"]

    @property
    def deaths(self) -> pd.DataFrame:
        """The container exited unexpectedly: no signal to end it just before, no stop just after."""
        exits = [index for index in self.frame.index if self.frame.at[index, "action"] == "die"]
        return self.frame.loc[[index for index in exits if not self._is_requested(index)]]

    def _is_requested(self, index: Any) -> bool:
        exited = self.frame.loc[index]
        own = self.frame[self.frame["container_id"] == exited["container_id"]]
        before, after = own[own.index < index], own[own.index > index]
        starts = before[before["action"] == "start"]
        since_start = before[before.index > starts.index[-1]] if len(starts) else before
        if (since_start["action"] == "oom").any():
            return False
        age = (exited["at"] - since_start["at"]).dt.total_seconds()
        requested = (
            (since_start["action"] == "kill")
            & since_start["signal"].isin(_ENDING_SIGNALS)
            & (age <= _MAX_SECONDS_FROM_SIGNAL_TO_EXIT)
        )
        return bool(requested.any()) or (len(after) > 0 and after["action"].iloc[0] == "stop")


def with_times(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with its column `at` as aware UTC times."""
    at = pd.to_datetime(frame["at"], utc=True, format="ISO8601").astype("datetime64[us, UTC]")
    return frame.assign(at=at)


def read_events(engine: Engine, name: str, since: datetime, until: datetime) -> dict[str, Any]:
    """The events between `since` and `until` as JSON, for `Events.of`.

    Requests all events of all containers, since only these show how far back Docker's buffer reaches. A
    filter of the request would not help: Docker applies it to the buffer, in which the events of health
    checks have already displaced others. So the container's own state is a second source.
    """
    response = engine.get("/events", {"since": "1", "until": f"{engine.unix_time:.6f}"})
    events = [json.loads(line) for line in b"".join(engine.chunks(response)).splitlines() if line.strip()]
    times = [datetime.fromtimestamp(event["timeNano"] / 1e9, UTC) for event in events]
    own = [
        (at, event)
        for at, event in zip(times, events, strict=True)
        if event.get("Type") == "container" and event["Actor"]["Attributes"].get("name") == name
    ]
    last_run = _last_run(engine, name, is_known=bool(own))
    started = moment_or_none(last_run["started_at"]) if last_run else None
    oldest = min(times, default=None)
    starts = [at for at, event in own if event["Action"] == "start"]
    is_full = len(events) >= EVENT_BUFFER - _MAX_EVENTS_DURING_ANSWER
    # If the buffer lacks the container's start, Docker itself has restarted since then.
    docker_restarted = started is not None and not any(
        abs((at - started).total_seconds()) < 5 for at in starts
    )
    complete_since = (oldest or datetime.now(UTC)) if is_full or docker_restarted else None
    kept = [_event(at, event) for at, event in own if since <= at <= until and event["Action"] in _ACTIONS]
    return {
        "events": sorted(kept, key=lambda event: str(event["at"])),
        "complete_since": complete_since.isoformat() if complete_since else None,
        "oldest_at": oldest.isoformat() if oldest else None,
        "last_run": last_run,
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


def _last_run(engine: Engine, name: str, *, is_known: bool) -> dict[str, Any] | None:
    """The fields of `LastRun`; None for a container that is gone but has events. Raises NoDataError."""
    try:
        container = engine.inspect(name)
    except NoDataError:
        if is_known:
            return None
        raise
    state = container["State"]
    return {
        "is_running": state.get("Status") in _ALIVE,
        "started_at": state["StartedAt"],
        "finished_at": state.get("FinishedAt"),
        "exit_code": int(state.get("ExitCode") or 0),
        "oom_killed": bool(state.get("OOMKilled")),
        "restart_count": int(container.get("RestartCount") or 0),
    }
