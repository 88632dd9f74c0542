"""`runbook batch`."""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from runbooklib.cli import completion
from runbooklib.cli.app import EXIT_CODES, RUN_FAILED, app
from runbooklib.cli.commands import examples
from runbooklib.cli.options import At, Environment, Lookback, Output, Pdf
from runbooklib.cli.run import parse_parameters, recover_quietly
from runbooklib.cli.upload import browser, place
from runbooklib.errors import EvidenceError, InputError

if TYPE_CHECKING:
    from runbooklib.execution.batch import Planned, RunOutcome

_JOBS = min(4, os.cpu_count() or 1)
_WORST_FIRST = (RUN_FAILED, *(EXIT_CODES[name] for name in ("CRITICAL", "UNKNOWN", "OK")))


@app.command(
    "batch",
    epilog=examples(
        "runbook batch --all --environment lab",
        "runbook batch HighErrorRate ServiceDown -e lab --services backend,frontend",
        "runbook batch --all -e lab --at 2026-01-15T03:12:00Z --output s3://bucket/evidence",
    ),
)
def run_batch(
    alerts: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="ALERT...", help="The alerts' names in their rules.", autocompletion=completion.alerts
        ),
    ] = None,
    *,
    every: Annotated[bool, typer.Option("--all", help="Run all runbooks.")] = False,
    environment: Environment = "",
    services: Annotated[
        str, typer.Option(metavar="A,B", help="Services of the environment. Each alert is run for each.")
    ] = "",
    at: At = "",
    lookback: Lookback = "",
    parameter: Annotated[
        list[str] | None,
        typer.Option(
            "--parameter", "-p", metavar="NAME=VALUE", help="For the runbooks that have this parameter."
        ),
    ] = None,
    jobs: Annotated[
        int,
        typer.Option(
            min=1,
            metavar="N",
            help="How many run at the same time.",
            show_default="the number of CPUs, at most 4",
        ),
    ] = _JOBS,
    output: Output = "evidence",
    pdf: Pdf = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print only the verdicts, as JSON.")] = False,
) -> None:
    """Run several runbooks and print a table of the verdicts.

    Each runs in its own process. index.html in the --output folder links all of them. The exit code is the
    worst of all: 4 if a run failed, else 1 if a problem exists, else 2 if a verdict is UNKNOWN.
    """
    common = {"environment": environment, "at": at, "lookback": lookback}
    parameters = {name: value for name, value in common.items() if value}
    parameters |= parse_parameters(parameter or [])
    planned = _plan(alerts or [], services, parameters, is_all=every)
    to = place(output)
    options = ["--pdf"] if browser(is_wanted=pdf) else []
    outcomes = _run(planned, to.folder, jobs, options)
    recover_quietly(to.folder)  # a run of this batch may have been killed
    _print_table(outcomes, to.folder, as_json=as_json)
    if to.url:
        _upload([outcome.bundle for outcome in outcomes if outcome.bundle], to.url)
    codes = {EXIT_CODES.get(outcome.status, RUN_FAILED) for outcome in outcomes}
    raise typer.Exit(next(code for code in _WORST_FIRST if code in codes))


def _plan(alerts: list[str], services: str, parameters: dict[str, str], *, is_all: bool) -> "list[Planned]":
    from runbooklib.config import runbooks
    from runbooklib.execution import batch

    if is_all == bool(alerts):
        raise InputError("name the alerts, or --all, and not both", hint="see `runbook list`")
    service_names = [name.strip() for name in services.split(",")] if services else []
    if not all(service_names):
        raise InputError(f"--services {services!r} has an empty name", hint="for example --services a,b")
    if service_names and "service" in parameters:
        raise InputError("--services and -p service=… contradict each other", hint="leave one out")
    return batch.plan(runbooks.alerts() if is_all else alerts, service_names, parameters)


def _run(planned: "list[Planned]", output: Path, jobs: int, options: list[str]) -> "list[RunOutcome]":
    """Run them, with a progress bar on standard error."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from runbooklib.execution import batch
    from runbooklib.render import batch_index, terminal

    plain = TextColumn("{task.description}", markup=False)
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), plain)
    console = terminal.console(stderr=True)
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=len(planned))

        def on_change(running: "Sequence[Planned]", ended: "RunOutcome | None") -> None:
            names = ", ".join(f"{planned_run.alert} {planned_run.service}" for planned_run in running)
            progress.update(task, description=names, advance=1 if ended else 0)
            if ended:
                console.print(batch_index.line(ended.row), soft_wrap=True)

        return batch.run_all(planned, output, jobs=jobs, options=options, on_change=on_change)


def _print_table(outcomes: "Sequence[RunOutcome]", output: Path, *, as_json: bool) -> None:
    from runbooklib.execution import batch
    from runbooklib.render import batch_index, terminal

    if as_json:
        print(json.dumps([outcome.as_dict() for outcome in outcomes], indent=2, ensure_ascii=False))
    index = batch.write_index(output, outcomes)
    if not as_json:
        out = terminal.console()
        if not out.is_terminal:
            out.width = 160
        out.print(batch_index.table([outcome.row for outcome in outcomes]))
        out.print(f"Index: {index}", soft_wrap=True)


def _upload(bundles: list[Path], url: str) -> None:
    """Copy all bundles. The first failure ends it, because the other bundles go to the same place."""
    from runbooklib.evidence import upload

    for number, bundle in enumerate(bundles):
        try:
            upload.upload(bundle, url)
        except EvidenceError as error:
            left = " ".join(map(str, bundles[number:]))
            raise EvidenceError(
                error.message, hint=f"finish with `runbook upload {left} {upload.hide_credentials(url)}`"
            ) from None
        print(f"Uploaded: {upload.hide_credentials(url)}/{bundle.name}", file=sys.stderr)
