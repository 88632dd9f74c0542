"""`runbook replay`, `verify`, `keygen` and `seal`: what is done with evidence once it is there."""

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from runbooklib import variables
from runbooklib.cli.doors import RUN_FAILED, TAMPERED, app, one_line
from runbooklib.cli.run import Progress, exit_code, tell
from runbooklib.cli.upload import Output, Pdf, browser, complete, place
from runbooklib.errors import InputError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    from runbooklib.replay import Replay

_VERIFY_EXAMPLES = """\b
Examples:
  runbook verify evidence
  runbook verify evidence --key signing.pub.pem --head 5b1f…(64 digits, from the postmortem)
"""


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

    Exit codes are those of `run`; 4 if the verdict differs from the recorded one, or a question was never
    recorded. A verdict of an older version is compared without its sentences.
    """
    if not evidence.exists():
        raise InputError(f"{evidence} does not exist", remedy="name a bundle under evidence/")
    to, chromium = place(output), browser(is_wanted=pdf)
    from runbooklib import replay, signature

    signature.private_key()  # a key that cannot sign is refused now, and not when there is something to sign

    on_finding = None if as_json else Progress(evidence.name)
    played = replay.replay(evidence, to.folder, notebook=notebook, on_finding=on_finding, chromium=chromium)
    tell(played.run, as_json=as_json, may_act=False)
    if not as_json:
        print("This is a replay: every answer above was recorded, and no system was asked.")
    _compare(played, out=sys.stderr if as_json else sys.stdout)
    complete(played.run.bundle, to.url, has_pdf=pdf)
    code = exit_code(played.run)
    is_other = bool(played.run.failure) or not (notebook or played.agrees)
    raise typer.Exit(RUN_FAILED if is_other and not played.run.signal else code)


def _compare(played: "Replay", out: TextIO) -> None:
    """Say whether the verdict is the recorded one, and in what it differs."""
    from runbooklib.report import VERSION

    if not played.compares_sentences:
        version = played.recorded["version"]
        print(f"The recorded verdict has version {version}, this one {VERSION}.", end=" ", file=out)
        print("Sentences are not compared between versions.", file=out)
        if played.agrees:
            print("Statuses, ranks, onset and start times are the recorded ones.", file=out)
    elif played.is_identical:
        print("The verdict is the recorded one, to the byte.", file=out)
    if not played.agrees:
        print("The verdict differs from the recorded one:", file=out)
        for what, recorded, replayed in played.differences:
            print(
                f"  {one_line(what)}\n    then  {one_line(recorded)}\n    now   {one_line(replayed)}",
                file=out,
            )


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


@app.command("verify", epilog=_VERIFY_EXAMPLES)
def verify_evidence(
    bundles: Annotated[list[Path], typer.Argument(help="Bundles, or a folder of bundles with its ledger.")],
    head: Annotated[
        list[str] | None,
        typer.Option(help="A ledger's head as a postmortem quotes it: that line must still be there."),
    ] = None,
    key: Annotated[
        Path | None, typer.Option(help="A public key in PEM: each bundle must be signed by it.")
    ] = None,
) -> None:
    """Check that evidence is as it was sealed: every byte of every file, and the chain over all bundles.

    Exit code 1 names what was changed, removed, added, unsigned, or signed by another key.
    """
    from runbooklib import signature

    heads, public = [_head(text) for text in head or ()], signature.public_key(key) if key else None
    for path in bundles:
        if not path.is_dir():
            raise InputError(f"{path} is not a folder", remedy="name a bundle, or the folder that holds them")
    wrong = [line for path in bundles for line in _wrong_with(path, public)]
    wrong += _wrong_with_heads(heads, bundles)
    if not heads:  # a chain alone says nothing of these, and whoever reads "whole" must know it
        print("Not checked: whether the newest bundles were cut off with their lines (--head HEAD)")
    if public is None:
        print("Not checked: who sealed it (--key PUBLIC.pem)")
    for line in dict.fromkeys(wrong):
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


def _head(text: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{64}", text.lower()):
        raise InputError(
            f"--head {text[:80]!r} is no SHA-256", remedy="64 digits, as `runbook run` printed it"
        )
    return text.lower()


def _is_bundle(path: Path) -> bool:
    from runbooklib import manifest

    return (path / manifest.FILE).exists() or not manifest.is_folder_of_bundles(path)


def _wrong_with(path: Path, key: "Ed25519PublicKey | None") -> list[str]:
    """Say how it is with a bundle or a folder of bundles; what is wrong with it."""
    from runbooklib import ledger, manifest, signature

    is_bundle = _is_bundle(path)
    changed = manifest.verify_bundle(path) if is_bundle else manifest.verify_folder(path)
    sealed = [path.resolve()] if is_bundle else manifest.bundles(path)
    unsigned = [line for one in sealed for line in signature.verify(one, key)] if key else []
    word = "CHANGED" if changed else "UNSIGNED" if unsigned else "whole  "
    known = [] if is_bundle else list(ledger.heads(path))
    print(f"{word}  {path}" + (f"  head {known[-1]}" if known else ""))
    return [*changed, *unsigned]


def _wrong_with_heads(heads: list[str], paths: list[Path]) -> list[str]:
    """Each head that is in no ledger of these paths; where there are heads, the chain's own faults too."""
    from runbooklib import ledger

    folders = [path.resolve().parent if _is_bundle(path) else path for path in paths] if heads else []
    known = {head for folder in folders for head in ledger.heads(folder)}
    lost = [head for head in heads if head not in known]
    return [
        *(line for folder in dict.fromkeys(folders) for line in ledger.read(folder)[1]),
        *(f"{ledger.FILE}: the head {one} is not in it: lines were cut off or rewritten" for one in lost),
    ]


@app.command("keygen")
def make_keys(
    file: Annotated[Path, typer.Argument(help="The new private key, like signing.pem.")],
) -> None:
    """Make a pair of keys for signing evidence: FILE for the runner (0600), FILE's .pub.pem for everybody."""
    from runbooklib import signature

    public = signature.make_keys(file)
    print(f"Private key: {file}  (export {variables.SIGNING_KEY}={file.absolute()} where runbooks run)")
    print(f"Public key:  {public}  (runbook verify --key {public} EVIDENCE)")
    print(f"Its id:      {signature.key_id(signature.public_key(public))}")


@app.command("seal")
def seal_notebook(
    notebook: Annotated[Path, typer.Argument(help="A notebook that papermill or JupyterLab executed.")],
    output: Output = "evidence",
    pdf: Pdf = False,  # noqa: FBT002 - a flag of the command line
) -> None:
    """Make the same evidence of a notebook that was executed elsewhere."""
    from runbooklib import seal, signature

    signature.private_key()
    to, chromium = place(output), browser(is_wanted=pdf)
    bundle = seal.seal(notebook, to.folder, chromium)
    print(f"Evidence: {bundle / 'notebook.html'}")
    complete(bundle, to.url, has_pdf=pdf)
