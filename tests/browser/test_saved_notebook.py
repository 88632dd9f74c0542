"""The saved notebook in programs that are not ours: JupyterLab in a browser, trusted, and nbconvert."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import nbformat
import pytest
from playwright.sync_api import Browser, Dialog, Page

from runbooklib.evidence.bundle import Bundle
from tests.support.hostile_page import TYPESET, HostileRun, handmade, listening
from tests.support.jupyterlab import jupyterlab
from tests.support.rig import until
from tests.support.running import BIN

CANARY = "c4n4ry-host-file-99"
LOCAL_FILES = ("../../secret.txt", "secret.png", "../secret.png")
# Within the notebook: the toolbars of JupyterLab itself have buttons and commands.
SHOWN = ".jp-OutputArea-output, .jp-RenderedMarkdown, .jp-RawCell .jp-RenderedText"
FORBIDDEN = (
    "script, iframe, object, embed, form, base, link, svg, video, input:not([type=checkbox]), "
    "button:not(.jp-TrimmedOutputs-button)"
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    root = tmp_path_factory.mktemp("lab") / "root"
    root.mkdir()
    with jupyterlab(root, {}) as address:
        yield address, root


class Tried:
    """A notebook that is opened in JupyterLab as one that its reader trusts, and all that it did."""

    def __init__(self, browser: Browser, lab: tuple[str, Path], given: dict[str, Any], name: str) -> None:
        self.address, root = lab
        self.did: list[str] = []
        (root / name).write_text(json.dumps(given))
        environment = {**os.environ, "HOME": str(root.parent / "home")}
        trust = [str(BIN / "jupyter"), "trust", name]
        trusted = subprocess.run(
            trust, cwd=root, env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert trusted.returncode == 0, trusted.stderr
        self.page: Page = browser.new_page(viewport={"width": 1280, "height": 960})
        self.page.set_default_timeout(180_000)
        self.page.on("dialog", self._dialog)
        self.page.on("popup", lambda _: self.did.append("popup"))
        self.page.on("request", lambda request: self._asked(request.url))
        self.page.goto(f"{self.address}/lab/tree/{name}")
        self.page.wait_for_selector(".jp-Notebook .jp-Cell", state="attached")
        self.page.wait_for_selector(".jp-OutputArea-output", state="attached")
        # JupyterLab puts them in one after the other.
        there = "n => document.querySelectorAll('.jp-Notebook .jp-Cell').length >= n"
        self.page.wait_for_function(there, arg=len(given["cells"]))
        for number in range(self.page.locator(".jp-Notebook .jp-Cell").count()):
            cell = f"document.querySelectorAll('.jp-Notebook .jp-Cell')[{number}]"
            self.page.evaluate(f"{cell}?.scrollIntoView()")
            self.page.wait_for_timeout(30)
        # JupyterLab's own button under the first fifty outputs of a cell.
        self.page.evaluate("document.querySelectorAll('.jp-TrimmedOutputs-button').forEach(e => e.click())")
        self.page.wait_for_timeout(1500)

    def _dialog(self, dialog: Dialog) -> None:
        self.did.append(f"dialog {dialog.message}")
        dialog.dismiss()

    def _asked(self, url: str) -> None:
        if not url.startswith((self.address, self.address.replace("http", "ws"), "data:", "blob:")):
            self.did.append(f"asked {url}")

    @property
    def pwned(self) -> Any:
        return self.page.evaluate("window.__pwned ?? null")

    def count(self, selector: str) -> int:
        """How many of these are within what the notebook shows."""
        return len(self.found(selector))

    def found(self, selector: str) -> list[str]:
        """Each of them, as HTML."""
        shown = "[...document.querySelectorAll(shown)]"
        script = f"([shown, of]) => {shown}.flatMap(e => [...e.querySelectorAll(of)]).map(e => e.outerHTML)"
        return [str(one)[:300] for one in self.page.evaluate(script, [SHOWN, selector])]


def saved(given: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The notebook as a bundle of ours keeps it."""
    data = {"application/vnd.runbook.verdict+json": {"status": "OK", "alert": "a", "service": "s"}}
    shown = {"output_type": "display_data", "data": {**data, "text/plain": "x"}, "metadata": {}}
    cell: dict[str, Any] = {
        "cell_type": "code",
        "id": "v",
        "source": "",
        "metadata": {},
        "execution_count": None,
    }
    whole = {**given, "cells": [{**cell, "outputs": [shown], "execution_count": None}, *given["cells"]]}
    bundle = Bundle(folder, "a", "s", datetime(2026, 1, 15, tzinfo=UTC)).finish(whole, {"kind": "seal"}, None)
    kept: dict[str, Any] = json.loads((bundle / "notebook.ipynb").read_bytes())
    for one in kept["cells"]:
        if one["cell_type"] == "code":
            one.setdefault("execution_count", None)
    nbformat.validate(kept)
    return kept


