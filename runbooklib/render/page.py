"""An executed notebook as one HTML page: without scripts and requests, whatever its cells contain.

HTML output keeps only the tags and attributes of a list (nh3), Markdown is rendered without HTML, and all
other output is text. A content security policy forbids the rest.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import nh3
from markdown_it import MarkdownIt

from runbooklib.render.html import text, without_formula
from runbooklib.text import visible

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_TAGS = set(
    "a b blockquote br code details div em h1 h2 h3 h4 h5 h6 hr i img li ol p pre s small span strong sub "
    "summary sup table tbody td th thead tr ul".split()
)
_ATTRIBUTES = {
    "*": {"style", "title", "role"},
    "a": {"href"},
    "img": {"src", "alt"},
    "details": {"open"},
    "th": {"scope", "colspan", "rowspan"},
    "td": {"colspan", "rowspan"},
}
_STYLES = set(
    "background background-color border border-bottom border-collapse border-left border-radius border-top "
    "color cursor display font-family font-size font-style font-weight line-height list-style margin "
    "margin-bottom margin-left margin-top max-width padding padding-bottom padding-left text-align "
    "vertical-align white-space".split()
)
# CSS functions that only compute; others, such as url() and image-set(), load files.
_FUNCTIONS = {"var", "calc", "rgb", "rgba", "hsl", "hsla"}
_FUNCTION = re.compile(r"([\w-]*)\s*\(")
# Base64 of data that begins with the PNG signature.
_PICTURE = re.compile(r"data:image/png;base64,iVBORw0KGgo[A-Za-z0-9+/]*={0,2}")
_TABLE_CELL = re.compile(r"(<t[dh]\b[^>]*>(?:<[^>]*>)*\s*)([^<]*)")
_CSS = """
:root { color-scheme: light dark; --jp-border-color2: #d1d9e0; }
body { margin: 0 auto; max-width: 60rem; padding: 1.5rem; font: 15px/1.55 system-ui, sans-serif;
  color: #1f2328; background: #fff; }
h1 { font-size: 1.6rem; margin: .2rem 0 .6rem; } h2 { font-size: 1.25rem; margin: 2rem 0 .4rem;
  border-bottom: 1px solid #d1d9e0; padding-bottom: .2rem; }
h3 { font-size: 1.05rem; margin: 1.2rem 0 .3rem; } p { margin: .3rem 0 .6rem; }
pre, code { font: 12.5px/1.5 ui-monospace, monospace; } pre { overflow-x: auto; padding: .5rem .7rem;
  background: #f6f8fa; border-radius: 6px; white-space: pre-wrap; overflow-wrap: anywhere; }
code { overflow-wrap: anywhere; }
details.cell { color: #8b949e; font-size: 11px; text-align: right; }
details.cell pre { text-align: left; } details.cell summary { cursor: pointer; }
table { border-collapse: collapse; } td, th { padding: .15rem .8rem .15rem 0; text-align: left; }
ul, ol { margin: .3rem 0 .6rem; padding-left: 1.4rem; } img { background: #fff; }
@media (prefers-color-scheme: dark) {
  :root { --jp-ui-font-color1: #e6edf3; --jp-ui-font-color2: #9da7b1; --jp-border-color2: #3d444d;
    --jp-layout-color2: #21262d; }
  body { color: #e6edf3; background: #0d1117; } h2 { border-color: #3d444d; } pre { background: #161b22; }
  a { color: #6cb2ff; } details.cell { color: #9da7b1; } }
@media print { details.cell { display: none; } }
"""


def page(notebook: Mapping[str, Any], title: str) -> str:
    """The whole page. `notebook` is nbformat 4."""
    return shell(title, "\n".join(_cell_html(cell) for cell in notebook["cells"]))


def shell(title: str, body: str, style: str = "") -> str:
    """A whole page around a `body` that is already safe; `style` is additional CSS of this package."""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{text(title)}</title><style>{_CSS}{style}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


def _cell_html(cell: Mapping[str, Any]) -> str:
    source = _join_lines(cell.get("source", ""))
    if cell["cell_type"] == "markdown":
        return markdown(source)
    if cell["cell_type"] != "code":
        return f"<pre>{text(source)}</pre>"
    outputs = "\n".join(_output_html(output) for output in cell.get("outputs", ()))
    code = f'<details class="cell"><summary>code</summary><pre>{text(source)}</pre></details>'
    return f"{outputs}\n{code if source.strip() else ''}"


def markdown(source: str) -> str:
    """Markdown as HTML; HTML in it stays text. `[ ]` and `[x]` become boxes."""
    rendered: str = MarkdownIt("commonmark", {"html": False}).enable("table").render(source)
    return clean(rendered.replace("<li>[ ] ", "<li>☐ ").replace("<li>[x] ", "<li>☑ "))


def _output_html(output: Mapping[str, Any]) -> str:
    kind = output.get("output_type")
    if kind == "stream":
        return f"<pre>{text(_join_lines(output.get('text', '')))}</pre>"
    if kind == "error":
        traceback = "\n".join(output.get("traceback") or [f"{output.get('ename')}: {output.get('evalue')}"])
        return f"<pre>{text(traceback)}</pre>"
    data = output.get("data", {})
    if "text/html" in data:
        return clean(_join_lines(data["text/html"]))
    picture = f"data:image/png;base64,{''.join(_join_lines(data.get('image/png', '')).split())}"
    if _PICTURE.fullmatch(picture):
        return clean(f'<img alt="chart" src="{picture}">')
    if "text/markdown" in data:
        return markdown(_join_lines(data["text/markdown"]))
    plain = _join_lines(data.get("text/plain", ""))
    return f"<pre>{text(plain)}</pre>" if plain else ""


def _join_lines(source: str | Iterable[str]) -> str:
    return source if isinstance(source, str) else "".join(source)


def clean(fragment: str) -> str:
    """The fragment without scripts, requests, invisible characters and spreadsheet formulas."""
    kept: str = nh3.clean(
        fragment,
        tags=_TAGS,
        attributes=_ATTRIBUTES,
        attribute_filter=_filter_attribute,
        filter_style_properties=_STYLES,
        url_schemes={"http", "https", "mailto", "data"},
        link_rel="noopener noreferrer",
        strip_comments=True,
    )
    return visible(_TABLE_CELL.sub(lambda match: match[1] + without_formula(match[2]), kept))


def _filter_attribute(_tag: str, attribute: str, value: str) -> str | None:
    if attribute == "src":
        return value if _PICTURE.fullmatch(value) else None
    if attribute == "href":
        return value if value.startswith(("http://", "https://", "mailto:", "#")) else None
    if attribute == "style" and ("\\" in value or set(_FUNCTION.findall(value.lower())) - _FUNCTIONS):
        return None
    return value
