"""Messages for a person, for a program, and for a code host (SARIF 2.1.0); and the rules as documentation."""

import json
from collections.abc import Iterable, Sequence
from importlib import metadata
from typing import Any

from runbooklib.lint.rule import Message, Rule

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_INTRODUCTION = """\
# The rules of `runbook lint`

Written by `runbook lint --explain all`, from the rules themselves. A message is silenced where it
stands, with a reason:

    # runbook-lint: ignore RULE because REASON

in YAML on its line or the line above; in a notebook anywhere in its cell (in Markdown as `<!-- … -->`).
"""


def as_text(messages: Iterable[Message]) -> str:
    """A line each, as a compiler writes them."""
    return "".join(f"{message}\n" for message in messages)


def as_json(messages: Iterable[Message]) -> str:
    """A list of objects: file, line, rule, severity, message."""
    told = [
        {"file": m.file, "line": m.line, "rule": m.name, "severity": m.rule.severity.value, "message": m.text}
        for m in messages
    ]
    return json.dumps(told, indent=2, ensure_ascii=False) + "\n"


def as_sarif(messages: Iterable[Message], rules: Sequence[Rule]) -> str:
    """SARIF 2.1.0, as code hosts read it."""
    driver = {
        "name": "runbook lint",
        "version": metadata.version("runbooklib"),
        "rules": [_described(rule) for rule in rules],
    }
    run = {"tool": {"driver": driver}, "results": [_result(message) for message in messages]}
    whole = {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}
    return json.dumps(whole, indent=2, ensure_ascii=False) + "\n"


def _described(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.name,
        "shortDescription": {"text": rule.holds},
        "fullDescription": {"text": f"{rule.holds} {_flat(rule.why)}"},
        "help": {"text": explained(rule), "markdown": explained(rule)},
        "defaultConfiguration": {"level": rule.severity.value},
    }


def _result(message: Message) -> dict[str, Any]:
    place = {"artifactLocation": {"uri": message.file}, "region": {"startLine": message.line}}
    return {
        "ruleId": message.name,
        "level": message.rule.severity.value,
        "message": {"text": message.text},
        "locations": [{"physicalLocation": place}],
    }


def explained(rule: Rule) -> str:
    """One rule for a reader: what holds, why, and an example of either side."""
    parts = [
        f"## {rule.name}",
        f"**{rule.holds}** {_flat(rule.why)}",
        f"{rule.severity.value.capitalize()}; needs {rule.needs.value}.",
        f"Bad:\n\n{_indented(rule.bad)}",
        f"Good:\n\n{_indented(rule.good)}",
    ]
    return "\n\n".join(parts) + "\n"


def document(rules: Sequence[Rule]) -> str:
    """All rules, as docs/lint.md holds them."""
    return _INTRODUCTION + "\n" + "\n".join(explained(rule) for rule in rules)


def _flat(text: str) -> str:
    return " ".join(text.split())


def _indented(text: str) -> str:
    return "\n".join(f"    {line}".rstrip() for line in text.splitlines())
