"""A proxy in front of a Docker engine's socket that lets only GET through, as shared hosts have one."""

import contextlib
import socket
import threading
from pathlib import Path
from typing import Self


class Proxy:
    """At `path`, in front of the engine at `url`. `asked` has every request's method and target."""

    def __init__(self, url: str, path: Path) -> None:
        self.url = f"unix://{path}"
        self.asked: list[tuple[str, str]] = []
        self._upstream, self._path = url.removeprefix("unix://"), path
        self._lines: list[socket.socket] = []

    def start(self) -> None:
        """Listen, also again after `kill`."""
        self._path.unlink(missing_ok=True)
        self._over = threading.Event()
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(self._path))
        self._listening.listen(64)
        self._listening.settimeout(0.05)
        self._thread = threading.Thread(target=self._serve, args=(self._over,), daemon=True)
        self._thread.start()

    def kill(self, *, keep_file: bool = True) -> None:
        """Gone, and with it every open connection; the socket's file stays, as that of a killed process."""
        self._over.set()
        self._thread.join(5)
        self._listening.close()
        for line in self._lines:
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
        self._lines.clear()
        if not keep_file:
            self._path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill(keep_file=False)

    def _serve(self, over: threading.Event) -> None:
        while not over.is_set():
            with contextlib.suppress(TimeoutError):
                line = self._listening.accept()[0]
                self._lines.append(line)
                threading.Thread(target=self._handle, args=(line,), daemon=True).start()

    def _handle(self, line: socket.socket) -> None:
        with line, contextlib.suppress(OSError):
            line.settimeout(30)
            request = b""
            while b"\r\n\r\n" not in request:
                part = line.recv(65536)
                if not part:
                    return
                request += part
            first, _, rest = request.partition(b"\r\n")
            method, target = first.decode("latin-1").split(" ")[:2]
            self.asked.append((method, target))
            if method != "GET":
                body = b'{"message":"the proxy lets only GET through"}'
                head = b"HTTP/1.1 403 Forbidden\r\nContent-Type: application/json\r\nConnection: close\r\n"
                line.sendall(head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
                return
            with socket.socket(socket.AF_UNIX) as upstream:
                upstream.connect(self._upstream)
                self._lines.append(upstream)
                # One request a connection: a second one could not be filtered.
                kept = [
                    header for header in rest.split(b"\r\n") if not header.lower().startswith(b"connection:")
                ]
                upstream.sendall(b"\r\n".join([first, b"Connection: close", *kept]))
                while part := upstream.recv(65536):
                    line.sendall(part)
