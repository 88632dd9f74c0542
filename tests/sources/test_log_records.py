"""Mixed log text becomes records, whatever it is."""

import json
import random
import time
from datetime import UTC, datetime, timedelta

import pytest

from runbooklib.sources.logs.records import Line, Record, is_quiet, parse, plain, shortened

AT = datetime(2026, 1, 15, 3, 12, tzinfo=UTC)


def records(*texts: str, stream: str = "stdout") -> list[Record]:
    return parse(Line(AT + timedelta(seconds=i), stream, text) for i, text in enumerate(texts))


def only(*texts: str) -> Record:
    found = records(*texts)
    assert len(found) == 1, [r.text for r in found]
    return found[0]


def test_a_json_line_gives_its_fields() -> None:
    text = json.dumps(
        {
            "event": "request failed", "level": "ERROR",
            "timestamp": "2026-01-15T03:12:00Z",
            "request_id": "r-1", "method": "POST", "path": "/api/v1/run?token=x",
            "status_code": 500, "execution_time_ms": 12.5,
        }
    )  # fmt: skip
    found = only(text)
    assert (found.kind, found.level, found.message, found.request_id) == (
        "json",
        "error",
        "request failed",
        "r-1",
    )
    assert (found.method, found.path, found.status_code) == ("POST", "/api/v1/run", 500)
    assert found.execution_time_ms == 12.5
    assert found.text == text


@pytest.mark.parametrize(
    "text",
    ['{"a": 1', "{}x", "[1, 2]", '"text"', "{" * 100_000, '{"a":' * 100_000, '{"n": ' + "9" * 5000 + "}"],
)
def test_what_only_looks_like_json_is_text(text: str) -> None:
    assert only(text).kind == "text"


def test_strange_types_in_json_do_no_harm() -> None:
    found = only(
        '{"event": ["a"], "level": 3, "status_code": true, "execution_time_ms": "NaNs", "path": null}'
    )
    assert (found.kind, found.message, found.level) == ("json", '["a"]', "error")
    assert (found.status_code, found.execution_time_ms, found.path) == (None, None, "")


def test_an_exception_in_json_is_named() -> None:
    formatted = 'Traceback (most recent call last):\n  File "a.py", line 1, in f\n    g()\napp.PoolError: no'
    assert only(json.dumps({"event": "x", "exception": formatted})).exception == "app.PoolError"
    assert only(json.dumps({"event": "x", "exception": "ValueError: no"})).exception == "ValueError"
    assert only(json.dumps({"event": "x", "exception": [{"exc_type": "KeyError"}]})).exception == "KeyError"


@pytest.mark.parametrize(
    "text",
    [
        'INFO:     127.0.0.1:55324 - "GET /health?probe=1 HTTP/1.1" 503 Service Unavailable',
        'INFO:     127.0.0.1:... "GET /health" 503',
        '\x1b[32mINFO\x1b[0m:     10.0.0.1:1 - "\x1b[1mGET /health HTTP/1.1\x1b[0m" \x1b[31m503\x1b[0m',
    ],
)
def test_an_access_line_gives_method_path_and_status(text: str) -> None:
    found = only(text)
    assert (found.kind, found.level, found.method) == ("access", "info", "GET")
    assert (found.path, found.status_code) == ("/health", 503)


def test_a_traceback_is_one_record() -> None:
    found = records(
        "ERROR:    Exception in ASGI application",
        "Traceback (most recent call last):",
        '  File "a.py", line 1, in f',
        "    g()",
        "    ^^^",
        "KeyError: 'x'",
        "",
        "During handling of the above exception, another exception occurred:",
        "",
        "Traceback (most recent call last):",
        '  File "b.py", line 2, in g',
        "    h()",
        "sqlalchemy.exc.TimeoutError: QueuePool limit of size 10 overflow 20 reached, connection timed out",
        "[SQL: select 1]",
        "(Background on this error at: https://sqlalche.me/e/20/3o7r)",
        "",
        '{"event": "next"}',
    )
    assert [r.kind for r in found] == ["text", "traceback", "json"]
    assert found[0].level == "error"
    assert found[1].exception == "sqlalchemy.exc.TimeoutError"
    assert found[1].message.startswith("sqlalchemy.exc.TimeoutError: QueuePool limit")
    assert found[1].text.startswith("Traceback")
    assert found[1].text.endswith("3o7r)")
    assert found[1].at == AT + timedelta(seconds=1)


def test_two_tracebacks_are_two_records() -> None:
    one = ["Traceback (most recent call last):", '  File "a.py", line 1, in f', "    g()", "ValueError"]
    assert [r.exception for r in records(*one, *one)] == ["ValueError", "ValueError"]


def test_an_exception_group_is_one_record() -> None:
    found = only(
        "  + Exception Group Traceback (most recent call last):",
        '  |   File "a.py", line 1, in <module>',
        '  |     raise ExceptionGroup("many", [ValueError(1)])',
        "  | ExceptionGroup: many (1 sub-exception)",
        "  +-+---------------- 1 ----------------",
        "    | Traceback (most recent call last):",
        '    |   File "b.py", line 2, in g',
        "    |     pass",
        "    | ValueError: 1",
        "    +------------------------------------",
    )
    assert (found.kind, found.exception) == ("traceback", "ValueError")


def test_a_traceback_without_its_top_is_still_one_record() -> None:
    found = only('  File "a.py", line 1, in f', "    g()", "ValueError: no")
    assert (found.kind, found.exception) == ("traceback", "ValueError")


