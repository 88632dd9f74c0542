"""Is the service there? Real sockets: a process that hangs, a gateway, and pages with any status."""

import socket
from datetime import UTC, datetime

import pytest

from runbooklib.checks.scrape import service_reachable
from runbooklib.config.environment import Environment, Target
from runbooklib.errors import UnreachableError
from runbooklib.model.findings import Finding, Status
from runbooklib.model.window import Window
from runbooklib.render.sentences import sentence
from runbooklib.sources.context import Context, Sources
from runbooklib.sources.tape import Tape
from runbooklib.sources.web import Web
from tests.support.stand_in import answer, closed_port, name_server, standin

DEADLINE_SECONDS = 0.5


def asked(url: str, **dns: list[str]) -> Finding:
    site = Environment.model_validate(
        {
            "title": "Site",
            "systems": {"dns": dns},
            "services": {"backend": {"title": "Backend", "labels": {"job": "backend"}, "url": url}},
        }
    )
    target, tape = Target(environment_name="site", service_name="backend", environment=site), Tape()
    sources = Sources(target, tape)
    vars(sources)["web"] = Web(url, tape, deadline_seconds=DEADLINE_SECONDS)
    return service_reachable(
        Context("ServiceDown", target, Window.open(opened_at=datetime.now(UTC), lookback="10m"), sources)
    )


@pytest.mark.parametrize("status", [200, 404, 500, 503])
def test_a_page_with_any_status_of_its_own_is_an_answer(status: int) -> None:
    with standin(answer(b"{}", status=status)) as server:
        finding = asked(server.url)
    assert (finding.status, finding.facts["code"]) == (Status.OK, status)


@pytest.mark.parametrize("status", [502, 504])
def test_a_gateway_without_a_service_behind_it_is_critical(status: int) -> None:
    with standin(answer(b"", status=status)) as server:
        finding = asked(server.url)
    assert finding.status is Status.CRITICAL
    assert "a gateway says that the service behind it does not answer" in sentence(finding)


def test_a_process_that_hangs_accepts_connections_and_is_critical() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=5) as server:  # the kernel accepts, nobody reads
        finding = asked(f"http://127.0.0.1:{server.getsockname()[1]}")
    assert finding.status is Status.CRITICAL
    assert "accepts connections and does not answer" in sentence(finding)
    assert "connected, but no answer" in sentence(finding)


def test_a_closed_port_is_critical_by_its_own_step() -> None:
    finding = asked(f"http://127.0.0.1:{closed_port()}")
    assert (finding.status, finding.facts["step"]) == (Status.CRITICAL, "tcp")


def test_a_name_that_only_this_machine_does_not_know_says_nothing_about_the_service() -> None:
    with standin(answer(b"{}")) as server, name_server({"shop.test": "127.0.0.1"}) as names:
        url = f"http://shop.test:{server.url.rpartition(':')[2]}"
        with pytest.raises(UnreachableError, match=r"the name 'shop\.test' cannot be resolved"):
            asked(url, nameservers=[names])
