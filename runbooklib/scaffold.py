"""A new runbook from an alerting rule: notebook and parameters in the template's shape, ready to run.

What the rule says is filled in; what only a person knows is marked TODO. Nothing of the rule is executed: its
expression becomes the value of a parameter, its annotations become prose.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runbooklib import expression as promql
from runbooklib import notebookfile
from runbooklib.errors import InputError, UnknownAlertError, suggestion
from runbooklib.rulefile import AlertRule, read_rules

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,99}")
_PLACEHOLDER = re.compile(r"\{\{-?\s*(.*?)\s*-?\}\}", re.DOTALL)
_LABEL = re.compile(r"\$?\.?[lL]abels\.(\w+)")
_MARKUP = re.compile(r"([\\`*_\[\]<>#|])")
_SPANS = ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


@dataclass(frozen=True, slots=True)
class Written:
    """The two files of a new runbook."""

    notebook: Path
    parameters: Path


def rule_of(file: Path, alert: str) -> AlertRule:
    """The rule of that name. Raises UnknownAlertError with the nearest name."""
    rules = {rule.alert: rule for rule in reversed(read_rules(file))}
    if alert not in rules:
        raise UnknownAlertError(f"{file} has no alert {alert!r}", remedy=suggestion(alert, sorted(rules)))
    return rules[alert]


def rules_of(file: Path) -> tuple[AlertRule, ...]:
    """One rule for each alert of the file: of several with the same name, the first."""
    return tuple({rule.alert: rule for rule in reversed(read_rules(file))}.values())[::-1]


def write(rule: AlertRule, home: Path, *, environment: str, service: str) -> Written:
    """Write the runbook of the rule below `home`. Raises InputError rather than overwrite anything."""
    if not _NAME.fullmatch(rule.alert):
        raise InputError(
            f"{rule.alert[:80]!r} cannot be the name of a runbook",
            remedy="rename the alert: letters, digits and _, and a letter first",
        )
    promql.parse(rule.expression)
    written = Written(home / "notebooks" / f"{rule.alert}.ipynb", home / "parameters" / f"{rule.alert}.yaml")
    for path in (written.notebook, written.parameters):
        if path.exists():
            raise InputError(f"{path} is there already", remedy="remove it first, or edit it")
    notebook = notebookfile.canonical({"cells": list(_cells(rule, environment, service)), "metadata": {}})
    for path, text in ((written.notebook, notebook), (written.parameters, _yaml(rule, service))):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    return written


def _yaml(rule: AlertRule, service: str) -> str:
    lines = [
        f"# Of notebooks/{rule.alert}.ipynb at every site. `papermill -f` takes this file as it is.",
        f"service: {json.dumps(service)}",
        f"expression: {json.dumps(rule.expression, ensure_ascii=False)}",
    ]
    return "\n".join(lines) + "\n"


def _cells(rule: AlertRule, environment: str, service: str) -> Iterator[dict[str, Any]]:
    summary = prose(rule.annotations.get("summary") or rule.alert)
    yield _markdown("title", f"# {rule.alert}: {summary}\n\n{_LOOKS}")
    yield _code("parameters", _parameters(rule, environment, service), tags=["parameters"])
    yield _code("open", _OPEN.replace("ALERT", rule.alert))
    yield from _section("basics", "## Basics", "incident.basics()")
    yield _markdown("alert", _alert(rule))
    yield from _section(
        "diagnosis",
        "## Initial diagnosis\n\n### Is it real?\n\nThe alert's own condition, against its threshold.",
        "incident.check(alert_expression, expression=expression, severity=severity)",
        "alert-expression",
    )
    yield from _section(
        "alert-real",
        "Does the alert's own rule hold, and does somebody hear it?",
        "incident.check(alert_rule)\nincident.check(firing_alert)",
        "alert-rule",
    )
    yield from _section("cost", "### What does it cost?", "incident.objectives()", "objectives")
    yield from _section(
        "context", "### What else is going on?", "incident.check(related_alerts)", "related-alerts"
    )
    for name, heading, code in _CAUSES:
        yield from _section(f"{name}-symptoms", heading, code, name)
    for name, heading, code in _REST:
        yield from _section(name, heading, code)


def _section(name: str, heading: str, code: str, code_name: str = "") -> Iterator[dict[str, Any]]:
    yield _markdown(name, heading)
    if code:
        yield _code(code_name or f"{name}-shown", code)


def _markdown(name: str, text: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "id": name, "metadata": {}, "source": text}


def _code(name: str, text: str, tags: list[str] | None = None) -> dict[str, Any]:
    return {"cell_type": "code", "id": name, "metadata": {"tags": tags or []}, "source": text}


def _parameters(rule: AlertRule, environment: str, service: str) -> str:
    severity = rule.labels.get("severity", "warning")
    told: Mapping[str, tuple[str, str]] = {
        "environment": (environment, "a file of parameters/environments/"),
        "service": (service, "a service in that file"),
        "at": ("", "end of the window, like 2026-01-15T03:12:00Z; empty: now"),
        "lookback": ("", "length of the window, like 1h30m; empty: the environment's"),
        "severity": (severity if severity.isprintable() else "warning", "of the alert"),
        "expression": (rule.expression, "the condition, as in the alert rule"),
    }
    # A JSON string is a Python string too.
    return "\n".join(
        f"{name}: str = {json.dumps(value, ensure_ascii=False)}  # {about}"
        for name, (value, about) in told.items()
    )


def _alert(rule: AlertRule) -> str:
    told = rule.annotations.get("description") or rule.annotations.get("message") or ""
    lasting = f", for {_span(rule.for_seconds)}" if rule.for_seconds else ""
    condition = promql.condition_of(rule.expression)
    by = f" It fires for each {', '.join(condition.by)}." if condition and condition.by else ""
    parts = [
        "## The alert",
        f"**What triggers it.** The condition of the rule is true{lasting}.{by} {prose(told)}".rstrip(),
        "**Why it matters.** TODO: what users and the business notice of it.",
    ]
    link = rule.annotations.get("runbook_url", "")
    if link.startswith(("http://", "https://")) and link.isprintable() and " " not in link:
        parts.append(f"The rule names this page: <{link.replace('>', '')}>")
    return "\n\n".join(parts)


def prose(text: str) -> str:
    """An annotation as Markdown that shows its words: templates as the label's name, markup escaped."""
    named = _PLACEHOLDER.sub(lambda found: _placeholder(found[1]), text)
    return _MARKUP.sub(r"\\\1", " ".join(named.split()))


