"""Remedies for the code sandbox."""

from runbooklib.plans import Proposal
from runbooklib.scene import Scene


def list_sandboxes(scene: Scene) -> Proposal:  # noqa: ARG001 - every action gets the scene
    """List the sandboxes, oldest last; changes nothing."""
    shown = "{{.ID}} {{.RunningFor}} {{.Status}}"
    return Proposal(
        title="See which sandboxes run, and since when",
        command=f"docker ps --filter label=helloagents.pool_id --format '{shown}'",
        effect="Changes nothing. One that runs for longer than an execution may take hangs.",
    )
