"""The processes of a container, as far as they show how many workers serve requests.

Command lines hold secrets, so they never leave the call: only the number of workers does.
"""

from collections import Counter
from typing import Any

from runbooklib.sources.docker.engine import Engine

# By the name of the server in the command line of the parent: what the command line of a worker contains.
# uvicorn and its kin start workers by multiprocessing, gunicorn forks them.
_WORKERS = {
    "gunicorn": "gunicorn",
    "uvicorn": "multiprocessing",
    "hypercorn": "multiprocessing",
    "fastapi": "multiprocessing",
    "granian": "granian",
}
# A process of Python's own that is not a worker.
_TRACKER = "resource_tracker"


def workers_of(engine: Engine, name: str) -> dict[str, Any]:
    """`{"workers": count}`: the children of one server process. Raises SourceError."""
    container = engine.inspect(name)
    # ww: `ps` of the host must not cut the command lines to the width of a terminal.
    top = engine.json(f"/containers/{container['Id']}/top", ps_args="-efww")
    return {"workers": count_workers(top)}


def count_workers(top: dict[str, Any]) -> int:
    """The workers in the engine's answer to `top`: the most children of one server process."""
    titles = [str(title).upper() for title in top["Titles"]]
    pid, ppid = titles.index("PID"), titles.index("PPID")
    processes = {row[pid]: (row[ppid], row[-1]) for row in top["Processes"] or ()}
    children = Counter(
        parent
        for parent, command in processes.values()
        if parent in processes and _is_worker(command, processes[parent][1])
    )
    return max(children.values(), default=0)


def _is_worker(command: str, parent: str) -> bool:
    """Whether this command line is that of a worker of the server with the command line `parent`."""
    if _TRACKER in command:
        return False
    return any(server in parent and worker in command for server, worker in _WORKERS.items())
