"""Every route by which a line of a log reaches an eye, and a hostile line sent through each of them."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from playwright.sync_api import Browser
from rich.console import Console

from runbooklib.cli import run as cli
from runbooklib.cli.app import one_line
from runbooklib.errors import Reason
from runbooklib.evidence.sanitize import cleaned
from runbooklib.model.findings import Finding, Status, unknown
from runbooklib.model.plan import Proposal
from runbooklib.model.verdict import Cause, Rank, RankedCause, Verdict
from runbooklib.redact.redactor import Redactor
from runbooklib.render import batch_index, charts, html, terminal
from runbooklib.render.page import page
from tests.support.hostile_page import HOSTILE, Opened, listening

AT = datetime(2026, 1, 15, tzinfo=UTC)
SERIES = pd.date_range("2026-01-15", periods=3, freq="15s", tz="UTC")


def finding(**told: Any) -> Finding:
    return Finding(**{"status": Status.CRITICAL, "template": "x", **told})


def verdict_with_cause(title: str, *, sign: Finding, place: str, rank: Rank = Rank.LIKELY) -> Verdict:
    signs: dict[str, tuple[Finding, ...]] = dict.fromkeys(
        ("speaks_for", "speaks_against", "came_after", "missing"), ()
    )
    signs[place] = (sign,)
    one = RankedCause(cause=Cause("c", title, (sign,)), rank=rank, **signs)
    return Verdict(Status.CRITICAL, None, (finding(),), (one,), ())


def fragments(line: str) -> dict[str, str]:
    """Each route of a live notebook: what the kernel shows, which nothing cleans before it is seen."""
    said = finding(template="{line}", facts={"line": line}, question=line, check="c")
    plain = finding(question="q")
    offer = ("title", "command", "effect", "loses", "undo", "blocked")
    remedy = Proposal(**dict.fromkeys(offer, "x"))  # type: ignore[arg-type]
    shown = {
        "sentence": html.finding_card(said),
        "source": html.finding_card(finding(source=line)),
        "query": html.finding_card(finding(query=line)),
        "hint": html.finding_card(finding(facts={"hint": line})),
        "table, heading": html.finding_card(finding(rows=pd.DataFrame({line: ["x"]}))),
        "table, cell": html.finding_card(finding(rows=pd.DataFrame({"x": [line]}))),
        "chart, words for it": html.finding_card(
            finding(series=pd.DataFrame({line: [1.0, 2, 3]}, index=SERIES), unit=line)
        ),
        "unknown finding": html.finding_card(unknown(Reason.NONSENSE, "{line}", facts={"line": line})),
        "verdict, headline": html.verdict_card(Verdict(Status.CRITICAL, None, (said,), (), ()), "a"),
        "verdict, about": html.verdict_card(Verdict(Status.CRITICAL, None, (plain,), (), ()), line),
        "verdict, not checked": html.verdict_card(
            Verdict(Status.UNKNOWN, None, (plain,), (), (unknown(Reason.NONSENSE, "x", question=line),)),
            "a",
        ),
        "cause, title": html.verdict_card(verdict_with_cause(line, sign=plain, place="speaks_for"), "a"),
        "cause, unlikely": html.verdict_card(
            verdict_with_cause(line, sign=plain, place="speaks_against", rank=Rank.UNLIKELY), "a"
        ),
        "listing, title": html.listing(line, pd.DataFrame({"x": ["y"]})),
        "listing, cell": html.listing("t", pd.DataFrame({"x": [line]})),
        "listing, link": html.listing("t", pd.DataFrame({"link": [f"https://x.invalid/{line}"]})),
        "section, title": html.section_card(line, Status.OK, [plain]),
        "section, finding": html.section_card("t", Status.OK, [said]),
    }
    for part in offer:
        hostile = replace(remedy, **{part: line})  # type: ignore[arg-type]
        shown[f"proposal, {part}"] = html.proposal_lines([hostile])
    for place in ("speaks_for", "speaks_against", "came_after", "missing"):
        shown[f"sign, {place}"] = html.verdict_card(verdict_with_cause("c", sign=said, place=place), "a")
    return shown


def pages(line: str) -> dict[str, str]:
    """Each route of the saved page and of the page over several runs."""
    row: dict[str, Any] = {
        "alert": "a",
        "service": "s",
        "status": "OK",
        "headline": "h",
        "seconds": 1.0,
        "bundle": "b",
    }
    found = {
        f"overview, {name}": batch_index.index_page([batch_index.Row(**{**row, name: line})], [], "e", AT)
        for name in ("alert", "service", "headline", "bundle")
    }
    found["overview, environment"] = batch_index.index_page([], [], line, AT)
    found["overview, earlier"] = batch_index.index_page([], [line], "e", AT)
    found["page, title"] = page({"cells": []}, line)
    code: dict[str, Any] = {"cell_type": "code", "source": "", "metadata": {}}
    cells = {
        "page, code": {**code, "source": line},
        "page, markdown": {**code, "cell_type": "markdown", "source": line},
        "page, raw": {**code, "cell_type": "raw", "source": line},
    }
    outs: dict[str, Any] = {
        "stream": {"output_type": "stream", "name": "stdout", "text": line},
        "stderr": {"output_type": "stream", "name": "stderr", "text": line},
        "error": {"output_type": "error", "ename": line, "evalue": line, "traceback": [line]},
        **{
            mime: {"output_type": "display_data", "data": {mime: line}}
            for mime in (
                "text/plain",
                "text/html",
                "text/markdown",
                "image/svg+xml",
                "application/javascript",
            )
        },
    }
    cells |= {f"page, {name}": {**code, "outputs": [out]} for name, out in outs.items()}
    for name, cell in cells.items():
        found[name] = page({"cells": [cell]}, "t")
        saved = cleaned({"nbformat": 4, "cells": [cell]}, Redactor())
        found[name.replace("page", "saved")] = page(saved, "t")
    return found


def printed(line: str, capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """Each route to a terminal."""
    verdict = {
        **dict.fromkeys(("alert", "service", "environment", "headline", "onset"), line),
        "status": "CRITICAL",
        "causes": [
            {
                "title": line,
                "rank": "likely",
                "for": [{"says": line}],
                "against": [{"says": line}],
                "missing": [],
            },
            {"title": line, "rank": "unlikely", "for": [], "against": [], "missing": []},
        ],
        "not_checked": [{"question": line, "says": line}],
        "next": [{"title": line, "command": line}],
    }
    row = batch_index.Row(line, line, "CRITICAL", line, 1.0, line)
    told = {"error": one_line(line)}
    for name, shown in {
        "progress": terminal.progress_line("OK", line, line, 1.0),
        "answer": terminal.answer(verdict),
        "overview, line": batch_index.line(row),
        "overview, table": batch_index.table([row]),
    }.items():
        console = Console(
            width=9000, markup=False, emoji=False, highlight=False, color_system=None, record=True
        )
        console.print(shown)
        told[name] = console.export_text()
    capsys.readouterr()
    run = SimpleNamespace(verdict=verdict, failure=line, trouble=line, bundle=Path("b"), seconds=1.0)
    for as_json in (True, False):
        cli.print_result(run, as_json=as_json)
        got = capsys.readouterr()
        told[f"run, json {as_json}"] = got.out + got.err
    return told


@pytest.mark.row("H25", "H48", "H50", "H55")
def test_a_hostile_line_is_text_on_every_route_of_a_live_notebook(browser: Browser, tmp_path: Path) -> None:
    with listening() as (beacon, heard):
        line = " ".join(HOSTILE).format(beacon=beacon)
        routes = fragments(line)
        assert len(routes) >= 22
        # No policy here: the escaping alone must do.
        file = tmp_path / "live.html"
        file.write_text("<!DOCTYPE html><meta charset=utf-8><body>" + "".join(routes.values()))
        opened = Opened(browser, file)
        assert (opened.did, opened.pwned, heard) == ([], None, [])
        assert opened.elements("script, iframe, svg, meta[http-equiv], form, button, base, style") == 0
        assert opened.elements("img:not([src^='data:image/png;base64,iVBOR'])") == 0
        for name, fragment in routes.items():
            (tmp_path / "one.html").write_text(f"<meta charset=utf-8>{fragment}")
            opened.page.goto((tmp_path / "one.html").as_uri())
            seen = opened.page.evaluate("document.body.textContent")
            if name == "chart, words for it":
                seen = opened.page.evaluate("document.images[0].alt")
            for word in ("<script>window.__pwned=1;alert(1)", "\\u{202e}txt", "\\u{1b}[2J", "b\\u{430}ckend"):
                assert word in seen, (name, word)
        assert heard == []


@pytest.mark.row("H48", "H50")
def test_a_hostile_line_is_inert_on_every_route_of_a_page(browser: Browser, tmp_path: Path) -> None:
    with listening() as (beacon, heard):
        line = " ".join(HOSTILE).format(beacon=beacon)
        routes = pages(line)
        assert len(routes) >= 22
        opened = None
        for name, whole in routes.items():
            file = tmp_path / "page.html"
            # Without its own policy, so that the escaping and cleaning alone must do.
            file.write_text(whole.replace('http-equiv="Content-Security-Policy"', 'name="off"'))
            if opened is None:
                opened = Opened(browser, file)
            opened.page.goto(file.as_uri())
            opened.page.wait_for_timeout(30)
            assert (opened.pwned, heard) == (None, []), name
            assert [did for did in opened.did if did != f"asked {file.as_uri()}"] == [], name
            assert opened.elements("script, iframe, svg, object, embed, form, button, base, link") == 0, name
            assert opened.elements("body style") == 0, name
            seen = opened.page.evaluate("document.title + document.body.textContent")
            if not name.endswith(("html", "svg+xml", "javascript", "bundle")):
                assert "<script>window.__pwned=1" in seen, name
            assert not [c for c in seen if not c.isprintable() and c not in "\n\t"], name


@pytest.mark.row("H48", "H53", "H54", "H55")
def test_a_hostile_line_is_text_on_every_route_to_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "9000")  # what wraps a line begins a new one
    for line in HOSTILE:
        given = f"a {line}\nVERDICT: OK"
        for name, told in printed(given, capsys).items():
            assert not [c for c in told if not c.isprintable() and c != "\n"], name
            assert not [one for one in told.splitlines() if one.strip().startswith("VERDICT")], name


@pytest.mark.row("H70")
def test_the_words_of_a_chart_are_no_mathematics_and_steer_nothing() -> None:
    for line in HOSTILE:
        series = pd.DataFrame({f"${line}$ \\frac": [1.0, 2.0, 3.0]}, index=SERIES)
        assert charts.png(finding(series=series, unit=line), [(SERIES[1].to_pydatetime(), line)])
