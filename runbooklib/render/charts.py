"""A finding's series as a picture: against its limit, with what happened marked.

Colours are those of Okabe and Ito, which people with any colour vision can tell apart, and each line has a
style of its own as well. The ground is white in every theme: dark letters on a dark page could not be read.
Times are UTC.
"""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import wraps
from typing import TYPE_CHECKING, Any

import pandas as pd

from runbooklib.model.findings import Finding
from runbooklib.redact.redactor import Redactor
from runbooklib.render.chart_text import MAX_LINES, Mark, label, number, scale, within

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import RendererAgg
    from matplotlib.figure import Figure

_LINES = (
    ("#0072B2", "-"),
    ("#E69F00", "--"),
    ("#009E73", "-."),
    ("#CC79A7", ":"),
    ("#56B4E9", (0, (6, 1, 1, 1, 1, 1))),
    ("#000000", (0, (2, 2))),
)
_LIMIT = "#D55E00"
_GROUND, _INK, _FAINT = "#FFFFFF", "#30343B", "#5B6068"
_WIDTH_INCHES, _HEIGHT_INCHES, _DPI = 8.6, 2.7, 110
_COLOURS = 96
_ROW_PIXELS, _MAX_ROWS, _AT_ONCE_PIXELS = 14, 5, 6


def png(finding: Finding, marks: Sequence[Mark] = ()) -> bytes:
    """The chart of the finding's series; `marks` are moments (aware UTC) with a word each.

    Raises ValueError for a finding without series.
    """
    if finding.series is None or finding.series.empty:
        raise ValueError("this finding has no series to draw")
    from matplotlib import rc_context

    # A dollar sign is a dollar sign: what a system calls its series is no mathematics.
    with rc_context({"text.parse_math": False, "text.usetex": False}):
        return _drawn(finding, finding.series.iloc[:, :MAX_LINES], marks)


def _drawn(finding: Finding, frame: pd.DataFrame, marks: Sequence[Mark]) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    factor, word, unit = scale(finding)
    figure = Figure(
        figsize=(_WIDTH_INCHES, _HEIGHT_INCHES), dpi=_DPI, layout="constrained", facecolor=_GROUND
    )
    axes = figure.subplots()
    for (colour, style), name in zip(_LINES, frame.columns, strict=False):
        _line(axes, frame[name] * factor, colour, style)
    if finding.limit is not None:
        _limit(axes, finding.limit * factor, unit)
    _dress(axes, label(word), frame)
    figure.legend(
        loc="outside lower left", ncols=2, frameon=False, fontsize=8, labelcolor=_INK, handlelength=3.5
    )
    _mark(figure, axes, FigureCanvasAgg(figure).get_renderer(), within(frame, marks))
    return _with_few_colours(figure)


def _with_few_colours(figure: "Figure") -> bytes:
    """The figure as PNG with a palette: evidence holds each chart twice, and a chart has few colours."""
    from PIL import Image

    _lay_out(figure)
    figure.set_layout_engine("none")  # else all is drawn once more, to lay it out
    plain, small = io.BytesIO(), io.BytesIO()
    figure.savefig(plain, format="rgba")  # pixels: to pack and unpack a picture takes a third of its time
    size = figure.canvas.get_width_height()
    picture = Image.frombuffer("RGBA", size, plain.getvalue()).convert("RGB")
    picture.quantize(_COLOURS, dither=Image.Dither.NONE).save(small, format="PNG", optimize=True)
    return small.getvalue()


def _lay_out(figure: "Figure") -> None:
    """Give the axes their place, without drawing."""
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)


def _line(axes: "Axes", column: "pd.Series[float]", colour: str, style: Any) -> None:
    axes.plot(
        column.index, column, color=colour, linestyle=style, linewidth=1.8, label=label(str(column.name))
    )
    known = column.notna()
    # A sample between two gaps is no line; it is there all the same.
    alone = column[known & ~known.shift(fill_value=False) & ~known.shift(-1, fill_value=False)]
    axes.plot(alone.index, alone, color=colour, linestyle="none", marker="o", markersize=3)


def _limit(axes: "Axes", limit: float, unit: str) -> None:
    axes.axhline(limit, color=_LIMIT, linestyle=(0, (8, 3)), linewidth=1.3)
    axes.annotate(
        f"limit {number(limit)} {unit}".rstrip(),
        xy=(1.0, limit),
        xycoords=("axes fraction", "data"),
        xytext=(-3, 2),
        textcoords="offset points",
        ha="right",
        va="bottom",
        fontsize=8,
        color="#9A4400",
        bbox={"facecolor": _GROUND, "edgecolor": "none", "alpha": 0.8, "pad": 0.8},
    )


