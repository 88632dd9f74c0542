"""PromQL reader: what an expression measures, its threshold, and the series that it selects. Pure."""

import math
import re
from dataclasses import dataclass
from typing import Any

import promql_parser

from runbooklib.errors import ParameterError

COMPARISONS = frozenset({">", ">=", "<", "<=", "==", "!="})
_TURNED = {">": "<", ">=": "<=", "<": ">", "<=": ">=", "==": "==", "!=": "!="}
_MATCHES = {"Equal": "=", "NotEqual": "!=", "Re": "=~", "NotRe": "!~"}
ABSENCE = frozenset({"absent", "absent_over_time"})
_PART = re.compile(r'#[^\n]*|"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'|`[^`]*`|\w+|[<>=!]=|[^\w\s]')
_OPERATORS = frozenset("+ - * / % ^ < > == != <= >= and or unless atan2".split())
_BREAK = re.compile(r'("(?:[^"\\]|\\.)*")|\n\s*|^\s+')

# The parser recurses on the C stack without a limit: some thousand levels would kill the process.
_MAX_DEPTH = 250
_MAX_CHARACTERS = 10_000


@dataclass(frozen=True, slots=True)
class Condition:
    """One comparison: the `measured` side as PromQL, the operator, and the `threshold` on its other side.

    If both sides are series, `threshold` is None and `other` is the second one. `by` contains the labels by
    which the measured side is aggregated.
    """

    measured: str
    operator: str
    threshold: float | None
    by: tuple[str, ...] = ()
    other: str = ""


@dataclass(frozen=True, slots=True)
class Selector:
    """One selector: metric, matchers as (label, operator, value), and the range of a range selector."""

    metric: str
    matchers: tuple[tuple[str, str, str], ...]
    range_seconds: float | None


def parse(text: str) -> Any:
    """The expression as a tree of promql_parser. Raises ParameterError with the parser's message."""
    if len(text) > _MAX_CHARACTERS or _depth(text) > _MAX_DEPTH:
        raise ParameterError(
            f"{text[:80]!r}… is too long to parse", hint="use recording rules for parts of it"
        )
    try:
        return promql_parser.parse(_PART.sub(_as_parser_reads, text))
    except ValueError as error:
        message = " ".join(str(error).split())
        raise ParameterError(f"{text[:80]!r} is not PromQL: {message}", hint="try it in Prometheus") from None


def _depth(text: str) -> int:
    """An upper bound for the depth of the tree: the deepest nesting of brackets plus all operators."""
    deepest = depth = operators = 0
    for part in _PART.findall(text):
        depth += (part in "([{") - (part in ")]}")
        deepest = max(deepest, depth)
        operators += part.lower() in _OPERATORS
    return deepest + operators


def _as_parser_reads(part: re.Match[str]) -> str:
    """A string in backticks, rewritten with quotes: the parser reads backslashes in backticks as escapes."""
    if not part[0].startswith("`"):
        return part[0]
    raw = part[0][1:-1]
    for character, escaped in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\r", "\\r")):
        raw = raw.replace(character, escaped)
    return f'"{raw}"'


def one_line(text: str) -> str:
    """The expression in the parser's own notation, on one line: equal for equal expressions."""
    return text_of(parse(text))


def text_of(tree: Any) -> str:
    """The PromQL of a tree, on one line."""
    # `str` of a tree is not PromQL: `x[5m:]` becomes `x{}[5m]`, `x[500ms]` becomes `x{}[0s]`. Its prettified
    # text is PromQL, but on several lines if it is long. Line breaks within strings are escaped.
    return _BREAK.sub(lambda match: match[1] or ("" if _is_edge(match) else " "), tree.prettify())


def _is_edge(match: re.Match[str]) -> bool:
    """Whether a line break is at the beginning, or just inside a parenthesis."""
    text, start, end = match.string, match.start(), match.end()
    return start == 0 or text[start - 1] == "(" or text[end : end + 1] == ")"


def condition_of(text: str) -> Condition | None:
    """The left-most comparison of an expression; None without a comparison (`absent(…)`, `x unless y`).

    Functions around a comparison are ignored: the condition of `sum by (a) (x == 1)` is `x == 1`.
    """
    return _condition(parse(text))


def _condition(tree: Any) -> Condition | None:
    match tree:
        case (
            promql_parser.ParenExpr()
            | promql_parser.UnaryExpr()
            | promql_parser.AggregateExpr()
            | promql_parser.SubqueryExpr()
        ):
            return _condition(tree.expr)
        case promql_parser.BinaryExpr():
            return _of_binary(tree, str(tree.op))
        case promql_parser.Call() if tree.func.name not in ABSENCE:
            conditions = (_condition(argument) for argument in tree.args)
            return next((condition for condition in conditions if condition), None)
    return None


