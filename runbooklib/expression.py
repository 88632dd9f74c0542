"""PromQL as it is read: what an expression measures, against what, and which series it asks for. Pure."""

import math
import re
from dataclasses import dataclass
from typing import Any

import promql_parser as promql

from runbooklib.errors import ParameterError

COMPARISONS = frozenset({">", ">=", "<", "<=", "==", "!="})
_TURNED = {">": "<", ">=": "<=", "<": ">", "<=": ">=", "==": "==", "!=": "!="}
_MATCHES = {"Equal": "=", "NotEqual": "!=", "Re": "=~", "NotRe": "!~"}
_ABSENCE = frozenset({"absent", "absent_over_time"})
_PART = re.compile(r'#[^\n]*|"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'|`[^`]*`|\w+|[<>=!]=|[^\w\s]')
_OPERATORS = frozenset("+ - * / % ^ < > == != <= >= and or unless atan2".split())
_BREAK = re.compile(r'("(?:[^"\\]|\\.)*")|\n\s*|^\s+')
# The parser goes down one call of C a level, and has no bound of its own: at some thousand the process dies.
_MOST_DEEP = 250
_MOST_CHARACTERS = 10_000


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
    if len(text) > _MOST_CHARACTERS or _depth(text) > _MOST_DEEP:
        raise ParameterError(f"{text[:80]!r}… is too long to be read", remedy="record parts of it as rules")
    try:
        return promql.parse(_PART.sub(_as_parser_reads, text))
    except ValueError as error:
        told = " ".join(str(error).split())
        raise ParameterError(f"{text[:80]!r} is no PromQL: {told}", remedy="try it in Prometheus") from None


def _depth(text: str) -> int:
    """No less than the depth of the tree: the most brackets that are open at once, and each operator."""
    deepest = depth = operators = 0
    for part in _PART.findall(text):
        depth += (part in "([{") - (part in ")]}")
        deepest = max(deepest, depth)
        operators += part.lower() in _OPERATORS
    return deepest + operators


def _as_parser_reads(part: re.Match[str]) -> str:
    """A string in backticks as one in quotes: the parser takes a backslash in the former for an escape."""
    if not part[0].startswith("`"):
        return part[0]
    raw = part[0][1:-1]
    for character, escaped in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\r", "\\r")):
        raw = raw.replace(character, escaped)
    return f'"{raw}"'


def one_line(text: str) -> str:
    """The expression as the parser would write it, on one line: two that mean the same are equal."""
    return _text(parse(text))


def _text(tree: Any) -> str:
    # `str` of a tree is no PromQL: of `x[5m:]` it makes `x{}[5m]`, of `x[500ms]` `x{}[0s]`. Its prettified
    # text is, on several lines where it is long; within strings there is no line break that is not escaped.
    return _BREAK.sub(lambda found: found[1] or ("" if _is_edge(found) else " "), tree.prettify())


def _is_edge(found: re.Match[str]) -> bool:
    """Whether a line break stands at the beginning, or just inside of a parenthesis."""
    whole = found.string
    return (
        found.start() == 0 or whole[found.start() - 1] == "(" or whole[found.end() : found.end() + 1] == ")"
    )


def condition_of(text: str) -> Condition | None:
    """The left-most comparison of an expression; None where it has none (`absent(…)`, `x unless y`).

    What is computed with a comparison's answer is passed: `sum by (a) (x == 1)` asks whether x is 1.
    """
    return _condition(parse(text))


def _condition(tree: Any) -> Condition | None:
    match tree:
        case promql.ParenExpr() | promql.UnaryExpr() | promql.AggregateExpr() | promql.SubqueryExpr():
            return _condition(tree.expr)
        case promql.BinaryExpr():
            return _of_binary(tree, str(tree.op))
        case promql.Call() if tree.func.name not in _ABSENCE:
            return next((found for one in tree.args if (found := _condition(one))), None)
    return None


def _of_binary(tree: Any, operator: str) -> Condition | None:
    if operator in COMPARISONS:
        return None if _is_absence(tree.lhs) else _compared(tree, operator)
    # What stands behind `unless` is not what the alert asks for, and beside something that fires by itself
    # the second half of an `or` is half the truth.
    is_left_alone = operator == "unless" or (operator == "or" and not _is_absence(tree.lhs))
    return _condition(tree.lhs) or (None if is_left_alone else _condition(tree.rhs))


def _compared(tree: Any, operator: str) -> Condition:
    left, right = _finite(number(tree.lhs)), _finite(number(tree.rhs))
    if right is None and left is not None:
        return Condition(_text(tree.rhs), _TURNED[operator], left, _labels(tree.rhs))
    other = "" if right is not None else _text(tree.rhs)
    return Condition(_text(tree.lhs), operator, right, _labels(tree.lhs), other)


def alternatives(text: str) -> tuple[str, ...]:
    """The operands of an `or` at the top, each of which alone makes it true; else the expression itself."""
    return tuple(_text(one) for one in _alternatives(parse(text)))


def _alternatives(tree: Any) -> list[Any]:
    bare = _bare(tree)
    if isinstance(bare, promql.BinaryExpr) and str(bare.op) == "or":
        return [*_alternatives(bare.lhs), *_alternatives(bare.rhs)]
    return [tree]


def _finite(known: float | None) -> float | None:
    return known if known is not None and math.isfinite(known) else None


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
    """The labels of the outermost `by`; a quantile's buckets are no label of its answer."""
    found: list[tuple[str, ...]] = []

    def look(node: Any) -> bool:
        if isinstance(node, promql.AggregateExpr) and node.modifier is not None:
            if node.modifier.type == promql.AggModifierType.By:
                found.append(tuple(label for label in node.modifier.labels if label != "le"))
            return False
        return True

    promql.walk(tree, look)
    return found[0] if found else ()


def is_absence(text: str) -> bool:
    """Whether the expression asks for what is not there: `absent` at its top, compared or not."""
    return _is_absence(parse(text))


def _is_absence(tree: Any) -> bool:
    bare = _bare(tree)
    if isinstance(bare, promql.BinaryExpr) and str(bare.op) in COMPARISONS:
        return _is_absence(bare.lhs) and number(bare.rhs) is not None
    return isinstance(bare, promql.Call) and bare.func.name in _ABSENCE


def rests_on(text: str) -> tuple[str, ...]:
    """The selectors, as PromQL, without whose series the expression cannot become true.

    What stands behind `unless` or in `absent` is none of them, and neither side of an `or` is.
    """
    return tuple(dict.fromkeys(_rests_on(parse(text))))


def _rests_on(tree: Any) -> list[str]:
    match tree:
        case promql.VectorSelector():
            return [_text(tree)]
        case promql.MatrixSelector():
            return [_text(tree.vector_selector)]
        case promql.BinaryExpr():
            operator = str(tree.op)
            sides = {"or": (), "unless": (tree.lhs,)}.get(operator, (tree.lhs, tree.rhs))
            return [one for side in sides for one in _rests_on(side)]
        case promql.Call() if tree.func.name not in _ABSENCE:
            return [one for argument in tree.args for one in _rests_on(argument)]
        case promql.ParenExpr() | promql.UnaryExpr() | promql.AggregateExpr() | promql.SubqueryExpr():
            return _rests_on(tree.expr)
    return []


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
