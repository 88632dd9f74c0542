"""`runbook replay`, `export`, `verify`, `keygen` and `seal`: read, check and seal evidence."""

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from runbooklib.cli import completion
from runbooklib.cli.app import RUN_FAILED, TAMPERED, app, one_line
from runbooklib.cli.commands import examples
from runbooklib.cli.options import Output, Pdf, refuse_missing, refuse_no_folder
from runbooklib.cli.run import Progress, exit_code, print_result
from runbooklib.cli.upload import browser, complete, place
from runbooklib.config import variables
from runbooklib.errors import InputError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    from runbooklib.execution.replay import Replay


@app.command(
    "replay",
    epilog=examples(
        "runbook replay evidence/20260115T031200Z-HighErrorRate-backend",
        "runbook replay recordings/HighErrorRate-connections-exhausted.json",
        "runbook replay incident.json --notebook notebooks/HighErrorRate.ipynb",
    ),
)
def replay_evidence(
    evidence: Annotated[
        Path,
        typer.Argument(
            metavar="EVIDENCE",
            help="A bundle, an executed notebook, or a recording.",
            autocompletion=completion.bundles,
        ),
    ],
    notebook: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Replay with this notebook, and show what its verdict changes."),
    ] = None,
    output: Output = "evidence",
    pdf: Pdf = False,  # noqa: FBT002 - a flag of the command line
    as_json: Annotated[  # noqa: FBT002 - a flag of the command line
        bool, typer.Option("--json", help="Print only the verdict, as JSON.")
    ] = False,
) -> None:
    """Run an incident again from its recording, offline.

    No system is asked. Exit codes are those of `run`, and 4 if the verdict is not the recorded one, or if the
    notebook asks a question that was not recorded. A verdict of an older version is
    compared without its sentences.
    """
    refuse_missing(evidence)
    if notebook:
        refuse_missing(notebook, "pass a notebook, for example notebooks/HighErrorRate.ipynb")
    to, chromium = place(output), browser(is_wanted=pdf)
    from runbooklib.evidence import signature
    from runbooklib.execution import replay

    signature.private_key()  # refuse a key that cannot sign before the run, not after it

    on_finding = None if as_json else Progress(evidence.name)
    replayed = replay.replay(evidence, to.folder, notebook=notebook, on_finding=on_finding, chromium=chromium)
    print_result(replayed.run, as_json=as_json, may_act=False)
    if not as_json:
        print("This is a replay: all answers above were recorded. No system was asked.")
    _compare(replayed, out=sys.stderr if as_json else sys.stdout)
    complete(replayed.run.bundle, to.url, has_pdf=pdf)
    code = exit_code(replayed.run)
    has_failed = bool(replayed.run.failure) or not (notebook or replayed.agrees)
    raise typer.Exit(RUN_FAILED if has_failed and not replayed.run.signal else code)


def _compare(replayed: "Replay", out: TextIO) -> None:
    """Say whether the verdict is the recorded one, and in what it differs."""
    from runbooklib.model.verdict import VERSION

    if not replayed.compares_sentences:
        version = replayed.recorded["version"]
        print(f"The recorded verdict has version {version}, this one {VERSION}.", end=" ", file=out)
        print("Sentences are not compared between versions.", file=out)
        if replayed.agrees:
            print("Statuses, ranks, onset and start times are the recorded ones.", file=out)
    elif replayed.is_identical:
        print("The verdict is the recorded one, to the byte.", file=out)
    if not replayed.agrees:
        print("The verdict differs from the recorded one:", file=out)
        for name, recorded, current in replayed.differences:
            print(
                f"  {one_line(name)}\n    then  {one_line(recorded)}\n    now   {one_line(current)}",
                file=out,
            )


@app.command(
    "export",
    epilog=examples("runbook export evidence/20260115T031200Z-HighErrorRate-backend incident.json"),
)
def export_recording(
    bundle: Annotated[
        Path,
        typer.Argument(
            metavar="BUNDLE", help="A bundle or an executed notebook.", autocompletion=completion.bundles
        ),
    ],
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The file to write, for example incident.json.")
    ],
) -> None:
    """Write a bundle's recording to a small file.

    It has no outputs and can be committed to a repository. `runbook replay FILE` replays it.
    """
    refuse_missing(bundle)
    from runbooklib.evidence import executed_notebook, verdict_json

    exported = verdict_json.canonical(executed_notebook.export(bundle))
    try:
        with file.open("x", encoding="utf-8") as new:
            new.write(exported)
    except OSError as error:
        raise InputError(f"{file} cannot be written: {error.strerror}", hint="name a new file") from None
    print(f"{file}: {len(exported) // 1024} KiB")


@app.command(
    "verify",
    epilog=examples(
        "runbook verify evidence",
        "runbook verify evidence/20260115T031200Z-HighErrorRate-backend --key signing.pub.pem",
        f"runbook verify evidence --head {'5b1f' * 16}",
    ),
)
def verify_evidence(
    bundles: Annotated[
        list[Path],
        typer.Argument(
            metavar="BUNDLE...",
            help="Bundles, or the evidence folder with its ledger.",
            autocompletion=completion.bundles,
        ),
    ],
    head: Annotated[
        list[str] | None,
        typer.Option(metavar="SHA256", help="A ledger head from a postmortem. The ledger must contain it."),
    ] = None,
    key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A public key (PEM). It must have signed each bundle.")
    ] = None,
) -> None:
    """Check that evidence is unchanged since it was sealed.

    It checks each byte of each file, and the hash chain over all bundles. Exit code 1: a file was changed,
    removed, added, not signed, or signed with another key. Each is named.
    """
    from runbooklib.evidence import signature

    heads, public = [_head(text) for text in head or ()], signature.public_key(key) if key else None
    for path in bundles:
        refuse_missing(path)
        if not path.is_dir():
            raise InputError(f"{path} is not a folder", hint="pass a bundle or the evidence folder")
    problems = [line for path in bundles for line in _verify_path(path, public)]
    problems += _check_heads(heads, bundles)
    if not heads:  # the hash chain cannot show this, and the word "whole" must not claim it
        print("Not checked: whether the newest bundles were cut off with their lines (--head HEAD)")
    if public is None:
        print("Not checked: who sealed the evidence (--key PUBLIC.pem)")
    for line in dict.fromkeys(problems):
        print(f"  {one_line(line)}", file=sys.stderr)
    raise typer.Exit(TAMPERED if problems else 0)


