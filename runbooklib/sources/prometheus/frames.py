"""Parser for the answers of Prometheus: frames and records. All series are kept; a gap is NaN.

This module sends no request. An answer of another shape raises one of SHAPE_ERRORS, which the caller turns
into an error that names the server.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from runbooklib.errors import ParameterError
from runbooklib.model.window import Window
from runbooklib.promql.build import label_name, quoted

# Prometheus refuses a range query with more points per series.
MAX_POINTS = 11_000
SHAPE_ERRORS = (KeyError, TypeError, ValueError, IndexError, OverflowError, AttributeError)

_INFINITE = frozenset({"+Inf", "-Inf"})
# Prometheus rounds times to milliseconds; a sample may differ from the requested time by this much.
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
    """One alerting rule. `state` is inactive, pending or firing, since `active_at` (aware UTC)."""

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
    def from_prometheus(cls, fields: Mapping[str, Any], group: str) -> "Rule":
        """A Rule from one element of a group's `rules` in `/api/v1/rules`."""
        since = [moment for alert in fields.get("alerts") or () if (moment := _moment(alert.get("activeAt")))]
        return cls(
            name=str(fields["name"]),
            query=str(fields["query"]),
            for_seconds=float(fields.get("duration", 0)),
            state=str(fields.get("state", "")),
            labels=_labels(fields.get("labels") or {}),
            annotations=_labels(fields.get("annotations") or {}),
            active_at=min(since, default=None),
            last_error=str(fields.get("lastError", "")),
            group=group,
        )


def notes_of(answer: Mapping[str, Any]) -> list[str]:
    """The warnings of an answer, followed by its infos."""
    notes: list[str] = []
    for key in ("warnings", "infos"):
        values = answer.get(key) or []
        if not isinstance(values, list):
            raise TypeError(f"{key} is not a list")
        notes += [str(note) for note in values]
    return notes


def grid_of(window: Window) -> pd.DatetimeIndex:
    """Every step of the window. Raises ParameterError for more points than Prometheus returns."""
    points = int((window.end - window.start) / timedelta(seconds=window.step_seconds) + 1e-9) + 1
    if points > MAX_POINTS:
        raise ParameterError(
            f"{points:,} points per series exceed the limit of Prometheus, {MAX_POINTS:,}",
            system="prometheus",
            hint=f"use a step of {window.span_seconds / (MAX_POINTS - 1):.0f} s, or a shorter lookback",
        )
    step = pd.Timedelta(seconds=window.step_seconds)
    return pd.date_range(window.start.astimezone(UTC), periods=points, freq=step, name="time")


def instant_frame(data: Any) -> tuple[pd.DataFrame, list[float]]:
    """One row for each series of an instant answer (labels and "value"), and the times of the samples.

    The value of a native histogram is the number of its observations, as that of `histogram_count`.
    `attrs["histograms"]` is the number of series that are native histograms.
    """
    kind, result = _result(data, "vector", "scalar")
    series = [{"metric": {}, "value": result}] if kind == "scalar" else list(result)
    labels = [_labels(sample["metric"]) for sample in series]
    samples = [
        _counted(sample["histogram"]) if _is_histogram(sample) else sample["value"] for sample in series
    ]
    frame = _rows(labels, _floats(samples))
    frame.attrs["histograms"] = sum(_is_histogram(sample) for sample in series)
    return frame, [float(sample[0]) for sample in samples]


def _is_histogram(sample: Mapping[str, Any]) -> bool:
    return "histogram" in sample


def _counted(sample: Sequence[Any]) -> tuple[Any, str]:
    """The time of a native histogram sample, and the number of its observations."""
    moment, histogram = sample
    return moment, histogram["count"]


def range_frame(data: Any, window: Window, grid: pd.DatetimeIndex, *, by: str = "") -> pd.DataFrame:
    """One column for each series of a range answer; a name that occurs twice gives two columns.

    The value of a native histogram is the number of its observations. A series can have both kinds of
    samples.
    """
    _, result = _result(data, "matrix")
    names = [_name_of(_labels(series["metric"]), by) for series in result]
    matrix = np.full((len(grid), len(names)), np.nan)
    for column, series in enumerate(result):
        samples = _samples(series)
        matrix[_positions(samples, window, len(grid)), column] = _floats(samples)
    return pd.DataFrame(matrix, index=grid, columns=pd.Index(names, dtype=object))


