"""A whole executed notebook made fit to be kept. In a real run: tests/evidence/test_secrets.py."""

import base64
import json
from datetime import UTC, datetime
from typing import Any

import nbformat
import pytest

from runbooklib.evidence.sanitize import cleaned
from runbooklib.evidence.verdict_json import FINDING_MIME, RECORDING_MIME
from runbooklib.redact.redactor import Redactor, tag
from runbooklib.render.inert_html import literal
from runbooklib.sources.tape import OPENING, Entry, pack, unpack

SECRET = "hunter22-canary"
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="


def kept(*outputs: dict[str, Any], **cell: Any) -> dict[str, Any]:
    """The one cell of a cleaned notebook; the whole is valid by nbformat's own schema."""
    code: dict[str, Any] = {
        "cell_type": "code",
        "id": "a",
        "metadata": {},
        "source": "",
        "execution_count": None,
    }
    given = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [{**code, "outputs": [*outputs]}]}
    if "cell_type" in cell:
        given["cells"] = [{"id": "a", "metadata": {}, "source": "", **cell}]
    whole = cleaned(given, Redactor([SECRET]))
    nbformat.validate(whole)
    assert cleaned(whole, Redactor([SECRET])) == whole  # once is enough
    found: dict[str, Any] = whole["cells"][0]
    return found


def stream(text: str, name: str = "stdout") -> dict[str, Any]:
    return {"output_type": "stream", "name": name, "text": text}


def display(**data: Any) -> dict[str, Any]:
    return {"output_type": "display_data", "metadata": {}, "data": data}


def shown(mime: str, content: Any) -> Any:
    """What is kept of an output of this one type: the types and what they hold."""
    return kept(display(**{mime: content}))["outputs"][0]["data"]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["a", "b"], [("stdout", "ab")]),
        ([SECRET[:4], SECRET[4:]], [("stdout", tag(SECRET))]),
        ([*SECRET], [("stdout", tag(SECRET))]),
        ([SECRET[:6], ("x", "stderr"), SECRET[6:]], [("stdout", tag(SECRET)), ("stderr", "x")]),
        ([SECRET[:6], (SECRET[6:], "stderr")], [("stdout", tag(SECRET))]),
        (["a", ("b", "stderr"), "c"], [("stdout", "a"), ("stderr", "b"), ("stdout", "c")]),
        ([("a", "odd")], [("stdout", "a")]),
    ],
)
def test_what_streams_say_is_looked_through_as_a_whole(given: list[Any], told: list[Any]) -> None:
    chunks = [stream(*(one if isinstance(one, tuple) else (one,))) for one in given]
    assert [(o["name"], o["text"]) for o in kept(*chunks)["outputs"]] == told


@pytest.mark.parametrize(
    ("said", "is_shown"),
    [
        ("\x1b[2J\x1b]0;t\x07", "\\u{1b}[2J\\u{1b}]0;t\\u{7}"),
        ("a\x1b[8mhidden\x1b[0m", "a\\u{1b}[8mhidden\\u{1b}[0m"),
        ("\x9b31m\u202e\u200b", "\\u{9b}31m\\u{202e}\\u{200b}"),
        ("over\rwritten\x08", "over\\u{d}written\\u{8}"),
        ("dos\r\nline", "dos\nline"),
    ],
)
def test_what_is_invisible_is_shown_in_every_output(said: str, is_shown: str) -> None:
    assert kept(stream(said))["outputs"][0]["text"] == is_shown
    assert shown("text/plain", said)["text/plain"].replace("\\u{d}\n", "\n") == is_shown
    if "\r" not in said:  # which HTML takes for a line break
        assert is_shown in shown("text/html", f"<p>{said}</p>")["text/html"]


def test_a_traceback_loses_its_colours_and_keeps_its_words() -> None:
    trace = [f"\x1b[31mE\x1b[0m \x1b[8m{SECRET[:5]}\x1b[0m{SECRET[5:]}", "\x1b[38;5;28mdef\x1b[39m \x1b[2J"]
    error = {"output_type": "error", "ename": "E\x1b[1m", "evalue": f"\u202e{SECRET}", "traceback": trace}
    assert kept(error)["outputs"] == [
        {
            "output_type": "error",
            "ename": "E",
            "evalue": f"\\u{{202e}}{tag(SECRET)}",
            "traceback": [f"E {tag(SECRET)}", "def \\u{1b}[2J"],
        }
    ]


