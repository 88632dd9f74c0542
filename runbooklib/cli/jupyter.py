"""`runbook urls` and `runbook lab`: write alert links, and start JupyterLab."""

import os
import socket
import sys
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

from runbooklib.cli import completion
from runbooklib.cli.app import app, one_line
from runbooklib.cli.commands import examples
from runbooklib.cli.options import Environment, Service, refuse_unknown_environment
from runbooklib.config import variables
from runbooklib.errors import InputError

_HOST = "127.0.0.1"


@app.command(
    "urls",
    epilog=examples(
        "runbook urls --rules rules.yml",
        "runbook urls --rules rules.yml --server https://jupyter.example -e production --write",
    ),
)
def print_links(
    *,
    rules: Annotated[Path, typer.Option(metavar="FILE", help="A Prometheus rule file or a PrometheusRule.")],
    server: Annotated[
        str, typer.Option(metavar="URL", help="The Jupyter server's address.")
    ] = f"http://{_HOST}:8888",
    environment: Annotated[
        str,
        typer.Option(
            "--environment",
            "-e",
            metavar="NAME",
            help="The environment in each link. Default: the server's own.",
            autocompletion=completion.environments,
        ),
    ] = "",
    write: Annotated[bool, typer.Option("--write", help="Write the links into the file.")] = False,
) -> None:
    """Print the links that open the alerts' notebooks.

    With --write, each link is written into the rule file as the annotation `runbook_url`.
    """
    from runbooklib.jupyter import rule_urls

    refuse_unknown_environment(environment)
    links = rule_urls.link_rules(rules, server, environment)
    for alert in links.without:
        print(f"runbook: {one_line(alert)} has no runbook, so it gets no link", file=sys.stderr)
    if not write:
        for rule, url in links.urls:
            print(f"{one_line(rule.alert)}  {url}")
        return
    if links.is_changed:
        rule_urls.write(rules, links)
    print(f"{len(links.urls)} links {'written to' if links.is_changed else 'are in'} {rules}")


@app.command(
    "lab",
    epilog=examples(
        "runbook lab",
        "runbook lab HighErrorRate -e lab",
        "runbook lab HighErrorRate -e lab --starts-at 2026-01-15T03:12:00Z --no-browser",
    ),
)
def open_lab(
    alert: Annotated[
        str,
        typer.Argument(
            metavar="ALERT",
            help="The alert's name in its rule. Without it: the start page.",
            autocompletion=completion.alerts,
        ),
    ] = "",
    *,
    environment: Environment = "",
    service: Service = "",
    starts_at: Annotated[
        str,
        typer.Option(
            metavar="TIME",
            help="When the alert began, for example 2026-01-15T03:12:00Z. Default: ask Alertmanager.",
        ),
    ] = "",
    port: Annotated[int, typer.Option(min=1, max=65535, metavar="N", help="JupyterLab's port.")] = 8888,
    browser: Annotated[bool, typer.Option(help="Open a browser.")] = True,
    jupyter: Annotated[
        list[str] | None,
        typer.Option(metavar="OPTION", help="An option for JupyterLab, for example --jupyter=--allow-root."),
    ] = None,
) -> None:
    """Start JupyterLab with an alert's notebook.

    The notebook is prepared for the alert, and not run. JupyterLab does not ask for news or updates.
    """
    from runbooklib.config import site

    home = site.home().absolute()
    os.environ[variables.HOME] = str(home)
    refuse_unknown_environment(environment)
    if environment:
        os.environ[variables.ENVIRONMENT] = environment
    page = _page(alert, environment, service, starts_at, home)
    _refuse_used_port(port)
    print(f"JupyterLab: http://{_HOST}:{port}{page}  (ends with Ctrl-C; Jupyter prints its token below)")
    sys.stdout.flush()
    argv = [sys.executable, "-m", "jupyterlab", *_options(home, page, port), *(jupyter or [])]
    os.execv(sys.executable, argv if browser else [*argv, "--no-browser"])  # noqa: S606 - no shell is wanted


def _page(alert: str, environment: str, service: str, starts_at: str, home: Path) -> str:
    """The path that JupyterLab shows first: the prepared notebook or the start page."""
    from datetime import UTC, datetime

    from runbooklib.jupyter import alert_link, prepare

    if not alert:
        if service or starts_at:
            raise InputError("--service and --starts-at need an alert", hint="name it, or leave them out")
        return f"/{alert_link.PAGE}"
    now = datetime.now(UTC)
    link = alert_link.Link(
        alert,
        environment,
        {alert_link.SERVICE: service} if service else {},
        alert_link.moment(starts_at, now) if starts_at else None,
    )
    incident = prepare.prepare(link, home, now)
    if incident.unread:
        print(f"runbook: cannot tell whether a headless run exists: {incident.unread}", file=sys.stderr)
    print(f"Notebook: {incident.path}")
    return f"/lab/tree/{quote(incident.path)}"


def _refuse_used_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError as error:
            raise InputError(
                f"port {port} cannot be used: {error.strerror}", hint="choose another with --port"
            ) from None


def _options(home: Path, page: str, port: int) -> list[str]:
    """JupyterLab's options. They enable our extension even where the installation did not."""
    return [
        f"--ServerApp.root_dir={home}",
        f"--ServerApp.ip={_HOST}",
        f"--ServerApp.port={port}",
        "--ServerApp.port_retries=0",
        f"--LabApp.default_url={page}",
        "--ServerApp.jpserver_extensions={'runbooklib': True}",
        "--LabApp.news_url=None",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        "--LabApp.extension_manager=readonly",
    ]