def _of_binary(tree: Any, operator: str) -> Condition | None:
    if operator in COMPARISONS:
        return None if _is_absence(tree.lhs) else _condition_of_comparison(tree, operator)
    # The right side of `unless` is not the alert's condition. If the left side of an `or` can be true without
    # a comparison, a comparison on the right side is not the whole condition.
    is_left_alone = operator == "unless" or (operator == "or" and not _is_absence(tree.lhs))
    return _condition(tree.lhs) or (None if is_left_alone else _condition(tree.rhs))


def _condition_of_comparison(tree: Any, operator: str) -> Condition:
    left, right = _finite(number(tree.lhs)), _finite(number(tree.rhs))
    if right is None and left is not None:
        return Condition(text_of(tree.rhs), _TURNED[operator], left, _aggregation_labels(tree.rhs))
    other = "" if right is not None else text_of(tree.rhs)
    return Condition(text_of(tree.lhs), operator, right, _aggregation_labels(tree.lhs), other)


def or_operands(text: str) -> tuple[str, ...]:
    """The operands of a top-level `or`, each of which makes it true; else the expression itself."""
    return tuple(text_of(tree) for tree in operands_of(parse(text)))


def operands_of(tree: Any) -> list[Any]:
    """The operands of an `or`, also of one within an operand; else the tree itself."""
    bare = _bare(tree)
    if isinstance(bare, promql_parser.BinaryExpr) and str(bare.op) == "or":
        return [*operands_of(bare.lhs), *operands_of(bare.rhs)]
    return [tree]


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _bare(tree: Any) -> Any:
    while isinstance(tree, promql_parser.ParenExpr):
        tree = tree.expr
    return tree


def number(tree: Any) -> float | None:
    """The value of an expression that consists of numbers only; None for any other."""
    tree = _bare(tree)
    if isinstance(tree, promql_parser.NumberLiteral):
        return float(tree.val)
    if isinstance(tree, promql_parser.UnaryExpr):
        inner = number(tree.expr)
        return None if inner is None else -inner
    if not isinstance(tree, promql_parser.BinaryExpr):
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


def _aggregation_labels(tree: Any) -> tuple[str, ...]:
    """The labels of the outermost `by`, without the bucket label `le`, which a quantile removes."""
    labels: list[tuple[str, ...]] = []

    def visit(node: Any) -> bool:
        if isinstance(node, promql_parser.AggregateExpr) and node.modifier is not None:
            if node.modifier.type == promql_parser.AggModifierType.By:
                labels.append(tuple(label for label in node.modifier.labels if label != "le"))
            return False
        return True

    promql_parser.walk(tree, visit)
    return labels[0] if labels else ()


def is_absence(text: str) -> bool:
    """Whether the top of the expression is `absent` or `absent_over_time`, with or without a comparison."""
    return _is_absence(parse(text))


def _is_absence(tree: Any) -> bool:
    bare = _bare(tree)
    if isinstance(bare, promql_parser.BinaryExpr) and str(bare.op) in COMPARISONS:
        return _is_absence(bare.lhs) and number(bare.rhs) is not None
    return isinstance(bare, promql_parser.Call) and bare.func.name in ABSENCE


def selectors(text: str) -> tuple[Selector, ...]:
    """Every selector of the expression, from left to right."""
    result: list[Selector] = []
    ranges: list[float] = []  # the walk visits a range before its selector

    def visit(node: Any) -> bool:
        if isinstance(node, promql_parser.MatrixSelector):
            ranges.append(node.range.total_seconds())
        elif isinstance(node, promql_parser.VectorSelector):
            result.append(_selector(node, ranges.pop() if ranges else None))
        return True

    promql_parser.walk(parse(text), visit)
    return tuple(result)


def _selector(node: Any, range_seconds: float | None) -> Selector:
    matchers = [(m.name, _MATCHES[str(m.op).rpartition(".")[2]], m.value) for m in node.matchers.matchers]
    named = [value for name, operator, value in matchers if name == "__name__" and operator == "="]
    labels = tuple(matcher for matcher in matchers if matcher[0] != "__name__")
    return Selector(node.name or (named[0] if named else ""), labels, range_seconds)


def metrics(text: str) -> tuple[str, ...]:
    """The names of the metrics that the expression selects, each once, in order."""
    return tuple(dict.fromkeys(selector.metric for selector in selectors(text) if selector.metric))
