"""How far this machine's clock is off, by the Date header of the systems that it asks.

What is "now" is judged by the clock that stamped the samples, and not by ours. Only a sound answer is
believed: a page of something in between has a clock of its own.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from time import monotonic

from runbooklib.errors import NotRecordedError, SourceError
from runbooklib.sources.docker.engine import SYSTEM as DOCKER
from runbooklib.sources.docker.engine import opened
from runbooklib.sources.http import fetch, target_of
from runbooklib.sources.tape import Tape

# Less than this changes nothing on a grid of 15 s. A slow answer says less: half of its time is added.
MIN_SECONDS = 5.0
# A Date header has whole seconds: on average it is half a second late.
_HALF = timedelta(seconds=0.5)


def skew_by_http(
    tape: Tape, system: str, base: str, path: str, *, headers: Mapping[str, str], deadline_seconds: float
) -> float | None:
    """Seconds by which the system's clock is ahead of ours; None where it does not say, or does not answer.

    0.0 where the two agree as far as can be told.
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
        is_sound = response.status == 200 and response.content_type == "application/json"
        return response.headers.get("date", "") if is_sound else ""

    return _asked(tape, system, target_of(base), date, deadline_seconds)


def skew_by_docker(tape: Tape, url: str, *, deadline_seconds: float) -> float | None:
    """The same of a Docker engine."""

    def date() -> str:
        with opened(url, deadline_seconds) as engine, engine.get("/version") as response:
            return str(response.headers.get("Date", ""))

    return _asked(tape, DOCKER, url, date, deadline_seconds)


def _asked(
    tape: Tape, system: str, target: str, date: Callable[[], str], deadline_seconds: float
) -> float | None:
    def call() -> dict[str, float | None]:
        begun_at, begun = datetime.now(UTC), monotonic()
        told = date()
        return {"ahead_seconds": _ahead(told, begun_at, monotonic() - begun)}

    try:
        answer = tape.ask(
            system, {"question": "clock"}, call, target=target, deadline_seconds=deadline_seconds
        )
    except (SourceError, NotRecordedError):
        return None  # who does not answer is told of by the checks; an older recording has no clock
    ahead: float | None = answer["ahead_seconds"]
    return ahead


def _ahead(date: str, begun_at: datetime, seconds: float) -> float | None:
    try:
        moment = parsedate_to_datetime(date)
    except ValueError:
        return None
    if moment.tzinfo is None:
        return None
    ahead = (moment + _HALF - begun_at).total_seconds() - seconds / 2
    return 0.0 if abs(ahead) <= MIN_SECONDS + seconds / 2 else round(ahead)
