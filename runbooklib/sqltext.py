"""The text of SQL: whether it is a question, and what it looks like without its literals. Pure."""

import re

MOST_QUERY_CHARACTERS = 200
_ASKS = re.compile(r"(?:\s|\(|--[^\n]*\n|/\*.*?\*/)*(?:select|with|values|table|show|explain)\b", re.I | re.S)
_LITERALS = re.compile(
    r"""(?P<name>"(?:[^"]|"")*"?)
    | (?P<comment>--[^\n]*|/\*.*?(?:\*/|\Z))
    | \b[eE]'(?:[^'\\]|\\.|'')*(?:'|\Z)
    | (?P<unclear>'(?:[^'\\]|''|\\(?!'))*\\'.*)
    | (?:\b(?:[uU]&|[bBxXnN]))?'(?:[^']|'')*(?:'|\Z)
    | (?<![\w$])\$(?P<quote>[A-Za-z_]\w*|)\$.*?(?:\$(?P=quote)\$|\Z)
    | (?<![\w$.])(?:0[xX][0-9a-fA-F]+|\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+)
    """,
    re.VERBOSE | re.DOTALL,
)


def is_question(query: str) -> bool:
    """Whether the text begins as a question does. A seat belt: what it does, only the server can tell."""
    return _ASKS.match(query) is not None


def normalised(query: str) -> str:
    """The query's text with ? for every literal, without comments, on one line, cut.

    Where it is not clear where a literal ends (a backslash before its quote), all that follows is left out.
    """

    def replace(found: re.Match[str]) -> str:
        if found["name"]:
            return found[0]
        return " " if found["comment"] else "?"

    text = " ".join(_LITERALS.sub(replace, query).split())
    text = re.sub(r"\?(?:, ?\?)+", "?, …", text)
    return text if len(text) <= MOST_QUERY_CHARACTERS else f"{text[: MOST_QUERY_CHARACTERS - 1]}…"
