"""Exceptions and levels in the forms of the well-used loggers and runtimes, and in unknown forms."""

import json
import time
from datetime import UTC, datetime, timedelta

import pytest

from runbooklib.sources.docker.log_stream import Excerpt, lines_of
from runbooklib.sources.logs.records import Line, Record, is_quiet, parse

AT = datetime(2026, 1, 15, 3, 12, tzinfo=UTC)
PYTHON = (
    'Traceback (most recent call last):\n  File "shop.py", line 5, in pay\n    take()\nStockError: none left'
)
JAVA = (
    "com.shop.StockError: none left\n\tat com.shop.Pay.take(Pay.java:5)\n\tat com.shop.Main.main(Main.java:9)\n"
    "\tSuppressed: java.io.IOException: closed\n\t\tat com.shop.Pay.close(Pay.java:7)\n"
    "Caused by: java.sql.SQLException: refused\n\t... 2 more"
)
NODE = "StockError: none left\n    at pay (/app/shop.js:5:9)\n    at async main (/app/main.js:2:3)"


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


NAMED = {
    # JSON
    "structlog with dicts": (
        js(event="order", level="error", exception=[{"exc_type": "StockError", "exc_value": "none left", "frames": []}]),
        "StockError",
    ),
    "structlog with a text": (js(event="order", level="error", exception=PYTHON), "StockError"),
    "python-json-logger": (js(levelname="ERROR", message="order", exc_info=PYTHON), "StockError"),
    "ECS nested": (js(log={"level": "error"}, error={"type": "StockError", "message": "none left"}), "StockError"),
    "ECS flat": ('{"log.level":"ERROR","error.type":"com.shop.StockError","error.message":"x"}', "com.shop.StockError"),
    "GCP message": (js(severity="ERROR", message=PYTHON), "StockError"),
    "GCP stack_trace": (js(severity="CRITICAL", stack_trace=NODE), "StockError"),
    "GCP payload": (js(severity="ERROR", jsonPayload={"message": PYTHON}), "StockError"),
    "GELF": (js(version="1.1", level=3, short_message="order", full_message=PYTHON), "StockError"),
    "OTel flat": (
        js(severityNumber=17, body="order", attributes={"exception.type": "StockError", "exception.message": "none"}),
        "StockError",
    ),
    "OTel pairs": (
        js(
            severityText="ERROR",
            attributes=[{"key": "exception.type", "value": {"stringValue": "shop.StockError"}}],
        ),
        "shop.StockError",
    ),
    "loguru": (
        js(text="order\n" + PYTHON, record={"level": {"name": "ERROR", "no": 40}, "exception": {"type": "StockError", "value": "none"}}),
        "StockError",
    ),
    "pino": (js(level=50, pid=1, msg="order", err={"type": "StockError", "message": "none", "stack": NODE}), "StockError"),
    "bunyan": (js(level=50, msg="order", v=0, err={"name": "StockError", "message": "none", "stack": NODE}), "StockError"),
    "winston": (js(level="error", message="none left", stack=NODE), "StockError"),
    "logback": (js(level="ERROR", level_value=40000, message="order", stack_trace=JAVA), "com.shop.StockError"),
    "logback's own": (
        js(level="ERROR", message="order", throwable={"className": "com.shop.StockError", "message": "none"}),
        "com.shop.StockError",
    ),
    "log4j2": (js(level="ERROR", thrown={"name": "com.shop.StockError", "message": "none"}), "com.shop.StockError"),
    "quarkus": (js(level="ERROR", exception={"exceptionType": "com.shop.StockError", "message": "no"}), "com.shop.StockError"),
    "Serilog": (
        '{"@t":"2026","@m":"order","@l":"Error","@x":"Shop.StockException: none left\\n   at Shop.Pay() in /src/Pay.cs:line 5"}',
        "Shop.StockException",
    ),
    ".NET JSON": (
        js(LogLevel="Error", Message="order", Exception="Shop.StockException: none left   at Shop.Pay()"),
        "Shop.StockException",
    ),
    "Monolog": (
        js(message="order", level=400, level_name="ERROR", context={"exception": {"class": "Shop\\StockError", "message": "x"}}),
        "Shop\\StockError",
    ),
    "Lambda": (js(errorType="StockError", errorMessage="none left", stackTrace=["a", "b"]), "StockError"),
    "Sentry": (js(level="error", exception={"values": [{"type": "StockError", "value": "none"}]}), "StockError"),
    "level info with an exception": (js(level="info", msg="retry", err={"type": "StockError", "message": "none"}), "StockError"),
    "wrapped text": (js(log=PYTHON + "\n", stream="stderr"), "StockError"),
    "bytes that are no text": ('{"level":"error","msg":"\\\\xff","exception":"StockError: none left"}', "StockError"),
    # Text
    "Python": (PYTHON, "StockError"),
    "local class": (PYTHON.replace("StockError", "shop.pay.<locals>.StockError"), "shop.pay.<locals>.StockError"),
    "loguru": (
        "2026-01-15 03:12:00.001 | ERROR    | shop:pay:5 - order\nTraceback (most recent call last):\n\n"
        '  File "/app/main.py", line 9, in main\n    pay(order)\n    |   7\n> File "/app/shop.py", line 5, in pay\n'
        "    charge()\n\nshop.StockError: none left",
        "shop.StockError",
    ),
    "rich": (
        "╭──── Traceback (most recent call last) ────╮\n│ /app/shop.py:5 in pay │\n│ ╭─ locals ─╮ │\n│ ╰──────────╯ │\n"
        "╰───────────────────────────────────────────╯\nStockError: none left",
        "StockError",
    ),
    "rich with a handler": (
        "[03:12:00] ERROR    order not placed    shop.py:5\n           ╭── Traceback (most recent call last) ──╮\n"
        "           │ /app/shop.py:5 in pay │\n           ╰───────────────────────╯\n           StockError: none left",
        "StockError",
    ),
    "rich in ASCII": (
        "+---- Traceback (most recent call last) ----+\n| /app/shop.py:5 in pay |\n+-----------+\nStockError: none left",
        "StockError",
    ),
    "rich chain": (
        "╭── Traceback (most recent call last) ──╮\n│ a.py:5 in pay │\n╰──╯\nKeyError: 7\n\n"
        "The above exception was the direct cause of the following exception:\n\n"
        "╭── Traceback (most recent call last) ──╮\n│ b.py:5 in pay │\n╰──╯\nStockError: none left",
        "StockError",
    ),
    "IPython": ("StockError                      Traceback (most recent call last)\nCell In[1], line 1", "StockError"),
    "faulthandler": ('Fatal Python error: Aborted\n\nCurrent thread 0x1 (most recent call first):\n  File "a.py", line 5 in f', "Fatal Python error"),
    "Java": (JAVA, "com.shop.StockError"),
    "Java in a log": (f"03:12:00.1 [main] ERROR c.shop.Pay - order\n{JAVA}", "com.shop.StockError"),
    "Java thread": ('Exception in thread "main" ' + JAVA, "com.shop.StockError"),
    "Java on one line with its log": (
        "03:12:00.1 [main] ERROR c.shop.Pay - failed com.shop.StockError: none\n\tat com.shop.Pay.take(Pay.java:5)",
        "com.shop.StockError",
    ),
    "Java after an info line": (
        "03:12:00.1 [main] INFO c.shop.Pay - java.io.IOException: closed\n\tat com.shop.Pay.take(Pay.java:5)",
        "java.io.IOException",
    ),
    "Go": ("panic: none left\n\ngoroutine 1 [running]:\nmain.take(...)\n\t/src/main.go:12 +0x1d\nexit status 2", "panic"),
    "Go with a signal": (
        "panic: runtime error: invalid memory address or nil pointer dereference\n[signal SIGSEGV: segmentation violation code=0x1]\n\n"
        "goroutine 1 [running]:\nmain.(*Shop).take(0x0)\n\t/src/main.go:12",
        "panic",
    ),
    "Go HTTP": (
        "2026/01/15 03:12:00 http: panic serving 10.0.0.1:5: none left\ngoroutine 7 [running]:\nnet/http.(*conn).serve.func1()\n\t/x.go:1",
        "panic",
    ),
    "Go deadlock": ("fatal error: all goroutines are asleep - deadlock!\n\ngoroutine 1 [chan receive]:", "fatal error"),
    "Node": ("/app/shop.js:5\n    throw new StockError('none')\n    ^\n\n" + NODE, "StockError"),
    "Node with a code": ("TypeError [ERR_STOCK]: none left\n    at pay (/app/shop.js:5:9)", "TypeError"),
    "Node plain": ("Error: none left\n    at /app/shop.js:5:9", "Error"),
    "Node rejection": ("(node:1) UnhandledPromiseRejectionWarning: StockError: none\n    at pay (/app/a.js:5:9)", "StockError"),
    "Rust": ("thread 'main' panicked at src/main.rs:5:9:\nnone left\nnote: run with `RUST_BACKTRACE=1`", "panic"),
    "Rust, older": ("thread 'tokio-runtime-worker' panicked at 'none left', src/main.rs:5:9", "panic"),
    "Rust, newer": ("thread 'main' (4711) panicked at src/main.rs:5:9:\nnone left", "panic"),
    "PHP": (
        "PHP Fatal error:  Uncaught Shop\\StockError: none left in /app/shop.php:5\nStack trace:\n#0 /app/main.php(9): pay()\n"
        "#1 {main}\n  thrown in /app/shop.php on line 5",
        "Shop\\StockError",
    ),
    "PHP by FPM": (
        '[15-Jan-2026 03:12:00] NOTICE: PHP message: PHP Fatal error:  Uncaught StockError: none left in /a.php:5',
        "StockError",
    ),
    "Laravel": (
        '[2026-01-15 03:12:00] production.ERROR: none left {"exception":"[object] (Shop\\\\StockError(code: 0): none left at /a.php:5)\n'
        "[stacktrace]\n#0 /app/main.php(9): pay()\n#1 {main}\n\"}",
        "Shop\\\\StockError",
    ),
    ".NET": (
        "Unhandled exception. Shop.StockException: none left\n ---> System.TimeoutException: late\n   at Shop.Db.Ask()\n"
        "   --- End of inner exception stack trace ---\n   at Shop.Pay() in /src/Pay.cs:line 5",
        "Shop.StockException",
    ),
    ".NET console": (
        "fail: Shop.Pay[0]\n      order\n      Shop.StockException: none left\n         at Shop.Pay() in /src/Pay.cs:line 5",
        "Shop.StockException",
    ),
    "Ruby": ("shop.rb:5:in 'pay': none left (StockError)\n\tfrom main.rb:9:in '<main>'", "StockError"),
    "Rails": ("StockError (none left):\n  app/models/shop.rb:5:in 'pay'", "StockError"),
    "Elixir": ("** (StockError) none left\n    (shop 0.1.0) lib/shop.ex:5: Shop.pay/1", "StockError"),
    "C++": ("terminate called after throwing an instance of 'std::runtime_error'\n  what():  none left", "std::runtime_error"),
    "a crash": ("Segmentation fault (core dumped)", "Segmentation fault"),
    "an exception's line alone": ("StockError: none left", "StockError"),
    "an error line with a type": ("ERROR:    StockError: none left", "StockError"),
}  # fmt: skip


