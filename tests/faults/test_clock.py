"""A machine whose clock is ten minutes off: the systems' own time is used, and that is said."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from runbooklib.checks.container_state import container_state
from runbooklib.checks.containers import container_deaths
from runbooklib.checks.scrape import scraped
from runbooklib.model.findings import Finding, Status
from runbooklib.notebook.incident import Incident
from runbooklib.notebook.listener import IncidentListener
from runbooklib.sources.context import Sources
from runbooklib.sources.tape import Entry, Tape, pack, unpack
from tests.support import sound_site
from tests.support.clock_shift import shifted
from tests.support.known_series import serving
from tests.support.stand_in import Asked, Behaviour, answer, by_request, closed_port, standin
from tests.support.survey import Survey

ROOT = Path(__file__).parents[2]
BROKE_BEFORE = timedelta(minutes=6)
SITE = """
title: "A site with clocks"
systems:
  prometheus: {{url: "{url}"}}
services:
  broken: {{title: "Broken", labels: {{service: "broken"}}}}
  mended: {{title: "Mended", labels: {{service: "mended"}}}}
"""
ASK = """
import json, sys
from datetime import UTC, datetime
from runbooklib.notebook import open_incident, scraped
from runbooklib.render.sentences import sentence
from runbooklib.evidence.verdict_json import verdict_as_dict
incident = open_incident("ServiceDown", environment="clocks", service=sys.argv[1], at=sys.argv[2])
finding = incident.check(scraped)
told = {"verdict": verdict_as_dict(incident.verdict, incident.context), "status": finding.status.name}
told |= {"says": sentence(finding), "clock": datetime.now(UTC).isoformat()}
told["skew"] = incident.context.window.skew_seconds
print(json.dumps(told))
"""


def openmetrics(now: datetime) -> Iterator[str]:
    """Two services until now: one that broke six minutes ago, one that was mended then."""
    yield "# TYPE up gauge\n"
    moments = [now - timedelta(seconds=15 * number) for number in range(8 * 60, -1, -1)]
    for service, is_up_first in (("broken", True), ("mended", False)):
        for moment in moments:
            is_up = is_up_first == (moment < now - BROKE_BEFORE)
            yield f'up{{service="{service}",job="j",instance="i"}} {int(is_up)} {moment.timestamp()}\n'
    yield "# EOF\n"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the environment of a real Prometheus whose series end now."""
    folder = tmp_path_factory.mktemp("clocks")
    with serving(tmp_path_factory.mktemp("prometheus"), openmetrics(datetime.now(UTC))) as url:
        (folder / "clocks.yaml").write_text(SITE.format(url=url))
        yield folder


def asked(
    place: Path, survey: Survey, seconds: int, service: str, at: str = ""
) -> tuple[dict[str, Any], str]:
    """What a process with that clock finds, and all that it printed."""
    environment = {**os.environ, **survey.environment, "PYTHONPATH": str(ROOT)}
    environment |= {"RUNBOOK_ENVIRONMENTS": str(place), **(shifted(place, seconds) if seconds else {})}
    argv = [sys.executable, "-c", ASK, service, at]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), done.stdout


@pytest.mark.row("F48")
@pytest.mark.parametrize("seconds", [-600, 600])
def test_a_clock_that_is_off_leads_to_no_ok_from_another_time(
    place: Path, survey: Survey, seconds: int
) -> None:
    told, printed = asked(place, survey, seconds, "broken")
    assert abs((datetime.fromisoformat(told["clock"]) - datetime.now(UTC)).total_seconds() - seconds) < 30
    survey.never_ok([told["status"]])
    assert (told["status"], "cannot reach 1 of 1" in told["says"]) == ("CRITICAL", True)
    end = datetime.fromisoformat(told["verdict"]["window"]["end"])
    assert abs((datetime.now(UTC) - end).total_seconds()) < 60
    assert told["skew"] == pytest.approx(-seconds, abs=2)
    said = re.search(r"this machine's is (\d+) s (behind|ahead)", printed)
    assert said is not None
    assert int(said[1]) == pytest.approx(600, abs=2)
    assert said[2] == ("behind" if seconds < 0 else "ahead")


@pytest.mark.row("F48")
@pytest.mark.parametrize("seconds", [-600, 0, 600])
def test_what_is_sound_now_is_found_sound_whatever_our_clock_says(
    place: Path, survey: Survey, seconds: int
) -> None:
    told, printed = asked(place, survey, seconds, "mended")
    assert told["status"] == "OK"
    assert ("this machine's is" in printed) is bool(seconds)
    assert told["skew"] == pytest.approx(-seconds, abs=2)


@pytest.mark.row("F48")
def test_an_end_that_was_asked_for_stays_where_it_is(place: Path, survey: Survey) -> None:
    """Twenty minutes ago the one that is broken now was sound, and that is what was asked."""
    at = (datetime.now(UTC) - timedelta(minutes=20)).isoformat()
    told, _ = asked(place, survey, -600, "broken", at)
    assert told["status"] == "OK"
    end = datetime.fromisoformat(told["verdict"]["window"]["end"])
    assert abs((datetime.fromisoformat(at) - end).total_seconds()) <= 15


