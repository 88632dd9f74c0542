"""What the checks say of a log of which not all was read or understood, on a real engine."""

import json

import pytest

from runbooklib.checks.logs import log_lines, new_exceptions
from runbooklib.errors import Reason
from runbooklib.model.findings import Finding, Status
from runbooklib.render.sentences import say
from runbooklib.sources.context import Context
from tests.support.dockerd import Engine, asking, make_context

ERROR = "echo 'ERROR:    pool empty'"
TRACE = (
    r"""printf 'Traceback (most recent call last):\n  File "a.py", line 1, in f\n"""
    r"""shop.PoolError: none left\n'"""
)
WARNINGS = "seq -f 'WARNING slow request %.0f' 1 2000"


def asked(where: Context, matching: str = "pool empty") -> list[Finding]:
    return [log_lines(where, matching=matching, about="the pool"), new_exceptions(where)]


def says(finding: Finding) -> str:
    return say(finding.template, finding.facts)


def printed(text: str) -> str:
    return f"cat <<'END'\n{text}\nEND"


@pytest.mark.parametrize(
    "log",
    [
        {"Type": "json-file", "Config": {"max-size": "20k"}},
        {"Type": "json-file", "Config": {"max-size": "10k", "max-file": "3"}},
        {"Type": "json-file", "Config": {"max-size": "10k", "max-file": "2", "compress": "true"}},
        {"Type": "local", "Config": {"max-size": "10k", "max-file": "2"}},
        {"Type": "local", "Config": {"max-size": "20k", "max-file": "1", "compress": "false"}},
    ],
    ids=lambda log: f"{log['Type']} {len(log['Config'])} {log['Config']['max-size']}",
)
def test_a_log_whose_first_lines_are_rotated_away_is_unknown(
    url: str, engine: Engine, log: dict[str, object]
) -> None:
    name = engine.run(f"{ERROR}; {TRACE}; sleep 0.1; {WARNINGS}", wait=True, log_config=log)
    for finding in asked(make_context(url, name)):
        assert (finding.status, finding.reason) == (Status.UNKNOWN, Reason.NO_DATA), finding
        assert "its earlier lines may be deleted" in says(finding)


@pytest.mark.parametrize(
    "log",
    [
        {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}},
        {"Type": "json-file", "Config": {}},
        {"Type": "local", "Config": {}},
    ],
    ids=["json-file with a limit", "json-file", "local"],
)
def test_a_log_too_small_to_be_rotated_is_whole(url: str, engine: Engine, log: dict[str, object]) -> None:
    name = engine.run(f"sleep 0.1; {WARNINGS}", wait=True, log_config=log)
    assert [finding.status for finding in asked(make_context(url, name))] == [Status.OK, Status.OK]


def test_what_a_rotated_log_still_has_is_a_finding_without_a_beginning(url: str, engine: Engine) -> None:
    log = {"Type": "json-file", "Config": {"max-size": "20k"}}
    name = engine.run(f"{WARNINGS}; {ERROR}; {TRACE}", wait=True, log_config=log)
    for finding in asked(make_context(url, name)):
        assert (finding.status, finding.since) == (Status.WARNING, None)
        assert "at least 1" in says(finding)


def test_a_log_whose_driver_keeps_nothing_is_unknown(url: str, engine: Engine) -> None:
    name = engine.run(ERROR, wait=True, log_config={"Type": "none", "Config": {}})
    for finding in asking(url, name).ask((log_lines, {"matching": "x", "about": "x"}), new_exceptions):
        assert (finding.status, finding.reason) == (Status.UNKNOWN, Reason.REFUSED)
        assert "cannot be read" in says(finding)


@pytest.mark.parametrize("driver", ["json-file", "local"])
@pytest.mark.parametrize("tty", [False, True], ids=["pipe", "terminal"])
def test_a_line_of_40_kb_is_one_line_and_its_exception_is_found(
    url: str, engine: Engine, driver: str, *, tty: bool
) -> None:
    values = {"level": "error", "prompt": "é" * 20_000, "exception": "Traceback\nshop.PoolError: none left"}
    script = f"{printed(json.dumps(values, ensure_ascii=False))}\necho WARNING after"
    name = engine.run(script, wait=True, log_config={"Type": driver, "Config": {}}, tty=tty)
    where = make_context(url, name)
    finding = new_exceptions(where)
    assert (finding.status, finding.facts.get("exception")) == (Status.WARNING, "shop.PoolError"), finding
    frame = where.sources.docker.logs(name, where.suspect_since, where.window.end).frame
    assert frame["kind"].tolist() == ["json", "text"]


def test_long_lines_of_level_info_are_counted_and_hide_nothing(url: str, engine: Engine) -> None:
    line = json.dumps({"level": "info", "message": "x" * 40_000})
    name = engine.run(f"seq 1 100 | while read -r n; do echo '{line}'; done", wait=True)
    assert [finding.status for finding in asked(make_context(url, name))] == [Status.OK, Status.OK]


def test_a_line_whose_middle_is_left_out_makes_nothing_found_unknown(url: str, engine: Engine) -> None:
    name = engine.run(f"echo 'WARNING {'x' * 50_000} pool empty {'y' * 50_000}'", wait=True)
    finding = asked(make_context(url, name))[0]
    assert (finding.status, finding.reason) == (Status.UNKNOWN, Reason.NO_DATA)
    assert "is too long, and its middle is left out" in says(finding)


def test_a_line_that_mentions_a_private_key_hides_nothing_after_it(url: str, engine: Engine) -> None:
    mention = """echo 'ERROR:    the file holds no "-----BEGIN PRIVATE KEY-----" line'"""
    name = engine.run(f"{mention}; {ERROR}; {TRACE}", wait=True)
    lines, exceptions = asked(make_context(url, name))
    assert (lines.status, lines.measured) == (Status.WARNING, 1.0)
    assert (exceptions.status, exceptions.facts["exception"]) == (Status.WARNING, "shop.PoolError")


def test_a_private_key_in_a_log_is_hidden_and_what_follows_is_read(url: str, engine: Engine) -> None:
    body = ["MIIEvQ" + "aB3/" * 14 + "xy", "Zq9+" * 16, "Qk1w" * 5 + "Zz8="]
    key = "\n".join(["-----BEGIN RSA PRIVATE KEY-----", *body, "-----END RSA PRIVATE KEY-----"])
    for text in (key, key.rpartition("\n")[0]):
        name = engine.run(f"{printed(text)}\n{ERROR}; {TRACE}", wait=True)
        where = make_context(url, name)
        lines, exceptions = asked(where)
        assert (lines.status, exceptions.facts["exception"]) == (Status.WARNING, "shop.PoolError")
        kept = str(where.sources.docker.logs(name, where.suspect_since, where.window.end).frame.to_dict())
        assert not any(part[:12] in kept for part in body)


def test_a_quote_that_is_left_open_hides_nothing_after_it(url: str, engine: Engine) -> None:
    name = engine.run(f"""echo "ERROR: password='open"; {ERROR}; {TRACE}; echo "it's over" """, wait=True)
    lines, exceptions = asked(make_context(url, name))
    assert (lines.measured, exceptions.facts["exception"]) == (1.0, "shop.PoolError")


def test_errors_without_a_known_exception_are_unknown_and_quoted(url: str, engine: Engine) -> None:
    name = engine.run("echo 'level=error msg=\"none left\"'; echo WARNING slow", wait=True)
    finding = new_exceptions(make_context(url, name))
    assert (finding.status, finding.facts["count"]) == (Status.UNKNOWN, 1)
    assert "level=error" in says(finding)
