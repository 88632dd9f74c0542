"""Checks parameters/: values that fit their notebook, and owners and reviews of the runbooks."""

from collections.abc import Iterator
from datetime import date, timedelta

from runbooklib.config import parameters
from runbooklib.errors import ParameterError
from runbooklib.lint.rule import Message, Rule, Severity
from runbooklib.lint.workspace import Material, Site, YamlFile
from runbooklib.model.window import seconds_of

UNDECLARED = Rule(
    "parameter-undeclared",
    Severity.ERROR,
    "parameters/<Alert>.yaml contains only declared parameters, and its alert has a notebook.",
    "papermill only warns about an unknown name, and runs with the default.",
    bad="eror_rate_limit: 0.05",
    good="error_rate_limit: 0.05",
)
TYPE = Rule(
    "parameter-type",
    Severity.ERROR,
    "A value has the type that the notebook declares.",
    "A run refuses a limit that is text, and this happens when the alert fires.",
    bad='error_rate_limit: "0.05"',
    good="error_rate_limit: 0.05",
)
CONTACTS = Rule(
    "contacts-missing",
    Severity.ERROR,
    "Each environment has contacts.",
    "Without contacts the section on escalation is empty.",
    bad="contacts: []",
    good='contacts: [{role: "On-call engineer", name: "SRE on-call", reach: "oncall@example.com"}]',
)
OWNER = Rule(
    "owner-missing",
    Severity.ERROR,
    "Each environment names the owners of its runbooks: `ownership.team` and `ownership.primary`.",
    "Runbooks without an owner become outdated. An environment with `drill: true` needs no owner.",
    bad='ownership: {team: "SRE"}',
    good='ownership: {team: "SRE", primary: "Ada"}',
)
UNREVIEWED = Rule(
    "review-missing",
    Severity.ERROR,
    "Each environment has the date of the last review of its runbooks: `ownership.last_reviewed`.",
    "Without the date an overdue review is not noticed. An environment with `drill: true` needs no date.",
    bad='ownership: {team: "SRE", primary: "Ada", last_reviewed: "spring"}',
    good='ownership: {team: "SRE", primary: "Ada", last_reviewed: "2026-11-23"}',
)
OVERDUE = Rule(
    "review-overdue",
    Severity.WARNING,
    "Runbooks are reviewed at the interval `ownership.review_every`.",
    "This is a warning and not an error: a build must not fail only because time has passed.",
    bad='last_reviewed: "2025-01-01"',
    good="review the runbooks, then write today's date",
)
RULES = (UNDECLARED, TYPE, CONTACTS, OWNER, UNREVIEWED, OVERDUE)


def check(material: Material) -> Iterator[Message]:
    """The messages about the values of runbooks and of environments."""
    for source in material.parameters:
        yield from _values(material, source)
    for site in material.sites:
        yield from _site(site, material.today)


def _values(material: Material, source: YamlFile) -> Iterator[Message]:
    alert = source.path.stem
    notebook = material.served.get(alert)
    if notebook is None:
        yield UNDECLARED.at(source.file, 1, f"no notebook serves {alert}")
        return
    if not notebook.declared:
        return  # an unreadable parameters cell has its own message
    for name, value in source.values.items():
        try:
            parameters.check_types(notebook.declared, {name: value}, source.file)
        except ParameterError as error:
            rule = TYPE if name in notebook.declared else UNDECLARED
            text = f"{error.message.removeprefix(f'{source.file}: ')}; {error.hint}"
            yield rule.at(source.file, source.line(name), text)


def _site(site: Site, today: date) -> Iterator[Message]:
    source, environment = site.source, site.environment
    if not environment.contacts:
        yield CONTACTS.at(source.file, source.line("contacts"), "there are no contacts: add `contacts`")
    if environment.drill:
        return
    owner, line = environment.ownership, source.line("ownership")
    missing = [name for name in ("team", "primary") if not getattr(owner, name)]
    if missing:
        yield OWNER.at(source.file, line, f"`ownership` does not name: {', '.join(missing)}")
    line = source.line("ownership", "last_reviewed")
    try:
        last = date.fromisoformat(owner.last_reviewed)
    except ValueError:
        fault = f"{owner.last_reviewed!r} is not a date" if owner.last_reviewed else "there is no date"
        yield UNREVIEWED.at(source.file, line, f"`last_reviewed`: {fault}; write it like 2026-11-23")
        return
    due = last + timedelta(seconds=seconds_of(owner.review_every))
    if due < today:
        yield OVERDUE.at(source.file, line, f"the next review was due on {due}")
