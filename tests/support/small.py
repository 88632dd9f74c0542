"""A folder of small runbooks on a site where nothing answers: a run of one takes three seconds."""

import json
from pathlib import Path
from typing import Any

from tests.support.running import DOWN

PARAMETERS = 'environment: str = "down"\nservice: str = "backend"\nat: str = ""\nlookback: str = ""\n'
OPEN = (
    "from runbooklib.notebook import *\n"
    'incident = open_incident("{alert}", environment=environment, service=service, at=at, lookback=lookback)'
)
CHECK = "incident.check(error_rate, above=0.05)"
# The kernel kills the runner, which is its keeper's parent.
KILL = (
    "import os, signal\n"
    "keeper = open(f'/proc/{os.getppid()}/stat').read()\n"
    "os.kill(int(keeper.rpartition(')')[2].split()[1]), signal.SIGKILL)"
)
FAIL = 'raise ValueError("a <b>bug</b> in the notebook")'


def write(home: Path, alert: str, *cells: str, more_parameters: str = "") -> None:
    """A runbook of these cells, after the ones that every runbook begins with."""
    sources = [PARAMETERS + more_parameters, OPEN.format(alert=alert), *cells]
    code: list[dict[str, Any]] = [
        {
            "cell_type": "code",
            "id": f"cell-{number}",
            "metadata": {} if number else {"tags": ["parameters"]},
            "source": source,
            "outputs": [],
            "execution_count": None,
        }
        for number, source in enumerate(sources)
    ]
    title = {"cell_type": "markdown", "id": "title", "metadata": {}, "source": f"# {alert}: a small runbook"}
    spec = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    notebook = {"nbformat": 4, "nbformat_minor": 5, "metadata": spec, "cells": [title, *code]}
    (home / "notebooks" / f"{alert}.ipynb").write_text(json.dumps(notebook))


def home(folder: Path) -> dict[str, str]:
    """Write the folder; the environment variables with which `runbook` uses it."""
    for name in ("notebooks", "parameters/environments"):
        (folder / name).mkdir(parents=True)
    (folder / "parameters" / "environments" / "down.yaml").write_text(DOWN)
    write(folder, "Small", CHECK)
    return {"RUNBOOK_HOME": str(folder), "RUNBOOK_ENVIRONMENTS": "", "DOWN_PASSWORD": "hunter2-canary"}
