"""A stand-in for the AI provider, as a separate process: `python -m lab.provider PORT`."""

import argparse
import json
import random
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count

from lab.layout import HOST

LAST_ANSWERS_SECONDS = 0.3


class Handler(BaseHTTPRequestHandler):
    """Answers like a chat completion, after a short delay."""

    protocol_version = "HTTP/1.1"
    hang = False
    slow_every = 0
    slow_seconds = 0.0
    turn = count(1)
    ending = threading.Event()

    def do_GET(self) -> None:
        """The health page."""
        self.answer(200 if self.path == "/health" else 404, {"status": "ok"})

    def do_POST(self) -> None:
        """One chat completion with its token counts."""
        length = int(self.headers.get("Content-Length", "0"))
        asked = self.rfile.read(length)
        slow = self.slow_every and next(self.turn) % self.slow_every == 0
        self.ending.wait(self.slow_seconds if slow else random.uniform(0.03, 0.12))
        prompt, completion = len(asked) // 4, random.randint(20, 60)
        message = {"role": "assistant", "content": "A short answer."}
        self.answer(
            200,
            {
                "model": "deepseek-chat",
                "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                "usage": {
                    "prompt_tokens": prompt,
                    "completion_tokens": completion,
                    "total_tokens": prompt + completion,
                },
            },
        )

    def answer(self, status: int, body: dict[str, object]) -> None:
        """Send JSON; with `hang`, never answer."""
        if self.hang:
            threading.Event().wait()
        payload = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, *_: object) -> None:
        """Write no log: five lines per second contain no information."""


class Provider(ThreadingHTTPServer):
    """A thread for each request, and a queue that is long enough for a long fault."""

    daemon_threads = True
    request_queue_size = 512


def main() -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("--hang", action="store_true", help="accept, and never answer")
    parser.add_argument("--slow-every", type=int, default=0, metavar="N", help="each Nth answer takes long")
    parser.add_argument("--slow-seconds", type=float, default=0.0, help="how long that is")
    arguments = parser.parse_args()
    Handler.hang = arguments.hang
    Handler.slow_every, Handler.slow_seconds = arguments.slow_every, arguments.slow_seconds
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    server = Provider((HOST, arguments.port), Handler)
    try:
        server.serve_forever()
    finally:  # clients that waited for a slow answer have it now
        server.socket.close()
        Handler.ending.set()
        time.sleep(LAST_ANSWERS_SECONDS)


if __name__ == "__main__":
    main()
