"""Words that are hostile to whatever shows them, and a browser that tells what became of them."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Dialog, Page, Request

from tests.support.jupyterlab import chromium

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
    "b\u0430ckend p\u0430yments \u0441\u0435\u0440\u0432 \uff42ack\uff45nd",  # letters that look like others
    "\x1b]52;c;ZXZpbA==\x07\x1b[3A\x1b[1G\x1bPq#0\x1b\\\x9d0;t\x9c\x85\x8d\x1bc",
    "seen \x1b[8mhidden words\x1b[0m \x1b[30;40mblack on black\x1b[0m",
    "=cmd|' /C calc'!A0",
    # TeX, and what is none: JupyterLab typesets it in HTML, however it was escaped.
    r"$\rlap{{\smash{{\rule[-30em]{{90em}}{{60em}}}}}}$ $\text{{Everything is sound}}$",
    r"\(\phantom{{CRITICAL data lost}}\) \[x\] \begin{{equation}}x\end{{equation}} \ref{{x}}",
    r"$$\href{{javascript:window.__pwned=9}}{{click}}$$",
    "PATH=$HOME/bin:$JAVA_HOME/bin not found; paid $12.50 of $15.00",
)

# What MathJax makes of it.
TYPESET = "mjx-container, math, .MathJax"


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
        closed = self.page.locator("details:not([open]) > summary")
        for _ in range(10):
            if closed.count():
                closed.first.click()  # which is then no longer among them
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
            bundles = ({mime: line}, {mime: [line, line]}, {mime: line, "text/plain": line})
            shown = {"output_type": "display_data", "metadata": {line: line}}
            outputs += [{**shown, "data": data} for data in bundles]
        outputs.append({"output_type": "stream", "name": line, "text": [line]})
        outputs.append({"output_type": "error", "ename": line, "evalue": line, "traceback": [line]})
        outputs.append({"output_type": "error", "ename": line, "evalue": line, "traceback": []})
        outputs.append({"output_type": line, "data": {"text/plain": line}, "metadata": {}})
    cells: list[dict[str, Any]] = [
        {
            "cell_type": "code",
            "id": lines[number % len(lines)] + str(number),
            "source": lines,
            # A viewer shows the first fifty outputs of a cell.
            "outputs": outputs[number : number + 40],
            "metadata": {"tags": lines},
        }
        for number in range(0, len(outputs), 40)
    ]
    cells += [
        {"cell_type": "markdown", "id": "m", "source": "\n\n".join(lines), "metadata": {}},
        {
            "cell_type": "markdown",
            "id": "n",
            "source": lines,
            "metadata": {},
            "attachments": {lines[0]: {"image/png": lines[0]}},
        },
        *(
            {"cell_type": "markdown", "id": f"m{n}", "source": line, "metadata": {}}
            for n, line in enumerate(lines)
        ),
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
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {"title": lines[1], "kernelspec": kernel},
        "cells": cells,
    }


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@dataclass(frozen=True)
class HostileRun:
    """A run on a site that says hostile things everywhere, and what a listener heard of it."""

    bundle: Path
    beacon: str
    heard: list[bytes]
    screen: bytes
