import threading
from collections.abc import Callable
from typing import Any

import pytest

from runbooklib import errors
from runbooklib.errors import (
    DeadlineError,
    EvidenceError,
    NotRecordedError,
    RefusedError,
    SourceError,
    UnreachableError,
)
from runbooklib.redact.redactor import Redactor, tag
from runbooklib.sources import tape
from runbooklib.sources.tape import Tape, pack, side_by_side, unpack


class Counted:
    """A call that counts how often it was made."""

    def __init__(self, answer: Any = None, error: Exception | None = None) -> None:
        self.answer, self.error, self.calls = answer, error, 0

    def __call__(self) -> Any:
        self.calls += 1
        if self.error:
            raise self.error
        return self.answer


def never() -> Any:
    raise AssertionError("a replay asked a system")


def replay_of(recorded: Tape, redactor: Redactor | None = None) -> Tape:
    return Tape(redactor, recording=unpack(pack(recorded.take_recorded())))


@pytest.mark.parametrize("answer", [{"a": [1, 2.5, None, True, "x"]}, [], "", 0, None, "\ud800", "数据库"])
def test_a_replay_gives_the_recorded_answer_and_asks_nothing(answer: Any) -> None:
    live = Tape()
    assert live.ask("s", {"q": 1}, lambda: answer) == answer
    assert replay_of(live).ask("s", {"q": 1}, never) == answer


def test_the_order_of_a_request_does_not_matter_but_everything_in_it_does() -> None:
    live, call = Tape(), Counted("x")
    live.ask("s", {"a": 1, "b": [1, 2]}, call)
    live.ask("s", {"b": [1, 2], "a": 1}, call)
    assert call.calls == 1
    others: list[tuple[str, dict[str, Any]]] = [
        ("s", {"a": 1, "b": [2, 1]}),
        ("s", {"a": 1}),
        ("t", {"a": 1, "b": [1, 2]}),
    ]
    for source, request in others:
        live.ask(source, request, call)
    assert call.calls == 4


def test_a_question_that_was_not_recorded_fails_loudly_in_a_replay() -> None:
    replay = Tape(recording=[])
    with pytest.raises(NotRecordedError, match=r"s: was never asked \{\"q\": 1\}"):
        replay.ask("s", {"q": 1}, never)


def test_answers_and_requests_are_redacted_before_they_are_recorded_or_used() -> None:
    live = Tape(Redactor(["hunter22"]))
    assert live.ask("s", {"q": "hunter22"}, lambda: ["hunter22"]) == [tag("hunter22")]
    [entry] = live.take_recorded()
    assert "hunter22" not in str(entry.as_dict())
    replay = Tape(Redactor(["hunter22"]), recording=[entry])
    assert replay.ask("s", {"q": "hunter22"}, never) == [tag("hunter22")]


@pytest.mark.parametrize(
    "kind",
    [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, SourceError)],
)
def test_an_error_survives_a_replay_with_type_reason_and_text(kind: type[SourceError]) -> None:
    error = kind("it said no", system="s", target="h:1", hint="ask again")
    live = Tape()
    with pytest.raises(kind) as first:
        live.ask("s", {}, Counted(error=error), target="h:1")
    with pytest.raises(kind) as again:
        replay_of(live).ask("s", {}, never, target="h:1")
    for raised in (first.value, again.value):
        assert type(raised) is kind
        assert (str(raised), raised.reason) == (str(error), error.reason)


def test_the_code_of_a_refusal_survives_a_replay_and_its_secret_does_not() -> None:
    live = Tape(Redactor(["hunter22"]))
    with pytest.raises(RefusedError):
        live.ask("s", {}, Counted(error=RefusedError("hunter22 is wrong", code="28P01")))
    with pytest.raises(RefusedError) as raised:
        replay_of(live).ask("s", {}, never)
    assert raised.value.code == "28P01"
    assert "hunter22" not in str(raised.value)


def test_a_mistake_in_our_own_code_is_not_recorded_as_an_answer() -> None:
    live = Tape()
    with pytest.raises(ZeroDivisionError):
        live.ask("s", {}, lambda: 1 / 0)
    assert live.take_recorded() == []


@pytest.mark.parametrize("dead", [UnreachableError("refused"), DeadlineError("late")])
def test_a_dead_system_is_not_asked_twice_but_others_are(dead: SourceError) -> None:
    live, first, second, other = Tape(), Counted(error=dead), Counted("x"), Counted("y")
    with pytest.raises(type(dead), match=str(dead)):
        live.ask("s", {"q": 1}, first, target="a")
    with pytest.raises(type(dead), match=str(dead)):
        live.ask("s", {"q": 2}, second, target="a")
    assert (first.calls, second.calls) == (1, 0)
    assert live.ask("s", {"q": 2, "target": "b"}, other, target="b") == "y"
    assert live.ask("t", {"q": 1}, other, target="a") == "y"
    live.forget()
    assert live.ask("s", {"q": 2}, second, target="a") == "x"


def test_a_system_that_answered_no_is_asked_other_questions() -> None:
    live, call = Tape(), Counted("x")
    with pytest.raises(RefusedError):
        live.ask("s", {"q": 1}, Counted(error=RefusedError("no")))
    assert live.ask("s", {"q": 2}, call) == "x"


def test_a_question_is_given_up_at_its_deadline() -> None:
    live, release = Tape(), threading.Event()
    try:
        with pytest.raises(DeadlineError, match=r"no answer within 0.05 s"):
            live.ask("s", {}, lambda: release.wait(30), target="t", deadline_seconds=0.05)
    finally:
        release.set()
    with pytest.raises(DeadlineError, match=r"no answer within 0.05 s"):
        replay_of(live).ask("s", {}, never)


