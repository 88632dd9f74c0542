"""What an action would destroy, read before it: logs, state and events of containers, sessions and locks.

All of it passes the tape, and is redacted and recorded like any other answer.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd

from runbooklib.errors import SourceError
from runbooklib.scene import Scene
from runbooklib.tape import side_by_side


@dataclass(frozen=True, slots=True)
class Part:
    """One thing that was read: its rows, or why it could not be."""

    title: str
    system: str
    rows: pd.DataFrame | None
    error: str = ""


def capture(scene: Scene) -> list[Part]:
    """Everything that the systems of this target know now and would lose; asked side by side."""
    window = scene.window
    asked: list[tuple[str, str, Callable[[], pd.DataFrame]]] = []
    for name in scene.service.containers:
        docker = partial(_docker, scene, name)
        asked += [
            (f"{name}: state", "docker", partial(docker, lambda ask, n: pd.DataFrame([_state(ask, n)]))),
            (
                f"{name}: log since {window.start:%H:%M} UTC",
                "docker",
                partial(docker, lambda ask, n: ask.logs(n, window.start, window.opened_at).frame),
            ),
            (
                f"{name}: events",
                "docker",
                partial(docker, lambda ask, n: ask.events(n, window.start, window.opened_at).frame),
            ),
        ]
    if scene.target.systems.postgres is not None:
        asked += [
            ("Sessions of the database", "postgres", lambda: scene.sources.postgres.sessions()),
            ("Who waits for whom", "postgres", lambda: scene.sources.postgres.lock_chains()),
        ]
    return side_by_side([partial(_part, *one) for one in asked])


def _docker(scene: Scene, name: str, call: Callable[[Any, str], pd.DataFrame]) -> pd.DataFrame:
    return call(scene.sources.docker, name)


def _state(docker: Any, name: str) -> dict[str, Any]:
    found = docker.container(name)
    return {field: getattr(found, field) for field in type(found).__slots__}


def _part(title: str, system: str, call: Callable[[], pd.DataFrame]) -> Part:
    try:
        return Part(title, system, call())
    except SourceError as error:
        return Part(title, system, None, str(error))


def missing(parts: list[Part], destroys: frozenset[str], scene: Scene) -> list[str]:
    """What an action that destroys the state of these systems must not be done without."""
    systems = scene.target.systems
    have = {"docker": systems.docker is not None, "postgres": systems.postgres is not None}
    failed = [f"{one.title}: {one.error}" for one in parts if one.error and one.system in destroys]
    read = {one.system for one in parts if not one.error}
    return failed or [f"nothing of {name} was read" for name in sorted(destroys - read) if have.get(name)]
