"""The engineer's place: the notebook in a real JupyterLab, run by its own menu, read from the screen."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.support.jupyterlab import chromium, jupyterlab
from tests.support.running import command

ROOT = Path(__file__).parents[2]
RECORDING = ROOT / "recordings" / "HighErrorRate-connections-exhausted.json"
# With UPDATE_SCREENSHOTS=1 the picture in docs/ is made anew.
PICTURE = ROOT / "docs" / "jupyterlab.png"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("site") / "root"
    for folder in ("notebooks", "parameters"):
        shutil.copytree(ROOT / folder, root / folder)
    return root


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    replayed = {"RUNBOOK_REPLAY": str(RECORDING), "RUNBOOK_HOME": str(site)}
    with jupyterlab(site, replayed) as address:
        yield address


@pytest.fixture
def lab_page() -> Iterator[Page]:
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 960})
        page.set_default_timeout(180_000)
        yield page


def opened(page: Page, address: str, notebook: str) -> None:
    page.goto(f"{address}/lab/tree/{notebook}")
    page.wait_for_selector(".jp-Notebook .jp-CodeCell")
    expect(page.get_by_role("button", name="Python 3 (ipykernel) | Idle")).to_be_visible()


def test_run_all_in_jupyterlab_answers_at_the_top_and_leaves_no_error(lab_page: Page, address: str) -> None:
    opened(lab_page, address, "notebooks/HighErrorRate.ipynb")
    lab_page.get_by_role("menuitem", name="Run", exact=True).click()
    lab_page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    # Whichever comes: the last cell has run, or one has failed and the others did not.
    lab_page.locator(".jp-InputPrompt", has_text="[27]").wait_for(state="attached")
    lab_page.keyboard.press("Escape")
    lab_page.keyboard.press("Control+Home")
    top = lab_page.locator("div[role='status']", has_text="CRITICAL").first
    expect(top).to_contain_text("Database connections exhausted", timeout=180_000)
    expect(top).to_contain_text("replayed from a recording")
    expect(lab_page.get_by_role("button", name="Python 3 (ipykernel) | Idle")).to_be_visible()
    assert lab_page.locator(".jp-RenderedText[data-mime-type='application/vnd.jupyter.error']").count() == 0
    top.scroll_into_view_if_needed()
    if os.environ.get("UPDATE_SCREENSHOTS") == "1":
        lab_page.screenshot(path=PICTURE)


def test_the_evidence_opens_in_jupyterlab_and_can_be_read_without_running_it(
    lab_page: Page, address: str, site: Path
) -> None:
    ended = command(["runbook", "replay", str(RECORDING), "--output", str(site / "evidence")])
    assert ended.code == 1, ended.err
    (notebook,) = site.glob("evidence/*/notebook.ipynb")
    opened(lab_page, address, str(notebook.relative_to(site)))
    # The workspace brings back the notebook of the test before, behind this one.
    front = lab_page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)")
    output = front.locator(".jp-OutputArea-output", has_text="CRITICAL").first
    expect(output).to_contain_text("Database connections exhausted")
    assert lab_page.locator(".jp-Dialog").count() == 0
