"""`runbook lab`: JupyterLab on a terminal, on the alert's notebook."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

from tests.support.alertmanagers import FakeAlertmanager
from tests.support.jupyter_server import began, environment_file, home, stamp, waited_for
from tests.support.running import BIN, command
from tests.support.stand_in import closed_port

TOKEN = "of-the-command"


@dataclass(frozen=True)
class Started:
    """What the command printed, and a browser with its token."""

    out: str
    session: requests.Session

    @property
    def url(self) -> str:
        found = re.search(r"^JupyterLab: (\S+)", self.out, re.MULTILINE)
        assert found, self.out
        return found[1]


@contextmanager
def lab(folder: Path, alertmanager: str, *words: str) -> Iterator[Started]:
    """`runbook lab`, until the end of the block; stopped by pid."""
    root, environments, own = folder / "root", folder / "environments", folder / "home"
    if not root.exists():
        home(root)
        environment_file(environments, alertmanager, "backend")
        own.mkdir()
    port = closed_port()
    argv = [str(BIN / "runbook"), "lab", *words, f"--port={port}", "--no-browser", "--jupyter=--allow-root"]
    given = {"RUNBOOK_ENVIRONMENTS": str(environments), "JUPYTER_TOKEN": TOKEN, "HOME": str(own)}
    given["JUPYTER_CONFIG_DIR"] = str(own)
    log = folder / "lab.log"
    with log.open("wb") as sink:
        server = subprocess.Popen(
            argv,
            cwd=root,
            env={**os.environ, **given},
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        waited_for(f"http://127.0.0.1:{port}/api", server, log)
        session = requests.Session()
        session.headers["Authorization"] = f"token {TOKEN}"
        yield Started(log.read_text(), session)
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait(5)


def test_the_command_prepares_the_notebook_and_serves_it(
    tmp_path: Path, answering: tuple[str, FakeAlertmanager], alertmanager: FakeAlertmanager
) -> None:
    at = began(3)
    alertmanager.fires("HighErrorRate", at)
    with lab(tmp_path, answering[0], "HighErrorRate", "-e", "site") as started:
        path = f"incidents/{stamp(at)}-HighErrorRate-backend/HighErrorRate.ipynb"
        assert f"Notebook: {path}\n" in started.out
        assert started.url.endswith(f"/lab/tree/{path}")
        shown = started.session.get(started.url, timeout=30)
        assert shown.status_code == 200
        config = re.search(
            r'<script id="jupyter-config-data" type="application/json">\s*(\{.*?\})\s*</script>',
            shown.text,
            re.DOTALL,
        )
        assert config
        assert json.loads(config[1])["news"] == {"disabled": True}
        # The extension is there although nothing was installed, and knows the environment that was named.
        board = started.session.get(f"{started.url.partition('/lab')[0]}/runbooks", timeout=30)
        assert "<b>site</b>" in board.text
        home_page = started.session.get(
            started.url.partition("/lab")[0] + "/", timeout=30, allow_redirects=False
        )
        assert home_page.headers["Location"].rstrip("?").endswith(f"/lab/tree/{path}")


def test_without_an_alert_the_start_page_comes_first(
    tmp_path: Path, answering: tuple[str, FakeAlertmanager]
) -> None:
    with lab(tmp_path, answering[0], "-e", "site") as started:
        assert started.url.endswith("/runbooks")
        front = started.session.get(started.url.removesuffix("/runbooks") + "/", timeout=30)
        assert front.url == started.url
        assert "Firing now" in front.text


def test_what_cannot_be_meant_is_refused_before_anything_starts(tmp_path: Path) -> None:
    root = home(tmp_path / "root")
    for words, told in (
        (["HighErorRate"], "did you mean 'HighErrorRate'?"),
        (["HighErrorRate", "-e", "laab"], "did you mean 'lab'?"),
        (["HighErrorRate", "-e", "lab", "-s", "x"], "no service 'x'"),
        (["HighErrorRate", "-e", "lab", "--starts-at", "noon"], "'noon' is not a time"),
        (["-s", "backend"], "need an alert"),
        (["-e", "laab"], "did you mean 'lab'?"),
    ):
        ended = command(["runbook", "lab", *words], {"RUNBOOK_HOME": str(root)}, cwd=root)
        assert ended.code == 3, ended.err
        assert told in ended.err
        assert not (root / "incidents").exists()


def test_a_port_that_is_taken_is_named(tmp_path: Path, answering: tuple[str, FakeAlertmanager]) -> None:
    root, port = home(tmp_path / "root"), answering[0].rpartition(":")[2]
    ended = command(["runbook", "lab", "--port", port], {"RUNBOOK_HOME": str(root)}, cwd=root)
    assert ended.code == 3
    assert f"port {port} cannot be used" in ended.err
