"""Creates a runbook from an alerting rule: a notebook and its parameters, ready to run.

The facts of the rule are filled in; what a person must add is marked TODO. Nothing of the rule is executed:
its expression becomes the value of a parameter, its annotations become prose.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runbooklib.config import notebook_file, runbooks
from runbooklib.config.rule_file import AlertRule, read_rules
from runbooklib.errors import InputError, UnknownAlertError, suggestion
from runbooklib.promql import reading

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,99}")
_PLACEHOLDER = re.compile(r"\{\{-?\s*(.*?)\s*-?\}\}", re.DOTALL)
_LABEL = re.compile(r"\$?\.?[lL]abels\.(\w+)")
_CONTROL = re.compile(r"(?:if|with|range|end|block|define|template|break|continue)\b|/\*|\$\w+\s*:?=")
_MARKUP = re.compile(r"([\\$]+)|([`*_\[\]<>#|~])")
_SPANS = ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


@dataclass(frozen=True, slots=True)
class Written:
    """The two files of a new runbook."""

    notebook: Path
    parameters: Path


def rules_of(file: Path) -> dict[str, tuple[AlertRule, ...]]:
    """Alert name -> its rules, in file order. One name may have several rules, one for each severity."""
    rules: dict[str, tuple[AlertRule, ...]] = {}
    for rule in read_rules(file):
        rules[rule.alert] = (*rules.get(rule.alert, ()), rule)
    return rules


def rule_of(file: Path, alert: str) -> tuple[AlertRule, ...]:
    """The rules of that name. Raises UnknownAlertError, whose hint is the nearest name."""
    rules = rules_of(file)
    if alert not in rules:
        raise UnknownAlertError(f"{file} has no alert {alert!r}", hint=suggestion(alert, sorted(rules)))
    return rules[alert]


def refuse_unusable(rules: Sequence[AlertRule]) -> None:
    """Raise InputError for a name that cannot be a file name, and for invalid PromQL."""
    for rule in rules:
        if not _NAME.fullmatch(rule.alert):
            raise InputError(
                f"{rule.file}:{rule.line}: {rule.alert[:80]!r} cannot be the name of a runbook",
                hint="rename the alert: use letters, digits and _, and begin with a letter",
            )
        reading.parse(rule.expression)


def has_runbook(alert: str, home: Path) -> bool:
    """Whether the alert already has a runbook, of its own name or shared with other alerts."""
    served = {name for path in (home / "notebooks").glob("*.ipynb") for name in runbooks.served_alerts(path)}
    return alert in served or any(path.exists() for path in _paths(alert, home))


def _paths(alert: str, home: Path) -> tuple[Path, Path]:
    return home / "notebooks" / f"{alert}.ipynb", home / "parameters" / f"{alert}.yaml"


def write(
    rule: AlertRule, home: Path, *, environment: str, service: str, others: Sequence[AlertRule] = ()
) -> Written:
    """Write the runbook of an alert below `home`, from its rule and the `others` of the same name.

    Raises InputError for rules that cannot be used, and if a file already exists.
    """
    alert, rules = rule.alert, (rule, *others)
    refuse_unusable(rules)
    if has_runbook(alert, home):
        raise InputError(f"{alert} already has a runbook", hint="edit it, or remove it first")
    notebook = notebook_file.canonical({"cells": list(_cells(rules, environment, service)), "metadata": {}})
    written = Written(*_paths(alert, home))
    for path, text in ((written.notebook, notebook), (written.parameters, _yaml(rules, service))):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            raise InputError(f"{path} cannot be written: {error.strerror}", hint="see its folder") from None
    return written


def _rules_with_suffix(rules: Sequence[AlertRule]) -> Iterator[tuple[str, AlertRule]]:
    """Each rule with the suffix of its parameters' names."""
    for number, rule in enumerate(rules, 1):
        yield "" if number == 1 else f"_{number}", rule


def _yaml(rules: Sequence[AlertRule], service: str) -> str:
    lines = [
        f"# Of notebooks/{rules[0].alert}.ipynb at every site. `papermill -f` takes this file as it is.",
        f"service: {json.dumps(service)}",
    ]
    for end, rule in _rules_with_suffix(rules):
        lines.append(f"expression{end}: {json.dumps(rule.expression, ensure_ascii=False)}")
    return "\n".join(lines) + "\n"


