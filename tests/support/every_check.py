"""Every check that there is, found by introspection, and limits that every real value would keep."""

import importlib
import inspect
import pkgutil
from collections.abc import Callable

import runbooklib.checks
from runbooklib.model.findings import Finding

Check = Callable[..., Finding]
_PLAIN: dict[str, object] = {"float": 1e12, "str": "1h", "int": 1}
_NAMED: dict[str, object] = {
    "below": -1.0,
    "matching": "x",
    "about": "x",
    "metric": "up",
    "component": "x",
    "promise": "Availability",
    "of": "requests",
    "success": 0.5,
    "expression": "up == 0",
}


def functions() -> dict[str, Callable[..., object]]:
    """Every public function of every module of checks, by its name."""
    modules = [
        importlib.import_module(f"{runbooklib.checks.__name__}.{module.name}")
        for module in pkgutil.iter_modules(runbooklib.checks.__path__)
    ]
    return {
        name: function
        for module in modules
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__ and not name.startswith("_")
    }


def checks() -> dict[str, Check]:
    """Every check, by its name."""
    return {name: one for name, one in functions().items() if is_check(one)}  # type: ignore[misc]


def is_check(function: Callable[..., object]) -> bool:
    """Whether the function answers with a finding."""
    return inspect.signature(function).return_annotation is Finding


def limits_of(check: Callable[..., object]) -> dict[str, object]:
    """A limit for each that the check needs."""
    needed = [p for p in list(inspect.signature(check).parameters.values())[1:] if p.default is p.empty]
    return {p.name: _NAMED.get(p.name, _PLAIN[getattr(p.annotation, "__name__", "str")]) for p in needed}
