"""What may stand in a chart: words without secrets, as they are, and not too many of them."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from runbooklib import charts
from runbooklib.findings import Finding, Status
from runbooklib.redact import Redactor, tag

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
