"""The command line: `runbook run HighErrorRate --environment lab`.

Exit codes: 0 OK, 1 a problem was found, 2 UNKNOWN, 3 bad input (before a kernel starts), 4 the run or its
evidence failed, 5 an action failed or was refused, 128+n ended by signal n.
"""

import json
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from runbooklib.errors import ActionError, InputError, RunbookError

EXIT_CODES = {"OK": 0, "WARNING": 1, "CRITICAL": 1, "UNKNOWN": 2}
BAD_INPUT, RUN_FAILED, ACTION_FAILED = 3, 4, 5

# Typer carries a click of its own in some versions and uses click's in others; this is its class in both.
_UsageError: Any = typer.BadParameter.__base__

_EXAMPLES = """\b
Examples:
  runbook list
  runbook run HighErrorRate --environment lab
  runbook run HighErrorRate -e helloagents --at 2026-01-15T03:12:00Z --lookback 3h
  runbook run HighErrorRate -e lab -p error_rate_limit=0.01 --json | jq .causes
"""

app = typer.Typer(
    help="Runbooks that run: an alert's notebook, executed and kept as evidence.",
    epilog=_EXAMPLES,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


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


@app.command("run", epilog=_EXAMPLES)
def run_runbook(
    alert: Annotated[str, typer.Argument(help="The alert's name, as in its rule.")],
    environment: Annotated[
        str, typer.Option("--environment", "-e", help="A file of parameters/environments/.")
    ] = "",
    service: Annotated[str, typer.Option("--service", "-s", help="A service in that file.")] = "",
    at: Annotated[str, typer.Option(help="End of the window, like 2026-01-15T03:12:00Z; else now.")] = "",
    lookback: Annotated[str, typer.Option(help="Length of the window, like 1h30m.")] = "",
    parameter: Annotated[
        list[str] | None,
        typer.Option("--parameter", "-p", help="A parameter as name=value; may be repeated."),
    ] = None,
    output: Annotated[Path, typer.Option(help="The folder for the evidence.")] = Path("evidence"),
    as_json: Annotated[  # noqa: FBT002 - a flag of the command line
        bool, typer.Option("--json", help="Print the verdict alone, as JSON.")
    ] = False,
) -> None:
    """Run an alert's runbook headlessly, print the answer, and keep the executed notebook as evidence."""
    from runbooklib import runbooks

    named = {"environment": environment, "service": service, "at": at, "lookback": lookback}
    given = {name: value for name, value in named.items() if value} | _pairs(parameter or [])
    runbook = runbooks.find(alert)
    values = runbooks.chosen(runbook, given)
    from runbooklib import runner  # papermill and pandas: only once nothing is left to refuse

    bundle = runner.prepare(runbook, values, output)
    run = runner.run(runbook, values, bundle, None if as_json else _Progress(alert))
    _tell(run, as_json=as_json)
    raise typer.Exit(RUN_FAILED if run.failure or run.verdict is None else EXIT_CODES[run.verdict["status"]])


def _pairs(texts: list[str]) -> dict[str, str]:
    pairs = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not separator:
            raise InputError(f"-p {text!r} is not name=value", remedy="for example -p lookback=2h")
        pairs[name] = value
    return pairs


class _Progress:
    """A line on standard error for each finding."""

    def __init__(self, alert: str) -> None:
        from runbooklib.render import terminal

        self._console = terminal.console(stderr=True)
        self._console.print(f"Running {alert} …", style="dim")

    def __call__(self, finding: dict[str, Any], seconds: float) -> None:
        from runbooklib.render import terminal

        self._console.print(
            terminal.progress_line(finding["status"], finding["check"], finding["says"], seconds),
            soft_wrap=True,
        )


def _tell(run: Any, *, as_json: bool) -> None:
    if as_json:
        print(
            json.dumps({**(run.verdict or {}), "bundle": str(run.bundle), "failure": run.failure}, indent=2)
        )
    else:
        from runbooklib.render import terminal

        out = terminal.console()
        if run.verdict is not None:
            out.print()
            out.print(terminal.answer(run.verdict))
        out.print(f"\nEvidence: {run.bundle / 'notebook.html'}  ({run.seconds:.1f} s)", soft_wrap=True)
    if run.failure:
        print(f"runbook: the run did not finish: {run.failure}", file=sys.stderr)


def _on_signal(number: int, _: FrameType | None) -> None:
    raise SystemExit(128 + number)


def main() -> None:
    """Run the command line; errors are one line that says what to do."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _on_signal)
    try:
        sys.exit(app(standalone_mode=False))
    except (typer.Abort, KeyboardInterrupt):
        sys.exit(128 + signal.SIGINT)
    except _UsageError as error:
        print(f"runbook: {error.format_message()} (see runbook --help)", file=sys.stderr)
        sys.exit(BAD_INPUT)
    except RunbookError as error:
        print(f"runbook: {error}", file=sys.stderr)
        sys.exit(_exit_code(error))


def _exit_code(error: RunbookError) -> int:
    if isinstance(error, InputError):
        return BAD_INPUT
    return ACTION_FAILED if isinstance(error, ActionError) else RUN_FAILED
