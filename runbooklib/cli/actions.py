"""`runbook approve` and `actions`: approve a proposed action, and list the actions."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from runbooklib.cli import completion
from runbooklib.cli.app import ACTION_FAILED, app, one_line
from runbooklib.cli.commands import examples
from runbooklib.cli.options import (
    Bundle,
    EvidenceFolder,
    Held,
    Within,
    duration,
    refuse_missing,
    refuse_no_folder,
)
from runbooklib.cli.recovery import RECOVERY_CODES, watch
from runbooklib.config import variables
from runbooklib.errors import ActionError, InputError, suggestion

if TYPE_CHECKING:
    from runbooklib.actions.preflight import Preflight
    from runbooklib.actions.proposals import Offer
    from runbooklib.evidence.action_ledger import ActionRecord
    from runbooklib.model.plan import Plan


@app.command(
    "approve",
    epilog=examples(
        "runbook approve evidence/20260115T031200Z-HighErrorRate-backend",
        "runbook approve evidence/20260115T031200Z-HighErrorRate-backend restart_container",
        "runbook approve evidence/20260115T031200Z-HighErrorRate-backend --yes 1f0c9a7be2d4 roll_back",
    ),
)
def approve_action(
    bundle: Bundle,
    action: Annotated[
        str,
        typer.Argument(
            metavar="ACTION",
            help="The action, or its plan's fingerprint. Without it: list the proposed actions.",
            autocompletion=completion.actions,
        ),
    ] = "",
    *,
    by: Annotated[
        str,
        typer.Option(
            metavar="PERSON", help=f"Who approves. Default: {variables.APPROVER}, else the current user."
        ),
    ] = "",
    yes: Annotated[
        str,
        typer.Option(metavar="FINGERPRINT", help="Do not ask. You have seen the plan with this fingerprint."),
    ] = "",
    without_capture: Annotated[
        str,
        typer.Option(
            metavar="REASON", help="Act even if the data that the action destroys cannot be saved first."
        ),
    ] = "",
    held: Held = "5m",
    within: Within = "",
    wait: Annotated[bool, typer.Option(help="Verify recovery afterwards.")] = True,
) -> None:
    """Preview a proposed action, approve it, and perform it.

    It is performed once you have typed the target's name. Then recovery is verified.

    Exit codes: 0 done and recovered (or --no-wait), 2 done, but recovery cannot be judged, 5 refused, failed,
    or not recovered.
    """
    duration("--held", held)
    if within:
        duration("--within", within)
    refuse_missing(bundle)
    from runbooklib.actions import proposals
    from runbooklib.evidence import manifest

    offers = proposals.read(bundle)
    if not action:
        _print_offers(offers, bundle)
        return
    offer = _choose_offer(offers, action)
    from runbooklib.actions.gate import Gate, Justification

    plan, folder = offer.plan, bundle.resolve().parent
    person = by or os.environ.get(variables.APPROVER, "") or manifest.user()
    gate = Gate(folder, person, Justification(bundle.resolve().name, offer.cause))
    seen = gate.look(plan)
    _preview(seen, offer.cause, person)
    approval = gate.approve(seen, _typed_target(seen.plan, yes))
    deed = gate.perform(plan, approval, without_capture=without_capture)
    print(f"Done: {one_line(deed.message)}")
    print(f"State saved before the action: {folder / deed.evidence / 'notebook.html'}")
    if not _is_meant_to_recover(plan) or not wait:
        return
    outcome = watch(plan.alert, plan.environment, plan.service, folder, held, within)
    code = RECOVERY_CODES[outcome]
    raise typer.Exit(ACTION_FAILED if code == 1 else code)


def _print_offers(offers: "list[Offer]", bundle: Path) -> None:
    if not offers:
        print("This run proposed no action that can be approved here. Its other proposals are for people.")
        return
    plan = offers[0].plan
    alert, environment, service = map(one_line, (plan.alert, plan.environment, plan.service))
    print(f"Proposed for {alert} in {environment}, service {service}:\n")
    for offer in offers:
        print(f"{offer.plan.fingerprint}  {one_line(offer.plan.action):<28} {one_line(offer.plan.target)}")
        print(f"              {one_line(offer.title)}  ({one_line(offer.cause)}: {one_line(offer.rank)})")
    print(f"\nTo preview and approve an action: runbook approve {bundle} {one_line(plan.action)}")


def _choose_offer(offers: "list[Offer]", action: str) -> "Offer":
    """The offer of that action or fingerprint. Raises InputError where there is none, or more than one."""
    matching = [offer for offer in offers if action in (offer.plan.action, offer.plan.fingerprint)]
    if not matching:
        names = sorted({offer.plan.action for offer in offers})
        raise InputError(f"this run did not propose {action[:80]!r}", hint=suggestion(action, names))
    if len(matching) > 1:
        fingerprints = ", ".join(offer.plan.fingerprint for offer in matching)
        raise InputError(
            f"{action} was proposed {len(matching)} times", hint=f"pass a fingerprint: {fingerprints}"
        )
    return matching[0]


def _preview(seen: "Preflight", cause: str, person: str) -> None:
    """Print what the action does, to which target, what it changes and what it destroys."""
    proposal, plan = seen.proposal, seen.plan
    facts = {
        "where": f"{plan.environment}, service {plan.service}",
        "action": plan.action,
        "target": plan.target,
        "proposed": f"{_plan_age_text(seen)} ago, for {plan.alert}",
        "for": cause,
        "changes": proposal.effect,
        "loses": proposal.loses,
        "undo": proposal.undo,
        "by": person,
        "plan": plan.fingerprint,
    }
    print(one_line(proposal.title))
    for line in proposal.command.split("\n"):
        print(f"    {one_line(line)}")
    for name, value in facts.items():
        if value:
            print(f"  {name:<8} {one_line(value)}")
    for name, value in _identity_facts(plan.identity, seen.current.identity).items():
        print(f"  {name:<8} {one_line(value)}")


def _plan_age_text(seen: "Preflight") -> str:
    from datetime import datetime

    from runbooklib.render.sentences import seconds

    return seconds(
        (seen.context.window.opened_at - datetime.fromisoformat(seen.plan.seen_at)).total_seconds()
    )


def _identity_facts(then: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, str]:
    """The facts that identify the target; for a list of sessions, how many of them still exist."""
    facts = {}
    for name, value in then.items():
        if isinstance(value, list) and value and isinstance(value[0], list):
            present = sum(item in now.get(name, []) for item in value)
            names = ", ".join(str(item[0]) for item in value[:10])
            facts[name] = f"{present} of {len(value)} are still there: {names}"
        else:
            facts[name] = str(value)
    return facts


def _typed_target(plan: "Plan", yes: str) -> str:
    """The target's name: typed by the person, or the plan's where `yes` is the plan's fingerprint."""
    if yes:
        if yes not in (plan.fingerprint, plan.digest):
            raise ActionError(
                f"--yes {yes[:80]} is not this plan's fingerprint, {plan.fingerprint}",
                hint="look at the plan, and pass the fingerprint that you saw",
            )
        return plan.target
    if not sys.stdin.isatty():
        raise InputError(
            "an approval is typed in a terminal", hint="or pass --yes with the plan's fingerprint"
        )
    return str(typer.prompt(f"\nType {one_line(plan.target)} to do it", default="", show_default=False))


