"""The recovery certificate as evidence: a bundle, and a line in the ledger of actions for what helped."""

from pathlib import Path
from typing import Any

from runbooklib import actionledger
from runbooklib.actionledger import Deed
from runbooklib.errors import EvidenceError
from runbooklib.record import Record
from runbooklib.recovery import Certificate, Outcome
from runbooklib.render import html
from runbooklib.render.sentences import sentence
from runbooklib.scene import Scene

MIME = "application/vnd.runbook.certificate+json"


def as_dict(found: Certificate, scene: Scene, deed: Deed | None) -> dict[str, Any]:
    """The certificate for machines; times in ISO 8601, durations in seconds."""
    curve = found.curve
    return {
        "version": 1,
        "outcome": found.outcome.value,
        "says": found.says,
        "alert": scene.alert,
        "service": scene.target.service_name,
        "environment": scene.target.environment_name,
        "since": found.since.isoformat(),
        "held_since": found.held_since.isoformat() if found.held_since else None,
        "held_seconds": round(found.held_seconds, 1),
        "must_hold_seconds": found.hold_seconds,
        "conditions": [
            {
                "check": finding.check,
                "question": finding.question,
                "status": finding.status.name,
                "says": sentence(finding),
                "good_after_seconds": found.turned[finding.check],
            }
            for finding in found.findings
        ],
        "curve": [
            {"at": at.isoformat(), **row}
            for at, row in zip(curve.index, curve.to_dict("records"), strict=True)
        ],
        "action": {"id": deed.id, "action": deed.action, "target": deed.target, "by": deed.by}
        if deed
        else None,
    }


def seal(found: Certificate, scene: Scene, deed: Deed | None, folder: Path) -> Path:
    """Keep the certificate in the folder of the evidence, and say in the ledger whether the action helped.

    Raises InputError, EvidenceError.
    """
    told, marks = as_dict(found, scene, deed), []
    if deed is not None:
        marks = [(deed.at, deed.action)]
    record = Record()
    record.say(
        f"# {found.outcome}: {scene.alert}\n\nWhether it is over, looked at {len(found.samples)} times."
    )
    facts = {"says": found.says, "service": scene.service.title, "must hold": f"{found.hold_seconds:.0f} s"}
    if deed is not None:
        facts["after"] = (
            f"{deed.action} on {deed.target} by {deed.by} at {deed.at:%H:%M:%S} UTC ({deed.outcome})"
        )
    facts |= {f"{name} good after": _after(seconds) for name, seconds in found.turned.items()}
    record.tell(str(found.outcome), facts)
    for finding in found.findings:
        plain = f"{finding.status.name}  {finding.question}  {sentence(finding)}"
        record.show(finding.check, plain, html.finding_card(finding, marks))
    record.show("the certificate", f"{found.outcome}: {found.says}", more={MIME: told})
    head = _enter(found, deed, folder) if deed is not None else ""
    about = {"kind": "recovery", "alert": scene.alert, "outcome": found.outcome.value, "actions_head": head}
    about["headline"] = f"{found.outcome}: {found.says}"
    service, at = scene.target.service_name, found.samples[-1].at
    return record.seal(folder, f"recovery-{scene.alert}", service, at, about)


def _after(seconds: float | None) -> str:
    return "not yet" if seconds is None else "it was all along" if seconds == 0 else f"{seconds:.0f} s"


def _enter(found: Certificate, deed: Deed, folder: Path) -> str:
    """Write what came of the deed into the ledger; the ledger's head after it."""
    held = found.held_since if found.outcome is Outcome.RECOVERED else None
    after = max((held - deed.at).total_seconds(), 0.0) if held else None
    try:
        with actionledger.held(folder) as book:
            book.append("recovery", {"id": deed.id, "recovery": found.outcome.value, "after_seconds": after})
            return book.head
    except (OSError, ValueError) as error:
        raise EvidenceError(f"the ledger of actions cannot be written: {error}") from None
