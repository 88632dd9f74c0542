"""Checks on a real Prometheus: services without a target, series that do not exist, unset gauges."""

from collections.abc import Iterator
from datetime import datetime

import promql_parser

from runbooklib.lint import inferred_labels
from runbooklib.lint.rule import Message, Needs, Rule, Severity
from runbooklib.lint.rules import queries
from runbooklib.lint.workspace import Material, Site
from runbooklib.promql import build
from runbooklib.sources.prometheus.client import Prometheus

ABSENT = Rule(
    "series-missing",
    Severity.ERROR,
    "Prometheus has the series that an expression uses.",
    "An alert on a series that no target exports never fires.",
    bad="expr: http_request_total > 1   # and Prometheus has no such series",
    good="expr: http_requests_total > 1",
    needs=Needs.LIVE,
)
UNSET = Rule(
    "series-never-nonzero",
    Severity.WARNING,
    "A series that an expression uses was not 0 during the whole last hour.",
    """A gauge that nothing sets is always 0: an alert on a low value always fires, and an alert on a high
value never fires. A counter of failures may be 0 and correct: a drill shows that its alert fires.""",
    bad="expr: sandbox_pool_available < 2   # a gauge that the code never sets",
    good="set the gauge, or remove the alert",
    needs=Needs.LIVE,
)
NO_TARGET = Rule(
    "service-without-target",
    Severity.ERROR,
    "Prometheus has a target with the labels of each service.",
    """With wrong labels, each check of the service says that there is no series, and an alert on the service
never fires.""",
    bad="labels: {job: backnd}   # and Prometheus has the job backend",
    good="labels: {job: backend}",
    needs=Needs.LIVE,
)
RULES = (NO_TARGET, ABSENT, UNSET)
_OVER = "1h"
_MAX_TARGETS = 8


def check(material: Material, environment: str, prometheus: Prometheus, at: datetime) -> Iterator[Message]:
    """The messages about the environment's services, and about series that do not exist or are always 0.

    Raises SourceError.
    """
    for place in material.sites:
        if place.source.path.stem == environment:
            yield from _services_without_target(place, prometheus, at)
    asked = set[str]()
    for query in queries.queries(material):
        tree = queries.parse_or_none(query.text)
        for name in dict.fromkeys(_metrics(tree)) if tree is not None else ():
            fault = None if name in asked else _fault(prometheus, name, at)
            asked.add(name)
            if fault is not None:
                rule, text = fault
                yield rule.at(query.file, query.line, text)


def _services_without_target(place: Site, prometheus: Prometheus, at: datetime) -> Iterator[Message]:
    for name, service in place.environment.services.items():
        others = ", ".join(prometheus.target_labels(service.labels, at)[:_MAX_TARGETS])
        selector = build.selector("up", service.labels)
        if others and prometheus.instant(f"count(present_over_time({selector}[{_OVER}]))", at).empty:
            text = f"{name}: Prometheus had no target {selector} in the last {_OVER}; it has {others}"
            yield NO_TARGET.at(place.source.file, place.source.line("services", name, "labels"), text)


def _metrics(tree: object) -> Iterator[str]:
    for node in inferred_labels.walk(tree):
        if isinstance(node, promql_parser.VectorSelector) and inferred_labels.name_of(node):
            yield inferred_labels.name_of(node)


def _fault(prometheus: Prometheus, name: str, at: datetime) -> tuple[Rule, str] | None:
    series = f"{build.selector(name)}[{_OVER}]"
    if prometheus.instant(f"count(present_over_time({series}))", at).empty:
        return ABSENT, f"Prometheus had no series {name} in the last {_OVER}"
    highest = prometheus.instant(f"max(max_over_time(abs({name})[{_OVER}:1m]))", at)
    if len(highest) and float(highest["value"].iloc[0]) == 0:
        return UNSET, f"{name} was 0 during the whole last {_OVER}"
    return None
