"""The recovery certificate as evidence: a bundle, and a line in the ledger of actions for what helped."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runbooklib import actionledger
from runbooklib.actionledger import Deed
from runbooklib.errors import EvidenceError
from runbooklib.record import Record
from runbooklib.recovery import Certificate, Outcome
from runbooklib.render import html
from runbooklib.render.sentences import sentence
from runbooklib.report import CERTIFICATE_MIME
from runbooklib.scene import Scene


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
        "action": {name: getattr(deed, name) for name in ("id", "action", "target", "by", "outcome")}
        if deed
        else None,
    }


def named(deed: Deed) -> str:
    """The deed in one line: who did what to which target, when, and how that ended."""
    return f"{deed.action} on {deed.target} by {deed.by} at {deed.at:%H:%M:%S} UTC ({deed.outcome})"


def seal(found: Certificate, scene: Scene, deed: Deed | None, folder: Path) -> Path:
    """Keep the certificate in the folder of the evidence, and say in the ledger whether the action helped.

    That line names the bundle, and comes last: the ledger says nothing that no certificate proves.
    Raises InputError, EvidenceError; what could be kept is kept, and the error names it.
    """
    record, kept = _record(found, scene, deed), None
    if deed is None:
        return _sealed(record, found, scene, folder, {"actions_head": ""})
    try:
        with actionledger.held(folder) as book:
            kept = _sealed(record, found, scene, folder, {"deed": deed.id, "actions_head": book.head})
            book.append("recovery", _line(found, deed, kept))
            return kept
    except (OSError, ValueError) as error:
        # A ledger that cannot even be read is no reason to lose what was watched for minutes.
        kept = kept or _sealed(record, found, scene, folder, {"deed": deed.id, "actions_head": ""})
        raise EvidenceError(
            f"the ledger of actions cannot be written: {error}; the certificate is kept in {kept}",
            remedy="see `runbook verify`",
        ) from None


def _record(found: Certificate, scene: Scene, deed: Deed | None) -> Record:
    record, marks = Record(), [(deed.at, deed.action)] if deed else []
    record.say(
        f"# {found.outcome}: {scene.alert}\n\nWhether it is over, looked at {len(found.samples)} times."
    )
    facts = {"says": found.says, "service": scene.service.title, "must hold": f"{found.hold_seconds:.0f} s"}
    if deed is not None:
        facts["after"] = named(deed)
    facts |= {f"{name} good after": _after(seconds) for name, seconds in found.turned.items()}
    record.tell(str(found.outcome), facts)
    for finding in found.findings:
        plain = f"{finding.status.name}  {finding.question}  {sentence(finding)}"
        record.show(finding.check, plain, html.finding_card(finding, marks))
    told = as_dict(found, scene, deed)
    record.show("the certificate", f"{found.outcome}: {found.says}", more={CERTIFICATE_MIME: told})
    return record


def _after(seconds: float | None) -> str:
    return "not yet" if seconds is None else "it was all along" if seconds == 0 else f"{seconds:.0f} s"


def _sealed(
    record: Record, found: Certificate, scene: Scene, folder: Path, ledger: Mapping[str, str]
) -> Path:
    """The bundle. `ledger`: which deed it is about, and what the ledger of actions came to before it."""
    about = {"kind": "recovery", "alert": scene.alert, "outcome": found.outcome.value, **ledger}
    about["headline"] = f"{found.outcome}: {found.says}"
    service, at = scene.target.service_name, found.samples[-1].at
    return record.seal(folder, f"recovery-{scene.alert}", service, at, about)


def _line(found: Certificate, deed: Deed, bundle: Path) -> dict[str, Any]:
    """What came of the deed, for the ledger."""
    held = found.held_since if found.outcome is Outcome.RECOVERED else None
    after = max((held - deed.at).total_seconds(), 0.0) if held else None
    return {
        "id": deed.id,
        "recovery": found.outcome.value,
        "after_seconds": after,
        "evidence": bundle.name,
    }
