"""The bar of controls in a real JupyterLab: look again, another window, refresh, seal."""

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.support.jupyterlab import jupyterlab
from tests.support.running import ROOT, command
from tests.support.site import Site, running_site, with_cells

WIDGET = "application/vnd.jupyter.widget-view+json"
NOTEBOOK = "notebooks/HighErrorRate.ipynb"
# With UPDATE_SCREENSHOTS=1 the picture in docs/ is made anew.
PICTURE = ROOT / "docs" / "controls.png"


@dataclass
class Opened:
    """The notebook in JupyterLab, all of its cells run; what its page asked for and complained of."""

    page: Page
    site: Site
    root: Path
    asked: list[str]
    errors: list[str]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Site, Path]]:
    root = tmp_path_factory.mktemp("controls") / "root"
    for folder in ("notebooks", "parameters"):
        shutil.copytree(ROOT / folder, root / folder)
    path = root / NOTEBOOK
    if "incident.controls()" not in path.read_text():
        with_cells(path, "incident.controls()", after="open")
    path.write_text(path.read_text().replace('\\"helloagents\\"', '\\"site\\"'))
    with running_site(tmp_path_factory.mktemp("site")) as site:
        environment = {**site.environment, "RUNBOOK_HOME": str(root)}
        with jupyterlab(root, environment) as address:
            yield address, site, root


@pytest.fixture(scope="module")
def opened(lab: tuple[str, Site, Path], browser: Browser) -> Iterator[Opened]:
    address, site, root = lab
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    page.set_default_timeout(180_000)
    found = Opened(page, site, root, [], [])
    page.on("request", lambda request: found.asked.append(request.url))
    page.on("console", lambda told: found.errors.append(told.text) if told.type == "error" else None)
    page.goto(f"{address}/lab/tree/{NOTEBOOK}")
    page.wait_for_selector(".jp-Notebook .jp-CodeCell")
    expect(page.get_by_role("button", name="Python 3 (ipykernel) | Idle")).to_be_visible()
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    page.locator(".jp-InputPrompt", has_text="[27]").wait_for(state="attached")
    page.keyboard.press("Escape")
    page.keyboard.press("Control+Home")
    yield found
    page.close()


def answer(opened: Opened) -> Locator:
    """The verdict at the top."""
    return opened.page.locator(".jp-RenderedHTMLCommon div[role='status']").first


def says(opened: Opened) -> Locator:
    """The line under the bar."""
    return opened.page.locator(".jupyter-widgets div[role='status']").first


def window(opened: Opened) -> tuple[int, int]:
    """From when to when is looked, in minutes of the day."""
    start, end = re.findall(r"(\d\d):(\d\d):\d\d UTC", answer(opened).inner_text())[:2]
    return int(start[0]) * 60 + int(start[1]), int(end[0]) * 60 + int(end[1])


def press(opened: Opened, name: str) -> None:
    opened.page.get_by_role("button", name=name).click()


def test_the_bar_is_under_the_answer(opened: Opened) -> None:
    expect(answer(opened)).to_contain_text("CRITICAL")
    for name in ("Look again", "Seal evidence"):
        expect(opened.page.get_by_role("button", name=name)).to_be_visible()
    if os.environ.get("UPDATE_SCREENSHOTS") == "1":
        opened.page.get_by_role("button", name="Seal evidence").scroll_into_view_if_needed()
        opened.page.mouse.move(700, 500)
        opened.page.mouse.wheel(0, 250)
        opened.page.wait_for_timeout(500)
        opened.page.screenshot(path=PICTURE)
        opened.page.keyboard.press("Control+Home")


def test_looking_again_redraws_what_the_cells_show(opened: Opened) -> None:
    site = opened.site
    told, site.answers = site.answers, replace(site.answers, failing_share=0.0, health="healthy")
    press(opened, "Look again")
    expect(says(opened)).to_contain_text("Looked at")
    expect(answer(opened)).to_contain_text("symptom is not present")
    site.answers = told
    press(opened, "Look again")
    expect(answer(opened)).to_contain_text("30 % of requests fail")


def test_another_window_is_asked_for_and_shown(opened: Opened) -> None:
    page = opened.page
    before = len(opened.site.asked)
    page.get_by_label("lookback, or ±").select_option("30m")
    expect(says(opened)).to_contain_text("Looked at")

    def is_half_an_hour() -> bool:
        start, end = window(opened)
        return (end - start) % 1440 in (29, 30, 31)

    wait_until(opened, is_half_an_hour)  # the line can still be that of the look before
    assert len(opened.site.asked) > before


def saved(opened: Opened) -> str:
    """The notebook as it lies on the disk."""
    return (opened.root / NOTEBOOK).read_text()


def saved_at(opened: Opened) -> int:
    """When JupyterLab last wrote it, in nanoseconds."""
    return (opened.root / NOTEBOOK).stat().st_mtime_ns


def wait_until(opened: Opened, holds: Callable[[], bool]) -> None:
    for _ in range(360):
        if holds():
            return
        opened.page.wait_for_timeout(500)
    pytest.fail("it did not come about within three minutes")


