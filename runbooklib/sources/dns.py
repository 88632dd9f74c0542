"""Name resolution and reachability: DNS, then TCP, then TLS, with the duration of each step.

A name that does not exist, a refused connection and a bad certificate are answers. A resolver that does
not answer raises an error that names the resolver.
"""

import ipaddress
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

import dns.exception
import dns.name
import dns.nameserver
import dns.rcode
import dns.resolver

from runbooklib.errors import DeadlineError, NonsenseError, ParameterError, SourceError, UnreachableError
from runbooklib.sources.tape import DEADLINE_SECONDS, Tape

_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443, "postgresql": 5432, "postgres": 5432, "redis": 6379}
_TLS_SCHEMES = ("https", "wss")
# The steps end before the deadline of the tape, so that a slow step is reported as an answer.
_SHARE_OF_DEADLINE = 0.9


@dataclass(frozen=True, slots=True)
class Resolution:
    """The addresses of a name: IPv4, or IPv6 if it has no IPv4 address; `error` says why there are none.

    `resolver` is the name server that answered ("address:port"); it is empty for IP addresses and localhost,
    which need no request.
    """

    host: str
    addresses: tuple[str, ...]
    resolver: str
    seconds: float
    error: str = ""


@dataclass(frozen=True, slots=True)
class Reach:
    """The result of connecting to a host and port.

    `failed_at` is the failed step, "dns", "tcp" or "tls", and `error` its reason; both are empty without a
    failure. The seconds of a step are None if it did not run or was not needed.
    """

    host: str
    port: int
    addresses: tuple[str, ...]
    resolver: str
    dns_seconds: float | None
    tcp_seconds: float | None
    tls_seconds: float | None
    certificate_expires_at: datetime | None
    failed_at: str
    error: str


class Dns:
    """Client for the given name servers ("address" or "address:port"), or for those of this machine.

    It does not read /etc/hosts. Its methods raise DeadlineError, UnreachableError or NonsenseError if no name
    server answers, and ParameterError for an invalid name.
    """

    def __init__(
        self, nameservers: Sequence[str], tape: Tape, *, deadline_seconds: float = DEADLINE_SECONDS
    ) -> None:
        self._nameservers = [_nameserver(text) for text in nameservers]
        self._tape = tape
        self._deadline_seconds = deadline_seconds
        self._target = ", ".join(nameservers) or "this machine's resolver"

    def __repr__(self) -> str:
        return f"Dns({self._target!r})"

    def resolve(self, host: str) -> Resolution:
        """The addresses of the name."""
        answer = self._ask({"ask": "resolve", "host": host}, host, lambda: self._resolve(host))
        return Resolution(**{**answer, "addresses": tuple(answer["addresses"])})

    def reach(self, url: str) -> Reach:
        """Connect to the URL's host and port; for https and wss, check the certificate too.

        Raises ParameterError for a URL without a host, or without a port if its scheme has no default port.
        """
        scheme, host, port = _endpoint_of(url)
        request = {"ask": "reach", "scheme": scheme, "host": host, "port": port}
        answer = self._ask(request, host, lambda: self._reach(scheme, host, port))
        expires = answer["certificate_expires_at"]
        return Reach(
            **{
                **answer,
                "addresses": tuple(answer["addresses"]),
                "certificate_expires_at": datetime.fromisoformat(expires) if expires else None,
            }
        )

    def _ask(self, request: dict[str, Any], host: str, call: Any) -> Any:
        # The tape does not send a second request to a target that is unreachable. An IP address is its own
        # target, so that an unreachable resolver does not affect it.
        target = host if _known_addresses(host) else self._target
        try:
            if not dns.name.from_text(host).labels[:-1]:
                raise dns.name.EmptyLabel
        except (dns.exception.DNSException, UnicodeError) as error:
            message = f"{host!r} is not a host name: {type(error).__name__}"
            raise ParameterError(message, system="dns", hint="check the dependency's url") from None
        return self._tape.ask("dns", request, call, target=target, deadline_seconds=self._deadline_seconds)

    def _resolve(self, host: str) -> dict[str, Any]:
        known = _known_addresses(host)
        if known:
            return {"host": host, "addresses": known, "resolver": "", "seconds": 0.0, "error": ""}
        start = monotonic()
        addresses, resolver, error = self._lookup(host)
        seconds = monotonic() - start
        return {
            "host": host,
            "addresses": addresses,
            "resolver": resolver,
            "seconds": seconds,
            "error": error,
        }

    def _lookup(self, host: str) -> tuple[list[str], str, str]:
        """The addresses, the name server that answered, and the reason if there are no addresses.

        Raises SourceError if no name server answers.
        """
        try:
            return self._addresses(host)
        except dns.resolver.NXDOMAIN:
            return [], self._target, f"NXDOMAIN: there is no name {host!r}"
        except dns.resolver.NoNameservers as error:
            about = {"system": "dns", "target": self._target}
            return [], self._target, _refusal(error, host, about)
        except dns.exception.DNSException as error:
            raise self._source_error(error, host) from None

    def _addresses(self, host: str) -> tuple[list[str], str, str]:
        ends_at = monotonic() + self._deadline_seconds * _SHARE_OF_DEADLINE
        resolver = self._resolver()
        for kind in ("A", "AAAA"):
            left_seconds = max(ends_at - monotonic(), 0.01)
            answer = resolver.resolve(
                host, kind, lifetime=left_seconds, search=not self._nameservers, raise_on_no_answer=False
            )
            nameserver = f"{answer.nameserver}:{answer.port}"
            if answer.rrset is not None:
                return [str(address) for address in answer.rrset], nameserver, ""
        return [], nameserver, f"the name {host!r} has no address"

    def _source_error(self, error: dns.exception.DNSException, host: str) -> SourceError:
        about = {"system": "dns", "target": self._target}
        if isinstance(error, dns.resolver.LifetimeTimeout):
            message = f"no answer about {host!r} within {self._deadline_seconds:g} s"
            return DeadlineError(message, **about, hint="check whether the resolver runs and is reachable")
        if isinstance(error, dns.resolver.NoResolverConfiguration):
            hint = "set systems.dns.nameservers"
            return UnreachableError("no name server is configured", **about, hint=hint)
        return NonsenseError(f"gives an invalid answer about {host!r}: {type(error).__name__}", **about)

    def _resolver(self) -> dns.resolver.Resolver:
        resolver = dns.resolver.Resolver(configure=not self._nameservers)
        if self._nameservers:
            resolver.nameservers = list(self._nameservers)
        # Several name servers share the time of the deadline.
        resolver.timeout = self._deadline_seconds / (2 * max(len(resolver.nameservers), 1))
        return resolver

    def _reach(self, scheme: str, host: str, port: int) -> dict[str, Any]:
        ends_at = monotonic() + self._deadline_seconds * _SHARE_OF_DEADLINE
        resolution = self._resolve(host)
        answer: dict[str, Any] = {
            "host": host,
            "port": port,
            "addresses": resolution["addresses"],
            "resolver": resolution["resolver"],
            "dns_seconds": resolution["seconds"] if resolution["resolver"] else None,
            "tcp_seconds": None,
            "tls_seconds": None,
            "certificate_expires_at": None,
            "failed_at": "",
            "error": "",
        }
        if resolution["error"]:
            return answer | {"failed_at": "dns", "error": resolution["error"]}
        start = monotonic()
        try:
            connection = _connect(resolution["addresses"], port, ends_at)
        except OSError as error:
            return answer | {"failed_at": "tcp", "error": _error_text(error, monotonic() - start)}
        answer["tcp_seconds"] = monotonic() - start
        with connection:
            return answer | (_tls(connection, host, ends_at) if scheme in _TLS_SCHEMES else {})


