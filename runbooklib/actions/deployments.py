"""Actions on a deployment."""

import re
from datetime import UTC, datetime
from typing import Any

from runbooklib.actions import _git, _scripts
from runbooklib.actions.action import ApprovedAction, TargetState, action, require_actions, require_writable
from runbooklib.config.site import configured
from runbooklib.errors import ActionError, NoDataError, NotConfiguredError
from runbooklib.model.plan import Proposal
from runbooklib.model.window import seconds_of
from runbooklib.sources.context import Context
from runbooklib.sources.git import Deployment

_REVISION = re.compile(r"[0-9a-f]{4,64}")
_FIRST_TIME = datetime(1970, 1, 1, tzinfo=UTC)
# Shown where the environment's file names no script.
_USUAL_SCRIPT = ("./scripts/deployment/rollback.sh", "{revision}")


def _last_deployment(context: Context) -> Deployment:
    last = context.sources.git.last_deployment(context.window.end)
    if last is None:
        raise NoDataError("there is no deployment", system="git")
    return last


def _all_deployments(context: Context) -> list[Deployment]:
    return list(context.sources.git.deployments(_FIRST_TIME, context.window.end))


def _rollback_goal(context: Context, to: str) -> tuple[Deployment, str]:
    """The last deployment, and the revision of `to` (a tag or a revision); default: the previous one."""
    last = _last_deployment(context)
    if not to:
        if not last.previous_revision:
            raise NoDataError("there is no earlier deployment", system="git")
        return last, last.previous_revision
    if _REVISION.fullmatch(to):
        deployment = context.sources.git.deployment_of(to)
    else:
        tagged = [deployment for deployment in _all_deployments(context) if deployment.tag == to]
        deployment = tagged[-1] if tagged else None
    if deployment is None:
        raise ActionError(
            f"{to[:80]!r} is not a deployment", system="git", hint="pass the tag or revision of one"
        )
    return last, deployment.revision


def _rollback_command(context: Context, revision: str) -> list[str]:
    script = require_writable(require_actions(context).rollback, "rollback")
    return [word.replace("{revision}", revision) for word in script.command]


def _identify_rollback(context: Context, *, to: str = "") -> TargetState:
    last, revision = _rollback_goal(context, to)
    command = _rollback_command(context, revision)
    if last.revision == revision:
        raise ActionError(f"{revision[:12]} is already deployed", system="git")
    files = _scripts.digests(context, command)
    identity: dict[str, Any] = {"from": last.revision, "to": revision, "command": command, "files": files}
    return TargetState(revision[:8], identity)


def _roll_back(approved: ApprovedAction) -> str:
    context, identity = approved.context, approved.plan.identity
    script = require_writable(require_actions(context).rollback, "rollback")
    command, revision = list(identity["command"]), str(identity["to"])
    if command != _rollback_command(context, revision):
        raise ActionError("the command in the environment's file has changed since", system="script")
    output = _scripts.run(command, identity["files"], seconds_of(script.within))
    return f"rolled back to {revision[:12]}: {output}" if output else f"rolled back to {revision[:12]}"


@action(identify=_identify_rollback, perform=_roll_back, destroys=("docker",), is_of_service=True)
def roll_back(context: Context, *, to: str = "") -> Proposal:
    """Roll back to the previous deployment, or to a named one."""
    last, revision = _rollback_goal(context, to)
    actions = context.target.environment.actions
    script = actions.rollback.command if actions and actions.rollback else _USUAL_SCRIPT
    return Proposal(
        title=f"Now: roll back to {revision[:12]}" if to else "Now: roll back to the previous deployment",
        command=" ".join(word.replace("{revision}", revision[:12]) for word in script),
        effect=_rollback_effect(context, last, revision),
        loses="Data that the new version has written in a form that the old version cannot read.",
        undo=f"Deploy {last.short} again.",
    )


def _rollback_effect(context: Context, last: Deployment, revision: str) -> str:
    """Which deployments the rollback removes, newest first."""
    if revision == last.previous_revision:
        return f"Removes {last.short} “{last.subject}” ({last.files_changed} files)."
    deployments = _all_deployments(context)
    positions = [number for number, each in enumerate(deployments) if each.revision == revision]
    between = deployments[positions[-1] + 1 : -1] if positions else []
    if not between:
        return (
            f"Removes {last.short} “{last.subject}” ({last.files_changed} files) and everything since "
            f"{revision[:12]}."
        )
    others = ", ".join(f"{each.short} “{each.subject}”" for each in reversed(between))
    return f"Removes {last.short} “{last.subject}” ({last.files_changed} files), and also {others}."


def _identify_revert(context: Context) -> TargetState:
    if not require_actions(context).revert:
        raise NotConfiguredError(
            "this environment does not allow commits",
            system="git",
            hint="set actions.revert in the environment's file to true",
        )
    last = _last_deployment(context)
    return TargetState(last.short, {"revisions": _range(last), "branch": f"runbook/revert-{last.short}"})


def _range(last: Deployment) -> str:
    """The commits of a deployment in git's notation: all since the previous one, or the first one alone."""
    return f"{last.previous_revision}..{last.revision}" if last.previous_revision else last.revision


def _revert(approved: ApprovedAction) -> str:
    plan = approved.plan
    systems = approved.context.target.systems
    repository = configured(systems.git, "git", systems.unusable).repository
    revisions, branch = str(plan.identity["revisions"]), str(plan.identity["branch"])
    commit = _git.revert(repository, revisions, branch, by=approved.by)
    return f"reverted {plan.target} in commit {commit[:12]} of {branch}; review, push and deploy the branch"


@action(identify=_identify_revert, perform=_revert, needs_recovery_check=False)
def revert_commit(context: Context) -> Proposal:
    """Revert the last deployment's commits in the repository."""
    last = _last_deployment(context)
    return Proposal(
        title="Soon: revert the change in git",
        command=f"git revert --no-edit {'..'.join(revision[:12] for revision in _range(last).split('..'))}",
        effect="Adds one reverting commit for each commit of the deployment. Deploy them, or the next "
        "deployment brings the change back.",
        undo=f"git branch -D runbook/revert-{last.short}",
    )
