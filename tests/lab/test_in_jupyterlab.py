"""From the alert's link to the sealed evidence, in a real JupyterLab, on the lab with a real fault."""

import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest
from playwright.sync_api import Browser, Locator, Page, expect
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from lab import Lab
from runbooklib.evidence import manifest
from tests.support.hostile_page import browser
from tests.support.jupyterlab import jupyterlab
from tests.support.lab import environment, wait_until_firing
from tests.support.running import ROOT, command

__all__ = ["browser"]
ALERT = "HighErrorRate"
# Sessions must have been idle for longer than the runbook's own limit.
IDLE_SECONDS = 62.0
# With UPDATE_SCREENSHOTS=1 the pictures in docs/ are made anew.
PICTURES = ROOT / "docs" / "incident"


class Screen:
    """The engineer's browser: what it asked for, and what its console called an error."""

    def __init__(self, browser: Browser) -> None:
        self.context = browser.new_context(viewport={"width": 1280, "height": 1000})
        self.hosts: set[str] = set()
        self.errors: list[str] = []
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(60_000)
        self.context.on("request", lambda asked: self.hosts.add(urlsplit(asked.url).hostname or "none"))
        self.context.on(
            "console", lambda told: self.errors.append(told.text) if told.type == "error" else None
        )
        self.context.on("weberror", lambda error: self.errors.append(str(error.error)))

    def keep(self, name: str) -> None:
        """A picture of this step."""
        if os.environ.get("UPDATE_SCREENSHOTS") == "1":
            PICTURES.mkdir(exist_ok=True)
            self.page.wait_for_timeout(400)
            self.page.screenshot(path=PICTURES / f"{name}.png")

    @property
    def notebook(self) -> Locator:
        """The notebook in front."""
        return self.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)")

    def press(self, name: str) -> None:
        """Click the widget's button of that name."""
        self.notebook.get_by_role("button", name=name, exact=True).click()

    @property
    def top(self) -> Locator:
        """The first output: the verdict."""
        return self.notebook.locator(".jp-OutputArea .jp-RenderedHTMLCommon").first

    @property
    def answer(self) -> str:
        """What it says."""
        return self.top.inner_text()


@pytest.fixture
def screen(browser: Browser) -> Iterator[Screen]:
    found = Screen(browser)
    yield found
    found.context.close()


def come_up(page: Page) -> None:
    """Wait for the kernel. JupyterLab at times never hears of a second one: then reload, as one does."""
    idle = page.get_by_role("button", name="Python 3 (ipykernel) | Idle")
    page.wait_for_timeout(1000)  # until then the status bar may tell of the notebook before
    try:
        idle.wait_for(timeout=15_000)
    except PlaywrightTimeout:
        page.reload()
        idle.wait_for()


def until(screen: Screen, pattern: str, within: float = 60.0) -> None:
    """Wait until the answer at the top says so."""
    ends = time.monotonic() + within
    while not (screen.top.count() and re.search(pattern, screen.answer)):
        assert time.monotonic() < ends, pattern
        screen.page.keyboard.press("Control+Home")  # "run all" leads to the end
        screen.page.wait_for_timeout(100)


def says(screen: Screen, text: str, within: float = 60.0) -> None:
    """Wait until one of the widgets says so."""
    told = screen.notebook.locator(".jupyter-widgets div[role='status']", has_text=text).first
    expect(told).to_be_visible(timeout=within * 1000)


def look_again(screen: Screen) -> None:
    """Press the button, and wait for what it comes to: not for what was said before."""
    status = screen.notebook.locator(".jupyter-widgets div[role='status']", has_text="Looked at").first
    before = status.inner_text()
    screen.press("Look again")
    expect(status).not_to_have_text(before)
    expect(status).to_be_visible()


def run_new_cell(screen: Screen, code: str) -> None:
    """Write a cell of one's own at the end of the notebook, and run it."""
    page = screen.page
    page.keyboard.press("Escape")
    page.keyboard.press("Control+End")
    screen.notebook.locator(".jp-Cell").last.click(position={"x": 5, "y": 5})
    page.keyboard.press("Escape")
    page.keyboard.press("b")
    page.keyboard.press("Enter")
    page.keyboard.type(code)
    page.keyboard.press("Shift+Enter")


