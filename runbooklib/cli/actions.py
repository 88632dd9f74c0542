"""`runbook approve` and `actions`: what may be done about it, and what was."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from runbooklib import variables
from runbooklib.cli.doors import ACTION_FAILED, app, one_line
from runbooklib.cli.recovery import RECOVERY_CODES, Held, Within, watch
from runbooklib.cli.run import duration
from runbooklib.errors import ActionError, InputError, suggestion

if TYPE_CHECKING:
    from runbooklib.actionledger import Deed
    from runbooklib.offers import Offer
    from runbooklib.plans import Plan
    from runbooklib.present import Look

_EXAMPLES = """\b
Examples:
  runbook approve evidence/20260115T031200Z-HighErrorRate-backend
  runbook approve evidence/20260115T031200Z-HighErrorRate-backend restart_container --by "Ada L."
  runbook approve evidence/20260115T031200Z-HighErrorRate-backend roll_back --yes 1f0c9a7be2d4
"""


@app.command("approve", epilog=_EXAMPLES)
def approve_action(
    bundle: Annotated[Path, typer.Argument(help="The evidence of the run that proposed it.")],
    action: Annotated[
        str, typer.Argument(help="The action, or its plan's fingerprint; without it, list them.")
    ] = "",
    *,
    by: Annotated[
        str, typer.Option(help=f"Who approves; else {variables.APPROVER}, else this machine's user.")
    ] = "",
    yes: Annotated[
        str, typer.Option(help="Do not ask: the plan's fingerprint says that it has been seen.")
    ] = "",
    without_capture: Annotated[
        str, typer.Option(help="Why to go on where what it destroys cannot be saved first.")
    ] = "",
    held: Held = "5m",
    within: Within = "",
    wait: Annotated[bool, typer.Option(help="Look whether it helped.")] = True,
) -> None:
    """Show what a proposed action would do; once its target's name is typed, do it, and prove recovery.

    Exit codes: 0 done and recovered (or not waited for), 2 done, and nobody can tell whether it helped,
    5 refused, failed, or it did not help.
    """
    duration("--held", held)
    if within:
        duration("--within", within)
    from runbooklib import manifest, offers

    found = offers.read(bundle)
    if not action:
        _list(found, bundle)
        return
    offer = _chosen(found, action)
    from runbooklib.gate import Gate, Reason

    plan, folder = offer.plan, bundle.resolve().parent
    who = by or os.environ.get(variables.APPROVER, "") or manifest.user()
    gate = Gate(folder, who, Reason(bundle.resolve().name, offer.cause))
    seen = gate.look(plan)
    _preview(seen, offer.cause, who)
    approval = gate.approve(seen, _typed(seen.plan, yes))
    deed = gate.perform(plan, approval, without_capture=without_capture)
    print(f"Done: {one_line(deed.told)}")
    print(f"What was known before: {folder / deed.evidence / 'notebook.html'}")
    if not _mends(plan) or not wait:
        return
    outcome = watch(plan.alert, plan.environment, plan.service, folder, held, within)
    code = RECOVERY_CODES[outcome]
    raise typer.Exit(ACTION_FAILED if code == 1 else code)


def _list(found: "list[Offer]", bundle: Path) -> None:
    if not found:
        print("This run proposed nothing that can be approved: its other proposals are for people.")
        return
    plan = found[0].plan
    alert, environment, service = map(one_line, (plan.alert, plan.environment, plan.service))
    print(f"Proposed for {alert} in {environment}, service {service}:\n")
    for one in found:
        print(f"{one.plan.fingerprint}  {one_line(one.plan.action):<28} {one_line(one.plan.target)}")
        print(f"              {one_line(one.title)}  ({one_line(one.cause)}: {one_line(one.rank)})")
    print(f"\nTo see and to approve one: runbook approve {bundle} {one_line(found[0].plan.action)}")


def _chosen(offered: "list[Offer]", action: str) -> "Offer":
    found = [one for one in offered if action in (one.plan.action, one.plan.fingerprint)]
    if not found:
        names = sorted({one.plan.action for one in offered})
        raise InputError(f"this run did not propose {action[:80]!r}", remedy=suggestion(action, names))
    if len(found) > 1:
        names = [one.plan.fingerprint for one in found]
        raise InputError(f"{action} was proposed {len(found)} times", remedy=f"name one: {', '.join(names)}")
    return found[0]


def _preview(seen: "Look", cause: str, who: str) -> None:
    """What would be done, where, to whom, what it changes and what it loses."""
    proposal, plan = seen.proposal, seen.plan
    facts = {
        "where": f"{plan.environment}, service {plan.service}",
        "action": plan.action,
        "target": plan.target,
        "proposed": f"{_ago(seen)} ago, for {plan.alert}",
        "for": cause,
        "changes": proposal.effect,
        "loses": proposal.loses,
        "undo": proposal.undo,
        "by": who,
        "plan": plan.fingerprint,
    }
    print(one_line(proposal.title))
    for line in proposal.command.split("\n"):
        print(f"    {one_line(line)}")
    for name, value in facts.items():
        if value:
            print(f"  {name:<8} {one_line(value)}")
    for name, value in _identity(plan.identity, seen.now.identity).items():
        print(f"  {name:<8} {one_line(value)}")


def _ago(seen: "Look") -> str:
    from datetime import datetime

    from runbooklib.render.sentences import seconds

    return seconds((seen.scene.window.opened_at - datetime.fromisoformat(seen.plan.seen_at)).total_seconds())


def _identity(then: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, str]:
    """What tells the target from another; of a list its length, and what is left of it."""
    told = {}
    for name, value in then.items():
        if isinstance(value, list) and value and isinstance(value[0], list):
            left = sum(one in now.get(name, []) for one in value)
            told[name] = (
                f"{left} of {len(value)} are still there: {', '.join(str(one[0]) for one in value[:10])}"
            )
        else:
            told[name] = str(value)
    return told


def _typed(plan: "Plan", yes: str) -> str:
    """The target's name as a person typed it, or by the fingerprint of a plan that was seen before."""
    if yes:
        if yes not in (plan.fingerprint, plan.digest):
            raise ActionError(
                f"--yes {yes[:80]} is not this plan's fingerprint, {plan.fingerprint}",
                remedy="look at the plan, and give the fingerprint that you saw",
            )
        return plan.target
    if not sys.stdin.isatty():
        raise InputError(
            "an approval is typed in a terminal", remedy="or give --yes with the plan's fingerprint"
        )
    return str(typer.prompt(f"\nType {one_line(plan.target)} to do it", default="", show_default=False))


