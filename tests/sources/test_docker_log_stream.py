"""What matters of a log is picked out of a stream, in bounded memory."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from runbooklib.redact.redactor import Redactor
from runbooklib.sources.docker.log_frames import PARTIAL_BYTES, demultiplexed
from runbooklib.sources.docker.log_stream import (
    Excerpt,
    lines_of,
    moment_of_line,
)
from runbooklib.sources.docker.log_templates import MAX_TEMPLATES, sees, template_of
from runbooklib.sources.logs.records import parse

AT = datetime(2026, 1, 15, 3, 12, tzinfo=UTC)
WORDS = "zero one two three four five six seven eight nine".split()
TRACE = [
    "Traceback (most recent call last):",
    '  File "/INFO/a.py", line 1, in f',
    "    g()",
    "ValueError: no",
]


def frame(text: str, number: int = 1) -> bytes:
    payload = text.encode()
    return bytes([number, 0, 0, 0]) + len(payload).to_bytes(4, "big") + payload


def test_frames_are_taken_apart_wherever_they_are_cut() -> None:
    whole = frame("one\n") + frame("zwei ü\n", 2) + frame("")
    for size in range(1, len(whole)):
        chunks = [whole[i : i + size] for i in range(0, len(whole), size)]
        found = list(demultiplexed(chunks, is_tty=False))
        assert found == [("stdout", b"one\n"), ("stderr", "zwei ü\n".encode()), ("stdout", b"")]


def test_a_terminal_s_text_is_taken_apart_by_lines() -> None:
    assert [p for _, p in demultiplexed([b"a\nb", b"c\nd"], is_tty=True)] == [b"a\n", b"bc\n", b"d"]


def test_a_frame_of_absurd_size_is_nonsense_and_not_waited_for() -> None:
    with pytest.raises(ValueError, match="4294967295 bytes"):
        list(demultiplexed([bytes([1, 0, 0, 0, 255, 255, 255, 255])], is_tty=False))


def excerpt(*lines: str, stream: str = "stdout") -> Excerpt:
    """An excerpt of lines, a millisecond apart."""
    made = Excerpt(AT, AT + timedelta(hours=1))
    for number, line in enumerate(lines):
        at = (AT + timedelta(milliseconds=number)).isoformat(timespec="microseconds")
        made.add(stream, f"{at.replace('+00:00', 'Z')} {line}\n".encode())
    made.finish()
    return made


def texts(made: Excerpt) -> list[str]:
    return [line.text for line in lines_of(made.lines)]


def test_quiet_lines_are_counted_and_not_kept() -> None:
    made = excerpt("INFO:  a", "ERROR: b", '{"event": "c", "level": "info"}', "", "d")
    assert texts(made) == ["ERROR: b", "d"]
    assert (made.quiet_lines, made.gap) == (2, None)
    assert made.latest_at == AT + timedelta(milliseconds=4)


def distinct(number: int) -> list[str]:
    """Lines that differ in their words: each is a template of its own."""
    return [f"line {'-'.join(WORDS[int(digit)] for digit in str(i))}" for i in range(number)]


def test_the_first_and_the_last_entries_are_kept_and_the_gap_between_them_is_known() -> None:
    lines = distinct(2_000 + MAX_TEMPLATES + 1)
    made = excerpt(*lines)
    assert texts(made) == [*lines[:500], *lines[-1_500:]]
    first, last = 499, 500 + MAX_TEMPLATES + 1
    assert made.gap == (AT + timedelta(milliseconds=first), AT + timedelta(milliseconds=last))
    assert len(made.templates.examples()) == MAX_TEMPLATES
    assert excerpt(*lines[:-1]).gap is None


def test_entries_in_the_middle_that_differ_only_in_numbers_are_counted() -> None:
    made = excerpt(*(f"WARNING retry {i} of 0x{i:x} took {i}.5 ms, status 503" for i in range(20_000)))
    assert made.gap is None
    repeated = made.templates.examples()
    assert sum(template["times"] for template in repeated) == 18_000
    assert len(repeated) < 50  # some of the numbers can be a status
    most = max(repeated, key=lambda template: template["times"])
    assert most["lines"][0].endswith("stdout WARNING retry 509 of 0x1fd took 509.5 ms, status 503")
    assert most["last"] == "2026-01-15T03:12:18.499000Z"


@pytest.mark.parametrize(
    ("text", "template"),
    [
        ("GET /items/12 503", "GET /items/# 503"),
        ("code=E404 at 10:03:20,123", "code=E404 at #"),
        ("user 0a1b2c3d4e5f failed in 0.250 s", "user # failed in # s"),
        ("request_id=8c2e5a4e-11f0-4c3a-9b7d-0242ac120002", "request_id=#"),
        ("facade decade", "facade decade"),
    ],
)
def test_a_template_has_no_numbers_but_the_status_of_a_request(text: str, template: str) -> None:
    assert template_of(text) == template


@pytest.mark.parametrize(
    "pattern", [r"worker 12\b", r"code \d+", r"ended with code (?:-9|137)\b", r"[0-9] left"]
)
def test_a_pattern_that_asks_for_a_number_is_not_answered_by_an_example(pattern: str) -> None:
    assert not sees(pattern)


@pytest.mark.parametrize("pattern", [r"(?i)rate limit|\b(?:401|402|403|429)\b", r"pool .* full"])
def test_a_pattern_of_words_and_statuses_is_answered_by_an_example(pattern: str) -> None:
    assert sees(pattern)


def test_an_entry_that_still_grows_when_it_is_dropped_is_counted_whole() -> None:
    made = Excerpt(AT, AT + timedelta(hours=1))
    at = AT.isoformat(timespec="microseconds").replace("+00:00", "Z")
    for number in range(600):
        made.add("stdout", f"{at} WARNING {number}\n".encode())
    for line in TRACE[:3]:
        made.add("stderr", f"{at} {line}\n".encode())
    for number in range(1_600):
        made.add("stdout", f"{at} WARNING {number}\n".encode())
    made.add("stderr", f"{at} {TRACE[3]}\n".encode())
    made.finish()
    assert made.gap is None
    assert [f"{at} stderr {line}" for line in TRACE] in [item["lines"] for item in made.templates.examples()]


def test_a_traceback_stays_whole_and_is_an_entry() -> None:
    made = excerpt(*TRACE * 2_100)
    assert texts(made) == TRACE * 2_000
    [repeated] = made.templates.examples()
    assert (repeated["times"], len(repeated["lines"]), made.gap) == (100, len(TRACE), None)


def test_a_quiet_line_of_the_other_stream_does_not_tear_a_traceback() -> None:
    made = Excerpt(AT, AT)
    for number, line in enumerate(TRACE):
        made.add("stderr", f"2026-01-15T03:12:00Z {line}\n".encode())
        made.add("stdout", f"2026-01-15T03:12:00Z INFO: {number}\n".encode())
    assert texts(made) == TRACE
    assert made.quiet_lines == 4
    assert [record.kind for record in parse(lines_of(made.lines))] == ["traceback"]


def test_a_traceback_without_its_top_is_kept() -> None:
    assert texts(excerpt(*TRACE[1:])) == TRACE[1:]


def test_an_excerpt_is_bounded_in_bytes_by_large_lines_and_by_a_traceback_without_end() -> None:
    large = excerpt(*(f"{i} {'é' * 9_000}" for i in range(300)))
    assert len(json.dumps(large.lines)) < 1_200_000
    assert large.gap is not None
    endless = excerpt(*TRACE, *("  goes on" + "x" * 1_000 for _ in range(5_000)))
    assert len(json.dumps(endless.lines)) < 1_200_000
    assert texts(endless)[:4] == TRACE


def test_what_lies_outside_of_the_window_is_left_out() -> None:
    made = Excerpt(AT, AT + timedelta(seconds=1))
    for at in ("03:11:59.9", "03:12:00", "03:12:01", "03:12:01.1"):
        made.add("stdout", f"2026-01-15T{at}Z {at}\n".encode())
    assert texts(made) == ["03:12:00", "03:12:01"]


def test_bytes_that_are_no_text_are_shown() -> None:
    made = Excerpt(AT, AT + timedelta(hours=1))
    made.add("stderr", b"2026-01-15T03:12:09.000000001Z last \xff\n")
    assert [(line.stream, line.text) for line in lines_of(made.lines)] == [("stderr", "last \\xff")]


def test_parts_of_a_long_line_become_one() -> None:
    made = Excerpt(AT, AT + timedelta(hours=1))
    made.add("stdout", b"2026-01-15T03:12:00Z one ")
    made.add("stderr", b"2026-01-15T03:12:00Z other\n")
    made.add("stdout", b"2026-01-15T03:12:00Z two\n")
    made.add("stdout", b"2026-01-15T03:12:01Z rest")
    made.finish()
    assert texts(made) == ["other", "one two", "rest"]


def frames(*payloads: str, stream: str = "stdout") -> list[str]:
    made = Excerpt(AT, AT + timedelta(hours=1))
    for payload in payloads:
        made.add(stream, f"2026-01-15T03:12:{payload}".encode())
    made.finish()
    return texts(made)


def test_parts_are_joined_by_their_time_and_not_across_lines() -> None:
    part = "x" * PARTIAL_BYTES
    assert frames(f"00.1Z {part}", f"00.1Z {part}", "00.1Z y\n", "00.2Z z\n") == [part + part + "y", "z"]
    # The driver local writes no line end after the last part.
    assert frames(f"00.1Z {part}", "00.1Z y", "00.1003Z z\n") == [part + "y", "z"]
    # podman gives each part the time at which it was read.
    assert frames(f"00.1Z {part}", f"00.1001Z {part}", "00.1002Z y\n") == [part + part + "y"]
    # The process ended in the middle of a line, and was started again.
    assert frames(f"00.1Z {part}", "00.3Z z\n") == [part, "z"]


def test_a_character_that_is_cut_between_two_parts_is_whole_again() -> None:
    made = Excerpt(AT, AT + timedelta(hours=1))
    raw = "é".encode()
    made.add("stdout", b"2026-01-15T03:12:00Z x" + raw[:1])
    made.add("stdout", b"2026-01-15T03:12:00Z " + raw[1:] + b"y\n")
    assert texts(made) == ["xéy"]


def test_parts_of_a_long_line_of_a_terminal_lose_their_times() -> None:
    at, part = b"2026-01-15T03:12:00.000000001Z ", b"x" * PARTIAL_BYTES
    after = b"2026-01-15T03:12:00.000000002Z z\n"
    for end, rest in ((b"y\n", []), (b"y", [after])):
        whole = at + part + at + part + at + end + b"".join(rest)
        assert list(demultiplexed([whole], is_tty=True)) == [
            ("stdout", line) for line in [at + part + part + b"y\n", *rest]
        ]


def test_a_long_json_line_stays_json_and_says_that_it_was_cut() -> None:
    values = {"level": "error", "prompt": "x" * 200_000, "exception": "shop.PoolError: none left"}
    made = excerpt(json.dumps(values), "WARNING after")
    record = parse(lines_of(made.lines))[0]
    assert (record.kind, record.exception) == ("json", "shop.PoolError")
    assert len(record.text) < 10_000
    assert made.cut_at is not None
    assert excerpt("ERROR short").cut_at is None


def test_half_a_secret_at_a_cut_is_hidden_even_among_many_others() -> None:
    secret, shapes = "hunter2-" + "s" * 40, "0123456789-" * 4_000
    redactor = Redactor([secret, "0123456789-"])
    made = Excerpt(AT, AT + timedelta(hours=1), redact=redactor.text)
    for filler in range(0, 1_100, 350):
        text = f"ERROR {shapes}{'y' * (4_950 - filler)}{secret}{'z' * 30_000}"
        made.add("stdout", f"2026-01-15T03:12:00Z {text}\n".encode())
    made.finish()
    assert made.cut_at is not None
    kept = "\n".join(redactor.text(line) for line in made.lines)
    assert "hunter2" not in kept


def test_a_line_torn_from_its_time_keeps_the_one_before() -> None:
    found = list(lines_of(["2026-01-15T03:12:00.5Z stderr a", "torn", "2026-01-15T03:12:01Z stdout "]))
    assert [(line.at, line.stream, line.text) for line in found] == [
        (AT + timedelta(seconds=0.5), "stderr", "a"),
        (AT + timedelta(seconds=0.5), "stderr", "torn"),
        (AT + timedelta(seconds=1), "stdout", ""),
    ]
    assert list(lines_of([])) == []
    assert moment_of_line("2026-01-15T03:12:00.123456789Z x").microsecond == 123456
