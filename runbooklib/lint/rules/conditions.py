"""Checks the conditions of alert rules: valid PromQL whose result is not what its author expects."""

import math
import re
from collections.abc import Iterator
from typing import Any

import promql_parser

from runbooklib.lint import inferred_labels
from runbooklib.lint.metric_catalog import Catalogue
from runbooklib.lint.rule import Message, Needs, Rule, Severity
from runbooklib.lint.rules import queries
from runbooklib.lint.workspace import Material, PlacedRule
from runbooklib.promql.reading import COMPARISONS, number

BUCKETS = Rule(
    "unsummed-buckets",
    Severity.ERROR,
    "A quantile is taken over buckets that are summed by `le`.",
    """Without the sum there is a quantile for each series, and a single quiet endpoint is enough
for an alert. A sum without `le` gives no quantile, and the alert never fires. If a selector gives all
labels of the histogram, or if the catalogue does not contain it, only a lost `le` is reported.""",
    bad="expr: histogram_quantile(0.95, rate(http_request_duration_seconds_bucket[5m])) > 0.5",
    good="expr: histogram_quantile(0.95, sum by (le) (rate(http_request_duration_seconds_bucket[5m]))) > 0.5",
    needs=Needs.RULES,
)
RATIO = Rule(
    "ratio-without-floor",
    Severity.WARNING,
    "A condition on a share of a rate also requires a minimum of traffic.",
    """At night, one failed request of two is 50 %, and pages the on-call engineer. Add the rate from which
the share is meaningful.""",
    bad="expr: sum(rate(errors_total[5m])) / sum(rate(requests_total[5m])) > 0.05",
    good="""expr: |
  sum(rate(errors_total[5m])) / sum(rate(requests_total[5m])) > 0.05
    and sum(rate(requests_total[5m])) > 1""",
    needs=Needs.RULES,
)
THRESHOLD = Rule(
    "threshold-between-buckets",
    Severity.WARNING,
    "The threshold of a quantile is a bucket bound of its histogram.",
    """Between two bounds a quantile is interpolated: with buckets at 1 s and 2.5 s, whether
`> 2.0` fires depends on an estimate. Above the last finite bound it never fires, since no quantile is higher.
parameters/metrics.yaml lists the bounds.""",
    bad="expr: histogram_quantile(0.95, …) > 2.0  # buckets: … 1, 2.5, 5",
    good="expr: histogram_quantile(0.95, …) > 2.5",
    needs=Needs.RULES,
)
ABSENT = Rule(
    "up-without-absent",
    Severity.WARNING,
    "A condition `up == 0` also needs `absent(up)`.",
    """A target that is taken out of the configuration, or that service discovery no longer lists, has no `up`
that could be 0, and no alert fires. The `absent` may be in the same rule or in another rule.""",
    bad='expr: up{job="shop"} == 0',
    good='expr: up{job="shop"} == 0 or absent(up{job="shop"})',
    needs=Needs.RULES,
)
RATE = Rule(
    "rate-misdescribed",
    Severity.WARNING,
    "A text gives the value of a rate per second.",
    """rate() is per second, whatever its window. A text that gives the value for the last hour is
wrong by a factor of 3600.""",
    bad="""expr: sum(rate(tokens_total[1h])) > 10000
description: "{{ $value }} tokens in the last hour.\"""",
    good="""expr: sum(increase(tokens_total[1h])) > 10000
description: "{{ $value }} tokens in the last hour.\"""",
    needs=Needs.RULES,
)
RULES = (BUCKETS, RATIO, THRESHOLD, ABSENT, RATE)
_SPAN = r"(?:(?:last|past|per|each|every|an?|/)\s*(?:\d+\s*)?(?:hours?|minutes?|days?|h|min)\b|hourly)"
_VALUE_IN_SPAN = re.compile(
    rf"\$value[^.]*?\b{_SPAN}|\$value[^.]*?/\s*(?:hour|minute|h|min)\b", re.IGNORECASE
)


