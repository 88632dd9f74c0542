"""The checks and log patterns that a notebook may use, by name.

`@check` marks a check. It needs no other entry: the registry fills the names of `runbooklib.notebook`, the
list in docs/checks.md, and what lint knows.
"""

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType
from typing import TypeVar, overload

from runbooklib import checks
from runbooklib.model.findings import Finding

C = TypeVar("C", bound=Callable[..., Finding])
_CHECKS: dict[str, Callable[..., Finding]] = {}
_ALIASES: dict[str, str] = {}
_PATTERNS: dict[str, str] = {}


@overload
def check(function: C) -> C: ...
@overload
def check(*, formerly: tuple[str, ...]) -> Callable[[C], C]: ...
def check(function: C | None = None, *, formerly: tuple[str, ...] = ()) -> C | Callable[[C], C]:
    """Mark a check: a function (context, *, limits) -> Finding whose docstring begins with its question.

    `formerly` are its earlier names. They stay usable, because notebooks in sealed evidence use them.
    Raises ValueError for a name that is taken.
    """

    def register(marked: C) -> C:
        for name in (marked.__name__, *formerly):
            taken = _CHECKS.get(name)
            if taken is not None and taken.__module__ != marked.__module__:
                raise ValueError(f"{marked.__module__}: the name {name} is taken by {taken.__module__}")
            _CHECKS[name] = marked
        _ALIASES.update(dict.fromkeys(formerly, marked.__name__))
        return marked

    return register if function is None else register(function)


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
