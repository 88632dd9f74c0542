"""The page as PDF: sealed with the rest, printed without a network, and refused where nothing can print."""

import json
import os
import re
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from runbooklib.errors import EvidenceError, InputError
from runbooklib.evidence import manifest, pdf
from runbooklib.evidence.bundle import Bundle
from tests.support import running, small
from tests.support.running import Ended, command
from tests.support.servers import program

AT = datetime(2026, 1, 15, 3, 12, tzinfo=UTC)
NOTEBOOK: dict[str, Any] = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": []}


@pytest.fixture(scope="module")
def chromium() -> str:
    return program("chromium")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return small.home(tmp_path_factory.mktemp("site") / "home")


@pytest.fixture(scope="module")
def ended(chromium: str, site: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Ended:
    assert chromium
    output = tmp_path_factory.mktemp("evidence")
    return command(["runbook", "run", "Small", "--pdf", "--json", "--output", str(output)], site)


def test_the_pdf_is_sealed_with_the_rest(ended: Ended) -> None:
    assert ended.code == 2, ended.err
    bundle = Path(ended.verdict["bundle"])
    content = (bundle / "notebook.pdf").read_bytes()
    assert content.startswith(b"%PDF-")
    assert "notebook.pdf" in json.loads((bundle / "manifest.json").read_bytes())["files"]
    assert manifest.verify_bundle(bundle) == []
    (bundle / "notebook.pdf").write_bytes(content + b" ")
    assert manifest.verify_bundle(bundle) == [f"{bundle.name}/notebook.pdf: was changed"]
    (bundle / "notebook.pdf").write_bytes(content)


def test_the_pdf_is_readable_for_its_owner_alone(ended: Ended) -> None:
    file = Path(ended.verdict["bundle"]) / "notebook.pdf"
    assert file.stat().st_mode & 0o777 == 0o600


def test_the_pdf_tells_nothing_of_where_it_was_printed(chromium: str, tmp_path: Path) -> None:
    """Its text is compressed drawing: so the same page in two folders must give the same bytes."""
    printed = []
    for folder in (tmp_path / "here", tmp_path / "somewhere-else-with-a-longer-name"):
        folder.mkdir()
        (folder / "page.html").write_text("<title>Small</title><p>hello")
        pdf.print_page(chromium, folder / "page.html", folder / "page.pdf")
        printed.append(re.sub(rb"\(D:\d{14}", b"(D:", (folder / "page.pdf").read_bytes()))
    assert printed[0] == printed[1]


def test_replay_prints_too(ended: Ended, site: dict[str, str], tmp_path: Path) -> None:
    bundle = Path(ended.verdict["bundle"])
    again = command(["runbook", "replay", str(bundle), "--pdf", "--output", str(tmp_path)], site)
    assert again.code == 2, again.err
    assert [path.name for path in tmp_path.glob("*/notebook.pdf")] == ["notebook.pdf"]


@pytest.mark.parametrize("verb", [["run", "Small"], ["batch", "Small"], ["replay", "."], ["seal", "."]])
def test_without_chromium_one_line_says_so_before_anything_runs(
    verb: list[str], site: dict[str, str], tmp_path: Path
) -> None:
    argv = ["runbook", *verb, "--pdf", "--output", str(tmp_path / "out")]
    refused = command(argv, {**site, "PATH": str(tmp_path)})
    assert refused.code == 3, refused.err
    assert "--pdf needs a Chromium, and there is no chromium, chromium-browser, google-chrome" in refused.err
    assert len(refused.err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_another_name_of_chromium_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError):
        pdf.chromium()
    browser = tmp_path / "google-chrome"
    browser.write_text("#!/bin/sh\n")
    browser.chmod(0o755)
    assert pdf.chromium() == str(browser)


@pytest.fixture
def server() -> Iterator[tuple[str, list[str]]]:
    """A server on loopback, and what it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as found:
        thread = threading.Thread(target=found.serve_forever)
        thread.start()
        yield f"127.0.0.1:{found.server_port}", asked
        found.shutdown()
        thread.join()


def test_printing_asks_the_network_for_nothing(
    chromium: str, server: tuple[str, list[str]], tmp_path: Path
) -> None:
    address, asked = server
    port = address.rpartition(":")[2]
    page = tmp_path / "page.html"
    page.write_text(
        f'<p>hello</p><img src="http://{address}/by-address"><img src="http://localhost:{port}/by-name">'
        f'<link rel="stylesheet" href="http://{address}/style"><iframe src="http://{address}/frame"></iframe>'
    )
    pdf.print_page(chromium, page, tmp_path / "page.pdf")
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF-")
    assert asked == []


def browser(folder: Path, script: str) -> str:
    """A program in the place of a browser that is broken."""
    path = folder / "browser"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("exit 3", "Chromium ended with 3"),
        ("exit 0", "Chromium did not write a complete PDF"),
        (
            'for w; do case $w in --print-to-pdf=*) printf "%%PDF-1.4 cut" >"${w#*=}";; esac; done',
            "did not write a complete PDF",
        ),
        ("sleep 60 & sleep 60", "Chromium did not end within 0.5 s"),
    ],
)
def test_a_browser_that_fails_costs_the_pdf_and_not_the_evidence(
    script: str, told: str, tmp_path: Path
) -> None:
    page, file = tmp_path / "page.html", tmp_path / "page.pdf"
    page.write_text("<p>hello")
    with pytest.raises(EvidenceError, match=told):
        pdf.print_page(browser(tmp_path, script), page, file, within_seconds=0.5)
    assert not file.exists()
    if "sleep" not in script:
        bundle = Bundle(tmp_path / "out", "Small", "backend", AT, browser(tmp_path, script))
        final = bundle.finish(NOTEBOOK, {"kind": "test"}, None)
        assert told in json.loads((final / "manifest.json").read_bytes())["pdf_failure"]
        assert manifest.verify_bundle(final) == []


def test_a_browser_that_hangs_leaves_no_process(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script = f"sleep 60 & echo $! $$ >{pids}; wait"
    page = tmp_path / "page.html"
    page.write_text("<p>hello")
    with pytest.raises(EvidenceError, match="did not end"):
        pdf.print_page(browser(tmp_path, script), page, tmp_path / "page.pdf", within_seconds=0.5)
    for pid in pids.read_text().split():
        assert running.has_ended(int(pid)), pid


def test_a_run_whose_pdf_failed_ends_in_4_and_names_the_bundle(ended: Ended, tmp_path: Path) -> None:
    notebook = Path(ended.verdict["bundle"]) / "notebook.ipynb"
    programs = tmp_path / "bin"
    programs.mkdir()
    Path(browser(programs, "exit 3")).rename(programs / "chromium")
    argv = ["runbook", "seal", str(notebook), "--pdf", "--output", str(tmp_path / "out")]
    failed = command(argv, {"PATH": f"{programs}:{os.environ['PATH']}"})
    assert failed.code == 4
    assert (
        "notebook.pdf was not printed: Chromium ended with 3; the rest of the evidence is whole in"
        in failed.err
    )
    assert command(["runbook", "verify", str(tmp_path / "out")]).code == 0