def _is_meant_to_recover(plan: "Plan") -> bool:
    from runbooklib.actions.registry import ACTIONS

    return ACTIONS[plan.action].needs_recovery_check


def _recovery_of(deed: "ActionRecord") -> str:
    """The result of the recovery check, then different results of later checks.

    A later result is not this action's effect.
    """
    if not deed.recovery:
        return "recovery not verified" if deed.outcome == "done" else ""
    return one_line(", later ".join((deed.recovery, *deed.later)))


@app.command("actions", epilog=examples("runbook actions", "runbook actions --json | jq '.[].target'"))
def list_actions(
    output: EvidenceFolder = Path("evidence"),
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print the actions as JSON.")] = False,
) -> None:
    """List performed and refused actions, and their effect.

    Each with its time, target, person, reason and outcome, and whether the service recovered.
    """
    refuse_no_folder(output)
    import json
    from dataclasses import asdict

    from runbooklib.evidence import action_ledger

    lines, fault = action_ledger.read(output)
    deeds = action_ledger.deeds_of(lines)
    if as_json:
        print(json.dumps([{**asdict(deed), "at": deed.at.isoformat()} for deed in deeds], indent=2))
    elif not deeds:
        print("No action was taken.")
    else:
        for deed in deeds:
            _print_deed(deed)
    if reason := action_ledger.stop_reason(output):
        print(f"All actions are stopped ({action_ledger.STOP_FILE}): {one_line(reason)}")
    if fault:
        print(f"runbook: {one_line(fault)}", file=sys.stderr)
        raise typer.Exit(1)


def _print_deed(deed: "ActionRecord") -> None:
    print(
        f"{deed.at:%Y-%m-%d %H:%M:%S}  {deed.outcome:<8} {deed.action} on {one_line(deed.target)}"
        f" ({one_line(deed.environment)}, {one_line(deed.service)})"
        f"  by {one_line(deed.by)}@{one_line(deed.host)}  {_recovery_of(deed)}".rstrip()
    )
    print(f"    {one_line(deed.why)}: {one_line(deed.message) or 'the outcome is unknown'}")
