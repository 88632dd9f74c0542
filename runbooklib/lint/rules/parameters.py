"""What stands in parameters/: values that fit their notebook, and somebody who keeps the runbooks."""

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
    "parameters/<Alert>.yaml names only what the notebook declares, and belongs to an alert that has one.",
    "papermill only warns of an unknown name, and runs with the default instead.",
    bad="eror_rate_limit: 0.05",
    good="error_rate_limit: 0.05",
)
TYPE = Rule(
    "parameter-type",
    Severity.ERROR,
    "A value has the type that the notebook declares.",
    "A limit that is text is refused when the alert fires.",
    bad='error_rate_limit: "0.05"',
    good="error_rate_limit: 0.05",
)
CONTACTS = Rule(
    "contacts-missing",
    Severity.ERROR,
    "Each environment names whom to call.",
    "The section on escalation is empty without.",
    bad="contacts: []",
    good='contacts: [{role: "On-call engineer", name: "SRE on-call", reach: "oncall@example.com"}]',
)
OWNER = Rule(
    "owner-missing",
    Severity.ERROR,
    "Each environment names who keeps its runbooks: `ownership.team` and `ownership.primary`.",
    "What nobody keeps grows old. An environment with `drill: true` need not say it.",
    bad='ownership: {team: "SRE"}',
    good='ownership: {team: "SRE", primary: "Ada"}',
)
UNREVIEWED = Rule(
    "review-missing",
    Severity.ERROR,
    "Each environment says when its runbooks were last read through: `ownership.last_reviewed`, a date.",
    "An environment with `drill: true` need not say it.",
    bad='ownership: {team: "SRE", primary: "Ada", last_reviewed: "spring"}',
    good='ownership: {team: "SRE", primary: "Ada", last_reviewed: "2026-11-23"}',
)
OVERDUE = Rule(
    "review-overdue",
    Severity.WARNING,
    "Runbooks are read through as often as `ownership.review_every` says.",
    "A warning, and no error: a build should not break by the calendar alone.",
    bad='last_reviewed: "2025-01-01"',
    good="read them, then write today's date",
)
RULES = (UNDECLARED, TYPE, CONTACTS, OWNER, UNREVIEWED, OVERDUE)


def check(material: Material) -> Iterator[Message]:
    """What is wrong with the values of runbooks and of sites."""
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
        return  # its parameters cell cannot be read, and that is a message of its own
    for name, value in source.values.items():
        try:
            parameters.typed(notebook.declared, {name: value}, source.file)
        except ParameterError as error:
            rule = TYPE if name in notebook.declared else UNDECLARED
            told = f"{error.message.removeprefix(f'{source.file}: ')}; {error.hint}"
            yield rule.at(source.file, source.line(name), told)


def _site(site: Site, today: date) -> Iterator[Message]:
    source, environment = site.source, site.environment
    if not environment.contacts:
        yield CONTACTS.at(source.file, source.line("contacts"), "nobody to call: add `contacts`")
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
        told = f"{owner.last_reviewed!r} is no date" if owner.last_reviewed else "there is no date"
        yield UNREVIEWED.at(source.file, line, f"`last_reviewed`: {told}, like 2026-11-23")
        return
    due = last + timedelta(seconds=seconds_of(owner.review_every))
    if due < today:
        yield OVERDUE.at(source.file, line, f"the next review was due on {due}")
