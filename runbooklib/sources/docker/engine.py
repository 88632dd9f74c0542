"""A read-only connection to a Docker engine for one question, with a deadline and with SourceErrors."""

import difflib
import json
import re
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, NoReturn

import docker
import requests

from runbooklib.errors import DeadlineError, NoDataError, NonsenseError, RefusedError, UnreachableError
from runbooklib.model.window import moment_of

SYSTEM = "docker"
OLDEST_VERSION = "1.24"
_CHUNK_BYTES = 65_536
# Reading a long answer stops early, so that it ends within the deadline even if the engine stops sending.
_READ_SHARE, _SILENCE_SHARE = 0.5, 0.4
MAX_BYTES = 16_000_000
_ID = re.compile(r"[0-9a-f]{64}")
# The engine's Date header has whole seconds.
_MIN_SKEW_SECONDS = 3.0


@contextmanager
def opened(url: str, deadline_seconds: float) -> Iterator["Engine"]:
    """The engine at "unix:///…" or "tcp://…". Every failure is raised as a SourceError."""
    try:
        with closing(Engine(url, deadline_seconds)) as engine:
            yield engine
    except (docker.errors.DockerException, requests.RequestException, OSError) as error:
        _raise_source_error(error, url, deadline_seconds)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise NonsenseError(
            f"the engine returned an unexpected answer ({type(error).__name__})", system=SYSTEM, target=url
        ) from error


class _Reader(docker.APIClient):
    """A Docker client that sends GET requests only."""

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """Send a GET request. Raises RefusedError for any other."""
        if request.method != "GET":
            raise RefusedError(
                f"{request.method} requests are not allowed: checks are read-only",
                system=SYSTEM,
                code=str(request.method),
            )
        return super().send(request, **kwargs)


class Engine:
    """One connection for one question: GET requests only, each within the rest of the deadline."""

    def __init__(self, url: str, deadline_seconds: float) -> None:
        self.url = url
        self._ends = time.monotonic() + deadline_seconds
        if url.startswith("unix://"):
            # The client leaks its socket if it cannot connect, and hides the cause, so we connect first.
            with socket.socket(socket.AF_UNIX) as probe:
                probe.settimeout(deadline_seconds)
                probe.connect("/" + url.removeprefix("unix://").lstrip("/"))
        # With a version given, the client does not negotiate: its negotiation leaks a socket on failure.
        self._client = _Reader(base_url=url, version=OLDEST_VERSION, timeout=int(deadline_seconds) + 1)
        self._version = ""
        self._ahead_seconds = 0.0
        self.has_answered = False

    def close(self) -> None:
        """Close its sockets."""
        self._client.close()

    @property
    def left_seconds(self) -> float:
        """The rest of the deadline, at least 0.05 s."""
        return max(self._ends - time.monotonic(), 0.05)

    @property
    def unix_time(self) -> float:
        """The engine's time as a Unix timestamp; our own time if the clocks agree."""
        self._negotiate()
        return time.time() + self._ahead_seconds

    def get(
        self, path: str, parameters: Mapping[str, str] | None = None, *, within: float | None = None
    ) -> requests.Response:
        """The engine's response, with an unread body. Raises RefusedError for an HTTP error other than 404.

        `within`: for how many seconds the engine may send nothing; by default the rest of the deadline.
        """
        if path != "/version":
            self._negotiate()
        response: requests.Response = self._client.get(
            f"{self._client.base_url}{self._version}{path}",
            params=parameters,
            timeout=within or self.left_seconds,
            stream=True,
        )
        self.has_answered = True
        self._compare_clocks(response.headers.get("Date", ""))
        if response.status_code >= 400 and response.status_code != 404:
            with response:
                _refuse(response, self.url)
        return response

    def _negotiate(self) -> None:
        if not self._version:
            self._version = f"/v{self.json('/version')['ApiVersion']}"

    def _compare_clocks(self, date: str) -> None:
        try:
            ahead = parsedate_to_datetime(date).timestamp() - time.time()
        except ValueError:
            return
        self._ahead_seconds = ahead if abs(ahead) > _MIN_SKEW_SECONDS else 0.0

    def chunks(self, response: requests.Response) -> Iterator[bytes]:
        """The response's bytes. Raises DeadlineError after the deadline, NonsenseError above MAX_BYTES."""
        size = 0
        with response:
            for chunk in response.iter_content(_CHUNK_BYTES):
                size += len(chunk)
                if size > MAX_BYTES:
                    raise NonsenseError(
                        f"the answer is larger than {MAX_BYTES:,} bytes", system=SYSTEM, target=self.url
                    )
                if time.monotonic() > self._ends:
                    raise DeadlineError(
                        "the answer was not complete within the deadline", system=SYSTEM, target=self.url
                    )
                yield chunk

    def json(self, path: str, **parameters: str) -> Any:
        """The whole response as JSON; None for 404."""
        response = self.get(path, parameters)
        body = b"".join(self.chunks(response))
        return None if response.status_code == 404 else json.loads(body)

    def _find(self, name: str) -> Any:
        """The container of this name or id prefix; None for no container, and for a prefix of several ids."""
        try:
            return self.json(f"/containers/{name}/json")
        except RefusedError as error:
            if "Multiple IDs found" not in error.message:
                raise
            return None

    def inspect(self, name: str) -> dict[str, Any]:
        """The container of exactly that name, as the engine describes it. Raises NoDataError.

        It holds secrets: callers keep only the fields that they need.
        """
        container = self._find(name)
        # The engine also accepts the first letters of an id as a name.
        if container is not None and container["Name"] == f"/{name}":
            if not _ID.fullmatch(container["Id"]):
                raise ValueError("the container's id has no valid form")
            return dict(container)
        containers = self.json("/containers/json")
        running = sorted(alias.lstrip("/") for each in containers for alias in each["Names"])
        near = difflib.get_close_matches(name, running, n=3, cutoff=0.4) or running[:5]
        raise NoDataError(
            f"there is no container {name!r}",
            system=SYSTEM,
            target=self.url,
            hint=f"running containers: {', '.join(near)}" if near else "no container is running",
        )


