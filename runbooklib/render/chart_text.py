"""What a chart says, in words and numbers: for its axes, for a table, and for readers who cannot see it."""

import math
from collections.abc import Sequence
from datetime import datetime

import pandas as pd

from runbooklib.model.findings import Finding
from runbooklib.text import visible

Mark = tuple[datetime, str]
MAX_LINES = 6
_LONGEST_LABEL = 80
_MAX_ALIKE = 4
# (from which value on, factor, on the axis, behind a number)
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


def within(frame: pd.DataFrame, marks: Sequence[Mark]) -> list[Mark]:
    """The marks of the frame's time, each once: of two words for one moment the one that says more."""
    inside = sorted({mark for mark in marks if frame.index[0] <= mark[0] <= frame.index[-1]})
    return [
        (at, word)
        for at, word in inside
        if not any(at == other and word != more and word in more for other, more in inside)
    ]


def _thinned(marks: Sequence[Mark]) -> list[Mark]:
    """Of many alike the first and the last, with how many there are: nobody reads the rest."""
    alike = {word: [at for at, other in marks if other == word] for _, word in marks}
    kept = []
    for at, word in marks:
        times = alike[word]
        if len(times) <= _MAX_ALIKE:
            kept.append((at, word))
        elif at in (times[0], times[-1]):
            kept.append((at, f"{word} ({'first' if at == times[0] else 'last'} of {len(times)})"))
    return kept


def label(told: str) -> str:
    """A name as one short line; one that begins with an underscore would be left out of the legend."""
    line = " ".join(visible(told).split())
    short = line if len(line) <= _LONGEST_LABEL else f"{line[: _LONGEST_LABEL - 1]}…"
    return f" {short}" if short.startswith("_") else short


def scale(finding: Finding) -> tuple[float, str, str]:
    """Factor, unit on the axis and unit behind a number, by what the series and its limit come to."""
    values = [abs(value) for value in _values(finding)] + [abs(finding.limit or 0.0)]
    scales = _SCALES.get(finding.unit, ((0.0, 1.0, finding.unit, finding.unit),))
    _, factor, word, unit = [scale for scale in scales if scale[0] <= max(values)][-1]
    return factor, word, unit


def _values(finding: Finding) -> list[float]:
    frame = finding.series
    told = [] if frame is None else frame.iloc[:, :MAX_LINES].to_numpy().ravel().tolist()
    return [value for value in told if math.isfinite(value)]


def number(value: float) -> str:
    """Three digits, as many as a chart can show."""
    if not math.isfinite(value):
        return "infinity" if value > 0 else "-infinity"
    return f"{value:.0f}" if abs(value) >= 999.5 else f"{value:.3g}"


def numbers(finding: Finding) -> pd.DataFrame:
    """What the picture shows as texts with units: series, lowest, highest, last; and the limit as a row."""
    factor, _, unit = scale(finding)

    def told(value: float) -> str:
        return f"{number(value * factor)} {unit}".rstrip()

    rows, frame = [], pd.DataFrame() if finding.series is None else finding.series
    for name in frame.columns[:MAX_LINES]:
        known = frame[name].dropna()
        values = [told(float(v)) for v in (known.min(), known.max(), known.iloc[-1])] if len(known) else []
        rows.append([label(str(name)), *(values or ["no sample"] * 3)])
    if finding.limit is not None:
        rows.append(["limit", "", "", told(finding.limit)])
    return pd.DataFrame(rows, columns=["series", "lowest", "highest", "last"])


def marked(finding: Finding, marks: Sequence[Mark]) -> list[Mark]:
    """The marks that the picture shows, by time; of many alike the first and the last."""
    return _thinned(within(finding.series, marks)) if finding.series is not None else []


def alt_text(finding: Finding, marks: Sequence[Mark] = ()) -> str:
    """What the picture shows, in words, for a reader who cannot see it."""
    if finding.series is None:
        return ""
    start, end = finding.series.index[0], finding.series.index[-1]
    parts = [f"Line chart from {start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC."]
    for row in numbers(finding).itertuples(index=False):
        if row.series == "limit" and not row.lowest:
            parts.append(f"The limit is {row.last}.")
        else:
            parts.append(f"{row.series}: last {row.last}, between {row.lowest} and {row.highest}.")
    told = [f"{word} at {at:%H:%M:%S}" for at, word in marked(finding, marks)]
    return " ".join([*parts, *([f"Marked: {', '.join(told)}."] if told else [])])
