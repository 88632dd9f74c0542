"""A notebook in which somebody digs: own questions, cells again and out of order, a kernel restarted."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runbooklib.evidence.executed_notebook import recording_of, verdict_of
from runbooklib.evidence.verdict_json import RECORDING_MIME
from tests.support.by_hand import ByHand, by_hand
from tests.support.running import command, notebook
from tests.support.site import Site, running_site

OPEN = 'incident = open_incident("HighErrorRate", environment="site", service="backend")'
CELLS = {
    "import": "from runbooklib.notebook import *",
    "open": OPEN,
    "error-rate": "incident.check(error_rate, above=0.05)",
    "rule": "incident.check(alert_rule)\nincident.check(firing_alert)",
    "cause": (
        'crash = incident.cause("container-crash", "The service crashed")\n'
        "crash.check(container_state)\n"
        'crash.check(log_lines, matching=POOL_EXHAUSTED, about="an exhausted pool")'
    ),
    "remedy": "crash.propose(restart_container)",
}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    (tmp_path / "site").mkdir()
    with running_site(tmp_path / "site") as site:
        yield site


@pytest.fixture
def hand(site: Site, tmp_path: Path) -> Iterator[ByHand]:
    with by_hand(tmp_path / "dig.ipynb", CELLS, site.environment) as hand:
        yield hand


def replayed(path: Path, output: Path) -> str:
    """What the replay of a saved notebook says at its end."""
    ended = command(["runbook", "replay", str(path), "--output", str(output)])
    assert "This is a replay" in ended.out, ended.err
    return ended.out


def keys(executed: dict[str, Any]) -> list[str]:
    return [entry.key for entry in recording_of(executed)]


def test_a_cell_that_is_run_twice_doubles_nothing_and_loses_nothing(hand: ByHand, tmp_path: Path) -> None:
    hand.run()
    once = notebook(hand.save())
    hand.run("error-rate", "cause", "remedy", "error-rate")
    twice = notebook(hand.save())
    assert verdict_of(twice) == verdict_of(once)
    assert len(hand.findings("error-rate")) == 1
    # Its output was new; the answers that had lain in the old one are in it.
    assert set(keys(twice)) == set(keys(once))
    assert "The verdict is the recorded one, to the byte." in replayed(hand.path, tmp_path / "out")


def test_before_the_incident_is_open_a_check_says_which_cell_is_missing(hand: ByHand) -> None:
    hand.run("import", "error-rate")
    assert hand.said("error-rate") == "no incident is open (run the cell with open_incident(…) first)"


def test_what_belongs_to_an_incident_of_before_says_so_and_changes_nothing(hand: ByHand) -> None:
    hand.run("import", "open", "error-rate", "cause", "open", "error-rate")
    before = verdict_of(notebook(hand.save()))
    hand.run("remedy")
    assert "This cell belongs to an incident that is closed" in hand.said("remedy")
    assert "in order" in hand.said("remedy")
    assert verdict_of(notebook(hand.save())) == before
    hand.run("cause", "remedy")
    assert "restart the container" in hand.said("remedy")


def test_importing_again_leaves_the_open_incident_alone(hand: ByHand) -> None:
    hand.run("import", "open", "import", "error-rate")
    assert [one["status"] for one in hand.findings("error-rate")] == ["CRITICAL"]


def test_after_a_restart_the_run_goes_on_with_what_it_had_found(
    hand: ByHand, site: Site, tmp_path: Path
) -> None:
    hand.run()
    before = notebook(hand.save())
    hand.stop()
    hand.start()
    asked = len(site.asked)
    hand.add("open", OPEN.replace(")", ', resume="this")'))
    hand.run("import", "open")
    after = verdict_of(notebook(hand.save()))
    assert after is not None
    assert after["symptoms"] == (verdict_of(before) or {})["symptoms"]
    assert [one["rank"] for one in after["causes"]] == [one["rank"] for one in verdict_of(before)["causes"]]  # type: ignore[index]
    assert "Resumed with" in hand.said("open")
    hand.run("error-rate", "rule", "cause", "remedy")
    # Nothing of that was asked again, and each finding says of when it is.
    assert site.asked[asked:] == []
    [again] = hand.findings("error-rate")
    [first] = [one for one in _findings(before) if one["check"] == "error_rate"]
    assert again["asked_at"] == first["asked_at"]
    assert "and resumed since" in json.dumps(hand.cells["error-rate"]["outputs"])
    hand.add("new", "incident.check(request_rate)")
    hand.run("new")
    assert len(site.asked) > asked
    whole = notebook(hand.save())
    assert set(keys(before)) <= set(keys(whole))
    assert "The verdict is the recorded one, to the byte." in replayed(hand.path, tmp_path / "out")


def test_after_a_restart_notes_and_own_questions_are_in_the_timeline_and_checks_are_not(
    hand: ByHand, tmp_path: Path
) -> None:
    own = {
        "note": 'incident.note("rolled back release 7")',
        "query": 'incident.query("up")',
        "both": 'incident.query("up", instant=True)\nincident.check(request_rate)\nincident.query("down")',
        "timeline": "incident.timeline()",
    }
    for name, source in own.items():
        hand.add(name, source)
    hand.run()
    before = hand.said("timeline")
    assert before.count("asked") == 3
    hand.save()
    hand.stop()
    hand.start()
    hand.add("open", OPEN.replace(")", ', resume="this")'))
    hand.run("import", "open", "timeline")
    assert _own(hand.said("timeline")) == _own(before)
    hand.run("note", "both", "cause", "remedy", "timeline")
    assert _own(hand.said("timeline")) == _own(before)
    hand.save()
    assert "The verdict is the recorded one, to the byte." in replayed(hand.path, tmp_path / "out")


def test_a_limit_that_is_changed_replaces_what_was_found_with_the_one_before(
    hand: ByHand, tmp_path: Path
) -> None:
    hand.run()
    hand.add("error-rate", "incident.check(error_rate, above=0.1)")
    hand.add("cause", CELLS["cause"].replace("an exhausted pool", "a used up pool"))
    hand.run("error-rate", "cause")
    saved = verdict_of(notebook(hand.save())) or {}
    assert [one["check"] for one in saved["symptoms"]] == ["error_rate", "alert_rule", "firing_alert"]
    [cause] = saved["causes"]
    signs = [one for kind in ("for", "against", "missing") for one in cause[kind]]
    assert sorted(one["check"] for one in signs) == ["container_state", "log_lines"]
    assert "exhausted" not in json.dumps([one["question"] for one in signs])
    assert "The verdict is the recorded one, to the byte." in replayed(hand.path, tmp_path / "out")


def test_a_limit_that_ends_the_symptom_is_replayed_once_the_cells_below_are_run(
    hand: ByHand, tmp_path: Path
) -> None:
    hand.run()
    hand.add("error-rate", "incident.check(error_rate, above=0.5)")
    hand.run("error-rate")
    assert "30 % of requests fail; the limit is 5 %" not in hand.said("open")
    hand.run("rule", "cause", "remedy")
    saved = verdict_of(notebook(hand.save())) or {}
    assert saved["symptoms"][0]["status"] == "OK"
    assert "The verdict is the recorded one, to the byte." in replayed(hand.path, tmp_path / "out")


def test_what_is_taken_out_of_a_cell_is_taken_out_of_the_verdict(hand: ByHand, tmp_path: Path) -> None:
    hand.run()
    hand.add("remedy", "# not now")
    hand.add("cause", 'other = incident.cause("other", "Another")\nother.check(container_state)')
    hand.run("cause", "remedy")
    saved = verdict_of(notebook(hand.save())) or {}
    assert [one["id"] for one in saved["causes"]] == ["other"]
    assert saved["next"] == []
    assert "The verdict is the recorded one, to the byte." in replayed(hand.path, tmp_path / "out")


def test_a_cell_that_fails_takes_nothing_out_of_the_verdict(hand: ByHand) -> None:
    hand.run()
    before = verdict_of(notebook(hand.save()))
    hand.add("error-rate", "raise ValueError\nincident.check(error_rate, above=0.5)")
    hand.run("error-rate")
    assert verdict_of(notebook(hand.save())) == before


def test_after_a_restart_a_changed_limit_replaces_what_was_resumed(hand: ByHand) -> None:
    hand.run()
    hand.save()
    hand.stop()
    hand.start()
    hand.add("open", OPEN.replace(")", ', resume="this")'))
    hand.add("error-rate", "incident.check(error_rate, above=0.1)")
    hand.run("import", "open", "error-rate")
    saved = verdict_of(notebook(hand.save())) or {}
    assert [one["check"] for one in saved["symptoms"]] == ["error_rate", "alert_rule", "firing_alert"]
    assert "the limit is 10 %" in saved["symptoms"][0]["says"]


def _own(timeline: str) -> list[str]:
    """The lines of notes and own questions."""
    return [" ".join(line.split()) for line in timeline.splitlines() if "asked" in line or " note" in line]


def _findings(executed: dict[str, Any]) -> list[dict[str, Any]]:
    mime = "application/vnd.runbook.finding+json"
    data = [o.get("data", {}) for cell in executed["cells"] for o in cell.get("outputs", ())]
    return [one[mime] for one in data if mime in one]


def test_after_a_restart_the_notebook_offers_what_it_was_saved_with(hand: ByHand) -> None:
    hand.run()
    assert "resume=" not in hand.said("open")
    hand.save()
    hand.stop()
    hand.start()
    hand.run("import", "open")
    assert 'To resume: open_incident(…, resume="this")' in hand.said("open")


@pytest.mark.parametrize(
    ("resume", "told"),
    [
        ("this", "dig.ipynb contains no recording of HighErrorRate"),
        ("nowhere.ipynb", "cannot be read: No such file or directory"),
    ],
)
def test_what_cannot_be_resumed_is_refused_in_one_line(hand: ByHand, resume: str, told: str) -> None:
    hand.save()
    hand.add("open", OPEN.replace(")", f", resume={resume!r})"))
    hand.run("import", "open", "error-rate")
    assert told in hand.said("open")
    assert hand.said("error-rate").startswith("no incident is open")


OWN = {
    "query": 'incident.query("up")',
    "instant": 'incident.query("up", instant=True)',
    "library": 'incident.prometheus.custom_query("up")',
    "logs": 'incident.logs(since="10m", matching="QueuePool")',
    "note": 'incident.note("the pool is too small; told <b>Kim</b>")',
    "note-again": 'incident.note("the pool is too small; told <b>Kim</b>")',
    "timeline": "incident.timeline()",
}


def test_own_questions_are_frames_recorded_and_in_the_timeline(hand: ByHand, tmp_path: Path) -> None:
    for name, source in OWN.items():
        hand.add(name, source)
    hand.run()
    assert "instance" in hand.said("instant") or "value" in hand.said("instant")
    assert "QueuePool limit of size 5" in hand.said("logs")
    for name in ("query", "library", "logs", "note"):
        assert [o for o in hand.cells[name]["outputs"] if RECORDING_MIME in o.get("data", {})], name
    told = hand.said("timeline")
    for expected in ("HighErrorRate fires", "Change the pool", "asked up", "asked logs of backend", "30 %"):
        assert expected in told, told
    # In two cells it was said twice; the same cell says it once.
    assert told.count("told <b>Kim</b>") == 2
    hand.run("note-again", "timeline")
    assert hand.said("timeline").count("told <b>Kim</b>") == 2
    told = hand.said("timeline")
    times = [line.split(" UTC")[0].strip() for line in told.splitlines() if " UTC" in line[:30]]
    assert len(times) >= 7
    assert times == sorted(times)
    [shown] = [o["data"]["text/html"] for o in hand.cells["timeline"]["outputs"]]
    assert "told &lt;b&gt;Kim&lt;/b&gt;" in shown
    hand.save()
    assert "The verdict is the recorded one, to the byte." in replayed(hand.path, tmp_path / "out")
    [bundle] = [path for path in (tmp_path / "out").iterdir() if path.is_dir()]
    again = json.loads((bundle / "notebook.ipynb").read_text())
    [cell] = [cell for cell in again["cells"] if cell["id"] == "timeline"]
    assert cell["outputs"][0]["data"]["text/plain"] == told


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ('incident.sql("delete from x")', "only queries that read are allowed (begin with SELECT)"),
        ('incident.sql("select 1")', "connection refused"),
        ('incident.logs(matching="(")', "matching '(' is not a regular expression"),
        ('incident.logs(since="yesterday")', "'yesterday' is not a time"),
        ('incident.logs(since="1m", until="5m")', "is not before until"),
        ('incident.note("  ")', "The note is empty"),
    ],
)
def test_a_question_of_ones_own_that_fails_is_one_clear_line(hand: ByHand, source: str, told: str) -> None:
    hand.add("own", source)
    hand.run("import", "open", "own")
    assert told in hand.said("own")
    [error] = [o for o in hand.cells["own"]["outputs"] if o["output_type"] == "error"]
    assert len(error["traceback"]) == 1


def test_what_could_not_be_asked_stands_in_the_timeline(hand: ByHand) -> None:
    hand.add("own", 'incident.sql("select 1")')
    hand.add("timeline", "incident.timeline()")
    hand.run("import", "open", "own", "timeline")
    assert "asked select 1: no answer, connection refused" in hand.said("timeline")
