"""Replace secrets by tags, before text and data are recorded, used or shown.

First the values that this process knows to be secret are replaced, in all usual encodings; then everything
that has the form of a secret. Equal secrets get equal tags, so a reader can see where the same secret occurs.
"""

import base64
import html
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import IntEnum
from functools import partial
from typing import Any
from urllib.parse import quote, quote_plus, unquote

from runbooklib.redact import vendor_rules
from runbooklib.redact.secret_names import is_secret_pair, values_with_secret_names
from runbooklib.redact.shapes import (
    PERSONAL_SHAPES,
    SECRET_SHAPES,
    URL_PASSWORD,
    Shape,
    without_pairs,
    without_spans,
)
from runbooklib.redact.shapes import tag as tag  # the name that other packages import

# A secret of three letters would match in half of all log lines.
_SHORTEST_SECRET = 4
# How programs break a long line: base64 in mails, pretty-printed bytes, both also inside JSON.
_JOINT = r"""(?:(?:['"]?\r?\n[ \t]{0,40}(?:b?['"])?)|(?:\\+r)?\\+n)?"""
_HEX_JOINT = r"(?:[ :]|\\+x|\r?\n)?"
_BREAKS = re.compile(r"""\\+[rnx]|b?['"]|[\s:]""")
_ELLIPSIS = re.compile(r"\.\.\.|\u2026")
# A cut secret is recognised by this many characters at its beginning or end: a word rarely matches them.
_MIN_CUT_CHARACTERS = 8
_NUMBER = re.compile(r"[-+]?(?:\d+(?:\.\d*)?(?:[eE][-+]?\d+)?|Inf|NaN)")


def encodings(secret: str) -> list[str]:
    """The secret as text, JSON, repr, URL, HTML, hexadecimal and base64 (at all three alignments)."""
    raw = secret.encode("utf-8", "surrogatepass")
    forms = {secret, repr(secret)[1:-1], repr(raw)[2:-1], quote(raw, safe=""), quote_plus(raw)}
    forms |= {*_in_hex(raw), *_in_base64(raw)}
    forms |= {json.dumps(secret, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False)}
    # Inside a longer repr, either quote can be escaped.
    forms |= {form.replace("'", "\\'") for form in (secret, repr(secret)[1:-1])}
    forms |= {html.escape(secret, quote=is_all) for is_all in (True, False)}
    return sorted((form for form in forms if len(form) >= _SHORTEST_SECRET), key=len, reverse=True)


def _in_hex(raw: bytes) -> set[str]:
    return {raw.hex(), raw.hex().upper()}


def _in_base64(raw: bytes) -> set[str]:
    forms = set()
    for shift in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            # The first and last characters of a shifted encoding also contain bits of the neighbours.
            start, spare = (0, 2, 3)[shift], (len(raw) + shift) % 3
            text = encode(b"\0" * shift + raw).decode().rstrip("=")
            forms.add(text[start : len(text) - 1 if spare else len(text)])
    return forms


def _broken(form: str, size: int, joint: str) -> str:
    """A pattern for the form when it is broken into lines or groups."""
    return joint.join(re.escape(form[at : at + size]) for at in range(0, len(form), size))


def secrets_within(value: str) -> Iterator[str]:
    """The secrets in the value of a variable: the password of a URL, and values with the name of a secret."""
    for password in URL_PASSWORD.findall(value):
        yield from (password, unquote(password))
    for secret in values_with_secret_names(value):
        yield from (secret, unquote(secret))


class Depth(IntEnum):
    """What is replaced: known secrets; also everything with the form of a secret; also personal data."""

    KNOWN = 0
    SECRETS = 1
    EVERYTHING = 2


def _common_prefix_length(left: str, right: str) -> int:
    pairs = zip(left, right, strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(left), len(right)))


def _remnant(form: str, text: str, match: re.Match[str], *, is_piece: bool) -> tuple[int, int]:
    """The span of the part of the form at `match`, if an ellipsis follows or precedes it; else an empty span.

    In a piece of a longer text, the beginning or end of a line counts like an ellipsis if the part is at
    least half of the form.
    """
    start, end = match.span()
    if form.startswith(match[0]):
        size = _common_prefix_length(form, text[start : start + len(form)])
        if _ELLIPSIS.match(text, start + size) or (
            is_piece and 2 * size >= len(form) and text[start + size : start + size + 1] in ("", "\n")
        ):
            return start, start + size
    if form.endswith(match[0]):
        before = text[max(0, end - len(form)) : end]
        size = _common_prefix_length(form[::-1], before[::-1])
        if text.endswith(("...", "\u2026"), 0, end - size) or (
            is_piece and 2 * size >= len(form) and text[max(0, end - size - 1) : end - size] in ("", "\n")
        ):
            return end - size, end
    return start, start


