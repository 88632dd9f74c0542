"""Remedies for a container."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from runbooklib.actions import _engine
from runbooklib.dockerengine import moment_or_none
from runbooklib.errors import ActionError, ParameterError, suggestion
from runbooklib.plans import Proposal
from runbooklib.remedy import Act, Seen, actions_of, may_write, remedy
from runbooklib.scene import Scene

MEBIBYTE = 1_048_576
_MOST_TIMES = 8.0
_SETTLED_SECONDS = 10.0


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
    began = found.started_at if found.is_running else None
    return Seen(
        found.name,
        {"id": found.id, "started_at": _settled(began, found.restart_count, scene.window.opened_at)},
    )


def _settled(began: datetime | None, restarts: int, now: datetime) -> str:
    """When a container was started that runs; one that crashes again and again has no beginning to lose.

    Docker too takes it for a crash loop when a container that it started again ends within ten seconds.
    """
    if began is None or (restarts and (now - began).total_seconds() < _SETTLED_SECONDS):
        return "not up for long"
    return began.isoformat()


def _restart(act: Act) -> str:
    scene, plan = act.scene, act.plan

    def is_still(told: dict[str, Any]) -> bool:
        state = told["State"]
        started = moment_or_none(state["StartedAt"]) if state["Running"] else None
        began = _settled(started, int(told["RestartCount"]), datetime.now(UTC))
        return bool((told["Id"], began) == (plan.identity["id"], plan.identity["started_at"]))

    _engine.write(scene, plan.target, is_still, lambda client, name: client.restart(name, timeout=10))
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
    return Seen(
        found.name,
        {"id": found.id, "memory_limit_bytes": found.memory_limit_bytes, "to_bytes": more},
    )


def _raised(limit_bytes: int, factor: float) -> int:
    if not 1.0 < factor <= _MOST_TIMES:
        raise ParameterError(
            f"factor is {factor!r}", remedy=f"give a number above 1, and at most {_MOST_TIMES:g}"
        )
    return int(limit_bytes * factor) // MEBIBYTE * MEBIBYTE


def _raise(act: Act) -> str:
    scene, plan = act.scene, act.plan
    then: Mapping[str, Any] = plan.identity
    more = int(then["to_bytes"])

    def is_still(told: dict[str, Any]) -> bool:
        is_same = told["Id"] == then["id"]
        return bool(is_same and told["HostConfig"]["Memory"] == then["memory_limit_bytes"])

    _engine.write(
        scene,
        plan.target,
        is_still,
        lambda client, name: client.update_container(name, mem_limit=more, memswap_limit=more),
    )
    size = more // MEBIBYTE
    return f"{plan.target} may have {size} MiB now; keep it: {compose_change(plan.target, size)}"


def compose_change(container: str, mebibytes: int) -> str:
    """What to write into docker-compose.yml so that a new container has the limit too."""
    return f"docker-compose.yml, service of {container}: deploy.resources.limits.memory: {mebibytes}M"


@remedy(identify=_limited, perform=_raise)
def raise_memory_limit(scene: Scene, *, factor: float = 2.0, container: str = "") -> Proposal:
    """Raise the memory limit of the running container."""
    name = _name(scene, container)
    limit = scene.sources.docker.container(name).memory_limit_bytes
    if limit is None:
        return Proposal("Soon: give it a memory limit", command="", effect="The container has none.")
    now, more = limit // MEBIBYTE, _raised(limit, factor) // MEBIBYTE
    return Proposal(
        title="Soon: raise the memory limit",
        command=f"docker update --memory {more}m --memory-swap {more}m {name}",
        effect=f"From {now} MiB to {more} MiB, until the container is made anew: keep it in "
        "docker-compose.yml under deploy.resources.limits.memory.",
        undo=f"docker update --memory {now}m --memory-swap {now}m {name}",
    )
