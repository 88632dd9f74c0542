"""The span of time that a notebook speaks of: aware UTC start and end on a grid of one step.

Aligned once, here: queries that each rounded their own start would answer on different grids,
and joining them would double the rows.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from runbooklib.errors import ParameterError

# Prometheus refuses a range query of more than 11,000 points a series; a chart is legible with far fewer.
MOST_POINTS = 360
LIVE_WITHIN_SECONDS = 120.0

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION = re.compile(r"(?:[0-9]{1,9}[smhdw])+")
_STEPS_SECONDS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)


def seconds_of(duration: str) -> float:
    """Seconds of a Prometheus duration: "90s" is 90, "1h30m" is 5400. Raises ParameterError."""
    if not _DURATION.fullmatch(duration):
        raise ParameterError(
            f"{duration!r} is not a duration", remedy='write it like "90s", "15m" or "1h30m"'
        )
    return float(sum(int(n) * _UNITS[unit] for n, unit in re.findall(r"(\d+)([smhdw])", duration)))


def moment_of(text: str) -> datetime:
    """An aware UTC datetime of an ISO 8601 text. A text without an offset is refused, not guessed."""
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ParameterError(
            f"{text!r} is not a time", remedy='write it like "2026-01-15T03:12:00Z"'
        ) from None
    raise ParameterError(f"{text!r} does not say which time zone", remedy='end it with "Z" or "+08:00"')


@dataclass(frozen=True, slots=True)
class Window:
    """From `start` to `end` in steps of `step_seconds`, opened at `opened_at` (all aware UTC).

    `ends_now`: nobody said when it is to end, so it ends when it was opened. `skew_seconds`: by how much the
    clock of the systems, by which all of these are, is ahead of this machine's.
    """

    start: datetime
    end: datetime
    step_seconds: float
    opened_at: datetime
    ends_now: bool = False
    skew_seconds: float = 0.0

    @classmethod
    def open(
        cls, *, opened_at: datetime, at: str = "", lookback: str = "1h", scrape_interval: str = "15s"
    ) -> "Window":
        """The window that ends `at` (empty: when it is opened) and looks back that long.

        Raises ParameterError for times without zone, times to come, and unreadable durations.
        """
        end = moment_of(at) if at else opened_at
        if end > opened_at + timedelta(seconds=1):
            raise ParameterError(f"{at!r} is still to come", remedy="give a time that has passed")
        span = seconds_of(lookback)
        if span <= 0:
            raise ParameterError("a window needs a length", remedy='give a lookback like "1h"')
        step = _step_for(span, seconds_of(scrape_interval))
        last = end.timestamp() // step * step
        first = min((end.timestamp() - span) // step * step, last - step)
        if first < 0:
            raise ParameterError(f"{lookback!r} is too far back", remedy='give a lookback like "1h"')
        start, aligned = datetime.fromtimestamp(first, UTC), datetime.fromtimestamp(last, UTC)
        return cls(start=start, end=aligned, step_seconds=step, opened_at=opened_at, ends_now=not at)

    def by_clock(self, ahead_seconds: float) -> "Window":
        """The window of somebody whose clock is that much ahead. An end that was asked for stays."""
        opened_at = self.opened_at + timedelta(seconds=ahead_seconds)
        moved = replace(self, opened_at=opened_at, skew_seconds=ahead_seconds)
        if not self.ends_now:
            return moved
        end = datetime.fromtimestamp(opened_at.timestamp() // self.step_seconds * self.step_seconds, UTC)
        return replace(moved, start=end - (self.end - self.start), end=end)

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        moments = {name: getattr(self, name).isoformat() for name in ("start", "end", "opened_at")}
        more = {"ends_now": self.ends_now, "skew_seconds": self.skew_seconds}
        return {**moments, "step_seconds": self.step_seconds, **{k: v for k, v in more.items() if v}}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "Window":
        """The reverse of `as_dict`."""
        moments = {name: datetime.fromisoformat(stored[name]) for name in ("start", "end", "opened_at")}
        return cls(
            **moments,
            step_seconds=float(stored["step_seconds"]),
            ends_now=bool(stored.get("ends_now", False)),
            skew_seconds=float(stored.get("skew_seconds", 0.0)),
        )

    @property
    def span_seconds(self) -> float:
        """How long the window is."""
        return (self.end - self.start).total_seconds()

    @property
    def is_live(self) -> bool:
        """Whether a system that can only say what is now may speak for the window's end."""
        return (self.opened_at - self.end).total_seconds() <= LIVE_WITHIN_SECONDS + self.step_seconds


def _step_for(span_seconds: float, scrape_seconds: float) -> float:
    """The finest step that keeps a chart at MOST_POINTS and is not finer than the scrape."""
    wanted = max(span_seconds / MOST_POINTS, scrape_seconds, 1.0)
    return float(next((step for step in _STEPS_SECONDS if step >= wanted), _STEPS_SECONDS[-1]))
