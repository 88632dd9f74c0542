"""Alerts of one rule that differ in a label: each has a notebook, and a headless run, of its own."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest

from tests.support.alertmanagers import FakeAlertmanager
from tests.support.jupyter_server import (
    Served,
    began,
    injected,
    led_to,
    links_in,
    opened,
    page,
    query,
    ran,
    sections,
    stamp,
)
from tests.support.running import notebook


def test_two_components_at_the_same_second_have_a_notebook_each(served: Served) -> None:
    at = began(3)
    for component in ("database", "ai_service", "database"):
        path = led_to(served, served.open(query(at, component=component)))
        assert path.parent.name == f"{stamp(at)}-ComponentUnhealthy-backend-{component}"
        assert injected(path)["component"] == component
        told = notebook(path)["metadata"]["runbook"]["incident"]
        assert told["labels"] == {"component": component}


def test_a_link_without_the_label_does_not_lead_to_one_with_it(served: Served) -> None:
    at = began(4)
    led_to(served, served.open(query(at, component="database")))
    path = led_to(served, served.open(query(at)))
    assert path.parent.name == f"{stamp(at)}-ComponentUnhealthy-backend"
    assert "component" not in injected(path)


def test_no_two_labels_become_one_folder_and_each_name_is_plain(served: Served) -> None:
    at = began(5)
    hostile = ("../../x", "a/b", "a b", "a_b", "A_B", "ü" * 200, "ö" * 200, ".", "..", "x" * 200, "2")
    found = {}
    for component in hostile:
        path = led_to(served, served.open(query(at, component=component)))
        assert injected(path)["component"] == component
        name = path.parent.name.removeprefix(f"{stamp(at)}-ComponentUnhealthy-backend-")
        assert re.fullmatch(r"[A-Za-z0-9_-]{1,80}", name), name
        assert path.parent.parent == served.root / "incidents"
        found[component] = path
    assert len(set(found.values())) == len(hostile)


def test_what_only_looks_like_the_label_has_a_folder_of_its_own(desk: Path) -> None:
    """A number behind a folder's name, or a service with a `-`, may spell another incident's name."""
    environments = desk.parent / "environments" / "site.yaml"
    told = json.loads(environments.read_text())
    told["services"]["backend-database"] = told["services"]["backend"]
    environments.write_text(json.dumps(told))
    at = began(6)
    first = opened(desk, query(at, component="database"))
    second = opened(desk, query(at, service="backend-database"))
    assert second.parent.name == f"{first.parent.name}-2"
    assert (injected(first)["component"], injected(second)["service"]) == ("database", "backend-database")
    assert opened(desk, query(at, service="backend-database")) == second


def test_the_links_of_the_start_page_lead_to_a_notebook_each(
    served: Served, alertmanager: FakeAlertmanager
) -> None:
    at = began(7)
    for component in ("database", "sandbox"):
        alertmanager.fires("ComponentUnhealthy", at, component=component, service="backend")
    links = links_in(sections(page(served).text)["firing"])
    paths = [led_to(served, served.open(urlsplit(one).query)) for one in links]
    assert sorted(str(injected(path)["component"]) for path in paths) == ["database", "sandbox"]


@pytest.mark.usefixtures("alertmanager")
def test_without_a_beginning_the_folder_of_another_component_is_not_taken(desk: Path) -> None:
    asked = {"alertname": "ComponentUnhealthy", "service": "backend"}
    first = opened(desk, urlencode({**asked, "component": "database"}))
    assert opened(desk, urlencode({**asked, "component": "sandbox"})) != first
    assert opened(desk, urlencode({**asked, "component": "database"})) == first


def test_a_headless_run_of_another_component_is_not_shown(desk: Path) -> None:
    at = began(1)
    bundle = ran(desk, "ComponentUnhealthy", "component=database", "lookback=20m")
    other = opened(desk, query(at, component="sandbox"))
    assert other.name == "ComponentUnhealthy.ipynb"
    assert opened(desk, query(at)).name == "ComponentUnhealthy.ipynb"
    assert opened(desk, query(at, component="database")).name == f"{bundle.name}.ipynb"


def test_a_run_with_a_limit_that_somebody_chose_is_not_the_headless_run(desk: Path) -> None:
    at = datetime.now(UTC) - timedelta(minutes=1)
    ran(desk, "HighErrorRate", "error_rate_limit=0.99")
    asked = query(f"{at:%Y-%m-%dT%H:%M:%SZ}", alert="HighErrorRate")
    assert opened(desk, asked).name == "HighErrorRate.ipynb"
    # What is written out is the same as what the notebook declares.
    bundle = ran(desk, "HighErrorRate", "error_rate_limit=0.05", "service=backend")
    assert opened(desk, asked).name == f"{bundle.name}.ipynb"