def test_an_answer_too_large_is_used_and_marked_and_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tape, "MAX_RECORDED_BYTES", 100)
    live = Tape()
    for _ in range(2):
        assert live.ask("s", {}, lambda: "x" * 200) == "x" * 200
    assert [entry.is_cut for entry in live.take_used()] == [True, True]
    [entry] = live.take_recorded()
    assert (entry.answer, entry.is_cut) == (None, True)
    with pytest.raises(NotRecordedError, match="too large"):
        Tape(recording=unpack(pack([entry]))).ask("s", {}, never)


def test_the_same_question_asked_side_by_side_is_asked_once() -> None:
    live, gate, calls = Tape(), threading.Barrier(8), []

    def call() -> int:
        calls.append(1)
        threading.Event().wait(0.05)
        return len(calls)

    def ask() -> int:
        gate.wait(10)
        answer: int = live.ask("s", {}, call)
        return answer

    assert side_by_side([ask] * 8) == [1] * 8
    assert len(live.take_recorded()) == 1
    assert len(live.take_used()) == 8


def test_questions_asked_side_by_side_are_all_recorded() -> None:
    live = Tape()

    def asker(n: int) -> Callable[[], Any]:
        return lambda: live.ask("s", {"q": n}, lambda: n * n)

    assert side_by_side([asker(n) for n in range(40)]) == [n * n for n in range(40)]
    replay = replay_of(live)
    assert [replay.ask("s", {"q": n}, never) for n in range(40)] == [n * n for n in range(40)]


def test_side_by_side_keeps_the_order_and_raises_the_first_error() -> None:
    assert side_by_side([]) == []
    with pytest.raises(ZeroDivisionError):
        side_by_side([lambda: 1, lambda: 1 // 0, lambda: 3])


def test_what_was_recorded_and_what_was_used_are_handed_out_once() -> None:
    live = Tape()
    live.ask("s", {}, lambda: 1)
    live.ask("s", {}, never)
    assert (len(live.take_recorded()), len(live.take_used())) == (1, 2)
    assert (live.take_recorded(), live.take_used()) == ([], [])


def test_forgetting_asks_again_but_never_in_a_replay() -> None:
    live, call = Tape(), Counted(1)
    live.ask("s", {}, call)
    live.forget()
    live.ask("s", {}, call)
    assert call.calls == 2
    replay = replay_of(live)
    replay.forget()
    assert replay.ask("s", {}, never) == 1


def test_a_recording_keeps_every_field_of_its_entries() -> None:
    live = Tape()
    live.ask("s", {"q": [1]}, lambda: {"a": 1})
    [entry] = live.take_recorded()
    [back] = unpack(pack([entry]))
    assert back.as_dict() == entry.as_dict()
    assert (back.key, back.asked_at) == (entry.key, entry.asked_at)


@pytest.mark.parametrize(
    "broken",
    [{}, {"version": 99}, {"encoding": "gzip"}, {"data": "@@@"}, {"data": "AAAA"}, {"data": None}],
)
def test_a_recording_that_cannot_be_read_says_so(broken: dict[str, Any]) -> None:
    recording = {} if not broken else pack([]) | broken
    with pytest.raises(EvidenceError, match="recording"):
        unpack(recording)


def test_a_run_that_goes_on_asks_only_what_it_has_no_answer_to_and_records_all_of_it_again() -> None:
    before = Tape()
    before.ask("s", {"q": 1}, lambda: "then")
    with pytest.raises(UnreachableError):
        before.ask("s", {"q": 2}, Counted(error=UnreachableError("refuses")))
    on = Tape(resumed=unpack(pack(before.take_recorded())))
    assert on.ask("s", {"q": 1}, never) == "then"
    assert on.ask("s", {"q": 2}, lambda: "now") == "now"
    assert on.ask("s", {"q": 3}, lambda: "new") == "new"
    assert [(one.request["q"], one.answer) for one in on.take_recorded()] == [
        (1, "then"),
        (2, "now"),
        (3, "new"),
    ]
    assert not on.is_replay


def test_an_answer_that_was_too_large_to_record_is_asked_for_again_when_a_run_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tape, "MAX_RECORDED_BYTES", 10)
    before = Tape()
    before.ask("s", {"q": 1}, lambda: "x" * 20)
    on = Tape(resumed=before.take_recorded())
    assert on.ask("s", {"q": 1}, lambda: "y") == "y"


def test_what_a_cell_used_is_recorded_again_when_the_cell_is_run_again() -> None:
    live, call = Tape(), Counted("x")
    live.ask("s", {"q": 1}, call)
    [first] = live.take_recorded()
    live.ask("s", {"q": 1}, call)
    assert live.take_recorded() == []
    live.record_again()
    live.ask("s", {"q": 1}, call)
    live.ask("s", {"q": 1}, call)
    assert live.take_recorded() == [first]
    assert call.calls == 1


def test_of_two_answers_to_one_question_the_newest_is_replayed_wherever_it_lies() -> None:
    live = Tape()
    live.ask("s", {"q": 1}, lambda: "old")
    old = live.take_recorded()
    live.forget()
    live.ask("s", {"q": 1}, lambda: "new")
    new = live.take_recorded()
    for recording in ([*old, *new], [*new, *old]):
        assert Tape(recording=recording).ask("s", {"q": 1}, never) == "new"


def test_forgetting_can_keep_what_no_system_said() -> None:
    live, call = Tape(), Counted("x")
    live.ask("note", {"q": 1}, call)
    live.ask("s", {"q": 1}, call)
    live.forget(keeping={"note"})
    live.ask("note", {"q": 1}, call)
    live.ask("s", {"q": 1}, call)
    assert call.calls == 3
