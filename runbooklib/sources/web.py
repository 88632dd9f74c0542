"""The pages of the service itself: its health, and whether its key functions answer."""

from dataclasses import dataclass
from typing import Any

from runbooklib.errors import NonsenseError, ParameterError
from runbooklib.sources.http import Response, fetch, target_of
from runbooklib.sources.tape import DEADLINE_SECONDS, Tape

MAX_TEXT = 64 * 1024


@dataclass(frozen=True, slots=True)
class Page:
    """One page as it was answered. `seconds` is until its last byte; `json` is None where it is not JSON.

    `text` holds the first 64 KiB; `location` is where a redirect, which is not followed, leads;
    `request_id` is the service's own X-Request-ID, to find the request in its logs.
    """

    path: str
    status: int
    seconds: float
    content_type: str
    text: str
    json: Any
    request_id: str
    location: str = ""

    @property
    def components(self) -> dict[str, dict[str, Any]]:
        """What a health page says of its service's parts, by their names; empty where it says nothing."""
        told = self.json.get("components") if isinstance(self.json, dict) else None
        parts = told.items() if isinstance(told, dict) else ()
        return {str(name): part for name, part in parts if isinstance(part, dict)}


class Web:
    """One service's pages, only ever read.

    Every status is an answer. Raises UnreachableError, DeadlineError, and NonsenseError for what is not HTTP.
    """

    def __init__(self, url: str, tape: Tape, *, deadline_seconds: float = DEADLINE_SECONDS) -> None:
        self._base = url.rstrip("/")
        self._target = target_of(self._base)
        self._tape = tape
        self._deadline_seconds = deadline_seconds

    def __repr__(self) -> str:
        return f"Web({self._target!r})"

    def page(self, path: str) -> Page:
        """The page at the path, which begins with "/" and may have a query."""
        if not path.startswith("/"):
            raise ParameterError(f"{path!r} is not a path", hint='begin it with "/"')
        answer = self._tape.ask(
            "web",
            {"method": "GET", "path": path},
            lambda: self._asked(path),
            target=self._target,
            deadline_seconds=self._deadline_seconds,
        )
        return Page(path=path, **answer)

    def _asked(self, path: str) -> dict[str, Any]:
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
