"""Whether nothing listens at the addresses of a connection string, so that each connection is refused.

libpq describes a failed connection only as text, in the language of the system. An errno has no language, so
each address is connected to once more, without any protocol.
"""

import errno
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from enum import Enum
from pathlib import Path
from typing import Any

import psycopg
from psycopg import pq
from psycopg.conninfo import make_conninfo

_DEFAULT_PORT = "5432"
# This machine cannot use the address at all, for example because it has no IPv6.
_NOT_USABLE = frozenset((errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT))


class Listener(Enum):
    """What the addresses show. UNCLEAR: a name, a route or a time limit prevented an answer."""

    ACCEPTS = "accepts"
    REFUSES = "refuses"
    UNCLEAR = "unclear"


def probe(parameters: Mapping[str, Any], seconds: float) -> Listener:
    """Connect to the hosts of libpq's `parameters` within `seconds` in all.

    ACCEPTS: one of them accepts a connection. REFUSES: every host refuses.
    """
    ends = time.monotonic() + seconds
    answers = set()
    for host, port, is_named in _hosts(parameters):
        is_path = host.startswith(("/", "@"))
        answers.add(
            _probe_socket(host, port, ends, is_named=is_named) if is_path else _probe_tcp(host, port, ends)
        )
        if Listener.ACCEPTS in answers:
            return Listener.ACCEPTS
    return Listener.REFUSES if answers == {Listener.REFUSES} else Listener.UNCLEAR


def _hosts(parameters: Mapping[str, Any]) -> Iterator[tuple[str, str, bool]]:
    """(host, port, whether the settings name it) of each server that libpq tries.

    libpq completes the parameters: from its environment variables, a service file, and its defaults.
    """
    try:
        connection = pq.PGconn.connect_start(make_conninfo(**parameters).encode())
    except psycopg.Error:
        return
    try:
        options = {option.keyword: (option.val or b"").decode() for option in connection.info}
        default_host = (connection.host or b"").decode()
    except (psycopg.Error, UnicodeDecodeError):
        return
    finally:
        connection.finish()
    hosts, addresses, ports = (options.get(name, "").split(",") for name in (b"host", b"hostaddr", b"port"))
    for index in range(max(len(hosts), len(addresses))):
        named = _at(addresses, index) or _at(hosts, index)
        port = ports[0] if len(ports) == 1 else _at(ports, index)
        yield named or default_host, port or _DEFAULT_PORT, bool(named)


def _at(values: list[str], index: int) -> str:
    return values[index] if index < len(values) else ""


def _probe_tcp(host: str, port: str, ends: float) -> Listener:
    """REFUSES if all addresses of the host refuse. Addresses that this machine cannot use do not count."""
    try:
        addresses = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
    except (OSError, ValueError, UnicodeError):
        return Listener.UNCLEAR
    codes = set()
    for family, kind, protocol, _, address in addresses:
        code = _connect(family, kind, protocol, address, ends)
        if code == 0:
            return Listener.ACCEPTS
        codes.add(code)
    return Listener.REFUSES if codes - _NOT_USABLE == {errno.ECONNREFUSED} else Listener.UNCLEAR


def _probe_socket(folder: str, port: str, ends: float, *, is_named: bool) -> Listener:
    """PostgreSQL removes its socket when it stops; the folder must exist, and the settings must name it."""
    path = f"{folder}/.s.PGSQL.{port}"
    address = f"\0{path[1:]}" if path.startswith("@") else path
    code = _connect(socket.AF_UNIX, socket.SOCK_STREAM, 0, address, ends)
    if code == 0:
        return Listener.ACCEPTS
    is_removed = code == errno.ENOENT and is_named and Path(folder).is_dir()
    return Listener.REFUSES if code == errno.ECONNREFUSED or is_removed else Listener.UNCLEAR


def _connect(family: int, kind: int, protocol: int, address: Any, ends: float) -> int:
    """The errno of a connection; 0 if it is accepted, ETIMEDOUT at `ends` (monotonic)."""
    remaining = ends - time.monotonic()
    if remaining <= 0:
        return errno.ETIMEDOUT
    try:
        with closing(socket.socket(family, kind, protocol)) as connection:
            connection.settimeout(remaining)
            connection.connect(address)
    except TimeoutError:
        return errno.ETIMEDOUT
    except OSError as error:
        return error.errno or errno.EIO
    return 0