@pytest.mark.alone
def test_from_the_alerts_link_to_the_sealed_evidence(healed: Lab, tmp_path: Path, screen: Screen) -> None:
    root = tmp_path / "root"
    for folder in ("notebooks", "parameters"):
        shutil.copytree(ROOT / folder, root / folder)
    told = environment(healed) | {"RUNBOOK_HOME": str(root), "RUNBOOK_ENVIRONMENT": "lab"}
    page, seconds = screen.page, {}
    began = time.monotonic()
    healed.break_("connections-hoarded")
    wait_until_firing(healed, [ALERT])
    ended = command(["runbook", "run", ALERT, "-e", "lab", "--output", str(root / "evidence")], told)
    assert ended.code == 1, ended.err
    starts_at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    with jupyterlab(root, told) as address:
        link = urlencode({"alertname": ALERT, "service": "backend", "starts_at": starts_at})
        clicked = time.monotonic()
        page.goto(f"{address}/runbooks/open?{link}")
        screen.top.wait_for()
        seconds["from the click to the first screen of the headless run"] = time.monotonic() - clicked
        assert "CRITICAL" in screen.answer
        screen.keep("1-headless-run")

        page.wait_for_timeout(6000)  # it is read, and its kernel has come up
        clicked = time.monotonic()
        screen.notebook.get_by_role("link", name="Run again").click()
        page.wait_for_url(lambda url: url.endswith(f"/{ALERT}.ipynb"))
        come_up(page)
        screen.notebook.locator(".jp-CodeCell").first.wait_for()
        seconds["to the prepared notebook with its kernel"] = time.monotonic() - clicked
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        page.keyboard.press("Escape")
        until(screen, r"CRITICAL.*\n?.*requests fail")
        seconds["from the click to the first answer"] = time.monotonic() - clicked
        until(screen, "Database connections exhausted")
        seconds["from the click to the cause"] = time.monotonic() - clicked
        page.keyboard.press("Control+Home")
        screen.keep("2-answer")

        screen.notebook.get_by_label("lookback, or ±").select_option("5m")
        says(screen, "Looked at")
        page.wait_for_timeout(max(IDLE_SECONDS - (time.monotonic() - began), 0) * 1000)
        look_again(screen)

        screen.press("Act …")
        page.keyboard.press("Control+s")
        page.wait_for_timeout(2000)
        action = screen.notebook.get_by_label("Action", exact=True)
        chosen = action.locator("option", has_text="terminate_idle_transactions").first.inner_text()
        action.select_option(label=chosen)
        do_it = screen.notebook.get_by_role("button", name="Perform", exact=True)
        expect(do_it).to_be_disabled()
        screen.notebook.get_by_label("Your name").fill("Ada")
        screen.notebook.get_by_label("Type the target").fill("postgres")
        expect(do_it).to_be_disabled()
        screen.notebook.get_by_label("Type the target").fill("helloagents")
        screen.keep("3-typed-confirmation")
        do_it.click()
        says(screen, "Done: ended 64 of 64 sessions")
        screen.keep("4-done")

        run_new_cell(screen, 'certificate = incident.recovery(held="12s", within="75s")')
        expect(screen.notebook.get_by_text("RECOVERED: All conditions have been met for")).to_be_visible(
            timeout=90_000
        )
        screen.notebook.get_by_text(
            "RECOVERED: All conditions have been met for"
        ).scroll_into_view_if_needed()
        screen.keep("5-recovered")

        page.keyboard.press("Escape")
        page.keyboard.press("Control+s")
        page.wait_for_timeout(2000)
        screen.press("Seal evidence")
        says(screen, "Sealed: ")
        screen.keep("6-sealed")
    verified = command(["runbook", "verify", str(root / "evidence")])
    assert verified.code == 0, verified.err
    actions = command(["runbook", "actions", "--output", str(root / "evidence")]).out
    assert "done     terminate_idle_transactions on helloagents (lab, backend)  by Ada@" in actions
    kinds = [
        json.loads((one / "manifest.json").read_bytes())["kind"]
        for one in manifest.bundles(root / "evidence")
    ]
    assert sorted(kinds) == ["action", "run", "seal", "seal"]
    assert screen.hosts <= {"127.0.0.1", "none"}, screen.hosts
    assert screen.errors == []
    print("\n".join(f"{what}: {took:.1f} s" for what, took in seconds.items()))
    assert seconds["from the click to the first screen of the headless run"] < 20
