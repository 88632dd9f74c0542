"""`runbook lint`: what is wrong with runbooks, alert rules and routing before an alert fires."""

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
from runbooklib.lint.workspace import RULES as READING
from runbooklib.lint.workspace import Material

_CHECKS = (sections, cells, parameters, alerts_and_runbooks, queries, conditions, routing)


def all_rules() -> tuple[Rule, ...]:
    """Every rule that there is, in the order of the documentation."""
    modules = (*_CHECKS, live, suppressions)
    return (*READING, *(rule for module in modules for rule in module.RULES))


def gathered(
    home: Path, today: date, *, rule_files: Sequence[Path] = (), alertmanager: Path | None = None
) -> Material:
    """Everything that is to be linted, read once. Raises SettingsError for a bad rule file."""
    material = Material(home, today)
    material.read()
    if rule_files:
        material.read_rules(rule_files)
    if alertmanager is not None:
        material.read_routing(alertmanager)
    return material


def lint(material: Material, more: Sequence[Message] = ()) -> list[Message]:
    """All messages, those of `more` with them, by file and line, without those that were silenced."""
    found = [*material.messages, *more]
    for module in _CHECKS:
        found += module.check(material)
    return sorted(suppressions.sift(material, found, {rule.name: rule.needs for rule in all_rules()}))
