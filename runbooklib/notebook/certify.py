"""Wait for recovery in a notebook: check the conditions until they have held, and show the certificate."""

from pathlib import Path

from runbooklib.actions.recovery import Certificate, Sample, Wait, prove
from runbooklib.errors import ParameterError
from runbooklib.notebook.listener import IncidentListener
from runbooklib.sources.context import Context
from runbooklib.sources.tape import Tape


def wait_for_recovery(
    context: Context,
    tape: Tape,
    listener: IncidentListener,
    evidence: Path | None,
    *,
    held: str,
    within: str,
    failed_below: float,
    wait_below_seconds: float,
) -> Certificate:
    """Check recovery repeatedly, each time over a new tape, and show each sample and the certificate.

    Raises ParameterError in a replay.
    """
    if tape.is_replay:
        raise ParameterError("A replay cannot wait for recovery.", hint="Leave out held=…")
    wait = Wait.of(context, held, within)

    def show(sample: Sample, held_seconds: float) -> None:
        listener.recovery_checked(sample.findings, held_seconds / wait.hold_seconds)

    limits = {"failed_below": failed_below, "wait_below_seconds": wait_below_seconds}
    certificate, record = prove(context, tape.redactor, evidence, wait, on_sample=show, **limits)
    title = f"{certificate.outcome}: {certificate.says}"
    if record:
        title += f" It was looked at after {record.action} on {record.target} by {record.by}."
    listener.section_added(title, certificate.findings, ())
    return certificate
