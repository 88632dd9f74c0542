"""The link of an alert, clicked: by HTTP, against a real JupyterLab, through its login page."""

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import pytest
import requests

from tests.support.alertmanagers import FakeAlertmanager
from tests.support.jupyter_server import TOKEN, Served, began, injected, led_to, logged_in, stamp
from tests.support.running import notebook


def test_a_link_prepares_the_notebook_of_its_alert_and_leads_there(served: Served) -> None:
    at = began(3)
    query = urlencode({"alertname": "HighErrorRate", "service": "shop", "severity": "x", "starts_at": at})
    path = led_to(served, served.open(query))
    assert str(path.relative_to(served.root)) == (
        f"incidents/{stamp(at)}-HighErrorRate-shop/HighErrorRate.ipynb"
    )
    said = injected(path)
    assert said["service"] == "shop"
    assert said["environment"] == "site"
    assert said["alert"] == "HighErrorRate"
    assert "severity" not in said
    assert not {"at", "lookback"} & said.keys()  # ten minutes hold the beginning: the window ends now


def test_the_notebook_is_not_executed(served: Served) -> None:
    path = led_to(served, served.open(f"alertname=ServiceDown&starts_at={began(4)}"))
    code = [cell for cell in notebook(path)["cells"] if cell["cell_type"] == "code"]
    assert len(code) > 10
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    kernels = logged_in(served).get(f"{served.address}/api/kernels", timeout=30).json()
    assert kernels == []


def test_the_injected_cell_follows_the_declared_parameters_as_with_papermill(served: Served) -> None:
    path = led_to(served, served.open(f"alertname=ServiceDown&starts_at={began(4.5)}"))
    tags = [cell["metadata"].get("tags") for cell in notebook(path)["cells"]]
    assert tags.index(["injected-parameters"]) == tags.index(["parameters"]) + 1
    assert str(served.root) not in path.read_text()


def test_the_same_link_leads_to_the_same_notebook_and_overwrites_nothing(served: Served) -> None:
    query = f"alertname=HighLatency&service=backend&starts_at={began(6)}"
    first = led_to(served, served.open(query))
    first.write_text(first.read_text().replace("# HighLatency", "# My own words", 1))
    before, files = first.read_bytes(), served.incidents()
    assert led_to(served, served.open(query)) == first
    assert led_to(served, served.open(f"{query}&severity=critical")) == first
    assert first.read_bytes() == before
    assert served.incidents() == files


def test_many_clicks_at_once_make_one_whole_notebook(served: Served) -> None:
    query = f"alertname=HighCPUUsage&service=backend&starts_at={began(7)}"
    session = logged_in(served)
    with ThreadPoolExecutor(4) as pool:
        found = {
            led_to(served, one) for one in pool.map(lambda _: served.open(query, session=session), range(8))
        }
    (path,) = found
    assert [p.name for p in path.parent.iterdir()] == ["HighCPUUsage.ipynb"]
    assert notebook(path)["nbformat"] == 4


def test_who_is_not_logged_in_goes_through_the_login_page_and_comes_back_with_the_query_intact(
    served: Served,
) -> None:
    at = began(8)
    # As hand-made links and some templates have it: neither the colons nor the slashes are escaped.
    query = f"alertname=HighErrorRate&service=backend&path=/a:b&starts_at={at}"
    session = requests.Session()
    refused = served.open(query, session=session)
    assert refused.status_code == 302
    login = urlsplit(refused.headers["Location"])
    assert login.path == "/user/oncall/login"
    assert not list((served.root / "incidents").glob(f"{stamp(at)}-*"))
    page = session.get(f"http://{urlsplit(served.address).netloc}{refused.headers['Location']}", timeout=30)
    action = re.search(r'action="([^"]*login\?next=[^"]*)"', page.text)
    assert action
    told = {"password": TOKEN, "_xsrf": session.cookies["_xsrf"]}
    back = session.post(
        f"http://{urlsplit(served.address).netloc}{action[1]}", told, allow_redirects=False, timeout=30
    )
    assert back.status_code == 302
    assert parse_qs(urlsplit(back.headers["Location"]).query) == parse_qs(query)
    again = session.get(
        f"http://{urlsplit(served.address).netloc}{back.headers['Location']}",
        allow_redirects=False,
        timeout=60,
    )
    path = led_to(served, again)
    assert path.parent.name == f"{stamp(at)}-HighErrorRate-backend"
    assert TOKEN not in again.headers["Location"]
    lab = session.get(f"http://{urlsplit(served.address).netloc}{again.headers['Location']}", timeout=60)
    assert lab.status_code == 200
    assert "jupyter-config-data" in lab.text


