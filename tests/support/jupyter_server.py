"""A real JupyterLab server with the extension, in a folder of its own; and a site that it asks."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import unquote, urlencode, urlsplit

import requests

from runbooklib.jupyter import alert_link, prepare
from tests.support.running import command, notebook

ROOT = Path(__file__).parents[2]
TOKEN = "a-token-that-no-link-holds"

# What an installation puts into etc/jupyter; an editable one that is older has none of it.
INSTALLED = {"JUPYTER_CONFIG_PATH": str(ROOT / "jupyter-config")}


@dataclass(frozen=True)
class Served:
    """A running server: its address with the base URL, the folder that it shows, what it was started with."""

    address: str
    root: Path
    log: Path
    environment: Mapping[str, str]

    def open(self, query: str, *, session: requests.Session | None = None) -> requests.Response:
        """Click a link; where it leads to is not followed."""
        url = f"{self.address}/runbooks/open?{query}"
        return (session or logged_in(self)).get(url, allow_redirects=False, timeout=180)

    def incidents(self) -> list[str]:
        """Every file of every incident."""
        folder = self.root / "incidents"
        return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def logged_in(served: Served, token: str = TOKEN) -> requests.Session:
    """A browser that went through the login page."""
    session = requests.Session()
    session.get(f"{served.address}/login", timeout=120)
    form = {"password": token, "_xsrf": session.cookies.get("_xsrf", "")}
    answer = session.post(f"{served.address}/login", form, allow_redirects=False, timeout=120)
    assert answer.status_code == 302, answer.text
    return session


def home(folder: Path) -> Path:
    """A folder with this repository's runbooks and parameters."""
    for name in ("notebooks", "parameters"):
        shutil.copytree(ROOT / name, folder / name)
    return folder


def environment_file(folder: Path, alertmanager: str, *services: str) -> None:
    """An environment `site` that has nothing but an Alertmanager."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = {
        "title": "Site",
        "systems": {"alertmanager": {"url": alertmanager}},
        "timing": {"lookback": "10m", "lead": "5m"},
        "services": {name: {"title": name, "labels": {"job": name}} for name in services},
    }
    (folder / "site.yaml").write_text(json.dumps(settings))


@contextmanager
def serving(
    root: Path, environment: Mapping[str, str], *options: str, token: str = TOKEN, base_url: str = "/"
) -> Iterator[Served]:
    """The server, until the end of the block; stopped by pid, its kernels too."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    own = root.parent / "jupyter-home"
    own.mkdir(exist_ok=True)
    argv = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}"]
    argv += ["--ServerApp.port_retries=0", f"--IdentityProvider.token={token}"]
    argv += [f"--ServerApp.root_dir={root}", f"--ServerApp.base_url={base_url}", *options]
    log = root.parent / "jupyterlab.log"
    paths = {"HOME": str(own), "JUPYTER_CONFIG_DIR": str(own), "PYTHONPATH": str(ROOT)}
    with log.open("wb") as sink:
        server = subprocess.Popen(
            argv,
            env={**os.environ, **INSTALLED, **paths, **environment},
            cwd=root,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    served = Served(f"http://127.0.0.1:{port}{base_url.rstrip('/')}", root, log, environment)
    try:
        waited_for(f"{served.address}/api", server, log)
        yield served
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait(5)


def waited_for(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until the server answers there."""
    deadline = time.monotonic() + 180
    while True:
        assert server.poll() is None, log.read_text()[-3000:]
        with suppress(requests.RequestException):
            requests.get(url, timeout=2)
            return
        assert time.monotonic() < deadline, log.read_text()[-3000:]
        time.sleep(0.2)


def links_in(page: str) -> list[str]:
    """The addresses of all links of a page."""
    return [link.replace("&amp;", "&") for link in re.findall(r'href="([^"]*)"', page)]


def query(at: str, alert: str = "ComponentUnhealthy", **labels: str) -> str:
    return urlencode({"alertname": alert, "service": "backend", **labels, "starts_at": at})


def opened(desk: Path, asked: str, now: datetime | None = None) -> Path:
    """The notebook that the link opens, followed in this process."""
    now = now or datetime.now(UTC)
    return desk / prepare.prepare(alert_link.read(asked, now), desk, now).path


def ran(desk: Path, alert: str, *words: str) -> Path:
    """The bundle of a headless run; the words are parameters, like `component=database`."""
    argv = ["runbook", "run", alert, "-e", "site", "--output", str(desk / "evidence")]
    ended = command([*argv, *(word for parameter in words for word in ("-p", parameter))])
    assert ended.code in (0, 1, 2), ended.err
    return max((path for path in (desk / "evidence").iterdir() if path.is_dir()), key=lambda p: p.name)


BEGAN = datetime(2026, 1, 15, 3, 12, tzinfo=UTC)
HIGH = query(f"{BEGAN:%Y-%m-%dT%H:%M:%SZ}", alert="HighErrorRate")


def after(minutes: float) -> datetime:
    return BEGAN + timedelta(minutes=minutes)


def began(minutes: float = 5) -> str:
    """A time so long ago, as Alertmanager writes it."""
    return f"{datetime.now(UTC) - timedelta(minutes=minutes):%Y-%m-%dT%H:%M:%SZ}"


def stamp(moment: str) -> str:
    return f"{datetime.fromisoformat(moment):%Y%m%dT%H%M%SZ}"


def led_to(served: Served, answer: requests.Response) -> Path:
    """The notebook that an answer leads to."""
    assert answer.status_code == 302, answer.text
    base = f"{urlsplit(served.address).path}/lab/tree/"
    assert answer.headers["Location"].startswith(base)
    return served.root / unquote(answer.headers["Location"].removeprefix(base))


def injected(path: Path) -> dict[str, object]:
    cells = notebook(path)["cells"]
    (source,) = (c["source"] for c in cells if c["metadata"].get("tags") == ["injected-parameters"])
    namespace: dict[str, object] = {}
    exec(source, namespace)  # noqa: S102 - it is what papermill wrote
    return {name: value for name, value in namespace.items() if name != "__builtins__"}


def page(served: Served, query: str = "", *, path: str = "") -> requests.Response:
    return logged_in(served).get(f"{served.address}/runbooks{path}{query and '?'}{query}", timeout=60)


def sections(text: str) -> dict[str, str]:
    """The page's sections by their heading's id."""
    return dict(re.findall(r'<section aria-labelledby="([\w-]+)">(.*?)</section>', text, re.DOTALL))
