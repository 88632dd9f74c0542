"""Prometheus rule files, as others write them: plain ones and Kubernetes' PrometheusRule, with line numbers.

Only the tree of nodes is made, and what is needed of it is read as text: no tag constructs anything,
`for: 5m` and a label `true` come as they are written, and an alias that would unfold to gigabytes is never
unfolded.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import yaml

from runbooklib.errors import SettingsError

MOST_BYTES = 5_000_000
MOST_RULES = 20_000
# A rule's annotations lie ten deep. The C library has no bound of its own: at 100,000 the process dies.
_MOST_DEEP = 100
_DURATION = re.compile(
    r"(?:(\d{1,9})y)?(?:(\d{1,9})w)?(?:(\d{1,9})d)?(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9})s)?(?:(\d{1,9})ms)?"
)
_SECONDS = (31536000, 604800, 86400, 3600, 60, 1, 0.001)


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
    return tuple(rule for rule, _ in placed_rules(read_text(path), path))


def placed_rules(text: str, path: Path) -> tuple[tuple[AlertRule, yaml.MappingNode], ...]:
    """The alerting rules of a file's text, each with its node, which knows where in the text it stands.

    Raises SettingsError with file and line.
    """
    documents = _documents(text, path)
    groups = [group for document in documents for group in _groups(document, path)]
    if documents and not groups and not any(_is_of_groups(document) for document in documents):
        raise SettingsError(f"{path}:1: has no `groups`", remedy="name a Prometheus rule file")
    # An alias may stand for a thousand rules, a thousand times.
    rules = list(islice(_rules(groups, path), MOST_RULES + 1))
    if len(rules) > MOST_RULES:
        raise SettingsError(f"{path} has more than {MOST_RULES:,} rules", remedy="split it")
    return tuple((_rule(told, group, path), node) for told, group, node in rules if "alert" in told)


def read_text(path: Path) -> str:
    """The file's text, without a mark of its byte order. Raises SettingsError."""
    try:
        with path.open("rb") as file:
            raw = file.read(MOST_BYTES + 1)
        text = raw.decode("utf-8-sig")
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}", remedy="name a rule file") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{path} is not UTF-8 text", remedy="name a rule file") from None
    if len(raw) > MOST_BYTES:
        raise SettingsError(f"{path} is larger than {MOST_BYTES:,} bytes", remedy="split it")
    return text


def _documents(text: str, path: Path) -> list[yaml.Node]:
    try:
        _refuse_depth(text, path)
        loaded = yaml.compose_all(text, Loader=yaml.CSafeLoader)
        return [document for document in loaded if not _is_empty(document)]
    except yaml.MarkedYAMLError as error:
        line = (error.problem_mark.line + 1) if error.problem_mark else 1
        is_helm = "{{" in "".join(text.splitlines()[line - 1 : line])
        remedy = "render it with Helm first" if is_helm else "mend that line"
        raise SettingsError(f"{path}:{line}: {error.problem or 'is no YAML'}", remedy=remedy) from None
    except yaml.YAMLError as error:
        raise SettingsError(f"{path} is no YAML: {str(error).splitlines()[0]}", remedy="mend it") from None


def _refuse_depth(text: str, path: Path) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _MOST_DEEP:
            line = (event.start_mark.line + 1) if event.start_mark else 1
            raise SettingsError(f"{path}:{line}: is nested too deeply", remedy="write it flat")


def _groups(document: yaml.Node, path: Path) -> list[yaml.Node]:
    """The groups of a document: at its top, in a manifest's `spec`, or in those of a List's `items`."""
    fields = _fields(document, path)
    manifests = [fields]
    if _scalar(fields.get("kind")) == "List":
        manifests = [_fields(item, path) for item in _items(fields.get("items"), path)]
    found = []
    for manifest in manifests:
        spec = manifest.get("spec")
        inner = _fields(spec, path) if isinstance(spec, yaml.MappingNode) else manifest
        found += _items(inner.get("groups"), path)
    return found


def _is_of_groups(document: yaml.Node) -> bool:
    """Whether a document without a group is a rule file all the same: `groups: []`."""
    return isinstance(document, yaml.MappingNode) and any(key.value == "groups" for key, _ in document.value)


def _rules(
    groups: list[yaml.Node], path: Path
) -> Iterator[tuple[dict[str, yaml.Node], str, yaml.MappingNode]]:
    """Each rule's fields, the name of its group, and its node."""
    for group in groups:
        fields = _fields(group, path)
        for rule in _items(fields.get("rules"), path):
            told = _fields(rule, path)
            if isinstance(rule, yaml.MappingNode):
                yield told, _scalar(fields.get("name")), rule


def _rule(told: Mapping[str, yaml.Node], group: str, path: Path) -> AlertRule:
    line = told["alert"].start_mark.line + 1
    alert, expression = _scalar(told["alert"]), _scalar(told.get("expr")).strip()
    if not alert or not expression:
        raise SettingsError(f"{path}:{line}: an alert needs a name and an `expr`", remedy="mend that rule")
    return AlertRule(
        alert=alert,
        expression=expression,
        for_seconds=_duration(_scalar(told.get("for")), path, line),
        labels=_texts(told.get("labels"), path),
        annotations=_texts(told.get("annotations"), path),
        group=group,
        file=str(path),
        line=line,
    )


def _fields(node: yaml.Node | None, path: Path) -> dict[str, yaml.Node]:
    """The values of a mapping by its keys; none for nothing. Raises SettingsError for anything else."""
    if _is_empty(node):
        return {}
    if not isinstance(node, yaml.MappingNode):
        raise _wrong(node, path, "`name: value` lines belong here")
    found = {str(key.value): value for key, value in node.value}
    if "<<" in found:
        raise _wrong(found["<<"], path, "merge keys are not read: write out what is merged")
    return found


def _items(node: yaml.Node | None, path: Path) -> list[yaml.Node]:
    if _is_empty(node):
        return []
    if not isinstance(node, yaml.SequenceNode):
        raise _wrong(node, path, "a list belongs here")
    return list(node.value)


def _texts(node: yaml.Node | None, path: Path) -> dict[str, str]:
    fields = _fields(node, path)
    for value in fields.values():
        if not isinstance(value, yaml.ScalarNode):
            raise _wrong(value, path, "text belongs here")
    return {name: _scalar(value) for name, value in fields.items()}


def _scalar(node: yaml.Node | None) -> str:
    return str(node.value) if isinstance(node, yaml.ScalarNode) else ""


def _is_empty(node: yaml.Node | None) -> bool:
    return node is None or (isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null")


def _wrong(node: yaml.Node | None, path: Path, told: str) -> SettingsError:
    line = node.start_mark.line + 1 if node else 1
    return SettingsError(f"{path}:{line}: {told}", remedy="mend that line")


def _duration(text: str, path: Path, line: int) -> float:
    """Seconds of Prometheus' durations: 5m, 1h30m, 500ms, 0."""
    if text in ("", "0"):
        return 0.0
    parts = _DURATION.fullmatch(text)
    if parts is None:
        raise SettingsError(f"{path}:{line}: `for: {text[:40]}` is no duration", remedy="write it like 5m")
    return float(sum(int(number or 0) * size for number, size in zip(parts.groups(), _SECONDS, strict=True)))
