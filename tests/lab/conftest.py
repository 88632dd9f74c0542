"""One lab for all tests of this folder: real servers on ports and in a folder of their own."""

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import Lab, LabError, engine, postgres, processes
from tests.support.lab import REST_SECONDS
from tests.support.supervisor import prefix

RUNNING = pytest.StashKey[Lab]()
PROGRAMS = {
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "prometheus-alertmanager": "prometheus-alertmanager",
    "git": "git",
}


def missing() -> str | None:
    """Why the lab cannot run here."""
    try:
        for name, package in PROGRAMS.items():
            processes.program(name, package)
        postgres.binary("initdb")
        if not engine.answers(engine.MACHINE_SOCKET):
            processes.program("dockerd", "docker.io")
    except LabError as error:
        return str(error)
    if os.geteuid() != 0 and not engine.answers(engine.MACHINE_SOCKET):
        return "no Docker engine answers, and only root can start one"
    return None


@pytest.fixture(scope="session")
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    reason = missing()
    if reason and os.environ.get("CI") == "true":
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    lab = Lab(Path(tempfile.mkdtemp(dir="/tmp", prefix=prefix("rl"))), 31000 + 100 * worker)
    try:
        lab.up()
        request.session.stash[RUNNING] = lab
        yield lab
    finally:
        lab.down(wipe=True)


@pytest.fixture
def healed(lab: Lab) -> Lab:
    lab.heal()
    # A fault that begins within a rate window of the last one's end is, rightly, the same incident.
    time.sleep(REST_SECONDS)
    return lab


@pytest.fixture(scope="module", autouse=True)
def healed_for_the_next(request: pytest.FixtureRequest) -> Iterator[None]:
    """What a module's last test broke is no other module's trouble."""
    yield
    found = request.session.stash.get(RUNNING, None)
    if found is not None and found.status().faults:
        found.heal()
