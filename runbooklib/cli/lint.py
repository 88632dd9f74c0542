"""`runbook lint`."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from runbooklib.cli.doors import app
from runbooklib.errors import InputError, suggestion

if TYPE_CHECKING:
    from datetime import datetime

    from runbooklib.lint.material import Material
    from runbooklib.lint.message import Message

_EXAMPLES = """\b
Examples:
  runbook lint
  runbook lint --rules rules.yml --alertmanager alertmanager.yml
  runbook lint --rules rules.yml --live production
  runbook lint --explain ratio-without-floor
"""
FOUND = 1


class Format(StrEnum):
    """How messages are written."""

    TEXT = "text"
    JSON = "json"
    SARIF = "sarif"


@app.command("lint", epilog=_EXAMPLES)
def lint_runbooks(
    *,
    rules: Annotated[list[Path] | None, typer.Option(help="A Prometheus rule file; may be repeated.")] = None,
    alertmanager: Annotated[Path | None, typer.Option(help="Alertmanager's configuration.")] = None,
    live: Annotated[str, typer.Option(help="Ask this environment's Prometheus for the series.")] = "",
    style: Annotated[Format, typer.Option("--format", help="How messages are written.")] = Format.TEXT,
    explain: Annotated[str, typer.Option(help="Print what a rule is about, or `all`.")] = "",
) -> None:
    """Find what is wrong with runbooks, alert rules and routing. Exit code 1 where there is an error."""
    if explain:
        _explain(explain)
        return
    from datetime import UTC, datetime

    from runbooklib import lint, settings

    if alertmanager is not None and not rules:
        raise InputError("--alertmanager needs the alerts' labels", remedy="add --rules FILE")
    now = datetime.now(UTC)
    material = lint.gathered(settings.home(), now.date(), rule_files=rules or (), alertmanager=alertmanager)
    found = lint.lint(material, _live(material, live, now) if live else ())
    _tell(found, style)
    if alertmanager is not None:
        from runbooklib.lint import routing

        if not routing.has_amtool():
            print("not checked: whether Alertmanager can read its configuration (no amtool)", file=sys.stderr)
    errors = sum(message.rule.severity == "error" for message in found)
    print(f"{errors} errors, {len(found) - errors} warnings", file=sys.stderr)
    raise typer.Exit(FOUND if errors else 0)


def _live(material: "Material", environment: str, now: "datetime") -> "list[Message]":
    """What the environment's Prometheus says of the series. Raises SourceError where it does not answer."""
    from runbooklib import settings
    from runbooklib.errors import EvidenceError, SourceError
    from runbooklib.lint import live
    from runbooklib.redact import Redactor
    from runbooklib.scene import Sources
    from runbooklib.tape import Tape

    known = settings.services(environment)
    target = settings.read_target(environment, known[0] if known else "")
    tape = Tape(Redactor(settings.secrets_of(target)))
    try:
        return list(live.check(material, Sources(target, tape).prometheus, now))
    except SourceError as error:
        raise EvidenceError(f"the series were not checked: {error}") from None


def _tell(found: "list[Message]", style: Format) -> None:
    from runbooklib import lint
    from runbooklib.lint import formats
    from runbooklib.visibly import visible

    written = {
        Format.TEXT: lambda: visible(formats.as_text(found)),
        Format.JSON: lambda: formats.as_json(found),
        Format.SARIF: lambda: formats.as_sarif(found, lint.rules()),
    }
    print(written[style](), end="")


def _explain(name: str) -> None:
    from runbooklib import lint
    from runbooklib.lint import formats

    rules = {rule.name: rule for rule in lint.rules()}
    if name == "all":
        print(formats.document(tuple(rules.values())), end="")
        return
    if name not in rules:
        raise InputError(f"there is no rule {name!r}", remedy=suggestion(name, sorted(rules)))
    print(formats.explained(rules[name]), end="")
