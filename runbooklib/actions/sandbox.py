"""Proposals for the code sandbox."""

from runbooklib.plans import Proposal
from runbooklib.scene import Scene


def list_sandboxes(scene: Scene) -> Proposal:  # noqa: ARG001 - every action gets the scene
    """List the sandboxes, oldest last; changes nothing."""
    columns = "{{.ID}} {{.RunningFor}} {{.Status}}"
    return Proposal(
        title="List the running sandboxes and their age",
        command=f"docker ps --filter label=helloagents.pool_id --format '{columns}'",
        effect="Changes nothing. A sandbox that is older than the execution timeout hangs.",
    )
