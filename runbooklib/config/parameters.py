"""The parameters of a notebook: what its parameters cell declares, and the values of a run.

A parameter is declared like `lookback: str = "1h"  # how far back to look`. One without a value, like
`region: str`, is required in each run. Undeclared names are refused: papermill writes the NAMES that it gets
into the notebook as code.
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
from runbooklib.text import hidden, quoted

Value = str | int | float | bool
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_INT = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")
_FLOAT = re.compile(r"-?(?:0|[1-9][0-9]{0,17})?(?:\.[0-9]{1,30})?(?<=[0-9])(?:[eE][-+]?[0-9]{1,3})?")
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_TYPES: dict[str, type] = {"str": str, "int": int, "float": float, "bool": bool}


@dataclass(frozen=True, slots=True)
class Declared:
    """One declared parameter; without a default, each run must give a value."""

    name: str
    type: type
    default: Value | None
    help: str

    @property
    def example(self) -> str:
        """A hint for a value of a wrong type."""
        return f"for example {self.type(1) if self.default is None else self.default!r}"


def parse_declarations(source: str) -> dict[str, Declared]:
    """The parameters that the source of a parameters cell declares. Raises ParameterError for other code."""
    statements = _statements(source)  # first: tokenizing invalid Python fails too
    comments = _comments(source)
    parameters: dict[str, Declared] = {}
    for statement in statements:
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            raise ParameterError(
                f"line {statement.lineno} of the parameters cell is not a declaration of a parameter",
                hint='write each as `name: str = "value"  # what it is for`',
            )
        name = statement.target.id
        _refuse_name(name, parameters)
        kind = _TYPES.get(ast.unparse(statement.annotation))
        if kind is None:
            raise ParameterError(
                f"the parameters cell: {name} has an unsupported type", hint="use str, int, float or bool"
            )
        about = comments.get(statement.end_lineno or statement.lineno, "")
        parameters[name] = _parse_declaration(name, kind, statement.value, about)
    return parameters


def _refuse_name(name: str, others: Mapping[str, Declared]) -> None:
    """Raise ParameterError for an invalid name: a Python keyword or built-in would break the other cells."""
    is_reserved = keyword.iskeyword(name) or keyword.issoftkeyword(name) or hasattr(builtins, name)
    if not _NAME.fullmatch(name) or is_reserved:
        raise ParameterError(
            f"the parameters cell: {quoted(name)} cannot be a parameter's name",
            hint="use at most 64 of a-z, 0-9 and _; begin with a letter; not a Python keyword or built-in",
        )
    if name in others:
        raise ParameterError(f"the parameters cell: {name} is declared twice", hint="remove one declaration")


def _comments(source: str) -> dict[int, str]:
    """The comment of each line. The tokenizer ignores a # inside a string."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {t.start[0]: t.string.lstrip("# ") for t in tokens if t.type == tokenize.COMMENT}


def _statements(source: str) -> list[ast.stmt]:
    try:
        return ast.parse(source).body
    except SyntaxError as error:
        raise ParameterError(
            f"line {error.lineno} of the parameters cell is not valid Python: {error.msg}",
            hint="fix that line",
        ) from None
    except (ValueError, RecursionError, MemoryError):
        raise ParameterError("the parameters cell is not valid Python", hint="rewrite it") from None


def _parse_declaration(name: str, kind: type, value: ast.expr | None, about: str) -> Declared:
    required = Declared(name, kind, None, about)
    if value is None:
        return required
    try:
        default = ast.literal_eval(value)
    except (ValueError, TypeError, RecursionError, MemoryError):
        raise ParameterError(
            f"the default of {name} is not a literal value", hint="write text, a number, True or False"
        ) from None
    return Declared(name, kind, _check_type(required, default, "the parameters cell"), about)


def assigned_names(source: str) -> list[str]:
    """The names that an injected cell assigns."""
    targets = [t for s in ast.parse(source).body if isinstance(s, ast.Assign) for t in s.targets]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def refuse_unknown(
    declared: Mapping[str, Declared], values: Mapping[str, Any] | list[str], where: str
) -> None:
    """Raise ParameterError for a name that is not declared; its hint is the nearest declared name."""
    for name in values:
        if name not in declared:
            raise ParameterError(
                f"{where}: there is no parameter {quoted(name)}", hint=suggestion(name, sorted(declared))
            )


def refuse_missing(declared: Mapping[str, Declared], values: Mapping[str, Any], alert: str) -> None:
    """Raise ParameterError for the first required parameter that is not given."""
    for parameter in declared.values():
        if parameter.default is None and parameter.name not in values:
            name, kind = parameter.name, parameter.type.__name__
            about = f"{kind}: {parameter.help}" if parameter.help else kind
            raise ParameterError(
                f"{name} ({about}) is required",
                hint=f"add -p {name}=…, or set it in parameters/{alert}.yaml",
            )


def check_types(declared: Mapping[str, Declared], values: Mapping[str, Any], where: str) -> dict[str, Value]:
    """The given values, each of its declared type; an int is accepted for a float. Raises ParameterError."""
    refuse_unknown(declared, values, where)
    return {name: _check_type(declared[name], value, where) for name, value in values.items()}


def _check_type(parameter: Declared, value: Any, where: str) -> Value:
    if type(value) is int and parameter.type is float:
        return float(value)
    if type(value) is not parameter.type:
        raise ParameterError(
            f"{where}: {parameter.name} must be {parameter.type.__name__}, but {quoted(value)} is "
            f"{type(value).__name__}",
            hint=parameter.example,
        )
    if isinstance(value, float) and not math.isfinite(value):
        # No value is above NaN or infinity: every check with such a limit would be OK.
        raise ParameterError(
            f"{where}: {parameter.name} must be a finite number, but is {value!r}", hint=parameter.example
        )
    if isinstance(value, str):
        _refuse_unprintable(parameter.name, value, where)
    return cast(Value, value)


def _refuse_unprintable(name: str, value: str, where: str) -> None:
    if len(value) > 10_000:
        raise ParameterError(f"{where}: {name} is longer than 10,000 characters", hint="shorten it")
    if character := hidden(value):
        raise ParameterError(
            f"{where}: {name} contains {character}, which cannot be printed", hint="write it in plain text"
        )


def from_text(declared: Mapping[str, Declared], values: Mapping[str, str], where: str) -> dict[str, Value]:
    """Values from a command line, read as their declared types. Raises ParameterError."""
    refuse_unknown(declared, values, where)
    return check_types(
        declared, {name: _read(declared[name], text, where) for name, text in values.items()}, where
    )


def _read(parameter: Declared, text: str, where: str) -> Value:
    """The text as YAML 1.2 reads it: 007, 1_000, yes and digits of other scripts are refused."""
    forms: dict[type, re.Pattern[str]] = {int: _INT, float: _FLOAT, bool: _BOOL}
    if parameter.type is str:
        return text
    if not forms[parameter.type].fullmatch(text):
        raise ParameterError(
            f"{where}: {parameter.name} must be {parameter.type.__name__}, but is {quoted(text)}",
            hint=parameter.example,
        )
    return text.lower() == "true" if parameter.type is bool else cast(Value, parameter.type(text))
