"""The Jupyter server's extension: one click from the alert to its notebook, and a start page.

Installing the package enables it. `GET runbooks/open?alertname=…` prepares the incident's notebook, without
running it, and goes there; `GET runbooks` shows what fires, all runbooks and recent evidence.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from runbooklib.config import site, variables
from runbooklib.errors import RunbookError

if TYPE_CHECKING:
    from jupyter_server.serverapp import ServerApp


def _load_jupyter_server_extension(app: "ServerApp") -> None:
    """Add the pages. The home folder is resolved once, so that pages and kernels use the same folder."""
    from concurrent.futures import ThreadPoolExecutor

    from runbooklib.jupyter import alert_link, handlers

    root = Path(app.root_dir)
    _make_paths_absolute()
    try:
        os.environ[variables.HOME] = str(site.home().absolute())
    except RunbookError as error:
        app.log.warning("runbooklib: %s", error)  # each page says so too
    threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="runbooks")
    routes = handlers.routes(app.base_url, root, threads)
    app.web_app.add_handlers(".*$", routes)  # type: ignore[no-untyped-call] # tornado's
    app.log.info("runbooklib: the start page is %s%s", app.base_url, alert_link.PAGE)


def _make_paths_absolute() -> None:
    """Make the paths in this process's environment absolute; its kernels inherit it.

    A kernel works in its notebook's folder: to it a relative path would lead to a ledger, a cooldown and a
    STOP-ACTIONS of each incident's own.
    """
    single = (variables.EVIDENCE, variables.SPOOL, variables.SIGNING_KEY)
    for name in (*single, variables.ENVIRONMENTS):
        value = os.environ.get(name, "")
        listed = [value] if name in single else value.split(os.pathsep)
        if value:
            os.environ[name] = os.pathsep.join(str(Path(path).absolute()) for path in listed if path)
