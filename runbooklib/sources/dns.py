"""Names and what they lead to: DNS, then TCP, then TLS, each with how long it took.

A name that does not exist, a refused connection and a bad certificate are answers. A resolver that does
not answer at all is an error that names the resolver.
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
# The steps end before the tape's own deadline, so that a late one is an answer and no silence.
_OF_THE_DEADLINE = 0.9


@dataclass(frozen=True, slots=True)
class Resolution:
    """What a name leads to: IPv4 addresses, or else IPv6 ones; `error` says why there is none.

    `resolver` is who said so ("address:port"), empty for addresses and localhost, which nobody is asked for.
    """

    host: str
    addresses: tuple[str, ...]
    resolver: str
    seconds: float
    error: str = ""


@dataclass(frozen=True, slots=True)
class Reach:
    """How far one gets towards host and port. `failed_at` is "", "dns", "tcp" or "tls"; `error` says why.

    The seconds are None for steps that were not come to, or not needed.
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
    """Asks the name servers ("address" or "address:port"); none means those of this machine.

    Only DNS is asked: a name that stands in /etc/hosts alone is not found here. Raises DeadlineError,
    UnreachableError or NonsenseError where no name server gave an answer, ParameterError for what is no name.
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
        answer = self._ask({"ask": "resolve", "host": host}, host, lambda: self._resolved(host))
        return Resolution(**{**answer, "addresses": tuple(answer["addresses"])})

    def reach(self, url: str) -> Reach:
        """How far one gets towards the URL's host and port, and for https with its certificate.

        Raises ParameterError for a URL without a host, or without a port where its scheme has none.
        """
        scheme, host, port = _place_of(url)
        asked = {"ask": "reach", "scheme": scheme, "host": host, "port": port}
        answer = self._ask(asked, host, lambda: self._reached(scheme, host, port))
        expires = answer["certificate_expires_at"]
        return Reach(
            **{
                **answer,
                "addresses": tuple(answer["addresses"]),
                "certificate_expires_at": datetime.fromisoformat(expires) if expires else None,
            }
        )

    def _ask(self, asked: dict[str, Any], host: str, call: Any) -> Any:
        # A dead resolver is not asked twice, and keeps nobody from what needs no resolver.
        target = host if _known_addresses(host) else self._target
        try:
            if not dns.name.from_text(host).labels[:-1]:
                raise dns.name.EmptyLabel
        except (dns.exception.DNSException, UnicodeError) as error:
            told = f"{host!r} is no name: {type(error).__name__}"
            raise ParameterError(told, system="dns", hint="check the dependency's url") from None
        return self._tape.ask("dns", asked, call, target=target, deadline_seconds=self._deadline_seconds)

    def _resolved(self, host: str) -> dict[str, Any]:
        known = _known_addresses(host)
        if known:
            return {"host": host, "addresses": known, "resolver": "", "seconds": 0.0, "error": ""}
        begun = monotonic()
        addresses, resolver, error = self._lookup(host)
        seconds = monotonic() - begun
        return {
            "host": host,
            "addresses": addresses,
            "resolver": resolver,
            "seconds": seconds,
            "error": error,
        }

    def _lookup(self, host: str) -> tuple[list[str], str, str]:
        """Addresses, who answered, and why there are none. Raises where nobody answered."""
        try:
            return self._addresses(host)
        except dns.resolver.NXDOMAIN:
            return [], self._target, f"NXDOMAIN: there is no name {host!r}"
        except dns.resolver.NoNameservers as error:
            about = {"system": "dns", "target": self._target}
            return [], self._target, _refusal(error, host, about)
        except dns.exception.DNSException as error:
            raise self._trouble(error, host) from None

    def _addresses(self, host: str) -> tuple[list[str], str, str]:
        ends_at = monotonic() + self._deadline_seconds * _OF_THE_DEADLINE
        resolver = self._resolver()
        for kind in ("A", "AAAA"):
            left = max(ends_at - monotonic(), 0.01)
            told = resolver.resolve(
                host, kind, lifetime=left, search=not self._nameservers, raise_on_no_answer=False
            )
            who = f"{told.nameserver}:{told.port}"
            if told.rrset is not None:
                return [str(address) for address in told.rrset], who, ""
        return [], who, f"the name {host!r} has no address"

    def _trouble(self, error: dns.exception.DNSException, host: str) -> SourceError:
        about = {"system": "dns", "target": self._target}
        if isinstance(error, dns.resolver.LifetimeTimeout):
            told = f"no answer about {host!r} within {self._deadline_seconds:g} s"
            return DeadlineError(told, **about, hint="see whether the resolver runs and can be reached")
        if isinstance(error, dns.resolver.NoResolverConfiguration):
            hint = "set systems.dns.nameservers"
            return UnreachableError("no name server is configured", **about, hint=hint)
        return NonsenseError(f"answers nonsense about {host!r}: {type(error).__name__}", **about)

    def _resolver(self) -> dns.resolver.Resolver:
        resolver = dns.resolver.Resolver(configure=not self._nameservers)
        if self._nameservers:
            resolver.nameservers = list(self._nameservers)
        # One resolver gets the whole time; several must share it.
        resolver.timeout = self._deadline_seconds / (2 * max(len(resolver.nameservers), 1))
        return resolver

    def _reached(self, scheme: str, host: str, port: int) -> dict[str, Any]:
        ends_at = monotonic() + self._deadline_seconds * _OF_THE_DEADLINE
        found = self._resolved(host)
        answer: dict[str, Any] = {
            "host": host,
            "port": port,
            "addresses": found["addresses"],
            "resolver": found["resolver"],
            "dns_seconds": found["seconds"] if found["resolver"] else None,
            "tcp_seconds": None,
            "tls_seconds": None,
            "certificate_expires_at": None,
            "failed_at": "",
            "error": "",
        }
        if found["error"]:
            return answer | {"failed_at": "dns", "error": found["error"]}
        begun = monotonic()
        try:
            line = _connected(found["addresses"], port, ends_at)
        except OSError as error:
            return answer | {"failed_at": "tcp", "error": _words(error, monotonic() - begun)}
        answer["tcp_seconds"] = monotonic() - begun
        with line:
            return answer | (_tls(line, host, ends_at) if scheme in _TLS_SCHEMES else {})


def _place_of(url: str) -> tuple[str, str, int]:
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        raise ParameterError("the URL's port or host cannot be read", system="dns") from None
    if not parts.hostname or port is None:
        told = f"{parts.scheme}://{parts.hostname or ''} names no host and port"
        raise ParameterError(told, system="dns", hint='write it like "https://host" or "tcp://host:port"')
    return parts.scheme, parts.hostname, port


def _known_addresses(host: str) -> list[str]:
    """The addresses that need no DNS: of a literal, and of localhost."""
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
    """What the name servers said instead of an address; raises where none of them said anything."""
    tried = error.kwargs["errors"]
    for *_, response in reversed(tried):
        if response is not None:
            return f"{dns.rcode.to_text(response.rcode())}: the resolver cannot say where {host!r} is"
    causes = [cause for *_, cause, _ in tried]
    kind: type[SourceError] = NonsenseError
    if not causes or any(isinstance(cause, OSError | EOFError) for cause in causes):
        kind = UnreachableError
    told = "; ".join(sorted({str(cause) or type(cause).__name__ for cause in causes}))[:200]
    hint = "see whether the resolver runs and can be reached"
    raise kind(f"no usable answer about {host!r}: {told}", **about, hint=hint) from None


def _connected(addresses: Sequence[str], port: int, ends_at: float) -> socket.socket:
    """A connection to the first address that takes one, in order."""
    last: OSError = OSError("no address")
    for number, address in enumerate(addresses):
        wait = max((ends_at - monotonic()) / (len(addresses) - number), 0.01)
        try:
            return socket.create_connection((address, port), timeout=wait)
        except OSError as error:
            last = last if isinstance(last, ConnectionRefusedError) else error
    raise last


def _tls(line: socket.socket, host: str, ends_at: float) -> dict[str, Any]:
    context = ssl.create_default_context()  # reads the machine's authorities, which takes a while
    begun = monotonic()
    line.settimeout(max(ends_at - begun, 0.01))
    try:
        with context.wrap_socket(line, server_hostname=host) as sealed:
            certificate = sealed.getpeercert() or {}
    except (OSError, ValueError) as error:
        return {"failed_at": "tls", "error": _words(error, monotonic() - begun)}
    expires = datetime.fromtimestamp(ssl.cert_time_to_seconds(str(certificate["notAfter"])), UTC)
    return {"tls_seconds": monotonic() - begun, "certificate_expires_at": expires.isoformat()}


def _words(error: Exception, seconds: float) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {seconds:.1f} s"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"handshake: {error.reason or 'broken off'}"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