class PartialResponse:
    """The chunks of a long response, up to `max_bytes` or about half of the time that is left.

    `is_whole`: the response was read to its end. `has_more`: we stopped reading. Both are False if the
    engine stopped sending.
    """

    def __init__(self, engine: Engine, path: str, parameters: Mapping[str, str], *, max_bytes: int) -> None:
        self.is_whole = self.has_more = False
        self._engine, self._path, self._parameters = engine, path, parameters
        self._max_bytes = max_bytes

    def __iter__(self) -> Iterator[bytes]:
        left = self._engine.left_seconds
        ends, size = time.monotonic() + _READ_SHARE * left, 0
        try:
            response = self._engine.get(self._path, self._parameters, within=_SILENCE_SHARE * left)
            with response:
                if response.status_code == 404:
                    raise NoDataError(
                        "the container was removed meanwhile", system=SYSTEM, target=self._engine.url
                    )
                for chunk in response.iter_content(_CHUNK_BYTES):
                    yield chunk
                    size += len(chunk)
                    self.has_more = size >= self._max_bytes or time.monotonic() > ends
                    if self.has_more:
                        return
            self.is_whole = True
        except (requests.RequestException, OSError) as error:
            if not _is_timeout(error):
                raise


def moment_or_none(text: str | None) -> datetime | None:
    """A time of the engine, aware UTC; None for an empty text and for Go's zero time."""
    return None if not text or text.startswith("0001-") else moment_of(text)


def _refuse(response: requests.Response, url: str) -> NoReturn:
    try:
        text = str(response.json()["message"])
    except (ValueError, KeyError, TypeError):
        text = response.text
    reason = text.strip()[:500] or "no reason given"
    raise RefusedError(
        f"answered {response.status_code}: {reason}",
        system=SYSTEM,
        target=url,
        code=str(response.status_code),
    )


def _raise_source_error(error: BaseException, url: str, deadline_seconds: float) -> NoReturn:
    """Raise the SourceError for a failed request, by its root cause."""
    causes = list(_causes(error))
    about = {"system": SYSTEM, "target": url}
    if any(isinstance(cause, PermissionError) for cause in causes):
        raise RefusedError(
            "permission denied",
            hint="join the group docker, or ask through its proxy",
            code="EACCES",
            **about,
        ) from error
    if _is_timeout(error):
        raise DeadlineError(
            f"no answer within {deadline_seconds:g} s", hint="see whether dockerd hangs", **about
        ) from error
    cause = str(causes[-1]) or type(causes[-1]).__name__
    raise UnreachableError(f"no connection: {cause}", hint="see whether dockerd runs", **about) from error


def _is_timeout(error: BaseException) -> bool:
    return any(isinstance(cause, TimeoutError | requests.Timeout) for cause in _causes(error))


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and its causes, outermost first; requests hides causes in the arguments."""
    seen: list[BaseException] = []
    pending: list[Any] = [error]
    while pending:
        cause = pending.pop(0)
        if isinstance(cause, BaseException) and not any(cause is other for other in seen):
            seen.append(cause)
            pending += [cause.__cause__, *cause.args, getattr(cause, "reason", None)]
    yield from seen
