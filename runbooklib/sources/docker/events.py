"""What happened to the containers of one name, as the engine still remembers it."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from runbooklib.errors import NoDataError
from runbooklib.sources.docker.engine import Engine, moment_or_none

# dockerd keeps only this many events, of all containers together.
EVENT_BUFFER = 256
# Events that happen while the engine answers push older ones out, and are not in the answer themselves.
_MAX_MEANWHILE = 32
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
class Events:
    """What happened to the containers of one name, replaced ones too.

    `frame`: at (aware UTC), action, exit_code, signal, image, container_id, by time. `complete_since`: from
    when on no event can be missing; None when the engine has dropped none since it started, whenever that
    was. `oldest_at`: the oldest event, of any container, that it still has; None when it has none.
    """

    frame: pd.DataFrame
    complete_since: datetime | None
    oldest_at: datetime | None

    @classmethod
    def of(cls, told: dict[str, Any]) -> "Events":
        """The events as `told_events` gives them."""
        columns = ["at", "action", "exit_code", "signal", "image", "container_id"]
        frame = pd.DataFrame(told["events"], columns=columns)
        frame = with_times(frame.astype({"exit_code": "Int64", "signal": "Int64"}))
        return cls(frame, moment_or_none(told["complete_since"]), moment_or_none(told["oldest_at"]))

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


def with_times(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with its column `at` as aware UTC."""
    at = pd.to_datetime(frame["at"], utc=True, format="ISO8601").astype("datetime64[us, UTC]")
    return frame.assign(at=at)


def told_events(engine: Engine, name: str, since: datetime, until: datetime) -> dict[str, Any]:
    """The events of that time as JSON.

    Asks for the whole buffer, of all containers: only that shows how far back it reaches.
    """
    response = engine.get("/events", {"since": "1", "until": f"{engine.now:.6f}"})
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
    is_full = len(told) >= EVENT_BUFFER - _MAX_MEANWHILE
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


def _started_at(engine: Engine, name: str, *, is_known: bool) -> datetime | None:
    try:
        return moment_or_none(engine.inspect(name)["State"]["StartedAt"])
    except NoDataError:
        if is_known:
            return None
        raise
