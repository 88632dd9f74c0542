"""JupyterLab typesets TeX that it finds in HTML; what systems say is shown letter by letter all the same."""

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output
from playwright.sync_api import Browser, Page, expect

from tests.support.hostile_page import HOSTILE, TYPESET
from tests.support.jupyter_server import INSTALLED
from tests.support.jupyterlab import jupyterlab
from tests.support.running import ROOT, command, notebook
from tests.support.site import Site, SiteAnswers, running_site, with_cells

TEX = [line.format() for line in HOSTILE if "$" in line and "{beacon}" not in line and "<" not in line]
LINE = " ".join(TEX)
AS_IT_IS = "PATH=$HOME/bin:$JAVA_HOME/bin not found; paid $12.50 of $15.00"
NOTEBOOK = "notebooks/HighErrorRate.ipynb"
OWN = (
    "incident.logs()",
    "incident.logs().style",
    "from IPython.display import HTML\nHTML(incident.logs().to_html())",
    "print(incident.logs().line[0])\nincident.logs().line[0]",
    f"incident.note({LINE!r})\nincident.timeline()",
    f"raise ValueError({LINE!r})",
)

pytestmark = pytest.mark.slow


@dataclass
class Lab:
    """A JupyterLab with our extension, on a site whose every word is TeX."""

    address: str
    root: Path
    site: Site


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    root = tmp_path_factory.mktemp("tex") / "root"
    for folder in ("notebooks", "parameters"):
        shutil.copytree(ROOT / folder, root / folder)
    path = root / NOTEBOOK
    path.write_text(path.read_text().replace('\\"helloagents\\"', '\\"site\\"'))
    told = SiteAnswers(
        title=f"Backend {LINE}",
        endpoint=f"/{LINE}",
        error_type=LINE,
        annotation=LINE,
        other_annotation=LINE,
        subject=LINE,
        health=LINE,
        log=[f"ERROR: QueuePool limit of size 5 {LINE}"],
    )
    with running_site(tmp_path_factory.mktemp("site"), told) as site:
        ours = {**INSTALLED, "RUNBOOK_HOME": str(root), "RUNBOOK_ENVIRONMENT": "site"}
        environment = {**site.environment, **ours}
        with jupyterlab(root, environment) as address:
            yield Lab(address, root, site)


@pytest.fixture
def page(browser: Browser, lab: Lab) -> Iterator[Page]:
    """A page that shows no notebook of the test before."""
    context = browser.new_context(viewport={"width": 1280, "height": 1000})
    page = context.new_page()
    page.set_default_timeout(180_000)
    page.goto(f"{lab.address}/lab?reset")
    page.wait_for_selector(".jp-Launcher")
    yield page
    context.close()


def typeset(page: Page) -> list[str]:
    """What is typeset in the notebook, each of its cells seen, but for a formula of the reader's own.

    The reader writes one below the first cell: where it is typeset, JupyterLab's typesetter has come.
    """
    page.locator(".jp-Notebook .jp-Cell").first.click(position={"x": 5, "y": 5})
    page.keyboard.press("Escape")
    for key in ("b", "m", "Enter"):
        page.keyboard.press(key)
    page.keyboard.type("$own^2$")
    page.locator(".jp-MarkdownCell.jp-mod-active").evaluate("cell => { cell.dataset.own = 'yes' }")
    page.keyboard.press("Shift+Enter")
    expect(page.locator("[data-own] mjx-container").first).to_be_attached()
    found = still_typeset(page)
    for number in range(page.locator(".jp-Notebook .jp-Cell").count()):
        page.evaluate(f"document.querySelectorAll('.jp-Notebook .jp-Cell')[{number}]?.scrollIntoView()")
        page.wait_for_timeout(60)
        found += still_typeset(page)
    page.wait_for_timeout(1500)
    return [*found, *still_typeset(page)]


