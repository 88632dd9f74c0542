"""A Prometheus that is slow, hangs before it is even found, remarks something, or computes for minutes."""

import gzip
import json
import os
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from runbooklib.checks.resources import resident_memory
from runbooklib.checks.scrape import scraped
from runbooklib.errors import DeadlineError, ParameterError, Reason, RefusedError
from runbooklib.model.findings import Finding, Status
from runbooklib.notebook.incident import Incident
from runbooklib.notebook.listener import IncidentListener
from runbooklib.promql.build import selector
from runbooklib.promql.reading import selectors
from runbooklib.render.sentences import sentence
from runbooklib.sources.context import Context
from runbooklib.sources.prometheus.client import Prometheus
from runbooklib.sources.tape import DEADLINE_SECONDS, Tape
from tests.support import sound_site
from tests.support.known_series import serving
from tests.support.lies import changed
from tests.support.servers import page, program
from tests.support.stand_in import Asked, Behaviour, answer, by_request, huge, slow, standin
from tests.support.survey import Survey
from tests.support.timing import BUSY_SECONDS, seconds_taken

ROOT = Path(__file__).parents[2]
MIB = 1 << 20
INJECTIONS = ('"} or vector(1) or up{job="', '"}', "\\", "a\\nb", 'a"b', "a\nb", "`", "'", "{}", "é\u202e")
REGEXES = (".*", "a|b", ".+", "(a+)+$", "^", "[a-z", "\\", "(?i)A", "a{1,1000}")
SERIES = """# TYPE process_resident_memory_bytes gauge
process_resident_memory_bytes{{service="sound",instance="i"}} 1000000 {at}
process_resident_memory_bytes{{service="nan",instance="i"}} NaN {at}
process_resident_memory_bytes{{service="inf",instance="i"}} +Inf {at}
# TYPE strange gauge
{strange}# EOF
"""


def escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Prometheus with a series for each strange label value, and values that are no numbers."""
    at = datetime.now(UTC).timestamp() // 15 * 15
    values = [*dict.fromkeys([*INJECTIONS, *REGEXES, "plain", "b"])]
    strange = "".join(f'strange{{text="{escaped(text)}"}} {n} {at}\n' for n, text in enumerate(values))
    with serving(tmp_path_factory.mktemp("prometheus"), [SERIES.format(at=at, strange=strange)]) as url:
        yield url


def found_at(url: str, deadline_seconds: float = 5.0, service: str = "") -> Finding:
    """What the first question of an incident finds at this Prometheus."""
    tape = Tape()
    labels = {"labels": {"service": service}} if service else {}
    context = sound_site.make_context(
        {"prometheus": {"url": url}}, labels, tape, deadline_seconds=deadline_seconds
    )
    incident = Incident(context, tape, IncidentListener())
    if service:
        return incident.check(resident_memory, above=100 * MIB)
    return incident.check(scraped)


def late(seconds: float) -> Behaviour:
    return by_request(lambda asked: slow(seconds, sound_site.sound_prometheus(asked)))


@pytest.mark.row("F36")
def test_a_slow_answer_is_ok_within_the_deadline_and_unknown_beyond_it(survey: Survey) -> None:
    with standin(late(0.5)) as server:
        assert found_at(server.url, 2.0).status is Status.OK
        beyond = found_at(server.url, 0.4)
    survey.never_ok([beyond.status])
    assert (beyond.reason, "within 0.4 s" in sentence(beyond)) == (Reason.TIMED_OUT, True)


@pytest.mark.slow
@pytest.mark.row("F36")
def test_ten_seconds_are_beyond_the_deadline_that_everybody_has_and_four_are_not(survey: Survey) -> None:
    with standin(late(DEADLINE_SECONDS + 0.5)) as server:
        begun = time.monotonic()
        beyond = found_at(server.url, DEADLINE_SECONDS)
        assert time.monotonic() - begun < DEADLINE_SECONDS + BUSY_SECONDS
    survey.never_ok([beyond.status])
    with standin(late(4.0)) as server:
        assert found_at(server.url, DEADLINE_SECONDS).status is Status.OK


LOOK_UP = """
import fcntl, json, socket, struct, sys, time
lo = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
fcntl.ioctl(lo, 0x8914, struct.pack("16sh14x", b"lo", 0x1 | 0x40))
silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
if sys.argv[1] == "hangs":
    silent.bind(("127.0.0.1", 53))
