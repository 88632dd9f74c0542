"""The parameters of a notebook: what its cell declares, and what may be put in their place.

Declared like `lookback: str = "1h"  # how far back to look`; one without a value, like `region: str`, must be
given with each run. Names are closed: papermill writes the NAMES that it is given into the notebook as code,
so nothing that was not declared may ever get there.
"""

import ast
import builtins
import io
import keyword
import math
import re
import tokenize
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from runbooklib.errors import ParameterError, suggestion
from runbooklib.plaintext import hidden, quoted

Value = str | int | float | bool
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_INT = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")
_FLOAT = re.compile(r"-?(?:0|[1-9][0-9]{0,17})?(?:\.[0-9]{1,30})?(?<=[0-9])(?:[eE][-+]?[0-9]{1,3})?")
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_TYPES: dict[str, type] = {"str": str, "int": int, "float": float, "bool": bool}


@dataclass(frozen=True, slots=True)
class Declared:
    """One declared parameter; without a default it is required."""

    name: str
    type: type
    default: Value | None
    help: str

    @property
    def example(self) -> str:
        """A remedy for a value that is not of its type."""
        return f"for example {self.type(1) if self.default is None else self.default!r}"


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
        name = statement.target.id
        _refuse_name(name, found)
        kind = _TYPES.get(ast.unparse(statement.annotation))
        if kind is None:
            raise ParameterError(
                f"{name} has no type that can be checked", remedy="use str, int, float or bool"
            )
        about = comments.get(statement.end_lineno or statement.lineno, "")
        found[name] = _declared(name, kind, statement.value, about)
    return found


def _refuse_name(name: str, others: Mapping[str, Declared]) -> None:
    """A name of Python's own would change what the notebook's other cells mean."""
    is_pythons = keyword.iskeyword(name) or keyword.issoftkeyword(name) or hasattr(builtins, name)
    if not _NAME.fullmatch(name) or is_pythons:
        raise ParameterError(
            f"the parameters cell: {quoted(name)} cannot be a parameter's name",
            remedy="use a-z, 0-9 and _, at most 64, and no name of Python's own",
        )
    if name in others:
        raise ParameterError(f"the parameters cell: {name} stands there twice", remedy="take one away")


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
    except (ValueError, RecursionError, MemoryError):
        raise ParameterError("the parameters cell is no Python", remedy="write it anew") from None


def _declared(name: str, kind: type, value: ast.expr | None, about: str) -> Declared:
    own = Declared(name, kind, None, about)
    if value is None:
        return own
    try:
        default = ast.literal_eval(value)
    except (ValueError, TypeError, RecursionError, MemoryError):
        raise ParameterError(
            f"{name} has a default that is no plain value", remedy="write text, a number, True or False"
        ) from None
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
                f"{where}: there is no parameter {quoted(name)}", remedy=suggestion(name, sorted(known))
            )


def refuse_missing(known: Mapping[str, Declared], given: Mapping[str, Any], alert: str) -> None:
    """Raises ParameterError for the first required parameter that is not given."""
    for one in known.values():
        if one.default is None and one.name not in given:
            about = f"{one.type.__name__}: {one.help}" if one.help else one.type.__name__
            raise ParameterError(
                f"{one.name} ({about}) is required, and not given",
                remedy=f"add -p {one.name}=…, or write it in parameters/{alert}.yaml",
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
            f"{where}: {parameter.name} must be {parameter.type.__name__}, and {quoted(value)} is "
            f"{type(value).__name__}",
            remedy=parameter.example,
        )
    if isinstance(value, float) and not math.isfinite(value):
        # Nothing is beyond a limit that is no number: everything would be OK.
        raise ParameterError(
            f"{where}: {parameter.name} must be a number, and {value!r} is none", remedy=parameter.example
        )
    if isinstance(value, str):
        _refuse_unprintable(parameter.name, value, where)
    return cast(Value, value)


def _refuse_unprintable(name: str, value: str, where: str) -> None:
    if len(value) > 10_000:
        raise ParameterError(f"{where}: {name} is longer than 10,000 characters", remedy="shorten it")
    if found := hidden(value):
        raise ParameterError(
            f"{where}: {name} holds {found}, which cannot be printed", remedy="write it in plain text"
        )


def from_text(known: Mapping[str, Declared], given: Mapping[str, str], where: str) -> dict[str, Value]:
    """Values from a command line, read as their declared types. Raises ParameterError."""
    refuse_unknown(known, given, where)
    return typed(known, {name: _read(known[name], text, where) for name, text in given.items()}, where)


def _read(parameter: Declared, text: str, where: str) -> Value:
    """The text as YAML 1.2 reads it: no 007, no 1_000, no digits of other scripts, no yes."""
    forms: dict[type, re.Pattern[str]] = {int: _INT, float: _FLOAT, bool: _BOOL}
    if parameter.type is str:
        return text
    if not forms[parameter.type].fullmatch(text):
        raise ParameterError(
            f"{where}: {parameter.name} must be {parameter.type.__name__}, and {quoted(text)} is not",
            remedy=parameter.example,
        )
    return text.lower() == "true" if parameter.type is bool else cast(Value, parameter.type(text))
