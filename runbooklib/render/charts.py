"""A finding's series as a PNG chart, with its limit and the marks of events.

Colours are those of Okabe and Ito, which people with any colour vision can tell apart, and each line has a
style of its own as well. The background is white in every theme: dark text on a dark page is not readable.
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
from runbooklib.render.chart_text import MAX_LINES, Mark, label, marks_within, number, scale

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
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

    # matplotlib must not read a dollar sign in the name of a series as TeX.
    with rc_context({"text.parse_math": False, "text.usetex": False}):
        return _draw_png(finding, finding.series.iloc[:, :MAX_LINES], marks)


def _draw_png(finding: Finding, frame: pd.DataFrame, marks: Sequence[Mark]) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    factor, word, unit = scale(finding)
    figure = Figure(
        figsize=(_WIDTH_INCHES, _HEIGHT_INCHES), dpi=_DPI, layout="constrained", facecolor=_GROUND
    )
    axes = figure.subplots()
    for (colour, style), name in zip(_LINES, frame.columns, strict=False):
        _draw_line(axes, frame[name] * factor, colour, style)
    if finding.limit is not None:
        _draw_limit(axes, finding.limit * factor, unit)
    _format_axes(axes, label(word), frame)
    figure.legend(
        loc="outside lower left", ncols=2, frameon=False, fontsize=8, labelcolor=_INK, handlelength=3.5
    )
    canvas, marks = FigureCanvasAgg(figure), marks_within(frame, marks)
    for moment, _ in marks:
        axes.axvline(moment, color=_FAINT, linestyle=(0, (1, 2)), linewidth=1.1)  # type: ignore[arg-type] # dates are fine
    _lay_out(figure)
    _name_marks(figure, axes, canvas.get_renderer(), marks)
    return _with_few_colours(canvas)


def _with_few_colours(canvas: "FigureCanvasAgg") -> bytes:
    """The figure as PNG with a palette: evidence contains each chart twice, and a chart has few colours."""
    from PIL import Image

    canvas.draw()  # `savefig` draws twice
    picture = Image.frombuffer("RGBA", canvas.get_width_height(), canvas.buffer_rgba()).convert("RGB")
    small = io.BytesIO()
    picture.quantize(_COLOURS, dither=Image.Dither.NONE).save(small, format="PNG")
    return small.getvalue()


def _lay_out(figure: "Figure") -> None:
    """Compute the positions of the axes, without drawing; a third of a chart's time, so only once."""
    if engine := figure.get_layout_engine():
        engine.execute(figure)
    figure.set_layout_engine("none")


def _draw_line(axes: "Axes", column: "pd.Series[float]", colour: str, style: Any) -> None:
    axes.plot(
        column.index, column, color=colour, linestyle=style, linewidth=1.8, label=label(str(column.name))
    )
    known = column.notna()
    # A sample between two gaps has no line: draw it as a dot.
    alone = column[known & ~known.shift(fill_value=False) & ~known.shift(-1, fill_value=False)]
    axes.plot(alone.index, alone, color=colour, linestyle="none", marker="o", markersize=3)


def _draw_limit(axes: "Axes", limit: float, unit: str) -> None:
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


