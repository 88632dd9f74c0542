"""PromQL as it is read, on expressions of the kinds that rule files have."""

import pytest

from runbooklib.errors import ParameterError
from runbooklib.expression import (
    Condition,
    Selector,
    condition_of,
    is_absence,
    metrics,
    one_line,
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
        ("sum(x) by (a, b) > 1", Condition("sum by (a, b)(x)", ">", 1.0, ("a", "b"))),
        ("a > b", Condition("a", ">", None, (), "b")),
        ("(a / b * 100 < 5 and c == 0) unless d", Condition("a / b * 100", "<", 5.0)),
        ("a < 1 or b > 2", Condition("a", "<", 1.0)),
        ("a and b > 2", Condition("b", ">", 2.0)),
        ("(x > 5) * on(a) group_left(b) y", Condition("x", ">", 5.0)),
        ('x{l="p  {} q"} > 1', Condition('x{l="p  {} q"}', ">", 1.0)),
        ("x unless y", None),
        ("absent(x)", None),
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


def test_selectors_have_their_matchers_and_their_own_range() -> None:
    found = selectors('rate(x{a=~"b|c",d!="e"}[5m]) > on(a) {__name__="y",f!~"g"}')
    assert found == (
        Selector("x", (("a", "=~", "b|c"), ("d", "!=", "e")), 300.0),
        Selector("y", (("f", "!~", "g"),), None),
    )
    assert metrics("a / (a + b) > 1") == ("a", "b")


def test_absence_is_what_asks_for_what_is_not_there() -> None:
    assert is_absence('(absent(up{job="x"} == 1))')
    assert not is_absence('up{job="x"} == 0')


def test_what_is_no_promql_is_refused_with_the_parsers_words() -> None:
    with pytest.raises(ParameterError, match="is no PromQL: unclosed left parenthesis"):
        condition_of("sum(")
