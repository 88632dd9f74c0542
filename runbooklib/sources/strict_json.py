r"""One bounded HTTP request, for every source that speaks HTTP.

Bounded in time as a whole and not per read, in size after decoding, and in where it goes: no redirect is
followed, no proxy or netrc of the environment is used, so that a token only ever reaches the system it
is for. Answers are asked for without compression: unpacking costs more than a local network saves.

JSON from outside, read so that anything may pass it on: not absurdly deep, no key twice, all of it text.

Bytes that are not UTF-8 and lone surrogates stay readable as escapes like `\xff`.
"""

import json
import re
from typing import Any

from runbooklib.errors import NonsenseError

# Real answers are at most ten deep; what redacts and renders them goes down one call a level.
MAX_DEEP = 64
_SURROGATE = re.compile("[\ud800-\udfff]")
_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")


def read(body: bytes, *, system: str = "", target: str = "") -> Any:
    """The value that the body holds. Raises NonsenseError with `system` and `target`."""
    try:
        text = body.decode("utf-8", "surrogateescape")
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_refuse_constant)
        if _is_too_deep(value):
            raise RecursionError
    except RecursionError:
        told = f"its JSON is nested more than {MAX_DEEP} deep"
        raise NonsenseError(told, system=system, target=target) from None
    except ValueError as error:
        # Only the parser's own words: its error would carry the whole document along.
        told = f"its answer is not JSON: {str(error)[:200]}"
        raise NonsenseError(told, system=system, target=target) from None
    is_clean = not (_SURROGATE.search(text) or _SURROGATE_ESCAPE.search(text))
    return value if is_clean else _with_escapes(value)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key occurs twice in one object")
    return found


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


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


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"
