"""One HTTP request with limits, for every source that uses HTTP.

The deadline covers the whole request and not each read; the size limit applies to the decoded body. Redirects
are not followed, and no proxy or netrc of the environment is used, so a token reaches only the system that it
belongs to. Requests ask for no compression: decompression costs more than a local network saves.
"""

import http.client
import socket
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from threading import Thread, Timer
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter

from runbooklib.errors import (
    DeadlineError,
    NonsenseError,
    RefusedError,
    SourceError,
    UnreachableError,
)
from runbooklib.sources.strict_json import read

MAX_BYTES = 16 * 1024 * 1024
_CHUNK_BYTES = 16 * 1024
_KEPT_HEADERS = ("content-type", "date", "retry-after", "location", "x-request-id")

# The request ends this long before the caller's deadline: its error says which step is slow.
_EARLY_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Response:
    """The answer to one request, with any status.

    `headers` contains only the headers that the sources use, with names in lower case. `seconds` is the time
    until the last byte.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float

    @property
    def content_type(self) -> str:
        """The media type without its parameters: "text/html"."""
        return self.headers.get("content-type", "").split(";")[0].strip().lower()

    @property
    def text(self) -> str:
        r"""The body as text; bytes that are not UTF-8 stay readable as escapes like `\xff`."""
        return self.body.decode("utf-8", "backslashreplace")

    @property
    def is_utf8(self) -> bool:
        """Whether the body is valid UTF-8, so that `text` contains no escapes."""
        try:
            self.body.decode()
        except UnicodeDecodeError:
            return False
        return True

    def json(self, *, system: str = "", target: str = "") -> Any:
        """The body as JSON, by the rules of `strict_json`. Raises NonsenseError."""
        return read(self.body, system=system, target=target)


def target_of(url: str) -> str:
    """The URL as text for messages: scheme, host, port and path, without credentials and query."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "an invalid address"
    system = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}" if parts.netloc else ""
    return f"{system}{parts.path.rstrip('/')}"


def fetch(
    method: str,
    url: str,
    *,
    system: str,
    target: str = "",
    headers: Mapping[str, str] | None = None,
    params: Sequence[tuple[str, str]] = (),
    form: Sequence[tuple[str, str]] = (),
    content: bytes = b"",
    deadline_seconds: float,
    max_bytes: int = MAX_BYTES,
    is_redirect_refused: bool = True,
) -> Response:
    """Send one request and return its answer, whatever its status.

    `params` go into the URL, `form` or `content` into the body. A redirect is never followed: it raises
    RefusedError with its destination, or is returned if `is_redirect_refused` is False. If the connection is
    cut, the request is sent a second time, unless it has `content`.
    Raises UnreachableError, DeadlineError, NonsenseError and RefusedError with `system` and `target`.
    """
    start, about = monotonic(), {"system": system, "target": target or target_of(url)}
    attempt = _Attempt(start + max(deadline_seconds - _EARLY_SECONDS, 0.01), max_bytes)
    data = content or list(form) or None
    request = requests.Request(method, url, _headers(headers), params=list(params), data=data)
    try:
        response = attempt.send(request, start) if content else _send_with_retry(attempt, request, start)
    except (requests.RequestException, OSError, ValueError, http.client.HTTPException) as error:
        raise _source_error(error, attempt, deadline_seconds, about) from None
    if is_redirect_refused:
        _refuse_redirect(response, about)
    return response


def _refuse_redirect(response: Response, about: dict[str, str]) -> None:
    if response.status in (301, 302, 303, 307, 308):
        raise RefusedError(
            f"redirects to {target_of(response.headers.get('location', ''))}; redirects are not followed",
            **about,
            hint="set the address of the system itself, without login pages or redirects",
            code=str(response.status),
        )


def _headers(headers: Mapping[str, str] | None) -> dict[str, str]:
    fixed = {"Accept-Encoding": "identity", "Connection": "close", "User-Agent": "runbooklib"}
    return {**(headers or {}), **fixed}


class _TooLargeError(ValueError):
    """The answer is larger than the caller's limit."""


class _Adapter(HTTPAdapter):
    """An adapter that collects its sockets, so that a timer can close the connection to a slow server."""

    def __init__(self) -> None:
        self.sockets: list[socket.socket] = []
        super().__init__(max_retries=0)

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        """The connection pool for one request; each new connection adds its socket to `sockets`."""
        pool: Any = super().get_connection_with_tls_context(*args, **kwargs)
        sockets, base_class = self.sockets, pool.ConnectionCls
        if pool.scheme == "https":
            # Trust the certificate authorities of this machine too, and not only those in requests.
            pool.conn_kw["ssl_context"] = ssl.create_default_context()

        class RecordingConnection(base_class):  # type: ignore[misc, valid-type] # known only at run time
            def connect(self) -> None:
                super().connect()
                sockets.append(self.sock)

        pool.ConnectionCls = RecordingConnection
        return pool


