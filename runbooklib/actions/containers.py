"""Actions on a container.

Proposals for the code sandbox.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import docker

from runbooklib.actions import _docker
from runbooklib.actions.action import (
    ApprovedAction,
    TargetState,
    action,
    require_actions,
    require_writable,
    text_only,
)
from runbooklib.errors import ActionError, ParameterError, suggestion
from runbooklib.model.plan import Proposal
from runbooklib.sources.context import Context
from runbooklib.sources.docker.client import Container
from runbooklib.sources.docker.engine import moment_or_none

MEBIBYTE = 1_048_576
_MAX_FACTOR = 8.0
_SETTLED_SECONDS = 10.0

# Docker's own wait before it kills a container that sets no StopTimeout.
_STOP_SECONDS = 10

# Part of a plan's identity, which recordings hold: do not change the text.
_CRASHING = "not up for long"


@text_only
def read_log(context: Context) -> Proposal:
    """Read the log of the window; changes nothing."""
    since = context.suspect_since.strftime("%Y-%m-%dT%H:%M:%SZ")
    return Proposal(
        title="Read the log around the onset",
        command=f"docker logs --timestamps --since {since} {context.container}",
        effect="Changes nothing.",
    )


def _container_name(context: Context, container: str) -> str:
    """The container to act on. Only the containers of the service are allowed. Raises ActionError."""
    if not container:
        return context.container
    if container not in context.service.containers:
        raise ActionError(
            f"{container[:80]!r} is not a container of {context.target.service_name}",
            hint=suggestion(container, context.service.containers),
        )
    return container


def _read_container(context: Context, name: str) -> Container:
    require_writable(require_actions(context).docker, "docker")
    return context.sources.docker.container(_container_name(context, name))


def _identify_running_container(context: Context, *, container: str = "") -> TargetState:
    """The container, identified by its id and its start time."""
    current = _read_container(context, container)
    moments = (current.started_at, current.finished_at)
    started = _start_mark(current.status, moments, current.restart_count, context.window.opened_at)
    return TargetState(current.name, {"id": current.id, "started_at": started})


def _start_mark(
    status: str, moments: tuple[datetime | None, datetime | None], restarts: int, now: datetime
) -> str:
    """What identifies one start of a container; a crash loop has one mark for all its starts.

    `moments` is (started, finished). Docker too treats a container as crash-looping if it ends within ten
    seconds of a restart. A container that is not running was stopped, or was not restarted; the time of its
    end distinguishes that from a crash loop. The texts are part of a plan's identity: do not change them.
    """
    started, finished = moments
    if status not in ("running", "paused", "restarting"):
        return f"{status} since {finished.isoformat() if finished else 'it was made'}"
    is_young = started is None or (now - started).total_seconds() < _SETTLED_SECONDS
    if status == "restarting" or started is None or (restarts and is_young):
        return _CRASHING
    return started.isoformat()


def _perform_restart(approved: ApprovedAction) -> str:
    plan = approved.plan

    def is_same(answer: dict[str, Any]) -> bool:
        state = answer["State"]
        moments = (moment_or_none(state["StartedAt"]), moment_or_none(state["FinishedAt"]))
        started = _start_mark(state["Status"], moments, int(answer["RestartCount"]), datetime.now(UTC))
        return bool((answer["Id"], started) == (plan.identity["id"], plan.identity["started_at"]))

    def restart(client: docker.APIClient, answer: dict[str, Any]) -> None:
        # Like `docker restart`: the container's own StopTimeout comes first.
        seconds = answer["Config"].get("StopTimeout")
        client.restart(answer["Id"], timeout=_STOP_SECONDS if seconds is None else seconds)

    _docker.write(approved.context, plan.target, is_same, restart)
    return f"restarted {plan.target}"


@action(identify=_identify_running_container, perform=_perform_restart, destroys=("docker",))
def restart_container(context: Context, *, container: str = "") -> Proposal:
    """Restart the container."""
    name = _container_name(context, container)
    return Proposal(
        title="Now: restart the container",
        command=f"docker restart {name}",
        effect="Requests fail until the container is up again. Open connections and leaked memory are freed.",
        loses="The state of the process. Save its log and its state first.",
        undo="Not possible: the state of the process is lost. Log and state are saved before the restart.",
    )


def _identify_memory_limits(context: Context, *, factor: float = 2.0, container: str = "") -> TargetState:
    """The container, identified by its id and its memory limits, with the limits to set."""
    current = _read_container(context, container)
    limit, swap = current.memory_limit_bytes, current.memory_swap_bytes
    if limit is None:
        raise ActionError(f"the container {current.name} has no memory limit")
    raised_limit = _raised_limit(limit, factor)
    identity = {
        "id": current.id,
        "memory_limit_bytes": limit,
        "to_bytes": raised_limit,
        "memory_swap_bytes": swap,
        "to_swap_bytes": _raised_swap_limit(limit, swap, raised_limit),
    }
    return TargetState(current.name, identity)


def _raised_swap_limit(limit_bytes: int, swap_bytes: int | None, raised_bytes: int) -> int | None:
    """The new total of memory and swap, with as much swap as before."""
    if swap_bytes is None or swap_bytes < 0:
        return swap_bytes
    return raised_bytes + max(swap_bytes - limit_bytes, 0)


def _raised_limit(limit_bytes: int, factor: float) -> int:
    """The raised limit in bytes, in whole MiB. Raises ParameterError."""
    if not 1.0 < factor <= _MAX_FACTOR:
        raise ParameterError(
            f"factor is {factor!r}", hint=f"pass a number above 1 and at most {_MAX_FACTOR:g}"
        )
    raised_limit = int(limit_bytes * factor) // MEBIBYTE * MEBIBYTE
    if raised_limit <= limit_bytes:
        raise ParameterError(f"factor {factor!r} adds less than 1 MiB", hint="pass a larger number")
    return raised_limit


def _update_command(name: str, limit_bytes: int, swap_bytes: int | None) -> str:
    swap = "" if swap_bytes is None else f" --memory-swap {_size(swap_bytes)}"
    return f"docker update --memory {_size(limit_bytes)}{swap} {name}"


def _size(count: int) -> str:
    """Bytes in the form that `docker update` accepts."""
    return f"{count // MEBIBYTE}m" if count > 0 and count % MEBIBYTE == 0 else str(count)


def _perform_raise(approved: ApprovedAction) -> str:
    plan = approved.plan
    seen: Mapping[str, Any] = plan.identity
    raised_limit = int(seen["to_bytes"])

    def is_same(answer: dict[str, Any]) -> bool:
        limits = answer["HostConfig"]
        current = (answer["Id"], limits["Memory"], limits.get("MemorySwap") or None)
        return current == (seen["id"], seen["memory_limit_bytes"], seen["memory_swap_bytes"])

    def update(client: docker.APIClient, answer: dict[str, Any]) -> None:
        client.update_container(answer["Id"], mem_limit=raised_limit, memswap_limit=seen["to_swap_bytes"])

    _docker.write(approved.context, plan.target, is_same, update)
    size = raised_limit // MEBIBYTE
    return (
        f"set the memory limit of {plan.target} to {size} MiB; to keep it, set in docker-compose.yml, "
        f"service of {plan.target}: deploy.resources.limits.memory: {size}M"
    )


@action(identify=_identify_memory_limits, perform=_perform_raise)
def raise_memory_limit(context: Context, *, factor: float = 2.0, container: str = "") -> Proposal:
    """Raise the memory limit of the running container."""
    name = _container_name(context, container)
    current = context.sources.docker.container(name)
    limit, swap = current.memory_limit_bytes, current.memory_swap_bytes
    if limit is None:
        return Proposal("Soon: set a memory limit", command="", effect="The container has no memory limit.")
    raised_limit = _raised_limit(limit, factor)
    return Proposal(
        title="Soon: raise the memory limit",
        command=_update_command(name, raised_limit, _raised_swap_limit(limit, swap, raised_limit)),
        effect=f"The limit rises from {limit / MEBIBYTE:.4g} MiB to {raised_limit // MEBIBYTE} MiB. Swap is "
        "unchanged. The new limit holds until the container is recreated. To keep it, set "
        "deploy.resources.limits.memory in docker-compose.yml.",
        undo=_update_command(name, limit, swap),
    )


@text_only
def list_sandboxes(context: Context) -> Proposal:  # noqa: ARG001 - every action gets the context
    """List the sandboxes, oldest last; changes nothing."""
    columns = "{{.ID}} {{.RunningFor}} {{.Status}}"
    return Proposal(
        title="List the running sandboxes and their age",
        command=f"docker ps --filter label=helloagents.pool_id --format '{columns}'",
        effect="Changes nothing. A sandbox that is older than the execution timeout hangs.",
    )