def _name_marks(figure: "Figure", axes: "Axes", renderer: "RendererAgg", marks: Sequence[Mark]) -> None:
    """Write the word of each mark into a strip that is added above the axes. The axes keep their size."""
    if not marks:
        return
    placed = _place_words(axes, renderer, marks)
    rows = 1 + max((place.row for place in placed), default=-1)
    height = _HEIGHT_INCHES + (rows * _ROW_PIXELS + 4) / _DPI
    left, bottom, right, top = axes.get_position().extents
    share = _HEIGHT_INCHES / height
    figure.set_figheight(height)
    axes.set_position((left, bottom * share, right - left, (top - bottom) * share))
    for place in placed:
        up = 3 + place.row * _ROW_PIXELS * 72 / _DPI
        word = axes.annotate(
            place.word,
            xy=(place.at, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(-3 if place.is_left else 3, up),
            textcoords="offset points",
            ha="right" if place.is_left else "left",
            va="bottom",
            fontsize=8,
            color=_INK,
            annotation_clip=False,
        )
        leader = axes.annotate(
            "",
            xy=(place.at, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(0, up + 9),
            textcoords="offset points",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": _FAINT, "linewidth": 0.8, "shrinkA": 0, "shrinkB": 0},
        )
        word.set_in_layout(False)
        leader.set_in_layout(False)


@dataclass(frozen=True, slots=True)
class _Place:
    """A word above the axes: its time, the pixel `x` of that time, its first and last pixel, and its row."""

    at: datetime
    x: float
    word: str
    is_left: bool
    begins: float
    ends: float
    row: int = 0

    def overlaps(self, other: "_Place") -> bool:
        """Whether the words overlap, or the line to the higher word crosses the lower word."""
        if self.row == other.row:
            return self.begins < other.ends and other.begins < self.ends
        high, low = (self, other) if self.row > other.row else (other, self)
        return low.begins < high.x < low.ends


def _place_words(axes: "Axes", renderer: "RendererAgg", marks: Sequence[Mark]) -> list[_Place]:
    """The words, in rows, so that no two words overlap and no line crosses a word."""
    from matplotlib.dates import date2num
    from matplotlib.font_manager import FontProperties

    font, area = FontProperties(size=8), axes.get_window_extent()

    def width_of(word: str) -> float:
        return float(renderer.get_text_width_height_descent(word, font, ismath=False)[0]) + 10

    def x_of(moment: datetime) -> float:
        return float(axes.transData.transform((date2num(moment), 0))[0])

    def place(mark: Mark, *, is_left: bool) -> _Place:
        x, word = x_of(mark[0]), label(mark[1])
        begins = x - width_of(word) if is_left else x
        return _Place(mark[0], x, word, is_left, begins, begins + width_of(word))

    merged_marks = _merge_marks(marks, x_of, width_of)
    # From mark number `split` on, the words are left of their lines. Choose the split with most words.
    options = []
    for split in range(len(merged_marks), -1, -1):
        words = [place(mark, is_left=number >= split) for number, mark in enumerate(merged_marks)]
        options.append(_assign_rows([word for word in words if word.begins >= 0 and word.ends <= area.x1]))
    return max(options, key=len)


def _assign_rows(words: Sequence[_Place]) -> list[_Place]:
    """The words that have room, each in the lowest free row.

    A line without room for its word has no word; the table under the chart contains it.
    """
    lefts = [place for place in words if place.is_left]
    rights = [place for place in words if not place.is_left]
    placed: list[_Place] = []
    # In this order the line to a word does not cross the words that are already placed.
    for place in (*lefts, *reversed(rights)):
        rows = [replace(place, row=row) for row in range(_MAX_ROWS)]
        free = [option for option in rows if not any(option.overlaps(other) for other in placed)]
        placed += free[:1]
    return placed


def _merge_marks(
    marks: Sequence[Mark], x_of: Callable[[datetime], float], width_of: Callable[[str], float]
) -> list[Mark]:
    """The marks to write: marks at the same pixel share a text, and a repeated text has a count."""
    at_once: list[tuple[datetime, list[str]]] = []
    for moment, word in marks:
        if at_once and x_of(moment) - x_of(at_once[-1][0]) < _AT_ONCE_PIXELS:
            at_once[-1][1].append(word)
        else:
            at_once.append((moment, [word]))
    by_text: dict[str, list[tuple[datetime, datetime, int]]] = {}
    for moment, words in at_once:
        text = ", ".join(dict.fromkeys(words))
        same = by_text.setdefault(text, [])
        if same and x_of(moment) - x_of(same[-1][1]) < width_of(text) + 20:
            first, _, count = same.pop()
            same.append((first, moment, count + 1))
        else:
            same.append((moment, moment, 1))
    counted = [(at, text, count) for text, same in by_text.items() for at, _, count in same]
    return sorted((at, text if count == 1 else f"{text} ×{count}") for at, text, count in counted)


def draw_without_secrets(redactor: Redactor) -> None:
    """Redact every text that matplotlib draws in this process from now on.

    Text in a picture cannot be redacted afterwards.
    """
    from matplotlib.text import Text

    plain = getattr(Text.set_text, "__wrapped__", Text.set_text)

    @wraps(plain)
    def set_text(self: Text, s: object) -> None:
        plain(self, None if s is None else redactor.text(str(s)))

    Text.set_text = set_text  # type: ignore[method-assign] # matplotlib has no hook; every text passes this method


def _format_axes(axes: "Axes", unit: str, frame: pd.DataFrame) -> None:
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
