"""Walks the tree of a PromQL expression, and infers the labels of the resulting series."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import promql_parser

from runbooklib.lint.metric_catalog import Catalogue
from runbooklib.promql.reading import number

# Aggregations that select series and keep their labels, and functions whose result has no labels.
_PICKING = {"topk", "bottomk", "limitk", "limit_ratio"}
_WITHOUT_LABELS = {"scalar", "time", "vector", "pi"}
_RATES = {"rate", "irate", "increase"}


@dataclass(frozen=True, slots=True)
class Labels:
    """The labels of series: `certain` with all their values (None: any value), and `doubtful`.

    `is_open`: there may be other labels, because the metric is not in the catalogue.
    """

    certain: Mapping[str, frozenset[str] | None]
    doubtful: frozenset[str] = frozenset()
    is_open: bool = False

    def may_have(self, label: str) -> bool:
        """Whether a series may have the label."""
        return label in self.certain or label in self.doubtful or self.is_open

    def may_lack(self, label: str) -> bool:
        """Whether a series may be without the label."""
        return label not in self.certain

    def keep(self, labels: frozenset[str]) -> "Labels":
        """Only those labels."""
        certain = {label: values for label, values in self.certain.items() if label in labels}
        maybe = {label for label in labels - certain.keys() if self.may_have(label)}
        return Labels(certain, frozenset(maybe))

    def drop(self, labels: frozenset[str]) -> "Labels":
        """All but those labels."""
        certain = {label: values for label, values in self.certain.items() if label not in labels}
        return Labels(certain, self.doubtful - labels, self.is_open)

    def add(self, certain: Mapping[str, frozenset[str] | None]) -> "Labels":
        """The labels with these in addition; these replace labels of the same name."""
        return Labels({**self.certain, **certain}, self.doubtful - certain.keys(), self.is_open)

    def either(self, other: "Labels") -> "Labels":
        """The labels of a series that is from either side."""
        both = self.certain.keys() & other.certain.keys()
        certain = {label: _union(self.certain[label], other.certain[label]) for label in both}
        every = self.certain.keys() | other.certain.keys() | self.doubtful | other.doubtful
        return Labels(certain, frozenset(every - both), self.is_open or other.is_open)


NONE = Labels({})


def _union(left: frozenset[str] | None, right: frozenset[str] | None) -> frozenset[str] | None:
    return None if left is None or right is None else left | right


def children(node: Any) -> Iterator[Any]:
    """The expressions directly below."""
    for name in ("lhs", "rhs", "expr", "vector_selector"):
        child = getattr(node, name, None)
        if child is not None:
            yield child
    yield from getattr(node, "args", ())


def walk(node: Any) -> Iterator[Any]:
    """The expression and all below it, in the order of the text."""
    yield node
    for child in children(node):
        yield from walk(child)


def bare(node: Any) -> Any:
    """The expression without its outer parentheses."""
    while isinstance(node, promql_parser.ParenExpr):
        node = node.expr
    return node


def is_call(node: Any, *names: str) -> bool:
    """Whether this is a call of one of these functions."""
    return isinstance(node, promql_parser.Call) and node.func.name in names


def has_rate(node: Any) -> bool:
    """Whether the expression contains a rate or an increase."""
    return any(is_call(below, *_RATES) for below in walk(node))


def labels_of(node: Any, catalogue: Catalogue | None) -> Labels:
    """The labels of the series that the expression returns."""
    match node:
        case promql_parser.VectorSelector():
            return _of_selector(node, catalogue)
        case promql_parser.MatrixSelector():
            return _of_selector(node.vector_selector, catalogue)
        case promql_parser.AggregateExpr():
            return _of_aggregation(node, labels_of(node.expr, catalogue))
        case promql_parser.Call():
            return _of_call(node, catalogue)
        case promql_parser.BinaryExpr():
            return _of_pair(node, labels_of(node.lhs, catalogue), labels_of(node.rhs, catalogue))
        case promql_parser.ParenExpr() | promql_parser.UnaryExpr() | promql_parser.SubqueryExpr():
            return labels_of(node.expr, catalogue)
    return NONE


def name_of(selector: Any) -> str:
    """The metric that a selector names; empty if it names none, or only a pattern."""
    names = [m.value for m in selector.matchers.matchers if m.name == "__name__" and _is_equal(m)]
    return str(selector.name or (names[0] if names else ""))


def _is_equal(matcher: Any) -> bool:
    return bool(matcher.op == promql_parser.MatchOp.Equal)


def _of_selector(selector: Any, catalogue: Catalogue | None) -> Labels:
    known = catalogue.labels(name_of(selector)) if catalogue else None
    matched_labels = {
        matcher.name: frozenset({matcher.value})
        for matcher in selector.matchers.matchers
        if _is_equal(matcher) and matcher.value and matcher.name != "__name__"
    }
    return Labels({**(known or {}), **matched_labels}, is_open=known is None)


def _of_aggregation(node: Any, inner: Labels) -> Labels:
    if str(node.op) in _PICKING:
        return inner
    grouping = frozenset(node.modifier.labels) if node.modifier else frozenset()
    without = node.modifier and node.modifier.type == promql_parser.AggModifierType.Without
    kept = inner.drop(grouping) if without else inner.keep(grouping)
    return kept.add({node.param.val: None}) if str(node.op) == "count_values" else kept


def _of_call(node: Any, catalogue: Catalogue | None) -> Labels:
    if node.func.name in _WITHOUT_LABELS:
        return NONE
    if node.func.name in {"absent", "absent_over_time"}:
        return Labels(dict(labels_of(node.args[0], None).certain))
    inner = next((labels for arg in node.args if (labels := labels_of(arg, catalogue)) != NONE), NONE)
    if is_call(node, "histogram_quantile"):
        return inner.drop(frozenset({"le"}))
    if is_call(node, "label_replace", "label_join"):
        label = str(node.args[1].val)
        return inner.drop(frozenset({label})).either(inner.add({label: None}))
    return inner


def _of_pair(node: Any, left: Labels, right: Labels) -> Labels:
    operator, modifier = str(node.op), node.modifier
    if operator in {"and", "unless"}:
        return left
    if operator == "or":
        return left.either(right)
    for operand, other in ((node.lhs, right), (node.rhs, left)):
        if number(operand) is not None or is_call(bare(operand), "scalar", "time"):
            return other
    if modifier is None or modifier.matching is None:
        return left
    if modifier.card == promql_parser.VectorMatchCardinality.ManyToOne:
        return left.add({label: right.certain.get(label) for label in modifier.group_labels})
    if modifier.card == promql_parser.VectorMatchCardinality.OneToMany:
        return right.add({label: left.certain.get(label) for label in modifier.group_labels})
    matched = frozenset(modifier.matching.labels)
    is_on = modifier.matching.type == promql_parser.LabelModifierType.Include
    return left.keep(matched) if is_on else left.drop(matched)
