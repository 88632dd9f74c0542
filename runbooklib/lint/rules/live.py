"""Metrics as a real Prometheus has them: series that do not exist, and gauges that nothing sets."""

from collections.abc import Iterator
from datetime import datetime

import promql_parser

from runbooklib import promql
from runbooklib.lint import inferred_labels
from runbooklib.lint.rule import Message, Needs, Rule, Severity
from runbooklib.lint.rules import queries
from runbooklib.lint.workspace import Material
from runbooklib.sources.prometheus.client import Prometheus

ABSENT = Rule(
    "series-missing",
    Severity.ERROR,
    "What an expression asks for exists in Prometheus.",
    "An alert on a series that nobody exports never fires.",
    bad="expr: http_request_total > 1   # and Prometheus has no such series",
    good="expr: http_requests_total > 1",
    needs=Needs.LIVE,
)
UNSET = Rule(
    "series-never-nonzero",
    Severity.WARNING,
    "What an expression asks for was something else than zero within the last hour.",
    """A gauge that nothing ever sets exports 0 for ever: an alert on a low value fires all the time, and one
on a high value never. Counters of failures may well be zero: that is what a floor and a drill are for.""",
    bad="expr: sandbox_pool_available < 2   # a gauge that the code never sets",
    good="set the gauge, or take the alert away",
    needs=Needs.LIVE,
)
RULES = (ABSENT, UNSET)
_OVER = "1h"


def check(material: Material, prometheus: Prometheus, at: datetime) -> Iterator[Message]:
    """What the expressions ask for in vain. Raises SourceError where Prometheus does not answer."""
    asked = set[str]()
    for query in queries.queries(material):
        tree = queries.parsed(query.text)
        for name in dict.fromkeys(_metrics(tree)) if tree is not None else ():
            found = None if name in asked else _fault(prometheus, name, at)
            asked.add(name)
            if found is not None:
                yield found[0].at(query.file, query.line, found[1])


def _metrics(tree: object) -> Iterator[str]:
    for node in inferred_labels.walk(tree):
        if isinstance(node, promql_parser.VectorSelector) and inferred_labels.name_of(node):
            yield inferred_labels.name_of(node)


def _fault(prometheus: Prometheus, name: str, at: datetime) -> tuple[Rule, str] | None:
    series = f"{promql.selector(name)}[{_OVER}]"
    if prometheus.instant(f"count(present_over_time({series}))", at).empty:
        return ABSENT, f"Prometheus has had no series {name} within {_OVER}"
    highest = prometheus.instant(f"max(max_over_time(abs({name})[{_OVER}:1m]))", at)
    if len(highest) and float(highest["value"].iloc[0]) == 0:
        return UNSET, f"{name} was 0 all through the last {_OVER}"
    return None
