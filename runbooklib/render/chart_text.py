"""The content of a chart as text: for its axes, for a table, and for readers who cannot see it."""

import math
from collections.abc import Sequence
from datetime import datetime

import pandas as pd

from runbooklib.model.findings import Finding
from runbooklib.text import visible

Mark = tuple[datetime, str]
MAX_LINES = 6
_MAX_LABEL_LENGTH = 80
_MAX_ALIKE = 4
# (smallest value, factor, unit on the axis, unit after a number)
_SCALES: dict[str, tuple[tuple[float, float, str, str], ...]] = {
    "ratio": ((0, 100, "percent", "%"),),
    "seconds": (
        (0, 1000, "milliseconds", "ms"),
        (1, 1, "seconds", "s"),
        (600, 1 / 60, "minutes", "min"),
        (36_000, 1 / 3600, "hours", "h"),
    ),
    "bytes": tuple(
        (1024**n if n else 0, 1 / 1024**n, unit, unit)
        for n, unit in enumerate(("bytes", "KiB", "MiB", "GiB", "TiB"))
    ),
    "per second": ((0, 1, "per second", "/s"),),
    "count": ((0, 1, "count", ""),),
}


def marks_within(frame: pd.DataFrame, marks: Sequence[Mark]) -> list[Mark]:
    """The marks within the frame's time, each once. A longer word replaces a word that it contains."""
    inside = sorted({mark for mark in marks if frame.index[0] <= mark[0] <= frame.index[-1]})
    return [
        (at, word)
        for at, word in inside
        if not any(at == moment and word != longer and word in longer for moment, longer in inside)
    ]


def _thin_out(marks: Sequence[Mark]) -> list[Mark]:
    """The marks; if a word occurs often, only its first and last mark, with the count."""
    alike = {word: [at for at, other in marks if other == word] for _, word in marks}
    kept = []
    for at, word in marks:
        times = alike[word]
        if len(times) <= _MAX_ALIKE:
            kept.append((at, word))
        elif at in (times[0], times[-1]):
            kept.append((at, f"{word} ({'first' if at == times[0] else 'last'} of {len(times)})"))
    return kept


def label(name: str) -> str:
    """A name as one short line. A space before an underscore: matplotlib omits such names from the legend."""
    line = " ".join(visible(name).split())
    short = line if len(line) <= _MAX_LABEL_LENGTH else f"{line[: _MAX_LABEL_LENGTH - 1]}…"
    return f" {short}" if short.startswith("_") else short


def scale(finding: Finding) -> tuple[float, str, str]:
    """Factor, unit on the axis and unit after a number, for the largest value of the series and its limit."""
    values = [abs(value) for value in _values(finding)] + [abs(finding.limit or 0.0)]
    scales = _SCALES.get(finding.unit, ((0.0, 1.0, finding.unit, finding.unit),))
    _, factor, word, unit = [scale for scale in scales if scale[0] <= max(values)][-1]
    return factor, word, unit


def _values(finding: Finding) -> list[float]:
    frame = finding.series
    values = [] if frame is None else frame.iloc[:, :MAX_LINES].to_numpy().ravel().tolist()
    return [value for value in values if math.isfinite(value)]


def number(value: float) -> str:
    """The number with three digits, the precision of a chart."""
    if not math.isfinite(value):
        return "infinity" if value > 0 else "-infinity"
    return f"{value:.0f}" if abs(value) >= 999.5 else f"{value:.3g}"


def numbers(finding: Finding) -> pd.DataFrame:
    """The numbers of the chart with units. Columns: series, lowest, highest, last; a row for the limit."""
    factor, _, unit = scale(finding)

    def with_unit(value: float) -> str:
        return f"{number(value * factor)} {unit}".rstrip()

    rows, frame = [], pd.DataFrame() if finding.series is None else finding.series
    for name in frame.columns[:MAX_LINES]:
        known = frame[name].dropna()
        values = (
            [with_unit(float(v)) for v in (known.min(), known.max(), known.iloc[-1])] if len(known) else []
        )
        rows.append([label(str(name)), *(values or ["no sample"] * 3)])
    if finding.limit is not None:
        rows.append(["limit", "", "", with_unit(finding.limit)])
    return pd.DataFrame(rows, columns=["series", "lowest", "highest", "last"])


def chart_marks(finding: Finding, marks: Sequence[Mark]) -> list[Mark]:
    """The marks of the chart, by time; the first and the last of many equal marks."""
    return _thin_out(marks_within(finding.series, marks)) if finding.series is not None else []


def alt_text(finding: Finding, marks: Sequence[Mark] = ()) -> str:
    """The chart in words, for a reader who cannot see it. Empty without a series."""
    if finding.series is None:
        return ""
    start, end = finding.series.index[0], finding.series.index[-1]
    parts = [f"Line chart from {start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC."]
    for row in numbers(finding).itertuples(index=False):
        if row.series == "limit" and not row.lowest:
            parts.append(f"The limit is {row.last}.")
        else:
            parts.append(f"{row.series}: last {row.last}, between {row.lowest} and {row.highest}.")
    marked_texts = [f"{word} at {at:%H:%M:%S}" for at, word in chart_marks(finding, marks)]
    return " ".join([*parts, *([f"Marked: {', '.join(marked_texts)}."] if marked_texts else [])])