def _mark(figure: "Figure", axes: "Axes", renderer: "RendererAgg", marks: Sequence[Mark]) -> None:
    """A line at each mark, and its word in a strip above the axes, where nothing else is drawn."""
    if not marks:
        return
    for moment, _ in marks:
        axes.axvline(moment, color=_FAINT, linestyle=(0, (1, 2)), linewidth=1.1)  # type: ignore[arg-type] # dates are fine
    _lay_out(figure)
    placed = _placed(axes, renderer, marks)
    rows = 1 + max((one.row for one in placed), default=-1)
    height = _HEIGHT_INCHES + (rows * _ROW_PIXELS + 4) / _DPI
    figure.set_figheight(height)
    figure.set_layout_engine("constrained", rect=(0, 0, 1, _HEIGHT_INCHES / height))
    for one in placed:
        up = 3 + one.row * _ROW_PIXELS * 72 / _DPI
        told = axes.annotate(
            one.word,
            xy=(one.at, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(-3 if one.is_left else 3, up),
            textcoords="offset points",
            ha="right" if one.is_left else "left",
            va="bottom",
            fontsize=8,
            color=_INK,
            annotation_clip=False,
        )
        leader = axes.annotate(
            "",
            xy=(one.at, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(0, up + 9),
            textcoords="offset points",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": _FAINT, "linewidth": 0.8, "shrinkA": 0, "shrinkB": 0},
        )
        told.set_in_layout(False)
        leader.set_in_layout(False)


@dataclass(frozen=True, slots=True)
class _Place:
    """A word above the axes: its moment and where that is, from where to where it goes, and its row."""

    at: datetime
    x: float
    word: str
    is_left: bool
    begins: float
    ends: float
    row: int = 0

    def is_in_the_way_of(self, other: "_Place") -> bool:
        """Whether one word would stand on the other, or the line up to one go through the other."""
        if self.row == other.row:
            return self.begins < other.ends and other.begins < self.ends
        high, low = (self, other) if self.row > other.row else (other, self)
        return low.begins < high.x < low.ends


def _placed(axes: "Axes", renderer: "RendererAgg", marks: Sequence[Mark]) -> list[_Place]:
    """The words, in rows: so that none stands on another, and no line up to one goes through another."""
    from matplotlib.dates import date2num
    from matplotlib.font_manager import FontProperties

    font, area = FontProperties(size=8), axes.get_window_extent()

    def width(word: str) -> float:
        return float(renderer.get_text_width_height_descent(word, font, ismath=False)[0]) + 10

    def across(moment: datetime) -> float:
        return float(axes.transData.transform((date2num(moment), 0))[0])

    def place(named: Mark, *, is_left: bool) -> _Place:
        x, word = across(named[0]), label(named[1])
        begins = x - width(word) if is_left else x
        return _Place(named[0], x, word, is_left, begins, begins + width(word))

    named = _gathered(marks, across, width)
    # From some moment on the words stand left of their lines; from which on leaves the fewest out?
    ways = []
    for split in range(len(named), -1, -1):
        wanted = [place(one, is_left=number >= split) for number, one in enumerate(named)]
        ways.append(_in_rows([one for one in wanted if one.begins >= 0 and one.ends <= area.x1]))
    return max(ways, key=len)


def _in_rows(wanted: Sequence[_Place]) -> list[_Place]:
    """Those for which there is room, each in the lowest row that has it.

    Where there is none the line stands alone; the table under the chart names it.
    """
    lefts, rights = [one for one in wanted if one.is_left], [one for one in wanted if not one.is_left]
    placed: list[_Place] = []
    # In this order the line up to a word goes past those that were placed before it.
    for one in (*lefts, *reversed(rights)):
        tried = [replace(one, row=row) for row in range(_MAX_ROWS)]
        free = [one for one in tried if not any(one.is_in_the_way_of(other) for other in placed)]
        placed += free[:1]
    return placed


def _gathered(
    marks: Sequence[Mark], across: Callable[[datetime], float], width: Callable[[str], float]
) -> list[Mark]:
    """The moments to be named: what happens at once has one name, and what happens often a number."""
    at_once: list[tuple[datetime, list[str]]] = []
    for moment, word in marks:
        if at_once and across(moment) - across(at_once[-1][0]) < _AT_ONCE_PIXELS:
            at_once[-1][1].append(word)
        else:
            at_once.append((moment, [word]))
    found: dict[str, list[tuple[datetime, datetime, int]]] = {}
    for moment, words in at_once:
        told = ", ".join(dict.fromkeys(words))
        same = found.setdefault(told, [])
        if same and across(moment) - across(same[-1][1]) < width(told) + 20:
            first, _, count = same.pop()
            same.append((first, moment, count + 1))
        else:
            same.append((moment, moment, 1))
    named = [(one, told, count) for told, same in found.items() for one, _, count in same]
    return sorted((at, told if count == 1 else f"{told} ×{count}") for at, told, count in named)


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


def _dress(axes: "Axes", unit: str, frame: pd.DataFrame) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator(tz=UTC, minticks=4, maxticks=9)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=UTC, show_offset=False))
    axes.margins(x=0.01, y=0.12)
    if axes.get_ylim()[0] > 0 or not (frame < 0).any(axis=None):
        axes.set_ylim(bottom=0)
    axes.set_xlabel(" to ".join(dict.fromkeys(_days(frame))) + ", UTC", color=_INK, fontsize=8)
    axes.set_ylabel(unit, color=_INK, fontsize=9)
    axes.grid(axis="y", color="#E3E5E8", linewidth=0.8)
    axes.tick_params(colors=_INK, labelsize=8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color("#B9BDC4")


def _days(frame: pd.DataFrame) -> list[str]:
    return [f"{moment:%Y-%m-%d}" for moment in (frame.index[0], frame.index[-1])]