class Redactor:
    """Replaces secrets in text and JSON values. `know` adds a known secret."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._known: dict[str, str] = {}
        self._patterns: dict[str, str] = {}
        self._pattern: re.Pattern[str] | None = None
        self._allowed: set[str] = set()
        for secret in secrets:
            self.know(secret)

    def know(self, secret: str) -> None:
        """Add a secret: from now on it is replaced in every encoding. Very short values are ignored."""
        if len(secret) < _SHORTEST_SECRET:
            return
        raw = secret.encode("utf-8", "surrogatepass")
        broken = dict.fromkeys(_in_hex(raw), (2, _HEX_JOINT))
        broken |= dict.fromkeys(
            (form for form in _in_base64(raw) if len(form) > _MIN_CUT_CHARACTERS), (1, _JOINT)
        )
        for form in encodings(secret):
            self._known[form] = tag(secret)
            self._patterns[form] = _broken(form, *broken[form]) if form in broken else re.escape(form)
        forms = sorted(self._known, key=len, reverse=True)
        self._pattern = re.compile("|".join(self._patterns[form] for form in forms))

    def allow(self, texts: Iterable[str]) -> None:
        """Keep the personal data in these texts, for example a contact in the site's own settings."""
        for text in texts:
            for _, shape, _ in PERSONAL_SHAPES:
                self._allowed |= {match[0] for match in shape.finditer(text)}

    def __repr__(self) -> str:
        return f"Redactor({len(self._known)} forms)"

    def text(self, value: str, depth: Depth = Depth.EVERYTHING) -> str:
        """The text without secrets."""
        if self._pattern is not None:
            value = self._remove_cut_secrets(self._pattern.sub(self._replaced, value))
        if _NUMBER.fullmatch(value):
            return value  # the value of a counter is not a card number
        if depth >= Depth.SECRETS:
            value = without_spans(value, vendor_rules.spans(value))
            value = without_pairs(self._without(SECRET_SHAPES, value))
        return self._without(PERSONAL_SHAPES, value) if depth >= Depth.EVERYTHING else value

    def pieces(self, texts: Sequence[str], depth: Depth = Depth.EVERYTHING) -> list[str]:
        """The texts, which a reader sees one after the other, without secrets.

        If a secret begins in a text and ends in a later one, the first text gets the content of all.
        """
        if len(texts) == 1:
            return [self.text(texts[0], depth)]
        apart, whole = [self.text(text, depth) for text in texts], self.text("".join(texts), depth)
        return apart if whole == "".join(apart) else [whole, *("" for _ in texts[1:])]

    def piece(self, text: str) -> str:
        """A piece of a longer text, without the part of a secret at its beginning or end."""
        return self._remove_cut_secrets(text, is_piece=True)

    def _replaced(self, match: re.Match[str]) -> str:
        form = match[0] if match[0] in self._known else _BREAKS.sub("", match[0])
        return self._known.get(form) or tag(form)

    def _without(self, shapes: Iterable[Shape], text: str) -> str:
        lowered = text.lower()
        for words, shape, replace in shapes:
            if words and not any(word in lowered for word in words):
                continue
            text = shape.sub(partial(self._unless_allowed, replace), text)
        return text

    def _unless_allowed(self, replace: Callable[[re.Match[str]], str], match: re.Match[str]) -> str:
        return match[0] if match[0] in self._allowed else replace(match)

    def _remove_cut_secrets(self, text: str, *, is_piece: bool = False) -> str:
        """The text without the beginnings and ends of cut secrets (`abcdef...`).

        In a piece of a longer text, a secret can also be cut at the beginning or end of a line. There, at
        least half of the secret must match, because a word can be equal to its first characters.
        """
        near = [
            f
            for f in self._known
            if len(f) > _MIN_CUT_CHARACTERS
            and (f[:_MIN_CUT_CHARACTERS] in text or f[-_MIN_CUT_CHARACTERS:] in text)
        ]
        if not near or not (is_piece or _ELLIPSIS.search(text)):
            return text
        for form in near:
            first, last = re.escape(form[:_MIN_CUT_CHARACTERS]), re.escape(form[-_MIN_CUT_CHARACTERS:])
            for match in reversed(list(re.finditer(rf"{first}|{last}", text))):
                start, end = _remnant(form, text, match, is_piece=is_piece)
                text = text[:start] + (self._known[form] if end > start else "") + text[end:]
        return text

    def json(self, value: Any, depth: Depth = Depth.EVERYTHING) -> Any:
        """The JSON value without secrets in keys and values. A value under a secret's name is replaced."""
        if isinstance(value, str):
            return self.text(value, depth)
        if isinstance(value, list | tuple):
            return [self.json(item, depth) for item in value]
        if isinstance(value, dict):
            return {self.text(str(k), depth): self._member(str(k), item, depth) for k, item in value.items()}
        return value

    def _member(self, key: str, item: Any, depth: Depth) -> Any:
        text = str(item) if isinstance(item, str | int | float) else ""
        is_secret = depth is not Depth.KNOWN and is_secret_pair(key, text)
        return self._hidden(item, depth) if is_secret else self.json(item, depth)

    def _hidden(self, item: Any, depth: Depth) -> Any:
        if isinstance(item, list | tuple):
            return [self._hidden(part, depth) for part in item]
        if isinstance(item, str | int) and not isinstance(item, bool) and item != "":
            return item if str(item).startswith("[redacted:") else tag(str(item))
        return self.json(item, depth)
