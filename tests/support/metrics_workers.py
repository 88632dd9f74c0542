"""Worker processes that share one port and one metrics page, each with counters of its own."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.support.servers import page, program, running
from tests.support.stand_in import closed_port

# HTTP/1.1 keeps the connection of Prometheus open, so that its scrapes always meet the same worker.
WORKER = """
import socket, sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from prometheus_client import Counter, generate_latest

requests = Counter("http_requests", "Requests.", ["endpoint", "status_code"])

class Page(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        requests.labels("/a", "200").inc(50)
        text = generate_latest()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
    def log_message(self, *_):
        pass

class Server(ThreadingHTTPServer):
    daemon_threads = True
    def server_bind(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        super().server_bind()

Server(("127.0.0.1", int(sys.argv[1])), Page).serve_forever()
"""


@contextmanager
def workers(count: int, port: int) -> Iterator[None]:
    """So many processes that answer at this port."""
    started = [subprocess.Popen([sys.executable, "-c", WORKER, str(port)]) for _ in range(count)]
    try:
        ends_at = time.monotonic() + 60
        while not page(f"http://127.0.0.1:{port}/metrics") or not all(_listens(p.pid) for p in started):
            assert time.monotonic() < ends_at, "the workers do not answer"
            time.sleep(0.1)
        yield
    finally:
        for process in started:
            process.kill()
            process.wait(10)


def _listens(pid: int) -> bool:
    """Whether the process has a socket besides its standard streams."""
    return any(
        str(link.readlink()).startswith("socket:")
        for link in Path(f"/proc/{pid}/fd").iterdir()
        if link.is_symlink()
    )


@contextmanager
def scraped_workers(folder: Path, count: int) -> Iterator[tuple[str, str]]:
    """The URLs of a Prometheus and of the service that it has scraped for some seconds."""
    port = closed_port()
    service, url = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{closed_port()}"
    (folder / "prometheus.yml").write_text(
        "global: {scrape_interval: 1s}\n"
        "scrape_configs: [{job_name: backend, static_configs: "
        f"[{{targets: ['127.0.0.1:{port}'], labels: {{service: backend}}}}]}}]\n"
    )
    argv = [program("prometheus"), "--config.file=prometheus.yml", "--storage.tsdb.path=data"]
    argv += [f"--web.listen-address={url[7:]}"]
    query = f"{url}/api/v1/query?query=rate(http_requests_total[5s]%20offset%204s)"
    with ExitStack() as stack:
        stack.enter_context(workers(count, port))
        stack.enter_context(running(argv, folder, lambda: '"value"' in page(query)))
        yield url, service