def check(material: Material) -> Iterator[Message]:
    """The messages about the conditions of the given rules."""
    trees = [
        (placed_rule, queries.parse_or_none(placed_rule.rule.expression))
        for placed_rule in material.rules or ()
    ]
    every = [tree for _, tree in trees if tree is not None]
    for placed_rule, tree in trees:
        if tree is None:
            continue
        for rule, text in (
            *_quantiles(tree, material.catalogue),
            *_ratios(tree),
            *_thresholds(tree, material.catalogue),
            *_check_up_conditions(tree, every),
        ):
            yield rule.at(placed_rule.file, placed_rule.line("expr"), f"{placed_rule.rule.alert}: {text}")
        yield from _descriptions(placed_rule, tree)


def _quantiles(tree: Any, catalogue: Catalogue | None) -> Iterator[tuple[Rule, str]]:
    for node in inferred_labels.walk(tree):
        if inferred_labels.is_call(node, "histogram_quantile"):
            yield from _buckets(inferred_labels.bare(node.args[1]), catalogue)


def _buckets(series: Any, catalogue: Catalogue | None) -> Iterator[tuple[Rule, str]]:
    names = [
        inferred_labels.name_of(node)
        for node in inferred_labels.walk(series)
        if isinstance(node, promql_parser.VectorSelector)
    ]
    if not any(name.endswith("_bucket") for name in names):
        return  # a native histogram, or a recorded series
    if not isinstance(series, promql_parser.AggregateExpr):
        split = _labels_of_series(series, catalogue)
        if split:
            yield BUCKETS, f"a quantile for each {', '.join(split)}: sum the buckets by (le) first"
        return
    grouping = tuple(series.modifier.labels) if series.modifier else ()
    is_without = series.modifier and series.modifier.type == promql_parser.AggModifierType.Without
    if ("le" in grouping) == bool(is_without):
        yield BUCKETS, "the sum has no `le`, which a quantile needs: add le to its `by`"


def _labels_of_series(series: Any, catalogue: Catalogue | None) -> list[str]:
    """The labels that divide it into several series; empty if the catalogue does not contain the metric."""
    if catalogue is None:
        return []
    labels = inferred_labels.labels_of(series, catalogue)
    labels_of_metric = labels.certain.keys() - {"le", *catalogue.target_labels}
    matched_labels = {
        matcher.name
        for node in inferred_labels.walk(series)
        if isinstance(node, promql_parser.VectorSelector)
        for matcher in node.matchers.matchers
        if matcher.op == promql_parser.MatchOp.Equal
    }
    return [] if labels.is_open else sorted(labels_of_metric - matched_labels)


def _ratios(tree: Any) -> Iterator[tuple[Rule, str]]:
    conditions = list(_or_operands(tree))
    for parts in conditions:
        shares = [part for part in parts if _is_share(part)]
        if shares and not any(_is_floor(part) for part in parts):
            yield RATIO, "the share has no minimum of traffic: add `and <rate of all requests> > <minimum>`"
            return


def _or_operands(node: Any) -> Iterator[list[Any]]:
    """The expression as alternatives (`or`) of conditions that must hold together (`and`)."""
    node = inferred_labels.bare(node)
    operator = str(node.op) if isinstance(node, promql_parser.BinaryExpr) else ""
    if operator == "or":
        yield from _or_operands(node.lhs)
        yield from _or_operands(node.rhs)
    elif operator == "and":
        for left in _or_operands(node.lhs):
            for right in _or_operands(node.rhs):
                yield [*left, *right]
    else:
        yield [node]


def _is_comparison(node: Any) -> bool:
    return isinstance(node, promql_parser.BinaryExpr) and str(node.op) in COMPARISONS


def _is_share(node: Any) -> bool:
    return _is_comparison(node) and any(
        isinstance(below, promql_parser.BinaryExpr)
        and str(below.op) == "/"
        and _counts_events(below.lhs)
        and _counts_events(below.rhs)
        for below in inferred_labels.walk(node)
    )


def _counts_events(node: Any) -> bool:
    """Whether a side of a division counts events. A sum of durations per event is not a share."""
    return inferred_labels.has_rate(node) and not any(
        inferred_labels.name_of(below).endswith("_sum")
        for below in inferred_labels.walk(node)
        if isinstance(below, promql_parser.VectorSelector)
    )