from runbooklib.render.sentences import sentence
from tests.faults.test_prometheus_faults import found_at
begun = time.monotonic()
finding = found_at("http://prometheus.example:9090", 1.0)
print(json.dumps([finding.status.name, sentence(finding), time.monotonic() - begun]))
"""


@pytest.mark.row("F34")
@pytest.mark.parametrize("way", ["hangs", "fails"])
def test_a_resolver_that_hangs_or_fails_is_named_within_the_deadline(
    way: str, tmp_path: Path, survey: Survey
) -> None:
    """In a network of its own, where the only resolver takes questions and says nothing, or is not there."""
    (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:30 attempts:5\n")
    (tmp_path / "look_up.py").write_text(LOOK_UP)
    inside = f'mount --bind {tmp_path}/resolv.conf /etc/resolv.conf && exec "$@"'
    argv = [program("unshare"), "-r", "-n", "-m", "sh", "-c", inside, "sh", sys.executable]
    environment = {**os.environ, **survey.environment, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*argv, str(tmp_path / "look_up.py"), way],
        env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    status, says, seconds = json.loads(done.stdout)
    survey.never_ok([status])
    assert seconds < 1.0 + BUSY_SECONDS
    assert "prometheus at http://prometheus.example:9090" in says
    assert "this machine's resolver (127.0.0.1)" in says


@pytest.mark.row("F39")
@pytest.mark.parametrize("status", [400, 422])
def test_the_server_s_reason_is_shown_and_it_is_not_asked_again(status: int, survey: Survey) -> None:
    told = {"status": "error", "errorType": "execution", "error": "query processing would load too many"}
    with standin(answer(told, status)) as server:
        finding = found_at(server.url)
        queries = [one for one in server.asked if one.path == "/api/v1/query_range"]
    survey.never_ok([finding.status])
    assert "would load too many" in sentence(finding)
    assert len(queries) == 1


@pytest.mark.row("F40")
def test_retry_after_is_not_waited_for_and_its_refusal_is_told(survey: Survey) -> None:
    with standin(answer("later", 429, "text/plain", {"Retry-After": "600"})) as server:
        begun = time.monotonic()
        finding = found_at(server.url)
        assert time.monotonic() - begun < BUSY_SECONDS
    survey.never_ok([finding.status])
    assert "returned status 429: later" in sentence(finding)


@pytest.mark.row("F44")
def test_a_warning_makes_unknown_with_its_text_and_a_remark_is_kept(survey: Survey) -> None:
    def with_notes(**notes: list[str]) -> Behaviour:
        return by_request(
            lambda asked: answer({"status": "success", "data": sound_site.prometheus_data(asked), **notes})
        )

    with standin(with_notes(warnings=["a store is missing"])) as server:
        warned = found_at(server.url)
    survey.never_ok([warned.status])
    assert (warned.reason, "a store is missing" in sentence(warned)) == (Reason.PARTIAL, True)
    with standin(with_notes(infos=["may be no counter"])) as server:
        frame = Prometheus(server.url, Tape()).instant("up", datetime.now(UTC))
    assert frame.attrs["warnings"] == ["may be no counter"]


@pytest.mark.row("F46")
@pytest.mark.parametrize("service", ["nan", "inf"])
def test_what_is_no_number_is_unknown_on_a_real_server(real: str, service: str, survey: Survey) -> None:
    assert found_at(real, service="sound").status is Status.OK
    finding = found_at(real, service=service)
    survey.never_ok([finding.status])
    assert finding.status is Status.UNKNOWN


@pytest.mark.row("F46")
@pytest.mark.parametrize("value", ["NaN", "+Inf"])
def test_nothing_is_made_of_samples_that_are_no_numbers(value: str, survey: Survey) -> None:
    with standin(by_request(changed(lambda at, _: (at, value)))) as server:
        finding = found_at(server.url, service="any")
    survey.never_ok([finding.status])
    assert finding.reason is Reason.NO_DATA


MEMORY = """
import re, sys
from runbooklib.errors import NonsenseError
from runbooklib.sources.http import fetch
try:
    fetch("GET", sys.argv[1], system="prometheus", deadline_seconds=20)
except NonsenseError as error:
    print(error)
