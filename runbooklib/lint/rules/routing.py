"""Compares Alertmanager's routes and inhibitions with the alerts' labels: some can never match."""

import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runbooklib.errors import EvidenceError
from runbooklib.lint import inferred_labels
from runbooklib.lint.inferred_labels import Labels
from runbooklib.lint.line_numbers import Path
from runbooklib.lint.rule import Message, Needs, Rule, Severity
from runbooklib.lint.rules import queries
from runbooklib.lint.workspace import Material, PlacedRule, YamlFile

INVALID = Rule(
    "routing-invalid",
    Severity.ERROR,
    "Alertmanager can read its configuration.",
    "Checked with `amtool check-config`, if amtool is installed.",
    bad="receivers: [{name: a, nonsense_configs: []}]",
    good="receivers: [{name: a}]",
    needs=Needs.ROUTING,
)
ROUTE = Rule(
    "route-never-matches",
    Severity.ERROR,
    "At least one alert takes each route.",
    """A route sends nothing if no alert matches it, or if a route before it takes all these alerts without
`continue`. The labels of an alert are the labels of its rule, and the labels that its expression keeps.""",
    bad='matchers: [severity="fatal"]   # and no rule has severity: fatal',
    good='matchers: [severity="critical"]',
    needs=Needs.ROUTING,
)
INHIBITION = Rule(
    "inhibition-never-meets",
    Severity.ERROR,
    "An inhibition has a source and a target that agree in its `equal` labels.",
    """An aggregation drops `instance` and `job`. An alert on `sum(…)` does not have them, so it never agrees
with an alert that has them. (Two alerts that both lack a label agree in it.)""",
    bad='source_matchers: [alertname="HostDown"]\ntarget_matchers: [alertname="Errors"]\nequal: [instance]',
    good="equal: [cluster]",
    needs=Needs.ROUTING,
)
UNUSED = Rule(
    "receiver-unused",
    Severity.WARNING,
    "Each receiver is used by a route.",
    "The people behind this receiver expect notifications, and get none.",
    bad="receivers: [{name: on-call}, {name: old-team}]",
    good="receivers: [{name: on-call}]",
    needs=Needs.ROUTING,
)
RULES = (INVALID, ROUTE, INHIBITION, UNUSED)
_MATCHER = re.compile(r'\s*"?([a-zA-Z_][\w.]*)"?\s*(=~|!~|!=|=)\s*(?:"((?:[^"\\]|\\.)*)"|([^"]*?))\s*$')
_SECONDS = 20


@dataclass(frozen=True, slots=True)
class _Matcher:
    label: str
    operator: str
    value: str

    def matches(self, value: str) -> bool:
        if self.operator in ("=", "!="):
            return (value == self.value) is (self.operator == "=")
        return bool(re.fullmatch(self.value, value)) is (self.operator == "=~")

    def may(self, labels: Labels) -> bool:
        """Whether an alert with these labels may match."""
        values = labels.certain.get(self.label)
        if self.label in labels.certain:
            return values is None or any(self.matches(value) for value in values)
        return labels.may_have(self.label) or self.matches("")

    def must(self, labels: Labels) -> bool:
        """Whether an alert with these labels certainly matches."""
        values = labels.certain.get(self.label)
        if self.label in labels.certain:
            return values is not None and all(self.matches(value) for value in values)
        return not labels.may_have(self.label) and self.matches("")


def check(material: Material) -> Iterator[Message]:
    """The messages about Alertmanager's configuration. Raises EvidenceError if amtool does not answer."""
    if material.routing is None or material.rules is None:
        return
    routing = material.routing
    invalid = list(_check_with_amtool(routing))
    if invalid:
        yield from invalid
        return
    alerts = [_labels(placed_rule, material) for placed_rule in material.rules]
    route = routing.values.get("route")
    if isinstance(route, Mapping):
        yield from _check_routes(routing, route, ("route",), alerts)
    for number, rule in enumerate(_list(routing.values.get("inhibit_rules"))):
        yield from _check_inhibition(routing, rule, ("inhibit_rules", number), alerts)
    yield from _check_receivers(routing)


def has_amtool() -> bool:
    """Whether amtool is installed, which checks the configuration."""
    return shutil.which("amtool") is not None


