"""A problem whose age no series remembers: earlier runs in the folder of the evidence know it."""

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from runbooklib.evidence import ledger
from runbooklib.evidence.verdict_json import verdict_as_dict
from runbooklib.model.findings import Finding, Status
from runbooklib.notebook.incident import Incident
from runbooklib.render.sentences import headline, sentence
from runbooklib.sources.context import Context
from runbooklib.sources.tape import Tape
from tests.support.incident import NOW, opened

HOURS = (72, 48, 2)


def sound(_: Context) -> Finding:
    """Is the symptom there?"""
    return Finding(status=Status.OK, template="It is not there.", source="prometheus")


def broken(context: Context) -> Finding:
    """Is the symptom there?"""
    since = context.window.end - timedelta(minutes=10)
    return Finding(status=Status.CRITICAL, template="It is there.", source="prometheus", since=since)


def page(_: Context) -> Finding:
    """What does the page report?"""
    return Finding(status=Status.WARNING, template="It answers 503.", source="web", is_report=True)


def provider(_: Context) -> Finding:
    """Can the provider be reached?"""
    return Finding(status=Status.CRITICAL, template="It cannot be reached.", source="dns")


def other_page(_: Context) -> Finding:
    return Finding(status=Status.WARNING, template="It answers 404.", source="web", is_report=True)


other_page.__doc__, other_page.__name__ = page.__doc__, page.__name__


def run(folder: Path, hours: int, *checks: Any, kind: str = "run", **changes: Any) -> datetime:
    """Seal a run of these checks that ended some hours ago; its end."""
    incident, _ = opened()
    for check in checks:
        incident.check(check)
    ended_at = incident.context.window.end - timedelta(hours=hours)
    verdict = verdict_as_dict(incident.verdict, incident.context)
    verdict["window"]["end"] = ended_at.isoformat()
    place = folder / f"{hours}h"
    place.mkdir(parents=True)
    (place / "verdict.json").write_text(json.dumps({**verdict, **changes}))
    (place / "manifest.json").write_text(json.dumps({"kind": kind}))
    ledger.append(folder, place.name, "0" * 64, NOW)
    return ended_at


@pytest.fixture
def evidence(tmp_path: Path) -> Path:
    """Three runs in which the page and the provider were ill and the symptom was not there."""
    for hours in HOURS:
        run(tmp_path, hours, sound, page, provider)
    return tmp_path


def asked(evidence: Path | None, first: Any = broken, side: Any = page, tape: Tape | None = None) -> Incident:
    incident, _ = opened(tape, evidence=evidence)
    incident.check(first)
    incident.cause("c", "The cause").check(side)
    return incident


def age(incident: Incident) -> timedelta | None:
    [sign] = incident.verdict.causes[0].cause.signs
    since = sign.unchanged_since
    return None if since is None else incident.context.window.end - since


@pytest.mark.parametrize("side", [page, provider])
def test_a_problem_of_earlier_runs_is_unchanged_and_speaks_for_no_cause(evidence: Path, side: Any) -> None:
    incident = asked(evidence, side=side)
    assert age(incident) == timedelta(hours=72)
    ranked_cause = incident.verdict.causes[0]
    assert (ranked_cause.points_for, len(ranked_cause.not_counted)) == (0, 1)
    assert sentence(ranked_cause.not_counted[0]).endswith("Unchanged for 3 d.")
    healthy = asked(evidence, sound, side)
    assert healthy.verdict.status is Status.OK
    assert headline(healthy.verdict).endswith("Unchanged for 3 d.")


def test_without_earlier_runs_the_age_is_unknown(tmp_path: Path) -> None:
    for evidence in (None, tmp_path):
        incident = asked(evidence)
        assert (age(incident), incident.verdict.causes[0].points_for) == (None, 0)
        measured = asked(evidence, side=provider)
        assert (age(measured), measured.verdict.causes[0].points_for) == (None, 2)
        assert asked(evidence, sound).verdict.status is Status.WARNING


def test_a_run_in_which_it_was_otherwise_ends_the_time(tmp_path: Path) -> None:
    run(tmp_path, 72, sound, page)
    run(tmp_path, 48, sound, other_page)
    run(tmp_path, 24, sound, page)
    assert age(asked(tmp_path)) == timedelta(hours=24)
    run(tmp_path, 1, sound, other_page)
    assert age(asked(tmp_path)) is None


def test_a_problem_of_an_earlier_incident_is_not_a_problem_of_every_day(tmp_path: Path) -> None:
    run(tmp_path, 30, broken, provider)
    incident = asked(tmp_path, side=provider)
    assert (age(incident), incident.verdict.causes[0].points_for) == (None, 2)


@pytest.mark.parametrize(
    ("hours", "changes"),
    [
        (24 * 8, {}),  # nothing is known of the time since
        (24, {"kind": "replay"}),
        (24, {"service": "other"}),
        (24, {"environment": "other"}),
        (24, {"symptoms": []}),
        (24, {"window": None}),
        (24, {"causes": "none"}),
    ],
)
def test_runs_that_say_nothing_about_this_service_now_do_not_count(
    tmp_path: Path, hours: int, changes: dict[str, Any]
) -> None:
    run(tmp_path, hours, sound, page, **changes)
    assert age(asked(tmp_path)) is None


def test_a_replay_needs_no_evidence(evidence: Path) -> None:
    tape = Tape()
    asked(evidence, tape=tape)
    replayed = asked(None, tape=Tape(recording=tape.known("evidence")))
    assert age(replayed) == timedelta(hours=72)
    assert age(asked(evidence, tape=Tape(recording=[]))) is None