def test_a_wrong_password_opens_nothing(served: Served) -> None:
    session = requests.Session()
    session.get(f"{served.address}/login", timeout=30)
    told = {"password": "guess", "_xsrf": session.cookies["_xsrf"]}
    session.post(f"{served.address}/login", told, timeout=30)
    assert (
        served.open("alertname=HighErrorRate", session=session)
        .headers["Location"]
        .startswith("/user/oncall/login")
    )


def everything(served: Served) -> list[str]:
    """Every file and folder of the server's folder, and beside it; but Jupyter's own."""
    found = (p for p in served.root.parent.rglob("*") if "jupyter-home" not in p.parts)
    return sorted(str(p) for p in found)


LONG = "A" * 300
HOSTILE = {
    "no alert": ("service=backend", 400, "names no alert"),
    "an empty alert": ("alertname=", 400, "names no alert"),
    "a path up": ("alertname=" + quote("../../x"), 404, "no runbook"),
    "a path up in a true name": ("alertname=" + quote("../notebooks/HighErrorRate"), 404, "no runbook"),
    "an absolute path": ("alertname=/etc/passwd", 404, "no runbook"),
    "a long alert": (f"alertname={LONG}", 400, "300 characters"),
    "an option": ("alertname=-rf", 404, "no runbook"),
    "a null byte": ("alertname=HighErrorRate%00", 400, "U+0000"),
    "a line break": ("alertname=HighErrorRate%0a", 400, "line break"),
    "an escape": ("alertname=%1b%5b31mHighErrorRate", 400, "U+001B"),
    "half a character": ("alertname=%ff", 400, "cannot be read"),
    "a space": ("alertname=HighErrorRate%20", 404, "no runbook"),
    "another case": ("alertname=higherrorrate", 404, "no runbook"),
    "the alert twice": ("alertname=HighErrorRate&alertname=ServiceDown", 400, "twice"),
    "too much": ("alertname=HighErrorRate&" + "&".join(f"l{n}=1" for n in range(200)), 400, "cannot be read"),
    "service: a path": ("alertname=HighErrorRate&service=" + quote("../../x", safe=""), 400, "no service"),
    "service: absolute": ("alertname=HighErrorRate&service=/tmp/x", 400, "no service"),
    "service: long": (f"alertname=HighErrorRate&service={LONG}", 400, "300 characters"),
    "service: an option": ("alertname=HighErrorRate&service=-x", 400, "no service"),
    "service: control": ("alertname=HighErrorRate&service=backend%07", 400, "U+0007"),
    "service: markup": ("alertname=HighErrorRate&service=<script>alert(1)</script>", 400, "no service"),
    "component: long": (f"alertname=ComponentUnhealthy&component={LONG}", 400, "300 characters"),
    "component: control": ("alertname=ComponentUnhealthy&component=a%08", 400, "U+0008"),
    "component: seen backwards": ("alertname=ComponentUnhealthy&component=%e2%80%ae", 400, "U+202E"),
    "environment: unknown": ("alertname=HighErrorRate&environment=prod", 400, "no environment"),
    "environment: a path": ("alertname=HighErrorRate&environment=../lab", 400, "no environment"),
    "environment: control": ("alertname=HighErrorRate&environment=lab%0d", 400, "U+000D"),
    "starts_at: words": ("alertname=HighErrorRate&starts_at=yesterday", 400, "not a time"),
    "starts_at: no zone": ("alertname=HighErrorRate&starts_at=2026-01-15T03:12:00", 400, "time zone"),
    "starts_at: a path": ("alertname=HighErrorRate&starts_at=../../../x", 400, "not a time"),
    "starts_at: to come": (
        "alertname=HighErrorRate&starts_at=2190-01-01T00:00:00Z",
        400,
        "cannot be an alert",
    ),
    "starts_at: Go's zero": (
        "alertname=HighErrorRate&starts_at=0001-01-01T00:00:00Z",
        400,
        "cannot be an alert",
    ),
    "starts_at: long": (f"alertname=HighErrorRate&starts_at={'2' * 9000}", 400, "not a time"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_link_gets_a_page_that_says_why_and_writes_nothing(served: Served, kind: str) -> None:
    query, status, told = HOSTILE[kind]
    before = everything(served)
    answer = served.open(query)
    assert answer.status_code == status, answer.text
    assert told in answer.text
    assert "<script" not in answer.text
    assert "Traceback" not in answer.text
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert everything(served) == before


def test_a_link_sets_no_limit_and_no_window(served: Served) -> None:
    more = "error_rate_limit=0.99&critical_error_rate=1&idle_transaction_limit=9h"
    more += "&lookback=1s&at=x&alert=ServiceDown"
    path = led_to(served, served.open(f"alertname=HighErrorRate&starts_at={began(2)}&{more}"))
    said = injected(path)
    assert said["error_rate_limit"] == 0.05
    assert said["critical_error_rate"] == 0.05
    assert said["alert"] == "HighErrorRate"
    assert not {"idle_transaction_limit", "lookback", "at"} & said.keys()


def test_a_label_that_the_notebook_declares_is_set_and_stays_text(served: Served) -> None:
    hostile = '"; import os; os.system("x") #'
    query = urlencode({"alertname": "ComponentUnhealthy", "component": hostile, "starts_at": began(2)})
    path = led_to(served, served.open(query))
    assert injected(path)["component"] == hostile


def test_empty_labels_are_none_as_prometheus_leaves_them(served: Served) -> None:
    path = led_to(
        served, served.open(f"alertname=ComponentUnhealthy&service=&component=&starts_at={began(1)}")
    )
    assert path.parent.name.endswith("-ComponentUnhealthy-backend")
    assert "component" not in injected(path)


def test_the_window_of_a_long_alert_holds_its_beginning_and_ends_now(served: Served) -> None:
    path = led_to(served, served.open(f"alertname=HighErrorRate&starts_at={began(90)}"))
    said = injected(path)
    assert "at" not in said
    minutes = int(str(said["lookback"]).removesuffix("m"))
    assert 95 <= minutes <= 97  # and the five minutes before it in which a cause may lie


def test_the_window_of_an_alert_that_is_long_over_lies_around_its_beginning(
    served: Served, alertmanager: FakeAlertmanager
) -> None:
    path = led_to(served, served.open("alertname=HighErrorRate&starts_at=2026-01-15T03:12:00Z"))
    assert injected(path)["at"] == "2026-01-15T03:17:00Z"
    assert alertmanager.asked


def test_the_window_of_an_old_alert_that_still_fires_ends_now(
    served: Served, alertmanager: FakeAlertmanager
) -> None:
    alertmanager.fires("SlowAIResponse", "2026-01-15T03:12:00Z")
    path = led_to(served, served.open("alertname=SlowAIResponse&starts_at=2026-01-15T03:12:00Z"))
    assert "at" not in injected(path)


def test_without_a_beginning_alertmanager_says_since_when_it_fires(
    served: Served, alertmanager: FakeAlertmanager
) -> None:
    at = began(11)
    # An alert that counts all services together has no label for the service that the link names.
    alertmanager.fires("AIServiceErrors", at, component="ai_service")
    alertmanager.fires("AIServiceErrors", began(13), component="ai_service", service="shop")
    alertmanager.fires("AIServiceErrors", began(14), component="other")
    query = "alertname=AIServiceErrors&component=ai_service&service=backend&instance=1"
    path = led_to(served, served.open(query))
    assert path.parent.name == f"{stamp(at)}-AIServiceErrors-backend"


def test_without_a_beginning_and_without_alertmanager_two_clicks_are_one_incident(
    served: Served, alertmanager: FakeAlertmanager
) -> None:
    alertmanager.alerts = None
    first = led_to(served, served.open("alertname=HighMemoryUsage"))
    time.sleep(1.1)
    assert led_to(served, served.open("alertname=HighMemoryUsage")) == first


def test_two_environments_never_share_a_notebook(served: Served) -> None:
    query = f"alertname=SandboxPoolDepleted&starts_at={began(9)}"
    site = led_to(served, served.open(query))
    other = led_to(served, served.open(f"{query}&environment=lab"))
    assert other.parent.name == f"{site.parent.name}-2"
    assert (injected(site)["environment"], injected(other)["environment"]) == ("site", "lab")
    assert led_to(served, served.open(f"{query}&environment=lab")) == other


def test_a_link_in_the_place_of_the_incidents_folder_is_not_followed(served: Served, tmp_path: Path) -> None:
    at = began(44)
    folder = served.root / "incidents" / f"{stamp(at)}-HighErrorRate-backend"
    folder.parent.mkdir(exist_ok=True)
    folder.symlink_to(tmp_path)
    try:
        answer = served.open(f"alertname=HighErrorRate&starts_at={at}")
    finally:
        folder.unlink()
    assert answer.status_code == 500
    assert "cannot be written" in answer.text
    assert list(tmp_path.iterdir()) == []


def test_a_notebook_that_is_no_json_any_more_is_left_alone(served: Served) -> None:
    query = f"alertname=HighFileDescriptorUsage&starts_at={began(10)}"
    path = led_to(served, served.open(query))
    path.write_text(json.dumps({"cells": 1}))
    assert led_to(served, served.open(query)) == path
    assert path.read_text() == json.dumps({"cells": 1})