print(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1])
"""


@pytest.mark.row("F42", "H23")
@pytest.mark.parametrize("encoding", ["", "gzip", "deflate"])
def test_an_answer_of_300_megabytes_is_cut_in_a_process_that_stays_small(
    encoding: str, survey: Survey
) -> None:
    behaviour = huge(300)
    if encoding:
        pack = gzip.compress if encoding == "gzip" else zlib.compress
        behaviour = answer(pack(bytes(300_000_000)), headers={"Content-Encoding": encoding})
    with standin(behaviour) as server:
        done = subprocess.run(
            [sys.executable, "-c", MEMORY, server.url],
            env={**os.environ, **survey.environment, "PYTHONPATH": str(ROOT)},
            capture_output=True, text=True, timeout=300, check=True,
        )  # fmt: skip
    told, kibibytes = done.stdout.splitlines()
    assert "larger than 16 MiB" in told
    assert int(kibibytes) < 150 * 1024


@pytest.mark.row("H18", "H20")
@pytest.mark.parametrize("text", INJECTIONS, ids=ascii)
def test_a_label_value_is_one_equality_whatever_it_holds(real: str, text: str) -> None:
    query = selector("strange", {"text": text})
    (read,) = selectors(query)
    assert (read.metric, read.matchers) == ("strange", (("text", "=", text),))
    frame = Prometheus(real, Tape()).instant(query, datetime.now(UTC))
    assert list(frame["text"]) == [text]


@pytest.mark.row("H19")
@pytest.mark.parametrize("text", REGEXES)
def test_a_value_that_is_a_pattern_matches_only_itself(real: str, text: str) -> None:
    ask = Prometheus(real, Tape())
    assert list(ask.instant(selector("strange", {"text": text}), datetime.now(UTC))["text"]) == [text]
    others = ask.instant(selector("strange", none_of={"text": [text]}), datetime.now(UTC))
    every = ask.instant("strange", datetime.now(UTC))
    assert set(every["text"]) - set(others["text"]) == {text}


@pytest.mark.row("H20")
def test_a_label_s_name_cannot_be_pasted_in() -> None:
    with pytest.raises(ParameterError, match="not a label name"):
        selector("up", {'job="x"} or vector(1) or up{job': "x"})


@pytest.mark.row("H21")
def test_a_query_that_takes_minutes_ends_at_the_deadline_here_and_on_the_server(
    real: str, survey: Survey
) -> None:
    # Prometheus looks whether it shall stop at each step of an operator: a million of them, times 60.
    query = f"max_over_time(({' + '.join(['vector(time())'] * 60)})[1000d:1m])"
    tape = Tape()
    context = sound_site.make_context({"prometheus": {"url": real}}, {}, tape, deadline_seconds=1.5)

    def costly(context: Context) -> Finding:
        """How much is it?"""
        context.sources.prometheus.instant(query, context.window.end)
        return Finding(status=Status.OK, template="It came.")

    incident = Incident(context, tape, IncidentListener())
    found: list[Finding] = []
    assert seconds_taken(lambda: found.append(incident.check(costly))) < 1.5 + BUSY_SECONDS
    survey.never_ok([found[0].status])
    assert found[0].reason in (Reason.TIMED_OUT, Reason.REFUSED)
    with pytest.raises((DeadlineError, RefusedError)):
        Prometheus(real, Tape(), deadline_seconds=0.5).instant(query, datetime.now(UTC))
    ends_at = time.monotonic() + 60
    while "prometheus_engine_queries 0" not in page(f"{real}/metrics") and time.monotonic() < ends_at:
        time.sleep(0.1)
    assert "prometheus_engine_queries 0" in page(f"{real}/metrics")


@pytest.mark.row("H26")
def test_bytes_that_are_no_utf8_are_kept_as_escapes_and_nothing_is_ok_because_of_them(survey: Survey) -> None:
    def garbled(asked: Asked) -> Behaviour:
        told = json.dumps({"status": "success", "data": sound_site.prometheus_data(asked)})
        return answer(told.encode().replace(b"backend", b"back\xffend"))

    with standin(by_request(garbled)) as server:
        finding = found_at(server.url)
        frame = Prometheus(server.url, Tape()).instant("up", datetime.now(UTC))
    survey.never_ok([finding.status])
    assert "the answer contains invalid UTF-8" in sentence(finding)
    assert list(frame["job"]) == ["back\\xffend"]
