"""Which servers the tests can use: told in the header, and never missing silently."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

from tests.support.rows import ROWS
from tests.support.survey import Survey

pytest_plugins = ["tests.support.leftovers"]

# The programs that a server goes by, and what is skipped without it.
SERVERS = {
    "prometheus": (
        ["prometheus"],
        "tests/lab, tests/sources/test_prometheus.py, tests/checks/test_traffic.py",
    ),
    "alertmanager": (
        ["prometheus-alertmanager", "alertmanager"],
        "tests/lab, tests/sources/test_alertmanager.py",
    ),
    "postgresql": (
        ["postgres", "/usr/lib/postgresql/*/bin/postgres"],
        "tests/lab, tests/notebook/test_notes.py, tests/actions/test_database.py, "
        "tests/sources/test_postgres.py",
    ),
    "dockerd": (
        ["dockerd"],
        "tests/lab, tests/sources/test_docker.py, tests/checks/test_logs.py, "
        "tests/actions/test_containers.py",
    ),
    "chromium": (["chromium", "chromium-browser"], "tests/browser"),
}
_ROOT = Path(__file__).parents[1]
_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
_LOW_PRIORITY = 5  # the niceness of tests without a lab
_found = pytest.StashKey[dict[str, str]]()


def _program(names: list[str]) -> str | None:
    for name in names:
        matches = (
            sorted(Path("/").glob(name[1:])) if name.startswith("/") else [shutil.which(name, path=_PATH)]
        )
        if matches and matches[-1]:
            return str(matches[-1])
    return None


def _version(names: list[str]) -> str:
    """The version of the first of these programs that is here; empty where none is."""
    program = _program(names)
    if program is None:
        return ""
    try:
        told = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    number = re.search(r"\d+(?:\.\d+)+", told.stdout + told.stderr)
    return number[0] if number else ""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--rows", default="", help="only tests of these rows of the matrix (F01,H02); all: any row"
    )
    parser.addoption("--seed", type=int, default=1, help="of what the survival tests do at random")


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """What the survival tests' random numbers begin with; another one with each `make survive`."""
    given: int = request.config.getoption("--seed")
    return given


@pytest.fixture
def survey(record_property: Callable[[str, object], None]) -> Iterator[Survey]:
    """The counters of the matrix; at the end no process of the test may be left."""
    found = Survey(record_property)
    yield found
    found.nothing_left()


def pytest_configure(config: pytest.Config) -> None:
    with ThreadPoolExecutor() as pool:
        versions = pool.map(_version, [programs for programs, _ in SERVERS.values()])
    found = config.stash[_found] = dict(zip(SERVERS, versions, strict=True))
    missing = [name for name, version in found.items() if not version]
    if missing and os.environ.get("CI") == "true":
        pytest.exit(f"CI=true and missing: {', '.join(missing)}; install with: make servers", returncode=3)


def pytest_report_header(config: pytest.Config) -> list[str]:
    found = config.stash[_found]
    here = ", ".join(f"{name} {version}" for name, version in found.items() if version)
    lines = [f"servers: {here or 'none'}"]
    for name, version in found.items():
        if not version:
            lines.append(f"servers: no {name}, so skipped: {SERVERS[name][1]} (make servers)")
    return lines


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    _choose_rows(config, items)
    items.sort(key=_waiting)
    for name, version in config.stash[_found].items():
        if version:
            continue
        places = [_ROOT / place for place in SERVERS[name][1].split(", ")]
        for item in items:
            if any(item.path.is_relative_to(place) for place in places):
                item.add_marker(pytest.mark.skip(reason=f"there is no {name} here: make servers"))


class Together(LoadFileScheduling):  # type: ignore[misc] # xdist is untyped
    """Where tests run side by side (`-n`), a file's stay together, with the servers that they start.

    Of the labs two run at once, and the rest of the tests beside them: more would slow each other.
    """

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        if file.startswith("tests/lab/"):
            return "the lab's illnesses" if "::test_an_illness" in nodeid else "the rest of tests/lab"
        return file


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Run tests without a lab at a lower priority: the alerts and scrapes of a lab follow the clock.

    A worker runs the tests of a lab first, so its priority is still the usual one then.
    """
    if os.environ.get("PYTEST_XDIST_WORKER") and not item.path.is_relative_to(_ROOT / "tests" / "lab"):
        os.nice(max(0, _LOW_PRIORITY - os.nice(0)))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Together:
    return Together(config, log)


def _waiting(item: pytest.Item) -> int:
    """What waits most comes first, so that the rest of the work fills its waiting."""
    order = (
        "lab",
        "faults",
        "execution",
        "evidence",
        "notebook",
        "browser",
        "jupyter",
        "sources",
        "checks",
        "actions",
    )
    folder = item.path.relative_to(_ROOT / "tests").parts[0]
    return order.index(folder) if folder in order else len(order)


def _choose_rows(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Every `row` names rows that there are; slow ones run by `make survive` and where CI is."""
    wanted = {row for row in config.getoption("--rows").split(",") if row}
    for item in list(items):
        rows = {str(row) for mark in item.iter_markers("row") for row in mark.args}
        item.user_properties += [("row", row) for row in sorted(rows)]  # for the table of `make survive`
        if rows - ROWS.keys():
            raise pytest.UsageError(f"{item.nodeid}: there is no row {', '.join(sorted(rows - ROWS.keys()))}")
        is_chosen = not wanted or (rows if wanted == {"all"} else rows & wanted)
        is_due = wanted or not item.get_closest_marker("slow") or os.environ.get("CI") == "true"
        if not is_chosen or not is_due:
            items.remove(item)
            config.hook.pytest_deselected(items=[item])
