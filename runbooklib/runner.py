"""A run: the notebook is executed by papermill and kept as evidence."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from runbooklib import settings
from runbooklib.errors import SettingsError
from runbooklib.evidence import Bundle, fingerprints_of, read_notebook, recording_of, verdict_of
from runbooklib.history import EVIDENCE_VARIABLE
from runbooklib.parameters import Value
from runbooklib.redact import Depth, Redactor
from runbooklib.render.sentences import visible
from runbooklib.runbooks import Runbook
from runbooklib.settings import environment_secrets

OnFinding = Callable[[dict[str, Any], float], None]
START_SECONDS = 60
RUN_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Run:
    """What became of a run. `verdict` is as far as it got; `failure` says why it got no further."""

    bundle: Path
    verdict: dict[str, Any] | None
    failure: str
    seconds: float


def prepare(runbook: Runbook, values: Mapping[str, Value], output: Path, chromium: str = "") -> Bundle:
    """The folder for a run's evidence, opened before anything is asked. Raises InputError."""
    service = str(values.get("service") or runbook.declared["service"].default)
    return Bundle(output, runbook.alert, service, datetime.now(UTC), chromium)


def run(
    runbook: Runbook, values: Mapping[str, Value], bundle: Bundle, on_finding: OnFinding | None = None
) -> Run:
    """Run the notebook headlessly and keep it as evidence in the bundle. Raises EvidenceError."""
    started = time.monotonic()
    about = {"kind": "run", "alert": runbook.alert, "parameters": dict(values)}
    try:
        notebook, failure = execute(
            runbook.notebook,
            bundle.notebook_path,
            values=values,
            on_finding=on_finding,
            kernel_environment={EVIDENCE_VARIABLE: str(bundle.output.absolute())},
        )
    except BaseException:
        bundle.abandon()
        raise
    about["alert_fingerprints"] = fingerprints_of(recording_of(notebook), runbook.alert)
    about["failure"] = failure
    final = bundle.finish(notebook, about, settings.home())
    return Run(final, verdict_of(notebook), failure, time.monotonic() - started)


def execute(
    notebook: Path,
    path: Path,
    *,
    values: Mapping[str, Value] | None = None,
    on_finding: OnFinding | None = None,
    kernel_environment: Mapping[str, str] | None = None,
) -> tuple[dict[str, Any], str]:
    """Run a notebook by papermill into `path`: as far as it got, and why it got no further."""
    import papermill
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from papermill.engines import papermill_engines

    from runbooklib.engine import RunbookEngine

    papermill_engines.register("runbook", RunbookEngine)
    failure = ""
    try:
        papermill.execute_notebook(
            str(notebook),
            str(path),
            parameters=dict(values or {}),
            engine_name="runbook",
            progress_bar=False,
            start_timeout=START_SECONDS,
            execution_timeout=RUN_SECONDS,
            cwd=str(settings.home_or_here()),
            kernel_environment=kernel_environment,
            on_finding=on_finding,
        )
    except papermill.PapermillExecutionError as error:
        failure = f"cell {error.exec_count}: {error.ename}: {error.evalue}"
    except (DeadKernelError, CellTimeoutError, RuntimeError) as error:
        failure = f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
    if not path.exists():
        raise SettingsError(f"the notebook did not start: {failure}", remedy="run `jupyter kernelspec list`")
    # An exception's own words are printed too, and not only kept.
    return read_notebook(path), visible(Redactor(environment_secrets()).text(failure, Depth.SECRETS))
