"""Exceptions and levels in the forms of the well-used loggers and runtimes, and in unknown forms."""

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from runbooklib.sources.docker.log_stream import Excerpt, lines_of
from runbooklib.sources.logs.records import Line, Record, is_quiet, parse

AT = datetime(2026, 1, 15, 3, 12, tzinfo=UTC)
JAVA = (
    "com.shop.StockError: none left\n\tat com.shop.Pay.take(Pay.java:5)\n"
    "\tat com.shop.Main.main(Main.java:9)\n"
    "\tSuppressed: java.io.IOException: closed\n\t\tat com.shop.Pay.close(Pay.java:7)\n"
    "Caused by: java.sql.SQLException: refused\n\t... 2 more"
)


def records(text: str) -> list[Record]:
    """The records of the text, after it was filtered as a container's log is."""
    excerpt = Excerpt(AT, AT + timedelta(hours=1))
    for number, line in enumerate(text.split("\n")):
        at = (AT + timedelta(milliseconds=number)).isoformat(timespec="microseconds").replace("+00:00", "Z")
        excerpt.add("stderr", f"{at} {line}\n".encode())
    excerpt.finish()
    return parse(lines_of(excerpt.lines))


def js(**values: object) -> str:
    return json.dumps(values)


# Samples by logger or runtime: `named` have the exception's type beside them.
SAMPLES = json.loads((Path(__file__).parents[1] / "data" / "log-shapes.json").read_text(encoding="utf-8"))
NAMED, UNNAMED = SAMPLES["named"], SAMPLES["unnamed"]


@pytest.mark.parametrize("name", NAMED)
def test_an_exception_is_named_whatever_the_logger(name: str) -> None:
    text, exception = NAMED[name]
    found = records(text)
    assert exception in [record.exception for record in found], found
    assert len([record for record in found if record.kind == "traceback"]) <= 1


@pytest.mark.parametrize("name", UNNAMED)
def test_an_error_in_no_known_form_is_not_taken_for_nothing(name: str) -> None:
    found = records(UNNAMED[name])
    assert any(record.is_unnamed_error or record.exception for record in found), found


ROUTINE = [
    "2026-01-15 03:12:00,1 WARNING slow request",
    "WARN  no orders in 5 minutes",
    '{"level":"warning","msg":"slow"}',
    '{"level":40,"pid":1,"hostname":"h","msg":"slow"}',
    '{"level":"warning","msg":"slow","error":null,"exception":null,"stack":""}',
    '{"level":"warning","msg":"slow","exc_info":false,"error":{}}',
    "0 errors, 3 orders",
    "Listening on :8000",
    '10.0.0.1 - - [15/Jan/2026:03:12:00 +0000] "GET /errors/StockError HTTP/1.1" 404 12 "-" "curl"',
    "{service} started",
    "LOG:  checkpoint starting: time",
]


@pytest.mark.parametrize("text", ROUTINE)
def test_what_reports_no_error_counts_as_none(text: str) -> None:
    assert [(r.exception, r.is_unnamed_error) for r in records(text)] in ([], [("", False)])


