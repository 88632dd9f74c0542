import re
from collections.abc import Iterator
from typing import Any

import promql_parser
import pytest

from runbooklib.errors import ParameterError
from runbooklib.promql import build
from runbooklib.promql.needs import rests_on
from runbooklib.promql.reading import Condition, condition_of, one_line, selectors

HOSTILE = [
    '"} or vector(1) or up{job="',
    "a'} or up",
    ".*",
    "a|b",
    "(a+)+$",
    "back\\slash",
    "line\nbreak\r\n",
    'quote " quote',
    "\\",
    '\\"',
    "\\n",
    "{{.Value}}",
    "`up`",
    "# comment",
    "tab\tbell\a",
    "[5m]",
    "",
    "数据库",
    "😀",
]


def matchers_of(expression: str) -> list[tuple[str, str, str]]:
    """Name, operator and value of each matcher of an expression that is one vector selector."""
    parsed = promql_parser.parse(expression)
    assert isinstance(parsed, promql_parser.VectorSelector), expression
    operators = {"Equal": "=", "NotEqual": "!=", "Re": "=~", "NotRe": "!~"}
    return [
        (m.name, operators[str(m.op).removeprefix("MatchOp.")], m.value) for m in parsed.matchers.matchers
    ]


def walk(node: Any) -> Iterator[Any]:
    yield node
    for name in ("expr", "lhs", "rhs", "param", "vector_selector", "args"):
        child = getattr(node, name, None)
        for one in child if isinstance(child, list) else [child]:
            if one is not None:
                yield from walk(one)


@pytest.mark.parametrize("value", HOSTILE)
def test_any_label_value_stays_one_equality_matcher(value: str) -> None:
    assert matchers_of(build.selector("up", {"job": value})) == [("job", "=", value)]


@pytest.mark.parametrize("value", [value for value in HOSTILE if value])
def test_a_value_that_is_left_out_is_taken_literally(value: str) -> None:
    [(name, operator, pattern)] = matchers_of(build.selector("up", none_of={"path": [value]}))
    assert (name, operator) == ("path", "!~")
    assert re.fullmatch(pattern, value)
    assert not re.fullmatch(pattern, value + "x")
    assert not re.fullmatch(pattern, "something else")


def test_all_kinds_of_matchers_stand_side_by_side_in_order() -> None:
    selector = build.selector(
        "http_requests_total",
        {"job": "backend", "path": "/a"},
        matching={"status": "5.."},
        none_of={"path": ["/health", "/metrics"]},
    )
    assert matchers_of(selector) == [
        ("job", "=", "backend"),
        ("path", "=", "/a"),
        ("status", "=~", "5.."),
        ("path", "!~", "/health|/metrics"),
    ]


def test_series_without_a_label_can_be_left_out() -> None:
    assert matchers_of(build.selector("up", none_of={"path": [""]})) == [("path", "!~", "")]
    assert build.selector("up", none_of={"path": []}) == "up"


@pytest.mark.parametrize("metric", ["http.server.request.duration", "k8s.pod/restarts"])
def test_a_name_that_only_prometheus_3_allows_is_quoted(metric: str) -> None:
    labels = {"service.name": 'a "quote"', "app.kubernetes.io/name": "b", "job": "c"}
    text = build.sum_of(build.rate(build.selector(metric, labels), "5m"), by=["service.name", "job"])
    assert text.startswith('sum by("service.name",job) (')
    (selector,) = selectors(text)
    assert (selector.metric, selector.matchers) == (metric, tuple((n, "=", v) for n, v in labels.items()))
    assert condition_of(f"{text} > 1") == Condition(one_line(text), ">", 1.0, ("service.name", "job"))
    assert rests_on(f"({text} or vector(0)) > 1") == (one_line(build.selector(metric, labels)),)


@pytest.mark.parametrize("metric", ["", "1up", "up{", 'up{job="x"} or up', "up\n", "up-down", "ün"])
def test_what_is_no_metric_name_is_refused(metric: str) -> None:
    with pytest.raises(ParameterError, match="is not a metric name"):
        build.selector(metric)


@pytest.mark.parametrize("label", ["", "1a", "a:b", 'a="x",b', "a\n", "ä"])
@pytest.mark.parametrize("kind", ["labels", "matching"])
def test_what_is_no_label_name_is_refused(label: str, kind: str) -> None:
    arguments: dict[str, Any] = {kind: {label: "x"}}
    with pytest.raises(ParameterError, match="is not a label name"):
        build.selector("up", **arguments)


def parsed_as_any(expression: str) -> Any:
    return promql_parser.parse(expression)


def test_a_share_divides_part_by_whole_and_fills_zero_only_where_there_is_traffic() -> None:
    text = build.share(build.rate("bad", "5m"), build.rate("everything", "5m"), by=("path",))
    parsed = parsed_as_any(text)
    assert str(parsed.op) == "/"
    part, whole = parsed.lhs.expr, parsed.rhs.expr
    assert str(part.op) == "or"
    assert str(part.rhs.op) == "*"
    assert str(whole.op) == ">"
    selectors = [node.name for node in walk(parsed) if isinstance(node, promql_parser.VectorSelector)]
    assert selectors == ["bad", "everything", "everything"]


@pytest.mark.parametrize(("by", "labels"), [((), ["le"]), (("path", "code"), ["le", "path", "code"])])
def test_a_quantile_sums_buckets_by_le_first(by: tuple[str, ...], labels: list[str]) -> None:
    parsed = parsed_as_any(build.quantile(0.95, "seconds_bucket", "5m", by=by))
    assert parsed.func.name == "histogram_quantile"
    share, buckets = parsed.args
    assert share.val == 0.95
    assert buckets.modifier.labels == labels


@pytest.mark.parametrize("by", [(), ("a",), ("a", "b")])
def test_sums_and_rates_are_valid_promql(by: tuple[str, ...]) -> None:
    for series in (build.rate("a_total", "5m"), build.increase("a_total", "1h")):
        promql_parser.parse(build.sum_of(series, by=by))
