"""Secrets out, before anything is recorded, used or shown.

First the exact values that this process knows to be secret, in every encoding in which they tend to
turn up; then shapes that only secrets have. Equal secrets get equal tags, so that a reader can still
tell that two lines speak of the same one.
"""

import base64
import hashlib
import html
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import IntEnum
from functools import partial
from typing import Any
from urllib.parse import quote, quote_plus, unquote

from runbooklib.redact.secret_names import is_secret_pair, secret_spans, values_with_secret_names

# A "secret" of three letters would blank half of every log.
_SHORTEST_SECRET = 4
# Where programs break a long line: mail's base64, a pretty-printed bytes, either of them in JSON.
_JOINT = r"""(?:(?:['"]?\r?\n[ \t]{0,40}(?:b?['"])?)|(?:\\+r)?\\+n)?"""
_HEX_JOINT = r"(?:[ :]|\\+x|\r?\n)?"
_BREAKS = re.compile(r"""\\+[rnx]|b?['"]|[\s:]""")
_ELLIPSIS = re.compile(r"\.\.\.|\u2026")
# So much of a secret is kept by what cuts it short, and can be told from a word.
_TELLING = 8
_NUMBER = re.compile(r"[-+]?(?:\d+(?:\.\d*)?(?:[eE][-+]?\d+)?|Inf|NaN)")


def tag(value: str) -> str:
    """What stands in a secret's place: 16 bits of its digest, too few to find it by, enough to match."""
    return f"[redacted:{hashlib.sha256(value.encode('utf-8', 'surrogatepass')).hexdigest()[:4]}]"


def encodings(secret: str) -> list[str]:
    """The secret as text, JSON, repr, URL, HTML, hexadecimal and base64 (at all three alignments)."""
    raw = secret.encode("utf-8", "surrogatepass")
    forms = {secret, repr(secret)[1:-1], repr(raw)[2:-1], quote(raw, safe=""), quote_plus(raw)}
    forms |= {*_in_hex(raw), *_in_base64(raw)}
    forms |= {json.dumps(secret, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False)}
    # What stands within a longer repr may have either quote escaped.
    forms |= {form.replace("'", "\\'") for form in (secret, repr(secret)[1:-1])}
    forms |= {html.escape(secret, quote=is_all) for is_all in (True, False)}
    return sorted((form for form in forms if len(form) >= _SHORTEST_SECRET), key=len, reverse=True)


def _in_hex(raw: bytes) -> set[str]:
    return {raw.hex(), raw.hex().upper()}


def _in_base64(raw: bytes) -> set[str]:
    forms = set()
    for shift in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            # The first and last characters of a shifted encoding also hold bits of the neighbours.
            start, spare = (0, 2, 3)[shift], (len(raw) + shift) % 3
            text = encode(b"\0" * shift + raw).decode().rstrip("=")
            forms.add(text[start : len(text) - 1 if spare else len(text)])
    return forms


def _broken(form: str, size: int, joint: str) -> str:
    """A pattern of the form as it may be broken into lines or groups."""
    return joint.join(re.escape(form[at : at + size]) for at in range(0, len(form), size))


# No card begins like a time in milli-, micro- or nanoseconds does.
_CARD_ISSUER = re.compile(r"[3-6]|2[2-7]")


def _luhn(digits: str) -> bool:
    doubled = [int(d) * (1 + i % 2) for i, d in enumerate(reversed(digits))]
    return sum(d - 9 if d > 9 else d for d in doubled) % 10 == 0


def _card(found: re.Match[str]) -> str:
    digits = re.sub(r"\D", "", found[0])
    return tag(digits) if _CARD_ISSUER.match(digits) and _luhn(digits) else found[0]


def _group(number: int) -> Callable[[re.Match[str]], str]:
    def replace(found: re.Match[str]) -> str:
        secret = found[number].rstrip("\\")  # in JSON within JSON they escape the closing quote
        if not secret or secret.startswith("[redacted:"):
            return found[0]
        start = found.start(number) - found.start()
        return f"{found[0][:start]}{tag(secret)}{found[0][start + len(secret) :]}"

    return replace


_URL_PASSWORD = re.compile(r"://[^\s/:@'\"]*:([^\s/'\"]+)@")


