"""Remedies for a deployment."""

from runbooklib.errors import NoDataError
from runbooklib.findings import Proposal
from runbooklib.scene import Scene


def roll_back(scene: Scene) -> Proposal:
    """Roll back to the deployment before the last."""
    last = scene.sources.git.last_deployment(scene.window.end)
    if last is None or not last.previous_revision:
        raise NoDataError("there is no earlier deployment to go back to", system="git")
    return Proposal(
        title="Now: roll back to the deployment before",
        command=f"./scripts/deployment/rollback.sh {last.previous_revision[:12]}",
        effect=f"Takes back {last.short} “{last.subject}” ({last.files_changed} files).",
        loses="What the new version has written in a form that the old one cannot read.",
    )


def revert_commit(scene: Scene) -> Proposal:
    """Take the commit back in the repository."""
    last = scene.sources.git.last_deployment(scene.window.end)
    if last is None:
        raise NoDataError("there is no deployment", system="git")
    return Proposal(
        title="Soon: take the change back in git",
        command=f"git revert --no-edit {last.revision[:12]}",
        effect="A new commit without the change: deploy it, else the next deployment brings it back.",
    )