def _head(text: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{64}", text.lower()):
        raise InputError(
            f"--head {text[:80]!r} is not a SHA-256", hint="pass the 64 digits that `runbook run` printed"
        )
    return text.lower()


def _is_bundle(path: Path) -> bool:
    from runbooklib.evidence import manifest

    return (path / manifest.FILE).exists() or not manifest.is_folder_of_bundles(path)


def _verify_path(path: Path, key: "Ed25519PublicKey | None") -> list[str]:
    """Print the state of a bundle or of a folder of bundles. Returns a line for each thing that is wrong."""
    from runbooklib.evidence import ledger, manifest, signature

    is_bundle = _is_bundle(path)
    changed = manifest.verify_bundle(path) if is_bundle else manifest.verify_folder(path)
    sealed = [path.resolve()] if is_bundle else manifest.bundles(path)
    unsigned = [line for bundle in sealed for line in signature.verify(bundle, key)] if key else []
    word = "CHANGED" if changed else "UNSIGNED" if unsigned else "whole  "
    known = [] if is_bundle else list(ledger.heads(path))
    print(f"{word}  {path}" + (f"  head {known[-1]}" if known else ""))
    return [*changed, *unsigned]


def _check_heads(heads: list[str], paths: list[Path]) -> list[str]:
    """A line for each head that no ledger of these paths contains, and for each fault of these ledgers.

    Returns nothing where `heads` is empty.
    """
    from runbooklib.evidence import ledger

    folders = [path.resolve().parent if _is_bundle(path) else path for path in paths] if heads else []
    known = {head for folder in folders for head in ledger.heads(folder)}
    missing = [head for head in heads if head not in known]
    return [
        *(line for folder in dict.fromkeys(folders) for line in ledger.read(folder)[1]),
        *(f"{ledger.FILE}: has no head {head}: lines were cut off or rewritten" for head in missing),
    ]


@app.command("keygen", epilog=examples("runbook keygen signing.pem"))
def make_keys(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The new private key, for example signing.pem.")
    ],
) -> None:
    """Make a key pair for signing evidence.

    FILE is the private key (mode 0600), for the machine that runs runbooks. The public key has the suffix
    .pub.pem.
    """
    from runbooklib.evidence import signature

    public = signature.make_keys(file)
    print(f"Private key: {file}  (export {variables.SIGNING_KEY}={file.absolute()} where runbooks run)")
    print(f"Public key:  {public}  (runbook verify --key {public} EVIDENCE)")
    print(f"Its id:      {signature.key_id(signature.public_key(public))}")


@app.command(
    "seal",
    epilog=examples(
        "runbook seal out.ipynb",
        "runbook seal --interrupted",
        "runbook seal --interrupted --output /var/lib/evidence",
    ),
)
def seal_evidence(
    notebook: Annotated[
        Path | None,
        typer.Argument(metavar="NOTEBOOK", help="A notebook that papermill or JupyterLab executed."),
    ] = None,
    *,
    interrupted: Annotated[
        bool, typer.Option("--interrupted", help="Seal the runs whose process was killed.")
    ] = False,
    output: Output = "evidence",
    pdf: Pdf = False,
) -> None:
    """Seal an executed notebook, or interrupted runs.

    An interrupted run is sealed with all steps that had finished. The next `runbook run` into the same folder
    does this too. Runs that are still running are not touched.
    """
    if interrupted == bool(notebook):
        raise InputError("pass a notebook or --interrupted, not both", hint="see `runbook seal --help`")
    if interrupted and pdf:
        raise InputError("--interrupted writes no PDF", hint="leave out --pdf")
    if notebook:
        _seal_notebook(notebook, output, has_pdf=pdf)
    else:
        seal_interrupted(output)


def _seal_notebook(notebook: Path, output: str, *, has_pdf: bool) -> None:
    from runbooklib.evidence import signature
    from runbooklib.execution import executed_elsewhere

    refuse_missing(notebook, "pass a notebook that was executed")
    signature.private_key()
    to, chromium = place(output), browser(is_wanted=has_pdf)
    bundle, failure = executed_elsewhere.seal(notebook, to.folder, chromium)
    print(f"Evidence: {bundle / 'notebook.html'}")
    if failure:
        print(f"runbook: the run did not finish: {one_line(failure)}", file=sys.stderr)
    complete(bundle, to.url, has_pdf=has_pdf)


@app.command("recover", hidden=True)  # the name before `seal --interrupted`
def seal_interrupted(output: Output = "evidence") -> None:
    """Seal the runs whose process was killed. The same as `runbook seal --interrupted`."""
    to = place(output)
    refuse_no_folder(to.folder)
    from runbooklib.execution import interrupted_runs

    is_empty = True
    for bundle in interrupted_runs.recover(to.folder):
        is_empty = False
        print(f"Evidence: {bundle / 'notebook.html'}")
        complete(bundle, to.url, has_pdf=False)
    if is_empty:
        print("There is no interrupted run.")