def secrets_within(value: str) -> Iterator[str]:
    """The secrets in a variable's value: a URL's password, and what has a secret's name in a DSN or JSON."""
    for password in _URL_PASSWORD.findall(value):
        yield from (password, unquote(password))
    for secret in values_with_secret_names(value):
        yield from (secret, unquote(secret))


def _without_pairs(text: str) -> str:
    """The text without the values of `name=value` and `name: value` where the name is one of a secret."""
    parts, at = [], 0
    for start, end, quotes in secret_spans(text):
        secret = text[start:end].rstrip("\\")  # in JSON within JSON they escape the closing quote
        if secret and not secret.startswith("[redacted:"):
            parts += [text[at:start], quotes, tag(secret), quotes]
            at = start + len(secret)
    return "".join([*parts, text[at:]])


_BIRTHDAY = r"(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])"
_UNIT = r"\s?(?:bytes|B|[nuµm]?s)\b"
# Each begins with something rare, or is bounded: a hostile line of a megabyte must not take minutes.
_Shape = tuple[re.Pattern[str], Callable[[re.Match[str]], str]]
_SECRET_SHAPES: tuple[_Shape, ...] = (
    (
        re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"),
        _group(0),
    ),
    (_URL_PASSWORD, _group(1)),
    (re.compile(r"(?i)\bport:? ['\"]([^\s'\"@]+)@"), _group(1)),
    (re.compile(r"(?i)\bbearer\s+([A-Za-z0-9._~+/=-]{8,})"), _group(1)),
    (re.compile(r"\b(?i:basic)\s+(?=\S*(?:\d|=|[a-z][A-Z]))([A-Za-z0-9+/=_-]{8,})"), _group(1)),
    (re.compile(r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]*"), _group(0)),
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"), _group(0)),
    (re.compile(r"\b(?:sk|pk|rk|ghp|gho|ghs|glpat|xox[abp])[-_][A-Za-z0-9_-]{12,}"), _group(0)),
    (re.compile(r"(?i)(?<![a-z])cookie2?\\*[\"']?\s*:\s*\\*[\"']?([^\s\"'][^\r\n\"']*)"), _group(1)),
    (re.compile(r"(?i)\bpassword\s+'([^']+)'"), _group(1)),
    (re.compile(r"(?i)[?&](?:[a-z-]{0,40}sig(?:nature)?|key|auth|jwt|code)=([^\s\"'&#]{2,})"), _group(1)),
)
_PERSONAL_SHAPES: tuple[_Shape, ...] = (
    (
        re.compile(
            r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]+(?:@|%40)(?:[A-Za-z0-9-]{1,63}\.){1,9}[A-Za-z]{2,24}\b"
        ),
        _group(0),
    ),
    (re.compile(rf"(?<![\w.])\d{{6}}{_BIRTHDAY}\d{{3}}[\dXx](?!\w|\.\d)"), _group(0)),
    (re.compile(r"(?<![\w.-])(?:\d[ -]?){12,18}\d(?!\w|[.-]\w)"), _card),
    (
        re.compile(
            rf"(?<![\w.])(?:(?:\+|00)86[ -]?|86[ -])?1[3-9]\d([ -]?)\d{{4}}\1\d{{4}}(?!\w|\.\d|{_UNIT})"
        ),
        _group(0),
    ),
)


class Depth(IntEnum):
    """What is taken out: values known to be secret; also what looks like a secret; also personal data."""

    KNOWN = 0
    SECRETS = 1
    EVERYTHING = 2


