"""A finding's series as a picture: against its limit, with what happened marked.

Colours are those of Okabe and Ito, which people with any colour vision can tell apart. Times are UTC.
"""

import io
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import wraps
from typing import TYPE_CHECKING

from runbooklib.findings import Finding
from runbooklib.redact import Redactor
from runbooklib.visibly import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame

_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
_LIMIT = "#B3261E"
_INK = "#30343B"
_MOST_LINES = 6
_LONGEST_LABEL = 80
_UNITS = {
    "ratio": (100.0, "%"),
    "seconds": (1.0, "s"),
    "bytes": (1 / 1048576, "MiB"),
    "per second": (1.0, "/s"),
}


def png(finding: Finding, marks: Sequence[tuple[datetime, str]] = ()) -> bytes:
    """The chart of the finding's series; `marks` are moments (aware UTC) with a word each.

    Raises ValueError for a finding without series.
    """
    if finding.series is None or finding.series.empty:
        raise ValueError("this finding has no series to draw")
    from matplotlib import rc_context

    # A dollar sign is a dollar sign: what a system calls its series is no mathematics.
    with rc_context({"text.parse_math": False, "text.usetex": False}):
        return _drawn(finding, finding.series.iloc[:, :_MOST_LINES], marks)


def _drawn(finding: Finding, frame: "DataFrame", marks: Sequence[tuple[datetime, str]]) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    scale, unit = _UNITS.get(finding.unit, (1.0, finding.unit))
    figure = Figure(figsize=(8.6, 2.5), dpi=110, layout="constrained", facecolor="white")
    axes = figure.subplots()
    for colour, name in zip(_COLOURS, frame.columns, strict=False):
        axes.plot(frame.index, frame[name] * scale, color=colour, linewidth=1.8, label=_label(str(name)))
    if finding.limit is not None:
        axes.axhline(finding.limit * scale, color=_LIMIT, linestyle="--", linewidth=1.2, label="limit")
    _mark(axes, [m for m in marks if frame.index[0] <= m[0] <= frame.index[-1]])
    _dress(axes, _label(unit))
    picture = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(picture, format="png", metadata={"Software": None})
    return picture.getvalue()


def _label(told: str) -> str:
    """A name as one short line; one that begins with an underscore would be left out of the legend."""
    line = " ".join(visible(told).split())
    short = line if len(line) <= _LONGEST_LABEL else f"{line[: _LONGEST_LABEL - 1]}…"
    return f" {short}" if short.startswith("_") else short


def draw_without_secrets(redactor: Redactor) -> None:
    """From now on every text that matplotlib draws in this process is without secrets, whoever draws it.

    Letters in a picture cannot be taken out of it afterwards.
    """
    from matplotlib.text import Text

    plain = getattr(Text.set_text, "__wrapped__", Text.set_text)

    @wraps(plain)
    def set_text(self: Text, s: object) -> None:
        plain(self, None if s is None else redactor.text(str(s)))

    Text.set_text = set_text  # type: ignore[method-assign] # there is no hook; every text passes here


def _mark(axes: "Axes", marks: Sequence[tuple[datetime, str]]) -> None:
    for row, (moment, word) in enumerate(sorted(marks)):
        axes.axvline(moment, color=_INK, linestyle=":", linewidth=1.2)  # type: ignore[arg-type]
        axes.annotate(
            _label(word),
            xy=(moment, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(4, -4 - 12 * (row % 3)),
            textcoords="offset points",
            va="top",
            fontsize=8,
            color=_INK,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 1},
        )


def _dress(axes: "Axes", unit: str) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator(tz=UTC, minticks=4, maxticks=9)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=UTC))
    axes.set_ylim(bottom=0)
    axes.margins(x=0.01, y=0.25)
    axes.set_ylabel(unit, color=_INK)
    axes.grid(axis="y", color="#E3E5E8", linewidth=0.8)
    axes.tick_params(colors=_INK, labelsize=8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color("#B9BDC4")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=8, labelcolor=_INK)


def alt_text(finding: Finding) -> str:
    """What the picture shows, in words, for a reader who cannot see it."""
    if finding.series is None:
        return ""
    scale, unit = _UNITS.get(finding.unit, (1.0, finding.unit))
    lines = []
    for name in finding.series.columns[:_MOST_LINES]:
        known = finding.series[name].dropna()
        if len(known):
            lowest, highest = float(known.min()) * scale, float(known.max()) * scale
            lines.append(f"{name} between {lowest:.3g} and {highest:.3g} {unit}")
    return "; ".join(lines)