def test_an_access_line_does_not_tear_a_traceback_of_the_other_stream() -> None:
    trace = ["Traceback (most recent call last):", '  File "a.py", line 1, in f', "    g()", "ValueError: no"]
    lines = [Line(AT, "stderr", text) for text in trace]
    lines.insert(2, Line(AT, "stdout", 'INFO:     1.1.1.1:1 - "GET / HTTP/1.1" 200 OK'))
    assert [r.kind for r in parse(lines)] == ["traceback", "access"]


def test_coloured_text_for_people_gives_its_fields() -> None:
    found = only(
        "\x1b[2m2026-01-15 03:12:00\x1b[0m [\x1b[33m\x1b[1mwarning  \x1b[0m] \x1b[1mslow request\x1b[0m"
        "   \x1b[36mpath\x1b[0m=\x1b[35m'/api'\x1b[0m \x1b[36mrequest_id\x1b[0m=r-2 status_code=200"
    )
    assert (found.kind, found.level, found.message) == ("text", "warning", "slow request")
    assert (found.path, found.request_id, found.status_code) == ("/api", "r-2", 200)
    assert "\x1b" not in found.text


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("2026-01-15 03:12:00,123 ERROR app.db: lost", "error"),
        ('2026-01-15 03:12:00.1 UTC [42] FATAL:  role "x" does not exist', "critical"),
        ("WARN something", "warning"),
        ("the ERRORS are mine", ""),
        ("plain", ""),
    ],
)
def test_the_level_of_text_is_found(text: str, level: str) -> None:
    assert only(text).level == level


def test_empty_lines_are_no_records() -> None:
    assert records("", "  ", "\x1b[0m") == []


def test_escape_sequences_are_taken_out() -> None:
    assert plain("a\x1b[31mb\x1b]0;title\x07c\x1b]8;;http://x\x1b\\d") == "abcd"


def test_anything_at_all_is_parsed_quickly() -> None:
    noise = random.Random(7)
    alphabet = "aA{}[]\"':=\x1b[m \\|+.,\t0/(é\U0001f600"
    texts = ["".join(noise.choices(alphabet, k=noise.randint(0, 300))) for _ in range(3000)]
    texts += [
        "a" * 16_000,
        "a." * 8_000,
        "\x1b[" * 8_000,
        "x y [" * 3_000,
        "INFO: " * 3_000,
        " " * 16_000,
        '"' * 16_000,
    ]
    begun = time.process_time()
    found = records(*texts)
    assert time.process_time() - begun < 3
    assert all(r.text for r in found)


FORMATTED = (
    'Traceback (most recent call last):\n  File "a.py", line 1, in f\n    g()\napp.PoolError: none left'
)


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"event": "request_error", "path": "/api?t=x", "error": "refused"}, "request_error /api: refused"),
        ({"event": "failed", "exception": FORMATTED}, "failed: app.PoolError: none left"),
        ({"event": "x", "error": "none left", "exception": FORMATTED}, "x: app.PoolError: none left"),
        ({"event": "failed", "error": "other", "exception": FORMATTED}, "failed: other"),
        ({"event": "failed", "exception": [{"exc_type": "E", "exc_value": "no"}]}, "failed: E: no"),
        ({"event": "request_failed", "path": "/x", "status_code": 503}, "request_failed /x: 503"),
        ({"event": "db_lost", "message": "server closed\nit"}, "db_lost: server closed it"),
        ({"message": "refused by db", "error": "refused"}, "refused by db"),
        ({"a": 1}, '{"a": 1}'),
    ],
)  # fmt: skip
def test_a_json_line_has_a_short_form_for_people(values: dict[str, object], line: str) -> None:
    assert only(json.dumps(values)).line == line


def test_the_short_form_of_a_traceback_is_its_last_line_and_of_text_itself() -> None:
    assert only(*FORMATTED.split("\n"), "(Background on this error at: x)").line == "app.PoolError: none left"
    assert only("\x1b[31mERROR\x1b[0m  no").line == "ERROR no"


def test_a_short_form_is_short() -> None:
    assert shortened("x" * 300) == "x" * 300
    assert shortened("x" * 5000) == "x" * 299 + "…"
    assert len(only(json.dumps({"event": "e" * 200, "error": "x " * 9000})).line) == 300


@pytest.mark.parametrize(
    "text",
    [
        'INFO:     127.0.0.1:55324 - "GET /api HTTP/1.1" 404 Not Found',
        '10.0.0.1 - - [15/Jan/2026:03:12:00 +0000] "GET /api HTTP/1.1" 200 12 "-" "curl"',
        '{"event": "request_completed", "level": "INFO", "status_code": 200}',
        '{"event": "x", "level": "debug"}',
        "INFO:     Application startup complete.",
        "2026-01-15 03:12:00,123 DEBUG app: x",
        "\x1b[2m2026-01-15 03:12:00\x1b[0m [\x1b[32minfo     \x1b[0m] started",
    ],
)
def test_what_tells_of_nothing_wrong_is_quiet(text: str) -> None:
    assert is_quiet(plain(text))


@pytest.mark.parametrize(
    "text",
    [
        'INFO:     127.0.0.1:55324 - "GET /api HTTP/1.1" 500 Internal Server Error',
        '10.0.0.1 - - [15/Jan/2026:03:12:00 +0000] "GET /api HTTP/1.1" 502 12 "-" "curl"',
        '{"event": "request_completed", "level": "info", "status_code": 503}',
        '{"event": "x", "level": "info", "exception": "ValueError: no"}',
        '{"event": "x", "level": "warning"}',
        '{"event": "x"}',
        '{"event": "x", "level": "info"',
        "WARNING:  slow",
        "Killed",
        "",
    ],
)
def test_what_may_tell_of_something_wrong_is_not_quiet(text: str) -> None:
    assert not is_quiet(text)
