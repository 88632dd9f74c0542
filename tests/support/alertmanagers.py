"""A real Alertmanager of the tests' own, and alerts for it."""

import json
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.support.servers import page, program, running
from tests.support.stand_in import closed_port

BEGUN = datetime(2026, 1, 15, 3, 12, 0, 123_000, tzinfo=UTC)


def post(url: str, body: Any) -> None:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=5):
        pass


def alert(name: str, **labels: str) -> dict[str, Any]:
    ends_at = datetime.now(UTC) + timedelta(hours=1)
    alert_labels = {"alertname": name, **labels}
    return {
        "labels": alert_labels,
        "annotations": {"summary": f"{name} fires"},
        "startsAt": BEGUN.isoformat(),
        "endsAt": ends_at.isoformat(),
    }


@contextmanager
def own_alertmanager(folder: Path) -> Iterator[str]:
    """Its URL, until the end of the block."""
    (folder / "alertmanager.yml").write_text(
        "route: {receiver: nobody}\n"
        "receivers: [{name: nobody}]\n"
        "inhibit_rules:\n"
        "- source_matchers: ['severity=critical']\n"
        "  target_matchers: ['severity=warning']\n"
        "  equal: [component]\n"
    )
    port = closed_port()
    url = f"http://127.0.0.1:{port}"
    argv = [program("prometheus-alertmanager"), "--config.file=alertmanager.yml", "--storage.path=data"]
    argv += [f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address=", "--log.level=warn"]
    with running(argv, folder, lambda: bool(page(f"{url}/-/ready"))):
        yield url


@dataclass
class FakeAlertmanager:
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
def answering() -> Iterator[tuple[str, FakeAlertmanager]]:
    """The address of an HTTP server that answers like Alertmanager, and what it says."""
    fake = FakeAlertmanager()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            fake.asked.append(self.path)
            time.sleep(fake.delay_seconds)
            if fake.alerts is None:
                self.close_connection = True
                return
            raw = json.dumps(fake.alerts).encode()
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
            yield f"http://127.0.0.1:{server.server_address[1]}", fake
        finally:
            server.shutdown()
            thread.join(5)


@pytest.fixture
def alertmanager(answering: tuple[str, FakeAlertmanager]) -> FakeAlertmanager:
    """What Alertmanager says, nothing at first."""
    fake = answering[1]
    fake.alerts, fake.asked[:], fake.delay_seconds = [], [], 0
    return fake
