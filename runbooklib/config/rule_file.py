"""Reads Prometheus rule files, plain or as Kubernetes' PrometheusRule, with line numbers.

Only the tree of YAML nodes is built, and scalars are read as text: no tag constructs an object, `for: 5m` and
a label `true` stay as they are written, and aliases are never expanded (they could expand to gigabytes).
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import yaml

from runbooklib.errors import SettingsError

MAX_BYTES = 5_000_000
MAX_RULES = 20_000
# The annotations of a rule have depth ten. The C parser has no limit: at depth 100,000 the process crashes.
_MAX_DEPTH = 100
_DURATION = re.compile(
    r"(?:(\d{1,9})y)?(?:(\d{1,9})w)?(?:(\d{1,9})d)?(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9})s)?(?:(\d{1,9})ms)?"
)
_SECONDS = (31536000, 604800, 86400, 3600, 60, 1, 0.001)


@dataclass(frozen=True, slots=True)
class AlertRule:
    """One alerting rule; `line` is the line of its `alert:` in `file`."""

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
    return tuple(rule for rule, _ in rules_with_nodes(read_text(path), path))


def rules_with_nodes(text: str, path: Path) -> tuple[tuple[AlertRule, yaml.MappingNode], ...]:
    """The alerting rules of a file's text, each with its YAML node, which has its position in the text.

    Raises SettingsError with file and line.
    """
    documents = _documents(text, path)
    groups = [group for document in documents for group in _groups(document, path)]
    if documents and not groups and not any(_has_groups(document) for document in documents):
        raise SettingsError(f"{path}:1: has no `groups`", hint="pass a Prometheus rule file")
    # With aliases a small file can stand for a million rules.
    rules = list(islice(_rules(groups, path), MAX_RULES + 1))
    if len(rules) > MAX_RULES:
        raise SettingsError(f"{path} has more than {MAX_RULES:,} rules", hint="split it")
    return tuple((_rule(fields, group, path), node) for fields, group, node in rules if "alert" in fields)


def read_text(path: Path) -> str:
    """The file's text, without a byte order mark. Raises SettingsError."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
        text = raw.decode("utf-8-sig")
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}", hint="pass a rule file") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{path} is not UTF-8 text", hint="pass a rule file") from None
    if len(raw) > MAX_BYTES:
        raise SettingsError(f"{path} is larger than {MAX_BYTES:,} bytes", hint="split it")
    return text


def _documents(text: str, path: Path) -> list[yaml.Node]:
    try:
        _refuse_depth(text, path)
        loaded = yaml.compose_all(text, Loader=yaml.CSafeLoader)
        return [document for document in loaded if not _is_empty(document)]
    except yaml.MarkedYAMLError as error:
        line = (error.problem_mark.line + 1) if error.problem_mark else 1
        is_helm = "{{" in "".join(text.splitlines()[line - 1 : line])
        hint = "render it with Helm first" if is_helm else "fix that line"
        raise SettingsError(f"{path}:{line}: {error.problem or 'is not valid YAML'}", hint=hint) from None
    except yaml.YAMLError as error:
        raise SettingsError(
            f"{path} is not valid YAML: {str(error).splitlines()[0]}", hint="fix the file"
        ) from None


def _refuse_depth(text: str, path: Path) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _MAX_DEPTH:
            line = (event.start_mark.line + 1) if event.start_mark else 1
            raise SettingsError(f"{path}:{line}: is nested too deeply", hint="reduce the nesting")


def _groups(document: yaml.Node, path: Path) -> list[yaml.Node]:
    """The groups of a document: at its top level, in a manifest's `spec`, or in those of a List's `items`."""
    fields = _fields(document, path)
    manifests = [fields]
    if _scalar(fields.get("kind")) == "List":
        manifests = [_fields(item, path) for item in _items(fields.get("items"), path)]
    groups = []
    for manifest in manifests:
        spec = manifest.get("spec")
        inner = _fields(spec, path) if isinstance(spec, yaml.MappingNode) else manifest
        groups += _items(inner.get("groups"), path)
    return groups


def _has_groups(document: yaml.Node) -> bool:
    """Whether a document without any group is still a rule file: `groups: []`."""
    return isinstance(document, yaml.MappingNode) and any(key.value == "groups" for key, _ in document.value)


def _rules(
    groups: list[yaml.Node], path: Path
) -> Iterator[tuple[dict[str, yaml.Node], str, yaml.MappingNode]]:
    """Each rule's fields, the name of its group, and its node."""
    for group in groups:
        fields = _fields(group, path)
        for rule in _items(fields.get("rules"), path):
            rule_fields = _fields(rule, path)
            if isinstance(rule, yaml.MappingNode):
                yield rule_fields, _scalar(fields.get("name")), rule


def _rule(fields: Mapping[str, yaml.Node], group: str, path: Path) -> AlertRule:
    line = fields["alert"].start_mark.line + 1
    alert, expression = _scalar(fields["alert"]), _scalar(fields.get("expr")).strip()
    if not alert or not expression:
        raise SettingsError(f"{path}:{line}: an alert needs a name and an `expr`", hint="fix that rule")
    return AlertRule(
        alert=alert,
        expression=expression,
        for_seconds=_duration(_scalar(fields.get("for")), path, line),
        labels=_texts(fields.get("labels"), path),
        annotations=_texts(fields.get("annotations"), path),
        group=group,
        file=str(path),
        line=line,
    )


def _fields(node: yaml.Node | None, path: Path) -> dict[str, yaml.Node]:
    """The values of a mapping by key; empty for an empty node. Raises SettingsError for any other node."""
    if _is_empty(node):
        return {}
    if not isinstance(node, yaml.MappingNode):
        raise _rule_file_error(node, path, "expected `name: value` lines")
    fields = {str(key.value): value for key, value in node.value}
    if "<<" in fields:
        raise _rule_file_error(
            fields["<<"], path, "merge keys are not supported; write the merged values out"
        )
    return fields


def _items(node: yaml.Node | None, path: Path) -> list[yaml.Node]:
    if _is_empty(node):
        return []
    if not isinstance(node, yaml.SequenceNode):
        raise _rule_file_error(node, path, "expected a list")
    return list(node.value)


def _texts(node: yaml.Node | None, path: Path) -> dict[str, str]:
    fields = _fields(node, path)
    for value in fields.values():
        if not isinstance(value, yaml.ScalarNode):
            raise _rule_file_error(value, path, "expected text")
    return {name: _scalar(value) for name, value in fields.items()}


def _scalar(node: yaml.Node | None) -> str:
    return str(node.value) if isinstance(node, yaml.ScalarNode) else ""


def _is_empty(node: yaml.Node | None) -> bool:
    return node is None or (isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null")


def _rule_file_error(node: yaml.Node | None, path: Path, problem: str) -> SettingsError:
    line = node.start_mark.line + 1 if node else 1
    return SettingsError(f"{path}:{line}: {problem}", hint="fix that line")


def _duration(text: str, path: Path, line: int) -> float:
    """A Prometheus duration (5m, 1h30m, 500ms, 0) in seconds."""
    if text in ("", "0"):
        return 0.0
    parts = _DURATION.fullmatch(text)
    if parts is None:
        raise SettingsError(f"{path}:{line}: `for: {text[:40]}` is not a duration", hint="write it like 5m")
    return float(sum(int(number or 0) * size for number, size in zip(parts.groups(), _SECONDS, strict=True)))