# The rules, with clocks of stand-ins


def dated(respond: Any, ahead: float) -> Any:
    """The same answers, by a clock that is that much ahead of ours."""

    def answered(asked: Asked) -> Behaviour:
        at = datetime.now(UTC) + timedelta(seconds=ahead)
        date = {"Date": format_datetime(at, usegmt=True)}
        if asked.path.endswith(("/status", "/health")) or asked.params.get("query") == ["time()"]:
            return answer({"status": "success"}, headers=date)
        if asked.path.endswith("/version"):
            return answer({"ApiVersion": "1.41"}, headers=date)
        behaviour: Behaviour = respond(asked)
        return behaviour

    return by_request(answered)


def opened(tape: Tape, prometheus: str, docker: str = "", alertmanager: str = "") -> Incident:
    systems: dict[str, Any] = {"prometheus": {"url": prometheus}}
    systems |= {"docker": {"url": docker}} if docker else {}
    systems |= {"alertmanager": {"url": alertmanager}} if alertmanager else {}
    context = sound_site.make_context(systems, {"containers": ["backend"]}, tape, deadline_seconds=5.0)
    return Incident(context, tape, IncidentListener())


def test_a_few_seconds_are_no_skew() -> None:
    with standin(dated(sound_site.sound_prometheus, 3)) as server:
        incident = opened(Tape(), server.url)
    assert incident.context.window.skew_seconds == 0


def test_a_page_of_something_else_does_not_tell_the_time() -> None:
    page = answer("<html>", 503, "text/html", {"Date": "Thu, 15 Jan 2026 03:12:00 GMT"})
    with standin(page) as server:
        assert opened(Tape(), server.url).context.window.skew_seconds == 0


@pytest.mark.parametrize("date", ["", "soon", "Thu, 99 Jan 2026 03:12:00 GMT", "Thu, 15 Jan 2026 03:12:00"])
def test_what_is_no_date_is_no_skew(date: str) -> None:
    with standin(answer({"status": "success"}, headers={"Date": date})) as server:
        assert opened(Tape(), server.url).context.window.skew_seconds == 0


@pytest.mark.row("F48")
def test_where_prometheus_does_not_answer_another_system_tells_the_time() -> None:
    with standin(dated(sound_site.sound_alertmanager, 600)) as server:
        incident = opened(Tape(), f"http://127.0.0.1:{closed_port()}", alertmanager=server.url)
    assert incident.context.window.skew_seconds == pytest.approx(600, abs=2)


@pytest.mark.row("F48")
@pytest.mark.parametrize(("own", "is_believed"), [(600, True), (0, False), (1200, False)])
def test_an_engine_whose_clock_is_another_than_prometheus_is_not_believed(
    survey: Survey, own: float, *, is_believed: bool
) -> None:
    """An engine beside us shares our clock: what it did in the last ten minutes lies in another window."""
    with (
        standin(dated(sound_site.sound_prometheus, 600)) as prometheus,
        standin(dated(sound_site.SoundDocker("a" * 40), own)) as docker,
    ):
        incident = opened(Tape(), prometheus.url, docker.url.replace("http://", "tcp://"))
        found: list[Finding] = [incident.check(one) for one in (container_state, container_deaths)]
    if is_believed:
        assert [one.status for one in found] == [Status.OK, Status.OK]
    else:
        survey.never_ok(one.status for one in found)
        assert "its clock is" in str(found[0].facts["message"])


class Recording(IncidentListener):
    """Keeps what was recorded."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def opened(self, incident: Incident, entries: Sequence[Entry]) -> None:
        self.entries += entries

    def finding_added(self, finding: Finding, entries: Sequence[Entry]) -> None:
        self.entries += entries


@pytest.mark.row("F48")
def test_a_replay_has_the_skew_of_then_and_an_older_recording_has_none() -> None:
    recording_listener, tape = Recording(), Tape()
    with standin(dated(sound_site.sound_prometheus, 600)) as server:
        systems = {"prometheus": {"url": server.url}}
        context = sound_site.make_context(systems, {}, tape, deadline_seconds=5.0)
        incident = Incident(context, tape, recording_listener)
        before = incident.check(scraped)
    recorded = unpack(json.loads(json.dumps(pack(recording_listener.entries))))

    def again(entries: Sequence[Entry]) -> Incident:
        replayed = Tape(recording=entries)
        return Incident(
            replace(context, sources=Sources(context.target, replayed)), replayed, IncidentListener()
        )

    assert again(recorded).context.window == incident.context.window != context.window
    assert again(recorded).check(scraped).facts == before.facts
    assert incident.context.window.skew_seconds == pytest.approx(600, abs=2)
    without = [entry for entry in recorded if entry.request != {"question": "clock"}]
    assert len(without) == len(recorded) - 1
    assert again(without).context.window == context.window
