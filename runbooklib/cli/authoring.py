"""`runbook new`, `tidy` and `text`: write runbooks and keep their files tidy."""

from pathlib import Path
from typing import Annotated

import typer

from runbooklib.cli import completion
from runbooklib.cli.app import app
from runbooklib.cli.commands import examples
from runbooklib.cli.options import refuse_missing, refuse_unknown_environment
from runbooklib.errors import InputError

UNTIDY = 1


@app.command(
    "new",
    epilog=examples(
        "runbook new HighErrorRate --rules rules.yml",
        "runbook new --all --rules kubernetes-mixin.yaml -e staging -s api",
    ),
)
def new_runbook(
    alert: Annotated[str, typer.Argument(metavar="ALERT", help="The alert's name in its rule.")] = "",
    *,
    rules: Annotated[Path, typer.Option(metavar="FILE", help="A Prometheus rule file or a PrometheusRule.")],
    every: Annotated[bool, typer.Option("--all", help="Write a runbook for each alert of the file.")] = False,
    environment: Annotated[
        str,
        typer.Option(
            "--environment",
            "-e",
            metavar="NAME",
            help="The notebook's default environment.",
            autocompletion=completion.environments,
        ),
    ] = "",
    service: Annotated[
        str,
        typer.Option(
            "--service",
            "-s",
            metavar="NAME",
            help="The notebook's default service.",
            autocompletion=completion.services,
        ),
    ] = "",
) -> None:
    """Write a new runbook from an alert rule.

    It writes the notebook and its parameters, which run at once; TODO marks what to fill in.
    """
    from runbooklib.config import scaffold, site

    if every == bool(alert):
        raise InputError("name the alert, or --all, and not both", hint="see `runbook new --help`")
    alert_rules = scaffold.rules_of(rules) if every else {alert: scaffold.rule_of(rules, alert)}
    for rules_of_alert in alert_rules.values():
        scaffold.refuse_unusable(rules_of_alert)  # all of them, before the first is written
    home = site.home()
    refuse_unknown_environment(environment)
    environment = environment or next(iter(site.environments()), "production")
    service = service or _first_service(environment)
    written = []
    for name, (rule, *others) in alert_rules.items():
        if every and scaffold.has_runbook(name, home):
            print(f"{name} has a runbook already: left as it is")
            continue
        files = scaffold.write(rule, home, environment=environment, service=service, others=others)
        print(f"{files.notebook.relative_to(home)}  {files.parameters.relative_to(home)}")
        written.append(name)
    if written:
        print(f"\nRun it:         runbook run {written[0]} -e {environment}")
        print("Then fill in what is marked TODO. `runbook lint` lists it.")


def _first_service(environment: str) -> str:
    from runbooklib.config import site

    known = site.services(environment)
    if not known:
        raise InputError(f"{environment} has no service", hint="name one with --service")
    return known[0]


@app.command("tidy", epilog=examples("runbook tidy", "runbook tidy --check notebooks/HighErrorRate.ipynb"))
def tidy_notebooks(
    notebooks: Annotated[
        list[Path] | None,
        typer.Argument(metavar="NOTEBOOK...", help="Notebooks. Default: all in the runbooks' folder."),
    ] = None,
    *,
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing. Exit code 1 if a notebook is not tidy.")
    ] = False,
) -> None:
    """Write notebooks in one format: stable cell ids, no outputs.

    Kernel, paths and other facts about this machine are removed as well.
    """
    from runbooklib.config import notebook_file, site

    for path in notebooks or ():
        refuse_missing(path, "pass a notebook, for example notebooks/HighErrorRate.ipynb")
    paths = notebooks or sorted((site.home() / "notebooks").glob("*.ipynb"))
    changed = 0
    for path in paths:
        tidy = notebook_file.canonical(notebook_file.read(path))
        if tidy == path.read_text(encoding="utf-8"):
            continue
        changed += 1
        print(f"{'not tidy' if check else 'tidied'}: {path}")
        if not check:
            _replace(path, tidy)
    raise typer.Exit(UNTIDY if check and changed else 0)


def _replace(path: Path, text: str) -> None:
    """Replace the file by one rename, so that there is never half a notebook."""
    part = path.with_suffix(".ipynb.part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}", hint="see its folder") from None


@app.command("text", epilog=examples("runbook text notebooks/HighErrorRate.ipynb"))
def show_text(notebook: Annotated[Path, typer.Argument(metavar="NOTEBOOK", help="A notebook.")]) -> None:
    """Print a notebook as text.

    `git diff` can show notebooks this way: git config diff.runbook.textconv 'runbook text'.
    """
    from runbooklib.config import notebook_file
    from runbooklib.text import visible

    refuse_missing(notebook, "pass a notebook, for example notebooks/HighErrorRate.ipynb")
    print(visible(notebook_file.as_text(notebook_file.read(notebook))), end="")
