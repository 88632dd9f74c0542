"""Prometheus rule files, as others write them: plain ones and Kubernetes' PrometheusRule, with line numbers.

Only the tree of nodes is made, and what is needed of it is read as text: no tag constructs anything,
`for: 5m` and a label `true` come as they are written, and an alias that would unfold to gigabytes is never
unfolded.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from runbooklib.errors import SettingsError

MOST_BYTES = 5_000_000
MOST_RULES = 20_000
_DEEPEST = 60
_DURATION = re.compile(r"(?:(\d+)(ms|[smhdwy]))")
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "y": 31536000}


@dataclass(frozen=True, slots=True)
class AlertRule:
    """One alerting rule; `line` is that of its `alert:` in `file`."""

    alert: str
    expression: str
    for_seconds: float
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    group: str
    file: str
    line: int


def read_rules(path: Path) -> tuple[AlertRule, ...]:
    """The alerting rules of a file, in its order. Raises SettingsError with file and line."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise SettingsError(f"{path} is larger than {MOST_BYTES:,} bytes", remedy="split it")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read: {error}", remedy="name a rule file") from None
    found = [rule for document in _documents(text, path) for rule in _rules(document, path, 0)]
    if len(found) > MOST_RULES:
        raise SettingsError(f"{path} has more than {MOST_RULES:,} alerts", remedy="split it")
    return tuple(found)


def _documents(text: str, path: Path) -> list[yaml.Node]:
    _refuse_depth(text, path)
    try:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        return [document for document in yaml.compose_all(text, Loader=loader) if document is not None]
    except yaml.MarkedYAMLError as error:
        line = (error.problem_mark.line + 1) if error.problem_mark else 1
        raise SettingsError(
            f"{path}:{line}: {error.problem or 'is no YAML'}", remedy="mend that line"
        ) from None
    except (yaml.YAMLError, RecursionError) as error:
        raise SettingsError(f"{path} is no YAML: {str(error).splitlines()[0]}", remedy="mend it") from None


def _refuse_depth(text: str, path: Path) -> None:
    """The parser of the C library has no bound on how deep a document is nested, and its stack has one."""
    depth = 0
    for number, line in enumerate(text.splitlines(), 1):
        depth = max(0, depth + line.count("[") + line.count("{") - line.count("]") - line.count("}"))
        indent = len(line) - len(line.lstrip(" "))
        dashes = len(line.lstrip(" ")) - len(line.lstrip(" -"))
        if depth > 1000 or indent > 4000 or dashes > 4000:
            raise SettingsError(f"{path}:{number}: is nested too deeply", remedy="write it flat")


def _rules(node: yaml.Node, path: Path, depth: int) -> Iterator[AlertRule]:
    """The rules below a document: `groups` at its top, in `spec`, or in each of a List's `items`."""
    if depth > _DEEPEST or (isinstance(node, yaml.ScalarNode) and not node.value):
        return
    fields = _fields(node)
    if isinstance(fields.get("groups"), yaml.SequenceNode):
        for group in fields["groups"].value:
            yield from _of_group(group, path)
    elif "spec" in fields:
        yield from _rules(fields["spec"], path, depth + 1)
    elif isinstance(fields.get("items"), yaml.SequenceNode):
        for item in fields["items"].value:
            yield from _rules(item, path, depth + 1)
    elif depth == 0:
        line = node.start_mark.line + 1
        raise SettingsError(f"{path}:{line}: has no `groups`", remedy="name a Prometheus rule file")


def _of_group(group: yaml.Node, path: Path) -> Iterator[AlertRule]:
    fields = _fields(group)
    rules = fields.get("rules")
    for rule in rules.value if isinstance(rules, yaml.SequenceNode) else ():
        told = _fields(rule)
        if "alert" in told:
            yield _rule(told, _scalar(fields.get("name")), path)


def _rule(told: Mapping[str, yaml.Node], group: str, path: Path) -> AlertRule:
    line = told["alert"].start_mark.line + 1
    alert, expression = _scalar(told["alert"]), _scalar(told.get("expr")).strip()
    if not alert or not expression:
        raise SettingsError(f"{path}:{line}: an alert needs a name and an `expr`", remedy="mend that rule")
    return AlertRule(
        alert=alert,
        expression=expression,
        for_seconds=_duration(_scalar(told.get("for")), path, line),
        labels=_texts(told.get("labels")),
        annotations=_texts(told.get("annotations")),
        group=group,
        file=str(path),
        line=line,
    )


def _fields(node: Any) -> dict[str, yaml.Node]:
    """The values of a mapping by its keys; empty for anything else."""
    if not isinstance(node, yaml.MappingNode):
        return {}
    return {key.value: value for key, value in node.value if isinstance(key, yaml.ScalarNode)}


def _scalar(node: yaml.Node | None) -> str:
    return str(node.value) if isinstance(node, yaml.ScalarNode) else ""


def _texts(node: yaml.Node | None) -> dict[str, str]:
    return {name: _scalar(value) for name, value in _fields(node).items()}


def _duration(text: str, path: Path, line: int) -> float:
    """Seconds of Prometheus' durations: 5m, 1h30m, 500ms, 0."""
    if text in ("", "0"):
        return 0.0
    parts = _DURATION.findall(text)
    if "".join(number + unit for number, unit in parts) != text:
        raise SettingsError(f"{path}:{line}: `for: {text[:40]}` is no duration", remedy="write it like 5m")
    return float(sum(int(number) * _SECONDS[unit] for number, unit in parts))