def _samples(series: Mapping[str, Any]) -> list[Sequence[Any]]:
    if "histograms" not in series:
        return list(series["values"])
    return [*series.get("values", ()), *(_counted(sample) for sample in series["histograms"])]


def alerting_rules(data: Any) -> tuple[Rule, ...]:
    """The alerting rules of all groups, in the server's order."""
    return tuple(
        Rule.from_prometheus(rule, str(group["name"]))
        for group in data["groups"]
        for rule in group["rules"]
        if rule.get("type") == "alerting"
    )


def targets_frame(data: Any) -> pd.DataFrame:
    """One row for each active target."""
    rows = [_target_row(target) for target in data["activeTargets"]]
    return pd.DataFrame(rows, columns=list(_TARGET_COLUMNS)).astype(_TARGET_COLUMNS)


def sorted_names(data: Any) -> tuple[str, ...]:
    """The values of a label, sorted."""
    if not isinstance(data, list):
        raise TypeError("the names are not a list")
    return tuple(sorted(str(name) for name in data))


def _result(data: Any, *kinds: str) -> tuple[str, Any]:
    kind = data.get("resultType") if isinstance(data, dict) else type(data).__name__
    if kind not in kinds or not isinstance(data.get("result"), list):
        raise TypeError(f"a {kind} instead of a {kinds[0]}")
    return str(kind), data["result"]


def _moment(text: object) -> datetime | None:
    if not isinstance(text, str) or not text or text.startswith("0001-01-01"):
        return None
    return datetime.fromisoformat(text).astimezone(UTC)


def _labels(labels: Mapping[str, Any]) -> dict[str, str]:
    return {str(name): str(value) for name, value in labels.items()}


def _name_of(labels: Mapping[str, str], by: str) -> str:
    if by:
        return labels.get(by, "")
    return ",".join(f"{label_name(name)}={quoted(labels[name])}" for name in sorted(labels)) or "value"


def _floats(samples: Sequence[Sequence[Any]]) -> "np.ndarray[Any, np.dtype[np.float64]]":
    """The values of [time, text] pairs. Raises ValueError for a number that only Python reads as infinite."""
    values = np.fromiter((float(text) for _, text in samples), np.float64, count=len(samples))
    if any(samples[int(number)][1] not in _INFINITE for number in np.flatnonzero(np.isinf(values))):
        raise ValueError("a number exceeds the range of float64")
    return values


def _positions(
    samples: Sequence[Sequence[Any]], window: Window, points: int
) -> "np.ndarray[Any, np.dtype[np.int64]]":
    """The index of each sample's step in the window. Raises ValueError for a sample between steps."""
    times = np.fromiter((moment for moment, _ in samples), np.float64, count=len(samples))
    steps = (np.nan_to_num(times, posinf=-1.0) - window.start.timestamp()) / window.step_seconds
    nearest = np.rint(steps)
    is_on_grid = (nearest >= 0) & (nearest < points)
    is_on_grid &= np.abs(steps - nearest) * window.step_seconds <= _TOLERANCE_SECONDS
    if not is_on_grid.all():
        raise ValueError("samples with times that were not requested")
    return nearest.astype(np.int64)


def _rows(labels: Sequence[Mapping[str, str]], values: Any) -> pd.DataFrame:
    names = sorted({name for series in labels for name in series})
    columns = {
        "exported_value" if name == "value" else name: pd.Series(
            [series.get(name, "") for series in labels], dtype="str"
        )
        for name in names
    }
    return pd.DataFrame({**columns, "value": values})


def _target_row(target: Mapping[str, Any]) -> tuple[Any, ...]:
    labels = _labels(target["labels"])
    name = (
        labels.get("job", ""),
        labels.get("instance", ""),
        str(target["health"]),
        str(target["scrapeUrl"]),
    )
    scrape = (_moment(target["lastScrape"]), float(target["lastScrapeDuration"]), str(target["lastError"]))
    return (*name, *scrape)
