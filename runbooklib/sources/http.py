r"""One bounded HTTP request, for every source that speaks HTTP.

Bounded in time as a whole and not per read, in size after decoding, and in where it goes: no redirect is
followed, no proxy or netrc of the environment is used, so that a token only ever reaches the system it
is for. Answers are asked for without compression: unpacking costs more than a local network saves.

JSON from outside, read so that anything may pass it on: not absurdly deep, no key twice, all of it text.

Bytes that are not UTF-8 and lone surrogates stay readable as escapes like `\xff`.
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

from runbooklib.errors import DeadlineError, NonsenseError, RefusedError, SourceError, UnreachableError
from runbooklib.sources.strict_json import read

MAX_BYTES = 16 * 1024 * 1024
_CHUNK_BYTES = 16 * 1024
_KEPT_HEADERS = ("content-type", "date", "retry-after", "location", "x-request-id")

# So that this error, which says how far it came, is there before the asker's own deadline passes.
_EARLY_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Response:
    """One answer, whatever its status. `headers` are a few, in lower case; `seconds` until the last byte."""

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
        """Whether the text is what was sent, without escapes."""
        try:
            self.body.decode()
        except UnicodeDecodeError:
            return False
        return True

    def json(self, *, system: str = "", target: str = "") -> Any:
        """The body as JSON, by the rules of `strictjson`. Raises NonsenseError."""
        return read(self.body, system=system, target=target)


def target_of(url: str) -> str:
    """Which system a URL means, fit for messages: scheme, host, port and path; no credentials, no query."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "an unreadable address"
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
    most_bytes: int = MAX_BYTES,
    is_redirect_refused: bool = True,
) -> Response:
    """The answer to one request; `params` go into the URL, `form` or `content` into the body.

    Any status is an answer, but a redirect is a RefusedError that names where it leads, unless
    `is_redirect_refused` is off (it is never followed). An answer that is cut off is asked for once
    more, unless there is `content`.
    Raises UnreachableError, DeadlineError, NonsenseError and RefusedError with `system` and `target`.
    """
    begun, about = monotonic(), {"system": system, "target": target or target_of(url)}
    attempt = _Attempt(begun + max(deadline_seconds - _EARLY_SECONDS, 0.01), most_bytes)
    data = content or list(form) or None
    request = requests.Request(method, url, _headers(headers), params=list(params), data=data)
    try:
        response = attempt.send(request, begun) if content else _twice(attempt, request, begun)
    except (requests.RequestException, OSError, ValueError, http.client.HTTPException) as error:
        raise _trouble(error, attempt, deadline_seconds, about) from None
    if is_redirect_refused:
        _refuse_redirect(response, about)
    return response


def _refuse_redirect(response: Response, about: dict[str, str]) -> None:
    if response.status in (301, 302, 303, 307, 308):
        raise RefusedError(
            f"sends us on to {target_of(response.headers.get('location', ''))}, where we do not go",
            **about,
            hint="set the system's own address, without login pages or redirects",
            code=str(response.status),
        )


def _headers(given: Mapping[str, str] | None) -> dict[str, str]:
    ours = {"Accept-Encoding": "identity", "Connection": "close", "User-Agent": "runbooklib"}
    return {**(given or {}), **ours}


class _TooLargeError(ValueError):
    """The answer is larger than the caller wanted to read."""


class _Adapter(HTTPAdapter):
    """Knows its connections' sockets, so that somebody else can hang up on a server that trickles."""

    def __init__(self) -> None:
        self.sockets: list[socket.socket] = []
        super().__init__(max_retries=0)

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        """The pool for one request, whose connections tell of their sockets."""
        pool: Any = super().get_connection_with_tls_context(*args, **kwargs)
        sockets, plain = self.sockets, pool.ConnectionCls
        if pool.scheme == "https":
            # This machine's own certificate authorities too, and not only those that requests brings along.
            pool.conn_kw["ssl_context"] = ssl.create_default_context()

        class Told(plain):  # type: ignore[misc, valid-type] # whichever class the pool has
            def connect(self) -> None:
                super().connect()
                sockets.append(self.sock)

        pool.ConnectionCls = Told
        return pool


