"""What all commands share: the application, its exit codes, text that is safe to print."""

from functools import cache
from typing import TYPE_CHECKING, Annotated

import typer

from runbooklib.cli.commands import CommandGroup, examples

if TYPE_CHECKING:
    from runbooklib.redact.redactor import Redactor

EXIT_CODES = {"OK": 0, "WARNING": 1, "CRITICAL": 1, "UNKNOWN": 2}
TAMPERED, BAD_INPUT, RUN_FAILED, ACTION_FAILED = 1, 3, 4, 5

app = typer.Typer(
    cls=CommandGroup,
    invoke_without_command=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    epilog=examples(
        "runbook list",
        "runbook run HighErrorRate --environment lab",
        "runbook batch --all --environment lab",
        "runbook replay evidence/20260115T031200Z-HighErrorRate-backend",
        "runbook verify evidence",
        "runbook run --help",
    ),
)


@cache
def redactor() -> "Redactor":
    """Removes the secrets of this process's environment from a text. Made once per process."""
    from runbooklib.config.site_secrets import environment_secrets
    from runbooklib.redact.redactor import Redactor

    return Redactor(environment_secrets())


def one_line(text: str) -> str:
    """The text as one line that is safe to print: no secrets, no terminal control characters."""
    from runbooklib.redact.redactor import Depth
    from runbooklib.text import visible

    return " ".join(visible(redactor().text(text, Depth.SECRETS)).split("\n"))


def _print_version(is_wanted: bool) -> None:  # noqa: FBT001 - Typer passes the option's value by position
    if is_wanted:
        from importlib import metadata

        print(f"runbooklib {metadata.version('runbooklib')}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    *,
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    """Diagnose alerts with Jupyter notebooks. Each run is kept as sealed evidence.

    Exit codes: 0 OK, 1 a problem exists, 2 UNKNOWN, 3 bad input, 4 the run or its evidence failed,
    5 an action failed or was refused, 128+n ended by signal n.
    """
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit(BAD_INPUT)  # not 0, which means OK: a script may have an empty variable here


@app.command("list", epilog=examples("runbook list"))
def list_runbooks() -> None:
    """List the runbooks and the environments."""
    from runbooklib.config import runbooks, site

    for alert in runbooks.alerts():
        print(f"{alert:<28} {runbooks.find(alert).title}")
    print(f"\nEnvironments: {', '.join(site.environments()) or 'none'}")
