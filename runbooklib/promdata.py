"""What Prometheus answers, as frames and records: every series kept, on the whole grid, a gap NaN.

Nothing is asked here. What has not the shape of an answer raises one of SHAPE_ERRORS; who asked knows
whose answer it was.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from runbooklib.errors import ParameterError
from runbooklib.promql import quoted
from runbooklib.window import Window

# Prometheus refuses a range query of more points a series.
MOST_POINTS = 11_000
SHAPE_ERRORS = (KeyError, TypeError, ValueError, IndexError, OverflowError, AttributeError)

_INFINITE = frozenset({"+Inf", "-Inf"})
# Times are milliseconds there; an answer may be that far off what was asked.
_TOLERANCE_SECONDS = 0.002
_TARGET_COLUMNS: dict[str, Any] = {
    "job": "str",
    "instance": "str",
    "health": "str",
    "scrape_url": "str",
    "last_scrape_at": "datetime64[us, UTC]",
    "last_scrape_seconds": "float64",
    "last_error": "str",
}


@dataclass(frozen=True, slots=True)
class Rule:
    """One alerting rule. `state` is inactive, pending or firing; `active_at` (aware UTC) since when."""

    name: str
    query: str
    for_seconds: float
    state: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    active_at: datetime | None
    last_error: str
    group: str

    @classmethod
    def from_prometheus(cls, told: Mapping[str, Any], group: str) -> "Rule":
        """A Rule of one element of a group's `rules` in `/api/v1/rules`."""
        since = [moment for alert in told.get("alerts") or () if (moment := _moment(alert.get("activeAt")))]
        return cls(
            name=str(told["name"]),
            query=str(told["query"]),
            for_seconds=float(told.get("duration", 0)),
            state=str(told.get("state", "")),
            labels=_labels(told.get("labels") or {}),
            annotations=_labels(told.get("annotations") or {}),
            active_at=min(since, default=None),
            last_error=str(told.get("lastError", "")),
            group=group,
        )


def notes_of(told: Mapping[str, Any]) -> list[str]:
    """What the server warned of, and then what it remarked."""
    notes: list[str] = []
    for key in ("warnings", "infos"):
        given = told.get(key) or []
        if not isinstance(given, list):
            raise TypeError(f"{key} that are no list")
        notes += [str(note) for note in given]
    return notes


def grid_of(window: Window) -> pd.DatetimeIndex:
    """Every step of the window. Raises ParameterError for more than Prometheus gives."""
    points = int((window.end - window.start) / timedelta(seconds=window.step_seconds) + 1e-9) + 1
    if points > MOST_POINTS:
        raise ParameterError(
            f"{points:,} points a series are more than the {MOST_POINTS:,} that Prometheus gives",
            system="prometheus",
            remedy=f"take a step of {window.span_seconds / (MOST_POINTS - 1):.0f} s, or look back less",
        )
    step = pd.Timedelta(seconds=window.step_seconds)
    return pd.date_range(window.start.astimezone(UTC), periods=points, freq=step, name="time")


def instant_frame(data: Any) -> tuple[pd.DataFrame, list[float]]:
    """One row a series of an instant answer, its labels and "value", and the times of the samples."""
    kind, result = _result(data, "vector", "scalar")
    series = [{"metric": {}, "value": result}] if kind == "scalar" else list(result)
    labels = [_labels(one["metric"]) for one in series]
    values = _floats([one["value"] for one in series])
    times = [float(one["value"][0]) for one in series]
    return _rows(labels, values), times


def range_frame(data: Any, window: Window, grid: pd.DatetimeIndex, *, by: str = "") -> pd.DataFrame:
    """One column a series of a range answer; a name that occurs twice is two columns."""
    _, result = _result(data, "matrix")
    names = [_name_of(_labels(one["metric"]), by) for one in result]
    matrix = np.full((len(grid), len(names)), np.nan)
    for number, one in enumerate(result):
        matrix[_positions(one["values"], window, len(grid)), number] = _floats(one["values"])
    return pd.DataFrame(matrix, index=grid, columns=pd.Index(names, dtype=object))


def alerting_rules(data: Any) -> tuple[Rule, ...]:
    """The alerting rules of all groups, in the server's order."""
    return tuple(
        Rule.from_prometheus(rule, str(group["name"]))
        for group in data["groups"]
        for rule in group["rules"]
        if rule.get("type") == "alerting"
    )


def targets_frame(data: Any) -> pd.DataFrame:
    """One row an active target."""
    rows = [_target_row(told) for told in data["activeTargets"]]
    return pd.DataFrame(rows, columns=list(_TARGET_COLUMNS)).astype(_TARGET_COLUMNS)


def sorted_names(data: Any) -> tuple[str, ...]:
    """The values of a label."""
    if not isinstance(data, list):
        raise TypeError("no list of names")
    return tuple(sorted(str(name) for name in data))


def _result(data: Any, *kinds: str) -> tuple[str, Any]:
    kind = data.get("resultType") if isinstance(data, dict) else type(data).__name__
    if kind not in kinds or not isinstance(data.get("result"), list):
        raise TypeError(f"a {kind} where a {kinds[0]} was asked for")
    return str(kind), data["result"]


def _moment(text: object) -> datetime | None:
    if not isinstance(text, str) or not text or text.startswith("0001-01-01"):
        return None
    return datetime.fromisoformat(text).astimezone(UTC)


def _labels(told: Mapping[str, Any]) -> dict[str, str]:
    return {str(name): str(value) for name, value in told.items()}


def _name_of(labels: Mapping[str, str], by: str) -> str:
    if by:
        return labels.get(by, "")
    return ",".join(f"{name}={quoted(labels[name])}" for name in sorted(labels)) or "value"


def _floats(samples: Sequence[Sequence[Any]]) -> "np.ndarray[Any, np.dtype[np.float64]]":
    """The values of [time, text] pairs. A text of 400 digits is no number of Prometheus."""
    values = np.fromiter((float(text) for _, text in samples), np.float64, count=len(samples))
    if any(samples[int(number)][1] not in _INFINITE for number in np.flatnonzero(np.isinf(values))):
        raise ValueError("a number that no float64 can hold")
    return values


def _positions(
    samples: Sequence[Sequence[Any]], window: Window, points: int
) -> "np.ndarray[Any, np.dtype[np.int64]]":
    """Which steps of the window the samples lie on."""
    times = np.fromiter((moment for moment, _ in samples), np.float64, count=len(samples))
    steps = (np.nan_to_num(times, posinf=-1.0) - window.start.timestamp()) / window.step_seconds
    nearest = np.rint(steps)
    is_on_grid = (nearest >= 0) & (nearest < points)
    is_on_grid &= np.abs(steps - nearest) * window.step_seconds <= _TOLERANCE_SECONDS
    if not is_on_grid.all():
        raise ValueError("samples of times that were not asked about")
    return nearest.astype(np.int64)


def _rows(labels: Sequence[Mapping[str, str]], values: Any) -> pd.DataFrame:
    names = sorted({name for one in labels for name in one})
    columns = {
        "exported_value" if name == "value" else name: pd.Series(
            [one.get(name, "") for one in labels], dtype="str"
        )
        for name in names
    }
    return pd.DataFrame({**columns, "value": values})


def _target_row(told: Mapping[str, Any]) -> tuple[Any, ...]:
    labels = _labels(told["labels"])
    about = (labels.get("job", ""), labels.get("instance", ""), str(told["health"]), str(told["scrapeUrl"]))
    scraped = (_moment(told["lastScrape"]), float(told["lastScrapeDuration"]), str(told["lastError"]))
    return (*about, *scraped)
