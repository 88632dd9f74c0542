"""`runbook lint`: finds faults of runbooks, alert rules and routing before an alert fires."""

from collections.abc import Sequence
from datetime import date
from pathlib import Path

from runbooklib.lint.rule import Message, Rule
from runbooklib.lint.rules import (
    alerts_and_runbooks,
    cells,
    conditions,
    live,
    parameters,
    queries,
    routing,
    sections,
    suppressions,
)
from runbooklib.lint.workspace import RULES as WORKSPACE_RULES
from runbooklib.lint.workspace import Material

_CHECKS = (sections, cells, parameters, alerts_and_runbooks, queries, conditions, routing)


def all_rules() -> tuple[Rule, ...]:
    """All rules, in the order of the documentation."""
    modules = (*_CHECKS, live, suppressions)
    return (*WORKSPACE_RULES, *(rule for module in modules for rule in module.RULES))


def gather_material(
    home: Path, today: date, *, rule_files: Sequence[Path] = (), alertmanager: Path | None = None
) -> Material:
    """All input of lint, read once. Raises SettingsError for an invalid rule file or routing file."""
    material = Material(home, today)
    material.read()
    if rule_files:
        material.read_rules(rule_files)
    if alertmanager is not None:
        material.read_routing(alertmanager)
    return material


def lint(material: Material, more: Sequence[Message] = ()) -> list[Message]:
    """All messages and those of `more`, sorted by file and line, without silenced messages."""
    messages = [*material.messages, *more]
    for module in _CHECKS:
        messages += module.check(material)
    needs = {rule.name: rule.needs for rule in all_rules()}
    return sorted(suppressions.remove_silenced(material, messages, needs))
