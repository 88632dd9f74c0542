"""`runbook new`, `tidy` and `text`: what is done with runbooks between incidents."""

from pathlib import Path
from typing import Annotated

import typer

from runbooklib.cli.doors import app
from runbooklib.errors import InputError

_EXAMPLES = """\b
Examples:
  runbook new HighErrorRate --rules rules.yml
  runbook new --all --rules kubernetes-mixin.yaml --environment staging --service api
"""
UNTIDY = 1


@app.command("new", epilog=_EXAMPLES)
def new_runbook(
    alert: Annotated[str, typer.Argument(help="The alert's name, as in its rule.")] = "",
    *,
    rules: Annotated[Path, typer.Option(help="A Prometheus rule file, or a PrometheusRule.")],
    every: Annotated[bool, typer.Option("--all", help="One for each alert of the file.")] = False,
    environment: Annotated[str, typer.Option("--environment", "-e", help="The notebook's default.")] = "",
    service: Annotated[str, typer.Option("--service", "-s", help="The notebook's default.")] = "",
) -> None:
    """Write a new runbook from an alerting rule: notebook and parameters, ready to run."""
    from runbooklib import scaffold, settings

    if every == bool(alert):
        raise InputError("name the alert, or --all, and not both", remedy="see `runbook new --help`")
    found = scaffold.rules_of(rules) if every else {alert: scaffold.rule_of(rules, alert)}
    for own in found.values():
        scaffold.refuse_unusable(own)  # all of them, before any is written
    home = settings.home()
    environment = environment or next(iter(settings.environments()), "production")
    service = service or _first_service(environment)
    written = []
    for name, own in found.items():
        if every and scaffold.is_there(name, home):
            print(f"{name} has a runbook already: left as it is")
            continue
        files = scaffold.write(own[0], home, environment=environment, service=service, others=own[1:])
        print(f"{files.notebook.relative_to(home)}  {files.parameters.relative_to(home)}")
        written.append(name)
    if written:
        print(f"\nRun it:         runbook run {written[0]} -e {environment}")
        print("Then fill in what is marked TODO; `runbook lint` names it.")


def _first_service(environment: str) -> str:
    from runbooklib import settings

    known = settings.services(environment)
    if not known:
        raise InputError(f"{environment} has no service", remedy="name one with --service")
    return known[0]


@app.command("tidy")
def tidy_notebooks(
    notebooks: Annotated[list[Path] | None, typer.Argument(help="Notebooks; else all of this home.")] = None,
    *,
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; exit 1 where one is not tidy.")
    ] = False,
) -> None:
    """Write notebooks in their one spelling: stable cell ids, no outputs, nothing of this machine."""
    from runbooklib import notebookfile, settings

    paths = notebooks or sorted((settings.home() / "notebooks").glob("*.ipynb"))
    changed = 0
    for path in paths:
        tidy = notebookfile.canonical(notebookfile.read(path))
        if tidy == path.read_text(encoding="utf-8"):
            continue
        changed += 1
        print(f"{'not tidy' if check else 'tidied'}: {path}")
        if not check:
            _replace(path, tidy)
    raise typer.Exit(UNTIDY if check and changed else 0)


def _replace(path: Path, text: str) -> None:
    """In one move, so that no half of a notebook is ever there."""
    part = path.with_suffix(".ipynb.part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}", remedy="see its folder") from None


@app.command("text")
def show_text(notebook: Annotated[Path, typer.Argument(help="A notebook.")]) -> None:
    """Print a notebook as text, for readers and for `git diff` (see CONTRIBUTING)."""
    from runbooklib import notebookfile
    from runbooklib.visibly import visible

    print(visible(notebookfile.as_text(notebookfile.read(notebook))), end="")