def _placeholder(inner: str) -> str:
    label = _LABEL.search(inner)
    return f"(the {label[1]})" if label else "(the value)" if "alue" in inner else ""


def _span(seconds: float) -> str:
    size, unit = next(((s, u) for s, u in _SPANS if seconds >= s and seconds % s == 0), (1, "second"))
    count = int(seconds // size)
    return f"{count} {unit}{'s' if count != 1 else ''}"


_LOOKS = (
    "This runbook looks and never touches. Run all cells: the answer is drawn right below and grows with "
    "each of them."
)
_OPEN = """\
from runbooklib.notebook import *

incident = open_incident(
    "ALERT", environment=environment, service=service, at=at, lookback=lookback
)"""
_CAUSES = (
    (
        "bad-deployment",
        "## Causes\n\nTODO: the causes that this alert is likely to have, each with its signs.\n\n"
        "### Bad deployment\n\n**Symptoms.** It began with a deployment.",
        'deployment = incident.cause("bad-deployment", "A deployment broke it")\n'
        "deployment.check(deployments)\ndeployment.check(running_revision)\n"
        "deployment.propose(roll_back)\ndeployment.propose(revert_commit)",
    ),
    (
        "container-crash",
        "### Crash or out of memory\n\n**Symptoms.** The container starts again and again, or was killed.",
        'crash = incident.cause("container-crash", "The service crashed or ran out of memory")\n'
        "crash.check(container_state)\ncrash.check(container_deaths)\ncrash.check(out_of_memory)\n"
        "crash.propose(read_log)\ncrash.propose(restart_container)",
    ),
)
_REST = (
    ("escalation", "## Escalation", "incident.escalation()\nincident.contacts()"),
    ("recovery", "## Recovery\n\nIt is over when all of these hold.", "incident.recovery()"),
    (
        "after",
        "## After the incident\n\n**Within 24 hours**\n\n- [ ] Tell those who were affected that it is over\n"
        "- [ ] Update the incident's ticket, and put this notebook into it\n\n**Within a week**\n\n"
        "- [ ] Write the incident report from this evidence\n- [ ] Hold the review; name the root cause\n\n"
        "**Within a month**\n\n- [ ] Carry out the measures\n- [ ] Mend this runbook: name its causes",
        "",
    ),
    ("resources", "## Resources", "incident.links()"),
    ("past", "## Past incidents", "incident.history()"),
    ("upkeep", "## Upkeep", "incident.upkeep()"),
)
