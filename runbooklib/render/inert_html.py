"""HTML and Markdown that a viewer of notebooks (JupyterLab, nbconvert) only shows.

Other programs open a saved notebook, and often trust it. Nothing in it may run, send a request, read a file
in the same folder, or press a button of the viewer. TeX in it is not typeset either: JupyterLab reads TeX in
HTML, escaped or not, and TeX can cover or hide other content.
"""

import html
import re
from collections.abc import Iterable, Iterator

from markdown_it import MarkdownIt
from markdown_it.token import Token

from runbooklib.text import visible

_TAG = re.compile(r"<[^>]*>")
# A picture or a tag, also where another Markdown parser does not see code.
_ACTS = re.compile(r"!\[|<[A-Za-z/!?]")
_SAFE_LINK = re.compile(r"(?:https?://|mailto:|#)\S*|[\w.-][^:]*", re.IGNORECASE)
_BACKTICKS = re.compile(r"`+")
_CODE = frozenset({"fence", "code_block", "code_inline"})
# The delimiters of MathJax. A single dollar sign is money.
_TEX = re.compile(r"\$.*\$|\\[(\[]|\\(?:begin|(?:eq)?ref)\s*\{", re.DOTALL)
# The class that MathJax 2 (nbconvert, nbviewer) ignores, and the class that JupyterLab 4 ignores.
_LITERAL, _END = '<div class="tex2jax_ignore mathjax_ignore">', "</div>"


class _AnyLink(MarkdownIt):
    """Accepts every address as a link, because other parsers may do so."""

    def validateLink(self, url: str) -> bool:  # noqa: N802 - the library's name
        del url
        return True


def literal(fragment: str) -> str:
    """HTML in an element that MathJax ignores. All tags of the fragment must be closed."""
    return f"{_LITERAL}{fragment}{_END}" if fragment else ""


def without_literal(fragment: str) -> str:
    """The reverse of `literal`. In HTML of other programs, tags may then be open."""
    if fragment.startswith(_LITERAL) and fragment.endswith(_END):
        return fragment[len(_LITERAL) : -len(_END)]
    return fragment


def words_of(fragment: str) -> str:
    """The text of HTML, without tags."""
    return html.unescape(_TAG.sub("", fragment))


def preformatted(plain: str) -> str:
    """Text as preformatted HTML."""
    return f"<pre>{html.escape(visible(plain))}</pre>"


def inert_cell(source: str) -> str:
    """The Markdown cell unchanged if it is plain text; any other becomes a code block."""
    shown = visible(source)
    tokens = _AnyLink("commonmark").enable("table").parse(source)
    if shown == source and _is_plain(tokens) and not _TEX.search("".join(_texts(tokens))):
        return source
    longest = max((len(run) for run in _BACKTICKS.findall(shown)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{shown}\n{fence}"


def _is_plain(tokens: Iterable[Token]) -> bool:
    return all(_is_harmless(token) and _is_plain(token.children or ()) for token in tokens)


def _is_harmless(token: Token) -> bool:
    if token.type in ("html_block", "html_inline", "image"):
        return False
    if token.type == "link_open":
        return _SAFE_LINK.fullmatch(str(token.attrs.get("href", ""))) is not None
    if _ACTS.search(token.info):
        return False
    return token.type in _CODE or bool(token.children) or not _ACTS.search(token.content)


def _texts(tokens: Iterable[Token]) -> Iterator[str]:
    """The texts without code, which is not typeset. JupyterLab looks for TeX across lines and items."""
    for token in tokens:
        if token.children:
            yield from _texts(token.children)
        elif token.type not in _CODE:
            yield token.content
