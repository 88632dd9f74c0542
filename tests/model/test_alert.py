from datetime import UTC, datetime
from typing import Any

import pytest

from runbooklib.errors import NonsenseError
from runbooklib.model.alert import Alert

TOLD: dict[str, Any] = {
    "labels": {"alertname": "HighErrorRate", "severity": "critical"},
    "annotations": {"summary": "many errors"},
    "startsAt": "2026-01-15T03:12:00.123456789Z",
    "endsAt": "0001-01-01T00:00:00Z",
    "fingerprint": "5ef7",
    "status": {"state": "suppressed", "silencedBy": ["s1"], "inhibitedBy": ["i1", "i2"]},
}


def test_an_alert_is_read_from_the_api() -> None:
    alert = Alert.from_alertmanager(TOLD)
    assert (alert.name, alert.state, alert.fingerprint) == ("HighErrorRate", "suppressed", "5ef7")
    assert alert.labels["severity"] == "critical"
    assert (alert.silenced_by, alert.inhibited_by) == (("s1",), ("i1", "i2"))


def test_an_alert_is_read_from_a_webhook() -> None:
    alert = Alert.from_alertmanager(TOLD | {"status": "firing"})
    assert (alert.state, alert.silenced_by, alert.inhibited_by) == ("firing", (), ())


@pytest.mark.parametrize(
    "text",
    ["2026-01-15T03:12:00.123456789Z", "2026-01-15T11:12:00.123456+08:00", "2026-01-15T03:12:00.123456"],
)
def test_times_are_aware_utc(text: str) -> None:
    alert = Alert.from_alertmanager(TOLD | {"startsAt": text})
    assert alert.starts_at == datetime(2026, 1, 15, 3, 12, 0, 123456, tzinfo=UTC)
    assert alert.starts_at.tzinfo is UTC


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000Z", "", None])
def test_an_end_that_has_not_come_is_none(text: str | None) -> None:
    assert Alert.from_alertmanager(TOLD | {"endsAt": text}).ends_at is None


def test_an_alert_that_tells_nothing_is_empty_and_not_an_error() -> None:
    alert = Alert.from_alertmanager({})
    assert (alert.name, dict(alert.labels), alert.starts_at, alert.state) == ("", {}, None, "")


@pytest.mark.parametrize(
    "wrong",
    [{"startsAt": "soon"}, {"labels": ["a"]}, {"annotations": "x"}, {"status": 3}, {"endsAt": "2026-99-99"}],
)
def test_what_no_alertmanager_says_is_nonsense(wrong: dict[str, Any]) -> None:
    with pytest.raises(NonsenseError, match="the alert"):
        Alert.from_alertmanager(TOLD | wrong)
