"""Every check, and limits that every real value keeps."""

import inspect
from collections.abc import Callable

from runbooklib.checks.registry import aliases, all_checks
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


def checks() -> dict[str, Check]:
    """Every registered check, by its name."""
    return {name: check for name, check in all_checks().items() if name not in aliases()}


def unmarked() -> set[str]:
    """Public functions of a module with checks that return a finding and are not marked as checks."""
    modules = {inspect.getmodule(check) for check in checks().values()}
    return {
        name
        for module in modules
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if inspect.getmodule(function) is module
        and not name.startswith("_")
        and inspect.signature(function).return_annotation is Finding
        and name not in checks()
    }


def limits_of(check: Callable[..., object]) -> dict[str, object]:
    """A limit for each that the check needs."""
    needed = [p for p in list(inspect.signature(check).parameters.values())[1:] if p.default is p.empty]
    return {p.name: _NAMED.get(p.name, _PLAIN[getattr(p.annotation, "__name__", "str")]) for p in needed}
