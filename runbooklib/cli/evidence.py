"""`runbook replay`, `verify` and `seal`: what is done with evidence once it is there."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from runbooklib.cli.doors import EXIT_CODES, RUN_FAILED, TAMPERED, app, one_line
from runbooklib.cli.run import Progress, tell
from runbooklib.cli.upload import Output, Pdf, browser, complete, place
from runbooklib.errors import InputError


@app.command("replay")
def replay_evidence(
    evidence: Annotated[Path, typer.Argument(help="A bundle, an executed notebook, or a recording.")],
    notebook: Annotated[
        Path | None, typer.Option(help="Replay it with this notebook, and show what it finds differently.")
    ] = None,
    output: Output = "evidence",
    pdf: Pdf = False,  # noqa: FBT002 - a flag of the command line
    as_json: Annotated[  # noqa: FBT002 - a flag of the command line
        bool, typer.Option("--json", help="Print the verdict alone, as JSON.")
    ] = False,
) -> None:
    """Run an incident again from its recording; no system is asked.

    Exit codes are those of `run`; 4 where the verdict is not the recorded one, or a question was never
    recorded.
    """
    if not evidence.exists():
        raise InputError(f"{evidence} does not exist", remedy="name a bundle under evidence/")
    to, chromium = place(output), browser(is_wanted=pdf)
    from runbooklib import replay

    on_finding = None if as_json else Progress(evidence.name)
    played = replay.replay(evidence, to.folder, notebook=notebook, on_finding=on_finding, chromium=chromium)
    tell(played.run, as_json=as_json)
    if not as_json:
        print("This is a replay: every answer above was recorded, and no system was asked.")
        _compare(played.changed, is_identical=played.is_identical)
    complete(played.run.bundle, to.url, has_pdf=pdf)
    if played.run.failure or played.run.verdict is None or not (notebook or played.is_identical):
        raise typer.Exit(RUN_FAILED)
    raise typer.Exit(EXIT_CODES[played.run.verdict["status"]])


def _compare(changed: tuple[tuple[str, str, str], ...], *, is_identical: bool) -> None:
    if is_identical:
        print("The verdict is the recorded one, to the byte.")
        return
    print("The verdict differs from the recorded one:")
    for what, then, now in changed:
        print(f"  {one_line(what)}\n    then  {one_line(then)}\n    now   {one_line(now)}")


@app.command("export")
def export_recording(
    bundle: Annotated[Path, typer.Argument(help="A bundle, or an executed notebook.")],
    file: Annotated[Path, typer.Argument(help="The file to write, like incident.json.")],
) -> None:
    """Write the recording alone to a file: small, without outputs, fit for a repository and for `replay`."""
    from runbooklib import evidence, report

    exported = report.canonical(evidence.export(bundle))
    try:
        with file.open("x", encoding="utf-8") as new:
            new.write(exported)
    except OSError as error:
        raise InputError(f"{file} cannot be written: {error.strerror}", remedy="name a new file") from None
    print(f"{file}: {len(exported) // 1024} KiB")


@app.command("verify")
def verify_evidence(
    bundles: Annotated[list[Path], typer.Argument(help="Bundles, or a folder of bundles with its ledger.")],
) -> None:
    """Check that evidence is as it was sealed: every byte of every file, and the chain over all bundles.

    Exit code 1 names what was changed, removed or added.
    """
    from runbooklib import manifest

    wrong = []
    for path in bundles:
        if not path.is_dir():
            raise InputError(f"{path} is not a folder", remedy="name a bundle, or the folder that holds them")
        is_bundle = (path / manifest.FILE).exists() or not manifest.is_folder_of_bundles(path)
        found = manifest.verify_bundle(path) if is_bundle else manifest.verify_folder(path)
        wrong += found
        print(f"{'whole  ' if not found else 'CHANGED'}  {path}")
    for line in wrong:
        print(f"  {one_line(line)}", file=sys.stderr)
    raise typer.Exit(TAMPERED if wrong else 0)


@app.command("recover")
def recover_evidence(
    output: Annotated[Path, typer.Option(help="The folder for the evidence.")] = Path("evidence"),
) -> None:
    """Seal what killed runs left behind: each as interrupted, with every step that had finished.

    The next `run` into the folder does the same. Runs that are under way are left alone.
    """
    if not output.is_dir():
        raise InputError(f"{output} is not a folder", remedy="name the folder of the evidence with --output")
    from runbooklib import recover

    found = False
    for bundle in recover.recover(output):
        found = True
        print(f"Evidence: {bundle / 'notebook.html'}")
    if not found:
        print("Nothing was left behind.")


@app.command("seal")
def seal_notebook(
    notebook: Annotated[Path, typer.Argument(help="A notebook that papermill or JupyterLab executed.")],
    output: Output = "evidence",
    pdf: Pdf = False,  # noqa: FBT002 - a flag of the command line
) -> None:
    """Make the same evidence of a notebook that was executed elsewhere."""
    from runbooklib import seal

    to, chromium = place(output), browser(is_wanted=pdf)
    bundle = seal.seal(notebook, to.folder, chromium)
    print(f"Evidence: {bundle / 'notebook.html'}")
    complete(bundle, to.url, has_pdf=pdf)
