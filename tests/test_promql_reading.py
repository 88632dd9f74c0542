"""PromQL as it is read, on expressions of the kinds that rule files have."""

import promql_parser
import pytest

from runbooklib.errors import ParameterError
from runbooklib.promql.needs import is_filter, rests_on, without_constants
from runbooklib.promql.reading import (
    Condition,
    Selector,
    condition_of,
    is_absence,
    metrics,
    one_line,
    or_operands,
    selectors,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("up == 0", Condition("up", "==", 0.0)),
        ("1 < x", Condition("x", ">", 1.0)),
        ("x > bool 2", Condition("x", ">", 2.0)),
        ("-x > -3", Condition("-x", ">", -3.0)),
        ("x > 2 * 1024 * 1024 * 1024", Condition("x", ">", 2147483648.0)),
        ("x > ( 25 / 100 )", Condition("x", ">", 0.25)),
        ("x < 2 * 1024 ^ 3", Condition("x", "<", 2147483648.0)),
        ("sum(x) by (a, b) > 1", Condition("sum by (a, b) (x)", ">", 1.0, ("a", "b"))),
        ("a > b", Condition("a", ">", None, (), "b")),
        ("(a / b * 100 < 5 and c == 0) unless d", Condition("a / b * 100", "<", 5.0)),
        ("a < 1 or b > 2", Condition("a", "<", 1.0)),
        ("a and b > 2", Condition("b", ">", 2.0)),
        ("(x > 5) * on(a) group_left(b) y", Condition("x", ">", 5.0)),
        ('x{l="p  {} q"} > 1', Condition('x{l="p  {} q"}', ">", 1.0)),
        ("x unless y", None),
        ("absent(x)", None),
        ("x < Inf", Condition("x", "<", None, (), "Inf")),
        ("a > 0 > 1", Condition("a > 0", ">", 1.0)),
        ("sum by (a) (x == 1)", Condition("x", "==", 1.0)),
        ("max_over_time((x > 5)[5m:])", Condition("x", ">", 5.0)),
        ("y * on(a) (x > 2)", Condition("x", ">", 2.0)),
        ("absent(x) or up == 0", Condition("up", "==", 0.0)),
        ("a or b > 5", None),
        ("x unless y > 1", None),
        ("absent(x) == 1", None),
        ("max by (le, z) (x) > 1", Condition("max by (le, z) (x)", ">", 1.0, ("z",))),
        ("x / 0 > 1 / 0", Condition("x / 0", ">", None, (), "1 / 0")),
    ],
)
def test_the_leftmost_comparison_is_the_condition(text: str, expected: Condition | None) -> None:
    assert condition_of(text) == expected


def test_what_is_measured_can_be_read_again() -> None:
    text = 'sum by (le) (rate(a_bucket{x=~"b|c", y!="\\"q\\""}[5m] offset 1h)) / 3 > 0.5'
    found = condition_of(text)
    assert found is not None
    assert one_line(found.measured) == found.measured
    assert one_line(text) == f"{found.measured} > 0.5"


@pytest.mark.parametrize(
    "text",
    [
        "max_over_time(x[5m:]) > 0",
        "rate(x[500ms]) > 0",
        '{"a.b","c.d"="e"} > 0',
        "x offset -5m > 0",
        "x @ end() > 0",
        'label_replace(x, "a", "$1", "b", "(.*) \\\\d { } #") > 0',
    ],
)
def test_what_is_measured_means_what_it_meant(text: str) -> None:
    found = condition_of(text)
    assert found is not None
    measured = text.removesuffix(" > 0")
    assert promql_parser.parse(found.measured).prettify() == promql_parser.parse(measured).prettify()


def test_a_string_in_backticks_has_no_escapes_and_a_comment_no_strings() -> None:
    text = "x{a=~`\\d+\"`} > 1 # don't\n and y{b='c'} > 2"
    assert selectors(text)[0].matchers == (("a", "=~", '\\d+"'),)
    assert one_line(text) == 'x{a=~"\\\\d+\\""} > 1 and y{b="c"} > 2'


def test_a_long_expression_is_on_one_line_and_its_strings_are_whole() -> None:
    text = 'sum by (a) (rate(x{b="(  c"}[5m])) / on (a) group_left (d) (y * 2) > 1 and ' * 3 + "z"
    told = one_line(text)
    assert told.count('x{b="(  c"}') == 3
    assert "\n" not in told
    assert "( " not in told.replace("(  c", "")


def test_each_side_of_an_or_at_the_top_is_an_alternative() -> None:
    assert or_operands("a > 1 or (b or c < 2)") == ("a > 1", "b", "c < 2")
    assert or_operands("sum(a or b) > 1") == ("sum(a or b) > 1",)


