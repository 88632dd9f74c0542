"""The parameters of a notebook: what its cell declares, and what may be put in their place.

Declared like `lookback: str = "1h"  # how far back to look`. Names are closed: papermill writes the NAMES
that it is given into the notebook as code, so nothing that was not declared may ever get there.
"""

import ast
import io
import math
import tokenize
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from runbooklib.errors import ParameterError, suggestion

Value = str | int | float | bool
_TYPES: dict[str, type] = {"str": str, "int": int, "float": float, "bool": bool}


@dataclass(frozen=True, slots=True)
class Declared:
    """One declared parameter."""

    name: str
    type: type
    default: Value
    help: str


def declared(source: str) -> dict[str, Declared]:
    """The parameters that the source of a parameters cell declares. Raises ParameterError for other code."""
    statements = _statements(source)  # first: what is no Python has no tokens either
    comments = _comments(source)
    found: dict[str, Declared] = {}
    for statement in statements:
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            raise ParameterError(
                f"line {statement.lineno} of the parameters cell declares no parameter",
                remedy='write each as `name: str = "value"  # what it is for`',
            )
        kind = _TYPES.get(ast.unparse(statement.annotation))
        if kind is None or statement.value is None:
            raise ParameterError(
                f"{statement.target.id} has no type that can be checked", remedy="use str, int, float or bool"
            )
        about = comments.get(statement.end_lineno or statement.lineno, "")
        found[statement.target.id] = _declared(statement.target.id, kind, statement.value, about)
    return found


def _comments(source: str) -> dict[int, str]:
    """The comment of each line; a # within a text begins none."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {t.start[0]: t.string.lstrip("# ") for t in tokens if t.type == tokenize.COMMENT}


def _statements(source: str) -> list[ast.stmt]:
    try:
        return ast.parse(source).body
    except SyntaxError as error:
        raise ParameterError(
            f"line {error.lineno} of the parameters cell is no Python: {error.msg}", remedy="mend that line"
        ) from None


def _declared(name: str, kind: type, value: ast.expr, about: str) -> Declared:
    try:
        default = ast.literal_eval(value)
    except ValueError:
        raise ParameterError(
            f"{name} has a default that is no plain value", remedy="write text, a number, True or False"
        ) from None
    own = Declared(name, kind, kind(), about)
    return Declared(name, kind, _typed(own, default, "the parameters cell"), about)


def assigned(source: str) -> list[str]:
    """The names that an injected cell assigns."""
    targets = [t for s in ast.parse(source).body if isinstance(s, ast.Assign) for t in s.targets]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def refuse_unknown(known: Mapping[str, Declared], given: Mapping[str, Any] | list[str], where: str) -> None:
    """Raises ParameterError for a name that is not declared, with the nearest that is."""
    for name in given:
        if name not in known:
            raise ParameterError(
                f"{where}: there is no parameter {name!r}", remedy=suggestion(name, sorted(known))
            )


def typed(known: Mapping[str, Declared], given: Mapping[str, Any], where: str) -> dict[str, Value]:
    """The given values, each of its declared type; an int will do for a float. Raises ParameterError."""
    refuse_unknown(known, given, where)
    return {name: _typed(known[name], value, where) for name, value in given.items()}


def _typed(parameter: Declared, value: Any, where: str) -> Value:
    if type(value) is int and parameter.type is float:
        return float(value)
    if type(value) is not parameter.type:
        raise ParameterError(
            f"{where}: {parameter.name} must be {parameter.type.__name__}, and {value!r} is "
            f"{type(value).__name__}",
            remedy=f"for example {parameter.default!r}",
        )
    if isinstance(value, float) and not math.isfinite(value):
        # Nothing is beyond a limit that is no number: everything would be OK.
        raise ParameterError(
            f"{where}: {parameter.name} must be a number, and {value!r} is none",
            remedy=f"for example {parameter.default!r}",
        )
    if isinstance(value, str):
        _refuse_unprintable(parameter.name, value, where)
    return cast(Value, value)


def _refuse_unprintable(name: str, value: str, where: str) -> None:
    if len(value) > 10_000:
        raise ParameterError(f"{where}: {name} is longer than 10,000 characters", remedy="shorten it")
    if any(not c.isprintable() and c not in "\n\t" for c in value):
        raise ParameterError(
            f"{where}: {name} holds characters that cannot be printed", remedy="write it in plain text"
        )


def from_text(known: Mapping[str, Declared], given: Mapping[str, str], where: str) -> dict[str, Value]:
    """Values from a command line, read as their declared types. Raises ParameterError."""
    refuse_unknown(known, given, where)
    return typed(known, {name: _read(known[name], text, where) for name, text in given.items()}, where)


def _read(parameter: Declared, text: str, where: str) -> Value:
    readers: dict[type, Callable[[str], Value]] = {
        str: str,
        int: int,
        float: float,
        bool: lambda word: {"true": True, "false": False}[word.lower()],
    }
    try:
        return readers[parameter.type](text)
    except (ValueError, KeyError):
        raise ParameterError(
            f"{where}: {parameter.name} must be {parameter.type.__name__}, and {text!r} is not",
            remedy=f"for example {parameter.default!r}",
        ) from None
