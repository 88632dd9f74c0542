r"""Characters that are safe to show: invisible and misleading characters are replaced or reported.

`visible` keeps line breaks and tabs. It writes other control characters, direction marks, zero-width
characters and letters that look like other letters as their code point: `\u{1b}` for ESC, `\u{202e}` for a
direction mark.
"""

import re
import unicodedata
from string import Formatter

_INVISIBLE = frozenset("Cc Cf Cs Co Cn Zl Zp".split())

# Invisible characters of other categories: joiners, fillers, variation selectors.
_BLANK = frozenset(
    [*"\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u2800\u3164\uffa0", *map(chr, range(0xFE00, 0xFE0F))]
)
_SUPPLEMENT = range(0xE0100, 0xE01F0)

# Letters that most fonts draw like a Latin letter, by script. µ, Ω and д do not look like a Latin letter.
_LOOKALIKES = {
    "CYRILLIC": frozenset(
        "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456\u0458\u0455\u04bb\u0501\u051b\u051d"
        "\u0475\u043a\u0410\u0412\u0415\u041a\u041c\u041d\u041e\u0420\u0421\u0422\u0423\u0425"
        "\u0406\u0408\u0405\u04ae\u050c"
    ),
    "GREEK": frozenset(
        "\u03bf\u03bd\u03c1\u03b9\u03ba\u03c5\u03b3\u03b1\u0391\u0392\u0395\u0396\u0397\u0399"
        "\u039a\u039c\u039d\u039f\u03a1\u03a4\u03a5\u03a7\u03f2\u03f3"
    ),
    "ARMENIAN": frozenset("\u0585\u0578\u057d\u0570\u0581\u0566\u0575"),
    "LATIN": frozenset("\u0251\u0261\u0269\u217c\u2113"),
}
_SIMILAR = frozenset().union(*_LOOKALIKES.values())
_WORD = re.compile(r"[^\W_]+")
_LATIN = re.compile(r"[A-Za-z]")


def visible(text: str) -> str:
    """The text with its control characters, direction marks and zero-width characters as code points.

    A letter that looks like a Latin letter is written as its code point too, if its word has Latin letters or
    if the text has no letter that shows its script.
    """
    if text.isascii() and text.isprintable():
        return text
    # Examine each different character once: texts in evidence can have a hundred thousand characters.
    return _unmasked(text.translate({ord(c): _escaped(c) for c in set(text) if not _is_seen(c)}))


def _is_seen(char: str) -> bool:
    if char in "\n\t":
        return True
    if unicodedata.category(char) in _INVISIBLE or char in _BLANK:
        return False
    return ord(char) not in _SUPPLEMENT


def _escaped(char: str) -> str:
    return f"\\u{{{ord(char):x}}}"


def _unmasked(text: str) -> str:
    """The text with letters that look like Latin letters written as code points."""
    if not any(c.isalnum() and not c.isascii() for c in set(text)):
        return text
    plain = {script for script in _LOOKALIKES if _has_own_letter(text, script)}
    return _WORD.sub(lambda match: _word(match[0], plain), text)


def _has_own_letter(text: str, script: str) -> bool:
    """Whether the text has a letter of the script that does not look like a Latin letter."""
    own = _LOOKALIKES[script]
    return script != "LATIN" and any(
        c not in own and unicodedata.name(c, "").startswith(script) for c in set(text) if not c.isascii()
    )


def _word(word: str, plain: set[str]) -> str:
    if word.isascii():
        return word
    is_mixed = _LATIN.search(word) is not None
    return "".join(_escaped(c) if _is_mask(c, plain, is_mixed=is_mixed) else c for c in word)


def _is_mask(char: str, plain: set[str], *, is_mixed: bool) -> bool:
    if char.isascii():
        return False
    if char in _SIMILAR:
        script = next(name for name, letters in _LOOKALIKES.items() if char in letters)
        return is_mixed or script not in plain
    # Mathematical letters (bold, script) and full-width letters.
    plain_form = unicodedata.normalize("NFKC", char)
    return len(plain_form) == 1 and plain_form.isascii() and char.isalpha() and char not in "\xaa\xba"


_ALLOWED = frozenset("\n\t\u3000")  # the last is the space of Chinese and Japanese

# Letters and marks by category, but nothing is drawn for them.
_NOT_DRAWN = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0") | frozenset(
    chr(code) for first, last in ((0x180B, 0x180F), (0xFE00, 0xFE0F), (0xE0100, 0xE01EF))
    for code in range(first, last + 1)
)  # fmt: skip
_MAX_QUOTED_CHARACTERS = 60


def hidden(text: str) -> str:
    """The code and name of the first hidden character of the text; empty without a hidden character.

    Hidden are control characters, surrogates, direction marks, zero-width characters and unusual spaces.
    """
    if text.isascii() and text.isprintable():
        return ""
    for c in text:
        if c not in _ALLOWED and (not c.isprintable() or c in _NOT_DRAWN):
            return f"U+{ord(c):04X} {unicodedata.name(c, '')}".strip()
    return ""


def quoted(value: object) -> str:
    """The `repr` of the value, cut if it is long, for a message on a single line."""
    if isinstance(value, str) and len(value) > _MAX_QUOTED_CHARACTERS:
        return f"{value[:_MAX_QUOTED_CHARACTERS]!r}… ({len(value):,} characters)"
    text = repr(value)
    return text if len(text) <= 2 * _MAX_QUOTED_CHARACTERS else f"{text[:_MAX_QUOTED_CHARACTERS]}…"


def filled(template: str, /, **facts: object) -> str:
    """The template with each `{name}` or `{name:spec}` replaced by its fact.

    Only names are allowed: a field with an attribute or an index could read what is not meant to be shown.
    Raises ValueError for such a field, and KeyError for a fact that is missing.
    """
    for _, name, _, _ in Formatter().parse(template):
        if name is not None and not name.isidentifier():
            raise ValueError(f"the template has the field {{{name}}}, which is not a name")
    return template.format(**facts)
