"""The page as text. In a real browser it is tried in tests/browser/test_page.py."""

import re
from typing import Any

import pandas as pd
import pytest

from runbooklib.model.findings import Finding, Status
from runbooklib.render import html
from runbooklib.render.page import clean, markdown, page

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
SCRIPT = "<script>alert(1)</script>"


def shown(*outputs: dict[str, Any], source: str = "") -> str:
    """The body of a page of one cell with these outputs."""
    cell = {"cell_type": "code", "source": source, "outputs": list(outputs), "metadata": {}}
    return page({"cells": [cell]}, "t").partition("<body>")[2]


def display(**data: Any) -> dict[str, Any]:
    mimes = {name.replace("__", "/").replace("_xml", "+xml"): value for name, value in data.items()}
    return {"output_type": "display_data", "data": mimes, "metadata": {}}


def test_a_page_is_whole_and_forbids_everything_before_it_says_anything() -> None:
    whole = page({"cells": []}, "a <b> & \u202e")
    assert whole.startswith("<!DOCTYPE html>\n")
    head = whole.partition("</head>")[0]
    assert head.index("charset") < head.index("Content-Security-Policy") < head.index("<title>")
    assert "default-src 'none'" in head
    assert "<title>a &lt;b&gt; &amp; \\u{202e}</title>" in head
    assert not re.search(r"https?:|@import|url\(", head)


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ({"output_type": "stream", "name": "stdout", "text": ["a\n", SCRIPT]}, "<pre>a\n&lt;script&gt;"),
        ({"output_type": "stream", "name": "stderr", "text": SCRIPT}, "<pre>&lt;script&gt;"),
        ({"output_type": "error", "ename": "E", "evalue": SCRIPT, "traceback": []}, "<pre>E: &lt;script&gt;"),
        ({"output_type": "error", "traceback": ["\x1b[31m", SCRIPT]}, "<pre>\\u{1b}[31m\n&lt;script&gt;"),
        (display(text__plain=SCRIPT), "<pre>&lt;script&gt;"),
        (display(text__html="<b>x</b>" + SCRIPT, text__plain="y"), "<b>x</b>"),
        (display(text__markdown="**x** " + SCRIPT), "<strong>x</strong> &lt;script&gt;"),
        (display(image__png=PNG), f'<img alt="chart" src="data:image/png;base64,{PNG}">'),
        (display(image__png=[PNG[:20] + "\n", PNG[20:] + "\n"]), f'src="data:image/png;base64,{PNG}"'),
        (display(image__png='x" onerror="y', text__plain="z"), "<pre>z</pre>"),
    ],
)
def test_each_kind_of_output_is_shown_and_is_harmless(output: dict[str, Any], expected: str) -> None:
    told = shown(output)
    assert expected in told
    assert "<script" not in told
    assert "onerror" not in told


@pytest.mark.parametrize(
    "data",
    [
        {"image/svg+xml": "<svg onload=x>"},
        {"application/javascript": "x()"},
        {"text/latex": "\\href{javascript:x}"},
        {"application/vnd.jupyter.widget-view+json": {"model_id": "x"}},
        {"application/json": {"x": 1}},
        {"image/png": "PHN2Zz4="},
        {},
    ],
)
def test_what_is_no_text_markdown_html_or_png_is_left_out(data: dict[str, Any]) -> None:
    told = shown({"output_type": "display_data", "data": data, "metadata": {}})
    assert told.split() == ["</body></html>"]


def test_code_can_be_unfolded_and_is_text_and_no_code_no_fold() -> None:
    told = shown(source="print('<b>')\n")
    assert '<details class="cell"><summary>code</summary><pre>print(&#x27;&lt;b&gt;&#x27;)' in told
    assert "<details" not in shown(source=" \n")


def test_cells_that_are_neither_code_nor_markdown_are_text() -> None:
    told = page({"cells": [{"cell_type": "raw", "source": SCRIPT}]}, "t")
    assert "<pre>&lt;script&gt;alert(1)&lt;/script&gt;</pre>" in told


def test_markdown_keeps_tables_links_and_boxes_and_no_html() -> None:
    told = markdown(
        "| a | b |\n|---|---|\n| 1 | 2 |\n\n- [ ] open\n- [x] done\n\n[x](https://e.invalid/a) <b>"
    )
    assert "<td>1</td>" in told
    assert "<li>☐ open</li>" in told
    assert "<li>☑ done</li>" in told
    assert '<a href="https://e.invalid/a" rel="noopener noreferrer">x</a> &lt;b&gt;' in told