QUIET = [
    js(levelname="INFO", message="served"), '{"log.level":"info","message":"served"}',
    js(severity_text="INFO", body="served"), js(level=30, msg="served"),
    js(level=30, time=1, pid=1, message="served"),
    'ts=x level=info msg="served"', "I0115 03:12:00.1 1 a.go:1] served",
    '{"status":"200","request":"GET / HTTP/1.1"}', js(status=404, method="GET", path="/x"),
    js(log={"level": "info"}, message="served"), js(severity="INFO", message="served"),
    js(severity=200, message="served"), js(severityNumber=9, body="served"),
    js(version="1.1", short_message="served", level=6), js(level=200, level_name="INFO", message="served"),
    js(levelno=20, message="served"), js(level_value=20000, message="served"),
    js(text="served\n", record={"level": {"name": "INFO", "no": 20}, "message": "served", "exception": None}),
    js(lvl="info", msg="served"), js(L="INFO", M="served"), js(LogLevel="Information", Message="served"),
    js(Level="Information", RenderedMessage="served"), '{"@t":"2026","@mt":"served"}',
    '{"@t":"2026","@mt":"served","@l":"Debug"}',
    '{"t":{"$date":"x"},"s":"I","c":"NETWORK","msg":"served"}',
    js(PRIORITY="6", MESSAGE="served"), js(status="info", message="served"),
    js(level="http", message="served"),
    js(level="verbose", message="served"), js(level="INFO+1", msg="served"),
    js(level="trace", fields={"message": "x"}),
    js(log="INFO: served\n", stream="stdout"), js(DownstreamStatus=200, RequestMethod="GET", RequestPath="/"),
    'time="2026-01-15T03:12:00Z" level=debug msg="served"', "lvl=info msg=served", "severity=INFO msg=served",
    "3:12AM INF served", "[03:12:00 INF] served", "info: served", "dbug: Shop.Pay[0]",
    "I, [2026-01-15T03:12:00.1 #1]  INFO -- : served", "[I 2026-01-15 03:12:00.000 ServerApp] served",
    "<14>Jan 15 03:12:00 shop: served", "2026-01-15 03:12:00.001 | INFO     | shop:pay:5 - served",
    "2026-01-15 03:12:00.001 | SUCCESS  | shop:pay:5 - served", "2026-01-15T03:12:00.000Z\tinfo\tserved",
    "[2026-01-15 03:12:00 +0000] [1] [INFO] served", "[2026-01-15T03:12:00Z INFO  shop] served",
    "03:12:00.1 [main] INFO  c.shop.Pay - served", "[2026-01-15 03:12:00,1: INFO/MainProcess] served",
    "{'event': 'served', 'level': 'info'}", 'backend | {"level":"info","msg":"served"}',
    '[GIN] 2026/01/15 - 03:12:00 | 200 |  1.2ms |  10.0.0.1 | GET      "/x"', "GET /x 200 1.234 ms - 12",
    'shop.example:443 10.0.0.1 - - [15/Jan/2026:03:12:00 +0000] "GET /x HTTP/1.1" 200 12',
    '[2026-01-15T03:12:00.000Z] "GET /x HTTP/1.1" 200 - 0 12',
    "FINE: served", "[03:12:00] INFO     served    shop.py:5",
]  # fmt: skip


@pytest.mark.parametrize("text", QUIET)
def test_a_routine_line_is_quiet_whatever_the_logger(text: str) -> None:
    assert is_quiet(text)


@pytest.mark.parametrize(
    "text",
    [
        js(status="502", request="GET / HTTP/1.1"),
        js(level="info", log={"level": "error"}, message="x"),
        "ERROR: upstream [x] \"GET / HTTP/1.1\" 200",
        "http: panic serving 10.0.0.1:5: none left",
        "Failed to get INFO: Traceback (most recent call last)",
        "GET /x 500 1.234 ms - 12",
        '[GIN] 2026/01/15 - 03:12:00 | 500 |  1.2ms |  10.0.0.1 | GET      "/x"',
        js(severity="DEFAULT", message="x"),
        js(level="info", msg="x", stack="StockError: none\n    at pay (/a.js:5:9)"),
    ],
)  # fmt: skip
def test_an_error_behind_a_routine_field_is_not_quiet(text: str) -> None:
    assert not is_quiet(text)


def test_lines_of_stack_traces_do_not_end_another_stream_s() -> None:
    lines = [Line(AT, "stderr", text) for text in JAVA.split("\n")]
    lines.insert(2, Line(AT, "stdout", "INFO: served"))
    assert [record.kind for record in parse(lines)] == ["traceback", "text"]


def test_hostile_lines_take_no_longer_than_their_length() -> None:
    hostile = [
        "a." * 30_000,
        "$" * 60_000,
        "A" * 60_000,
        "\tat " + "x" * 60_000,
        "Error" * 12_000,
        "[" * 60_000,
    ]
    hostile += [
        "Uncaught " * 7_000,
        "level" * 12_000,
        "level=" * 10_000,
        '{"a":' * 9_000,
        "│" * 60_000,
        "thread '" * 8_000,
    ]
    hostile += [
        "Caused by: " * 6_000,
        "unhandled " * 6_000,
        "a:" * 30_000,
        "(a" * 30_000,
        "panic" * 12_000,
        "\\" * 60_000,
    ]
    begun = time.process_time()
    for text in hostile:
        records(text)
        is_quiet(text)
    assert time.process_time() - begun < 6
