"""What the checks say of a log, on a real engine: found, not found, and not to be known."""

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from runbooklib.checks.logs import POOL_EXHAUSTED, log_lines, new_exceptions
from runbooklib.errors import Reason
from runbooklib.model.findings import Finding, Status
from runbooklib.render.sentences import say
from runbooklib.sources.context import Context, Sources
from runbooklib.sources.tape import Tape
from tests.support.dockerd import Engine, make_context

QUIET = r"""seq -f '{"event":"request_completed","level":"info","path":"/api","n":%.0f}' 1 """
REFUSED = (
    r"""echo '{"event":"request_error","level":"error","path":"/api/run","request_id":"r-1","""
    r""""error":"QueuePool limit of size 10 overflow 20 reached, connection timed out"}'"""
)
_LETTERS = "a b c d e f g h i j"
BULK = (  # 5,000 lines that differ in their words
    f"for a in {_LETTERS}; do for b in {_LETTERS}; do for c in {_LETTERS}; do for d in v w x y z;"
    ' do echo "$a$b$c$d"; done; done; done; done'
)
TRACE = r"""printf 'Traceback (most recent call last):\n  File "a.py", line 1, in f\nKeyError: 7\n' >&2"""


def pool(where: Context, least: int = 1) -> Finding:
    return log_lines(where, matching=POOL_EXHAUSTED, about="an exhausted pool", least=least)


def says(finding: Finding) -> str:
    return say(finding.template, finding.facts)


def test_a_fault_early_in_the_window_is_found_among_many_quiet_lines(url: str, engine: Engine) -> None:
    begun = datetime.now(UTC)
    name = engine.run(f"{REFUSED}; {TRACE}; sleep 0.2; {QUIET} 20000; {REFUSED}", wait=True)
    where = make_context(url, name)
    found = pool(where)
    assert (found.status, found.measured) == (Status.WARNING, 2.0)
    assert found.since is not None
    assert begun < found.since < begun + timedelta(seconds=20)
    assert says(found).startswith("Matching log entries: 2, first at ")
    assert says(found).endswith(
        "“request_error /api/run: QueuePool limit of size 10 overflow 20 reached, connection timed out”"
    )
    assert found.rows is not None
    assert found.rows["times"].tolist() == [2]
    raised = new_exceptions(where)
    assert (raised.facts["exception"], raised.facts["line"]) == ("KeyError", "KeyError: 7")
    assert raised.since is not None


def test_nothing_in_a_whole_log_is_ok_and_says_what_was_left_out(url: str, engine: Engine) -> None:
    where = make_context(url, engine.run(f"{QUIET} 20000; echo WARNING slow", wait=True))
    for finding, nothing in ((pool(where), "No matching log entry"), (new_exceptions(where), "No exception")):
        assert finding.status is Status.OK
        assert says(finding).startswith(nothing)
        assert says(finding).endswith("(routine lines not searched: 20,000).")


def test_fewer_than_it_takes_is_ok_and_counted(url: str, engine: Engine) -> None:
    found = pool(make_context(url, engine.run(REFUSED, wait=True)), least=2)
    assert (found.status, found.measured) == (Status.OK, 1.0)
    assert ": 1; the limit is 2 (" in says(found)


def test_an_empty_log_is_ok(url: str, engine: Engine) -> None:
    where = make_context(url, engine.run("true", wait=True))
    assert {pool(where).status, new_exceptions(where).status} == {Status.OK}


def test_nothing_in_the_log_of_a_replaced_container_is_unknown(url: str, engine: Engine) -> None:
    name = engine.run(REFUSED, wait=True)
    onset = datetime.now(UTC)
    time.sleep(0.2)
    engine.remove(name)
    engine.run("echo fine", name, wait=True)
    for finding in (pool(make_context(url, name, onset)), new_exceptions(make_context(url, name, onset))):
        assert (finding.status, finding.reason) == (Status.UNKNOWN, Reason.NO_DATA)
        assert "begins at" in says(finding)
        assert "after the symptom began" in says(finding)


def test_what_a_replaced_container_says_has_no_known_beginning(url: str, engine: Engine) -> None:
    onset = datetime.now(UTC)
    time.sleep(0.2)
    found = pool(make_context(url, engine.run(REFUSED, wait=True), onset))
    assert (found.status, found.since) == (Status.WARNING, None)
    assert says(found).startswith("Matching log entries: at least 1, the earliest that can be read at ")


def test_nothing_around_a_gap_is_unknown_and_names_it(url: str, engine: Engine) -> None:
    finding = pool(make_context(url, engine.run(BULK, wait=True)))
    assert (finding.status, finding.reason) == (Status.UNKNOWN, Reason.NO_DATA)
    assert says(finding).startswith("The log was read only in part: ")


@pytest.mark.parametrize(("before", "after"), [(REFUSED, "true"), ("true", REFUSED)])
def test_the_beginning_is_known_before_a_gap_and_not_after_it(
    url: str, engine: Engine, before: str, after: str
) -> None:
    found = pool(make_context(url, engine.run(f"{before}; {BULK}; {after}", wait=True)))
    assert found.status is Status.WARNING
    assert (found.since is not None) == (before == REFUSED)
    assert says(found).startswith("Matching log entries: at least 1, ")
    assert (", first at " in says(found)) == (before == REFUSED)


