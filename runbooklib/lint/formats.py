"""Messages as text, JSON and SARIF 2.1.0, and the rules as documentation."""

import json
from collections.abc import Iterable, Sequence
from importlib import metadata
from typing import Any

from runbooklib.lint.rule import Message, Rule

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_INTRODUCTION = """\
# The rules of `runbook lint`

Written by `runbook lint --explain all`. A comment silences a message, with a reason:

    # runbook-lint: ignore RULE because REASON

In YAML the comment is on the line of the message or on the line above; in a notebook it is anywhere in the
cell (in Markdown as `<!-- … -->`).
"""


def as_text(messages: Iterable[Message]) -> str:
    """A line each, in the form of a compiler's messages."""
    return "".join(f"{message}\n" for message in messages)


def as_json(messages: Iterable[Message]) -> str:
    """A list of objects: file, line, rule, severity, message."""
    objects = [
        {"file": m.file, "line": m.line, "rule": m.name, "severity": m.rule.severity.value, "message": m.text}
        for m in messages
    ]
    return json.dumps(objects, indent=2, ensure_ascii=False) + "\n"


def as_sarif(messages: Iterable[Message], rules: Sequence[Rule]) -> str:
    """SARIF 2.1.0, which code hosts read."""
    driver = {
        "name": "runbook lint",
        "version": metadata.version("runbooklib"),
        "rules": [_rule_description(rule) for rule in rules],
    }
    run = {"tool": {"driver": driver}, "results": [_result(message) for message in messages]}
    whole = {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}
    return json.dumps(whole, indent=2, ensure_ascii=False) + "\n"


def _rule_description(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.name,
        "shortDescription": {"text": rule.statement},
        "fullDescription": {"text": f"{rule.statement} {_join_lines(rule.why)}"},
        "help": {"text": explain(rule), "markdown": explain(rule)},
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


def explain(rule: Rule) -> str:
    """One rule in Markdown: its statement, the reason, a bad and a good example."""
    parts = [
        f"## {rule.name}",
        f"**{rule.statement}** {_join_lines(rule.why)}",
        f"{rule.severity.value.capitalize()}; needs {rule.needs.value}.",
        f"Bad:\n\n{_indent(rule.bad)}",
        f"Good:\n\n{_indent(rule.good)}",
    ]
    return "\n\n".join(parts) + "\n"


def document(rules: Sequence[Rule]) -> str:
    """The text of docs/lint.md: all rules."""
    return _INTRODUCTION + "\n" + "\n".join(explain(rule) for rule in rules)


def _join_lines(text: str) -> str:
    return " ".join(text.split())


def _indent(text: str) -> str:
    return "\n".join(f"    {line}".rstrip() for line in text.splitlines())