@pytest.mark.parametrize("name", NAMED)
def test_an_exception_is_named_whatever_the_logger(name: str) -> None:
    text, exception = NAMED[name]
    found = records(text)
    assert exception in [record.exception for record in found], found
    assert len([record for record in found if record.kind == "traceback"]) <= 1


UNNAMED = {
    "zap": js(level="error", ts=1.5, msg="order", error="none left", stacktrace="main.pay\n\t/src/main.go:5"),
    "zerolog": js(level="error", error="none left", message="order"),
    "zerolog on a console": "3:12AM ERR order error=\"none left\"",
    "logrus": 'time="2026-01-15T03:12:00Z" level=error msg="order" error="none left"',
    "logrus, fatal": 'time="2026-01-15T03:12:00Z" level=fatal msg="order"',
    "slog": js(level="ERROR+2", msg="order"),
    "slog as text": 'time=2026-01-15T03:12:00Z level=ERROR msg="order"',
    "klog": "E0115 03:12:00.000000       1 shop.go:5] none left",
    "log15": "lvl=eror msg=order",
    "syslog": "<11>Jan 15 03:12:00 shop: none left",
    "journald": js(PRIORITY="3", MESSAGE="none left"),
    "MongoDB": '{"t":{"$date":"x"},"s":"E","c":"NETWORK","msg":"none left"}',
    "nginx": "2026/01/15 03:12:00 [crit] 12#0: *1 none left",
    "winston as text": "error: none left",
    "Rust's env_logger": "[2026-01-15T03:12:00Z ERROR shop] none left",
    "tracing": js(level="ERROR", fields={"message": "none left"}, target="shop"),
    "java.util.logging": "SEVERE: none left",
    "Ruby": "E, [2026-01-15T03:12:00.1 #1] ERROR -- : none left",
    "Celery": "[2026-01-15 03:12:00,1: ERROR/MainProcess] none left",
    "PostgreSQL in German": "2026-01-15 03:12:00 UTC [42] FEHLER:  nichts da",
    "Datadog": js(status="error", message="none left"),
    "two levels that differ": js(level="info", severity="ERROR", message="x"),
    "level error in a wrapped line": js(log="ERROR none left\n", stream="stdout"),
    "Python's dict": "{'event': 'order', 'level': 'error'}",
    "after a prefix": 'backend | {"level":"error","msg":"none left"}',
    "JSON whose end is missing": '{"level":"info","msg":"order","exception":"Trace',
    "JSON in several lines": '{\n  "level": "error",\n  "msg": "none left"\n}',
    "a traceback with a prefix on each line": "web | Traceback (most recent call last):\nweb |   File \"a.py\", line 5, in f",
    "a traceback without its end": 'Traceback (most recent call last):\n  File "shop.py", line 5, in pay',
    "a warning with a type": "WARNING retrying after ConnectionError: refused",
    "trace in a line of level info": js(level="info", note="Traceback (most recent call last):\n File x"),
    "numbers of .NET": js(LogLevel=4, Message="none left"),
    "a number that is Python's or pino's": js(level=40, message="none left"),
    "Erlang": "=ERROR REPORT==== 15-Jan-2026::03:12:00 ===",
    "Haskell": "shop: none left\nCallStack (from HasCallStack):\n  error, called at Main.hs:5:9",
    "assertion": "shop: shop.c:5: take: Assertion `left > 0' failed.",
    "word": "an exception occurred while paying",
}  # fmt: skip


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
    js(severity_text="INFO", body="served"), js(level=30, msg="served"), js(level=30, time=1, pid=1, message="served"),
    'ts=x level=info msg="served"', "I0115 03:12:00.1 1 a.go:1] served",
    '{"status":"200","request":"GET / HTTP/1.1"}', js(status=404, method="GET", path="/x"),
    js(log={"level": "info"}, message="served"), js(severity="INFO", message="served"),
    js(severity=200, message="served"), js(severityNumber=9, body="served"),
    js(version="1.1", short_message="served", level=6), js(level=200, level_name="INFO", message="served"),
    js(levelno=20, message="served"), js(level_value=20000, message="served"),
    js(text="served\n", record={"level": {"name": "INFO", "no": 20}, "message": "served", "exception": None}),
    js(lvl="info", msg="served"), js(L="INFO", M="served"), js(LogLevel="Information", Message="served"),
    js(Level="Information", RenderedMessage="served"), '{"@t":"2026","@mt":"served"}',
    '{"@t":"2026","@mt":"served","@l":"Debug"}', '{"t":{"$date":"x"},"s":"I","c":"NETWORK","msg":"served"}',
    js(PRIORITY="6", MESSAGE="served"), js(status="info", message="served"), js(level="http", message="served"),
    js(level="verbose", message="served"), js(level="INFO+1", msg="served"), js(level="trace", fields={"message": "x"}),
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
