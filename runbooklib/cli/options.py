"""Arguments and options that several commands have, and what is refused about them."""

from pathlib import Path
from typing import Annotated

import typer

from runbooklib.cli import completion
from runbooklib.errors import InputError, nearest, suggestion

Alert = Annotated[
    str,
    typer.Argument(metavar="ALERT", help="The alert's name in its rule.", autocompletion=completion.alerts),
]
Environment = Annotated[
    str,
    typer.Option(
        "--environment",
        "-e",
        metavar="NAME",
        help="The name of a file in parameters/environments/.",
        autocompletion=completion.environments,
    ),
]
Service = Annotated[
    str,
    typer.Option(
        "--service",
        "-s",
        metavar="NAME",
        help="A service in that file.",
        autocompletion=completion.services,
    ),
]
Bundle = Annotated[
    Path,
    typer.Argument(
        metavar="BUNDLE", help="A bundle, for example evidence/NAME.", autocompletion=completion.bundles
    ),
]
At = Annotated[
    str,
    typer.Option(metavar="TIME", help="End of the window, for example 2026-01-15T03:12:00Z. Default: now."),
]
Lookback = Annotated[str, typer.Option(metavar="DURATION", help="Length of the window, for example 1h30m.")]
Output = Annotated[
    str,
    typer.Option(
        metavar="FOLDER|URL",
        help="The evidence folder, or a URL to copy the evidence to, for example s3://bucket/prefix.",
    ),
]
EvidenceFolder = Annotated[Path, typer.Option("--output", metavar="FOLDER", help="The evidence folder.")]
Pdf = Annotated[bool, typer.Option("--pdf", help="Also print the page to notebook.pdf. Needs Chromium.")]
Held = Annotated[
    str, typer.Option(metavar="DURATION", help="How long all conditions must hold, for example 5m.")
]
Within = Annotated[
    str,
    typer.Option(metavar="DURATION", help="How long to wait for that. Default: --held plus 10 minutes."),
]


def duration(option: str, text: str) -> float:
    """The seconds that an option's text means. Raises InputError, which names the option."""
    from runbooklib.model.window import seconds_of

    try:
        return seconds_of(text)
    except InputError as error:
        raise InputError(f"{option}: {error.message}", hint=error.hint) from None


def refuse_unknown_environment(name: str) -> None:
    """Raises InputError with the nearest name; an empty name is accepted."""
    from runbooklib.config import site

    known = site.environments()
    if name and name not in known:
        raise InputError(f"there is no environment {name[:80]!r}", hint=suggestion(name, known))


def refuse_missing(path: Path, hint: str = "pass a bundle under evidence/") -> None:
    """Raises InputError with the nearest path where there is nothing at `path`."""
    if path.exists():
        return
    siblings = [str(sibling) for sibling in path.parent.iterdir()] if path.parent.is_dir() else []
    near = nearest(str(path), [*siblings, *completion.bundle_names(completion.EVIDENCE)])
    raise InputError(f"{path} does not exist", hint=f"did you mean {near!r}?" if near else hint)


def refuse_no_folder(folder: Path) -> None:
    """Raises InputError where the evidence folder is no folder, with the nearest name."""
    refuse_missing(folder, "pass the evidence folder as --output FOLDER")
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder", hint="pass the evidence folder as --output FOLDER")
