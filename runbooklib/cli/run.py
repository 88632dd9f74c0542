"""`runbook run`, and what other commands share with it: parameters, progress, result, exit code."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from runbooklib.cli.app import EXIT_CODES, RUN_FAILED, app, one_line, redactor
from runbooklib.cli.commands import examples
from runbooklib.cli.options import Alert, At, Environment, Lookback, Output, Pdf, Service, duration
from runbooklib.cli.upload import browser, complete, place
from runbooklib.errors import InputError
from runbooklib.execution.limits import Deadlines
from runbooklib.text import quoted


@app.command(
    "run",
    epilog=examples(
        "runbook run HighErrorRate --environment lab",
        "runbook run HighErrorRate -e lab --at 2026-01-15T03:12:00Z --lookback 3h",
        "runbook run HighErrorRate -e lab -p error_rate_limit=0.01 --json | jq .causes",
    ),
)
def run_runbook(
    alert: Alert,
    environment: Environment = "",
    service: Service = "",
    at: At = "",
    lookback: Lookback = "",
    parameter: Annotated[
        list[str] | None,
        typer.Option("--parameter", "-p", metavar="NAME=VALUE", help="A parameter. May be repeated."),
    ] = None,
    output: Output = "evidence",
    step_within: Annotated[
        str,
        typer.Option(
            metavar="DURATION", help="How long one step may take. Then it is interrupted, or killed."
        ),
    ] = "2m",
    within: Annotated[str, typer.Option(metavar="DURATION", help="How long the whole run may take.")] = "10m",
    pdf: Pdf = False,  # noqa: FBT002 - a flag of the command line
    as_json: Annotated[  # noqa: FBT002 - a flag of the command line
        bool, typer.Option("--json", help="Print only the verdict, as JSON.")
    ] = False,
) -> None:
    """Run an alert's runbook and print the verdict.

    It runs without a browser. The executed notebook is kept as evidence in the --output folder.
    """
    from runbooklib.config import runbooks
    from runbooklib.evidence import signature

    options = {"environment": environment, "service": service, "at": at, "lookback": lookback}
    parameters = {name: value for name, value in options.items() if value}
    extra_parameters = parse_parameters(parameter or [])
    if twice := parameters.keys() & extra_parameters.keys():
        raise InputError(f"--{min(twice)} and -p {min(twice)}=… contradict each other", hint="leave one out")
    parameters |= extra_parameters
    runbook = runbooks.find(alert)
    values = runbooks.chosen(runbook, parameters)
    refuse_secrets(values)
    signature.private_key()  # refuse a key that cannot sign before the run, not after it
    to, chromium = place(output), browser(is_wanted=pdf)
    step_seconds, run_seconds = duration("--step-within", step_within), duration("--within", within)
    from runbooklib.execution import runner  # imports papermill and pandas: only once all input is accepted

    deadlines = Deadlines(step_seconds=step_seconds, run_seconds=run_seconds)
    recover_quietly(to.folder)
    bundle = runner.prepare(runbook, values, to.folder, chromium)
    run = runner.run(runbook, values, bundle, None if as_json else Progress(alert), deadlines)
    print_result(run, as_json=as_json)
    complete(run.bundle, to.url, has_pdf=pdf)
    raise typer.Exit(exit_code(run))


def exit_code(run: Any) -> int:
    """The exit code of a run. A run that did not finish is UNKNOWN, unless it had found a problem."""
    if run.signal:
        return 128 + int(run.signal)
    if run.trouble or run.verdict is None or not run.has_begun:
        return RUN_FAILED
    return EXIT_CODES[run.verdict["status"]]


def recover_quietly(folder: Path) -> None:
    """Seal the interrupted runs in the folder. A failure is printed only: it must not fail this run."""
    from runbooklib.errors import RunbookError
    from runbooklib.execution import interrupted_runs

    try:
        for bundle in interrupted_runs.recover(folder):
            print(f"runbook: sealed an interrupted run: {bundle}", file=sys.stderr)
    except RunbookError as error:
        print(f"runbook: {one_line(str(error))}", file=sys.stderr)


def parse_parameters(texts: list[str]) -> dict[str, str]:
    """The values of `-p name=value` options, by name. Raises InputError."""
    values = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not separator:
            raise InputError(f"-p {quoted(text)} is not name=value", hint="for example -p lookback=2h")
        if name in values:
            raise InputError(f"-p {quoted(name)} is given twice", hint="leave one out")
        values[name] = value
    refuse_secrets(values)
    return values


def refuse_secrets(values: Mapping[str, object]) -> None:
    """Raises InputError for a parameter that holds a secret: parameters are written into the evidence."""
    from runbooklib.redact.redactor import Depth

    for name, value in values.items():
        if {name: value} != redactor().json({name: value}, Depth.SECRETS):
            raise InputError(
                f"the parameter {name!r} holds a password, a token or a key, and parameters are kept",
                hint="set an environment variable, and name it in the environment's file (password_env)",
            )


class Progress:
    """A line on standard error for each finding."""

    def __init__(self, alert: str) -> None:
        from runbooklib.render import terminal

        self._console = terminal.console(stderr=True)
        self._console.print(f"Running {one_line(alert)} …", style="dim")

    def __call__(self, finding: dict[str, Any], seconds: float) -> None:
        """Print the finding's line. `seconds` is how long its check took."""
        from runbooklib.render import terminal

        status, check, says = (one_line(str(finding[name])) for name in ("status", "check", "says"))
        self._console.print(terminal.progress_line(status, check, says, seconds), soft_wrap=True)


def print_result(run: Any, *, as_json: bool, may_act: bool = True) -> None:
    """Print the verdict, where the evidence is, and which actions can be approved; or the verdict as JSON."""
    from runbooklib.evidence import ledger
    from runbooklib.redact.redactor import Depth

    # The verdict as the kernel sent it: it is redacted here, because only the evidence was redacted so far.
    verdict, head = redactor().json(run.verdict, Depth.SECRETS), ledger.head_of(run.bundle)
    if as_json:
        run_fields = {"bundle": str(run.bundle), "failure": one_line(run.failure), "head": head}
        print(json.dumps({**(verdict or {}), **run_fields}, indent=2))
    else:
        from runbooklib.render import terminal

        out = terminal.console()
        if verdict is not None:
            out.print()
            out.print(terminal.answer(verdict))
        out.print(f"\nEvidence: {run.bundle / 'notebook.html'}  ({run.seconds:.1f} s)", soft_wrap=True)
        out.print(f"Ledger head, for the postmortem: {head}", soft_wrap=True)
        if may_act and verdict and verdict.get("actions") and verdict["status"] != "OK":
            out.print(f"What can be approved: runbook approve {run.bundle}", soft_wrap=True)
    if run.failure:
        print(f"runbook: the run did not finish: {one_line(run.failure)}", file=sys.stderr)
    if run.trouble:
        print(f"runbook: {one_line(run.trouble)}; see {run.bundle}", file=sys.stderr)
