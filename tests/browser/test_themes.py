"""The notebook in JupyterLab's two themes: every word that we show can be read on its ground."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.jupyterlab import jupyterlab
from tests.support.running import ROOT

RECORDING = ROOT / "recordings" / "HighErrorRate-connections-exhausted.json"
PICTURE = ROOT / "docs" / "dark.png"
# WCAG 2.1, success criterion 1.4.3: the ratio of luminances of text and ground.
MIN_CONTRAST = 4.5
_CONTRASTS = """() => {
    const parse = told => {
        const found = told.match(/[\\d.]+/g).map(Number);
        return [found[0], found[1], found[2], found.length > 3 ? found[3] : 1];
    };
    const over = (top, under) => [0, 1, 2].map(i => top[i] * top[3] + under[i] * (1 - top[3])).concat(1);
    const ground = element => {
        const layers = [];
        for (let one = element; one; one = one.parentElement) {
            const colour = parse(getComputedStyle(one).backgroundColor);
            layers.push(colour);
            if (colour[3] === 1) break;
        }
        return layers.reverse().reduce((under, top) => over(top, under), [255, 255, 255, 1]);
    };
    const luminance = colour => {
        const [r, g, b] = colour.slice(0, 3).map(value => {
            const share = value / 255;
            return share <= 0.03928 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
        });
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const told = [];
    document.querySelectorAll(".jp-OutputArea-output details").forEach(one => { one.open = true; });
    for (const area of document.querySelectorAll(".jp-Notebook .jp-OutputArea-output")) {
        const walker = document.createTreeWalker(area, NodeFilter.SHOW_TEXT);
        while (walker.nextNode()) {
            const text = walker.currentNode.textContent.trim(), element = walker.currentNode.parentElement;
            if (!text || !element.getClientRects().length || element.closest("[disabled]")) continue;
            const under = ground(element);
            const [a, b] = [luminance(over(parse(getComputedStyle(element).color), under)), luminance(under)];
            told.push([text.slice(0, 60), (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)]);
        }
    }
    return told;
}"""


@pytest.fixture(params=["JupyterLab Light", "JupyterLab Dark"])
def page(request: pytest.FixtureRequest, tmp_path: Path, browser: Browser) -> Iterator[Page]:
    """The notebook, all of its cells run on a recording, in that theme."""
    root = tmp_path / "root"
    for folder in ("notebooks", "parameters"):
        shutil.copytree(ROOT / folder, root / folder)
    chosen = tmp_path / "home" / "lab" / "user-settings" / "@jupyterlab" / "apputils-extension"
    chosen.mkdir(parents=True)
    (chosen / "themes.jupyterlab-settings").write_text(json.dumps({"theme": request.param}))
    with jupyterlab(root, {"RUNBOOK_REPLAY": str(RECORDING), "RUNBOOK_HOME": str(root)}) as address:
        page = browser.new_page(viewport={"width": 1280, "height": 1000})
        page.set_default_timeout(180_000)
        page.goto(f"{address}/lab/tree/notebooks/HighErrorRate.ipynb")
        page.wait_for_selector(".jp-Notebook .jp-CodeCell")
        expect(page.locator(f"body[data-jp-theme-name='{request.param}']")).to_be_attached()
        expect(page.get_by_role("button", name="Python 3 (ipykernel) | Idle")).to_be_visible()
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        page.locator(".jp-InputPrompt", has_text="[27]").wait_for(state="attached")
        page.keyboard.press("Escape")
        yield page
        page.close()


def contrasts(page: Page) -> dict[str, float]:
    """Each text that our cells show, and the contrast with its ground; the notebook is scrolled through."""
    found: dict[str, float] = {}
    page.keyboard.press("Control+Home")
    panel = page.locator(".jp-WindowedPanel-outer").first
    for _ in range(60):
        page.wait_for_timeout(150)
        found.update(page.evaluate(_CONTRASTS))
        before = panel.evaluate("one => one.scrollTop")
        panel.evaluate("one => { one.scrollTop += 700 }")
        if panel.evaluate("one => one.scrollTop") == before:
            break
    return found


def test_every_word_has_enough_contrast(page: Page) -> None:
    found = contrasts(page)
    assert len(found) > 100
    assert any("Database connections exhausted" in told for told in found)
    faint = {told: round(ratio, 2) for told, ratio in found.items() if ratio < MIN_CONTRAST}
    assert not faint
    dark = page.locator("body[data-jp-theme-name='JupyterLab Dark']").count()
    if dark and os.environ.get("UPDATE_SCREENSHOTS") == "1":
        page.keyboard.press("Control+Home")
        page.wait_for_timeout(500)
        page.screenshot(path=PICTURE)
