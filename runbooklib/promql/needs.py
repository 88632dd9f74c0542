"""PromQL reader: the series that an expression needs. A constant, such as `vector(0)`, is not data. Pure."""

from collections.abc import Iterator
from typing import Any

import promql_parser

from runbooklib.promql.reading import ABSENCE, COMPARISONS, operands_of, parse, text_of


def rests_on(text: str) -> tuple[str, ...]:
    """Queries, each of which needs a sample: without it the expression cannot become true.

    Most are selectors. Of an `or`, one operand must have its series; operands without a series (`vector(0)`,
    `0 * absent(x)`) do not count. The right side of `unless` and the argument of `absent` are not needed.
    """
    return tuple(dict.fromkeys(_needs(parse(text))))


def _needs(tree: Any) -> list[str]:
    match tree:
        case promql_parser.VectorSelector():
            return [text_of(tree)]
        case promql_parser.MatrixSelector():
            return [text_of(tree.vector_selector)]
        case promql_parser.BinaryExpr() if str(tree.op) == "unless":
            return _needs(tree.lhs)
        case promql_parser.BinaryExpr() if str(tree.op) == "or":
            return _needs_of_or(tree)
        case promql_parser.Call() if tree.func.name in ABSENCE:
            return []
    return [query for child in _children(tree) for query in _needs(child)]


def _needs_of_or(tree: Any) -> list[str]:
    operands = [needs for operand in operands_of(tree) if (needs := _needs(operand))]
    if len(operands) < 2:
        return operands[0] if operands else []
    return [" or ".join(_all_of(needs) for needs in operands)]


def _all_of(needs: list[str]) -> str:
    """A query that has a sample only if each of the queries has one."""
    return needs[0] if len(needs) == 1 else f"({' and '.join(f'count({query})' for query in needs)})"


def _children(tree: Any) -> Iterator[Any]:
    match tree:
        case promql_parser.BinaryExpr():
            yield from (tree.lhs, tree.rhs)
        case promql_parser.Call():
            yield from tree.args
        case promql_parser.AggregateExpr():
            if tree.param is not None:
                yield tree.param
            yield tree.expr
        case promql_parser.ParenExpr() | promql_parser.UnaryExpr() | promql_parser.SubqueryExpr():
            yield tree.expr


def without_constants(text: str) -> str:
    """The expression without those operands of an `or` that select no series; at least one operand stays."""
    return _without_constants(parse(text))


def _without_constants(tree: Any) -> str:
    if isinstance(tree, promql_parser.BinaryExpr) and str(tree.op) == "or":
        operands = [operand for operand in (tree.lhs, tree.rhs) if _needs(operand)]
        if len(operands) == 1:
            return _without_constants(operands[0])
    text, position = text_of(tree), 0
    # The parser's trees cannot be built or changed, so the text of a child is replaced within its parent's.
    for child in _children(tree):
        before, after = text_of(child), _without_constants(child)
        start = text.find(before, position) if after != before else -1
        if start >= 0:
            text = f"{text[:start]}{after}{text[start + len(before) :]}"
            position = start + len(after)
    return text


def is_filter(text: str) -> bool:
    """Whether a comparison in the expression can remove every sample; one with `bool` removes none."""
    return _is_filter(parse(text))


def _is_filter(tree: Any) -> bool:
    if isinstance(tree, promql_parser.Call) and tree.func.name in ABSENCE:
        return False
    is_comparison = isinstance(tree, promql_parser.BinaryExpr) and str(tree.op) in COMPARISONS
    if is_comparison and not (tree.modifier and tree.modifier.return_bool):
        return True
    return any(_is_filter(child) for child in _children(tree))
