"""The papermill engine of runbooklib, also for `papermill --engine runbook`.

Plain papermill reports a step that never ran as completed; this engine reports `not_run`. Steps and runs have
deadlines, the size of outputs is limited, and a save is atomic and contains no known secret. The options of
papermill act as its documentation says; an option that this engine does not have is refused.
"""

import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any, BinaryIO, TextIO

from papermill.engines import NBClientEngine, NotebookExecutionManager
from papermill.log import logger
from traitlets.config import Config

from runbooklib.config import variables
from runbooklib.config.site_secrets import environment_secrets
from runbooklib.errors import ParameterError, suggestion
from runbooklib.evidence import signature
from runbooklib.evidence.sanitize import cleaned
from runbooklib.execution.kernel import KeptKernelManager, Watch, ipc_in
from runbooklib.execution.limits import Deadlines
from runbooklib.execution.notebook_client import Client
from runbooklib.execution.papermill_output import save, without_secrets
from runbooklib.execution.run_state import METADATA, StepStatus, marked
from runbooklib.redact.redactor import Redactor

NAME = "runbook"
_MAX_LOG_BYTES = 10_000
_NEVER_SECONDS = 10**6
# Options of nbclient that act with this engine. Its deadlines and its kernel manager are this engine's own.
_NBCLIENT_OPTIONS = frozenset(
    "allow_errors allow_error_names extra_arguments force_raise_errors ipython_hist_file on_cell_complete "
    "on_cell_error on_cell_execute on_cell_executed on_cell_start on_notebook_complete on_notebook_error "
    "on_notebook_start record_timing resources shell_timeout_interval shutdown_kernel skip_cells_with_tag "
    "store_widget_state".split()
)
OnFinding = Callable[[dict[str, Any], float], None]


