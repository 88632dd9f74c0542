"""What a notebook shows is never typeset: by IPython, and by widgets. In JupyterLab: tests/browser."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from IPython.core.events import EventManager, post_run_cell, pre_run_cell
from IPython.core.formatters import DisplayFormatter
from IPython.display import HTML

from runbooklib.model.plan import Plan, Proposal
from runbooklib.notebook.approval_panel import Panel
from runbooklib.notebook.display import NotebookScreen
from runbooklib.render.html import proposal_lines, status_line
from runbooklib.render.inert_html import literal, without_literal
from runbooklib.sources.tape import Tape
from tests.support.incident import broken, opened

FRAME = pd.DataFrame({"line": ["PATH=$HOME/bin:$JAVA_HOME/bin"]})
HTML_OF_FRAME: Any = getattr(FRAME, "_repr_html_")()  # noqa: B009 - what pandas-stubs take for a column


@pytest.fixture
def formatter() -> DisplayFormatter:
    """IPython's own, where an incident was opened twice."""
    made = DisplayFormatter()
    callbacks = {"pre_run_cell": pre_run_cell, "post_run_cell": post_run_cell}
    events = EventManager(None, callbacks)  # type: ignore[arg-type] # it only keeps it
    for _ in range(2):
        shell = SimpleNamespace(display_formatter=made, events=events)
        NotebookScreen(shell, Tape(), lambda *_, **__: None).close()
    return made


@pytest.mark.parametrize(
    ("shown", "fragment"),
    [
        (FRAME, HTML_OF_FRAME),
        (HTML("<p>$x$</p>"), "<p>$x$</p>"),
        (FRAME["line"], None),
        (pd.DataFrame, None),
        (7, None),
    ],
)
def test_html_of_the_engineers_own_is_shown_letter_by_letter(
    formatter: DisplayFormatter, shown: Any, fragment: str | None
) -> None:
    told, _ = formatter.format(shown)
    assert told.get("text/html") == (literal(fragment) if fragment else None)


def test_html_with_metadata_keeps_them(formatter: DisplayFormatter) -> None:
    told, about = formatter.format(HTML("$x$", metadata={"isolated": True}))
    assert (told["text/html"], about["text/html"]) == (literal("$x$"), {"isolated": True})


def test_a_styled_table_is_shown_letter_by_letter(formatter: DisplayFormatter) -> None:
    told, _ = formatter.format(FRAME.style)
    inner = without_literal(told["text/html"])
    assert inner != told["text/html"]
    assert told["text/html"] == literal(inner)


def test_the_panel_shows_what_it_approves_letter_by_letter() -> None:
    incident, _ = opened()
    plan = Plan("restart_container", {}, "$x$", "backend", "site", "x", {"id": "1"})
    offer = Proposal("Restart $x$", "docker restart", "x", "y", plan=plan)
    incident.check(broken)
    cause = incident.cause("c", "t")
    cause.check(broken)
    cause.propose(lambda _: offer)
    panel = Panel(incident, Path, lambda: None)
    panel.open.click()
    [panel.choice.value] = panel.choice.options
    where = "<div>In site, service backend.</div>"
    assert panel.preview.value == literal(proposal_lines([offer]) + where)
    panel.open.click()
    assert panel.says.value == status_line("") == literal('<div role="status"></div>')
