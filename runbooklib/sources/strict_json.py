r"""Strict parser for the JSON of other systems: limited depth, no duplicate keys, no NaN.

Every string of the result can be encoded as UTF-8: invalid bytes and lone surrogates become escapes like
`\xff`.
"""

import json
import re
from typing import Any

from runbooklib.errors import NonsenseError

# Real answers have at most ten levels. The code that redacts and renders them makes one call for each level.
MAX_DEEP = 64
_SURROGATE = re.compile("[\ud800-\udfff]")
_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")


def read(body: bytes, *, system: str = "", target: str = "") -> Any:
    """Parse the body. Raises NonsenseError with `system` and `target`."""
    try:
        text = body.decode("utf-8", "surrogateescape")
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_refuse_constant)
        if _is_too_deep(value):
            raise RecursionError
    except RecursionError:
        message = f"the JSON of the answer is nested more than {MAX_DEEP} deep"
        raise NonsenseError(message, system=system, target=target) from None
    except ValueError as error:
        # Keep only the parser's message: its error contains the whole document.
        message = f"the answer is not JSON: {str(error)[:200]}"
        raise NonsenseError(message, system=system, target=target) from None
    is_clean = not (_SURROGATE.search(text) or _SURROGATE_ESCAPE.search(text))
    return value if is_clean else _with_escapes(value)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError("a key occurs twice in an object")
    return fields


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def _is_too_deep(value: Any) -> bool:
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(MAX_DEEP):
        inside = (outer.values() if isinstance(outer, dict) else outer for outer in level)
        level = [inner for items in inside for inner in items if isinstance(inner, (dict, list))]
    return bool(level)


def _with_escapes(value: Any) -> Any:
    if isinstance(value, str):
        return _SURROGATE.sub(_escape, value)
    if isinstance(value, list):
        return [_with_escapes(item) for item in value]
    if isinstance(value, dict):
        return {_with_escapes(key): _with_escapes(item) for key, item in value.items()}
    return value


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"
