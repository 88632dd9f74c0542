"""`runbook approve`, `actions` and `recover-check`: what may be done about it, and whether it helped."""

import getpass
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

import typer

from runbooklib.cli.doors import ACTION_FAILED, app, one_line
from runbooklib.cli.run import duration
from runbooklib.errors import ActionError, InputError, suggestion

if TYPE_CHECKING:
    from runbooklib.plans import Plan
    from runbooklib.present import Look
    from runbooklib.recovery import Certificate, Sample

APPROVER_VARIABLE = "RUNBOOK_APPROVER"
_RECOVERY_CODES = {"RECOVERED": 0, "NOT RECOVERED": 1, "CANNOT TELL": 2}
_EXAMPLES = """\b
Examples:
  runbook approve evidence/20260115T031200Z-HighErrorRate-backend
  runbook approve evidence/20260115T031200Z-HighErrorRate-backend restart_container --by "Ada L."
  runbook approve evidence/20260115T031200Z-HighErrorRate-backend roll_back --yes 1f0c9a7be2d4
"""
Held = Annotated[str, typer.Option(help="How long everything must hold, like 5m.")]
Within = Annotated[
    str, typer.Option(help="How long to wait for that; without it, ten minutes more than must be held.")
]


@app.command("approve", epilog=_EXAMPLES)
def approve_action(
    bundle: Annotated[Path, typer.Argument(help="The evidence of the run that proposed it.")],
    action: Annotated[
        str, typer.Argument(help="The action, or its plan's fingerprint; without it, list them.")
    ] = "",
    *,
    by: Annotated[
        str, typer.Option(help=f"Who approves; else {APPROVER_VARIABLE}, else this machine's user.")
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
    offered = _offered(bundle)
    if not action:
        _list(offered, bundle)
        return
    told = _chosen(offered, action)
    from runbooklib.gate import Gate, Reason
    from runbooklib.plans import Plan

    plan, folder = Plan.from_dict(told["plan"]), bundle.resolve().parent
    who = by or os.environ.get(APPROVER_VARIABLE, "") or getpass.getuser()
    gate = Gate(folder, who, Reason(bundle.resolve().name, str(told["cause"])))
    seen = gate.look(plan)
    _preview(seen, str(told["cause"]), who)
    approval = gate.approve(seen, _typed(seen.plan, yes))
    deed = gate.perform(plan, approval, without_capture=without_capture)
    print(f"Done: {one_line(deed.told)}")
    print(f"What was known before: {folder / deed.evidence / 'notebook.html'}")
    if not _mends(plan) or not wait:
        return
    outcome = _watch(plan.alert, plan.environment, plan.service, folder, held, within)
    code = _RECOVERY_CODES[outcome]
    raise typer.Exit(ACTION_FAILED if code == 1 else code)


def _offered(bundle: Path) -> list[dict[str, Any]]:
    """What the run in the bundle proposed, if it is a run's, whole, and of the runbook as it is now."""
    import json

    from runbooklib import evidence, manifest, runbooks

    if not (bundle / manifest.FILE).is_file():
        raise InputError(f"{bundle} is no evidence of a run", remedy="name a bundle under evidence/")
    if wrong := manifest.verify_bundle(bundle):
        raise ActionError(f"this evidence was changed: {wrong[0]}", remedy="run the runbook again")
    about = json.loads((bundle / manifest.FILE).read_bytes())
    verdict = evidence.verdict_in(bundle)
    if about.get("kind") == "replay":
        raise ActionError("a replay never acts", remedy="run the runbook now, and approve what it proposes")
    if about.get("kind") not in ("run", "seal") or verdict is None:
        raise InputError(f"{bundle} is no evidence of a run", remedy="name one that `runbook run` wrote")
    runbook = runbooks.find(str(verdict["alert"]))
    # A notebook that a person ran cell by cell is their own: what they add to it changes no plan.
    is_runs = about["kind"] == "run"
    if is_runs and about.get("runbook_sha256") != manifest.sha256(runbook.notebook):
        raise ActionError(
            f"the runbook {runbook.notebook.name} was changed since this run", remedy="run it again"
        )
    return list(verdict.get("actions", []))


def _list(offered: list[dict[str, Any]], bundle: Path) -> None:
    if not offered:
        print("This run proposed nothing that can be approved: its other proposals are for people.")
    for one in offered:
        plan = one["plan"]
        print(f"{one['fingerprint']}  {plan['action']:<28} {one_line(str(plan['target']))}")
        print(f"              {one_line(str(one['title']))}  ({one_line(str(one['cause']))}: {one['rank']})")
    if offered:
        print(f"\nTo see and to approve one: runbook approve {bundle} {offered[0]['plan']['action']}")


def _chosen(offered: list[dict[str, Any]], action: str) -> dict[str, Any]:
    found = [one for one in offered if one["plan"]["action"] == action or one["fingerprint"] == action]
    if not found:
        names = sorted({str(one["plan"]["action"]) for one in offered})
        raise InputError(f"this run did not propose {action[:80]!r}", remedy=suggestion(action, names))
    if len(found) > 1:
        names = [str(one["fingerprint"]) for one in found]
        raise InputError(f"{action} was proposed {len(found)} times", remedy=f"name one: {', '.join(names)}")
    return found[0]


def _preview(seen: "Look", cause: str, who: str) -> None:
    """What would be done, to whom, what it changes and what it loses."""
    proposal, plan = seen.proposal, seen.plan
    facts = {
        "action": plan.action,
        "target": plan.target,
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
            helped = one.recovery or ("nobody looked" if one.outcome == "done" else "")
            print(
                f"{one.at:%Y-%m-%d %H:%M:%S}  {one.outcome:<8} {one.action} on {one_line(one.target)}"
                f"  by {one_line(one.by)}@{one_line(one.host)}  {helped}".rstrip()
            )
            print(f"    {one_line(one.why)}: {one_line(one.told) or 'nobody knows what came of it'}")
    if why := actionledger.stopped(output):
        print(f"All actions are stopped ({actionledger.STOP_FILE}): {one_line(why)}")
    if wrong:
        print(f"runbook: {one_line(wrong)}", file=sys.stderr)
        raise typer.Exit(1)


@app.command("recover-check")
def check_recovery(
    alert: Annotated[str, typer.Argument(help="The alert's name, as in its rule.")],
    environment: Annotated[
        str, typer.Option("--environment", "-e", help="A file of parameters/environments/.")
    ] = "",
    service: Annotated[str, typer.Option("--service", "-s", help="A service in that file.")] = "",
    output: Annotated[Path, typer.Option(help="The folder of the evidence.")] = Path("evidence"),
    held: Held = "5m",
    within: Within = "",
) -> None:
    """Prove that it is over: every condition must hold for a time, with traffic; keep the certificate.

    Exit codes: 0 RECOVERED, 1 NOT RECOVERED, 2 CANNOT TELL.
    """
    from runbooklib import runbooks

    duration("--held", held)
    if within:
        duration("--within", within)
    given = {name: value for name, value in {"environment": environment, "service": service}.items() if value}
    values = runbooks.chosen(runbooks.find(alert), given)
    where = str(values["environment"]), str(values["service"])
    raise typer.Exit(_RECOVERY_CODES[_watch(alert, *where, output, held, within)])


def _watch(alert: str, environment: str, service: str, folder: Path, held: str, within: str) -> str:
    """Watch, show how far it is, keep the certificate, and say what it says."""
    from runbooklib import certificate, present, recovery
    from runbooklib.tape import Tape

    scene, tape = present.scene_of(alert, environment, service)
    wait = recovery.Wait.of(scene, held, within)

    def look() -> Any:
        own = Tape(tape.redactor)
        return scene.anew(own, at_least_seconds=wait.hold_seconds * 1.5), own

    deed = certificate.last_deed(folder, scene)
    with _Bar(wait.hold_seconds) as bar:
        found = recovery.watch(look, wait, since=deed.at if deed else None, on_sample=bar)
    bundle = certificate.seal(found, scene, deed, folder)
    _tell(found)
    print(f"Certificate: {bundle / 'notebook.html'}")
    return found.outcome.value


class _Bar:
    """How long everything has held, of how long it must."""

    def __init__(self, hold_seconds: float) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        from runbooklib.render import terminal

        columns = (BarColumn(30), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
        self._progress = Progress(*columns, console=terminal.console(stderr=True), transient=True)
        self._task = self._progress.add_task("asking …", total=hold_seconds)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, sample: "Sample", held: float) -> None:
        """One more look."""
        bad = [f"{one.check} {one.status.name}" for one in sample.findings if one.status]
        says = one_line(", ".join(bad) or f"everything holds for {held:.0f} s")
        self._progress.update(self._task, completed=held, description=says)


def _tell(found: "Certificate") -> None:
    from runbooklib.render import terminal
    from runbooklib.render.sentences import sentence

    print(f"\n{found.outcome}  {one_line(found.says)}")
    for finding in found.findings:
        after = found.turned[finding.check]
        when = "" if not after else f"  (good after {after:.0f} s)"
        line = terminal.status(finding.status.name).plain
        print(f"  {line:<11} {one_line(finding.question)} {one_line(sentence(finding))}{when}")
