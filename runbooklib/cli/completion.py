"""What the shell completes: alerts, environments, services, bundles and actions.

A completion runs at each press of Tab, so nothing here imports pandas. A folder or a file that cannot be read
completes to nothing, because an error message would be printed into the command line that is being typed.
"""

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path

import typer

from runbooklib.errors import RunbookError

EVIDENCE = Path("evidence")
# A shell inserts a completion as it is: a name with a space or a semicolon would become other words.
_PLAIN = re.compile(r"[\w@%+:,./-]+")


def _names_starting_with(list_names: Callable[[], Iterable[str]], incomplete: str) -> list[str]:
    try:
        return [name for name in list_names() if name.startswith(incomplete) and _PLAIN.fullmatch(name)]
    except (RunbookError, OSError, ValueError):
        return []


def alerts(incomplete: str) -> list[str]:
    """The alerts that have a runbook."""
    from runbooklib.config import runbooks

    return _names_starting_with(runbooks.alerts, incomplete)


def environments(incomplete: str) -> list[str]:
    """The environments that have a file."""
    from runbooklib.config import site

    return _names_starting_with(site.environments, incomplete)


def services(ctx: typer.Context, incomplete: str) -> list[str]:
    """The services of the environment that stands earlier in the command; of all environments without one."""
    from runbooklib.config import site

    def list_names() -> list[str]:
        environment = ctx.params.get("environment")
        of = [environment] if environment else site.environments()
        return sorted({service for name in of for service in site.services(name)})

    return _names_starting_with(list_names, incomplete)


def bundles(incomplete: str) -> list[str]:
    """The bundles in the folder that is typed so far; those in evidence/ where none is."""
    folder = Path(incomplete.rpartition("/")[0] or "/") if "/" in incomplete else EVIDENCE
    return _names_starting_with(lambda: bundle_names(folder), incomplete)


def bundle_names(folder: Path) -> list[str]:
    """The paths of the bundles in a folder, the newest first; none where there is no such folder."""
    from runbooklib.evidence import manifest

    if not folder.is_dir():
        return []
    paths = (path for path in folder.iterdir() if (path / manifest.FILE).is_file())
    return [str(path) for path in sorted(paths, reverse=True)]


def actions(ctx: typer.Context, incomplete: str) -> list[str]:
    """The actions that the run in the bundle proposed."""

    def list_names() -> list[str]:
        verdict = json.loads((Path(str(ctx.params.get("bundle"))) / "verdict.json").read_bytes())
        return sorted({proposed["plan"]["action"] for proposed in verdict.get("actions", ())})

    try:
        return _names_starting_with(list_names, incomplete)
    except (AttributeError, KeyError, TypeError):  # a verdict that no run wrote
        return []
