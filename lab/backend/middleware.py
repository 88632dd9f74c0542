"""For each request: its id, its metrics, its log line, the warm-up, and service-wide faults."""

import asyncio
import random
import time
import uuid
from dataclasses import dataclass, field

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .faults import Faults
from .logs import log
from .metrics import HTTP_DURATION, HTTP_IN_PROGRESS, HTTP_REQUESTS

WARM_UP_SECONDS = 2.0
USER_PREFIX = "/api/"
FIRST_ERROR = 500


@dataclass(slots=True)
class Observe:
    """The only middleware. It is pure ASGI, because it must see the exception that the server logs."""

    app: ASGIApp
    faults: Faults
    endpoints: frozenset[str]
    _started: float = field(default_factory=time.monotonic)
    _failures_due: float = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; count and log it in every case."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        status = FIRST_ERROR

        async def send_and_see(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
            await send(message)

        started = time.perf_counter()
        method, path = scope["method"], scope["path"]
        endpoint = path if path in self.endpoints else "unmatched"
        in_progress = HTTP_IN_PROGRESS.labels(method=method, endpoint=endpoint)
        in_progress.inc()
        try:
            await self._answer(scope, receive, send_and_see)
        finally:
            seconds = time.perf_counter() - started
            in_progress.dec()
            HTTP_REQUESTS.labels(method=method, endpoint=endpoint, status_code=str(status)).inc()
            HTTP_DURATION.labels(method=method, endpoint=endpoint).observe(seconds)
            account(request_id, method, path, status, seconds)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"].startswith(USER_PREFIX):
            if self.warming_up():
                await JSONResponse({"detail": "warming up"}, 503)(scope, receive, send)
                return
            switches = self.faults.switches
            if switches.delay_seconds:
                await asyncio.sleep(switches.delay_seconds * random.uniform(0.9, 1.1))
            if switches.error_share and self.fails(switches.error_share):
                raise RuntimeError("session cache returned a corrupt entry")
        await self.app(scope, receive, send)

    def fails(self, share: float) -> bool:
        """True if this request must fail. The choice is random, the share is exact."""
        self._failures_due += share * random.uniform(0, 2)
        if self._failures_due < 1:
            return False
        self._failures_due -= 1
        return True

    def warming_up(self) -> bool:
        """True during the warm-up after the start, when user requests are rejected."""
        return time.monotonic() - self._started < WARM_UP_SECONDS


def account(request_id: str, method: str, path: str, status: int, seconds: float) -> None:
    """Write the request's JSON line; health and metrics pages only if they failed, as in production."""
    failed = status >= FIRST_ERROR
    if failed or path.startswith(USER_PREFIX):
        log(
            "request_failed" if failed else "request_completed",
            "error" if failed else "info",
            request_id=request_id,
            method=method,
            path=path,
            status_code=status,
            execution_time_ms=round(seconds * 1000, 2),
        )