def _shared(one: str, other: str) -> int:
    """How many characters both begin with."""
    pairs = zip(one, other, strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def _remnant(form: str, text: str, found: re.Match[str], *, is_piece: bool) -> tuple[int, int]:
    """Where a piece of the form stands that an ellipsis follows or precedes; empty if none does."""
    start, end = found.span()
    if form.startswith(found[0]):
        size = _shared(form, text[start : start + len(form)])
        if _ELLIPSIS.match(text, start + size) or (
            is_piece and 2 * size >= len(form) and text[start + size : start + size + 1] in ("", "\n")
        ):
            return start, start + size
    if form.endswith(found[0]):
        before = text[max(0, end - len(form)) : end]
        size = _shared(form[::-1], before[::-1])
        if text.endswith(("...", "\u2026"), 0, end - size) or (
            is_piece and 2 * size >= len(form) and text[max(0, end - size - 1) : end - size] in ("", "\n")
        ):
            return end - size, end
    return start, start


class Redactor:
    """Takes secrets out of text and of JSON values. `know` adds a value that must never be seen."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._known: dict[str, str] = {}
        self._patterns: dict[str, str] = {}
        self._pattern: re.Pattern[str] | None = None
        self._allowed: set[str] = set()
        for secret in secrets:
            self.know(secret)

    def know(self, secret: str) -> None:
        """From now on this value is replaced wherever it occurs, in any encoding."""
        if len(secret) < _SHORTEST_SECRET:
            return
        raw = secret.encode("utf-8", "surrogatepass")
        broken = dict.fromkeys(_in_hex(raw), (2, _HEX_JOINT))
        broken |= dict.fromkeys((form for form in _in_base64(raw) if len(form) > _TELLING), (1, _JOINT))
        for form in encodings(secret):
            self._known[form] = tag(secret)
            self._patterns[form] = _broken(form, *broken[form]) if form in broken else re.escape(form)
        forms = sorted(self._known, key=len, reverse=True)
        self._pattern = re.compile("|".join(self._patterns[form] for form in forms))

    def allow(self, texts: Iterable[str]) -> None:
        """Personal data that these texts hold is no secret here: a contact in the site's own settings."""
        for text in texts:
            for shape, _ in _PERSONAL_SHAPES:
                self._allowed |= {found[0] for found in shape.finditer(text)}

    def __repr__(self) -> str:
        return f"Redactor({len(self._known)} forms)"

    def text(self, value: str, depth: Depth = Depth.EVERYTHING) -> str:
        """The text without secrets."""
        if self._pattern is not None:
            value = self._cut_short(self._pattern.sub(self._replaced, value))
        if _NUMBER.fullmatch(value):
            return value  # a sample of a counter is no card number
        if depth >= Depth.SECRETS:
            value = _without_pairs(self._without(_SECRET_SHAPES, value))
        return self._without(_PERSONAL_SHAPES, value) if depth >= Depth.EVERYTHING else value

    def pieces(self, texts: Sequence[str], depth: Depth = Depth.EVERYTHING) -> list[str]:
        """Texts that a reader sees one after the other, without secrets.

        Where one begins in a text and ends in another, the first gets all that they say.
        """
        if len(texts) == 1:
            return [self.text(texts[0], depth)]
        apart, whole = [self.text(text, depth) for text in texts], self.text("".join(texts), depth)
        return apart if whole == "".join(apart) else [whole, *("" for _ in texts[1:])]

    def piece(self, text: str) -> str:
        """A text that may begin or end within a secret, of which nobody knows the rest, without that part."""
        return self._cut_short(text, is_piece=True)

    def _replaced(self, found: re.Match[str]) -> str:
        form = found[0] if found[0] in self._known else _BREAKS.sub("", found[0])
        return self._known.get(form) or tag(form)

    def _without(self, shapes: Iterable[_Shape], text: str) -> str:
        for shape, replace in shapes:
            text = shape.sub(partial(self._unless_allowed, replace), text)
        return text

    def _unless_allowed(self, replace: Callable[[re.Match[str]], str], found: re.Match[str]) -> str:
        return found[0] if found[0] in self._allowed else replace(found)

    def _cut_short(self, text: str, *, is_piece: bool = False) -> str:
        """The text without the beginnings and ends of secrets that something has cut short (`abcdef...`).

        What is a piece of a longer text may also be cut where its lines begin or end; half of a secret is
        needed there, since many a word begins one.
        """
        near = [
            f for f in self._known if len(f) > _TELLING and (f[:_TELLING] in text or f[-_TELLING:] in text)
        ]
        if not near or not (is_piece or _ELLIPSIS.search(text)):
            return text
        for form in near:
            begun, ended = re.escape(form[:_TELLING]), re.escape(form[-_TELLING:])
            for found in reversed(list(re.finditer(rf"{begun}|{ended}", text))):
                start, end = _remnant(form, text, found, is_piece=is_piece)
                text = text[:start] + (self._known[form] if end > start else "") + text[end:]
        return text

    def json(self, value: Any, depth: Depth = Depth.EVERYTHING) -> Any:
        """The JSON value without secrets; keys too, and the values of keys that are called like secrets."""
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
            return [self._hidden(one, depth) for one in item]
        if isinstance(item, str | int) and not isinstance(item, bool) and item != "":
            return item if str(item).startswith("[redacted:") else tag(str(item))
        return self.json(item, depth)
