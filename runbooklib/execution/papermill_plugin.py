"""What papermill finds by its entry point: `papermill --engine runbook`.

Papermill loads its engines while it is being imported, and our engine needs papermill: so this stands for
it, and fetches it when there is a notebook to run.
"""

from importlib import import_module
from typing import Any


def _engine() -> Any:
    return import_module("runbooklib.execution.engine").RunbookEngine


def execute_notebook(*args: Any, **kwargs: Any) -> Any:
    """Run a notebook; see `runbooklib.execution.engine`."""
    return _engine().execute_notebook(*args, **kwargs)


def nb_kernel_name(*args: Any, **kwargs: Any) -> Any:
    """The kernel that the notebook names."""
    return _engine().nb_kernel_name(*args, **kwargs)


def nb_language(*args: Any, **kwargs: Any) -> Any:
    """The language that the notebook names."""
    return _engine().nb_language(*args, **kwargs)
