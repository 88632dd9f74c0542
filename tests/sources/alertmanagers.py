"""A real Alertmanager of the tests' own, and alerts for it."""

import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.sources.servers import page, program, running
from tests.sources.standin import closed_port

BEGUN = datetime(2026, 1, 15, 3, 12, 0, 123_000, tzinfo=UTC)


def post(url: str, body: Any) -> None:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=5):
        pass


def alert(name: str, **labels: str) -> dict[str, Any]:
    ends_at = datetime.now(UTC) + timedelta(hours=1)
    told = {"alertname": name, **labels}
    return {
        "labels": told,
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
