"""A stand-in for the AI provider, as a process of its own: `python -m lab.provider PORT [--hang]`."""

import argparse
import json
import random
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from lab.layout import HOST


class Handler(BaseHTTPRequestHandler):
    """Answers like a chat completion, after a moment of thought."""

    protocol_version = "HTTP/1.1"
    hang = False

    def do_GET(self) -> None:
        """The health page."""
        self.answer(200 if self.path == "/health" else 404, {"status": "ok"})

    def do_POST(self) -> None:
        """One chat completion with its token counts."""
        length = int(self.headers.get("Content-Length", "0"))
        asked = self.rfile.read(length)
        time.sleep(random.uniform(0.03, 0.12))
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
        """Send JSON; or, when told to hang, nothing for ever."""
        if self.hang:
            threading.Event().wait()
        payload = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, *_: object) -> None:
        """Stay quiet: five lines a second would say nothing."""


class Provider(ThreadingHTTPServer):
    """A thread a request, and a queue long enough for a fault that lasts."""

    daemon_threads = True
    request_queue_size = 512


def main() -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("--hang", action="store_true", help="accept, and never answer")
    arguments = parser.parse_args()
    Handler.hang = arguments.hang
    Provider((HOST, arguments.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