@pytest.mark.parametrize(
    "mime",
    [
        "image/svg+xml",
        "application/javascript",
        "text/latex",
        "application/pdf",
        "image/jpeg",
        "application/vnd.jupyter.widget-view+json",
        "application/vnd.plotly.v1+json",
        "text/vnd.mermaid",
        "<script>",
    ],
)
def test_what_a_viewer_would_act_on_is_left_out_and_named(mime: str) -> None:
    named = mime if "/" in mime else "?"
    assert shown(mime, "x") == {"text/plain": f"left out: {named}"}
    output = kept(display(**{mime: "x", "text/plain": "y"}))["outputs"][0]
    assert output["data"] == {"text/plain": "y"}
    assert output["metadata"] == {"runbook": {"left_out": [named]}}


def test_html_and_markdown_of_outputs_are_kept_as_inert_html() -> None:
    button = "<button data-commandlinker-command='x' class='y'>b</button>"
    assert shown("text/html", f"<b id='c'>a</b>{button}<img src='../x.png'>") == {
        "text/html": literal("<b>a</b>b<img>")
    }
    assert shown("text/markdown", "**a** ![x](../../etc/passwd)") == {
        "text/html": literal('<p><strong>a</strong> <img alt="x"></p>\n')
    }


@pytest.mark.parametrize(
    ("fragment", "inner"),
    [
        ("<p>$x$</p>", "<p>$x$</p>"),
        (literal("<p>$x$</p>"), "<p>$x$</p>"),
        (f"{literal('a')}$x${literal('b')}", "a$x$<div>b</div>"),
        ("</div></div>$x$<div>", "$x$<div></div>"),
        (literal("</div>$x$<div>"), "$x$<div></div>"),
        ("<b class='mathjax_process'>$x$</b>", "<b>$x$</b>"),
    ],
)
def test_html_is_never_typeset_whatever_it_closes_or_claims(fragment: str, inner: str) -> None:
    assert shown("text/html", fragment) == {"text/html": literal(inner)}


@pytest.mark.parametrize(
    "fragment",
    [
        f"<p>{SECRET}</p>",
        "".join(f"&#{ord(c)};" for c in SECRET),
        f"{SECRET[:5]}<b></b>{SECRET[5:]}",
        f"<i title='{SECRET}'>x</i>",
    ],
)
def test_a_secret_in_html_is_found_however_it_is_written(fragment: str) -> None:
    told = shown("text/html", fragment)["text/html"]
    assert tag(SECRET) in told
    assert SECRET not in told
    assert SECRET[5:] not in told


@pytest.mark.parametrize(
    "source",
    [
        "![x](../../etc/passwd)",
        "![x][y]\n\n[y]: ../../etc/passwd",
        "<img src='../../etc/passwd'>",
        "a <b>bold</b> word",
        "<!-- x -->",
        "<script>x</script>",
        "[x](javascript:alert(1))",
        "[x](//elsewhere.invalid/y)",
        "[x]\n\n[x]: JavaScript:alert(1)",
        "[x](data:text/html,y)",
        "a \u202e b",
        "```\ncode\n```\n<iframe src=x></iframe>",
        "````` <img src=x>",
        "$x$",
        "- a $x\n- b $y",
        "&#36;x&#36;",
        r"\\(x\\)",
        r"&#92;[x&#92;]",
        r"\begin{equation}x\end{equation}",
        r"see \eqref{x}",
    ],
)
def test_a_markdown_cell_that_does_more_than_say_something_becomes_text(source: str) -> None:
    told = kept(cell_type="markdown", source=source)["source"]
    fence = told.partition("\n")[0]
    assert set(fence) == {"`"}
    assert told.endswith(f"\n{fence}")
    assert f"{fence}" not in source
    assert told.splitlines()[1:-1] == source.replace("\u202e", "\\u{202e}").splitlines()


