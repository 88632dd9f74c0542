"""The ledger: what it makes of checks that answer, fail, lie, or are asked twice."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from runbooklib.errors import NotRecordedError, ParameterError, Reason, SourceError, UnreachableError
from runbooklib.evidence import action_ledger
from runbooklib.model.findings import Finding, Status
from runbooklib.model.plan import Proposal
from runbooklib.model.verdict import Rank
from runbooklib.model.window import Window
from runbooklib.notebook.incident import Incident
from runbooklib.notebook.ledger import SavedFinding
from runbooklib.render.sentences import event_text
from runbooklib.sources.context import Context, Sources
from runbooklib.sources.tape import Entry, Tape
from tests.support.incident import NOW, Listener, broken, opened


def sound(context: Context, *, above: float = 1.0) -> Finding:
    """Is {above} the limit?"""
    return Finding(status=Status.OK, template="Sound.", facts={"limit": above}, since=context.window.start)


def test_a_dead_system_is_unknown_and_the_next_check_still_answers() -> None:
    def dead(_: Context) -> Finding:
        raise UnreachableError("refuses", system="prometheus", target="http://p", hint="start it")

    incident, listener = opened()
    assert incident.check(dead).reason is Reason.UNREACHABLE
    assert incident.check(sound).status is Status.OK
    assert [finding.status for finding in listener.findings] == [Status.UNKNOWN, Status.OK]
    assert incident.verdict.status is Status.UNKNOWN


def test_a_check_that_fails_itself_is_unknown_and_says_where() -> None:
    def defective(_: Context) -> Finding:
        raise KeyError("column")

    finding = opened()[0].check(defective)
    assert finding.reason is Reason.NONSENSE
    assert str(finding.facts["file"]) == "test_incident.py"


def test_a_question_that_was_never_recorded_is_not_swallowed() -> None:
    def asks(context: Context) -> Finding:
        raise NotRecordedError(f"never asked {context.alert}")

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
    with pytest.raises(ParameterError, match="finite number"):
        opened()[0].check(sound, above=limit)


def test_what_a_system_warned_of_is_never_ok() -> None:
    tape = Tape()

    def warned(_: Context) -> Finding:
        tape.remark("a store is missing")
        return Finding(status=Status.OK, template="Sound.")

    incident, _ = opened(tape)
    finding = incident.check(warned)
    assert (finding.status, finding.reason) == (Status.UNKNOWN, Reason.PARTIAL)
    assert finding.facts["warnings"] == "a store is missing"
    assert incident.check(sound).status is Status.OK


def test_only_what_measured_something_wrong_disturbs_what_is_usual() -> None:
    def other_alert(_: Context) -> Finding:
        return Finding(status=Status.WARNING, template="Another alert fires.")

    def always_slow(_: Context) -> Finding:
        return Finding(status=Status.WARNING, template="Slow.", measured=2.0)

    incident, _ = opened()
    incident.check(other_alert)
    assert not incident.context.is_disturbed
    incident.check(always_slow)
    assert (incident.context.is_disturbed, incident.context.onset) == (True, None)


def test_an_empty_ledger_is_unknown() -> None:
    assert opened()[0].verdict.status is Status.UNKNOWN


def test_signs_rank_their_cause_and_the_onset_is_the_first_symptoms() -> None:
    def other(context: Context) -> Finding:
        return Finding(status=Status.WARNING, template="Too.", source="two", since=context.onset)

    incident, _ = opened()
    incident.check(broken)
    cause = incident.cause("a-cause", "A cause")
    cause.check(broken)
    cause.check(other)
    assert incident.cause("a-cause", "A cause").cause == cause.cause
    assert incident.context.onset == incident.context.window.end - timedelta(minutes=5)
    assert [ranked_cause.rank for ranked_cause in incident.verdict.causes] == [Rank.CONFIRMED]


def test_a_proposal_without_its_system_is_shown_and_not_proposed() -> None:
    def action(context: Context, **_: Any) -> Proposal:
        """Mend it."""
        raise UnreachableError(f"no {context.alert}", system="docker")

    incident, _ = opened()
    cause = incident.cause("a-cause", "A cause")
    assert cause.propose(action).effect.startswith("Cannot be proposed: docker")
    assert cause.cause.proposals == ()


def test_sections_are_no_part_of_the_verdict() -> None:
    incident, listener = opened()
    incident.check(sound)
    incident.escalation()
    incident.recovery()
    assert {finding.status for finding in listener.findings[1:]} == {Status.UNKNOWN}
    assert incident.verdict.status is Status.OK


def test_asking_again_of_another_scene_replaces_every_finding_and_the_onset() -> None:
    def failing(context: Context) -> Finding:
        """Does it fail?"""
        is_late = context.window.end > NOW
        status = Status.OK if is_late else Status.CRITICAL
        return Finding(status=status, template="x", since=None if is_late else context.window.start)

    incident, listener = opened()
    incident.check(failing)
    incident.cause("a-cause", "A cause").check(failing)
    context = incident.context
    assert context.onset is not None
    later = Window.open(opened_at=NOW + timedelta(hours=1))
    incident.ask_again(Context("Alert", context.target, later, context.sources))
    assert incident.context.onset is None
    assert incident.verdict.status is Status.OK
    assert [finding.status.name for finding in listener.findings] == ["CRITICAL", "CRITICAL", "OK", "OK"]
    assert len(incident.findings) == 1


def test_a_second_look_that_is_broken_off_leaves_unknown_what_it_did_not_ask() -> None:
    is_stuck = False

    def stuck(context: Context) -> Finding:
        """Does it answer?"""
        if is_stuck:
            raise KeyboardInterrupt
        return sound(context)

    incident, listener = opened()
    incident.check(sound)
    incident.check(stuck)
    incident.cause("a-cause", "A cause").check(broken)
    is_stuck = True
    with pytest.raises(KeyboardInterrupt):
        incident.ask_again(incident.context)
    assert [one.status.name for one in incident.findings] == ["OK", "UNKNOWN"]
    assert incident.verdict.status.name == "UNKNOWN"
    assert {one.reason for one in incident.verdict.not_checked} == {Reason.NOT_ASKED}
    assert [one.check for one in listener.findings[-2:]] == ["stuck", "broken"]
    is_stuck = False
    incident.ask_again(incident.context)
    assert incident.verdict.status.name == "CRITICAL"


def test_what_was_resumed_and_not_run_since_is_unknown_after_a_second_look() -> None:
    first, _ = opened()
    kept = [SavedFinding("", "", "broken()", first.check(broken))]
    context, tape = first.context, Tape()
    on = Incident(
        Context("Alert", context.target, context.window, Sources(context.target, tape)),
        tape,
        Listener(),
        saved_findings=kept,
    )
    on.check(sound)
    on.ask_again(on.context)
    assert [one.status.name for one in on.findings] == ["UNKNOWN", "OK"]


def test_a_symptom_asked_again_is_asked_with_what_was_known_when_it_was_first_asked() -> None:
    seen: list[datetime | None] = []

    def looks(context: Context) -> Finding:
        seen.append(context.onset)
        return Finding(status=Status.OK, template="x")

    incident, _ = opened()
    incident.check(looks)
    incident.check(broken)
    incident.check(looks)
    incident.cause("a-cause", "A cause").check(looks)
    assert seen == [None, None, incident.context.onset]
    assert incident.context.onset is not None


def test_what_a_run_had_found_is_there_when_it_goes_on() -> None:
    first, _ = opened()
    first.check(sound)
    first.check(broken)
    first.cause("a-cause", "A cause").check(broken)
    [one, two], [sign] = first.findings, first.verdict.causes[0].cause.signs
    kept = [SavedFinding("", "", "sound()", one), SavedFinding("", "", "broken()", two)]
    kept.append(SavedFinding("a-cause", "A cause", "broken()", sign))
    context, tape = first.context, Tape()
    on = Incident(
        Context("Alert", context.target, context.window, Sources(context.target, tape)),
        tape,
        Listener(),
        saved_findings=kept,
    )
    assert on.verdict == first.verdict
    assert on.context.onset == first.context.onset
    on.check(broken)
    assert len(on.findings) == 2


def test_the_timeline_tells_in_order_what_began_was_noted_and_could_not_be_asked() -> None:
    incident, listener = opened()
    incident.check(broken)
    incident.note("saw it")
    with pytest.raises(SourceError):
        incident.sql("select 1")
    incident.timeline()
    told = listener.events
    assert [event.source for event in told if event.at] == ["one", "note"]
    missing = [event_text(event) for event in told if event.at is None]
    for what in ("when the alert began", "deployments", "restarts"):
        assert any(one.startswith(f"not known: {what}") for one in missing), missing


def test_the_same_words_are_one_note_in_one_cell_and_another_in_another() -> None:
    incident, listener = opened()
    for cell in ("one", "one", "two"):
        incident.steps.cell = cell
        incident.note("restarted it")
    incident.timeline()
    assert [event.source for event in listener.events if event.at] == ["note", "note"]


def test_where_no_cell_is_known_each_note_is_one_and_a_replay_finds_them_all() -> None:
    tape = Tape()
    incident, _ = opened(tape)
    for words in ("restarted it", "restarted it", "told Kim", "restarted it"):
        incident.note(words)
    noted = [one for one in tape.known("note") if one.answer["text"] == "restarted it"]
    assert len(noted) == 3
    # As a notebook's cells recorded them; a replay knows no cells, and plays them in their order.
    cells = [Entry("note", {"text": "x", "cell": name}, NOW, 0.0, {"text": name}) for name in "ab"]
    for entries, words, told in (
        (noted, "restarted it", noted),
        (cells, "x", cells),
        (cells[:1], "x", cells[:1]),
    ):
        again, listener = opened(Tape(recording=entries))
        for _ in entries:
            again.note(words)
        again.note(words)  # as in recordings in which the same words were one note
        again.timeline()
        assert len([event for event in listener.events if event.source == "note"]) == len(told)


def test_actions_of_this_service_are_in_the_timeline(tmp_path: Path) -> None:
    incident, listener = opened(evidence=tmp_path)
    about = {"by": "kim", "action": "restart_container", "target": "backend", "alert": "Alert"}
    about |= dict.fromkeys(("why", "plan", "evidence"), "")
    with action_ledger.held(tmp_path) as book:
        for number, place in enumerate([("site", "backend"), ("site", "other"), ("elsewhere", "backend")]):
            line = {"id": str(number), "environment": place[0], "service": place[1], **about}
            book.append("intent", {**line, "nonce": "", "proposed_in": ""})
            book.append("outcome", {"id": str(number), "outcome": "done", "told": ""})
    now = Window.open(opened_at=datetime.now(UTC) + timedelta(seconds=2))
    context = incident.context
    incident.ask_again(Context("Alert", context.target, now, context.sources))
    incident.timeline()
    [deed] = [event for event in listener.events if event.source == "actions"]
    assert (event_text(deed), deed.mark) == ("kim: restart_container on backend (done)", "restart_container")
    assert "restart_container" in [word for _, word in incident.marks()]