def _is_floor(node: Any) -> bool:
    is_more = _is_comparison(node) and str(node.op) in {">", ">="}
    return is_more and inferred_labels.has_rate(node) and not _is_share(node)


def _thresholds(tree: Any, catalogue: Catalogue | None) -> Iterator[tuple[Rule, str]]:
    for node in inferred_labels.walk(tree) if catalogue else ():
        if not _is_comparison(node) or not inferred_labels.is_call(
            inferred_labels.bare(node.lhs), "histogram_quantile"
        ):
            continue
        limit, bounds = number(node.rhs), _bounds(node.lhs, catalogue)
        if limit is None or not bounds or any(math.isclose(limit, bound) for bound in bounds):
            continue
        yield THRESHOLD, _bounds_text(limit, bounds)


def _bounds(quantile: Any, catalogue: Catalogue | None) -> tuple[float, ...]:
    names = [
        inferred_labels.name_of(node)
        for node in inferred_labels.walk(quantile)
        if isinstance(node, promql_parser.VectorSelector)
    ]
    metric = catalogue.find(names[0]) if catalogue and names else None
    return metric.buckets if metric else ()


def _bounds_text(limit: float, bounds: tuple[float, ...]) -> str:
    if limit > bounds[-1]:
        return f"{limit:g} is above the last bucket bound, {bounds[-1]:g}: no quantile is higher"
    above = next(bound for bound in bounds if bound > limit)
    below = max((bound for bound in bounds if bound < limit), default=0.0)
    return f"{limit:g} is between the bucket bounds {below:g} and {above:g}, where a quantile is an estimate"


def _check_up_conditions(tree: Any, every: list[Any]) -> Iterator[tuple[Rule, str]]:
    for node in inferred_labels.walk(tree):
        if not _is_comparison(node) or str(node.op) != "==" or number(node.rhs) != 0:
            continue
        selector = inferred_labels.bare(node.lhs)
        if isinstance(selector, promql_parser.VectorSelector) and inferred_labels.name_of(selector) == "up":
            required = _matchers(selector)
            absences = [matchers for other in every for matchers in _absences(other)]
            if not any(required >= matchers or matchers >= required for matchers in absences):
                matched_labels = ",".join(f'{name}{op}"{value}"' for name, op, value in sorted(required))
                hint = f"add `or absent(up{f'{{{matched_labels}}}' if matched_labels else ''})`"
                yield ABSENT, f"a removed target has no series `up`: {hint}"


def _absences(tree: Any) -> Iterator[frozenset[tuple[str, str, str]]]:
    for node in inferred_labels.walk(tree):
        if inferred_labels.is_call(node, "absent", "absent_over_time"):
            for below in inferred_labels.walk(node):
                if isinstance(below, promql_parser.VectorSelector) and inferred_labels.name_of(below) == "up":
                    yield _matchers(below)


def _matchers(selector: Any) -> frozenset[tuple[str, str, str]]:
    signs = {"Equal": "=", "NotEqual": "!=", "Re": "=~", "NotRe": "!~"}
    return frozenset(
        (matcher.name, signs[str(matcher.op).rpartition(".")[2]], matcher.value)
        for matcher in selector.matchers.matchers
        if matcher.name != "__name__"
    )


def _descriptions(placed_rule: PlacedRule, tree: Any) -> Iterator[Message]:
    value = inferred_labels.bare(tree)
    while _is_comparison(value) or isinstance(value, promql_parser.AggregateExpr | promql_parser.ParenExpr):
        value = value.expr if hasattr(value, "expr") else value.lhs
    if not inferred_labels.is_call(value, "rate", "irate"):
        return
    for name in ("summary", "description", "message"):
        if _VALUE_IN_SPAN.search(placed_rule.rule.annotations.get(name, "")):
            problem = f"the value is per second, but the {name} gives it for another duration"
            text = f"{placed_rule.rule.alert}: {problem}"
            yield RATE.at(placed_rule.file, placed_rule.line("annotations", name), text)
