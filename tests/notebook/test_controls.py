"""What the bar of controls asks for, and what it is where nobody can click."""

from datetime import UTC, datetime, timedelta

import pytest

from runbooklib.errors import ParameterError
from runbooklib.notebook import controls
from runbooklib.notebook.controls import AROUND, AT, NOW, span_of

NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("mode", "at", "span", "began", "asked"),
    [
        (NOW, "", "30m", None, ("", "30m")),
        (NOW, "2026-01-15T03:00:00Z", "30m", None, ("", "30m")),
        (AT, " 2026-01-15T03:00:00Z ", "1h", None, ("2026-01-15T03:00:00Z", "1h")),
        (AROUND, "", "15m", NOON - timedelta(hours=2), ("2026-01-15T10:15:00+00:00", "1800s")),
        # What is still to come is not asked for: until now, from as long before.
        (AROUND, "", "15m", NOON - timedelta(minutes=5), ("", "1200s")),
    ],
)
def test_a_window_is_asked_for(
    mode: str, at: str, span: str, began: datetime | None, asked: tuple[str, str]
) -> None:
    assert span_of(mode, at, span, began, NOON) == asked


@pytest.mark.parametrize(
    ("mode", "told"), [(AT, "`at` needs a time"), (AROUND, "the alert has no known start time")]
)
def test_a_window_that_nobody_can_mean_is_refused(mode: str, told: str) -> None:
    with pytest.raises(ParameterError, match=told):
        span_of(mode, "", "15m", None, NOON)


def test_only_where_a_server_shows_the_notebook_can_somebody_click(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    assert not controls.can_click()
    monkeypatch.setenv("JPY_SESSION_NAME", "notebooks/HighErrorRate.ipynb")
    assert controls.can_click()
    monkeypatch.setenv("JPY_SESSION_NAME", "a console")
    assert not controls.can_click()
