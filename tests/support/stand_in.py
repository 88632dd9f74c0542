"""Small misbehaving servers on loopback: real sockets, so that the code under test has nothing to patch."""

import gzip
import json
import socket
import socketserver
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import dns.message
import dns.rcode
import dns.rrset

from tests.support.timing import HANG_SECONDS


@dataclass
class Asked:
    """One request as it came in."""

    method: str
    path: str
    params: dict[str, list[str]]
    form: dict[str, list[str]]
    headers: dict[str, str]


@dataclass
class Standin:
    """The running server: where it is, what it was asked, and when it is over."""

    url: str
    asked: list[Asked] = field(default_factory=list)
    is_over: threading.Event = field(default_factory=threading.Event)
    mine: threading.local = field(default_factory=threading.local)


Behaviour = Callable[[socket.socket, Standin], None]


def answer(
    body: Any = b"",
    status: int = 200,
    content_type: str = "application/json",
    headers: dict[str, str] | None = None,
) -> Behaviour:
    """A whole answer; what is not bytes or text is sent as JSON."""
    raw = body if isinstance(body, bytes) else (body if isinstance(body, str) else json.dumps(body)).encode()

    def behave(line: socket.socket, _: Standin) -> None:
        line.sendall(head(status, content_type, len(raw), headers) + raw)

    return behave


def head(status: int, content_type: str, length: int | None, headers: dict[str, str] | None = None) -> bytes:
    """Status line and headers."""
    fields = {"Content-Type": content_type, "Connection": "close", **(headers or {})}
    if length is not None:
        fields["Content-Length"] = str(length)
    lines = [f"HTTP/1.1 {status} Said", *(f"{name}: {value}" for name, value in fields.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def by_request(choose: Callable[[Asked], Behaviour]) -> Behaviour:
    """Behaves to each request as is chosen for it."""

    def behave(line: socket.socket, server: Standin) -> None:
        choose(server.mine.asked)(line, server)

    return behave


def prometheus_data(result: Any, kind: str = "vector", **more: Any) -> Behaviour:
    """A success of Prometheus."""
    return answer({"status": "success", "data": {"resultType": kind, "result": result}, **more})


def black_hole(_: socket.socket, server: Standin) -> None:
    """Takes the question and says nothing."""
    server.is_over.wait(HANG_SECONDS)


def slow(seconds: float, then: Behaviour) -> Behaviour:
    """Answers late."""

    def behave(line: socket.socket, server: Standin) -> None:
        server.is_over.wait(seconds)
        then(line, server)

    return behave


def trickle_body(line: socket.socket, server: Standin) -> None:
    """A byte now and then, each in time for a timeout that is per read."""
    line.sendall(head(200, "application/json", 1000))
    while not server.is_over.wait(0.1):
        line.sendall(b" ")


def trickle_headers(line: socket.socket, server: Standin) -> None:
    """The same, before the body."""
    line.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while not server.is_over.wait(0.1):
        line.sendall(b"a")


def truncated(line: socket.socket, _: Standin) -> None:
    """Promises more than it sends."""
    line.sendall(head(200, "application/json", 1000) + b'{"status":"succ')


def reset(line: socket.socket, _: Standin) -> None:
    """Drops the connection hard."""
    line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def in_turn(*behaviours: Behaviour) -> Behaviour:
    """The first for the first request, and so on; the last for all further ones."""

    def behave(line: socket.socket, server: Standin) -> None:
        behaviours[min(len(server.asked), len(behaviours)) - 1](line, server)

    return behave


def huge(megabytes: int) -> Behaviour:
    """Never seems to end."""

    def behave(line: socket.socket, _: Standin) -> None:
        line.sendall(head(200, "application/json", None))
        for _number in range(megabytes):
            line.sendall(b" " * 1_000_000)

    return behave


def gzip_bomb(megabytes: int) -> Behaviour:
    """Small on the wire, and sent although nobody accepts it."""
    packed = gzip.compress(bytes(megabytes * 1_000_000), 9)
    return answer(packed, headers={"Content-Encoding": "gzip"})


@contextmanager
def standin(behaviour: Behaviour, sealed: Path | None = None) -> Iterator[Standin]:
    """The server with this behaviour, on a free port; over TLS with the certificate and key in `sealed`."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            with suppress(OSError):
                request = _read(self)
                if request is not None:
                    server.asked.append(request)
                    server.mine.asked = request
                    behaviour(self.connection, server)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True

    with Server(("127.0.0.1", 0), Handler) as listening:
        server = Standin(f"http{'s' if sealed else ''}://127.0.0.1:{listening.server_address[1]}")
        if sealed:
            seal = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            seal.load_cert_chain(sealed)
            listening.socket = seal.wrap_socket(
                listening.socket, server_side=True, do_handshake_on_connect=False
            )
        thread = threading.Thread(target=listening.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.is_over.set()
            listening.shutdown()
            thread.join(5)


def _read(handler: socketserver.StreamRequestHandler) -> Asked | None:
    first = handler.rfile.readline().decode("latin-1").split()
    if len(first) < 2:
        return None
    headers: dict[str, str] = {}
    while text := handler.rfile.readline().decode("latin-1").strip():
        name, _, value = text.partition(":")
        headers[name.strip().lower()] = value.strip()
    body = handler.rfile.read(int(headers.get("content-length", 0))).decode()
    parts = urlsplit(first[1])
    return Asked(first[0], parts.path, parse_qs(parts.query), parse_qs(body), headers)


def closed_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as line:
        line.bind(("127.0.0.1", 0))
        port: int = line.getsockname()[1]
    return port


@contextmanager
def name_server(says: dict[str, str | dns.rcode.Rcode], *, is_silent: bool = False) -> Iterator[str]:
    """A DNS server ("address:port"): an address or a refusal for each name, NXDOMAIN for all others."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.bind(("127.0.0.1", 0))
        line.settimeout(0.05)
        over = threading.Event()

        def serve() -> None:
            while not over.is_set():
                with suppress(TimeoutError):
                    wire, sender = line.recvfrom(4096)
                    if not is_silent:
                        line.sendto(_dns_answer(wire, says), sender)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield f"127.0.0.1:{line.getsockname()[1]}"
        finally:
            over.set()
            thread.join(5)


def _dns_answer(wire: bytes, says: dict[str, str | dns.rcode.Rcode]) -> bytes:
    query = dns.message.from_wire(wire)
    response = dns.message.make_response(query)
    question = query.question[0]
    address = says.get(question.name.to_text(omit_final_dot=True), dns.rcode.NXDOMAIN)
    if isinstance(address, dns.rcode.Rcode):
        response.set_rcode(address)
    elif (":" in address) == (question.rdtype == 28):
        response.answer.append(dns.rrset.from_text(question.name, 60, "IN", question.rdtype, address))
    return response.to_wire()
