"""Private keys in PEM form: only the key's own base64 is secret, not the text that mentions or follows it."""

import re

_KIND = r"[A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?"
_BEGIN = rf"-{{4,5}} ?BEGIN {_KIND} ?-{{4,5}}"
_END = rf"-{{4,5}} ?END {_KIND} ?-{{4,5}}"
_HEADER = r"(?:Proc-Type|DEK-Info|Version|Comment|Hash|Charset|MessageID): [^\r\n\\]{0,200}"
_BASE64 = "[A-Za-z0-9+/=]"
# Line ends, also escaped ones, and the quotes of a text that is printed in several parts.
_JOINT = r"""(?:\s|\\+[rn]|["',+]|b(?=["'])){1,60}"""
# The body of a key begins with the bytes of its type. A short body is one that begins so (ASN.1, OpenSSH,
# OpenPGP), or one with the end line after it.
_FIRST = (
    rf"(?:M[A-Z]{_BASE64}*+|b3{_BASE64}*+|l[A-Za-f]{_BASE64}*+|{_BASE64}{{16,}}+"
    rf"|{_BASE64}{{1,15}}(?={_JOINT}-----END))"
)
PRIVATE_KEY = re.compile(
    rf"{_BEGIN}(?:{_JOINT}{_HEADER}){{0,5}}{_JOINT}{_FIRST}(?:{_JOINT}{_BASE64}{{16,}}+)*+"
    rf"(?:{_JOINT}={{0,2}}[A-Za-z0-9]{{2,5}}(?={_JOINT}-----END))?"
    rf"(?:{_JOINT}{_BASE64}{{1,15}}(?={_JOINT}-----END))?(?:{_JOINT}{_END})?"
)
_HAS_BEGIN, _HAS_END = re.compile(_BEGIN), re.compile(_END)
_FULL_LINE = re.compile(rf"""[\s"'|>+,b]*{_BASE64}{{16,}}(?:\\+[rn])*["',+)\s]*""")
_LAST_LINE = re.compile(
    rf"""[\s"'|>+,b]*(?={_BASE64}*(?:\d|[+/=]|[a-z][A-Z])){_BASE64}{{1,15}}(?:\\+[rn])*["',+)\s]*"""
)
_HEADER_LINE = re.compile(rf"\s*(?:{_HEADER})?\s*")


class KeyLines:
    """Private keys that are written line by line, each line as an entry of a log. Streams are separate."""

    def __init__(self) -> None:
        self._open: dict[str, bool] = {}

    def is_secret(self, stream: str, text: str) -> bool:
        """Add the next line of the stream. Whether it is a line of a private key, after its first line."""
        if stream in self._open:
            is_full = _FULL_LINE.fullmatch(text) is not None
            if is_full or _HEADER_LINE.fullmatch(text) or (self._open[stream] and _LAST_LINE.fullmatch(text)):
                self._open[stream] |= is_full
                return True
            del self._open[stream]
        if "BEGIN" not in text:
            return False
        begins = [match.end() for match in _HAS_BEGIN.finditer(text)]
        if begins and not _HAS_END.search(text, begins[-1]):
            self._open[stream] = False
        return False
