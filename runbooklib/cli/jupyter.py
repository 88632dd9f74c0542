"""`runbook urls` and `runbook lab`: the links in the alerts, and JupyterLab on a terminal."""

import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

import typer

from runbooklib import variables
from runbooklib.cli.doors import app, one_line
from runbooklib.errors import InputError

if TYPE_CHECKING:
    from runbooklib.extension.link import Link

_URLS_EXAMPLES = """\b
Examples:
  runbook urls --rules rules.yml
  runbook urls --rules rules.yml --server https://jupyter.example/user/oncall -e production --write
"""
_LAB_EXAMPLES = """\b
Examples:
  runbook lab
  runbook lab HighErrorRate -e lab
  runbook lab HighErrorRate -e lab --starts-at 2026-01-15T03:12:00Z --no-browser
"""
_HOST = "127.0.0.1"


@app.command("urls", epilog=_URLS_EXAMPLES)
def rule_urls(
    *,
    rules: Annotated[Path, typer.Option(help="A Prometheus rule file, or a PrometheusRule.")],
    server: Annotated[str, typer.Option(help="The Jupyter server's address.")] = f"http://{_HOST}:8888",
    environment: Annotated[
        str, typer.Option("--environment", "-e", help="Stands in every link; else the server's own.")
    ] = "",
    write: Annotated[bool, typer.Option(help="Put the links into the file.")] = False,
) -> None:
    """Print the link that opens each alert's notebook, or write it into the rules as `runbook_url`."""
    from runbooklib.extension import ruleurls

    _refuse_unknown(environment)
    found = ruleurls.linked(rules, server, environment)
    for alert in found.without:
        print(f"runbook: {one_line(alert)} has no runbook, and gets no link", file=sys.stderr)
    if not write:
        for rule, url in found.urls:
            print(f"{one_line(rule.alert)}  {url}")
        return
    if found.is_changed:
        ruleurls.write(rules, found)
    word = "written to" if found.is_changed else "are in"
    print(f"{len(found.urls)} links {word} {rules}")


@app.command("lab", epilog=_LAB_EXAMPLES)
def open_lab(
    alert: Annotated[str, typer.Argument(help="The alert's name; without one, the start page.")] = "",
    *,
    environment: Annotated[
        str, typer.Option("--environment", "-e", help="A file of parameters/environments/.")
    ] = "",
    service: Annotated[str, typer.Option("--service", "-s", help="A service in that file.")] = "",
    starts_at: Annotated[
        str, typer.Option(help="When the alert began, like 2026-01-15T03:12:00Z; else Alertmanager says.")
    ] = "",
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port of JupyterLab.")] = 8888,
    browser: Annotated[bool, typer.Option(help="Open a browser.")] = True,
    jupyter: Annotated[
        list[str] | None, typer.Option(help="An option of JupyterLab, like --jupyter=--allow-root.")
    ] = None,
) -> None:
    """Start JupyterLab on the alert's notebook, prepared and not run; it asks nobody for news or updates."""
    from runbooklib import settings

    home = settings.home().absolute()
    os.environ[variables.HOME] = str(home)
    _refuse_unknown(environment)
    if environment:
        os.environ[variables.ENVIRONMENT] = environment
    page = _page(alert, environment, service, starts_at, home)
    _refuse_taken(port)
    print(f"JupyterLab: http://{_HOST}:{port}{page}  (ends with Ctrl-C; Jupyter prints its token below)")
    sys.stdout.flush()
    argv = [sys.executable, "-m", "jupyterlab", *_options(home, page, port), *(jupyter or [])]
    os.execv(sys.executable, argv if browser else [*argv, "--no-browser"])  # noqa: S606 - no shell is wanted


def _refuse_unknown(environment: str) -> None:
    from runbooklib import settings
    from runbooklib.errors import suggestion

    known = settings.environments()
    if environment and environment not in known:
        raise InputError(
            f"there is no environment {environment[:80]!r}", remedy=suggestion(environment, known)
        )


def _page(alert: str, environment: str, service: str, starts_at: str, home: Path) -> str:
    """What JupyterLab shows first: the prepared notebook, or the start page."""
    from datetime import UTC, datetime

    from runbooklib.extension import incidents, link

    if not alert:
        if service or starts_at:
            raise InputError("--service and --starts-at need an alert", remedy="name it, or leave them out")
        return f"/{link.PAGE}"
    now = datetime.now(UTC)
    asked: Link = link.Link(
        alert,
        environment,
        {link.SERVICE: service} if service else {},
        link.moment(starts_at, now) if starts_at else None,
    )
    found = incidents.prepare(asked, home, now)
    if found.unread:
        print(f"runbook: whether a headless run is there is unknown: {found.unread}", file=sys.stderr)
    print(f"Notebook: {found.path}")
    return f"/lab/tree/{quote(found.path)}"


def _refuse_taken(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError as error:
            raise InputError(
                f"port {port} cannot be used: {error.strerror}", remedy="choose another with --port"
            ) from None


def _options(home: Path, page: str, port: int) -> list[str]:
    """Ours alone, so that an installation that did not enable the extension has it too; and quiet."""
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
