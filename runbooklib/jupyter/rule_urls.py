"""The annotation `runbook_url` of each alert in a rule file: the link that opens its notebook.

Prometheus expands `{{ $labels.service | urlquery }}` when the alert fires. It has no template variable for
the start time, so the link has no `starts_at`, and the Jupyter server asks Alertmanager. Text is inserted
into the file, so that comments and layout stay. The file is not written if more than the links would change.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote, quote_plus, urlsplit

import yaml

from runbooklib import files
from runbooklib.config import runbooks
from runbooklib.config.rule_file import AlertRule, read_text, rules_with_nodes
from runbooklib.errors import InputError, SettingsError
from runbooklib.jupyter.alert_link import ALERT, ENVIRONMENT, OPEN, parameters_from_labels

ANNOTATION = "runbook_url"
_BYTE_ORDER = b"\xef\xbb\xbf"
_TEMPLATE = re.compile(r"\{\{")


@dataclass(frozen=True, slots=True)
class Edit:
    """Replacement text for the characters from `start` to `end`."""

    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class LinkedRules:
    """A rule file with its links: the URL of each rule, the alerts without a runbook, and the new text."""

    urls: tuple[tuple[AlertRule, str], ...]
    without: tuple[str, ...]
    text: str
    is_changed: bool


def checked_server(address: str) -> str:
    """The address of the Jupyter server, without a slash at its end. Raises InputError."""
    parts = urlsplit(address)
    is_plain = address.isascii() and address.isprintable() and not set(' "\\{}') & set(address)
    if parts.scheme not in ("http", "https") or not parts.netloc or not is_plain:
        raise InputError(
            f"{address[:80]!r} is not an address", hint="for example https://jupyter.example/user/oncall"
        )
    if parts.query or parts.fragment or "@" in parts.netloc:
        raise InputError(
            "the server's address contains more than host and path", hint="remove user, token, ? and #"
        )
    return address.rstrip("/")


def link_rules(path: Path, server: str, environment: str = "") -> LinkedRules:
    """The rule file's links, and its text with them. Raises InputError."""
    base, text = checked_server(server), read_text(path)
    known = set(runbooks.alerts())
    placed = rules_with_nodes(text, path)
    urls = {id(node): url_of(rule, base, environment) for rule, node in placed if rule.alert in known}
    edits = {}
    for rule, node in placed:
        if id(node) in urls:
            edit = _edit(rule, node, urls[id(node)], text)
            if edit and edit.start in edits:
                raise _insertion_error(rule)
            if edit:
                edits[edit.start] = edit
    new = _apply_edits(text, edits)
    wanted = [_with_url(rule, urls.get(id(node))) for rule, node in placed]
    _refuse_other_changes(new, wanted, path)
    return LinkedRules(
        urls=tuple((rule, urls[id(node)]) for rule, node in placed if id(node) in urls),
        without=tuple(dict.fromkeys(rule.alert for rule, _ in placed if rule.alert not in known)),
        text=new,
        is_changed=new != text,
    )


def url_of(rule: AlertRule, server: str, environment: str = "") -> str:
    """The link of a rule as a Prometheus template. Labels that the rule itself sets are literal text."""
    pairs = [f"{ALERT}={quote_plus(rule.alert)}"]
    pairs += [f"{ENVIRONMENT}={quote_plus(environment)}"] if environment else []
    for name in parameters_from_labels(runbooks.find(rule.alert)):
        label = rule.labels.get(name, "")
        value = quote_plus(label) if label and not _TEMPLATE.search(label) else _label_template(name)
        pairs.append(f"{quote(name)}={value}")
    return f"{server}/{OPEN}?{'&'.join(pairs)}"


def _label_template(name: str) -> str:
    return "{{ $labels." + name + " | urlquery }}"