@pytest.mark.parametrize(
    "source",
    [
        "# Title\n\n[x](https://e.invalid/a) and [y](#z) and [z](other.md)",
        "| a | b |\n|---|---|\n| `<service>` | 2 < 3 |",
        "```\ndocker logs <name> ![\n```",
        "<https://e.invalid/>",
        "costs $5, and `$HOME/bin:$JAVA_HOME` is code",
        r"`$`5 and `\`(x`\`)",
        "数据库 – ü ✖",
    ],
)
def test_a_markdown_cell_that_only_says_something_stays_as_it_is(source: str) -> None:
    assert kept(cell_type="markdown", source=source)["source"] == source


def test_cells_lose_attachments_odd_ids_and_state() -> None:
    cell = kept(cell_type="markdown", id="<script>", attachments={"<x>": {"image/png": PNG}})
    assert cell.keys() == {"cell_type", "id", "metadata", "source"}
    assert cell["id"].isalnum()
    assert kept(cell_type="raw", source="<script>", metadata={"format": "text/html"})["metadata"] == {
        "format": "text/plain",
        "raw_mimetype": "text/plain",
    }
    given = {
        "nbformat": 4,
        "nbformat_minor": 5,
        "cells": [],
        "metadata": {"widgets": {"x": 1}, "title": SECRET},
    }
    assert cleaned(given, Redactor([SECRET]))["metadata"] == {"title": tag(SECRET)}


def test_personal_data_goes_unless_it_is_a_contact_of_the_site() -> None:
    contact, other = "oncall@mail.example.com", "ann.lee@mail.example.com"
    entry = Entry(OPENING, {}, datetime(2026, 1, 1, tzinfo=UTC), 0.0, {"target": {"contact": contact}})
    opening = display(**{RECORDING_MIME: pack([entry]), "text/plain": "x"})
    told = kept(opening, display(**{"text/plain": f"{contact} {other} 13912345678"}))["outputs"][1]["data"]
    assert told["text/plain"] == f"{contact} {tag(other)} {tag('13912345678')}"
    ours = display(**{FINDING_MIME: {"says": other}, "text/plain": other})
    assert kept(ours)["outputs"][0]["data"]["text/plain"] == other


def test_a_recording_is_kept_to_the_byte_unless_it_holds_a_secret() -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    sound, leaking = Entry("git", {}, at, 0.1, ["x"]), Entry("git", {}, at, 0.1, [f"is {SECRET}"])
    assert shown(RECORDING_MIME, pack([sound]))[RECORDING_MIME] == pack([sound])
    [entry] = unpack(shown(RECORDING_MIME, pack([leaking]))[RECORDING_MIME])
    assert entry.answer == [f"is {tag(SECRET)}"]


def test_a_password_that_stands_in_a_url_is_known_everywhere_else() -> None:
    cell = kept(stream("http://u:s3cr%40et-9@host/"), stream("nonsense: s3cr@et-9 or s3cr%40et-9", "stderr"))
    assert "s3cr" not in json.dumps(cell)


def test_a_picture_loses_its_texts_and_what_is_none_is_left_out() -> None:
    told = base64.b64encode(b"\0\0\0\4tEXttold\0\0\0\0").decode()
    raw = base64.b64decode(PNG)
    with_text = base64.b64encode(raw[:33] + base64.b64decode(told) + raw[33:]).decode()
    assert shown("image/png", with_text) == {"image/png": PNG}
    assert shown("image/png", ["aGVs", "bG8="]) == {"text/plain": "left out: image/png"}


def test_which_answers_people_asked_for_themselves_stays_told_where_a_secret_is_taken_out() -> None:
    entry = Entry("prometheus", {"path": f"/{SECRET}"}, datetime(2026, 1, 15, tzinfo=UTC), 0.1)
    for own, stays in (([0], [0]), (f"a {SECRET}", None)):
        data = {"text/plain": "recorded: 1", RECORDING_MIME: {**pack([entry]), "own": own}}
        [output] = kept({"output_type": "display_data", "metadata": {}, "data": data})["outputs"]
        assert output["data"][RECORDING_MIME].get("own") == stays
        assert SECRET not in unpack(output["data"][RECORDING_MIME])[0].request["path"]
