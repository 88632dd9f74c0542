"""What was noted and asked by hand is sealed, or nothing is: the answer alone does not tell what is saved."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from runbooklib.evidence.executed_notebook import recording_of
from tests.support.by_hand import BAR, ByHand, by_hand
from tests.support.running import ROOT, notebook
from tests.support.site import running_site

CELLS = {
    "import": "from runbooklib.notebook import *",
    "open": 'incident = open_incident("HighErrorRate", environment="site", service="backend")',
    "error-rate": "incident.check(error_rate, above=0.05)",
    "bar": BAR,
}
SEAL = "bar.seal()\nprint(bar.says.value)"
NOT_SAVED = "the file dig.ipynb does not hold all outputs of this session"
NOTE = 'incident.note("rolled back release 7, payments on-call informed")'


@pytest.fixture
def hand(tmp_path: Path) -> Iterator[ByHand]:
    (tmp_path / "site").mkdir()
    with running_site(tmp_path / "site") as site:
        environment = {
            **site.environment,
            "RUNBOOK_HOME": str(ROOT),
            "RUNBOOK_EVIDENCE": str(tmp_path / "out"),
        }
        with by_hand(tmp_path / "dig.ipynb", CELLS, environment) as hand:
            hand.run()
            hand.save()
            yield hand


def save_later(hand: ByHand) -> None:
    """Save, long after everything was shown."""
    later = time.time() + 60
    os.utime(hand.save(), (later, later))


@pytest.mark.parametrize(
    "source",
    [
        NOTE,
        'incident.query("up")',
        'incident.logs(matching="QueuePool")',
        'incident.sql("select 1")',
        "incident.timeline()",
        "incident.contacts()",
    ],
)
def test_what_was_done_since_the_notebook_was_saved_is_to_be_saved_first(hand: ByHand, source: str) -> None:
    hand.add("own", source)
    hand.run("own")
    said = hand.tell(SEAL)
    assert f"{NOT_SAVED} (save (Ctrl+S), then seal)" in said
    hand.save()
    assert "Sealed: " in hand.tell(SEAL)


def test_a_note_is_in_what_was_sealed(hand: ByHand, tmp_path: Path) -> None:
    hand.add("note", NOTE)
    hand.run("note")
    assert NOT_SAVED in hand.tell(SEAL)
    assert not (tmp_path / "out").exists()
    hand.save()
    hand.tell(SEAL)
    [bundle] = [one for one in (tmp_path / "out").iterdir() if one.is_dir()]
    sealed = notebook(bundle / "notebook.ipynb")
    [note] = [one for one in recording_of(sealed) if one.source == "note"]
    assert "release 7" in note.answer["text"]
    assert "release 7" in (bundle / "notebook.html").read_text()


def test_a_question_in_the_place_of_another_is_missed_and_the_other_is_not(hand: ByHand) -> None:
    hand.add("own", 'incident.query("up")')
    hand.run("own")
    hand.save()
    hand.add("own", 'incident.query("up", instant=True)')
    hand.run("own")
    assert NOT_SAVED in hand.tell(SEAL)
    hand.save()
    assert "Sealed: " in hand.tell(SEAL)


def test_after_a_second_look_the_answers_of_the_first_are_not_missed(hand: ByHand) -> None:
    hand.add("note", NOTE)
    hand.run("note")
    hand.tell("bar.look()")
    hand.run("error-rate")
    assert NOT_SAVED in hand.tell(SEAL)
    hand.save()
    assert "Sealed: " in hand.tell(SEAL)


def test_a_cell_that_somebody_deleted_is_not_missed_once_that_is_saved(hand: ByHand) -> None:
    hand.add("note", NOTE)
    hand.run("note")
    del hand.cells["note"]
    assert NOT_SAVED in hand.tell(SEAL)
    save_later(hand)
    assert "Sealed: " in hand.tell(SEAL)


def test_an_output_that_somebody_cleared_is_missed_and_saving_it_does_not_help(hand: ByHand) -> None:
    hand.add("note", NOTE)
    hand.run("note")
    hand.cells["note"]["outputs"] = []
    save_later(hand)
    assert f"{NOT_SAVED} (run all cells, save (Ctrl+S), then seal)" in hand.tell(SEAL)


def test_no_action_is_begun_on_a_notebook_that_lacks_a_note(hand: ByHand) -> None:
    hand.add("note", NOTE)
    hand.run("note")
    told = hand.tell("try: bar.acting._seal()\nexcept Exception as error: print(error)")
    assert NOT_SAVED in json.dumps(told)
