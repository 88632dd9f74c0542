"""State that an action would destroy, read before it: logs, state and events of containers; sessions, locks.

Every answer passes the tape, so it is redacted and recorded.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import pandas as pd

from runbooklib.errors import SourceError
from runbooklib.evidence.document import Part
from runbooklib.sources.context import Context
from runbooklib.sources.tape import side_by_side


def capture(context: Context) -> list[Part]:
    """Read everything that the systems of this target would lose. The requests run in parallel."""
    requests = [request for name in context.service.containers for request in _docker_requests(context, name)]
    if context.target.systems.postgres is not None:
        sources = context.sources
        requests += [
            partial(_part, "Database sessions", "postgres", lambda: sources.postgres.sessions()),
            partial(_part, "Lock waits", "postgres", lambda: sources.postgres.lock_chains()),
        ]
    return side_by_side(requests)


def _docker_requests(context: Context, name: str) -> list[Callable[[], Part]]:
    start, end = context.window.start, context.window.opened_at
    sources = context.sources
    reads: dict[str, Callable[[], pd.DataFrame]] = {
        f"{name}: state": lambda: _state(sources.docker, name),
        f"{name}: log since {start:%H:%M} UTC": lambda: sources.docker.logs(name, start, end).frame,
        f"{name}: events": lambda: sources.docker.events(name, start, end).frame,
    }
    return [partial(_part, title, "docker", read) for title, read in reads.items()]


def _state(docker: Any, name: str) -> pd.DataFrame:
    container = docker.container(name)
    return pd.DataFrame([{field: getattr(container, field) for field in type(container).__slots__}])


def _part(title: str, system: str, read: Callable[[], pd.DataFrame]) -> Part:
    try:
        return Part(title, system, read())
    except SourceError as error:
        return Part(title, system, None, str(error))


def missing(parts: list[Part], destroys: frozenset[str], context: Context) -> list[str]:
    """What could not be read although an action destroys it. `destroys` names the systems that lose state."""
    systems = context.target.systems
    is_configured = {
        name: getattr(systems, name) is not None or name in systems.unusable
        for name in ("docker", "postgres")
    }
    failed = [f"{part.title}: {part.error}" for part in parts if part.error and part.system in destroys]
    unread = destroys - {part.system for part in parts if not part.error}
    return failed or [f"no state of {name} was read" for name in sorted(unread) if is_configured.get(name)]
