"""Remedies for a container."""

from runbooklib.findings import Proposal
from runbooklib.scene import Scene


def read_log(scene: Scene) -> Proposal:
    """Read the log of the window; changes nothing."""
    since = scene.suspect_since.strftime("%Y-%m-%dT%H:%M:%SZ")
    return Proposal(
        title="Read the log around the onset",
        command=f"docker logs --timestamps --since {since} {scene.container}",
        effect="Changes nothing.",
    )


def restart_container(scene: Scene) -> Proposal:
    """Restart the container."""
    return Proposal(
        title="Now: restart the container",
        command=f"docker restart {scene.container}",
        effect="Requests fail until it is up again; open connections and leaked memory are given back.",
        loses="What the process knows: save its log and its state first.",
    )


def raise_memory_limit(scene: Scene, *, factor: float = 2.0) -> Proposal:
    """Raise the memory limit of the running container."""
    limit = scene.sources.docker.container(scene.container).memory_limit_bytes
    if limit is None:
        return Proposal("Soon: give it a memory limit", command="", effect="The container has none.")
    more = int(limit * factor) // 1048576
    return Proposal(
        title="Soon: raise the memory limit",
        command=f"docker update --memory {more}m --memory-swap {more}m {scene.container}",
        effect=f"From {limit // 1048576} MiB to {more} MiB, until the container is made anew: keep it in "
        "docker-compose.yml under deploy.resources.limits.memory.",
    )
