"""Is the container running? Docker's fields are read together: one alone can be misleading."""

from datetime import datetime

from runbooklib.checks.registry import check
from runbooklib.model.findings import Finding, Status
from runbooklib.sources.context import Context
from runbooklib.sources.docker.client import Container

# Docker sets State.Running also for a paused container and for one that waits for its next start.
_STOPPED_STATES = {
    "paused": "{name} is paused: its processes do not run until somebody unpauses it.",
    "restarting": (
        "{name} is restarting: it exited (last exit code {exit}) and waits for its next start by Docker;"
        " automatic restarts so far: {restarts}."
    ),
    "created": "{name} was created and has never started; its exit code is {exit}.",
    "dead": "{name} is dead: Docker could not remove it completely; its last exit code is {exit}.",
    "removing": "{name} is being removed; its last exit code is {exit}.",
}


@check
def container_state(context: Context) -> Finding:
    """Is the container running?

    A paused container is CRITICAL. WARNING if Docker restarted it after the lead before the symptom, or is
    about to: a container in a crash loop alternates between the two, and has the same status in both.
    """
    context.need_live("docker")
    container = context.sources.docker.container(context.container)
    started = container.started_at
    restarted = container.restart_count > 0 and started is not None and started >= context.suspect_since
    status, template = _state(container, is_restarted=restarted)
    return Finding(
        status=status,
        template=template,
        facts={
            "name": container.name,
            "state": container.status,
            "started": started,
            "exit": container.exit_code,
            "restarts": container.restart_count,
        },
        since=_ended_at(container),
        source="docker",
        query=f"inspect {container.name}",
    )


def _ended_at(container: Container) -> datetime | None:
    """When the container ended; None after a restart, because Docker keeps only the last of several ends."""
    is_last_of_many = container.restart_count > 0
    has_ended = not container.is_running or container.status == "restarting"
    return container.finished_at if has_ended and not is_last_of_many else None


def _state(container: Container, *, is_restarted: bool) -> tuple[Status, str]:
    if container.status in _STOPPED_STATES:
        is_restarting = container.status == "restarting"
        return Status.WARNING if is_restarting else Status.CRITICAL, _STOPPED_STATES[container.status]
    if not container.is_running:
        return Status.CRITICAL, "{name} is not running: its state is “{state}”, its last exit code is {exit}."
    if container.status != "running":
        return Status.CRITICAL, "{name} is not in order: its state is “{state}”."
    if container.health == "unhealthy" and is_restarted:
        return (
            Status.WARNING,
            "{name} has been running since {started:time}, after automatic restarts by Docker: {restarts};"
            " its Docker health check fails.",
        )
    if is_restarted:
        return (
            Status.WARNING,
            "{name} has been running since {started:time}, after automatic restarts by Docker: {restarts}.",
        )
    if container.health == "unhealthy":
        return Status.WARNING, "{name} is running, but its Docker health check fails."
    if container.health == "starting":
        return (
            Status.OK,
            "{name} has been running since {started:time}; its Docker health check has not succeeded yet.",
        )
    return Status.OK, "{name} has been running since {started:time}."