def write(path: Path, links: LinkedRules) -> None:
    """Replace the file by the new text atomically. Raises InputError."""
    try:
        former = path.read_bytes()
        mark = _BYTE_ORDER if former.startswith(_BYTE_ORDER) else b""
        files.replace(path.resolve(), mark + links.text.encode("utf-8"), path.stat().st_mode & 0o777)
    except OSError as error:
        raise InputError(
            f"{path} cannot be written: {error.strerror}", hint="see the permissions of its folder"
        ) from None


def _with_url(rule: AlertRule, url: str | None) -> AlertRule:
    return replace(rule, annotations={**rule.annotations, ANNOTATION: url}) if url else rule


def _refuse_other_changes(text: str, wanted: list[AlertRule], path: Path) -> None:
    """Raise InputError if the new text has other rules than the wanted ones."""
    try:
        rules = [rule for rule, _ in rules_with_nodes(text, path)]
    except SettingsError:
        rules = []
    for rule, wanted_rule in zip(rules, wanted, strict=False):
        if replace(rule, line=0) != replace(wanted_rule, line=0):
            raise _insertion_error(wanted_rule)
    if len(rules) != len(wanted):
        raise InputError(f"{path}: the links cannot be inserted", hint="write the annotations by hand")


def _insertion_error(rule: AlertRule) -> InputError:
    return InputError(
        f"{rule.file}:{rule.line}: the link of {rule.alert} cannot be inserted without another change",
        hint="write each of its annotations on its own line, without a YAML alias",
    )


def _apply_edits(text: str, edits: Mapping[int, Edit]) -> str:
    for _, edit in sorted(edits.items(), reverse=True):
        text = text[: edit.start] + edit.text + text[edit.end :]
    return text


def _edit(rule: AlertRule, node: yaml.MappingNode, url: str, text: str) -> Edit | None:
    """The edit that gives the rule this URL; None if it already has it."""
    if rule.annotations.get(ANNOTATION) == url:
        return None
    fields = dict(_fields(node))
    annotations, line = fields.get("annotations"), f"{ANNOTATION}: {json.dumps(url)}"
    if annotations is None:
        return _edit_adding_annotations(node, fields["alert"], line, text)
    if isinstance(annotations, yaml.MappingNode):
        url_node = dict(_fields(annotations)).get(ANNOTATION)
        if url_node:
            return _edit_replacing_url(url_node, url, text)
        return _edit_adding_url(annotations, line, text)
    start, end = annotations.start_mark.index, annotations.end_mark.index
    return Edit(start, end, f"{'' if end > start else ' '}{{{line}}}")  # an empty `annotations:`


def _edit_replacing_url(url_node: yaml.Node, url: str, text: str) -> Edit:
    start, end = url_node.start_mark.index, url_node.end_mark.index
    is_block = text[start : start + 1] in ("|", ">")
    gap = " " if text[start - 1 : start] == ":" else ""
    return Edit(start, end, f"{gap}{json.dumps(url)}{_line_break(text) if is_block else ''}")


def _edit_adding_url(annotations: yaml.MappingNode, line: str, text: str) -> Edit:
    """An edit before the first annotation. A comment after the last may be about something else."""
    start = annotations.start_mark.index
    if annotations.flow_style:
        return Edit(start + 1, start + 1, line + (", " if annotations.value else ""))
    return Edit(start, start, f"{line}{_line_break(text)}{' ' * annotations.start_mark.column}")


def _edit_adding_annotations(node: yaml.MappingNode, alert: yaml.Node, line: str, text: str) -> Edit:
    """An edit that adds annotations below the line of the alert's name."""
    end = alert.end_mark.index
    if node.flow_style:
        return Edit(end, end, f", annotations: {{{line}}}")
    rest = text.find("\n", end)
    place, indent, new = rest + 1 if rest >= 0 else len(text), " " * node.start_mark.column, _line_break(text)
    before = "" if rest >= 0 else new
    return Edit(place, place, f"{before}{indent}annotations:{new}{indent}  {line}{new}")


def _fields(node: yaml.MappingNode) -> Iterator[tuple[str, yaml.Node]]:
    for key, value in node.value:
        yield str(key.value), value


def _line_break(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"
