"""The HTTP pages of the service: its health page and the pages of its key functions."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from runbooklib.errors import NonsenseError, ParameterError
from runbooklib.sources.http import Response, fetch, target_of
from runbooklib.sources.tape import DEADLINE_SECONDS, Tape, side_by_side

MAX_TEXT = 64 * 1024
# Two workers behind one port: with 8 connections, 1 time in 128 all meet the same one.
_CONNECTIONS = 8
_PROCESS_STARTS_SECONDS = 3.0
_STARTED = re.compile(r"^process_start_time_seconds(?:\{[^}\n]*\})? ([0-9][0-9.eE+]*)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the service, with any status.

    `seconds` is the time until its last byte. `text` is cut to MAX_TEXT characters; `json` is None if the
    page is not JSON. `location` is the destination of a redirect, which is not followed. `request_id` is the
    X-Request-ID of the service, for a search in its logs. `read_at` (ISO 8601) is when a run of the same
    batch read it; empty outside of a batch.
    """

    path: str
    status: int
    seconds: float
    content_type: str
    text: str
    json: Any
    request_id: str
    location: str = ""
    read_at: str = ""

    @property
    def components(self) -> dict[str, dict[str, Any]]:
        """The `components` of a health page by name; empty if the page has none.

        A component that is only a word (`"database": "disabled"`) has that word as its `status`; so has one
        with `"enabled": false` and no status.
        """
        components = self.json.get("components") if isinstance(self.json, dict) else None
        items = components.items() if isinstance(components, dict) else ()
        read = {str(name): _component(component) for name, component in items}
        return {name: component for name, component in read.items() if component}


def _component(value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        return {"status": value}
    if not isinstance(value, dict):
        return {}
    return {"status": "disabled", **value} if value.get("enabled") is False else value


class Web:
    """Reads the pages of one service.

    Every status is an answer. Raises UnreachableError, DeadlineError or NonsenseError.
    """

    def __init__(self, url: str, tape: Tape, *, deadline_seconds: float = DEADLINE_SECONDS) -> None:
        self._base = url.rstrip("/")
        self._target = target_of(self._base)
        self._tape = tape
        self._deadline_seconds = deadline_seconds

    def __repr__(self) -> str:
        return f"Web({self._target!r})"

    def page(self, path: str) -> Page:
        """The page at the path, which begins with "/" and can have a query. Raises ParameterError."""
        if not path.startswith("/"):
            raise ParameterError(f"{path!r} is not a path", hint='begin it with "/"')
        answer = self._tape.ask(
            "web",
            {"method": "GET", "path": path},
            lambda: self._once("page", path, self._fetch),
            target=self._target,
            deadline_seconds=self._deadline_seconds,
        )
        return Page(path=path, **answer)

    def process_starts(self, path: str) -> list[float]:
        """The different start times (Unix seconds) of the processes that answer at this metrics page.

        Asked at the same time over several new connections, since one connection always meets the same
        process. Empty if the page has no process_start_time_seconds.
        """
        answer = self._tape.ask(
            "web",
            {"question": "process starts", "path": path, "connections": _CONNECTIONS},
            lambda: self._once("process starts", path, self._fetch_starts),
            # A page that is late must not make the other pages of the service unreachable.
            target=f"{self._target}{path}",
            deadline_seconds=min(self._deadline_seconds, _PROCESS_STARTS_SECONDS),
        )
        return [float(started) for started in answer["started"]]

    def _once(self, what: str, path: str, call: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
        """The answer of `call`. The runs of a batch share it: their requests are traffic of the service."""
        if self._tape.shared is None:
            return call(path)
        return self._tape.shared.once({"what": what, "url": self._base, "path": path}, partial(call, path))

    def _fetch_starts(self, path: str) -> dict[str, Any]:
        """The start times on all pages; one that does not answer with status 200 counts for nothing."""
        pages = side_by_side([partial(self._fetch_plain, path)] * _CONNECTIONS)
        texts = [page.text for page in pages if page.status == 200]
        return {
            "started": sorted({round(float(value), 3) for text in texts for value in _STARTED.findall(text)})
        }

    def _fetch_plain(self, path: str) -> Response:
        deadline = min(self._deadline_seconds, _PROCESS_STARTS_SECONDS)
        return fetch(
            "GET",
            f"{self._base}{path}",
            system="web",
            target=self._target,
            deadline_seconds=deadline,
            is_redirect_refused=False,
        )

    def _fetch(self, path: str) -> dict[str, Any]:
        response = fetch(
            "GET",
            f"{self._base}{path}",
            system="web",
            target=self._target,
            deadline_seconds=self._deadline_seconds,
            is_redirect_refused=False,
        )
        return {
            "status": response.status,
            "seconds": response.seconds,
            "content_type": response.content_type,
            "text": response.text[:MAX_TEXT],
            "json": _json_of(response),
            "request_id": response.headers.get("x-request-id", ""),
            "location": target_of(response.headers["location"]) if "location" in response.headers else "",
        }


def _json_of(response: Response) -> Any:
    if "json" not in response.content_type:
        return None
    try:
        return response.json()
    except NonsenseError:
        return None
