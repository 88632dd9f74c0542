"""Remedies for a deployment."""

import re
from datetime import UTC, datetime
from typing import Any

from runbooklib.actions import _programs, _worktree
from runbooklib.errors import ActionError, NoDataError, NotConfiguredError
from runbooklib.plans import Proposal
from runbooklib.remedy import Act, Seen, actions_of, may_write, remedy
from runbooklib.scene import Scene
from runbooklib.settings import configured
from runbooklib.sources.git import Deployment
from runbooklib.window import seconds_of

_REVISION = re.compile(r"[0-9a-f]{4,64}")
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


def _goal(scene: Scene, to: str) -> tuple[Deployment, str]:
    """The last deployment, and the revision of `to` (a tag or a revision), else of the one before it."""
    git = scene.sources.git
    last = git.last_deployment(scene.window.end)
    if not to:
        if last is None or not last.previous_revision:
            raise NoDataError("there is no earlier deployment to go back to", system="git")
        return last, last.previous_revision
    if last is None:
        raise NoDataError("there is no deployment", system="git")
    if _REVISION.fullmatch(to):
        wanted = git.deployment_of(to)
    else:
        earlier = git.deployments(_LONG_AGO, scene.window.end)
        wanted = next((one for one in reversed(earlier) if one.tag == to), None)
    if wanted is None:
        raise ActionError(
            f"{to[:80]!r} is no deployment", system="git", remedy="name its tag, or its revision"
        )
    return last, wanted.revision


def _command(scene: Scene, revision: str) -> list[str]:
    script = may_write(actions_of(scene).rollback, "rollback")
    return [word.replace("{revision}", revision) for word in script.command]


def _rollback(scene: Scene, *, to: str = "") -> Seen:
    last, revision = _goal(scene, to)
    command = _command(scene, revision)
    if last.revision == revision:
        raise ActionError(f"{revision[:12]} is what was deployed last", system="git")
    files = _programs.digests(scene, command)
    identity: dict[str, Any] = {"from": last.revision, "to": revision, "command": command, "files": files}
    return Seen(revision[:8], identity)


def _roll_back(act: Act) -> str:
    scene, plan = act.scene, act.plan
    script = may_write(actions_of(scene).rollback, "rollback")
    command, revision = list(plan.identity["command"]), str(plan.identity["to"])
    if command != _command(scene, revision):
        raise ActionError("the command in the environment's file is another one now", system="script")
    told = _programs.run(command, plan.identity["files"], seconds_of(script.within))
    return f"rolled back to {revision[:12]}: {told}" if told else f"rolled back to {revision[:12]}"


@remedy(identify=_rollback, perform=_roll_back, destroys=("docker",), is_of_service=True)
def roll_back(scene: Scene, *, to: str = "") -> Proposal:
    """Roll back to the deployment before the last."""
    last, revision = _goal(scene, to)
    actions = scene.target.environment.actions
    script = actions.rollback.command if actions and actions.rollback else _USUAL
    return Proposal(
        title="Now: roll back to the deployment before" if not to else f"Now: roll back to {revision[:12]}",
        command=" ".join(word.replace("{revision}", revision[:12]) for word in script),
        effect=_taken_back(scene, last, revision),
        loses="What the new version has written in a form that the old one cannot read.",
        undo=f"Deploy {last.short} again.",
    )


def _taken_back(scene: Scene, last: Deployment, revision: str) -> str:
    """What goes with the last deployment: all that came after the one that is gone back to."""
    told = f"Takes back {last.short} “{last.subject}” ({last.files_changed} files)"
    if revision == last.previous_revision:
        return f"{told}."
    every = scene.sources.git.deployments(_LONG_AGO, scene.window.end)
    places = [number for number, one in enumerate(every) if one.revision == revision]
    between = every[places[-1] + 1 : -1] if places else []
    more = ", ".join(f"{one.short} “{one.subject}”" for one in reversed(between))
    return f"{told}, and with it {more}." if more else f"{told}, and all since {revision[:12]}."


_USUAL = ("./scripts/deployment/rollback.sh", "{revision}")


def _revertible(scene: Scene) -> Seen:
    if not actions_of(scene).revert:
        raise NotConfiguredError(
            "no commit may be made here",
            system="git",
            remedy="set actions.revert in the environment's file to true",
        )
    last = scene.sources.git.last_deployment(scene.window.end)
    if last is None:
        raise NoDataError("there is no deployment", system="git")
    identity = {"revisions": _range(last), "branch": f"runbook/revert-{last.short}"}
    return Seen(last.short, identity)


def _range(last: Deployment) -> str:
    """The commits of a deployment, as git names them: all since the one before, or the first one alone."""
    return f"{last.previous_revision}..{last.revision}" if last.previous_revision else last.revision


def _revert(act: Act) -> str:
    plan = act.plan
    repository = configured(act.scene.target.systems.git, "git").repository
    revisions, branch = str(plan.identity["revisions"]), str(plan.identity["branch"])
    made = _worktree.revert(repository, revisions, branch, by=act.by)
    return f"{branch} holds {made[:12]}, which takes {plan.target} back: look at it, push and deploy it"


@remedy(identify=_revertible, perform=_revert, mends=False)
def revert_commit(scene: Scene) -> Proposal:
    """Take the last deployment's commits back in the repository."""
    last = scene.sources.git.last_deployment(scene.window.end)
    if last is None:
        raise NoDataError("there is no deployment", system="git")
    return Proposal(
        title="Soon: take the change back in git",
        command=f"git revert --no-edit {'..'.join(one[:12] for one in _range(last).split('..'))}",
        effect="A commit for each of the deployment's, without its change: deploy them, else the next "
        "deployment brings it back.",
        undo=f"git branch -D runbook/revert-{last.short}",
    )
