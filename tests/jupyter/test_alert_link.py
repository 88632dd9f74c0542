"""The link of an alert: what it may say, and that what is written is read again."""

from datetime import UTC, datetime, timedelta

import pytest

from runbooklib.config import runbooks
from runbooklib.errors import ParameterError
from runbooklib.jupyter import alert_link
from runbooklib.jupyter.alert_link import Link
from tests.support.running import ROOT

NOW = datetime(2026, 1, 15, 4, 0, tzinfo=UTC)
BEGAN = datetime(2026, 1, 15, 3, 12, tzinfo=UTC)


@pytest.fixture
def component(monkeypatch: pytest.MonkeyPatch) -> runbooks.Runbook:
    monkeypatch.setenv("RUNBOOK_HOME", str(ROOT))
    return runbooks.find("ComponentUnhealthy")


@pytest.mark.parametrize(
    "written",
    [
        Link("HighErrorRate"),
        Link("HighErrorRate", "lab", {"service": "a b&c=d", "ü": "+/?#%"}, BEGAN),
        Link("../../x", "", {"x": "y\n"}, None),
    ],
)
def test_what_was_written_is_read_again(written: Link) -> None:
    assert alert_link.read(written.query, NOW) == written


def test_labels_that_have_the_name_of_something_else_are_not_written_twice() -> None:
    told = Link("A", "lab", {"alertname": "B", "environment": "prod", "starts_at": "x", "service": "s"})
    assert alert_link.read(told.query, NOW) == Link("A", "lab", {"service": "s"})


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-15T03:12:00Z",
        "2026-01-15T03:12:00.123Z",
        "2026-01-15T03:12:00.123456789Z",
        "20260115T031200Z",
        "2026-01-15T11:12:00+08:00",
        "2026-01-15T11:12:00 08:00",  # a + that was not escaped
        "2026-01-15T11:12:00.123 08:00",
        "2026-01-14T22:12:00-05:00",
    ],
)
def test_every_spelling_of_a_moment_is_the_same_moment(text: str) -> None:
    assert alert_link.moment(text, NOW) == BEGAN


@pytest.mark.parametrize("ahead", [timedelta(minutes=59), timedelta(0), -timedelta(days=9000)])
def test_a_clock_may_be_off_by_an_hour(ahead: timedelta) -> None:
    assert alert_link.moment((NOW + ahead).isoformat(), NOW) == NOW + ahead


@pytest.mark.parametrize(
    "text",
    ["2026-01-15T05:00:01Z", "1999-12-31T23:59:59Z", "2026-01-15", "12", "2026-01-15 03:12", "9" * 5000],
)
def test_a_moment_that_cannot_be_meant_is_refused(text: str) -> None:
    with pytest.raises(ParameterError) as refused:
        alert_link.moment(text, NOW)
    assert len(str(refused.value)) < 200


def test_a_label_sets_the_service_and_what_the_notebook_declares_as_a_label(
    component: runbooks.Runbook,
) -> None:
    assert alert_link.parameters_from_labels(component) == ["service", "component"]
    labels = dict.fromkeys(component.declared, "1h")
    assert alert_link.link_parameters(component, Link("ComponentUnhealthy", "lab", labels)) == {
        "service": "1h",
        "component": "1h",
        "environment": "lab",
    }


def test_every_parameter_of_every_runbook_that_a_link_may_set_is_known_here(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RUNBOOK_HOME", str(ROOT))
    found = {
        name
        for alert in runbooks.alerts()
        for name in alert_link.parameters_from_labels(runbooks.find(alert))
    }
    assert found == {"service", "component"}
