"""`runbook recover-check`: proof that it is over."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self

import typer

from runbooklib.cli.doors import app, one_line
from runbooklib.cli.run import duration

if TYPE_CHECKING:
    from runbooklib.recovery import Certificate, Sample

RECOVERY_CODES = {"RECOVERED": 0, "NOT RECOVERED": 1, "CANNOT TELL": 2}
Held = Annotated[str, typer.Option(help="How long everything must hold, like 5m.")]
Within = Annotated[
    str, typer.Option(help="How long to wait for that; without it, ten minutes more than must be held.")
]


@app.command("recover-check")
def check_recovery(
    alert: Annotated[str, typer.Argument(help="The alert's name, as in its rule.")],
    environment: Annotated[
        str, typer.Option("--environment", "-e", help="A file of parameters/environments/.")
    ] = "",
    service: Annotated[str, typer.Option("--service", "-s", help="A service in that file.")] = "",
    output: Annotated[Path, typer.Option(help="The folder of the evidence.")] = Path("evidence"),
    held: Held = "5m",
    within: Within = "",
) -> None:
    """Prove that it is over: every condition must hold for a time, with traffic; keep the certificate.

    Exit codes: 0 RECOVERED, 1 NOT RECOVERED, 2 CANNOT TELL.
    """
    from runbooklib import runbooks

    duration("--held", held)
    if within:
        duration("--within", within)
    given = {name: value for name, value in {"environment": environment, "service": service}.items() if value}
    runbook = runbooks.find(alert)
    declared = {name: one.default for name, one in runbook.declared.items()}
    values = declared | runbooks.chosen(runbook, given)
    where = str(values["environment"]), str(values["service"])
    raise typer.Exit(RECOVERY_CODES[watch(alert, *where, output, held, within)])


def watch(alert: str, environment: str, service: str, folder: Path, held: str, within: str) -> str:
    """Watch, show how far it is, keep the certificate, and say what it says."""
    from runbooklib import certificate, present, recovery

    scene, tape = present.scene_of(alert, environment, service)
    wait = recovery.Wait.of(scene, held, within)

    with _Bar(wait.hold_seconds) as bar:
        found, deed = recovery.prove(scene, tape.redactor, folder, wait, on_sample=bar)
    _tell(found)  # before it is sealed: where that fails, it is known at least
    if deed is not None:
        print(f"After {one_line(certificate.named(deed))}")
    bundle = certificate.seal(found, scene, deed, folder)
    print(f"Certificate: {bundle / 'notebook.html'}")
    return found.outcome.value


class _Bar:
    """How long everything has held, of how long it must."""

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

    def __call__(self, sample: "Sample", held: float) -> None:
        """One more look."""
        bad = [f"{one.check} {one.status.name}" for one in sample.findings if one.status]
        says = one_line(", ".join(bad) or f"all conditions met for {held:.0f} s")
        self._progress.update(self._task, completed=held, description=says)


def _tell(found: "Certificate") -> None:
    from runbooklib.render import terminal
    from runbooklib.render.sentences import sentence

    print(f"\n{found.outcome}  {one_line(found.says)}")
    for finding in found.findings:
        after = found.turned[finding.check]
        when = "" if not after else f"  (OK after {after:.0f} s)"
        line = terminal.status(finding.status.name).plain
        print(f"  {line:<11} {one_line(finding.question)} {one_line(sentence(finding))}{when}")
