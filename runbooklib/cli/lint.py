"""`runbook lint`."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from runbooklib.cli import completion
from runbooklib.cli.app import app
from runbooklib.cli.commands import examples
from runbooklib.cli.options import refuse_missing
from runbooklib.errors import InputError, suggestion

if TYPE_CHECKING:
    from datetime import datetime

    from runbooklib.lint.rule import Message
    from runbooklib.lint.workspace import Material

HAS_ERRORS = 1


class Format(StrEnum):
    """How messages are written."""

    TEXT = "text"
    JSON = "json"
    SARIF = "sarif"


@app.command(
    "lint",
    epilog=examples(
        "runbook lint",
        "runbook lint --rules rules.yml --alertmanager alertmanager.yml",
        "runbook lint --rules rules.yml --live production",
        "runbook lint --explain ratio-without-floor",
    ),
)
def lint_runbooks(
    *,
    rules: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="A Prometheus rule file. May be repeated.")
    ] = None,
    alertmanager: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Alertmanager's configuration.")
    ] = None,
    live: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Look up the series in this environment's Prometheus.",
            autocompletion=completion.environments,
        ),
    ] = "",
    style: Annotated[
        Format, typer.Option("--format", metavar="text|json|sarif", help="How messages are written.")
    ] = Format.TEXT,
    explain: Annotated[
        str, typer.Option(metavar="RULE", help="Explain a lint rule and exit; `all` explains all rules.")
    ] = "",
) -> None:
    """Check runbooks, alert rules and alert routing for errors.

    Exit code 1: there is at least one error. Warnings alone give 0.
    """
    if explain:
        _explain(explain)
        return
    from datetime import UTC, datetime

    from runbooklib import lint
    from runbooklib.config import site

    if alertmanager is not None and not rules:
        raise InputError("--alertmanager needs the alerts' labels", hint="add --rules FILE")
    for file in (*(rules or ()), *([alertmanager] if alertmanager else ())):
        refuse_missing(file, "pass a file that exists")
    now = datetime.now(UTC)
    material = lint.gather_material(
        site.home(), now.date(), rule_files=rules or (), alertmanager=alertmanager
    )
    messages = lint.lint(material, _check_series(material, live, now) if live else ())
    _print_messages(messages, style)
    if alertmanager is not None:
        from runbooklib.lint.rules import routing

        if not routing.has_amtool():
            print("not checked: whether Alertmanager can read its configuration (no amtool)", file=sys.stderr)
    errors = sum(message.rule.severity == "error" for message in messages)
    print(f"{errors} errors, {len(messages) - errors} warnings", file=sys.stderr)
    raise typer.Exit(HAS_ERRORS if errors else 0)


def _check_series(material: "Material", environment: str, now: "datetime") -> "list[Message]":
    """Messages about series. Raises EvidenceError if the environment's Prometheus does not answer."""
    from runbooklib.config import site, site_secrets
    from runbooklib.errors import EvidenceError, MissingSecretError, SourceError
    from runbooklib.lint.rules import live
    from runbooklib.redact.redactor import Redactor
    from runbooklib.sources.context import Sources
    from runbooklib.sources.tape import Tape

    known = site.services(environment)
    target = site.read_target(environment, known[0] if known else "")
    tape = Tape(Redactor(site_secrets.secrets_of(target)))
    try:
        return list(live.check(material, environment, Sources(target, tape).prometheus, now))
    except MissingSecretError:
        raise  # bad input
    except SourceError as error:
        raise EvidenceError(f"the series were not checked: {error}") from None


def _print_messages(messages: "list[Message]", style: Format) -> None:
    from runbooklib import lint
    from runbooklib.lint import formats
    from runbooklib.text import visible

    writers = {
        Format.TEXT: lambda: visible(formats.as_text(messages)),
        Format.JSON: lambda: formats.as_json(messages),
        Format.SARIF: lambda: formats.as_sarif(messages, lint.all_rules()),
    }
    print(writers[style](), end="")


def _explain(name: str) -> None:
    from runbooklib import lint
    from runbooklib.lint import formats

    rules = {rule.name: rule for rule in lint.all_rules()}
    if name == "all":
        print(formats.document(tuple(rules.values())), end="")
        return
    if name not in rules:
        raise InputError(f"there is no rule {name!r}", hint=suggestion(name, sorted(rules)))
    print(formats.explain(rules[name]), end="")