def _endpoint_of(url: str) -> tuple[str, str, int]:
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        raise ParameterError("the host or port of the URL is invalid", system="dns") from None
    if not parts.hostname or port is None:
        message = f"{parts.scheme}://{parts.hostname or ''} has no host or no port"
        raise ParameterError(message, system="dns", hint='write it like "https://host" or "tcp://host:port"')
    return parts.scheme, parts.hostname, port


def _known_addresses(host: str) -> list[str]:
    """The addresses that need no DNS request: an IP address itself, and those of localhost."""
    if host == "localhost" or host.endswith(".localhost"):
        return ["127.0.0.1", "::1"]
    try:
        return [str(ipaddress.ip_address(host))]
    except ValueError:
        return []


def _nameserver(text: str) -> dns.nameserver.Nameserver:
    bare = text.count(":") > 1 and not text.startswith("[")
    parts = urlsplit(f"//[{text}]" if bare else f"//{text}")
    try:
        return dns.nameserver.Do53Nameserver(
            str(ipaddress.ip_address(parts.hostname or "")), parts.port or 53
        )
    except ValueError:
        raise ParameterError(
            f"{text!r} is not a name server",
            system="dns",
            hint='write it like "10.0.0.2" or "10.0.0.2:5353"',
        ) from None


def _refusal(error: dns.resolver.NoNameservers, host: str, about: dict[str, str]) -> str:
    """The error code that a name server returned, as text. Raises SourceError if none of them answered."""
    attempts = error.kwargs["errors"]
    for *_, response in reversed(attempts):
        if response is not None:
            return f"{dns.rcode.to_text(response.rcode())}: the resolver cannot resolve {host!r}"
    causes = [cause for *_, cause, _ in attempts]
    kind: type[SourceError] = NonsenseError
    if not causes or any(isinstance(cause, OSError | EOFError) for cause in causes):
        kind = UnreachableError
    reasons = "; ".join(sorted({str(cause) or type(cause).__name__ for cause in causes}))[:200]
    hint = "check whether the resolver runs and is reachable"
    raise kind(f"no usable answer about {host!r}: {reasons}", **about, hint=hint) from None


def _connect(addresses: Sequence[str], port: int, ends_at: float) -> socket.socket:
    """A connection to the first address, in order, that accepts it. Raises OSError if none does."""
    last: OSError = OSError("no address")
    for number, address in enumerate(addresses):
        wait = max((ends_at - monotonic()) / (len(addresses) - number), 0.01)
        try:
            return socket.create_connection((address, port), timeout=wait)
        except OSError as error:
            last = last if isinstance(last, ConnectionRefusedError) else error
    raise last


def _tls(connection: socket.socket, host: str, ends_at: float) -> dict[str, Any]:
    context = ssl.create_default_context()  # reads this machine's certificate authorities, which is slow
    start = monotonic()
    connection.settimeout(max(ends_at - start, 0.01))
    try:
        with context.wrap_socket(connection, server_hostname=host) as tls:
            certificate = tls.getpeercert() or {}
    except (OSError, ValueError) as error:
        return {"failed_at": "tls", "error": _error_text(error, monotonic() - start)}
    expires = datetime.fromtimestamp(ssl.cert_time_to_seconds(str(certificate["notAfter"])), UTC)
    return {"tls_seconds": monotonic() - start, "certificate_expires_at": expires.isoformat()}


def _error_text(error: Exception, seconds: float) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {seconds:.1f} s"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"handshake: {error.reason or 'interrupted'}"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