def _cells(rules: Sequence[AlertRule], environment: str, service: str) -> Iterator[dict[str, Any]]:
    rule = rules[0]
    summary = prose(rule.annotations.get("summary") or rule.alert)
    yield _markdown("title", f"# {rule.alert}: {summary}\n\n{_LOOKS}")
    yield _code("parameters", _parameters(rules, environment, service), tags=["parameters"])
    yield _code("open", _OPEN.replace("ALERT", rule.alert))
    yield _code("controls", "incident.controls()")
    yield from _section("basics", "## Basics", "incident.basics()")
    yield _markdown("alert", _alert(rules))
    yield from _section(
        "diagnosis",
        "## Initial diagnosis\n\n### Is it real?\n\nThe alert's own condition, against its threshold.",
        "\n".join(
            f"incident.check(alert_expression, expression=expression{end}, severity=severity{end})"
            for end, _ in _rules_with_suffix(rules)
        ),
        "alert-expression",
    )
    yield from _section(
        "alert-real",
        "Is the alert's rule true, and is somebody notified?",
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


def _parameters(rules: Sequence[AlertRule], environment: str, service: str) -> str:
    parameters: dict[str, tuple[str, str]] = {
        "environment": (environment, "a file of parameters/environments/"),
        "service": (service, "a service in that file"),
        "at": ("", "end of the window, like 2026-01-15T03:12:00Z; empty: now"),
        "lookback": ("", "length of the window, like 1h30m; empty: the environment's"),
    }
    for end, rule in _rules_with_suffix(rules):
        severity = rule.labels.get("severity", "warning")
        parameters[f"severity{end}"] = (severity if severity.isprintable() else "warning", "of the alert")
        parameters[f"expression{end}"] = (rule.expression, "the condition, as in the alert rule")
    # A JSON string is a Python string too.
    return "\n".join(
        f"{name}: str = {json.dumps(value, ensure_ascii=False)}  # {about}"
        for name, (value, about) in parameters.items()
    )


def _alert(rules: Sequence[AlertRule]) -> str:
    rule = rules[0]
    description = rule.annotations.get("description") or rule.annotations.get("message") or ""
    parts = [
        "## The alert",
        f"**What triggers it.** {_trigger(rules)} {prose(description)}".rstrip(),
        "**Why it matters.** TODO: the effect on users and on the business.",
    ]
    link = rule.annotations.get("runbook_url", "")
    if link.startswith(("http://", "https://")) and link.isprintable() and " " not in link:
        parts.append(f"The rule names this page: <{link.replace('>', '')}>")
    return "\n\n".join(parts)


def _trigger(rules: Sequence[AlertRule]) -> str:
    if len(rules) > 1:
        each = "; ".join(f"{_duration_text(rule) or 'at once'}{_severity(rule)}" for rule in rules)
        return f"The condition of one of its {len(rules)} rules is true: {each}."
    condition = reading.condition_of(rules[0].expression)
    by = f" It fires for each {prose(', '.join(condition.by))}." if condition and condition.by else ""
    lasting = _duration_text(rules[0])
    return f"The condition of the rule is true{lasting and ' ' + lasting}{_severity(rules[0])}.{by}"


def _duration_text(rule: AlertRule) -> str:
    return f"for {_span(rule.for_seconds)}" if rule.for_seconds else ""


def _severity(rule: AlertRule) -> str:
    severity = prose(rule.labels.get("severity", ""))
    return f" (severity {severity})" if severity else ""


def prose(text: str) -> str:
    """An annotation as Markdown: each template becomes its label's name, markup is escaped."""
    text_with_names = _PLACEHOLDER.sub(lambda match: _placeholder(match[1]), text)
    # JupyterLab typesets TeX even after escaping: dollars and backslashes must be code.
    return _MARKUP.sub(lambda f: f"`{f[1]}`" if f[1] else f"\\{f[2]}", " ".join(text_with_names.split()))


def _placeholder(inner: str) -> str:
    """The replacement of a template: its label's name; empty for a control statement."""
    if inner.startswith("else"):
        return "/"
    if _CONTROL.match(inner):
        return ""
    label = _LABEL.search(inner)
    return f"(the {label[1]})" if label else "(the value)" if "alue" in inner else ""


def _span(seconds: float) -> str:
    size, unit = next(((s, u) for s, u in _SPANS if seconds >= s and seconds % s == 0), (1, "second"))
    count = seconds / size
    return f"{count:g} {unit}{'s' if count != 1 else ''}"


_LOOKS = (
    "This runbook is read-only. Run all cells: the verdict appears right below, and each cell updates it."
)
_OPEN = """\
from runbooklib.notebook import *

incident = open_incident(
    "ALERT", environment=environment, service=service, at=at, lookback=lookback
)"""
_CAUSES = (
    (
        "bad-deployment",
        "## Causes\n\nTODO: the causes that this alert is likely to have, each with its symptoms.\n\n"
        "### Bad deployment\n\n**Symptoms.** It began with a deployment.",
        'deployment = incident.cause("bad-deployment", "A deployment broke it")\n'
        "deployment.check(deployments)\ndeployment.check(running_revision)\n"
        "deployment.propose(roll_back)\ndeployment.propose(revert_commit)",
    ),
    (
        "container-crash",
        "### Crash or out of memory\n\n**Symptoms.** The container restarts repeatedly, or was killed.",
        'crash = incident.cause("container-crash", "The service crashed or ran out of memory")\n'
        "crash.check(container_state)\ncrash.check(container_deaths)\ncrash.check(out_of_memory)\n"
        "crash.propose(read_log)\ncrash.propose(restart_container)",
    ),
)
_REST = (
    ("escalation", "## Escalation", "incident.escalation()\nincident.contacts()"),
    (
        "recovery",
        "## Recovery\n\nThe incident is over when all of these conditions hold.",
        "incident.recovery()",
    ),
    (
        "after",
        "## After the incident\n\n**Within 24 hours**\n\n- [ ] Tell the affected users that it is over\n"
        "- [ ] Update the incident's ticket, and attach this notebook\n\n**Within a week**\n\n"
        "- [ ] Write the incident report from this evidence\n- [ ] Hold the review; name the root cause\n\n"
        "**Within a month**\n\n- [ ] Complete the follow-up actions\n- [ ] Add the causes to this runbook",
        "",
    ),
    ("resources", "## Resources", "incident.links()"),
    ("past", "## Past incidents", "incident.history()"),
    ("upkeep", "## Upkeep", "incident.upkeep()"),
)