class Manager(NotebookExecutionManager):  # type: ignore[misc] # papermill is untyped
    """Marks every step with its status and reports it to the witness."""

    def __init__(self, *args: Any, witness: Any = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.witness = witness or _NoWitness()
        self.running = 0
        self.update_streams: Callable[[], None] = lambda: None  # writes the text of streams that still grow
        self._began_at = self._started_at = monotonic()

    def save(self, **_: Any) -> None:
        """Write the notebook, if there is an output path: atomically on this machine, else with papermill."""
        if self.output_path:
            self.update_streams()
            save(self.output_path, cleaned(self.nb, Redactor(environment_secrets())))
        self.last_save_time = self.now()

    def notebook_start(self, **kwargs: Any) -> None:
        """Mark every step as not run, and report the notebook to the witness."""
        super().notebook_start(**kwargs)
        for cell in self.nb.cells:
            if cell.cell_type == "code":
                cell.metadata.update(marked(cell.metadata, StepStatus.NOT_RUN))
        self.witness.begins(self.nb)
        self.save()

    def cell_start(self, _: Any, cell_index: int | None = None, **__: Any) -> None:
        """Mark the step as interrupted until `step_ended`: this process can be killed before that."""
        self.running, self._began_at = cell_index or 0, monotonic()
        self._mark(self.running, StepStatus.INTERRUPTED, "", status="running", start_time=self._time())

    def step_ended(self, cell_index: int, status: StepStatus, cause: str) -> None:
        """Mark the step with its final status and cause."""
        seconds = round(monotonic() - self._began_at, 6)
        if status is StepStatus.INTERRUPTED or cause:
            self.nb.metadata.papermill["exception"] = True
        self._mark(cell_index, status, cause, end_time=self._time(), duration=seconds)
        if self.pbar:
            self.pbar.update(1)

    def require_every_step(self) -> None:
        """Raise RuntimeError if a step did not run and no step says why. An early exit says why."""
        cells = [cell for cell in self.nb.cells if cell.cell_type == "code"]
        states = [cell.metadata[METADATA] for cell in cells]
        pending = [state for state in states if state["status"] == StepStatus.NOT_RUN.value]
        if pending and not any(state["cause"] for state in states):
            raise RuntimeError(f"{len(pending)} of {len(cells)} code cells did not run")

    def _mark(self, cell_index: int, step_status: StepStatus, cause: str, **fields: Any) -> None:
        cell = self.nb.cells[cell_index]
        cell.metadata.update(marked(cell.metadata, step_status, cause, **fields))
        self.witness.step(cell_index, cell.metadata, cell.execution_count)
        self.save()

    def notebook_complete(self, **_: Any) -> None:
        """Record the end of the run. Steps that did not run stay `not_run`."""
        self.end_time = self.now()
        seconds = monotonic() - self._started_at
        self.nb.metadata.papermill.update(end_time=self.end_time.isoformat(), duration=seconds)
        self.complete_pbar()
        self.cleanup_pbar()
        self.witness.metadata(self.nb.metadata)
        self.save()

    def _time(self) -> str:
        return str(self.now().isoformat())


class _NoWitness:
    """Ignores every report: with the papermill command there is no witness."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_, **__: None


class RunbookEngine(NBClientEngine):  # type: ignore[misc] # papermill is untyped
    """`papermill --engine runbook`."""

    @classmethod
    def execute_notebook(
        cls,
        nb: Any,
        kernel_name: str,
        output_path: str | None = None,
        *,
        progress_bar: bool = True,
        log_output: bool = False,
        autosave_cell_every: int = 30,
        witness: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Run the notebook under `Manager`. Returns the executed notebook."""
        manager = Manager(
            nb,
            output_path=output_path,
            progress_bar=progress_bar,
            log_output=log_output,
            autosave_cell_every=autosave_cell_every,
            witness=witness,
        )
        manager.notebook_start()
        try:
            cls.execute_managed_notebook(manager, kernel_name, log_output=log_output, **kwargs)
            manager.require_every_step()
        finally:
            manager.notebook_complete()
        # Papermill writes this notebook to the output path once more.
        return manager.nb if witness else without_secrets(manager.nb, Redactor(environment_secrets()))

    @classmethod
    def execute_managed_notebook(
        cls,
        nb_man: Any,
        kernel_name: str,
        *,
        start_timeout: float = 60.0,
        execution_timeout: float | None = None,
        run_seconds: float | None = None,
        watch: Watch | None = None,
        on_finding: OnFinding | None = None,
        kernel_environment: Mapping[str, str] | None = None,
        log_output: bool = False,
        stdout_file: TextIO | None = None,
        stderr_file: TextIO | None = None,
        **options: Any,
    ) -> Any:
        """Run the steps; `on_finding(finding, seconds)` is called for each finding as soon as it arrives.

        Raises ParameterError for an option that this engine does not have.
        """
        timeout = execution_timeout or options.pop("timeout", None)
        _refuse_unknown(options)
        steps = sum(cell.cell_type == "code" for cell in nb_man.nb.cells)
        watch = watch or Watch(_deadlines(timeout, run_seconds, steps))
        # Sockets in a private folder: every user of this machine can connect to a TCP port.
        with tempfile.TemporaryDirectory(prefix="runbook-") as folder, watch:
            client = Client(
                nb_man,
                kernel_name=kernel_name,
                kernel_manager_class=KeptKernelManager,
                timeout=None,
                iopub_timeout=_NEVER_SECONDS,  # the watch enforces the deadlines
                startup_timeout=start_timeout,
                witness=nb_man.witness,
                watch=watch,
                on_finding=on_finding,
                log=logger,
                log_output=log_output,
                stdout_file=stdout_file,
                stderr_file=stderr_file,
                **{name: value for name, value in options.items() if name != "input_path"},
                config=Config({"KernelManager": ipc_in(Path(folder))}),
            )
            # This log can explain why a kernel did not start.
            with (Path(folder) / "kernel.log").open("w+b") as log:
                try:
                    environment = {**_kernel_environment(), **(kernel_environment or {})}
                    return client.execute(env=environment, stdin=watch.line, stdout=log, stderr=log)
                except RuntimeError as error:
                    raise RuntimeError(f"{error}{_last_line(log)}") from None


def _refuse_unknown(options: Mapping[str, Any]) -> None:
    for name in options.keys() - {"input_path"} - _NBCLIENT_OPTIONS:
        raise ParameterError(
            f"the papermill engine {NAME!r} has no option {name!r}",
            hint=suggestion(name, sorted({"execution_timeout", "run_seconds", *_NBCLIENT_OPTIONS})),
        )


def _deadlines(step_seconds: float | None, run_seconds: float | None, steps: int) -> Deadlines:
    """The deadlines of a run. As in papermill, a negative number of seconds means no deadline.

    If only the time of a step is given, the run may take that time for each of its steps.
    """
    limits = Deadlines()
    if not step_seconds:
        return replace(limits, run_seconds=run_seconds or limits.run_seconds)
    step = step_seconds if step_seconds > 0 else _NEVER_SECONDS
    return replace(
        limits, step_seconds=step, run_seconds=run_seconds or max(limits.run_seconds, step * steps)
    )


def _kernel_environment() -> dict[str, str]:
    """The environment without the signing key and the credentials of actions: a cell only reads systems."""
    kept = signature.kernel_environment(os.environ)
    return {name: value for name, value in kept.items() if not name.startswith(variables.OPERATOR_PREFIX)}


def _last_line(log: BinaryIO) -> str:
    log.seek(0)
    lines = log.read()[-_MAX_LOG_BYTES:].decode("utf-8", "backslashreplace").strip().splitlines()
    return f": {lines[-1].strip()}" if lines else ""