@pytest.mark.parametrize(
    "fragment",
    [
        "<a href='javascript:x'>y</a>",
        "<a href='JaVaScRiPt:x'>y</a>",
        "<a href='java\tscript:x'>y</a>",
        "<a href=' javascript:x'>y</a>",
        "<a href='data:text/html,x'>y</a>",
        "<a href='vbscript:x'>y</a>",
        "<a href='//e.invalid/x'>y</a>",
        "<a href='/etc/passwd'>y</a>",
        "<a href='file:///etc/passwd'>y</a>",
        "<a ping='https://e.invalid/'>y</a>",
        "<a onclick='x'>y</a>",
        "<a id='x' name='y' class='z'>y</a>",
    ],
)
def test_a_link_leads_to_the_web_or_nowhere(fragment: str) -> None:
    assert clean(fragment) == '<a rel="noopener noreferrer">y</a>'


@pytest.mark.parametrize(
    "source",
    [
        "https://e.invalid/x.png",
        "//e.invalid/x.png",
        "x.png",
        "data:image/svg+xml;base64,PHN2Zz4=",
        "data:text/html;base64,PHN2Zz4=",
        "data:image/png;base64,PHN2Zz4=",
        f"data:image/png;base64,{PNG} x",
        f"DATA:image/png;base64,{PNG}",
        "file:///etc/passwd",
        "attachment:x.png",
    ],
)
def test_a_picture_is_a_png_that_is_in_the_page_or_nothing(source: str) -> None:
    assert clean(f"<img src='{source}' srcset='{source}' alt='a'>") == '<img alt="a">'
    whole = f"data:image/png;base64,{PNG}"
    assert clean(f"<img src='{whole}'>") == f'<img src="{whole}">'


@pytest.mark.parametrize(
    "style",
    [
        "background:url(https://e.invalid/x)",
        "background:u\\72l(https://e.invalid/x)",
        "background:URL('x')",
        "background:image-set('https://e.invalid/x' 1x)",
        "background-image:url(x)",
        "position:fixed;inset:0",
        "behavior:url(x)",
        "-moz-binding:url(x)",
        "content:'VERDICT: OK'",
        "--x:url(https://e.invalid/);background:var(--x)",
    ],
)
def test_a_style_neither_loads_nor_covers_anything(style: str) -> None:
    told = clean(f'<div style="{style}">x</div>')
    assert not re.search(r"url|e\.invalid|position|inset|content|behavior|binding", told, re.IGNORECASE), told


def test_our_own_cards_pass_the_cleaning_unchanged_in_what_they_say() -> None:
    index = pd.date_range("2026-01-15", periods=3, freq="15s", tz="UTC")
    finding = Finding(
        status=Status.CRITICAL,
        template="{share:percent} <fail>",
        facts={"share": 0.3, "hint": "do <it>"},
        source="prometheus",
        query='up{a="<b>"}',
        series=pd.DataFrame({"<a>": [0.1, 0.2, 0.3]}, index=index),
        rows=pd.DataFrame({"<h>": ["<c>"], "seconds": [float("inf")], "share": [float("nan")]}),
        is_replayable=False,
    )
    card = html.finding_card(finding)
    told = clean(card)
    for text in (
        "30 % &lt;fail&gt;",
        "do &lt;it&gt;",
        'up{a="&lt;b&gt;"}',
        "&lt;h&gt;",
        "&lt;c&gt;",
        "infinity",
        "–",
    ):
        assert text in told, text
    assert "cannot be replayed" in told
    assert told.count("data:image/png;base64,iVBOR") == 1
    assert "var(--jp-" in told


@pytest.mark.parametrize("link", ["javascript:x", "data:text/html,x", "//e.invalid", " https://e.invalid"])
def test_a_listed_link_that_is_none_is_text(link: str) -> None:
    assert "<a " not in html.listing("t", pd.DataFrame({"where": ["x"], "link": [link]}))
    assert '<a href="https://e.invalid/?a=&amp;b' in html.listing(
        "t", pd.DataFrame({"where": ["x"], "link": ["https://e.invalid/?a=&b"]})
    )
