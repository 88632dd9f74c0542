"""Evidence that this user may not read costs nobody the runbook, and is named.

Root may read everything, so a folder stands where a file is read; what the system says differs by a word.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runbooklib.evidence import ledger, runs
from tests.support.by_hand import by_hand
from tests.support.jupyter_server import Served, began, led_to, opened, page, query, ran, sections


@contextmanager
def unreadable(evidence: Path) -> Iterator[Path]:
    """The ledger cannot be read, for a while; its path."""
    aside = evidence.with_name("aside")
    if evidence.exists():
        evidence.rename(aside)
    (evidence / ledger.FILE).mkdir(parents=True)
    try:
        yield evidence / ledger.FILE
    finally:
        shutil.rmtree(evidence)
        if aside.exists():
            aside.rename(evidence)


@pytest.mark.usefixtures("alertmanager")
def test_the_link_opens_the_notebook_and_the_log_and_the_start_page_say_what_was_not_read(
    served: Served,
) -> None:
    with unreadable(served.root / "evidence") as path:
        asked = query(began(2), alert="SlowAIResponse")
        found = led_to(served, served.open(asked))
        assert found.name == "SlowAIResponse.ipynb"
        assert led_to(served, served.open(asked)) == found
        assert f"is unknown: {path}: Is a directory" in served.log.read_text()
        told = sections(page(served).text)["not-checked"]
        assert f"The evidence cannot be read: {path}: Is a directory" in told
        shown = page(served, path="/evidence/20260115T031200Z-A-b")
        assert shown.status_code == 500
        assert f"{path}: Is a directory" in shown.text


def test_the_notebook_opens_its_incident_and_its_upkeep_says_what_was_not_read(desk: Path) -> None:
    cells = {
        "import": "from runbooklib.notebook import *",
        "open": 'incident = open_incident("HighErrorRate", environment="site", service="backend")',
        "upkeep": "incident.upkeep()",
    }
    with unreadable(desk / "evidence") as path, by_hand(desk / "a.ipynb", cells, {}) as hand:
        hand.run()
        assert [one for cell in hand.cells.values() for one in cell["outputs"] if "traceback" in one] == []
        shown = hand.said("upkeep")
        assert "cannot be determined" in shown
        assert f"{path}: Is a directory" in shown
        assert "never" not in shown


def test_a_run_that_cannot_be_read_is_named_and_another_is_found(desk: Path) -> None:
    at = began(1)
    bundle = ran(desk, "HighErrorRate")
    # The next run is another user's: of its folder nothing is read.
    hidden = desk / "evidence" / "20990101T000000Z-HighErrorRate-backend"
    (hidden / "manifest.json").mkdir(parents=True)
    ledger.append(hidden.parent, hidden.name, "0" * 64, runs.recent_runs(bundle.parent, 1)[0][0].at)
    told = runs.recent_runs(desk / "evidence", 9)[1]
    assert told == [f"{hidden.name} cannot be read: {hidden / 'manifest.json'}: Is a directory"]
    assert opened(desk, query(at, alert="HighErrorRate")).name == f"{bundle.name}.ipynb"


def test_where_nothing_can_be_written_the_real_folder_is_named(served: Served) -> None:
    folder = served.root / "incidents"
    aside = folder.with_name("aside-incidents")
    folder.rename(aside) if folder.exists() else None
    try:
        folder.write_text("in the way")
        answer = served.open(query(began(2), alert="SlowAIResponse"))
    finally:
        folder.unlink()
        aside.rename(folder) if aside.exists() else None
    assert answer.status_code == 500
    assert f"{folder} cannot be written: " in answer.text
