"""What all commands share: the application, its exit codes, its help."""

from functools import cache
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from runbooklib.redact import Redactor

EXIT_CODES = {"OK": 0, "WARNING": 1, "CRITICAL": 1, "UNKNOWN": 2}
TAMPERED, BAD_INPUT, RUN_FAILED, ACTION_FAILED = 1, 3, 4, 5

_EXAMPLES = """\b
Examples:
  runbook list
  runbook run HighErrorRate --environment lab
  runbook batch --all --environment lab
  runbook replay evidence/20260115T031200Z-HighErrorRate-backend
  runbook verify evidence
"""

app = typer.Typer(
    epilog=_EXAMPLES,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@cache
def redactor() -> "Redactor":
    """Takes out what is secret in this process's environment; made once a command."""
    from runbooklib.redact import Redactor
    from runbooklib.settings import environment_secrets

    return Redactor(environment_secrets())


def one_line(told: str) -> str:
    """Any text as one line of ours: without secrets, and without anything that a terminal would act on."""
    from runbooklib.redact import Depth
    from runbooklib.visibly import visible

    return " ".join(visible(redactor().text(told, Depth.SECRETS)).split("\n"))


@app.callback()
def _options() -> None:
    """Runbooks that run: an alert's notebook, executed and kept as evidence.

    Exit codes: 0 OK, 1 a problem was found, 2 UNKNOWN, 3 bad input, 4 the run or its evidence failed,
    5 an action failed or was refused, 128+n ended by signal n.
    """


@app.command("list")
def list_runbooks() -> None:
    """List the runbooks and the environments that they can ask."""
    from runbooklib import runbooks, settings

    for alert in runbooks.alerts():
        print(f"{alert:<28} {runbooks.find(alert).title}")
    print(f"\nEnvironments: {', '.join(settings.environments()) or 'none'}")
