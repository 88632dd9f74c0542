"""Checks PromQL expressions: syntax, and metrics and labels that do not exist."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import promql_parser

from runbooklib.errors import ParameterError
from runbooklib.lint import inferred_labels
from runbooklib.lint.metric_catalog import Catalogue
from runbooklib.lint.rule import Message, Rule, Severity
from runbooklib.lint.workspace import Material
from runbooklib.promql import reading

SYNTAX = Rule(
    "promql-syntax",
    Severity.ERROR,
    "Every expression is valid PromQL.",
    "Prometheus refuses the whole rule file for one invalid expression, and none of its alerts fires.",
    bad='expr: sum(rate(http_requests_total{status_code=~"5.."}[5m])',
    good='expr: sum(rate(http_requests_total{status_code=~"5.."}[5m]))',
)
METRIC = Rule(
    "unknown-metric",
    Severity.ERROR,
    "An expression uses metrics that exist.",
    """An expression over a metric that no target exports has an empty result, and an alert on it never fires.
parameters/metrics.yaml lists the metrics. A name is compared with this list if it begins with a family of
the list (like `http_request`) or is similar to a listed name. Other names are not checked, so that rules
for other exporters pass; with `--live` Prometheus is asked about them.""",
    bad="expr: sum(http_requests_in_progres) > 100",
    good="expr: sum(http_requests_in_progress) > 100",
)
LABEL = Rule(
    "unknown-label",
    Severity.ERROR,
    "An expression uses labels and label values that the metric has.",
    """A matcher on a label that the series do not have matches no series, and an aggregation by such a label
gives a single group. Only the metrics of parameters/metrics.yaml are checked, and no selector of a job
that this file does not list.""",
    bad='expr: sum by (path) (rate(http_requests_total{code="500"}[5m])) > 1',
    good='expr: sum by (endpoint) (rate(http_requests_total{status_code="500"}[5m])) > 1',
)
RULES = (SYNTAX, METRIC, LABEL)


@dataclass(frozen=True)
class Query:
    """An expression, its file and line, and the alert or the parameter that uses it (`asker`)."""

    text: str
    file: str
    line: int
    asker: str


def queries(material: Material) -> Iterator[Query]:
    """All expressions of rules, notebooks and environments, without copies of a rule's expression."""
    for placed_rule in material.rules or ():
        yield Query(
            placed_rule.rule.expression, placed_rule.file, placed_rule.line("expr"), placed_rule.rule.alert
        )
    for notebook in material.notebooks:
        parameter = notebook.declared.get("expression")
        if parameter is not None and parameter.type is str:
            line = notebook.line_of_parameter("expression")
            yield from _parameter(material, str(parameter.default), notebook.file, line, notebook.alerts)
    for source in material.parameters:
        expression = source.values.get("expression")
        if isinstance(expression, str):
            line = source.line("expression")
            yield from _parameter(material, expression, source.file, line, (source.path.stem,))
    for site in material.sites:
        user_count_query = site.environment.escalation.affected_users_query
        if user_count_query:
            line = site.source.line("escalation", "affected_users_query")
            yield Query(user_count_query, site.source.file, line, "affected_users_query")


def _parameter(
    material: Material, text: str, file: str, line: int, alerts: tuple[str, ...]
) -> Iterator[Query]:
    """The query, unless it equals its rule's expression: then the message is about the rule."""
    formatted = pretty(text)
    if text and not any(
        formatted == pretty(placed_rule.rule.expression)
        for alert in alerts
        for placed_rule in material.rules_of(alert)
    ):
        yield Query(text, file, line, "expression")


def pretty(text: str) -> str:
    """The expression as the parser writes it; unchanged if it does not parse."""
    try:
        return reading.one_line(text)
    except ParameterError:
        return text.strip()


def parse_or_none(text: str) -> Any:
    """The expression's tree, or None if it does not parse: the syntax has its own message."""
    try:
        return reading.parse(text)
    except ParameterError:
        return None


def check(material: Material) -> Iterator[Message]:
    """The messages about expressions."""
    for query in queries(material):
        try:
            tree = reading.parse(query.text)
        except ParameterError as error:
            yield SYNTAX.at(query.file, query.line, f"{query.asker}: {error.message}")
            continue
        if material.catalogue:
            yield from _unknown_names(query, tree, material.catalogue)


def _unknown_names(query: Query, tree: Any, catalogue: Catalogue) -> Iterator[Message]:
    faults: dict[str, Rule] = {}
    for node in inferred_labels.walk(tree):
        if isinstance(node, promql_parser.VectorSelector):
            faults |= dict(_of_selector(node, catalogue))
        elif isinstance(node, promql_parser.AggregateExpr):
            faults |= dict(_of_grouping(node, catalogue))
    for text, rule in faults.items():
        yield rule.at(query.file, query.line, f"{query.asker}: {text}")


def _of_selector(selector: Any, catalogue: Catalogue) -> Iterator[tuple[str, Rule]]:
    name, matchers = inferred_labels.name_of(selector), selector.matchers.matchers
    if not name or not _has_known_jobs(matchers, catalogue):
        return
    labels = catalogue.labels(name)
    if catalogue.find(name) is None and catalogue.speaks_for(name):
        near = catalogue.nearest(name)
        hint = f"did you mean {near}?" if near else "add it to parameters/metrics.yaml if it exists"
        yield f"the metric {name} does not exist: {hint}", METRIC
    if labels is None:
        return
    for matcher in matchers:
        values = labels.get(matcher.name)
        if matcher.name not in {*labels, "__name__"}:
            yield f"{name} has no label {matcher.name}: it has {_join_names(labels)}", LABEL
        elif values and matcher.op == promql_parser.MatchOp.Equal and matcher.value not in values:
            yield f"{matcher.name} of {name} is never {matcher.value!r}: it is {_join_names(values)}", LABEL


def _of_grouping(node: Any, catalogue: Catalogue) -> Iterator[tuple[str, Rule]]:
    if node.modifier is None or node.modifier.type != promql_parser.AggModifierType.By:
        return
    inner = inferred_labels.labels_of(node.expr, catalogue)
    for label in node.modifier.labels:
        if not inner.may_have(label):
            yield (
                f"grouped by {label}, which the series inside do not have: {_join_names(inner.certain)}",
                LABEL,
            )


def _has_known_jobs(matchers: Any, catalogue: Catalogue) -> bool:
    jobs = [m.value for m in matchers if m.name == "job" and m.op == promql_parser.MatchOp.Equal]
    return all(job in catalogue.jobs for job in jobs)


def _join_names(names: Any) -> str:
    return ", ".join(sorted(names)) or "none"