def _mends(plan: "Plan") -> bool:
    from runbooklib.present import REMEDIES

    return REMEDIES[plan.action].mends


def _helped(deed: "Deed") -> str:
    """What came of it, and after that what looks came to that were about something else by then."""
    if not deed.recovery:
        return "nobody looked" if deed.outcome == "done" else ""
    return one_line(", later ".join((deed.recovery, *deed.later)))


@app.command("actions")
def list_actions(
    output: Annotated[Path, typer.Option(help="The folder of the evidence.")] = Path("evidence"),
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print them as JSON.")] = False,
) -> None:
    """List who did what to which target, when and why, and whether it helped."""
    import json
    from dataclasses import asdict

    from runbooklib import actionledger

    lines, wrong = actionledger.read(output)
    deeds = actionledger.deeds_of(lines)
    if as_json:
        print(json.dumps([{**asdict(one), "at": one.at.isoformat()} for one in deeds], indent=2))
    elif not deeds:
        print("No action was taken.")
    else:
        for one in deeds:
            print(
                f"{one.at:%Y-%m-%d %H:%M:%S}  {one.outcome:<8} {one.action} on {one_line(one.target)}"
                f" ({one_line(one.environment)}, {one_line(one.service)})"
                f"  by {one_line(one.by)}@{one_line(one.host)}  {_helped(one)}".rstrip()
            )
            print(f"    {one_line(one.why)}: {one_line(one.told) or 'nobody knows what came of it'}")
    if why := actionledger.stopped(output):
        print(f"All actions are stopped ({actionledger.STOP_FILE}): {one_line(why)}")
    if wrong:
        print(f"runbook: {one_line(wrong)}", file=sys.stderr)
        raise typer.Exit(1)
