"""The clock skew between this machine and the systems it asks, from their Date headers.

The end of the window is "now" by the clock that stamped the samples, not by ours. Only a valid answer of the
system counts: the error page of a proxy has the proxy's clock.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from time import monotonic
from typing import Any

from runbooklib.errors import NotRecordedError, SourceError
from runbooklib.sources.docker.engine import SYSTEM as DOCKER
from runbooklib.sources.docker.engine import opened
from runbooklib.sources.http import fetch, target_of
from runbooklib.sources.tape import Tape

# A smaller skew does not matter on a grid of 15 s. Half of the time that the answer took is added to it.
MIN_SKEW_SECONDS = 5.0
# A Date header has whole seconds, so on average it is half a second behind.
_HALF_SECOND = timedelta(seconds=0.5)


def skew_by_http(
    tape: Tape, system: str, base: str, path: str, *, headers: Mapping[str, str], deadline_seconds: float
) -> float | None:
    """Seconds by which the system's clock is ahead of ours; None if it does not answer or has no Date header.

    0.0 if the difference is below what can be measured.
    """

    def date() -> str:
        response = fetch(
            "GET",
            f"{base.rstrip('/')}{path}",
            system=system,
            target=target_of(base),
            headers=headers,
            deadline_seconds=deadline_seconds,
            is_redirect_refused=False,
        )
        is_valid = response.status == 200 and response.content_type == "application/json"
        return response.headers.get("date", "") if is_valid else ""

    return _skew(tape, system, target_of(base), date, deadline_seconds)


def skew_by_docker(tape: Tape, url: str, *, deadline_seconds: float) -> float | None:
    """Seconds by which the Docker engine's clock is ahead of ours, as for `skew_by_http`."""

    def date() -> str:
        with opened(url, deadline_seconds) as engine, engine.get("/version") as response:
            return str(response.headers.get("Date", ""))

    return _skew(tape, DOCKER, url, date, deadline_seconds)


def _skew(
    tape: Tape, system: str, target: str, date: Callable[[], str], deadline_seconds: float
) -> float | None:
    def read() -> dict[str, Any]:
        started_at, started = datetime.now(UTC), monotonic()
        header = date()
        return {"ahead_seconds": _ahead_seconds(header, started_at, monotonic() - started)}

    def call() -> dict[str, Any]:
        # The page of the service is asked once a batch; a difference of clocks stays the same.
        if tape.shared is None or system != "web":
            return read()
        return tape.shared.once({"what": "clock", "url": target}, read)

    try:
        answer = tape.ask(
            system, {"question": "clock"}, call, target=target, deadline_seconds=deadline_seconds
        )
    except (SourceError, NotRecordedError):
        return None  # the checks report a system that does not answer; an old recording has no clock
    skew: float | None = answer["ahead_seconds"]
    return skew


def _ahead_seconds(header: str, started_at: datetime, duration_seconds: float) -> float | None:
    try:
        moment = parsedate_to_datetime(header)
    except ValueError:
        return None
    if moment.tzinfo is None:
        return None
    ahead = (moment + _HALF_SECOND - started_at).total_seconds() - duration_seconds / 2
    return 0.0 if abs(ahead) <= MIN_SKEW_SECONDS + duration_seconds / 2 else round(ahead)
