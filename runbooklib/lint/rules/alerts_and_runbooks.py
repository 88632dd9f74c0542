"""Checks that alerts and runbooks belong together: both exist, the link is correct, the limits are equal."""

import math
import re
from collections.abc import Iterator
from urllib.parse import parse_qsl, unquote, urlsplit

from runbooklib.config.parameters import Declared
from runbooklib.errors import ParameterError
from runbooklib.jupyter import alert_link
from runbooklib.lint.rule import Message, Needs, Rule, Severity
from runbooklib.lint.rules import queries
from runbooklib.lint.workspace import Material, Notebook, PlacedRule
from runbooklib.promql import reading

NO_RUNBOOK = Rule(
    "alert-without-runbook",
    Severity.ERROR,
    "Every alert has a runbook.",
    "The person who is paged for this alert has no runbook.",
    bad="- alert: DiskFull        # and no notebooks/DiskFull.ipynb",
    good="runbook new DiskFull --rules rules.yml",
    needs=Needs.RULES,
)
NO_ALERT = Rule(
    "runbook-without-alert",
    Severity.ERROR,
    "Every runbook has an alert.",
    "After an alert was renamed, no alert opens its old runbook.",
    bad="notebooks/DiskFul.ipynb  # and the rule says DiskFull",
    good="notebooks/DiskFull.ipynb",
    needs=Needs.RULES,
)
NO_URL = Rule(
    "runbook-url-missing",
    Severity.ERROR,
    "Every alert's rule links its runbook.",
    "During an incident there is no time to search: the notification must contain the link.",
    bad='annotations: {summary: "The disk is full"}',
    good='annotations: {summary: "The disk is full", runbook_url: "https://runbooks.example/DiskFull"}',
    needs=Needs.RULES,
)
WRONG_URL = Rule(
    "runbook-url-wrong",
    Severity.ERROR,
    "The link names its own alert, at the end of the path or as `runbook urls` writes it.",
    "A wrong link opens no runbook, or the runbook of another alert.",
    bad="runbook_url: https://runbooks.example/DiscFull",
    good="runbook_url: https://runbooks.example/DiskFull",
    needs=Needs.RULES,
)
THRESHOLD = Rule(
    "threshold-differs",
    Severity.ERROR,
    "A limit with the comment `as in the alert rule` equals the threshold of that rule.",
    """With another limit than its alert, a runbook reports OK while the alert fires. A parameter with the
comment `as in the alert rule` is compared for each alert that the notebook serves: a number with the
threshold of the rule, the text `expression` with the whole condition.""",
    bad="error_rate_limit: float = 0.1  # share of requests, as in the alert rule   (the rule: > 0.05)",
    good="error_rate_limit: float = 0.05  # share of requests, as in the alert rule",
    needs=Needs.RULES,
)
RULES = (NO_RUNBOOK, NO_ALERT, NO_URL, WRONG_URL, THRESHOLD)
_AS_IN_RULE = re.compile(r"\bas in the alert rule\b")


def check(material: Material) -> Iterator[Message]:
    """The messages about differences between the rules and the runbooks."""
    if material.rules is None:
        return
    served = material.served
    for placed_rule in material.rules:
        if placed_rule.rule.alert in served:
            yield from _check_link(placed_rule)
        else:
            yield NO_RUNBOOK.at(
                placed_rule.file,
                placed_rule.line(),
                f"{placed_rule.rule.alert} has no runbook: create it with `runbook new`",
            )
    known = {placed_rule.rule.alert for placed_rule in material.rules}
    for alert, notebook in served.items():
        if alert not in known:
            yield NO_ALERT.at(notebook.file, 1, f"no rule has the alert {alert}")
        else:
            yield from _check_limits(material, notebook, alert)


def _check_link(placed_rule: PlacedRule) -> Iterator[Message]:
    url = placed_rule.rule.annotations.get("runbook_url", "")
    if not url:
        text = f"{placed_rule.rule.alert} has no annotation `runbook_url`"
        yield NO_URL.at(placed_rule.file, placed_rule.line(), text)
        return
    linked_alert = _alert_of(url)
    if linked_alert != placed_rule.rule.alert:
        alert = placed_rule.rule.alert
        text = f"{alert} links to {linked_alert or 'nothing'!r}: the link must name its own alert"
        yield WRONG_URL.at(placed_rule.file, placed_rule.line("annotations", "runbook_url"), text)


def _alert_of(url: str) -> str:
    """The alert that a link names: as `runbook urls` writes it, else by the end of its path."""
    parts = urlsplit(url)
    path = unquote(parts.path).rstrip("/")
    if path.endswith(f"/{alert_link.OPEN}"):
        return dict(parse_qsl(parts.query)).get(alert_link.ALERT, "")
    return path.rpartition("/")[2]


def _check_limits(material: Material, notebook: Notebook, alert: str) -> Iterator[Message]:
    for name, declared in notebook.declared.items():
        if not _AS_IN_RULE.search(declared.help):
            continue
        stored = material.parameter_file(alert)
        is_stored = stored is not None and name in stored.values
        value = stored.values[name] if stored is not None and is_stored else declared.default
        rules = list(material.rules_of(alert))
        if any(_matches_rule(placed_rule, declared, value) for placed_rule in rules):
            continue
        where = (stored.file, stored.line(name)) if stored is not None and is_stored else None
        file, line = where or (notebook.file, notebook.line_of_parameter(name))
        yield THRESHOLD.at(
            file, line, f"{name} is {value!r} for {alert}, but its rule has {_limit_text(rules[0])}"
        )


def _matches_rule(placed_rule: PlacedRule, declared: Declared, value: object) -> bool:
    if declared.type is str:
        is_condition = declared.name == "expression"
        return not is_condition or queries.pretty(str(value)) == queries.pretty(placed_rule.rule.expression)
    threshold = _threshold(placed_rule)
    if threshold is None or not isinstance(value, int | float):
        return True  # nothing to compare with, or a wrong type, which has its own message
    return math.isclose(value, threshold)


def _threshold(placed_rule: PlacedRule) -> float | None:
    try:
        condition = reading.condition_of(placed_rule.rule.expression)
    except ParameterError:
        return None  # the syntax has its own message
    return condition.threshold if condition else None


def _limit_text(placed_rule: PlacedRule) -> str:
    threshold = _threshold(placed_rule)
    return f"{threshold:g}" if threshold is not None else placed_rule.rule.expression[:80]
