"""Remedies for a container."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import docker

from runbooklib.actions import _engine
from runbooklib.dockerengine import moment_or_none
from runbooklib.errors import ActionError, ParameterError, suggestion
from runbooklib.plans import Proposal
from runbooklib.remedy import Act, Seen, actions_of, may_write, remedy
from runbooklib.scene import Scene

MEBIBYTE = 1_048_576
_MOST_TIMES = 8.0
_SETTLED_SECONDS = 10.0
# What Docker itself waits before it kills, where the container says nothing else.
_STOP_SECONDS = 10
_CRASHING = "not up for long"


def read_log(scene: Scene) -> Proposal:
    """Read the log of the window; changes nothing."""
    since = scene.suspect_since.strftime("%Y-%m-%dT%H:%M:%SZ")
    return Proposal(
        title="Read the log around the onset",
        command=f"docker logs --timestamps --since {since} {scene.container}",
        effect="Changes nothing.",
    )


def _name(scene: Scene, container: str) -> str:
    """The container that is meant; only those that the service names may be touched."""
    if not container:
        return scene.container
    if container not in scene.service.containers:
        raise ActionError(
            f"{container[:80]!r} is no container of {scene.target.service_name}",
            remedy=suggestion(container, scene.service.containers),
        )
    return container


def _running(scene: Scene, *, container: str = "") -> Seen:
    """The container by id and by when it was started."""
    may_write(actions_of(scene).docker, "docker")
    found = scene.sources.docker.container(_name(scene, container))
    moments = (found.started_at, found.finished_at)
    began = _settled(found.status, moments, found.restart_count, scene.window.opened_at)
    return Seen(found.name, {"id": found.id, "started_at": began})


def _settled(
    status: str, moments: tuple[datetime | None, datetime | None], restarts: int, now: datetime
) -> str:
    """When a container was started that runs; one that crashes again and again has no beginning to lose.

    Docker too takes it for a crash loop when a container that it started again ends within ten seconds. One
    that stands still was stopped by somebody, or not started again: since when, tells that from a crash loop.
    """
    began, ended = moments
    if status not in ("running", "paused", "restarting"):
        return f"{status} since {ended.isoformat() if ended else 'it was made'}"
    is_young = began is None or (now - began).total_seconds() < _SETTLED_SECONDS
    if status == "restarting" or began is None or (restarts and is_young):
        return _CRASHING
    return began.isoformat()


def _restart(act: Act) -> str:
    scene, plan = act.scene, act.plan

    def is_still(told: dict[str, Any]) -> bool:
        state = told["State"]
        moments = (moment_or_none(state["StartedAt"]), moment_or_none(state["FinishedAt"]))
        began = _settled(state["Status"], moments, int(told["RestartCount"]), datetime.now(UTC))
        return bool((told["Id"], began) == (plan.identity["id"], plan.identity["started_at"]))

    def restart(client: docker.APIClient, told: dict[str, Any]) -> None:
        # As `docker restart` does it: a container knows how long it needs to end well.
        seconds = told["Config"].get("StopTimeout")
        client.restart(told["Id"], timeout=_STOP_SECONDS if seconds is None else seconds)

    _engine.write(scene, plan.target, is_still, restart)
    return f"restarted {plan.target}"


@remedy(identify=_running, perform=_restart, destroys=("docker",))
def restart_container(scene: Scene, *, container: str = "") -> Proposal:
    """Restart the container."""
    name = _name(scene, container)
    return Proposal(
        title="Now: restart the container",
        command=f"docker restart {name}",
        effect="Requests fail until it is up again; open connections and leaked memory are given back.",
        loses="What the process knows: save its log and its state first.",
        undo="None: what it knew is gone. The log and the state are kept before it.",
    )


def _limited(scene: Scene, *, factor: float = 2.0, container: str = "") -> Seen:
    may_write(actions_of(scene).docker, "docker")
    found = scene.sources.docker.container(_name(scene, container))
    if found.memory_limit_bytes is None:
        raise ActionError(f"the container {found.name} has no memory limit to raise")
    more = _raised(found.memory_limit_bytes, factor)
    identity = {"id": found.id, "memory_limit_bytes": found.memory_limit_bytes, "to_bytes": more}
    swap = {
        "memory_swap_bytes": found.memory_swap_bytes,
        "to_swap_bytes": _swap(found.memory_limit_bytes, found.memory_swap_bytes, more),
    }
    return Seen(found.name, identity | swap)


def _swap(limit_bytes: int, swap_bytes: int | None, more_bytes: int) -> int | None:
    """Memory and swap together after the limit was raised: as much swap as before."""
    if swap_bytes is None or swap_bytes < 0:
        return swap_bytes
    return more_bytes + max(swap_bytes - limit_bytes, 0)


def _size(count: int) -> str:
    """Bytes as `docker update` takes them."""
    return f"{count // MEBIBYTE}m" if count > 0 and count % MEBIBYTE == 0 else str(count)


def _update(name: str, limit_bytes: int, swap_bytes: int | None) -> str:
    swap = "" if swap_bytes is None else f" --memory-swap {_size(swap_bytes)}"
    return f"docker update --memory {_size(limit_bytes)}{swap} {name}"


def _raised(limit_bytes: int, factor: float) -> int:
    if not 1.0 < factor <= _MOST_TIMES:
        raise ParameterError(
            f"factor is {factor!r}", remedy=f"give a number above 1, and at most {_MOST_TIMES:g}"
        )
    raised = int(limit_bytes * factor) // MEBIBYTE * MEBIBYTE
    if raised <= limit_bytes:
        raise ParameterError(f"factor {factor!r} adds less than a mebibyte", remedy="give a larger number")
    return raised


def _raise(act: Act) -> str:
    scene, plan = act.scene, act.plan
    then: Mapping[str, Any] = plan.identity
    more = int(then["to_bytes"])

    def is_still(told: dict[str, Any]) -> bool:
        now = (told["Id"], told["HostConfig"]["Memory"], told["HostConfig"].get("MemorySwap") or None)
        return now == (then["id"], then["memory_limit_bytes"], then["memory_swap_bytes"])

    def update(client: docker.APIClient, told: dict[str, Any]) -> None:
        client.update_container(told["Id"], mem_limit=more, memswap_limit=then["to_swap_bytes"])

    _engine.write(scene, plan.target, is_still, update)
    size = more // MEBIBYTE
    return f"{plan.target} may have {size} MiB now; keep it: {compose_change(plan.target, size)}"


def compose_change(container: str, mebibytes: int) -> str:
    """What to write into docker-compose.yml so that a new container has the limit too."""
    return f"docker-compose.yml, service of {container}: deploy.resources.limits.memory: {mebibytes}M"


@remedy(identify=_limited, perform=_raise)
def raise_memory_limit(scene: Scene, *, factor: float = 2.0, container: str = "") -> Proposal:
    """Raise the memory limit of the running container."""
    name = _name(scene, container)
    found = scene.sources.docker.container(name)
    limit, swap = found.memory_limit_bytes, found.memory_swap_bytes
    if limit is None:
        return Proposal("Soon: give it a memory limit", command="", effect="The container has none.")
    more = _raised(limit, factor)
    return Proposal(
        title="Soon: raise the memory limit",
        command=_update(name, more, _swap(limit, swap, more)),
        effect=f"From {limit / MEBIBYTE:.4g} MiB to {more // MEBIBYTE} MiB, swap as before, until the "
        "container is made anew: keep it in docker-compose.yml under deploy.resources.limits.memory.",
        undo=_update(name, limit, swap),
    )
