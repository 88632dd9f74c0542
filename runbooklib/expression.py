"""PromQL as it is read: what an expression measures, against what, and which series it asks for. Pure."""

import math
import re
from dataclasses import dataclass
from typing import Any

import promql_parser as promql

from runbooklib.errors import ParameterError

_COMPARISONS = frozenset({">", ">=", "<", "<=", "==", "!="})
_TURNED = {">": "<", ">=": "<=", "<": ">", "<=": ">=", "==": "==", "!=": "!="}
_SETS = frozenset({"and", "or", "unless"})
_MATCHES = {"Equal": "=", "NotEqual": "!=", "Re": "=~", "NotRe": "!~"}
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'|`[^`]*`')
_MASK = re.compile(r'"__(\d+)__"')
_ABSENCE = frozenset({"absent", "absent_over_time"})


@dataclass(frozen=True, slots=True)
class Condition:
    """One comparison: the `measured` side as PromQL, the operator, and the `threshold` on its other side.

    Where both sides are series, `threshold` is None and `other` is the second one. `by` are the labels that
    the measured side is summed by.
    """

    measured: str
    operator: str
    threshold: float | None
    by: tuple[str, ...] = ()
    other: str = ""


@dataclass(frozen=True, slots=True)
class Selector:
    """One selector: metric, matchers as (label, operator, value), and the range where it has one."""

    metric: str
    matchers: tuple[tuple[str, str, str], ...]
    range_seconds: float | None


def parse(text: str) -> Any:
    """The expression's tree, of promql_parser's classes. Raises ParameterError with the parser's words."""
    try:
        return promql.parse(text)
    except ValueError as error:
        told = " ".join(str(error).split())
        raise ParameterError(f"{text[:80]!r} is no PromQL: {told}", remedy="try it in Prometheus") from None


def one_line(text: str) -> str:
    """The expression as the parser would write it, on one line: two that mean the same are equal."""
    masked, literals = _masked(text)
    return _text(parse(masked), literals)


def _masked(text: str) -> tuple[str, list[str]]:
    """The expression with a name in the place of each string, and the strings as they were written.

    The parser's own text of a tree leaves quotes and backslashes in strings unescaped, so they must not pass
    through it.
    """
    parse(text)  # what is wrong is told of what was written
    literals: list[str] = []

    def keep(found: re.Match[str]) -> str:
        literals.append(found[0])
        return f'"__{len(literals) - 1}__"'

    return _STRING.sub(keep, text), literals


def _text(tree: Any, literals: list[str]) -> str:
    # `str` of a tree is PromQL on one line, with {} behind each bare name.
    plain = str(tree).replace("{}", "").replace("  ", " ")
    return _MASK.sub(lambda found: literals[int(found[1])], plain)


def condition_of(text: str) -> Condition | None:
    """The left-most comparison of an expression; None where it has none (`absent(…)`, `x unless y`)."""
    masked, literals = _masked(text)
    return _condition(parse(masked), literals)


def _condition(tree: Any, literals: list[str]) -> Condition | None:
    tree = _bare(tree)
    if not isinstance(tree, promql.BinaryExpr):
        return None
    operator = str(tree.op)
    if operator in _SETS:
        left = _condition(tree.lhs, literals)
        return left or (_condition(tree.rhs, literals) if operator == "and" else None)
    if operator in _COMPARISONS:
        return _compared(tree, operator, literals)
    # `(a > 5) * on(x) group_left(y) b`: a comparison that was given further labels.
    return _condition(tree.lhs, literals)


def _compared(tree: Any, operator: str, literals: list[str]) -> Condition:
    left, right = number(tree.lhs), number(tree.rhs)
    if right is None and left is not None:
        return Condition(_text(tree.rhs, literals), _TURNED[operator], left, _labels(tree.rhs))
    other = "" if right is not None else _text(tree.rhs, literals)
    return Condition(_text(tree.lhs, literals), operator, right, _labels(tree.lhs), other)


def _bare(tree: Any) -> Any:
    while isinstance(tree, promql.ParenExpr):
        tree = tree.expr
    return tree


def number(tree: Any) -> float | None:
    """The number that an expression of numbers alone amounts to; None for any other."""
    tree = _bare(tree)
    if isinstance(tree, promql.NumberLiteral):
        return float(tree.val)
    if isinstance(tree, promql.UnaryExpr):
        inner = number(tree.expr)
        return None if inner is None else -inner
    if not isinstance(tree, promql.BinaryExpr):
        return None
    left, right = number(tree.lhs), number(tree.rhs)
    return None if left is None or right is None else _calculated(str(tree.op), left, right)


def _calculated(operator: str, left: float, right: float) -> float | None:
    match operator:
        case "+":
            return left + right
        case "-":
            return left - right
        case "*":
            return left * right
        case "/":
            return left / right if right else None
        case "^":
            return math.pow(left, right) if left > 0 else None
        case "%":
            return math.fmod(left, right) if right else None
    return None


def _labels(tree: Any) -> tuple[str, ...]:
    """The labels of the outermost `by`."""
    found: list[tuple[str, ...]] = []

    def look(node: Any) -> bool:
        if isinstance(node, promql.AggregateExpr) and node.modifier is not None:
            if node.modifier.type == promql.AggModifierType.By:
                found.append(tuple(node.modifier.labels))
            return False
        return True

    promql.walk(tree, look)
    return found[0] if found else ()


def is_absence(text: str) -> bool:
    """Whether the expression asks for what is not there: `absent` at its top."""
    tree = _bare(parse(text))
    return isinstance(tree, promql.Call) and tree.func.name in _ABSENCE


def selectors(text: str) -> tuple[Selector, ...]:
    """Every selector of the expression, from left to right."""
    found: list[Selector] = []
    ranges: list[float] = []  # of the selector that comes next: a range is told before what it ranges over

    def look(node: Any) -> bool:
        if isinstance(node, promql.MatrixSelector):
            ranges.append(node.range.total_seconds())
        elif isinstance(node, promql.VectorSelector):
            found.append(_selector(node, ranges.pop() if ranges else None))
        return True

    promql.walk(parse(text), look)
    return tuple(found)


def _selector(node: Any, range_seconds: float | None) -> Selector:
    matchers = [(m.name, _MATCHES[str(m.op).rpartition(".")[2]], m.value) for m in node.matchers.matchers]
    named = [value for name, operator, value in matchers if name == "__name__" and operator == "="]
    kept = tuple(one for one in matchers if one[0] != "__name__")
    return Selector(node.name or (named[0] if named else ""), kept, range_seconds)


def metrics(text: str) -> tuple[str, ...]:
    """The names of the metrics that the expression asks for, each once, in order."""
    return tuple(dict.fromkeys(one.metric for one in selectors(text) if one.metric))
