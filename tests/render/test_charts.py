"""What may stand in a chart: words without secrets, as they are, and none upon another."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from runbooklib.model.findings import Finding, Status
from runbooklib.redact.redactor import Redactor, tag
from runbooklib.render import chart_text, charts, html

SECRET = "hunter22-canary"
INDEX = pd.date_range("2026-01-15", periods=3, freq="15s", tz="UTC")


@pytest.fixture
def plain() -> Iterator[None]:
    before = Text.set_text
    yield
    Text.set_text = before  # type: ignore[method-assign]


def chart(name: str, *marks: tuple[datetime, str]) -> bytes:
    frame = pd.DataFrame({name: [1.0, 2.0, 3.0]}, index=INDEX)
    return charts.png(Finding(status=Status.OK, template="x", series=frame), marks)


@pytest.mark.row("H70")
def test_matplotlib_draws_no_secret_whoever_draws_it(plain: None) -> None:
    del plain
    charts.draw_without_secrets(Redactor(["another-canary"]))
    charts.draw_without_secrets(Redactor([SECRET]))  # a second incident in the same kernel
    axes = Figure().subplots()
    axes.set_title(f"of {SECRET}")
    axes.set_xlabel(SECRET)
    axes.plot([1, 2], label=SECRET)
    drawn = [axes.get_title(), axes.get_xlabel(), axes.legend().get_texts()[0].get_text()]
    drawn += [axes.annotate(SECRET, (0, 0)).get_text(), axes.text(0, 0, SECRET).get_text()]
    assert drawn == [f"of {tag(SECRET)}", *[tag(SECRET)] * 4]
    assert chart(SECRET) == chart(tag(SECRET))


@pytest.mark.parametrize(
    "name", ["$\\frac$", "a $x_1$ and $", "\\u", "_hidden", "\x1b[2J\u202e", "x" * 10_000]
)
def test_a_name_is_drawn_as_it_is_and_is_no_mathematics(name: str) -> None:
    moment = datetime(2026, 1, 15, 0, 0, 15, tzinfo=UTC)
    assert chart(name, (moment, name)).startswith(b"\x89PNG")
    assert len(chart(name)) < 100_000


def test_a_name_that_begins_with_an_underscore_is_in_the_legend() -> None:
    assert chart("_pool") != chart("_other")
    assert chart("b\u0430ckend") == chart("b\\u{430}ckend")


BEGIN = datetime(2026, 1, 15, tzinfo=UTC)


def hour(unit: str = "ratio", limit: float | None = 0.05, most: float = 0.3) -> Finding:
    index = pd.date_range(BEGIN, periods=240, freq="15s", tz="UTC")
    values = [0.0] * 120 + [most] * 120
    frame = pd.DataFrame({"failed": values}, index=index)
    return Finding(status=Status.CRITICAL, template="x", series=frame, unit=unit, limit=limit)


def at(minutes: float) -> datetime:
    return BEGIN + timedelta(minutes=minutes)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are drawn."""
    kept: list[Figure] = []
    plain: Any = FigureCanvasAgg.draw

    def draw(self: FigureCanvasAgg) -> None:
        kept.append(self.figure)
        plain(self)

    monkeypatch.setattr(FigureCanvasAgg, "draw", draw)
    return kept


CROWDS = {
    "all at the end": [(at(58 + i / 10), f"mark {i}") for i in range(5)],
    "all at the beginning": [(at(i / 10), f"mark {i}") for i in range(5)],
    "a crash loop": [(at(20 + i), word) for i in range(30) for word in ("died", "started")],
    "at one moment": [(at(30), word) for word in ("died", "started", "alert fires", "it began")],
    "everywhere": [(at(i * 2.9), f"something long happened {i}") for i in range(20)],
    "very long": [(at(10), "x" * 300), (at(11), "y" * 300)],
}


@pytest.mark.parametrize("marks", CROWDS.values(), ids=CROWDS)
def test_no_word_of_a_mark_stands_on_another_or_outside(
    marks: list[tuple[datetime, str]], drawn: list[Figure]
) -> None:
    charts.png(hour(), marks)
    [figure] = drawn
    figure.draw_without_rendering()
    axes = figure.axes[0]
    words = [one for one in axes.texts if one.get_text() and not one.get_text().startswith("limit")]
    boxes = [one.get_window_extent() for one in words]
    assert boxes
    for number, box in enumerate(boxes):
        assert figure.bbox.x0 <= box.x0
        assert box.x1 <= figure.bbox.x1
        assert box.y1 <= figure.bbox.y1
        assert box.y0 >= axes.get_window_extent().y1 - 1
        assert not [other for other in boxes[:number] if box.overlaps(other)]


