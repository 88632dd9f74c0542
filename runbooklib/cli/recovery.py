"""`runbook verify-recovery`: prove that an incident is over."""

from pathlib import Path
from typing import TYPE_CHECKING, Self

import typer

from runbooklib.cli.app import app, one_line
from runbooklib.cli.commands import examples
from runbooklib.cli.options import Alert, Environment, EvidenceFolder, Held, Service, Within, duration

if TYPE_CHECKING:
    from runbooklib.actions.recovery import Certificate, Sample

RECOVERY_CODES = {"RECOVERED": 0, "NOT RECOVERED": 1, "CANNOT TELL": 2}


@app.command("recover-check", hidden=True)  # the name before `verify-recovery`
@app.command(
    "verify-recovery",
    epilog=examples(
        "runbook verify-recovery HighErrorRate -e lab",
        "runbook verify-recovery HighErrorRate -e lab -s backend --held 10m",
    ),
)
def verify_recovery(
    alert: Alert,
    environment: Environment = "",
    service: Service = "",
    output: EvidenceFolder = Path("evidence"),
    held: Held = "5m",
    within: Within = "",
) -> None:
    """Prove that the incident is over, and keep the certificate.

    All recovery conditions must hold for the whole time --held, while there is traffic.

    Exit codes: 0 RECOVERED, 1 NOT RECOVERED, 2 CANNOT TELL.
    """
    from runbooklib.config import runbooks

    duration("--held", held)
    if within:
        duration("--within", within)
    given = {name: value for name, value in {"environment": environment, "service": service}.items() if value}
    runbook = runbooks.find(alert)
    defaults = {name: parameter.default for name, parameter in runbook.declared.items()}
    values = defaults | runbooks.chosen(runbook, given)
    target = str(values["environment"]), str(values["service"])
    raise typer.Exit(RECOVERY_CODES[watch(alert, *target, output, held, within)])


def watch(alert: str, environment: str, service: str, folder: Path, held: str, within: str) -> str:
    """Watch the recovery conditions, print the result, and seal the certificate in `folder`.

    Returns "RECOVERED", "NOT RECOVERED" or "CANNOT TELL". `held` and `within` are durations such as 5m.
    """
    from runbooklib.actions import certificate, recovery
    from runbooklib.sources.context import context_of

    context, tape = context_of(alert, environment, service)
    wait = recovery.Wait.of(context, held, within)

    with _ProgressBar(wait.hold_seconds) as bar:
        result, deed = recovery.prove(context, tape.redactor, folder, wait, on_sample=bar)
    _print_result(result)  # before it is sealed: if sealing fails, the result is at least on the screen
    if deed is not None:
        print(f"After {one_line(certificate.action_line(deed))}")
    bundle = certificate.seal(result, context, deed, folder)
    print(f"Certificate: {bundle / 'notebook.html'}")
    return result.outcome.value


class _ProgressBar:
    """For how many seconds all conditions have held, out of those required. On standard error."""

    def __init__(self, hold_seconds: float) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        from runbooklib.render import terminal

        columns = (BarColumn(30), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
        self._progress = Progress(*columns, console=terminal.console(stderr=True), transient=True)
        self._task = self._progress.add_task("asking …", total=hold_seconds)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, sample: "Sample", held_seconds: float) -> None:
        """Show the newest sample of all conditions."""
        failed = [f"{finding.check} {finding.status.name}" for finding in sample.findings if finding.status]
        text = one_line(", ".join(failed) or f"all conditions hold for {held_seconds:.0f} s")
        self._progress.update(self._task, completed=held_seconds, description=text)


def _print_result(result: "Certificate") -> None:
    from runbooklib.render import terminal
    from runbooklib.render.sentences import sentence

    print(f"\n{result.outcome}  {one_line(result.says)}")
    for finding in result.findings:
        good_after_seconds = result.seconds_until_ok[finding.check]
        note = f"  (good after {good_after_seconds:.0f} s)" if good_after_seconds else ""
        status = terminal.status(finding.status.name).plain
        print(f"  {status:<11} {one_line(finding.question)} {one_line(sentence(finding))}{note}")
