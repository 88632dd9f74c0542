"""What the run in a bundle proposed and a person can approve, if the evidence is intact."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runbooklib.config import runbooks, variables
from runbooklib.errors import ActionError, InputError
from runbooklib.evidence import executed_notebook, ledger, manifest
from runbooklib.evidence.bundle import spool
from runbooklib.model.plan import Plan


@dataclass(frozen=True, slots=True)
class Offer:
    """A plan as it was proposed, with the cause that it addresses and the cause's rank."""

    plan: Plan
    title: str
    cause: str
    rank: str


def read(bundle: Path) -> list[Offer]:
    """Return what can be approved, strongest cause first.

    Raises:
        InputError: the bundle holds no run.
        ActionError: the bundle is a replay, was changed, is a copy, or its runbook has changed since the run.

    """
    if not (bundle / manifest.FILE).is_file():
        raise InputError(f"{bundle} is not the evidence of a run", hint="pass a bundle under evidence/")
    if problems := manifest.verify_bundle(bundle):
        raise ActionError(f"this evidence was changed: {problems[0]}", hint="run the runbook again")
    description = json.loads((bundle / manifest.FILE).read_bytes())
    verdict = executed_notebook.verdict_in(bundle)
    kind = description.get("kind")
    if kind == "replay":
        raise ActionError(
            "a replay cannot perform actions", hint="run the runbook, and approve what it proposes"
        )
    _require_evidence_folder(bundle)
    if kind not in ("run", "seal") or verdict is None:
        raise InputError(
            f"{bundle} is not the evidence of a run", hint="pass a bundle written by `runbook run`"
        )
    # A person who runs a notebook cell by cell may add cells. Added cells change no plan.
    if kind == "run":
        _require_same_runbook(str(verdict["alert"]), description)
    return [_offer(fields) for fields in verdict.get("actions", [])]


def _require_same_runbook(alert: str, description: dict[str, Any]) -> None:
    notebook = runbooks.find(alert).notebook
    if description.get("runbook_sha256") != manifest.sha256(notebook):
        raise ActionError(f"the runbook {notebook.name} was changed since this run", hint="run it again")


def _require_evidence_folder(bundle: Path) -> None:
    """Raise ActionError for a bundle outside the evidence folder.

    The limits, the ledger and the stop file belong to that folder, and a copy must not bypass them.
    """
    folder = bundle.resolve().parent
    lines, _ = ledger.read(folder)
    if not any(line.bundle == bundle.resolve().name for line in lines):
        raise ActionError(
            f"{ledger.FILE} in this folder does not list this bundle; was it copied?",
            hint="approve the original bundle",
        )
    if folder == spool().resolve():
        raise ActionError(
            "this evidence is in the spool, which has no record of earlier actions",
            hint="free space in the evidence folder, and run the runbook again",
        )
    home = os.environ.get(variables.EVIDENCE, "")
    if home and Path(home).resolve() != folder:
        raise ActionError(
            f"this evidence is not in {home} ({variables.EVIDENCE})", hint="approve a bundle in that folder"
        )


def _offer(fields: Any) -> Offer:
    """Read a proposal from the evidence, which a cell may have written. Raises ActionError."""
    try:
        plan = Plan.from_dict(fields["plan"])
        return Offer(plan, str(fields["title"]), str(fields["cause"]), str(fields["rank"]))
    except (KeyError, TypeError, ValueError) as error:
        raise ActionError(f"the proposals of this run cannot be read: {error}", hint="run it again") from None