def _check_with_amtool(routing: YamlFile) -> Iterator[Message]:
    if not has_amtool():
        return
    try:
        process = subprocess.run(
            ["amtool", "check-config", "--", str(routing.path)],
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise EvidenceError(
            f"amtool did not answer within {_SECONDS} s for {routing.file}",
            hint="run `amtool check-config` on it",
        ) from None
    if process.returncode:
        lines = (process.stderr + process.stdout).strip().splitlines()
        failed = next((line for line in lines if "FAILED" in line), lines[-1] if lines else "no reason given")
        line = re.search(r"line (\d+)", failed)
        yield INVALID.at(routing.file, int(line[1]) if line else 1, failed.partition("FAILED: ")[2] or failed)


def _labels(placed_rule: PlacedRule, material: Material) -> Labels:
    """The labels of the rule's alerts. The value of a static label with a template is unknown."""
    tree = queries.parse_or_none(placed_rule.rule.expression)
    labels = inferred_labels.NONE if tree is None else inferred_labels.labels_of(tree, material.catalogue)
    static = {
        name: None if "{{" in value else frozenset({value}) for name, value in placed_rule.rule.labels.items()
    }
    return labels.add({**static, "alertname": frozenset({placed_rule.rule.alert})})


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else ()


def _matchers(fields: Mapping[str, Any], *, prefix: str = "") -> list[_Matcher]:
    """The matchers of a route, or of an inhibition's source or target, in the old and the new syntax."""
    matchers = []
    for written in _list(fields.get(f"{prefix}matchers")):
        for part in re.split(r",(?=(?:[^\"]*\"[^\"]*\")*[^\"]*$)", str(written).strip("{} ")):
            match = _MATCHER.match(part)
            if match:
                matchers.append(_Matcher(match[1], match[2], match[3] if match[3] is not None else match[4]))
    for name, operator in ((f"{prefix}match", "="), (f"{prefix}match_re", "=~")):
        fields_by_label = fields.get(name)
        if isinstance(fields_by_label, Mapping):
            matchers += [
                _Matcher(str(label), operator, str(value)) for label, value in fields_by_label.items()
            ]
    return matchers


def _may_match(matchers: list[_Matcher], labels: Labels) -> bool:
    return all(matcher.may(labels) for matcher in matchers)


def _check_routes(
    routing: YamlFile, route: Mapping[str, Any], path: Path, alerts: list[Labels]
) -> Iterator[Message]:
    """The messages about the routes below a route; `alerts` are the labels of the alerts that take it."""
    left = alerts
    for number, below in enumerate(_list(route.get("routes"))):
        if not isinstance(below, Mapping):
            continue
        place, matchers = (*path, "routes", number), _matchers(below)
        taken = [labels for labels in left if _may_match(matchers, labels)]
        if not taken:
            condition = " and ".join(f'{m.label}{m.operator}"{m.value}"' for m in matchers)
            shadowed = any(_may_match(matchers, labels) for labels in alerts)
            reason = "a route before it takes all these alerts" if shadowed else "no alert has such labels"
            yield ROUTE.at(routing.file, routing.line(*place), f"{condition}: {reason}")
        else:
            yield from _check_routes(routing, below, place, taken)
        if below.get("continue") is not True:
            left = [labels for labels in left if not all(m.must(labels) for m in matchers)]


def _check_inhibition(routing: YamlFile, rule: Any, path: Path, alerts: list[Labels]) -> Iterator[Message]:
    if not isinstance(rule, Mapping):
        return
    sources, targets = _matchers(rule, prefix="source_"), _matchers(rule, prefix="target_")
    equal = [str(label) for label in _list(rule.get("equal"))]
    muting = [labels for labels in alerts if _may_match(sources, labels)]
    muted = [labels for labels in alerts if _may_match(targets, labels)]
    if not muting or not muted:
        side = "source" if not muting else "target"
        yield INHIBITION.at(routing.file, routing.line(*path), f"no alert matches its {side}")
        return
    if not any(
        _may_agree(source, target, equal) for source in muting for target in muted if source is not target
    ):
        never = [
            label for label in equal if not any(_may_agree(a, b, [label]) for a in muting for b in muted)
        ]
        text = f"no source and target agree in {', '.join(never or equal)}"
        yield INHIBITION.at(routing.file, routing.line(*path), text)


def _may_agree(source: Labels, target: Labels, equal: list[str]) -> bool:
    return all(_may_be_equal(source, target, label) for label in equal)


def _may_be_equal(source: Labels, target: Labels, label: str) -> bool:
    if source.may_lack(label) and target.may_lack(label):
        return True
    if not (source.may_have(label) and target.may_have(label)):
        return False
    first, second = source.certain.get(label), target.certain.get(label)
    return first is None or second is None or bool(first & second)


def _check_receivers(routing: YamlFile) -> Iterator[Message]:
    used = set(_receiver_names(routing.values.get("route")))
    for number, receiver in enumerate(_list(routing.values.get("receivers"))):
        name = str(receiver.get("name", "")) if isinstance(receiver, Mapping) else ""
        if name and name not in used:
            yield UNUSED.at(
                routing.file, routing.line("receivers", number), f"no route uses the receiver {name}"
            )


def _receiver_names(route: Any) -> Iterator[str]:
    if isinstance(route, Mapping):
        yield str(route.get("receiver", ""))
        for below in _list(route.get("routes")):
            yield from _receiver_names(below)
