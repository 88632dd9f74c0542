"""The recovery certificate as evidence: a bundle, and a line in the action ledger."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runbooklib.actions.recovery import Certificate, RecoveryOutcome
from runbooklib.errors import EvidenceError
from runbooklib.evidence import action_ledger
from runbooklib.evidence.action_ledger import ActionRecord
from runbooklib.evidence.document import Record
from runbooklib.evidence.verdict_json import CERTIFICATE_MIME
from runbooklib.render import html
from runbooklib.render.sentences import sentence
from runbooklib.sources.context import Context


def as_dict(result: Certificate, context: Context, deed: ActionRecord | None) -> dict[str, Any]:
    """The certificate as JSON values; times in ISO 8601, durations in seconds."""
    curve = result.curve
    return {
        "version": 1,
        "outcome": result.outcome.value,
        "says": result.says,
        "alert": context.alert,
        "service": context.target.service_name,
        "environment": context.target.environment_name,
        "since": result.since.isoformat(),
        "held_since": result.held_since.isoformat() if result.held_since else None,
        "held_seconds": round(result.held_seconds, 1),
        "must_hold_seconds": result.hold_seconds,
        "conditions": [
            {
                "check": finding.check,
                "question": finding.question,
                "status": finding.status.name,
                "says": sentence(finding),
                "good_after_seconds": result.seconds_until_ok[finding.check],
            }
            for finding in result.findings
        ],
        "curve": [
            {"at": at.isoformat(), **row}
            for at, row in zip(curve.index, curve.to_dict("records"), strict=True)
        ],
        "action": {name: getattr(deed, name) for name in ("id", "action", "target", "by", "outcome")}
        if deed
        else None,
    }


def action_line(deed: ActionRecord) -> str:
    """The action in one line: action, target, person, time and outcome."""
    return f"{deed.action} on {deed.target} by {deed.by} at {deed.at:%H:%M:%S} UTC ({deed.outcome})"


def seal(result: Certificate, context: Context, deed: ActionRecord | None, folder: Path) -> Path:
    """Seal the certificate in the folder of the evidence, and add its outcome to the action ledger.

    The line names the bundle and is written last, so that each line has its certificate. Raises InputError,
    EvidenceError; if the certificate was sealed, the error names its bundle.
    """
    record, kept = _record(result, context, deed), None
    if deed is None:
        return _seal_record(record, result, context, folder, {"actions_head": ""})
    try:
        with action_ledger.held(folder) as book:
            kept = _seal_record(record, result, context, folder, {"deed": deed.id, "actions_head": book.head})
            book.append("recovery", _ledger_line(result, deed, kept))
            return kept
    except (OSError, ValueError) as error:
        # The certificate took minutes to make: keep it, even if the ledger cannot be read.
        kept = kept or _seal_record(record, result, context, folder, {"deed": deed.id, "actions_head": ""})
        raise EvidenceError(
            f"the action ledger cannot be written: {error}; the certificate is kept in {kept}",
            hint="see `runbook verify`",
        ) from None


def _record(result: Certificate, context: Context, deed: ActionRecord | None) -> Record:
    record, marks = Record(), [(deed.at, deed.action)] if deed else []
    record.say(
        f"# {result.outcome}: {context.alert}\n\n"
        f"The recovery conditions, checked {len(result.samples)} times."
    )
    facts = {
        "says": result.says,
        "service": context.service.title,
        "required": f"{result.hold_seconds:.0f} s",
    }
    if deed is not None:
        facts["after"] = action_line(deed)
    for name, seconds in result.seconds_until_ok.items():
        facts[f"{name} OK after"] = _seconds_until_ok_text(seconds)
    record.show_table(str(result.outcome), facts)
    for finding in result.findings:
        plain = f"{finding.status.name}  {finding.question}  {sentence(finding)}"
        record.show(finding.check, plain, html.finding_card(finding, marks))
    fields = as_dict(result, context, deed)
    record.show("the certificate", f"{result.outcome}: {result.says}", more={CERTIFICATE_MIME: fields})
    return record


def _seconds_until_ok_text(seconds: float | None) -> str:
    return "not OK" if seconds is None else "always OK" if seconds == 0 else f"{seconds:.0f} s"


def _seal_record(
    record: Record, result: Certificate, context: Context, folder: Path, ledger: Mapping[str, str]
) -> Path:
    """Seal the bundle. `ledger` contains the id of the action, and the head of the action ledger before."""
    about = {"kind": "recovery", "alert": context.alert, "outcome": result.outcome.value, **ledger}
    about["headline"] = f"{result.outcome}: {result.says}"
    service, at = context.target.service_name, result.samples[-1].at
    return record.seal(folder, f"recovery-{context.alert}", service, at, about)


def _ledger_line(result: Certificate, deed: ActionRecord, bundle: Path) -> dict[str, Any]:
    """The line for the action ledger."""
    held = result.held_since if result.outcome is RecoveryOutcome.RECOVERED else None
    after = max((held - deed.at).total_seconds(), 0.0) if held else None
    return {
        "id": deed.id,
        "recovery": result.outcome.value,
        "after_seconds": after,
        "evidence": bundle.name,
    }