def tab_to(opened: Opened, name: str) -> None:
    """Tab until the button of that name has the focus."""
    for _ in range(200):
        opened.page.keyboard.press("Tab")
        if opened.page.evaluate("document.activeElement.innerText || ''").strip() == name:
            return
    pytest.fail(f"{name} cannot be reached by keyboard")


def test_by_keyboard_alone_all_is_run_again_and_the_bar_is_reached(opened: Opened) -> None:
    page = opened.page
    page.keyboard.press("Control+Shift+C")
    page.keyboard.type("restart kernel and run all cells")
    page.keyboard.press("Enter")
    page.locator(".jp-Dialog", has_text="Restart").wait_for()
    page.keyboard.press("Enter")
    page.locator(".jp-InputPrompt", has_text="[*]").first.wait_for(state="attached")
    page.locator(".jp-InputPrompt", has_text="[27]").wait_for(state="attached")
    page.keyboard.press("Escape")
    page.keyboard.press("Control+Home")
    expect(answer(opened)).to_contain_text("30 % of requests fail")
    start, end = window(opened)
    assert (end - start) % 1440 == 10  # and no more the window that was chosen before
    tab_to(opened, "Look again")
    page.keyboard.press("Enter")
    expect(says(opened)).to_contain_text("Looked at")
    tab_to(opened, "Seal evidence")


def test_a_page_that_is_loaded_anew_shows_what_ran_and_its_bar_says_what_to_do(opened: Opened) -> None:
    page, site = opened.page, opened.site
    shown = re.findall(r"\d\d:\d\d:\d\d UTC", answer(opened).inner_text())[1]
    wait_until(opened, lambda: shown in saved(opened))  # nobody presses Ctrl+S
    page.reload()
    page.wait_for_selector(".jp-Notebook .jp-CodeCell")
    expect(page.get_by_role("button", name="Python 3 (ipykernel) | Idle")).to_be_visible()
    expect(answer(opened)).to_contain_text("30 % of requests fail")
    expect(says(opened)).to_contain_text("Page reloaded; outputs are not live.")
    told, site.answers = site.answers, replace(site.answers, failing_share=0.0, health="healthy")
    press(opened, "Look again")
    expect(says(opened)).to_contain_text("Looked at")
    expect(says(opened)).to_contain_text("symptom is not present")
    # JupyterLab has forgotten which output is the answer, and nobody may take the old one for the new.
    expect(says(opened)).to_contain_text("Run all cells")
    press(opened, "Seal evidence")
    expect(says(opened)).to_contain_text("run all cells, save (Ctrl+S), then seal")
    site.answers = told
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    page.keyboard.press("Escape")
    page.locator(".jp-InputPrompt", has_text="[54]").wait_for(state="attached")
    page.keyboard.press("Control+Home")
    press(opened, "Look again")
    expect(says(opened)).to_contain_text("Looked at")
    assert "Page reloaded" not in says(opened).inner_text()
    expect(answer(opened)).to_contain_text("30 % of requests fail")


def test_sealing_asks_to_save_first_then_makes_a_whole_bundle(opened: Opened, tmp_path: Path) -> None:
    page = opened.page
    press(opened, "Seal evidence")
    expect(says(opened)).to_contain_text("save (Ctrl+S), then seal")
    before = saved_at(opened)
    page.keyboard.press("Control+s")
    wait_until(opened, lambda: saved_at(opened) > before)
    press(opened, "Seal evidence")
    expect(says(opened)).to_contain_text("Sealed: ")
    head = re.search(r"head ([0-9a-f]{64})", says(opened).inner_text())
    assert head
    evidence = opened.root / "evidence"
    verified = command(["runbook", "verify", str(evidence), "--head", head[1]])
    assert verified.code == 0, verified.err
    [bundle] = [path for path in evidence.iterdir() if path.is_dir()]
    sealed = json.loads((bundle / "notebook.ipynb").read_text())
    outputs = [output for cell in sealed["cells"] for output in cell.get("outputs", ())]
    assert not [output for output in outputs if WIDGET in output.get("data", {})]
    assert "widgets" not in sealed["metadata"]
    assert "In JupyterLab this is a control bar." in (bundle / "notebook.html").read_text()
    ended = command(["runbook", "replay", str(bundle), "--output", str(tmp_path)])
    assert "The verdict is the recorded one, to the byte." in ended.out, ended.out + ended.err


def test_it_refreshes_while_the_alert_fires_and_stops_when_it_does_not(opened: Opened) -> None:
    every = opened.page.get_by_label("Refresh while it fires")
    every.select_option("10 s")
    expect(says(opened)).to_contain_text("Looked at")
    opened.site.answers = replace(opened.site.answers, is_firing=False)
    expect(says(opened)).to_contain_text(
        "The alert is no longer firing; auto-refresh stopped.", timeout=120_000
    )
    expect(every.locator("option:checked")).to_have_text("off")
    ended = len(opened.site.asked)
    opened.page.wait_for_timeout(11_000)
    assert len(opened.site.asked) == ended


def test_nothing_was_asked_of_another_machine_and_the_console_is_quiet(opened: Opened) -> None:
    hosts = {url.split("/")[2].split(":")[0] for url in opened.asked if url.startswith(("http", "ws"))}
    assert hosts <= {"127.0.0.1"}
    assert opened.errors == []