@dataclass(slots=True)
class _Attempt:
    """The limits of a request, and its current step for the error message.

    `ends_at` is in monotonic seconds.
    """

    ends_at: float
    max_bytes: int
    step: str = "no connection"

    @property
    def left_seconds(self) -> float:
        return self.ends_at - monotonic()

    def send(self, request: requests.Request, start: float) -> Response:
        """Send the request once and read the whole answer; a timer closes the connection at the deadline."""
        self._resolve_host(str(request.url))
        adapter = _Adapter()
        timer = Timer(max(self.left_seconds, 0.0), _shut_down, (adapter.sockets,))
        timer.daemon = True
        timer.start()
        try:
            with requests.Session() as session:
                session.trust_env = False
                session.mount("http://", adapter)
                session.mount("https://", adapter)
                return self._read(session, session.prepare_request(request), start)
        except BaseException:
            if adapter.sockets and self.step == "no connection":
                self.step = "connected, but no answer"
            raise
        finally:
            timer.cancel()

    def _resolve_host(self, url: str) -> None:
        """Resolve the host name within the deadline, which the machine's resolver does not respect.

        Raises OSError for a name that cannot be resolved, TimeoutError if the resolver does not answer.
        """
        try:
            host = urlsplit(url).hostname or ""
        except ValueError:
            return
        failure: list[OSError] = []

        def resolve() -> None:
            try:
                socket.getaddrinfo(host, None)
            except OSError as error:
                failure.append(error)
            except UnicodeError:
                pass  # not a valid host name; requests raises the error

        thread = Thread(target=resolve, daemon=True, name="look-up")
        thread.start()
        thread.join(max(self.left_seconds, 0.001))
        if failure:
            raise failure[0]
        if thread.is_alive():
            self.step = f"{_resolver()} does not resolve {host!r}"
            raise TimeoutError

    def _read(self, session: requests.Session, request: requests.PreparedRequest, start: float) -> Response:
        wait = max(self.left_seconds, 0.001)
        answer = session.send(request, stream=True, timeout=(wait, wait), allow_redirects=False)
        with closing(answer):
            self.step = "the answer is incomplete"
            body = bytearray()
            for chunk in answer.iter_content(_CHUNK_BYTES):
                body += chunk
                if len(body) > self.max_bytes:
                    raise _TooLargeError
            if self.left_seconds <= 0:  # when the timer closes the connection, the answer can look whole
                raise TimeoutError
            headers = {name: answer.headers[name] for name in _KEPT_HEADERS if name in answer.headers}
            return Response(answer.status_code, headers, bytes(body), monotonic() - start)


def _send_with_retry(attempt: _Attempt, request: requests.Request, start: float) -> Response:
    try:
        return attempt.send(request, start)
    except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError, OSError) as error:
        if attempt.left_seconds <= 0 or not _is_cut(error):
            raise
    return attempt.send(request, start)


def _shut_down(sockets: Sequence[socket.socket]) -> None:
    for connection in sockets:
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and all errors inside it: requests wraps urllib3, which wraps http.client and OSError."""
    seen: list[BaseException] = []
    waiting = [error]
    while waiting:
        cause = waiting.pop(0)
        if any(cause is other for other in seen):
            continue
        seen.append(cause)
        yield cause
        inner = (*cause.args, getattr(cause, "reason", None), cause.__cause__, cause.__context__)
        waiting += [part for part in inner if isinstance(part, BaseException)]


def _cause(error: BaseException, *kinds: type[BaseException]) -> BaseException | None:
    return next((cause for cause in _causes(error) if isinstance(cause, kinds)), None)


def _is_cut(error: BaseException) -> bool:
    return _cause(error, ConnectionResetError, BrokenPipeError, http.client.IncompleteRead) is not None


def _source_error(
    error: BaseException, attempt: _Attempt, deadline_seconds: float, about: dict[str, str]
) -> SourceError:
    """The SourceError for a failed request, without the full URL that the messages of requests contain."""
    if attempt.left_seconds <= 0 or isinstance(error, requests.Timeout | TimeoutError):
        message = f"no whole answer within {deadline_seconds:g} s: {attempt.step}"
        return DeadlineError(message, **about, hint="check whether it is overloaded or hangs")
    if isinstance(error, _TooLargeError):
        size = f"{attempt.max_bytes / 1024 / 1024:g} MiB"
        return NonsenseError(f"the answer is larger than {size}", **about, hint="request less data")
    if _cause(error, socket.gaierror):
        host = urlsplit(about["target"]).hostname
        return UnreachableError(
            f"the name {host!r} cannot be resolved by {_resolver()}",
            code=UnreachableError.UNRESOLVED,
            **about,
            hint="check the address and the resolver",
        )
    if _cause(error, ConnectionRefusedError):
        return UnreachableError("refuses connections", **about, hint="check whether it runs at this address")
    if tls := _cause(error, ssl.SSLError):
        problem = getattr(tls, "verify_message", "") or getattr(tls, "reason", "") or "handshake failed"
        return UnreachableError(f"TLS: {problem}", **about, hint="check its certificate and the address")
    return _connection_error(error, about)


def _resolver() -> str:
    """The resolver of this machine as text, with the addresses of its name servers if they are known."""
    import dns.exception
    import dns.resolver

    try:
        servers = dns.resolver.Resolver().nameservers
    except dns.exception.DNSException:
        return "this machine's resolver"
    return f"this machine's resolver ({', '.join(str(server) for server in servers)})"


def _connection_error(error: BaseException, about: dict[str, str]) -> SourceError:
    """The SourceError for a connection that is cut, does not speak HTTP, or fails for another reason."""
    check_path = "check its log and the proxies in front of it"
    if _cause(error, ConnectionResetError, BrokenPipeError):
        return UnreachableError("drops the connection, twice", **about, hint=check_path)
    if _cause(error, http.client.IncompleteRead):
        return NonsenseError("the answer breaks off, twice", **about, hint=check_path)
    if _cause(error, http.client.HTTPException):
        return NonsenseError("does not speak HTTP", **about, hint="check the address and the port")
    if isinstance(error, requests.exceptions.ContentDecodingError):
        return NonsenseError("the compressed answer cannot be decoded", **about, hint=check_path)
    messages = (cause.strerror for cause in _causes(error) if isinstance(cause, OSError) and cause.strerror)
    problem = next(messages, type(error).__name__)
    return UnreachableError(f"the request failed: {problem}", **about, hint="check the address")
