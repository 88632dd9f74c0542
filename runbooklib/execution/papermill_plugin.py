"""The entry point that papermill loads for `papermill --engine runbook`.

Papermill loads its engines while it is being imported, and our engine imports papermill. This module avoids
the circular import: it imports the engine only when a notebook is run.
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
