"""The connection to a Docker engine for one question: bounded, read-only, and its errors in our words."""

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
# Of a long answer, reading stops early enough to end within the deadline even when the engine falls silent.
_READ_SHARE, _SILENCE_SHARE = 0.5, 0.4
MAX_BYTES = 16_000_000
_ID = re.compile(r"[0-9a-f]{64}")
# The engine tells its time in whole seconds.
_SAME_TIME_SECONDS = 3.0


@contextmanager
def opened(url: str, deadline_seconds: float) -> Iterator["Engine"]:
    """The engine at "unix:///…" or "tcp://…". Whatever goes wrong with it becomes a SourceError."""
    try:
        with closing(Engine(url, deadline_seconds)) as engine:
            yield engine
    except (docker.errors.DockerException, requests.RequestException, OSError) as error:
        _give_up(error, url, deadline_seconds)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise NonsenseError(
            f"answered nonsense ({type(error).__name__})", system=SYSTEM, target=url
        ) from error


class _Reader(docker.APIClient):
    """The engine's client, which can only ask: whatever would create, run, change or remove is refused."""

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """Send a GET request. Raises RefusedError for any other."""
        if request.method != "GET":
            raise RefusedError(
                f"{request.method} is not sent: a runbook only looks", system=SYSTEM, code=str(request.method)
            )
        return super().send(request, **kwargs)


class Engine:
    """One connection for one question: GET only, every read within what is left of the deadline."""

    def __init__(self, url: str, deadline_seconds: float) -> None:
        self.url = url
        self._ends = time.monotonic() + deadline_seconds
        if url.startswith("unix://"):
            # The client leaks its socket when it cannot connect, and hides why; so we try first.
            with socket.socket(socket.AF_UNIX) as probe:
                probe.settimeout(deadline_seconds)
                probe.connect("/" + url.removeprefix("unix://").lstrip("/"))
        # Given a version, the client asks nothing yet: its own negotiation leaks a socket when it fails.
        self._client = _Reader(base_url=url, version=OLDEST_VERSION, timeout=int(deadline_seconds) + 1)
        self._version = ""
        self._ahead_seconds = 0.0
        self.has_answered = False

    def close(self) -> None:
        """Close its sockets."""
        self._client.close()

    @property
    def left_seconds(self) -> float:
        """What is left of the deadline, and never nothing."""
        return max(self._ends - time.monotonic(), 0.05)

    @property
    def now(self) -> float:
        """The engine's time as a timestamp: ours, where they are about the same."""
        self._negotiate()
        return time.time() + self._ahead_seconds

    def get(
        self, path: str, parameters: Mapping[str, str] | None = None, *, within: float | None = None
    ) -> requests.Response:
        """The engine's answer, not yet read. Raises RefusedError; 404 is for the caller to judge.

        `within`: how many seconds the engine may be silent, else what is left of the deadline.
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

    def _compare_clocks(self, told: str) -> None:
        try:
            ahead = parsedate_to_datetime(told).timestamp() - time.time()
        except ValueError:
            return
        self._ahead_seconds = ahead if abs(ahead) > _SAME_TIME_SECONDS else 0.0

    def chunks(self, response: requests.Response) -> Iterator[bytes]:
        """The answer's bytes. Raises DeadlineError, however slowly they trickle, and for too many."""
        size = 0
        with response:
            for chunk in response.iter_content(_CHUNK_BYTES):
                size += len(chunk)
                if size > MAX_BYTES:
                    raise NonsenseError(
                        f"answered more than {MAX_BYTES:,} bytes", system=SYSTEM, target=self.url
                    )
                if time.monotonic() > self._ends:
                    raise DeadlineError("did not finish its answer in time", system=SYSTEM, target=self.url)
                yield chunk

    def json(self, path: str, **parameters: str) -> Any:
        """The whole answer as JSON; None for 404."""
        response = self.get(path, parameters)
        whole = b"".join(self.chunks(response))
        return None if response.status_code == 404 else json.loads(whole)

    def _named(self, name: str) -> Any:
        """What the engine takes this name for; None for nothing, and for the first letters of several ids."""
        try:
            return self.json(f"/containers/{name}/json")
        except RefusedError as error:
            if "Multiple IDs found" not in error.message:
                raise
            return None

    def inspect(self, name: str) -> dict[str, Any]:
        """All that the engine tells of the container; only listed leaves of it may leave the call."""
        found = self._named(name)
        # The engine also takes the first letters of an id for a name.
        if found is not None and found["Name"] == f"/{name}":
            if not _ID.fullmatch(found["Id"]):
                raise ValueError("an id that is none")
            return dict(found)
        running = sorted(n.lstrip("/") for c in self.json("/containers/json") for n in c["Names"])
        near = difflib.get_close_matches(name, running, n=3, cutoff=0.4) or running[:5]
        raise NoDataError(
            f"there is no container {name!r}",
            system=SYSTEM,
            target=self.url,
            hint=f"running ones: {', '.join(near)}" if near else "no container is running at all",
        )


class Beginning:
    """The chunks of a long answer until so many bytes, or about half of the time, are used up.

    `is_whole`: nothing of it is left. An engine that falls silent midway has ended it early too; where we
    stopped ourselves, `has_more`.
    """

    def __init__(self, engine: Engine, path: str, parameters: Mapping[str, str], *, most_bytes: int) -> None:
        self.is_whole = self.has_more = False
        self._engine, self._path, self._parameters = engine, path, parameters
        self._most_bytes = most_bytes

    def __iter__(self) -> Iterator[bytes]:
        left = self._engine.left_seconds
        ends, size = time.monotonic() + _READ_SHARE * left, 0
        try:
            response = self._engine.get(self._path, self._parameters, within=_SILENCE_SHARE * left)
            with response:
                if response.status_code == 404:
                    raise NoDataError(
                        "the container has vanished meanwhile", system=SYSTEM, target=self._engine.url
                    )
                for chunk in response.iter_content(_CHUNK_BYTES):
                    yield chunk
                    size += len(chunk)
                    self.has_more = size >= self._most_bytes or time.monotonic() > ends
                    if self.has_more:
                        return
            self.is_whole = True
        except (requests.RequestException, OSError) as error:
            if not _is_timeout(error):
                raise


def moment_or_none(text: str | None) -> datetime | None:
    """A time as the engine writes it; None for none and for Go's zero time."""
    return None if not text or text.startswith("0001-") else moment_of(text)


def _refuse(response: requests.Response, url: str) -> NoReturn:
    try:
        text = str(response.json()["message"])
    except (ValueError, KeyError, TypeError):
        text = response.text
    told = text.strip()[:500] or "no reason given"
    raise RefusedError(
        f"answered {response.status_code}: {told}", system=SYSTEM, target=url, code=str(response.status_code)
    )


def _give_up(error: BaseException, url: str, deadline_seconds: float) -> NoReturn:
    """The SourceError that a failed request amounts to, by what lies at the bottom of it."""
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
    told = str(causes[-1]) or type(causes[-1]).__name__
    raise UnreachableError(f"no connection: {told}", hint="see whether dockerd runs", **about) from error


def _is_timeout(error: BaseException) -> bool:
    return any(isinstance(cause, TimeoutError | requests.Timeout) for cause in _causes(error))


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what caused it, outermost first; requests hides causes in the arguments."""
    seen: list[BaseException] = []
    todo: list[Any] = [error]
    while todo:
        cause = todo.pop(0)
        if isinstance(cause, BaseException) and not any(cause is other for other in seen):
            seen.append(cause)
            todo += [cause.__cause__, *cause.args, getattr(cause, "reason", None)]
    yield from seen
