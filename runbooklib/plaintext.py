"""Text that comes from outside: which characters it may not hold, and how a long one is quoted."""

import unicodedata

_ALLOWED = frozenset("\n\t\u3000")  # the last is the space of Chinese and Japanese
# Letters and marks by their category, and yet nothing is drawn for them.
_NOT_DRAWN = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0") | frozenset(
    chr(code) for first, last in ((0x180B, 0x180F), (0xFE00, 0xFE0F), (0xE0100, 0xE01EF))
    for code in range(first, last + 1)
)  # fmt: skip
_LONGEST_QUOTE = 60


def hidden(text: str) -> str:
    """The first character that a reader would not see as what it is: its code and name; empty without one.

    Control characters, halves of characters, marks of direction, zero-width characters, other kinds of space.
    """
    if text.isascii() and text.isprintable():
        return ""
    for c in text:
        if c not in _ALLOWED and (not c.isprintable() or c in _NOT_DRAWN):
            return f"U+{ord(c):04X} {unicodedata.name(c, '')}".strip()
    return ""


def quoted(value: object) -> str:
    """The value as Python writes it, cut where it is long: for a message of one line."""
    if isinstance(value, str) and len(value) > _LONGEST_QUOTE:
        return f"{value[:_LONGEST_QUOTE]!r}… ({len(value):,} characters)"
    text = repr(value)
    return text if len(text) <= 2 * _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE]}…"
