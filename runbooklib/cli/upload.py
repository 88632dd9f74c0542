"""`runbook upload`, and what all commands that seal evidence share: where it goes, and the PDF."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from runbooklib.cli.doors import app
from runbooklib.errors import EvidenceError

if TYPE_CHECKING:
    from runbooklib.upload import Destination

Output = Annotated[
    str, typer.Option(help="The folder for the evidence, or a URL to copy it to, like s3://bucket/prefix.")
]
Pdf = Annotated[bool, typer.Option("--pdf", help="Also print the page to notebook.pdf; needs Chromium.")]


def place(output: str) -> "Destination":
    """Where the evidence goes. Raises InputError before anything runs."""
    from runbooklib import upload

    return upload.destination(output)


def browser(*, is_wanted: bool) -> str:
    """The Chromium to print with, or nothing. Raises InputError before anything runs."""
    from runbooklib import pdf

    return pdf.chromium() if is_wanted else ""


def complete(bundle: Path, url: str, *, has_pdf: bool) -> None:
    """What is left once a bundle is sealed: copy it to the URL, and say if it lacks its PDF.

    Raises EvidenceError; the local bundle is whole in any case.
    """
    from runbooklib import manifest, pdf, upload

    if url:
        upload.upload(bundle, url)
        print(f"Uploaded: {upload.shown(url)}/{bundle.name}", file=sys.stderr)
    if has_pdf and not (bundle / pdf.FILE).exists():
        reason = json.loads((bundle / manifest.FILE).read_bytes())["pdf_failure"]
        raise EvidenceError(
            f"{reason}; the rest of the evidence is whole in {bundle}",
            remedy="print its notebook.html from a browser",
        )


@app.command("upload")
def upload_evidence(
    bundles: Annotated[list[Path], typer.Argument(help="Bundles that are whole on this machine.")],
    url: Annotated[str, typer.Argument(help="The folder to copy them to, like s3://bucket/prefix.")],
) -> None:
    """Copy evidence elsewhere, or finish a copy that broke off. What is there already is not replaced.

    Exit code 4 where the copy is not whole in the end, or a bundle of that name is there and differs.
    """
    from runbooklib import upload

    for bundle in bundles:
        is_new = upload.upload(bundle, url)
        told = "Uploaded" if is_new else "There already"
        print(f"{told}: {upload.shown(url)}/{bundle.resolve().name}")
