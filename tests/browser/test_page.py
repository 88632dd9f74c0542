"""The page of the evidence in a real browser: whatever was logged, nothing runs and nobody is asked."""

import io
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.sync_api import Browser
from rich.console import Console

from runbooklib.evidence.bundle import Bundle
from runbooklib.evidence.executed_notebook import verdict_of
from runbooklib.render import terminal
from runbooklib.render.page import page
from tests.support.hostile_page import HOSTILE, PNG, Opened, assert_is_inert, handmade, listening
from tests.support.running import notebook


def policy_of(html: str) -> str:
    head = html.partition("</head>")[0]
    assert html.index("Content-Security-Policy") < html.index("<title>")
    return head.partition('Content-Security-Policy" content="')[2].partition('"')[0]


@pytest.mark.row("H25", "H45", "H48", "H49", "H55")
def test_a_run_on_a_hostile_site_gives_a_page_in_which_nothing_runs_and_that_asks_nobody(
    run: tuple[Path, str, list[bytes]], browser: Browser
) -> None:
    bundle, _, heard = run
    file = bundle / "notebook.html"
    opened = Opened(browser, file)
    assert_is_inert(opened, heard, file)
    policy = policy_of(file.read_text())
    for word in ("default-src 'none'", "base-uri 'none'", "form-action 'none'"):
        assert word in policy
    assert "script-src" not in policy
    shown = opened.page.inner_text("body")
    for readable in (
        "<script>window.__pwned=1;alert(1)</script>",
        "<img src=x onerror=window.__pwned=2>",
        "QueuePool limit of size 5 <script>window.__pwned=1",
        "\\u{202e}txt.exe",
        "zero\\u{200b}width",
        "b\\u{430}ckend",
        "\\u{1b}[2J",
        "VERDICT: OK",
    ):
        assert readable in shown, readable


@pytest.mark.row("H45", "H56")
def test_a_forged_verdict_in_a_log_changes_none_that_is_ours(
    run: tuple[Path, str, list[bytes]], browser: Browser
) -> None:
    bundle, _, _ = run
    verdict = verdict_of(notebook(bundle / "notebook.ipynb"))
    assert verdict is not None
    assert verdict["status"] == "CRITICAL"
    opened = Opened(browser, bundle / "notebook.html")
    first = opened.page.locator("[role=status]").first
    assert first.inner_text().startswith("✖ CRITICAL")
    assert opened.page.title() == "CRITICAL HighErrorRate"


def test_a_hostile_verdict_reaches_a_terminal_as_text(run: tuple[Path, str, list[bytes]]) -> None:
    verdict = json.loads((run[0] / "verdict.json").read_text())
    verdict["headline"] += " " + HOSTILE[18] + HOSTILE[19] + "[bold red]markup[/] :smiley:"
    for key in ("alert", "service", "environment", "onset"):
        verdict[key] = f"{verdict[key]}{HOSTILE[18]}\u202e"
    for cause in verdict["causes"]:
        cause["title"] += HOSTILE[18] + HOSTILE[19]
    for proposal in verdict["next"]:
        proposal["command"] += HOSTILE[18] + "\u202e"
        proposal["title"] += HOSTILE[18] + "\u202e"
    out = io.StringIO()
    screen = Console(file=out, markup=False, emoji=False, highlight=False, width=200, color_system=None)
    screen.print(terminal.answer(verdict))
    line = terminal.progress_line("OK", "check", HOSTILE[18] + "\n" + HOSTILE[19], 1.0)
    screen.print(line)
    told = out.getvalue()
    strange = {c for c in told if not c.isprintable() and c != "\n"}
    assert strange == set()
    assert "[bold red]markup[/] :smiley:" in told
    assert "\\u{1b}" in told


@pytest.mark.row("H48", "H49", "H50")
def test_a_handmade_notebook_hostile_in_every_output_and_every_field_is_inert(
    browser: Browser, tmp_path: Path
) -> None:
    with listening() as (beacon, heard):
        file = tmp_path / "notebook.html"
        title = " ".join(line.format(beacon=beacon) for line in HOSTILE)
        file.write_text(page(handmade(beacon), title))
        opened = Opened(browser, file)
        assert_is_inert(opened, heard, file)
        assert "</script>" in opened.page.title()
        assert opened.elements(f"img[src='data:image/png;base64,{PNG}']") == 1
        assert opened.page.evaluate("[...document.images].some(i => i.complete && i.naturalWidth == 1)")
        opened.page.evaluate("document.querySelectorAll('a').forEach(a => a.target = '_self')")
        for link in opened.page.locator("a").all()[:3]:
            assert link.get_attribute("rel") == "noopener noreferrer"


@pytest.mark.row("H49")
def test_the_policy_alone_already_stops_what_cleaning_might_miss(browser: Browser, tmp_path: Path) -> None:
    """The hostile words as they are, behind our policy: the second lock, tried without the first."""
    with listening() as (beacon, heard):
        raw = " ".join(line.format(beacon=beacon) for n, line in enumerate(HOSTILE) if n not in (6, 11))
        file = tmp_path / "notebook.html"
        file.write_text(page({"cells": []}, "x").replace("</body>", f"{raw}</body>"))
        opened = Opened(browser, file)
        assert opened.pwned is None
        assert heard == []
        assert not [did for did in opened.did if did.startswith(("dialog", "error", "popup"))]


@pytest.mark.row("H49")
def test_without_policy_and_cleaning_the_same_words_do_run_and_ask(browser: Browser, tmp_path: Path) -> None:
    """Else the tests above would prove nothing."""
    with listening() as (beacon, heard):
        file = tmp_path / "raw.html"
        file.write_text("<body>" + HOSTILE[2] + HOSTILE[3].format(beacon=beacon))
        opened = Opened(browser, file)
        assert opened.pwned in (2, 3)
        assert heard


@pytest.mark.row("H50")
def test_the_title_of_a_sealed_page_and_the_parameters_of_a_hostile_notebook_stay_text(
    browser: Browser, tmp_path: Path
) -> None:
    verdict = {"status": HOSTILE[2], "alert": "</title>" + HOSTILE[0], "service": "s"}
    data = {"application/vnd.runbook.verdict+json": verdict, "text/plain": "x"}
    given = handmade("http://127.0.0.1:9")
    given["cells"][0]["outputs"] = [{"output_type": "display_data", "data": data, "metadata": {}}]
    bundle = Bundle(tmp_path, "../../<b>", HOSTILE[0], datetime(2026, 1, 15, tzinfo=UTC))
    final = bundle.finish(given, {"kind": "seal"}, None)
    assert final.parent == tmp_path
    assert final.name.replace("-", "").replace("_", "").replace(".", "").isalnum()
    opened = Opened(browser, final / "notebook.html")
    assert opened.did == []
    assert opened.pwned is None
    assert "</title><script>" in opened.page.title()