def test_reading_that_stopped_early_goes_on_at_the_end_and_what_it_left_out_is_unknown(
    url: str, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runbooklib.sources.docker.container_logs.MAX_LOG_BYTES_READ", 200_000)
    monkeypatch.setattr("runbooklib.sources.docker.container_logs.TAIL_LINES", 5_000)
    at_the_end = pool(make_context(url, engine.run(f"{QUIET} 20000; {REFUSED}", wait=True)))
    assert (at_the_end.status, at_the_end.since) == (Status.WARNING, None)
    assert says(at_the_end).startswith("Matching log entries: at least 1, the earliest that can be read at ")
    between = pool(make_context(url, engine.run(f"{QUIET} 10000; {REFUSED}; {QUIET} 10000", wait=True)))
    assert (between.status, between.reason) == (Status.UNKNOWN, Reason.NO_DATA)
    assert says(between).startswith("The log was read only in part: ")


def test_reading_that_stopped_early_at_the_end_too_is_unknown_and_says_when(
    url: str, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runbooklib.sources.docker.container_logs.MAX_LOG_BYTES_READ", 200_000)
    monkeypatch.setattr("runbooklib.sources.docker.container_logs.MAX_TAIL_BYTES", 200_000)
    long = QUIET.replace("/api", "/" + "x" * 4000)
    finding = pool(make_context(url, engine.run(f"{QUIET} 20000; {long} 5000; {REFUSED}", wait=True)))
    assert (finding.status, finding.reason) == (Status.UNKNOWN, Reason.NO_DATA)
    assert says(finding).startswith("The log was read only up to ")


def test_a_match_that_the_short_form_leaves_out_is_quoted_from_the_line(url: str, engine: Engine) -> None:
    name = engine.run(f"echo 'ERROR: {'x' * 400} too many clients already'", wait=True)
    line = str(pool(make_context(url, name)).facts["line"])
    assert line.startswith("…x")
    assert line.endswith("too many clients already")


def test_a_replay_says_the_same(url: str, engine: Engine) -> None:
    name = engine.run(f"{REFUSED}; {TRACE}; seq 1 5000", wait=True)
    tape = Tape()
    where = make_context(url, name, tape=tape)
    live = [pool(where), new_exceptions(where)]
    again = Tape(recording=tape.take_recorded())
    replayed = replace(where, sources=Sources(where.target, again))
    assert [pool(replayed), new_exceptions(replayed)] == live


JSON_ERROR = """{"event":"failed","level":"error","error":"none left","error_type":"TimeoutError"}"""
PYTHON_TRACE = r"""Traceback (most recent call last):\n  File "a.py", line 1, in f\n"""


@pytest.mark.parametrize(
    ("traces", "named"),
    [
        (["sqlalchemy.exc.TimeoutError: none left"], {"sqlalchemy.exc.TimeoutError": 2}),
        (["TimeoutError: none left"], {"TimeoutError": 2}),
        (
            ["sqlalchemy.exc.TimeoutError: a", "httpx.TimeoutError: b"],
            {"TimeoutError": 2, "sqlalchemy.exc.TimeoutError": 1, "httpx.TimeoutError": 1},
        ),
    ],
    ids=["one full name", "no full name", "two full names"],
)
def test_a_short_name_in_json_is_the_full_name_of_the_trace(
    url: str, engine: Engine, traces: list[str], named: dict[str, int]
) -> None:
    last = [*traces, traces[0]][:2]
    lines = "; ".join(
        f"echo '{JSON_ERROR}'; printf '{PYTHON_TRACE}{line}\\n' >&2; sleep 0.1" for line in last
    )
    rows = new_exceptions(make_context(url, engine.run(lines, wait=True))).rows
    assert rows is not None
    assert dict(zip(rows["exception"], rows["times"], strict=True)) == named


SLOW = "seq -f 'WARNING a request took %.0f.5 ms' 1 {}"


def test_of_log_lines_in_bulk_those_in_the_middle_are_counted_and_searched(url: str, engine: Engine) -> None:
    middle = "; ".join([REFUSED] * 3)
    where = make_context(url, engine.run(f"{SLOW.format(3000)}; {middle}; {SLOW.format(4000)}", wait=True))
    refused = pool(where)
    assert (refused.status, refused.measured) == (Status.WARNING, 3.0)
    assert refused.since is not None
    assert says(refused).startswith("Matching log entries: 3, first at ")
    slow = log_lines(where, matching="a request took", about="slow requests")
    assert slow.measured == 7_000.0
    assert new_exceptions(where).status is Status.UNKNOWN  # REFUSED is of level error, without an exception


def test_an_exception_in_the_middle_of_bulk_counts_with_all_its_entries(url: str, engine: Engine) -> None:
    many = f"for i in $(seq 1 40); do {TRACE}; done"
    raised = new_exceptions(
        make_context(
            url, engine.run(f"{SLOW.format(600)}; {many}; sleep 0.2; {SLOW.format(2000)}", wait=True)
        )
    )
    assert (raised.facts["exception"], raised.facts["count"]) == ("KeyError", 40)


def test_nothing_in_bulk_is_ok_but_not_for_a_pattern_with_a_number(url: str, engine: Engine) -> None:
    where = make_context(url, engine.run(SLOW.format(5000), wait=True))
    assert pool(where).status is Status.OK
    assert new_exceptions(where).status is Status.OK
    numbered = log_lines(where, matching="took 99999", about="a request")
    assert (numbered.status, numbered.reason) == (Status.UNKNOWN, Reason.NO_DATA)
    assert says(numbered).startswith("3,000 entries that differ only in numbers were counted together")
