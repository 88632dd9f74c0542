"""The ledger: what it makes of checks that answer, fail, lie, or are asked twice."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pytest

from runbooklib.errors import NotRecordedError, ParameterError, Reason, UnreachableError
from runbooklib.findings import Finding, Rank, Status
from runbooklib.incident import Incident
from runbooklib.plans import Proposal
from runbooklib.scene import Scene, Sources
from runbooklib.tape import Entry, Tape
from runbooklib.target import Environment, Target
from runbooklib.timeline import Event
from runbooklib.window import Window

NOW = datetime(2026, 1, 15, 3, 12, tzinfo=UTC)


class Listener:
    """Keeps what it was told."""

    def __init__(self) -> None:
        self.told: list[Finding] = []
        self.events: list[Event] = []

    def opened(self, incident: Incident, entries: Sequence[Entry]) -> None: ...

    def found(self, incident: Incident, finding: Finding, entries: Sequence[Entry]) -> None:
        self.told.append(finding)

    def proposed(self, incident: Incident, proposal: Proposal, entries: Sequence[Entry]) -> None: ...

    def listed(self, incident: Incident, title: str, rows: pd.DataFrame) -> None: ...

    def concluded(
        self, incident: Incident, title: str, findings: Sequence[Finding], entries: Sequence[Entry]
    ) -> None:
        self.told += findings

    def chronicled(self, incident: Incident, title: str, events: Sequence[Event]) -> None:
        self.events = list(events)

    def controlled(self, incident: Incident) -> None: ...


def opened(tape: Tape | None = None) -> tuple[Incident, Listener]:
    site = Environment.model_validate(
        {"title": "Site", "systems": {}, "services": {"backend": {"title": "Backend", "labels": {}}}}
    )
    target = Target(environment_name="site", service_name="backend", environment=site)
    tape, listener = tape or Tape(), Listener()
    scene = Scene("Alert", target, Window.open(opened_at=NOW), Sources(target, tape))
    return Incident(scene, tape, listener), listener


def sound(scene: Scene, *, above: float = 1.0) -> Finding:
    """Is {above} the limit?"""
    return Finding(status=Status.OK, template="Sound.", facts={"limit": above}, since=scene.window.start)


def broken(scene: Scene) -> Finding:
    """Is it broken?"""
    since = scene.window.end - timedelta(minutes=5)
    return Finding(status=Status.CRITICAL, template="Broken.", source="one", since=since)


def test_a_dead_system_is_unknown_and_the_next_check_still_answers() -> None:
    def dead(_: Scene) -> Finding:
        raise UnreachableError("refuses", system="prometheus", target="http://p", remedy="start it")

    incident, listener = opened()
    assert incident.check(dead).reason is Reason.UNREACHABLE
    assert incident.check(sound).status is Status.OK
    assert [finding.status for finding in listener.told] == [Status.UNKNOWN, Status.OK]
    assert incident.verdict.status is Status.UNKNOWN


def test_a_check_that_fails_itself_is_unknown_and_says_where() -> None:
    def defective(_: Scene) -> Finding:
        raise KeyError("column")

    finding = opened()[0].check(defective)
    assert finding.reason is Reason.NONSENSE
    assert str(finding.facts["file"]) == "test_incident.py"


def test_a_question_that_was_never_recorded_is_not_swallowed() -> None:
    def asks(scene: Scene) -> Finding:
        raise NotRecordedError(f"never asked {scene.alert}")

    with pytest.raises(NotRecordedError):
        opened()[0].check(asks)


def test_asking_twice_keeps_one_finding_and_other_limits_keep_two() -> None:
    incident, _ = opened()
    incident.check(sound)
    incident.check(sound)
    incident.check(sound, above=2.0)
    assert len(incident.findings) == 2


def test_the_question_names_its_limits() -> None:
    assert opened()[0].check(sound, above=2.0).question == "Is 2.0 the limit?"


def test_a_sound_finding_has_no_beginning() -> None:
    assert opened()[0].check(sound).since is None


def test_a_misspelt_limit_is_refused_with_the_nearest() -> None:
    with pytest.raises(ParameterError, match="did you mean 'above'"):
        opened()[0].check(sound, abov=1.0)


@pytest.mark.parametrize("limit", [float("nan"), float("inf")])
def test_a_limit_that_is_no_number_is_refused(limit: float) -> None:
    with pytest.raises(ParameterError, match="give a number"):
        opened()[0].check(sound, above=limit)


def test_what_a_system_warned_of_is_never_ok() -> None:
    tape = Tape()

    def warned(_: Scene) -> Finding:
        tape.remark("a store is missing")
        return Finding(status=Status.OK, template="Sound.")

    incident, _ = opened(tape)
    finding = incident.check(warned)
    assert (finding.status, finding.reason) == (Status.UNKNOWN, Reason.PARTIAL)
    assert finding.facts["warnings"] == "a store is missing"
    assert incident.check(sound).status is Status.OK


def test_only_what_measured_something_wrong_disturbs_what_is_usual() -> None:
    def other_alert(_: Scene) -> Finding:
        return Finding(status=Status.WARNING, template="Another alert fires.")

    def always_slow(_: Scene) -> Finding:
        return Finding(status=Status.WARNING, template="Slow.", measured=2.0)

    incident, _ = opened()
    incident.check(other_alert)
    assert not incident.scene.is_disturbed
    incident.check(always_slow)
    assert (incident.scene.is_disturbed, incident.scene.onset) == (True, None)


def test_an_empty_ledger_is_unknown() -> None:
    assert opened()[0].verdict.status is Status.UNKNOWN


def test_signs_rank_their_cause_and_the_onset_is_the_first_symptoms() -> None:
    def other(scene: Scene) -> Finding:
        return Finding(status=Status.WARNING, template="Too.", source="two", since=scene.onset)

    incident, _ = opened()
    incident.check(broken)
    cause = incident.cause("a-cause", "A cause")
    cause.check(broken)
    cause.check(other)
    assert incident.cause("a-cause", "A cause") is cause
    assert incident.scene.onset == incident.scene.window.end - timedelta(minutes=5)
    assert [weighed.rank for weighed in incident.verdict.causes] == [Rank.CONFIRMED]


def test_a_proposal_without_its_system_is_shown_and_not_proposed() -> None:
    def remedy(scene: Scene, **_: Any) -> Proposal:
        """Mend it."""
        raise UnreachableError(f"no {scene.alert}", system="docker")

    incident, _ = opened()
    cause = incident.cause("a-cause", "A cause")
    assert cause.propose(remedy).effect.startswith("Cannot be proposed: docker")
    assert cause.cause.proposals == ()


def test_sections_are_no_part_of_the_verdict() -> None:
    incident, listener = opened()
    incident.check(sound)
    incident.escalation()
    incident.recovery()
    assert {finding.status for finding in listener.told[1:]} == {Status.UNKNOWN}
    assert incident.verdict.status is Status.OK
