"""PromQL's tree: how to walk it, and which labels the series that an expression answers carry."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import promql_parser

from runbooklib.lint.metric_catalog import Catalogue
from runbooklib.promql import number

# Aggregations that pick series and keep their labels, and functions whose answer has none.
_PICKING = {"topk", "bottomk", "limitk", "limit_ratio"}
_WITHOUT_LABELS = {"scalar", "time", "vector", "pi"}
_RATES = {"rate", "irate", "increase"}


@dataclass(frozen=True, slots=True)
class Labels:
    """The labels of series: the certain ones, each with its values where they are known; and the doubtful.

    `is_open`: there may be any others besides, since the metric is not in the catalogue.
    """

    certain: Mapping[str, frozenset[str] | None]
    doubtful: frozenset[str] = frozenset()
    is_open: bool = False

    def may_have(self, label: str) -> bool:
        """Whether a series may carry the label."""
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
        """Those labels in addition, in the place of any of the same name."""
        return Labels({**self.certain, **certain}, self.doubtful - certain.keys(), self.is_open)

    def either(self, other: "Labels") -> "Labels":
        """What a series has that is of the one or of the other."""
        both = self.certain.keys() & other.certain.keys()
        certain = {label: _either(self.certain[label], other.certain[label]) for label in both}
        every = self.certain.keys() | other.certain.keys() | self.doubtful | other.doubtful
        return Labels(certain, frozenset(every - both), self.is_open or other.is_open)


NONE = Labels({})


def _either(one: frozenset[str] | None, other: frozenset[str] | None) -> frozenset[str] | None:
    return None if one is None or other is None else one | other


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
    """The expression without the parentheses round it."""
    while isinstance(node, promql_parser.ParenExpr):
        node = node.expr
    return node


def is_call(node: Any, *names: str) -> bool:
    """Whether this is a call of one of these functions."""
    return isinstance(node, promql_parser.Call) and node.func.name in names


def has_rate(node: Any) -> bool:
    """Whether the expression is made of a counter's increase."""
    return any(is_call(one, *_RATES) for one in walk(node))


def labels_of(node: Any, catalogue: Catalogue | None) -> Labels:
    """The labels of the series that the expression answers."""
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
    """The metric that a selector names; empty where only a pattern or nothing does."""
    named = [one.value for one in selector.matchers.matchers if one.name == "__name__" and _is_equal(one)]
    return str(selector.name or (named[0] if named else ""))


def _is_equal(matcher: Any) -> bool:
    return bool(matcher.op == promql_parser.MatchOp.Equal)


def _of_selector(selector: Any, catalogue: Catalogue | None) -> Labels:
    known = catalogue.labels(name_of(selector)) if catalogue else None
    given = {
        one.name: frozenset({one.value})
        for one in selector.matchers.matchers
        if _is_equal(one) and one.value and one.name != "__name__"
    }
    return Labels({**(known or {}), **given}, is_open=known is None)


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
    inner = next((found for arg in node.args if (found := labels_of(arg, catalogue)) != NONE), NONE)
    if is_call(node, "histogram_quantile"):
        return inner.drop(frozenset({"le"}))
    if is_call(node, "label_replace", "label_join"):
        written = str(node.args[1].val)
        return inner.drop(frozenset({written})).either(inner.add({written: None}))
    return inner


def _of_pair(node: Any, left: Labels, right: Labels) -> Labels:
    operator, modifier = str(node.op), node.modifier
    if operator in {"and", "unless"}:
        return left
    if operator == "or":
        return left.either(right)
    for one, other in ((node.lhs, right), (node.rhs, left)):
        if number(one) is not None or is_call(bare(one), "scalar", "time"):
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
