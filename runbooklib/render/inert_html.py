"""HTML and Markdown that a viewer of notebooks (JupyterLab, nbconvert) shows and never acts on.

A saved notebook is opened in programs that are not ours, and often trusted there: nothing in it may run,
fetch something, read a file that lies beside it, or press a button of the viewer. Nor is anything in it
typeset: JupyterLab reads TeX in HTML, escaped or not, and TeX paints over what stands beside it, or hides it.
"""

import html
import re
from collections.abc import Iterable, Iterator

from markdown_it import MarkdownIt
from markdown_it.token import Token

from runbooklib.text import visible

_TAG = re.compile(r"<[^>]*>")
# A picture or a tag, for a reader of Markdown that takes less for code than ours does.
_ACTS = re.compile(r"!\[|<[A-Za-z/!?]")
_SAFE_LINK = re.compile(r"(?:https?://|mailto:|#)\S*|[\w.-][^:]*", re.IGNORECASE)
_BACKTICKS = re.compile(r"`+")
_CODE = frozenset({"fence", "code_block", "code_inline"})
# What MathJax begins with. One dollar is money.
_TEX = re.compile(r"\$.*\$|\\[(\[]|\\(?:begin|(?:eq)?ref)\s*\{", re.DOTALL)
# By the class that MathJax 2 (nbconvert, nbviewer) leaves alone, and by that of JupyterLab 4's.
_LITERAL, _END = '<div class="tex2jax_ignore mathjax_ignore">', "</div>"


class _Credulous(MarkdownIt):
    """Takes every address for a link, as other readers may."""

    def validateLink(self, url: str) -> bool:  # noqa: N802 - the library's name
        del url
        return True


def literal(fragment: str) -> str:
    """HTML, all of its tags closed, whose words are shown letter by letter: nothing in it is typeset."""
    return f"{_LITERAL}{fragment}{_END}" if fragment else ""


def without_literal(fragment: str) -> str:
    """What was given to `literal`. Of HTML that others wrote tags may then be left open."""
    if fragment.startswith(_LITERAL) and fragment.endswith(_END):
        return fragment[len(_LITERAL) : -len(_END)]
    return fragment


def words_of(fragment: str) -> str:
    """What a reader sees of HTML."""
    return html.unescape(_TAG.sub("", fragment))


def preformatted(plain: str) -> str:
    """Text as HTML, its lines as they are."""
    return f"<pre>{html.escape(visible(plain))}</pre>"


def inert_cell(source: str) -> str:
    """A Markdown cell as it is if it only says something; one that holds more becomes a block of text."""
    shown = visible(source)
    tokens = _Credulous("commonmark").enable("table").parse(source)
    if shown == source and _only_says(tokens) and not _TEX.search("".join(_said(tokens))):
        return source
    longest = max((len(run) for run in _BACKTICKS.findall(shown)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{shown}\n{fence}"


def _only_says(tokens: Iterable[Token]) -> bool:
    return all(_is_harmless(token) and _only_says(token.children or ()) for token in tokens)


def _is_harmless(token: Token) -> bool:
    if token.type in ("html_block", "html_inline", "image"):
        return False
    if token.type == "link_open":
        return _SAFE_LINK.fullmatch(str(token.attrs.get("href", ""))) is not None
    if _ACTS.search(token.info):
        return False
    return token.type in _CODE or bool(token.children) or not _ACTS.search(token.content)


def _said(tokens: Iterable[Token]) -> Iterator[str]:
    """The words but for code, which is never typeset; JupyterLab looks for TeX across lines and items."""
    for token in tokens:
        if token.children:
            yield from _said(token.children)
        elif token.type not in _CODE:
            yield token.content
