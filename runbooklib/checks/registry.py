"""The checks and log patterns that a notebook may use, by name.

`@check` marks a check. It needs no other entry: the registry fills the names of `runbooklib.notebook`, the
list in docs/checks.md, and what lint knows.
"""

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from functools import cache, wraps
from types import MappingProxyType
from typing import Any, TypeVar, cast, overload

from runbooklib import checks
from runbooklib.checks.trusted_series import trusted
from runbooklib.model.findings import Finding
from runbooklib.sources.context import Context

C = TypeVar("C", bound=Callable[..., Finding])
_CHECKS: dict[str, Callable[..., Finding]] = {}
_ALIASES: dict[str, str] = {}
_PATTERNS: dict[str, str] = {}


@overload
def check(function: C) -> C: ...
@overload
def check(*, formerly: tuple[str, ...] = (), judges_series: bool = False) -> Callable[[C], C]: ...
def check(
    function: C | None = None, *, formerly: tuple[str, ...] = (), judges_series: bool = False
) -> C | Callable[[C], C]:
    """Mark a check: a function (context, *, limits) -> Finding whose docstring begins with its question.

    Its findings are UNKNOWN if their series cannot be trusted (`checks/trusted_series`); `judges_series`: the
    check itself is about that. `formerly` are its earlier names. They stay usable, because notebooks in
    sealed evidence use them. Raises ValueError for a name that is taken.
    """

    def register(marked: C) -> C:
        registered = marked if judges_series else _with_trusted_series(marked)
        for name in (marked.__name__, *formerly):
            taken = _CHECKS.get(name)
            if taken is not None and taken.__module__ != marked.__module__:
                raise ValueError(f"{marked.__module__}: the name {name} is taken by {taken.__module__}")
            _CHECKS[name] = registered
        _ALIASES.update(dict.fromkeys(formerly, marked.__name__))
        return registered

    return register if function is None else register(function)


def _with_trusted_series(function: C) -> C:
    @wraps(function)
    def checked(context: Context, **limits: Any) -> Finding:
        return trusted(context, function(context, **limits))

    return cast("C", checked)


def log_pattern(name: str, expression: str) -> str:
    """Register a regular expression for `log_lines(matching=…)` under a name, and return it."""
    _PATTERNS[name] = expression
    return expression


def all_checks() -> Mapping[str, Callable[..., Finding]]:
    """Every check by its name and by its earlier names."""
    _import_all()
    return MappingProxyType(dict(sorted(_CHECKS.items())))


def aliases() -> Mapping[str, str]:
    """Earlier name -> current name."""
    _import_all()
    return MappingProxyType(_ALIASES)


def log_patterns() -> Mapping[str, str]:
    """Every named log pattern."""
    _import_all()
    return MappingProxyType(dict(sorted(_PATTERNS.items())))


@cache
def _import_all() -> None:
    for module in pkgutil.iter_modules(checks.__path__, f"{checks.__name__}."):
        importlib.import_module(module.name)
