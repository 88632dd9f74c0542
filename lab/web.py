"""Small HTTP requests to the lab's servers, with a timeout and without a proxy."""

import http.client
import json
from typing import Any
from urllib.parse import urlencode

from lab.layout import HOST, Layout

TIMEOUT_SECONDS = 5.0


def status(port: int, path: str, *, method: str = "GET", timeout: float = TIMEOUT_SECONDS) -> int | None:
    """Status code of a page; None if no server answers."""
    answer = fetch(port, path, method=method, timeout=timeout)
    return None if answer is None else answer[0]


def fetch(
    port: int, path: str, *, method: str = "GET", timeout: float = TIMEOUT_SECONDS
) -> tuple[int, bytes] | None:
    """Status and body of a page; None if no server answers."""
    connection = http.client.HTTPConnection(HOST, port, timeout=timeout)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def is_ok(port: int, path: str) -> bool:
    """True if the page answers with status 200."""
    return status(port, path) == http.HTTPStatus.OK


def value(layout: Layout, query: str) -> float | None:
    """One number from Prometheus; None if there is no such series, or Prometheus does not answer."""
    answer = fetch(layout.prometheus_port, f"/api/v1/query?{urlencode({'query': query})}")
    if answer is None or answer[0] != http.HTTPStatus.OK:
        return None
    result = json.loads(answer[1])["data"]["result"]
    return float(result[0]["value"][1]) if result else None


def notified(layout: Layout) -> list[str] | None:
    """Active alerts in Alertmanager, by name; None if it does not answer."""
    answer = fetch(layout.alertmanager_port, "/api/v2/alerts?active=true")
    if answer is None or answer[0] != http.HTTPStatus.OK:
        return None
    return sorted({str(alert["labels"]["alertname"]) for alert in json.loads(answer[1])})


def alerts(layout: Layout) -> dict[str, str] | None:
    """Alerts that are pending or firing, by name; None if Prometheus does not answer."""
    answer = fetch(layout.prometheus_port, "/api/v1/alerts")
    if answer is None or answer[0] != http.HTTPStatus.OK:
        return None
    listed: list[dict[str, Any]] = json.loads(answer[1])["data"]["alerts"]
    states: dict[str, str] = {}
    for alert in listed:
        name = alert["labels"]["alertname"]
        if states.get(name) != "firing":
            states[name] = alert["state"]
    return states