def test_an_expression_rests_on_the_series_without_which_it_is_never_true() -> None:
    text = (
        'rate(a{x="y"}[5m]) / b > 1 and on (i) c offset 1h unless d and absent(e) and sum(f or vector(0)) > 1'
    )
    assert rests_on(text) == ('a{x="y"}', "b", "c offset 1h", "f")


@pytest.mark.parametrize(
    ("text", "needed"),
    [
        ("(a or vector(0)) > 1", ("a",)),
        ("(a or b) > 1", ("a or b",)),
        ("(a or (b or c)) > 1 and d", ("a or b or c", "d")),
        ("((a + b) or c or vector(time())) > 1", ("(count(a) and count(b)) or c",)),
        ("(a + (b or c) or d) > 1", ("(count(a) and count(b or c)) or d",)),
        ("topk(scalar(a), b) > 1", ("a", "b")),
        ("(vector(0) or vector(1)) > 1", ()),
        ("(absent(a) or vector(1)) > 1", ()),
        ("(a unless b or vector(1)) > 1", ("a",)),
    ],
)
def test_of_an_or_one_operand_that_is_no_constant_is_needed(text: str, needed: tuple[str, ...]) -> None:
    assert rests_on(text) == needed
    for query in needed:
        one_line(query)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("a or vector(0)", "a"),
        ("vector(0) or a + 1", "a + 1"),
        ("sum by (x) (a or b or vector(0))", "sum by (x) (a or b)"),
        ("a or vector(0) or b", "a or b"),
        ("(a or vector(0)) / on (x) (b or vector(1))", "(a) / on (x) (b)"),
        ("increase((max(a) or 0 * absent(a))[15m:1m])", "increase((max(a))[15m:1m])"),
        ("clamp_min(-(a or vector(0)), 1)", "clamp_min(-(a), 1)"),
        (
            'label_replace(a or vector(0), "x", " or vector(0)", "y", "")',
            'label_replace(a, "x", " or vector(0)", "y", "")',
        ),
        ("sum(a or vector(0)) + sum(aa or vector(0)) + sum(a or vector(0))", "sum(a) + sum(aa) + sum(a)"),
        ("vector(0) or vector(1)", "vector(0) or vector(1)"),
        ("topk(scalar(a or vector(1)), a or vector(0))", "topk(scalar(a), a)"),
        (
            "sum(rate(a_long_metric_name[5m])) / sum(rate(b_long_metric_name[5m])) or on () "
            "(vector(0) * vector(1))",
            "sum(rate(a_long_metric_name[5m])) / sum(rate(b_long_metric_name[5m]))",
        ),
    ],
)
def test_constants_are_removed_from_an_or(text: str, kept: str) -> None:
    assert without_constants(text) == one_line(kept)


def test_selectors_have_their_matchers_and_their_own_range() -> None:
    found = selectors('rate(x{a=~"b|c",d!="e"}[5m]) > on(a) {__name__="y",f!~"g"}')
    assert found == (
        Selector("x", (("a", "=~", "b|c"), ("d", "!=", "e")), 300.0),
        Selector("y", (("f", "!~", "g"),), None),
    )
    assert metrics("a / (a + b) > 1") == ("a", "b")


def test_absence_is_what_asks_for_what_is_not_there() -> None:
    assert is_absence('(absent(up{job="x"} == 1))')
    assert is_absence("absent_over_time(x[5m]) == 1")
    assert not is_absence('up{job="x"} == 0')
    assert not is_absence("absent(x) or up == 0")


def test_what_is_no_promql_is_refused_with_the_parsers_words() -> None:
    with pytest.raises(ParameterError, match="is not PromQL: unclosed left parenthesis"):
        condition_of("sum(")


@pytest.mark.parametrize(
    "text",
    [
        "(" * 4000 + "x" + ")" * 4000,
        "-" * 1500 + "x",
        "x" + " AND x" * 300,
        "x" + "==x" * 3000,
        "x > 1" + " " * 20_000,
    ],
)
def test_what_would_take_the_parsers_stack_is_refused_and_the_process_lives(text: str) -> None:
    with pytest.raises(ParameterError, match="too long"):
        condition_of(text)


def test_a_long_chain_of_alternatives_is_read() -> None:
    text = " or ".join(f'x{{a="{number}"}} > {number}' for number in range(100))
    assert len(or_operands(text)) == 100
    assert condition_of(text) == Condition('x{a="0"}', ">", 0.0)
    assert len(selectors(text)) == 100


@pytest.mark.parametrize("text", ["a > 1", "sum(a == 1)", "max_over_time((a > 5)[5m:])", "topk(1, a < 2)"])
def test_a_comparison_can_leave_no_sample(text: str) -> None:
    assert is_filter(text)


@pytest.mark.parametrize("text", ["a", "sum(a == bool 1)", "a and b", "absent(a > 1) * 2"])
def test_what_compares_nothing_or_answers_0_and_1_is_no_filter(text: str) -> None:
    assert not is_filter(text)
