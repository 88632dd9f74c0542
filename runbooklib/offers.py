"""What the run in a bundle proposed and can be approved, if the evidence is to be believed."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runbooklib import evidence, folders, ledger, manifest, runbooks, variables
from runbooklib.errors import ActionError, InputError
from runbooklib.plans import Plan


@dataclass(frozen=True, slots=True)
class Offer:
    """A plan, as it was proposed, and the cause that it is for with its rank."""

    plan: Plan
    title: str
    cause: str
    rank: str


def read(bundle: Path) -> list[Offer]:
    """What can be approved, strongest cause first.

    Raises InputError for what is no run's evidence, and ActionError for a replay's, for evidence that was
    changed, and where the runbook is another one by now.
    """
    if not (bundle / manifest.FILE).is_file():
        raise InputError(f"{bundle} is no evidence of a run", remedy="name a bundle under evidence/")
    if wrong := manifest.verify_bundle(bundle):
        raise ActionError(f"this evidence was changed: {wrong[0]}", remedy="run the runbook again")
    about = json.loads((bundle / manifest.FILE).read_bytes())
    verdict = evidence.verdict_in(bundle)
    if about.get("kind") == "replay":
        raise ActionError("a replay never acts", remedy="run the runbook now, and approve what it proposes")
    _refuse_elsewhere(bundle)
    if about.get("kind") not in ("run", "seal") or verdict is None:
        raise InputError(f"{bundle} is no evidence of a run", remedy="name one that `runbook run` wrote")
    runbook = runbooks.find(str(verdict["alert"]))
    # A notebook that a person ran cell by cell is their own: what they add to it changes no plan.
    is_runs = about["kind"] == "run"
    if is_runs and about.get("runbook_sha256") != manifest.sha256(runbook.notebook):
        raise ActionError(
            f"the runbook {runbook.notebook.name} was changed since this run", remedy="run it again"
        )
    return [_offer(told) for told in verdict.get("actions", [])]


def _refuse_elsewhere(bundle: Path) -> None:
    """Limits, the ledger and the stop file are the folder's: a copy of a bundle must not get round them.

    Raises ActionError.
    """
    folder = bundle.resolve().parent
    lines, _ = ledger.read(folder)
    if not any(line.bundle == bundle.resolve().name for line in lines):
        raise ActionError(
            f"{ledger.FILE} beside this evidence does not know it: is it a copy?",
            remedy="approve it where the run put it",
        )
    if folder == folders.spool().resolve():
        raise ActionError(
            "this evidence is in the spool, where no other actions are known",
            remedy="make room in the evidence's folder, and run the runbook again",
        )
    home = os.environ.get(variables.EVIDENCE, "")
    if home and Path(home).resolve() != folder:
        raise ActionError(
            f"this evidence is not in {home} ({variables.EVIDENCE})",
            remedy="approve what a run has put there",
        )


def _offer(told: Any) -> Offer:
    """A proposal as it stands in the evidence, which a cell may have written. Raises ActionError."""
    try:
        plan = Plan.from_dict(told["plan"])
        return Offer(plan, str(told["title"]), str(told["cause"]), str(told["rank"]))
    except (KeyError, TypeError, ValueError) as error:
        raise ActionError(f"what this run proposed cannot be read: {error}", remedy="run it again") from None