class _Commands(HTMLParser):
    """Elements that press a button of JupyterLab (CVE-2026-42557): what one version strips, another obeys."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [f"{tag} {name}" for name, _ in attrs if name.startswith("data-")]


def commands_in(given: dict[str, Any]) -> list[str]:
    """Such elements in everything of the file that is read as HTML."""
    parser = _Commands()
    for cell in given["cells"]:
        if cell["cell_type"] == "markdown" and cell["source"][0:3] != "```":
            parser.feed("".join(cell["source"]))
        for output in cell.get("outputs", ()):
            for mime in {"text/html", "text/markdown", "image/svg+xml"} & output.get("data", {}).keys():
                parser.feed("".join(output["data"][mime]))
    return parser.found


def assert_is_inert(tried: Tried, heard: list[bytes]) -> None:
    assert tried.did == []
    assert tried.pwned is None
    assert heard == []
    assert tried.count("[data-commandlinker-command], [data-commandlinker-args]") == 0
    assert tried.found(FORBIDDEN) == []
    assert tried.found(TYPESET) == []
    assert tried.count("img:not([src^='data:image/png;base64,iVBOR'])[src]") == 0
    assert tried.count("a[href^='javascript:' i], a[href^='data:' i], a[href^='vbscript:' i]") == 0
    assert tried.count("[onclick], [onerror], [onload], [onfocus], [ontoggle]") == 0
    assert tried.page.locator(".jp-Dialog").count() == 0


@pytest.mark.row("H48", "H49", "H50", "H51")
def test_a_saved_notebook_in_which_everything_was_hostile_is_inert_in_jupyterlab(
    browser: Browser, lab: tuple[str, Path], tmp_path: Path
) -> None:
    with listening() as (beacon, heard):
        kept = saved(handmade(beacon), tmp_path)
        tried = Tried(browser, lab, kept, "kept.ipynb")
        assert tried.count("*") > 200  # it is shown
        assert_is_inert(tried, heard)
        assert commands_in(kept) == []


@pytest.mark.row("H25", "H45", "H48", "H49", "H51")
def test_the_notebook_of_a_run_on_a_hostile_site_is_inert_in_jupyterlab(
    browser: Browser, lab: tuple[str, Path], hostile: HostileRun
) -> None:
    kept = json.loads((hostile.bundle / "notebook.ipynb").read_bytes())
    tried = Tried(browser, lab, kept, "run.ipynb")
    assert_is_inert(tried, hostile.heard)
    assert commands_in(kept) == []
    # JupyterLab draws outputs when it finds the time; what must be seen is waited for.
    is_seen = "written => document.querySelector('.jp-Notebook').textContent.includes(written)"
    for written in ("\\u{202e}", "\\u{1b}[2J", "b\\u{430}ckend", "<script>window.__pwned=1"):
        tried.page.wait_for_function(is_seen, arg=written)
    assert_is_inert(tried, hostile.heard)


@pytest.mark.row("H49", "H51")
def test_the_same_notebook_as_it_was_before_it_was_saved_does_act(
    browser: Browser, lab: tuple[str, Path]
) -> None:
    """Else the tests above would prove nothing: JupyterLab shows a trusted notebook as it is."""
    with listening() as (beacon, heard):
        given = handmade(beacon)
        kinds = ("display_data", "stream", "error")
        for number, cell in enumerate(given["cells"]):
            cell["id"] = f"cell-{number}"
            if cell["cell_type"] == "code":
                shown = [output for output in cell["outputs"] if output["output_type"] in kinds]
                cell |= {"outputs": shown, "execution_count": None}
        given["cells"] = [c for c in given["cells"] if c["cell_type"] in ("code", "markdown")]
        tried = Tried(browser, lab, given, "raw.ipynb")

        def has_acted() -> bool:
            tried.page.wait_for_timeout(100)
            return bool(heard or tried.did)

        until(has_acted)
        assert tried.pwned is not None or tried.did
        assert heard or tried.did
        assert commands_in(given)


def reading_host_files() -> dict[str, Any]:
    """A notebook that wants files beside it in the page: in cells, outputs, attachments."""
    sources = [f"![x]({file})" for file in LOCAL_FILES]
    sources += [f"<img src='{file}'>" for file in LOCAL_FILES]
    sources += [f"![x][y]\n\n[y]: {file}" for file in LOCAL_FILES]
    markdown = [
        {"cell_type": "markdown", "id": f"m{n}", "metadata": {}, "source": s} for n, s in enumerate(sources)
    ]
    raw = {"cell_type": "raw", "id": "r", "metadata": {"format": "text/html"}, "source": sources[4]}
    outputs = [
        {"output_type": "display_data", "metadata": {}, "data": {mime: source}}
        for mime in ("text/html", "text/markdown")
        for source in sources
    ]
    code: dict[str, Any] = {
        "cell_type": "code",
        "id": "c",
        "metadata": {},
        "source": "",
        "execution_count": None,
    }
    cells = [*markdown, raw, {**code, "outputs": outputs, "execution_count": None}]
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells}


def converted(given: dict[str, Any], folder: Path) -> str:
    """The notebook by `nbconvert --embed-images`, in a folder with files that are none of its business."""
    place = folder / "a" / "b"
    place.mkdir(parents=True)
    (folder / "secret.txt").write_text(CANARY)
    for where in (place, folder / "a"):
        (where / "secret.png").write_bytes(b"\x89PNG\r\n\x1a\n" + CANARY.encode())
    (place / "x.ipynb").write_text(json.dumps(given))
    argv = [
        sys.executable,
        "-m",
        "nbconvert",
        "--to",
        "html",
        "--template",
        "basic",
        "--embed-images",
        "x.ipynb",
    ]
    ended = subprocess.run(argv, cwd=place, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr
    return (place / "x.html").read_text()


@pytest.mark.row("H52")
def test_a_saved_notebook_gets_no_file_of_the_host_into_a_page_that_embeds_pictures(
    tmp_path: Path, survey: Any
) -> None:
    page = converted(saved(reading_host_files(), tmp_path / "out"), tmp_path / "kept")
    survey.no_canary({"page": page}, CANARY, f"\n{CANARY}")
    assert "<img src" not in page
    assert page.count("secret.png") > 3  # the words are there


@pytest.mark.row("H52")
def test_nbconvert_does_embed_a_file_that_lies_beside_the_notebook_where_it_was_not_cleaned(
    tmp_path: Path,
) -> None:
    """Else the test above would prove nothing."""
    assert "data:image/png;base64,iVBORw0KGg" in converted(reading_host_files(), tmp_path)