def still_typeset(page: Page) -> list[str]:
    """Where something is typeset now."""
    script = """of => [...document.querySelectorAll(of)].filter(e => !e.closest('[data-own]'))
        .map(e => (e.closest('.jp-OutputArea-output, .jp-Cell') ?? e).outerHTML)"""
    return [str(one)[:300] for one in page.evaluate(script, TYPESET)]


def shown(page: Page, within: str) -> str:
    """The words of the outputs of a kind, letter by letter."""
    script = "of => [...document.querySelectorAll(of)].map(e => e.textContent).join('\\n')"
    return str(page.evaluate(script, f".jp-Notebook {within}"))


@pytest.mark.row("H48")
def test_nothing_is_typeset_while_the_notebook_runs(page: Page, lab: Lab) -> None:
    path = lab.root / "Live.ipynb"
    shutil.copy(lab.root / NOTEBOOK, path)
    with_cells(path, *OWN, after="upkeep-shown")
    page.goto(f"{lab.address}/lab/tree/Live.ipynb")
    page.wait_for_selector(".jp-Notebook .jp-CodeCell")
    expect(page.get_by_role("button", name="Python 3 (ipykernel) | Idle")).to_be_visible()
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    last = sum(cell["cell_type"] == "code" for cell in notebook(path)["cells"])
    page.locator(".jp-InputPrompt", has_text=f"[{last}]").wait_for(state="attached")
    page.keyboard.press("Escape")
    page.keyboard.press("Control+Home")
    page.get_by_role("button", name="Look again").click()
    says = page.locator(".jupyter-widgets div[role='status']").first
    expect(says).to_contain_text("Looked at")
    assert typeset(page) == []
    for within in ("div[role='status']", "table.dataframe", ".jp-RenderedText", ".jp-RenderedHTMLCommon"):
        assert AS_IT_IS in shown(page, within), within
    assert shown(page, "table.dataframe").count(AS_IT_IS) == 3


@pytest.mark.row("H48")
def test_nothing_is_typeset_in_the_copy_of_a_headless_run(page: Page, lab: Lab) -> None:
    home = lab.site.home(*OWN[:-1], after="upkeep-shown")
    lines = (
        "from IPython.display import HTML, Latex, Markdown, display",
        f"for made in (HTML, Latex, Markdown):\n    display(made({LINE!r}))",
    )
    with_cells(home / NOTEBOOK, "\n".join(lines), after="upkeep-shown")
    ended = command(
        ["runbook", "run", "HighErrorRate", "-e", "site", "--output", str(lab.root / "evidence")],
        {**lab.site.environment, "RUNBOOK_HOME": str(home)},
    )
    assert ended.code == 1, ended.err
    began = datetime.fromtimestamp(time.time() - 20, UTC)
    page.goto(f"{lab.address}/runbooks/open?alertname=HighErrorRate&starts_at={began:%Y-%m-%dT%H:%M:%SZ}")
    page.wait_for_selector(".jp-Notebook .jp-OutputArea-output", state="attached")
    expect(page.locator(".jp-Notebook", has_text="This runbook already ran")).to_be_visible()
    assert typeset(page) == []
    for within in (".jp-RenderedHTMLCommon", ".jp-RenderedHTMLCommon table", ".jp-RenderedText"):
        assert AS_IT_IS in shown(page, within), within


@pytest.mark.row("H48")
def test_a_table_that_nothing_cleaned_is_typeset(page: Page, lab: Lab) -> None:
    """Else the tests above would prove nothing."""
    told = {"text/html": f"<table><tr><td>{LINE}</td></tr></table>", "text/plain": ""}
    cell = new_code_cell("x", outputs=[new_output("display_data", data=told)])
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    made = new_notebook(cells=[cell], metadata={"kernelspec": kernel})
    nbformat.write(made, lab.root / "plain.ipynb")
    page.goto(f"{lab.address}/lab/tree/plain.ipynb")
    page.wait_for_selector(".jp-Notebook .jp-OutputArea-output", state="attached")
    assert typeset(page)
    assert AS_IT_IS not in shown(page, ".jp-RenderedHTMLCommon")
