"""A second look that is broken off: nothing of the first may pass for the answer of now."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from runbooklib.evidence.executed_notebook import verdict_of
from tests.support.by_hand import BAR, ByHand, by_hand
from tests.support.running import ROOT, command, notebook
from tests.support.site import Site, SiteAnswers, running_site

CELLS = {
    "import": "from runbooklib.notebook import *",
    "open": 'incident = open_incident("HighErrorRate", environment="site", service="backend")',
    "error-rate": "incident.check(error_rate, above=0.05)",
    "health-page": "incident.check(health_page)",
    "cause": (
        'crash = incident.cause("container-crash", "The service crashed")\n'
        'crash.check(log_lines, matching=POOL_EXHAUSTED, about="an exhausted pool")\n'
        "crash.propose(restart_container)"
    ),
    "recovery": "incident.recovery()",
    "bar": BAR,
}
SECONDS = 30


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Where no request fails, but the health page is ill."""
    (tmp_path / "site").mkdir()
    with running_site(tmp_path / "site", SiteAnswers(failing_share=0.0, is_firing=False)) as site:
        yield site


@pytest.fixture
def hand(site: Site, tmp_path: Path) -> Iterator[ByHand]:
    environment = {**site.environment, "RUNBOOK_HOME": str(ROOT), "RUNBOOK_EVIDENCE": str(tmp_path / "out")}
    with by_hand(tmp_path / "dig.ipynb", CELLS, environment) as hand:
        yield hand


def wait_for_question(site: Site, path: str, after: int) -> None:
    """Until that path was asked, later than the first `after` questions."""
    end = time.monotonic() + SECONDS
    while not any(one.startswith(path) for one in site.asked[after:]):
        assert time.monotonic() < end, "it was never asked"
        time.sleep(0.02)


def test_what_an_interrupted_second_look_did_not_ask_is_unknown(
    hand: ByHand, site: Site, tmp_path: Path
) -> None:
    hand.run()
    assert "WARNING" in hand.said("health-page")
    asked, site.held = len(site.asked), "/health"
    hand.click(hand.said("bar").strip())
    wait_for_question(site, "/health", asked)
    hand.interrupt()
    says = hand.tell("print(incident.verdict.status.name, bar.says.value)")
    site.held = ""
    assert says.startswith("UNKNOWN")
    assert "Interrupted. Checks that did not run again are UNKNOWN." in says
    # Not only the verdict: no cell shows what was found before, and what was asked again is shown.
    assert "OK  What share of user requests fails?" in hand.said("error-rate")
    assert "Not asked again: interrupted" in hand.said("health-page")
    assert "Not asked again: interrupted" in hand.said("cause")
    assert "Not proposed again: interrupted" in hand.said("cause")
    assert hand.said("recovery").startswith("Recovery: UNKNOWN")
    assert hand.said("open").startswith("UNKNOWN")
    verdict = verdict_of(notebook(hand.save())) or {}
    assert verdict["status"] == "UNKNOWN"
    assert [one["status"] for one in verdict["symptoms"]] == ["OK", "UNKNOWN"]
    assert "Sealed: " in hand.tell("bar.seal()\nprint(bar.says.value)")
    [bundle] = [one for one in (tmp_path / "out").iterdir() if one.is_dir()]
    assert json.loads((bundle / "verdict.json").read_text())["status"] == "UNKNOWN"
    # The bar works on, and all is asked.
    assert "WARNING" in hand.tell("bar.look()\nprint(bar.says.value)")
    assert "WARNING" in hand.said("health-page")
    hand.save()
    ended = command(["runbook", "replay", str(hand.path), "--output", str(tmp_path / "replay")])
    assert "This is a replay" in ended.out, ended.err


def test_a_cell_that_is_interrupted_takes_back_nothing_that_it_had_found(hand: ByHand, site: Site) -> None:
    hand.run("import", "open", "error-rate", "health-page")
    hand.run("open", "error-rate", "health-page")
    assert hand.said("open").startswith("WARNING")
    hand.add("health-page", "incident.tape.forget()\nincident.check(health_page)")
    asked, site.held = len(site.asked), "/health"

    def stop() -> None:
        wait_for_question(site, "/health", asked)
        hand.interrupt()

    stopping = threading.Thread(target=stop)
    stopping.start()
    hand.run("health-page")
    stopping.join()
    site.held = ""
    assert "KeyboardInterrupt" in str(hand.cells["health-page"]["outputs"])
    assert hand.tell("print(incident.verdict.status.name)") == "WARNING\n"
    assert hand.said("open").startswith("WARNING")


def test_while_it_is_asked_again_the_answer_of_before_stands_nowhere(hand: ByHand, site: Site) -> None:
    hand.run("import", "open", "error-rate", "bar")
    asked, site.held = len(site.asked), "/api/v1/query_range"
    hand.click(hand.said("bar").strip())
    wait_for_question(site, "/api/v1/query_range", asked)
    site.held = ""
    assert hand.said("open").startswith("OK")
    hand.redrawn.clear()
    assert hand.tell("print(incident.verdict.status.name)") == "OK\n"
    assert hand.redrawn[0].startswith("UNKNOWN  Cannot tell. Not asked again")
    assert hand.redrawn[-1].startswith("OK")


def test_refreshing_that_breaks_off_says_so_and_stands_at_off(hand: ByHand) -> None:
    hand.run("import", "open", "error-rate")
    hand.add("bar", BAR + "\ndef broken(**_): raise ValueError('no such thing')\nbar = Bar(incident, broken)")
    hand.add("refresh", "bar.every.value = 10")
    hand.run("bar", "refresh")
    says = hand.tell("import asyncio\nawait asyncio.sleep(0.2)\nprint(bar.every.value, bar.says.value)")
    assert says.startswith("0 ")
    assert "Auto-refresh stopped. Failed (ValueError: no such thing)." in says
