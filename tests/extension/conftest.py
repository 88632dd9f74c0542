"""One server, one Alertmanager that says what a test wants, for all tests of the extension."""

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.extension.serving import Served, environment_file, home, serving
from tests.notebooks.running import command


@dataclass
class Told:
    """What Alertmanager answers, and how late; None: it hangs up."""

    alerts: list[dict[str, Any]] | None = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    delay_seconds: float = 0

    def fires(self, name: str, began: str, summary: str = "It fires", **labels: str) -> None:
        """An alert is there from now on."""
        assert self.alerts is not None
        self.alerts.append(
            {
                "labels": {"alertname": name, **labels},
                "annotations": {"summary": summary},
                "startsAt": began,
                "endsAt": "2199-01-01T00:00:00Z",
                "status": {"state": "active", "silencedBy": [], "inhibitedBy": []},
                "fingerprint": "0123456789abcdef",
            }
        )


@pytest.fixture(scope="session")
def answering() -> Iterator[tuple[str, Told]]:
    """The address of an HTTP server that answers like Alertmanager, and what it says."""
    told = Told()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            told.asked.append(self.path)
            time.sleep(told.delay_seconds)
            if told.alerts is None:
                self.close_connection = True
                return
            raw = json.dumps(told.alerts).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_: Any) -> None:
            """Keep quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", told
        finally:
            server.shutdown()
            thread.join(5)


@pytest.fixture
def alertmanager(answering: tuple[str, Told]) -> Told:
    """What Alertmanager says, nothing at first."""
    told = answering[1]
    told.alerts, told.asked[:], told.delay_seconds = [], [], 0
    return told


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory, answering: tuple[str, Told]) -> Iterator[Served]:
    """The server, below a base URL as JupyterHub gives one, with a token to log in by."""
    folder = tmp_path_factory.mktemp("extension")
    root = home(folder / "root")
    environments: Path = folder / "environments"
    environment_file(environments, answering[0], "backend", "shop")
    told = {"RUNBOOK_ENVIRONMENTS": str(environments), "RUNBOOK_ENVIRONMENT": "site"}
    with serving(root, told, base_url="/user/oncall/") as found:
        yield found


@pytest.fixture(scope="session")
def bundle(served: Served) -> Path:
    """A headless run of HighErrorRate for the backend that ended just now, as the server's evidence."""
    argv = ["runbook", "run", "HighErrorRate", "-e", "site", "--output", str(served.root / "evidence")]
    ended = command(argv, {**served.environment, "RUNBOOK_HOME": str(served.root)})
    assert ended.code in (0, 1, 2), ended.err
    (found,) = (path for path in (served.root / "evidence").iterdir() if path.is_dir())
    return found


@pytest.fixture
def desk(tmp_path: Path, answering: tuple[str, Told], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with runbooks, as a server's root folder, for links that are followed in this process."""
    root = home(tmp_path / "root")
    environment_file(tmp_path / "environments", answering[0], "backend", "shop")
    monkeypatch.setenv("RUNBOOK_HOME", str(root))
    monkeypatch.setenv("RUNBOOK_ENVIRONMENTS", str(tmp_path / "environments"))
    monkeypatch.setenv("RUNBOOK_ENVIRONMENT", "site")
    monkeypatch.delenv("RUNBOOK_EVIDENCE", raising=False)
    return root