def test_what_happens_again_and_again_has_one_word_with_its_number(drawn: list[Figure]) -> None:
    charts.png(hour(), CROWDS["a crash loop"])
    assert "died, started ×30" in [one.get_text() for one in drawn[0].axes[0].texts]


def test_the_limit_is_drawn_with_its_value_and_lines_differ_in_more_than_colour(drawn: list[Figure]) -> None:
    finding = hour()
    assert finding.series is not None
    many = finding.series.assign(**{f"line {n}": n / 100 for n in range(5)})
    charts.png(Finding(status=Status.OK, template="x", series=many, unit="ratio", limit=0.05))
    axes = drawn[0].axes[0]
    assert "limit 5 %" in [one.get_text() for one in axes.texts]
    styles = [line.get_linestyle() for line in axes.lines if not str(line.get_label()).startswith("_")]
    patterns = [str(line._dash_pattern) for line in axes.lines if line.get_label() in many.columns]  # type: ignore[attr-defined]
    assert len(styles) == 6
    assert len(set(patterns)) == 6


@pytest.mark.parametrize(
    ("unit", "most", "axis", "last"),
    [
        ("ratio", 0.3, "percent", "30 %"),
        ("seconds", 0.25, "milliseconds", "250 ms"),
        ("seconds", 2.5, "seconds", "2.5 s"),
        ("seconds", 1200, "minutes", "20 min"),
        ("bytes", 3 * 1024**3, "GiB", "3 GiB"),
        ("bytes", 200 * 1024**2, "MiB", "200 MiB"),
        ("bytes", 12, "bytes", "12 bytes"),
        ("per second", 40, "per second", "40 /s"),
        ("count", 7, "count", "7"),
        ("cores", 2, "cores", "2 cores"),
    ],
)
def test_axis_and_numbers_have_the_unit_that_fits(
    unit: str, most: float, axis: str, last: str, drawn: list[Figure]
) -> None:
    finding = hour(unit, None, most)
    charts.png(finding)
    axes = drawn[0].axes[0]
    assert (axes.get_ylabel(), axes.get_xlabel()) == (axis, "2026-01-15, UTC")
    assert list(chart_text.numbers(finding)["last"]) == [last]


def test_whoever_cannot_see_the_picture_is_told_the_same() -> None:
    marks = [(at(10), "deployed abc"), (at(10), "abc"), (at(600), "of another time")]
    told = chart_text.alt_text(hour(), marks)
    assert told == (
        "Line chart from 2026-01-15 00:00 to 2026-01-15 00:59 UTC. failed: last 30 %, between 0 % and 30 %. "
        "The limit is 5 %. Marked: deployed abc at 00:10:00."
    )
    card = html.finding_card(hour(), marks)
    assert f'alt="{told}"' in card
    table = card.partition("<details>")[2]
    assert re.findall(r"<td[^>]*>([^<]*)", table)[:8] == [
        "failed",
        "0 %",
        "30 %",
        "30 %",
        "limit",
        "",
        "",
        "5 %",
    ]
    assert "deployed abc" in table


def test_a_sample_between_two_gaps_is_seen(drawn: list[Figure]) -> None:
    finding = hour()
    assert finding.series is not None
    frame = finding.series.astype(float)
    frame.iloc[100:110] = float("nan")
    frame.iloc[105] = 0.2
    charts.png(Finding(status=Status.OK, template="x", series=frame))
    alone = [line for line in drawn[0].axes[0].lines if line.get_marker() == "o"]
    assert [len(line.get_xdata()) for line in alone] == [1]  # type: ignore[arg-type]


def test_of_many_marks_alike_words_and_table_name_the_first_and_the_last() -> None:
    crowd = [(at(20 + i), "died") for i in range(30)] + [(at(30), "deployed 1a2b3c4d")]
    told = chart_text.chart_marks(hour(), crowd)
    assert told == [
        (at(20), "died (first of 30)"),
        (at(30), "deployed 1a2b3c4d"),
        (at(49), "died (last of 30)"),
    ]
    few = [(at(20 + i), "died") for i in range(4)]
    assert chart_text.chart_marks(hour(), few) == few
    # A chart holds each of them once more than the picture: words that grow with them fill the evidence.
    many = [(at(i / 10), "died") for i in range(500)]
    assert len(html.finding_card(hour(), many)) < len(html.finding_card(hour(), [])) + 12_000