@dataclass(slots=True)
class _Attempt:
    """When a request must end, how much may be read, and how far it came."""

    ends_at: float
    most_bytes: int
    came_to: str = "no connection came about"

    @property
    def left_seconds(self) -> float:
        return self.ends_at - monotonic()

    def send(self, request: requests.Request, begun: float) -> Response:
        """Ask once, and read the whole answer; hang up when the time is over."""
        self._look_up(str(request.url))
        adapter = _Adapter()
        alarm = Timer(max(self.left_seconds, 0.0), _hang_up, (adapter.sockets,))
        alarm.daemon = True
        alarm.start()
        try:
            with requests.Session() as session:
                session.trust_env = False
                session.mount("http://", adapter)
                session.mount("https://", adapter)
                return self._read(session, session.prepare_request(request), begun)
        except BaseException:
            if adapter.sockets and self.came_to.startswith("no connection"):
                self.came_to = "it is connected, and silent"
            raise
        finally:
            alarm.cancel()

    def _look_up(self, url: str) -> None:
        """Resolve the name first: the system's resolver knows no deadline of ours, and must be named."""
        try:
            host = urlsplit(url).hostname or ""
        except ValueError:
            return
        failure: list[OSError] = []

        def ask() -> None:
            try:
                socket.getaddrinfo(host, None)
            except OSError as error:
                failure.append(error)
            except UnicodeError:
                pass  # no name at all; what asks next says so

        asker = Thread(target=ask, daemon=True, name="look-up")
        asker.start()
        asker.join(max(self.left_seconds, 0.001))
        if failure:
            raise failure[0]
        if asker.is_alive():
            self.came_to = f"{_resolver()} does not say where {host!r} is"
            raise TimeoutError

    def _read(self, session: requests.Session, request: requests.PreparedRequest, begun: float) -> Response:
        wait = max(self.left_seconds, 0.001)
        with closing(session.send(request, stream=True, timeout=(wait, wait), allow_redirects=False)) as told:
            self.came_to = "it began to answer, and is too slow"
            body = bytearray()
            for chunk in told.iter_content(_CHUNK_BYTES):
                body += chunk
                if len(body) > self.most_bytes:
                    raise _TooLargeError
            if self.left_seconds <= 0:  # hung up on, which may look like the end of an answer
                raise TimeoutError
            headers = {name: told.headers[name] for name in _KEPT_HEADERS if name in told.headers}
            return Response(told.status_code, headers, bytes(body), monotonic() - begun)


def _twice(attempt: _Attempt, request: requests.Request, begun: float) -> Response:
    try:
        return attempt.send(request, begun)
    except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError, OSError) as error:
        if attempt.left_seconds <= 0 or not _was_cut(error):
            raise
    return attempt.send(request, begun)


def _hang_up(sockets: Sequence[socket.socket]) -> None:
    for line in sockets:
        with suppress(OSError):
            line.shutdown(socket.SHUT_RDWR)


def _roots(error: BaseException) -> Iterator[BaseException]:
    """The error and all that it was made of: requests wraps urllib3, which wraps http.client and OSError."""
    seen: list[BaseException] = []
    waiting = [error]
    while waiting:
        one = waiting.pop(0)
        if any(one is other for other in seen):
            continue
        seen.append(one)
        yield one
        inner = (*one.args, getattr(one, "reason", None), one.__cause__, one.__context__)
        waiting += [part for part in inner if isinstance(part, BaseException)]


def _root(error: BaseException, *kinds: type[BaseException]) -> BaseException | None:
    return next((one for one in _roots(error) if isinstance(one, kinds)), None)


def _was_cut(error: BaseException) -> bool:
    return _root(error, ConnectionResetError, BrokenPipeError, http.client.IncompleteRead) is not None


def _trouble(
    error: BaseException, attempt: _Attempt, deadline_seconds: float, about: dict[str, str]
) -> SourceError:
    """What a failed request amounts to, in words without the URL that requests puts into its own."""
    if attempt.left_seconds <= 0 or isinstance(error, requests.Timeout | TimeoutError):
        told = f"no whole answer within {deadline_seconds:g} s: {attempt.came_to}"
        return DeadlineError(told, **about, hint="see whether it is overloaded, or hangs")
    if isinstance(error, _TooLargeError):
        size = f"{attempt.most_bytes / 1024 / 1024:g} MiB"
        return NonsenseError(f"its answer is larger than {size}", **about, hint="ask for less")
    if _root(error, socket.gaierror):
        host = urlsplit(about["target"]).hostname
        return UnreachableError(
            f"the name {host!r} cannot be resolved by {_resolver()}",
            **about,
            hint="check the address and the resolver",
        )
    if _root(error, ConnectionRefusedError):
        return UnreachableError("refuses connections", **about, hint="see whether it runs there")
    if found := _root(error, ssl.SSLError):
        told = getattr(found, "verify_message", "") or getattr(found, "reason", "") or "handshake failed"
        return UnreachableError(f"TLS: {told}", **about, hint="check its certificate and the address")
    return _cut_or_garbled(error, about)


def _resolver() -> str:
    """Who resolves names here."""
    import dns.exception
    import dns.resolver

    try:
        servers = dns.resolver.Resolver().nameservers
    except dns.exception.DNSException:
        return "this machine's resolver"
    return f"this machine's resolver ({', '.join(str(one) for one in servers)})"


def _cut_or_garbled(error: BaseException, about: dict[str, str]) -> SourceError:
    again = "see its log, and what stands between"
    if _root(error, ConnectionResetError, BrokenPipeError):
        return UnreachableError("drops the connection, twice", **about, hint=again)
    if _root(error, http.client.IncompleteRead):
        return NonsenseError("its answer breaks off, twice", **about, hint=again)
    if _root(error, http.client.HTTPException):
        return NonsenseError("does not speak HTTP", **about, hint="check the address and the port")
    if isinstance(error, requests.exceptions.ContentDecodingError):
        return NonsenseError("its compressed answer cannot be read", **about, hint=again)
    found = next((one for one in _roots(error) if isinstance(one, OSError) and one.strerror), None)
    told = found.strerror if isinstance(found, OSError) and found.strerror else type(error).__name__
    return UnreachableError(f"cannot be asked: {told}", **about, hint="check the address")
