"""PromQL that cannot answer: it does not parse, or asks for metrics and labels that there are not."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import promql_parser

from runbooklib import promql
from runbooklib.errors import ParameterError
from runbooklib.lint import inferred_labels
from runbooklib.lint.metric_catalog import Catalogue
from runbooklib.lint.rule import Message, Rule, Severity
from runbooklib.lint.workspace import Material

SYNTAX = Rule(
    "promql-syntax",
    Severity.ERROR,
    "Every expression is PromQL.",
    "Prometheus refuses a rule file with one bad expression whole, and then no alert of it fires.",
    bad='expr: sum(rate(http_requests_total{status_code=~"5.."}[5m])',
    good='expr: sum(rate(http_requests_total{status_code=~"5.."}[5m]))',
)
METRIC = Rule(
    "unknown-metric",
    Severity.ERROR,
    "An expression asks for metrics that exist.",
    """An expression over a metric that nobody exports answers nothing, for ever, and an alert on it never
fires. parameters/metrics.yaml lists the metrics. It is asked about names of the families that it claims
(a family is a beginning, like `http_request`) and about names that are nearly one that it lists. Other
names are not judged, so rules that were written for other exporters pass; `--live` asks the server
about those.""",
    bad="expr: sum(http_requests_in_progres) > 100",
    good="expr: sum(http_requests_in_progress) > 100",
)
LABEL = Rule(
    "unknown-label",
    Severity.ERROR,
    "An expression uses labels, and values of labels, that the metric has.",
    """A matcher on a label that the series lack matches none of them, and an aggregation by one gives a
single group. Judged for the metrics of parameters/metrics.yaml; a selector of a job that the catalogue does
not speak for is left alone.""",
    bad='expr: sum by (path) (rate(http_requests_total{code="500"}[5m])) > 1',
    good='expr: sum by (endpoint) (rate(http_requests_total{status_code="500"}[5m])) > 1',
)
RULES = (SYNTAX, METRIC, LABEL)


@dataclass(frozen=True)
class Query:
    """An expression, where it stands and who asks it."""

    text: str
    file: str
    line: int
    asker: str


def queries(material: Material) -> Iterator[Query]:
    """Every expression: of the rules, of notebooks that do not merely repeat their rule, of environments."""
    for placed in material.rules or ():
        yield Query(placed.rule.expression, placed.file, placed.line("expr"), placed.rule.alert)
    for notebook in material.notebooks:
        parameter = notebook.declared.get("expression")
        if parameter is not None and parameter.type is str:
            line = notebook.line_of_parameter("expression")
            yield from _parameter(material, str(parameter.default), notebook.file, line, notebook.alerts)
    for source in material.parameters:
        written = source.values.get("expression")
        if isinstance(written, str):
            line = source.line("expression")
            yield from _parameter(material, written, source.file, line, (source.path.stem,))
    for site in material.sites:
        asked = site.environment.escalation.affected_users_query
        if asked:
            line = site.source.line("escalation", "affected_users_query")
            yield Query(asked, site.source.file, line, "affected_users_query")


def _parameter(
    material: Material, text: str, file: str, line: int, alerts: tuple[str, ...]
) -> Iterator[Query]:
    """The query, unless a rule says it too: then what is wrong with it is said of the rule."""
    told = pretty(text)
    if text and not any(
        told == pretty(placed.rule.expression) for alert in alerts for placed in material.rules_of(alert)
    ):
        yield Query(text, file, line, "expression")


def pretty(text: str) -> str:
    """The expression as the parser writes it; as it is, where it does not parse."""
    try:
        return promql.one_line(text)
    except ParameterError:
        return text.strip()


def parsed(text: str) -> Any:
    """The expression's tree, or None where it does not parse: that is a message of its own."""
    try:
        return promql.parse(text)
    except ParameterError:
        return None


def check(material: Material) -> Iterator[Message]:
    """What is wrong with the expressions by themselves."""
    for query in queries(material):
        try:
            tree = promql.parse(query.text)
        except ParameterError as error:
            yield SYNTAX.at(query.file, query.line, f"{query.asker}: {error.message}")
            continue
        if material.catalogue:
            yield from _unknown(query, tree, material.catalogue)


def _unknown(query: Query, tree: Any, catalogue: Catalogue) -> Iterator[Message]:
    found: dict[str, Rule] = {}
    for node in inferred_labels.walk(tree):
        if isinstance(node, promql_parser.VectorSelector):
            found |= dict(_of_selector(node, catalogue))
        elif isinstance(node, promql_parser.AggregateExpr):
            found |= dict(_of_grouping(node, catalogue))
    for text, rule in found.items():
        yield rule.at(query.file, query.line, f"{query.asker}: {text}")


def _of_selector(selector: Any, catalogue: Catalogue) -> Iterator[tuple[str, Rule]]:
    name, matchers = inferred_labels.name_of(selector), selector.matchers.matchers
    if not name or not _is_ours(matchers, catalogue):
        return
    labels = catalogue.labels(name)
    if catalogue.find(name) is None and catalogue.speaks_for(name):
        near = catalogue.nearest(name)
        hint = f"did you mean {near}?" if near else "add it to parameters/metrics.yaml if it exists"
        yield f"there is no metric {name}: {hint}", METRIC
    if labels is None:
        return
    for matcher in matchers:
        values = labels.get(matcher.name)
        if matcher.name not in {*labels, "__name__"}:
            yield f"{name} has no label {matcher.name}: it has {_listed(labels)}", LABEL
        elif values and matcher.op == promql_parser.MatchOp.Equal and matcher.value not in values:
            yield f"{matcher.name} of {name} is never {matcher.value!r}: it is {_listed(values)}", LABEL


def _of_grouping(node: Any, catalogue: Catalogue) -> Iterator[tuple[str, Rule]]:
    if node.modifier is None or node.modifier.type != promql_parser.AggModifierType.By:
        return
    inner = inferred_labels.labels_of(node.expr, catalogue)
    for label in node.modifier.labels:
        if not inner.may_have(label):
            yield f"grouped by {label}, which the series inside do not carry: {_listed(inner.certain)}", LABEL


def _is_ours(matchers: Any, catalogue: Catalogue) -> bool:
    jobs = [one.value for one in matchers if one.name == "job" and one.op == promql_parser.MatchOp.Equal]
    return all(job in catalogue.jobs for job in jobs)


def _listed(names: Any) -> str:
    return ", ".join(sorted(names)) or "none"
