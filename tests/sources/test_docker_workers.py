"""The worker processes of a container: counted in the engine's list of processes, which is not kept."""

import json

import pytest

from runbooklib.sources.docker.client import Docker
from runbooklib.sources.docker.processes import count_workers
from runbooklib.sources.tape import Tape
from tests.support.dockerd import Engine, until_true

UVICORN = "/usr/bin/python -m uvicorn app:app --workers 4"
SPAWNED = "/usr/bin/python -c from multiprocessing.spawn import spawn_main; spawn_main(tracker_fd=5)"
TRACKER = "/usr/bin/python -c from multiprocessing.resource_tracker import main;main(4)"
GUNICORN = "gunicorn: master [app:app]"


def top(*processes: tuple[str, str, str]) -> dict[str, object]:
    titles = ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
    rows = [["root", pid, parent, "0", "10:00", "?", "00:00:00", text] for pid, parent, text in processes]
    return {"Titles": titles, "Processes": rows}


@pytest.mark.parametrize(
    ("processes", "workers"),
    [
        ([("10", "1", UVICORN), ("11", "10", TRACKER), *[(f"2{n}", "10", SPAWNED) for n in range(4)]], 4),
        ([("10", "1", GUNICORN), ("11", "10", "gunicorn: worker [app:app]"), ("12", "10", GUNICORN)], 2),
        ([("10", "1", "uvicorn app:app")], 0),
        # A pool of processes that one server forks has the command line of the server.
        (
            [
                ("10", "1", "uvicorn app:app"),
                ("11", "10", "uvicorn app:app"),
                ("12", "10", "uvicorn app:app"),
            ],
            0,
        ),
        ([("10", "1", "postgres"), ("11", "10", "postgres: writer"), ("12", "10", "postgres: logger")], 0),
        ([], 0),
    ],
)
def test_the_children_of_a_server_are_its_workers(
    processes: list[tuple[str, str, str]], workers: int
) -> None:
    assert count_workers(top(*processes)) == workers


def test_the_workers_of_a_real_container_are_counted_and_no_command_line_is_kept(
    url: str, engine: Engine
) -> None:
    child = "sh -c 'while :; do sleep 1; done # gunicorn worker planted-secret'"
    name = engine.run(f"{child} & {child} & {child} & wait # gunicorn master")

    def counted() -> int:
        return Docker(url, Tape()).workers(name)

    until_true(lambda: counted() == 3)
    tape = Tape()
    assert Docker(url, tape).workers(name) == 3
    assert "planted-secret" not in json.dumps([entry.as_dict() for entry in tape.take_recorded()])
