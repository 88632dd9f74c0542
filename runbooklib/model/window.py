"""The time window of a notebook: aware UTC start and end on a grid of one step.

The window is aligned once, here. If each query rounded its own start, the answers would be on different
grids, and a join would have twice the rows.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from runbooklib.errors import ParameterError

# Prometheus allows 11,000 points per series; a chart needs far fewer.
MAX_POINTS = 360
LIVE_WITHIN_SECONDS = 120.0

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION = re.compile(r"(?:[0-9]{1,9}[smhdw])+")
_STEPS_SECONDS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)


def seconds_of(duration: str) -> float:
    """The seconds of a Prometheus duration: "90s" is 90, "1h30m" is 5400. Raises ParameterError."""
    if not _DURATION.fullmatch(duration):
        raise ParameterError(f"{duration!r} is not a duration", hint='write it like "90s", "15m" or "1h30m"')
    return float(sum(int(n) * _UNITS[unit] for n, unit in re.findall(r"(\d+)([smhdw])", duration)))


def moment_of(text: str) -> datetime:
    """The aware UTC datetime of an ISO 8601 text with an offset. Raises ParameterError."""
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ParameterError(f"{text!r} is not a time", hint='write it like "2026-01-15T03:12:00Z"') from None
    raise ParameterError(f"{text!r} has no time zone", hint='end it with "Z" or "+08:00"')


@dataclass(frozen=True, slots=True)
class Window:
    """From `start` to `end` in steps of `step_seconds`, opened at `opened_at` (all aware UTC).

    All times are by the clock of the systems, which is `skew_seconds` ahead of this machine's clock.
    `ends_now`: no end was given, so the window ends when it is opened.
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
        """The window of the duration `lookback` that ends at the ISO 8601 time `at` (empty: `opened_at`).

        Raises ParameterError for a time without time zone or in the future, and for an invalid duration.
        """
        end = moment_of(at) if at else opened_at
        if end > opened_at + timedelta(seconds=1):
            raise ParameterError(f"{at!r} is in the future", hint="pass a time in the past")
        span = seconds_of(lookback)
        if span <= 0:
            raise ParameterError("lookback must be positive", hint='pass a lookback like "1h"')
        step = _step_for(span, seconds_of(scrape_interval))
        last = end.timestamp() // step * step
        first = min((end.timestamp() - span) // step * step, last - step)
        if first < 0:
            raise ParameterError(f"{lookback!r} is too far back", hint='pass a lookback like "1h"')
        start, aligned = datetime.fromtimestamp(first, UTC), datetime.fromtimestamp(last, UTC)
        return cls(start=start, end=aligned, step_seconds=step, opened_at=opened_at, ends_now=not at)

    def by_clock(self, ahead_seconds: float) -> "Window":
        """The window by a clock that is `ahead_seconds` ahead. An end given by `at` does not move."""
        opened_at = self.opened_at + timedelta(seconds=ahead_seconds)
        moved = replace(self, opened_at=opened_at, skew_seconds=ahead_seconds)
        if not self.ends_now:
            return moved
        end = datetime.fromtimestamp(opened_at.timestamp() // self.step_seconds * self.step_seconds, UTC)
        return replace(moved, start=end - (self.end - self.start), end=end)

    def as_dict(self) -> dict[str, Any]:
        """The window as JSON values."""
        moments = {name: getattr(self, name).isoformat() for name in ("start", "end", "opened_at")}
        more = {"ends_now": self.ends_now, "skew_seconds": self.skew_seconds}
        return {**moments, "step_seconds": self.step_seconds, **{k: v for k, v in more.items() if v}}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Window":
        """The reverse of `as_dict`."""
        moments = {name: datetime.fromisoformat(fields[name]) for name in ("start", "end", "opened_at")}
        return cls(
            **moments,
            step_seconds=float(fields["step_seconds"]),
            ends_now=bool(fields.get("ends_now", False)),
            skew_seconds=float(fields.get("skew_seconds", 0.0)),
        )

    @property
    def span_seconds(self) -> float:
        """The length of the window."""
        return (self.end - self.start).total_seconds()

    @property
    def is_live(self) -> bool:
        """Whether the current state of a system is valid for the end of the window."""
        return (self.opened_at - self.end).total_seconds() <= LIVE_WITHIN_SECONDS + self.step_seconds


def _step_for(span_seconds: float, scrape_seconds: float) -> float:
    """The smallest step with at most MAX_POINTS points that is not smaller than the scrape interval."""
    wanted = max(span_seconds / MAX_POINTS, scrape_seconds, 1.0)
    return float(next((step for step in _STEPS_SECONDS if step >= wanted), _STEPS_SECONDS[-1]))
