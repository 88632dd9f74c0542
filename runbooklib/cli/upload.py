"""`runbook upload`, and where commands that seal evidence put it."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from runbooklib.cli import completion
from runbooklib.cli.app import app
from runbooklib.cli.commands import examples
from runbooklib.cli.options import refuse_missing
from runbooklib.errors import EvidenceError

if TYPE_CHECKING:
    from runbooklib.evidence.upload import Destination


def place(output: str) -> "Destination":
    """Where the evidence goes. Raises InputError before anything runs."""
    from runbooklib.evidence import upload

    return upload.destination(output)


def browser(*, is_wanted: bool) -> str:
    """The path of the Chromium that prints the PDF, or empty. Raises InputError before anything runs."""
    from runbooklib.evidence import pdf

    return pdf.chromium() if is_wanted else ""


def complete(bundle: Path, url: str, *, has_pdf: bool) -> None:
    """Copy a sealed bundle to the URL if there is one, and report a PDF that was wanted and is missing.

    Raises EvidenceError. The local bundle is complete in any case.
    """
    from runbooklib.evidence import manifest, pdf, upload

    if url:
        upload.upload(bundle, url)
        print(f"Uploaded: {upload.hide_credentials(url)}/{bundle.name}", file=sys.stderr)
    if has_pdf and not (bundle / pdf.FILE).exists():
        reason = json.loads((bundle / manifest.FILE).read_bytes())["pdf_failure"]
        raise EvidenceError(
            f"{reason}; the rest of the evidence is whole in {bundle}",
            hint="print its notebook.html from a browser",
        )


@app.command(
    "upload",
    epilog=examples(
        "runbook upload evidence/20260115T031200Z-HighErrorRate-backend s3://bucket/evidence",
    ),
)
def upload_evidence(
    bundles: Annotated[
        list[Path],
        typer.Argument(
            metavar="BUNDLE...", help="Sealed bundles on this machine.", autocompletion=completion.bundles
        ),
    ],
    url: Annotated[
        str, typer.Argument(metavar="URL", help="Where to copy them, for example s3://bucket/prefix.")
    ],
) -> None:
    """Copy evidence to a URL, or finish an interrupted copy.

    Files that are already there are not replaced. Exit code 4: the copy is not complete, or another bundle
    of the same name is there.
    """
    from runbooklib.evidence import upload

    for bundle in bundles:
        refuse_missing(bundle)
    for bundle in bundles:
        is_new = upload.upload(bundle, url)
        word = "Uploaded" if is_new else "There already"
        print(f"{word}: {upload.hide_credentials(url)}/{bundle.resolve().name}")
