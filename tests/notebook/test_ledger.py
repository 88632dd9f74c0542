"""What the ledger of findings knows of the onset, for the checks that are still to be asked."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from runbooklib.checks.deployments import deployments
from runbooklib.config.environment import Environment, GitSystem, Systems, Target
from runbooklib.model.findings import Finding, Status
from runbooklib.model.window import Window
from runbooklib.notebook.ledger import FindingLedger
from runbooklib.sources.context import Context, Sources
from runbooklib.sources.tape import Tape
from tests.support import sound_site

END = datetime.now(UTC)
BEGAN = END - timedelta(minutes=10)


def make_ledger(git: Path | None = None) -> FindingLedger:
    systems = Systems(git=GitSystem(repository=str(git))) if git else Systems()
    service = {"backend": {"title": "Backend", "labels": {"job": "backend"}}}
    site = Environment.model_validate({"title": "Test", "systems": systems, "services": service})
    target = Target(environment_name="test", service_name="backend", environment=site)
    window = Window.open(opened_at=datetime.now(UTC), lookback="1h")
    ledger = FindingLedger(Context("HighErrorRate", target, window, Sources(target, Tape())))
    for cause in ("leak", "crash", "bad-deployment"):
        ledger.causes.open(cause, cause)
    return ledger


def sign(status: Status, minutes: float | None = 0, source: str = "docker") -> Finding:
    """A finding that began so many minutes after BEGAN."""
    since = None if minutes is None else BEGAN + timedelta(minutes=minutes)
    return Finding(status=status, template="x", source=source, since=since)


def test_without_a_symptom_the_causes_before_show_the_onset_to_the_next_ones() -> None:
    ledger = make_ledger()
    ledger.keep("", "error_rate", Finding(status=Status.OK, template="x", source="prometheus"))
    ledger.keep("crash", "out_of_memory", sign(Status.CRITICAL, 2))
    ledger.keep("crash", "container_deaths", sign(Status.WARNING, 0))
    assert ledger.known("bad-deployment", "deployments()")["onset"] == BEGAN
    assert ledger.known("crash", "memory_usage()")["onset"] is None
    assert ledger.known("leak", "memory_usage()")["onset"] is None
    assert ledger.verdict.onset == BEGAN


def test_the_symptoms_own_onset_counts_before_that_of_the_causes() -> None:
    ledger = make_ledger()
    ledger.keep("", "error_rate", sign(Status.CRITICAL, 5, "prometheus"))
    ledger.keep("crash", "out_of_memory", sign(Status.CRITICAL, 2))
    assert ledger.known("bad-deployment", "deployments()")["onset"] == BEGAN + timedelta(minutes=5)


@pytest.mark.parametrize(
    "signs",
    [
        [sign(Status.WARNING), sign(Status.WARNING, source="git")],
        [sign(Status.CRITICAL, None)],
        [sign(Status.CRITICAL), *[sign(Status.OK, None)] * 3],
    ],
    ids=["only warnings", "no start", "more against it"],
)
def test_a_cause_that_does_not_hold_shows_no_onset(signs: list[Finding]) -> None:
    ledger = make_ledger()
    for number, finding in enumerate(signs):
        ledger.keep("crash", f"check_{number}()", finding)
    assert ledger.known("bad-deployment", "deployments()")["onset"] is None


def test_evidence_of_an_earlier_version_has_no_onset_by_causes() -> None:
    ledger = make_ledger()
    ledger.context = replace(ledger.context, verdict_version=2)
    ledger.keep("crash", "out_of_memory", sign(Status.CRITICAL))
    assert ledger.known("bad-deployment", "deployments()")["onset"] is None
    assert ledger.verdict.onset is None


def test_a_deployment_before_the_first_death_is_suspected_although_no_alert_fired(tmp_path: Path) -> None:
    sound_site.clone(tmp_path)  # deployed three hours ago
    ledger = make_ledger(tmp_path)
    assert deployments(ledger.context).status is Status.OK
    late = Finding(
        status=Status.CRITICAL, template="x", source="docker", since=deployed(ledger) + timedelta(minutes=1)
    )
    ledger.keep("crash", "out_of_memory", late)
    known = ledger.known("bad-deployment", "deployments()")
    assert deployments(replace(ledger.context, **known)).status is Status.WARNING


def deployed(ledger: FindingLedger) -> datetime:
    window = ledger.context.window
    [deployment] = ledger.context.sources.git.deployments(window.start - timedelta(days=1), window.end)
    return deployment.at
