"""The start page, by HTTP, against a real JupyterLab."""

import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from tests.support.alertmanagers import FakeAlertmanager
from tests.support.jupyter_server import Served, began, led_to, links_in, logged_in, page, sections, stamp

MARKUP = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&amp;"


def test_what_fires_leads_to_its_runbook_in_one_click(served: Served, alertmanager: FakeAlertmanager) -> None:
    at = began(4)
    alertmanager.fires("HighErrorRate", at, "More than 5 % fail", severity="critical", service="shop")
    alertmanager.fires("DiskFull", at, "The disk is full")
    answer = page(served)
    assert answer.status_code == 200
    firing = sections(answer.text)["firing"]
    assert "More than 5 % fail" in firing
    assert '<th scope="col">Severity</th>' in firing
    assert '<span class="badge CRITICAL">critical</span>' in firing
    assert ">severity=" not in firing
    assert "DiskFull (no runbook)" in firing
    (link,) = links_in(firing)
    path = led_to(served, served.open(urlsplit(link).query))
    assert link.startswith("/user/oncall/runbooks/open?")
    assert path.parent.name == f"{stamp(at)}-HighErrorRate-shop"


def test_the_most_severe_alerts_come_first_and_another_word_is_shown_as_it_is(
    served: Served, alertmanager: FakeAlertmanager
) -> None:
    for name, severity in (("DiskFull", "P3"), ("NoLabel", ""), ("HighLatency", "Warning")):
        alertmanager.fires(name, began(1), "x", **({"severity": severity} if severity else {}))
    alertmanager.fires("HighErrorRate", began(9), "x", severity="critical")
    firing = sections(page(served).text)["firing"]
    order = [firing.index(name) for name in ("HighErrorRate", "HighLatency", "DiskFull")]
    assert order == sorted(order)
    assert '<span class="badge">P3</span>' in firing
    assert '<span class="badge WARNING">Warning</span>' in firing


def test_the_page_needs_a_login(served: Served) -> None:
    answer = requests.get(f"{served.address}/runbooks", allow_redirects=False, timeout=30)
    assert answer.status_code == 302
    assert answer.headers["Location"].startswith("/user/oncall/login?next=")


def test_every_text_of_a_system_is_escaped_and_nothing_can_run(
    served: Served, alertmanager: FakeAlertmanager
) -> None:
    alertmanager.fires("HighErrorRate", began(2), MARKUP, component=MARKUP)
    alertmanager.fires(MARKUP, began(2))
    answer = page(served)
    assert "<script" not in answer.text
    assert "<img" not in answer.text
    assert "&lt;script&gt;" in answer.text
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    assert answer.headers["Cache-Control"] == "no-store"
    assert 'style="' not in answer.text
    assert not [one for one in links_in(answer.text) if not one.startswith("/user/oncall/")]


def test_a_dead_alertmanager_is_named_under_not_checked_and_nothing_is_called_quiet(
    served: Served, alertmanager: FakeAlertmanager
) -> None:
    alertmanager.alerts = None
    found = sections(page(served).text)
    assert "UNKNOWN" in found["firing"]
    assert "Alertmanager holds no alert" not in found["firing"]
    assert "alertmanager at http://127.0.0.1" in found["not-checked"]
    assert "HighErrorRate" in found["all"]


@pytest.mark.usefixtures("alertmanager")
def test_where_nothing_fires_the_page_says_who_said_so(served: Served) -> None:
    found = sections(page(served).text)
    assert "Alertmanager holds no alert" in found["firing"]
    assert "not-checked" not in found


@pytest.mark.usefixtures("alertmanager")
def test_all_runbooks_are_there_and_a_search_finds_some(served: Served) -> None:
    everything = links_in(sections(page(served).text)["all"])
    assert len(everything) == 18
    found = links_in(sections(page(served, "q=LATENCY").text)["all"])
    assert [re.search(r"alertname=(\w+)", one)[1] for one in found] == ["HighLatency", "VeryHighLatency"]  # type: ignore[index]
    none = page(served, f"q={MARKUP}")
    assert "None of that name" in none.text
    assert "<script" not in none.text


@pytest.mark.usefixtures("alertmanager")
def test_the_page_is_asked_for_again_by_itself_until_somebody_searches_or_stops_it(served: Served) -> None:
    again = '<meta http-equiv="refresh" content="30">'
    assert again in page(served).text
    assert again not in page(served, "q=x").text
    assert again not in page(served, "refresh=off").text


@pytest.mark.usefixtures("alertmanager")
def test_an_environment_that_is_not_there_is_said_and_not_replaced(served: Served) -> None:
    found = sections(page(served, "environment=prod").text)
    assert "UNKNOWN" in found["firing"]
    assert "no environment" in found["not-checked"]


@pytest.mark.usefixtures("alertmanager")
def test_recent_evidence_leads_to_its_page_as_it_was_sealed(served: Served, bundle: Path) -> None:
    recent = sections(page(served).text)["runs"]
    assert "UNKNOWN" in recent
    assert "HighErrorRate" in recent
    (link,) = links_in(recent)
    assert link == f"/user/oncall/runbooks/evidence/{bundle.name}"
    shown = page(served, path=f"/evidence/{bundle.name}")
    assert shown.content == (bundle / "notebook.html").read_bytes()
    assert "sandbox" in shown.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    "name", ["..%2f..%2fetc", "%2e%2e%2fparameters", "nothing", ".hidden", "a%00b", "parameters"]
)
def test_evidence_that_the_ledger_does_not_know_is_not_served(
    served: Served, bundle: Path, name: str
) -> None:
    assert bundle.is_dir()
    assert page(served, path=f"/evidence/{name}").status_code in (400, 404)


@pytest.mark.alone
def test_a_slow_alertmanager_does_not_block_the_server(
    served: Served, alertmanager: FakeAlertmanager
) -> None:
    alertmanager.delay_seconds = 2.5
    session = logged_in(served)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(page, served)
        time.sleep(0.5)
        began_at = time.monotonic()
        assert session.get(f"{served.address}/api", timeout=10).status_code == 200
        assert time.monotonic() - began_at < 2
        assert not slow.done()
        assert "Alertmanager holds no alert" in slow.result(30).text


@pytest.mark.alone
def test_an_alertmanager_that_never_answers_is_waited_for_three_seconds(
    served: Served, alertmanager: FakeAlertmanager
) -> None:
    alertmanager.delay_seconds = 8
    began_at = time.monotonic()
    found = sections(page(served).text)
    assert time.monotonic() - began_at < 7
    assert "alertmanager" in found["not-checked"]
