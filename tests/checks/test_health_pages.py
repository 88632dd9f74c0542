"""What a health page reports of a component: the shapes and words of several frameworks."""

from typing import Any

import pytest

from runbooklib.checks.dependencies import component_health
from runbooklib.checks.health_components import health_page_contradicted
from runbooklib.checks.sandbox import pool_matches_health_page
from runbooklib.errors import Reason
from runbooklib.model.findings import Finding, Status
from runbooklib.sources.web import Web
from tests.support.asking import Asking, Check
from tests.support.stand_in import answer, standin


def asked(name: str, value: Any, check: Check, **limits: Any) -> Finding:
    with standin(answer({"status": "healthy", "components": {name: value}})) as server:
        asking = Asking({}, web=lambda tape: Web(server.url, tape))
        return asking.ask((check, limits))[0]


@pytest.mark.parametrize(
    "value",
    [{"status": "disabled"}, {"status": "DISABLED"}, "disabled", {"enabled": False}, {"status": "skipped"}],
)
def test_a_component_that_is_disabled_is_no_nonsense(value: Any) -> None:
    finding = asked("ai", value, component_health, component="ai")
    assert (finding.status, finding.reason) == (Status.OK, None)
    for name, check in (
        ("sandbox_pool", pool_matches_health_page),
        ("database", health_page_contradicted),
    ):
        finding = asked(name, value, check)
        assert (finding.status, finding.reason) == (Status.UNKNOWN, Reason.NOT_CONFIGURED)


@pytest.mark.parametrize(
    ("value", "status"),
    [
        ({"status": "UP"}, Status.OK),
        ("ok", Status.OK),
        ({"status": "pass"}, Status.OK),
        ({"status": "DOWN"}, Status.WARNING),
        ("unhealthy", Status.WARNING),
        ({"enabled": False, "status": "error"}, Status.WARNING),
        ({"enabled": True}, Status.UNKNOWN),
        ({"status": "purple"}, Status.UNKNOWN),
        (7, Status.UNKNOWN),
        (None, Status.UNKNOWN),
    ],
)
def test_the_words_and_shapes_of_others_are_read(value: Any, status: Status) -> None:
    assert asked("ai", value, component_health, component="ai").status is status
