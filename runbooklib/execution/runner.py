"""Run a notebook with papermill, under deadlines, and seal the result as evidence, also after a failure."""

import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

from runbooklib.config import notebook_file, site, site_secrets, variables
from runbooklib.config.parameters import Value
from runbooklib.config.runbooks import Runbook
from runbooklib.config.site_secrets import environment_secrets
from runbooklib.errors import EvidenceError, SettingsError
from runbooklib.evidence import manifest
from runbooklib.evidence.bundle import Bundle
from runbooklib.evidence.executed_notebook import fingerprints_of, recording_of, verdict_in
from runbooklib.execution import run_state
from runbooklib.execution.limits import Deadlines
from runbooklib.execution.recorder import RunRecorder
from runbooklib.execution.run_state import Step, StepStatus
from runbooklib.redact.redactor import Redactor
from runbooklib.text import visible

OnFinding = Callable[[dict[str, Any], float], None]
_MIN_FILES = 256
_GRAMMARS = "rfc3987_syntax"
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class Run:
    """The result of a run.

    `verdict` covers the checks that ran. `failure` is the reason why the run stopped early, or empty.
    `signal` is the number of the signal that ended it, or 0. `trouble` is the reason why the evidence is
    incomplete or in another place, or empty. `has_begun` is whether any step ran.
    """

    bundle: Path
    verdict: dict[str, Any] | None
    failure: str
    seconds: float
    signal: int = 0
    trouble: str = ""
    has_begun: bool = True


@dataclass(slots=True)
class _Ending:
    """The signal that ended the run (0: none), and the former signal handlers."""

    number: int = 0
    former: dict[int, Any] = field(default_factory=dict)


def prepare(runbook: Runbook, values: Mapping[str, Value], output: Path, chromium: str = "") -> Bundle:
    """Open the folder for a run's evidence, before any request is sent. Raises InputError."""
    service = str(values.get("service") or runbook.declared["service"].default)
    return Bundle(output, runbook.alert, service, datetime.now(UTC), chromium)


def run(
    runbook: Runbook,
    values: Mapping[str, Value],
    bundle: Bundle,
    on_finding: OnFinding | None = None,
    deadlines: Deadlines | None = None,
) -> Run:
    """Run the runbook without a user interface and seal it in the bundle. Raises EvidenceError."""
    about: dict[str, Any] = {"kind": "run", "alert": runbook.alert, "parameters": dict(values)}
    about["runbook_sha256"] = manifest.sha256(runbook.notebook)
    defaults = {name: parameter.default for name, parameter in runbook.declared.items()}
    tags = [str(values.get(name) or defaults.get(name)) for name in ("environment", "service")]
    kernel = {variables.EVIDENCE: str(bundle.output.absolute()), **site_secrets.tags_for_kernel(*tags)}
    return execute(
        runbook.notebook,
        bundle,
        about,
        values=values,
        on_finding=on_finding,
        kernel_environment=kernel,
        deadlines=deadlines,
    )


def execute(
    notebook: Path,
    bundle: Bundle,
    about: Mapping[str, Any],
    *,
    values: Mapping[str, Value] | None = None,
    on_finding: OnFinding | None = None,
    kernel_environment: Mapping[str, str] | None = None,
    deadlines: Deadlines | None = None,
) -> Run:
    """Run a notebook with papermill and seal the result, also when the run was interrupted.

    `about` is added to the manifest. Raises SettingsError if the file is not a notebook, and EvidenceError.
    """
    from runbooklib.execution.kernel import Watch  # imported late: it loads jupyter_client

    _enough_files(bundle)
    start_monotonic, start_unix, limits = time.monotonic(), time.time(), deadlines or Deadlines()
    witness = RunRecorder(bundle, Redactor(environment_secrets()), about)
    watch = Watch(limits)
    with _sealed_by_signals(watch) as ending:
        failure = _run_papermill(
            notebook,
            values=values,
            start_timeout=limits.start_seconds,
            watch=watch,
            witness=witness,
            on_finding=on_finding,
            kernel_environment=kernel_environment,
        )
        if witness.account is None:
            bundle.abandon()
            raise SettingsError(
                f"{notebook.name} did not start: {failure}", hint="correct the notebook, then run it again"
            )
        about = {**about, **_clock_step_entry(start_unix, start_monotonic)}
        final, verdict, failure = seal(bundle, witness, about, failure)
    has_begun = any(step.status is not StepStatus.NOT_RUN for step in witness.account.steps)
    seconds = time.monotonic() - start_monotonic
    return Run(final, verdict, failure, seconds, ending.number, bundle.trouble or witness.trouble, has_begun)


def _clock_step_entry(start_unix: float, start_monotonic: float) -> dict[str, float]:
    """The manifest entry for a step of the system clock during the run, in seconds; empty below 1 s."""
    step = (time.time() - start_unix) - (time.monotonic() - start_monotonic)
    return {"clock_step_seconds": round(step)} if abs(step) >= 1 else {}


def seal(
    bundle: Bundle, witness: RunRecorder, about: Mapping[str, Any], failure: str
) -> tuple[Path, dict[str, Any] | None, str]:
    """Seal a run that has ended. Returns its bundle, verdict and failure. Raises EvidenceError."""
    account = witness.account
    if account is None:
        raise ValueError("the run has not begun")
    witness.ends(failure)
    failure, steps, notebook = witness.failure, account.steps, account.notebook
    if failure:
        notebook = run_state.mark_unfinished(notebook, steps, failure)
    more = {
        "alert_fingerprints": fingerprints_of(recording_of(notebook), str(about.get("alert", ""))),
        "failure": failure,
        "trouble": bundle.trouble or witness.trouble,
        "journal": witness.journal,
        "steps": [{"id": step.id, "status": step.status.value, "cause": step.cause} for step in steps],
    }
    final = bundle.finish(notebook, {**about, **more}, site.home_or_here())
    # The failure can quote an exception, and is printed: control characters must be visible.
    return final, verdict_in(final), visible(failure)


def _enough_files(bundle: Bundle) -> None:
    """Raise the limit of open files if needed: without descriptors, ZeroMQ aborts the process silently."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < _MIN_FILES and hard != resource.RLIM_INFINITY and hard < _MIN_FILES:
        bundle.abandon()
        raise EvidenceError(
            f"too few file descriptors: this process may open {hard} files, and a run needs {_MIN_FILES}",
            hint=f"ulimit -n {_MIN_FILES}",
        )
    if soft < _MIN_FILES:
        resource.setrlimit(resource.RLIMIT_NOFILE, (_MIN_FILES, hard))


@contextmanager
def _sealed_by_signals(watch: Any) -> Iterator[_Ending]:
    """While this is active, a signal ends the run and not the process, so that the evidence is sealed."""
    ending = _Ending()

    def end(number: int, _: FrameType | None) -> None:
        ending.number = ending.number or number
        watch.stop(f"ended by {signal.Signals(number).name}")

    if threading.current_thread() is threading.main_thread():
        for number in _SIGNALS:
            ending.former[number] = signal.signal(number, end)
    try:
        yield ending
    finally:
        for signal_number, former in ending.former.items():
            signal.signal(signal_number, former)


def _run_papermill(notebook: Path, *, values: Mapping[str, Value] | None, **engine: Any) -> str:
    """Run the notebook. Returns why it stopped early; empty if every step ran."""
    with _without_grammars():
        import papermill
    from jupyter_client.kernelspec import NoSuchKernel
    from nbclient.exceptions import DeadKernelError
    from papermill.engines import papermill_engines

    from runbooklib.execution.engine import NAME, RunbookEngine

    papermill_engines.register(NAME, RunbookEngine)
    # Papermill formats the path with the parameters: braces in a file name must be escaped.
    path = str(notebook).replace("{", "{{").replace("}", "}}")
    try:
        papermill.execute_notebook(
            path,
            None,  # no output file: the witness writes a redacted journal, and the bundle is made from it
            parameters=dict(values or {}),
            engine_name=NAME,
            **_kernel_of(notebook),
            progress_bar=False,
            cwd=str(site.home_or_here()),
            **engine,
        )
    except papermill.PapermillExecutionError as error:
        return _why(engine) or f"{error.ename}: {error.evalue}"
    except NoSuchKernel as error:
        return f"there is no kernel named {error.name!r} here; run `jupyter kernelspec list`"
    except (DeadKernelError, RuntimeError, OSError) as error:
        return _why(engine) or f"the kernel did not start: {str(error).strip().splitlines()[0]}"
    return _why(engine)


def _kernel_of(notebook: Path) -> dict[str, str]:
    """The kernel and the language that papermill uses. The default is Python, as in canonical form."""
    metadata = notebook_file.read(notebook).get("metadata", {})
    spec, info = metadata.get("kernelspec") or {}, metadata.get("language_info") or {}
    language = spec.get("language") or info.get("name") or "python"
    name = spec.get("name") or ("python3" if language == "python" else "")
    if not isinstance(name, str) or not isinstance(language, str) or not name:
        raise SettingsError(
            f"{notebook.name} names no kernel for the language {language!r}",
            hint="set metadata.kernelspec.name: `jupyter kernelspec list` shows the kernels",
        )
    return {"kernel_name": name, "language": language}


@contextmanager
def _without_grammars() -> Iterator[None]:
    """Import jsonschema without its check of internationalized addresses, which no notebook needs.

    That check compiles 38 grammars when it is imported: two seconds of an incident.
    """
    is_loaded = _GRAMMARS in sys.modules
    if not is_loaded:
        sys.modules[_GRAMMARS] = None  # type: ignore[assignment] # None: Python then raises ImportError for it
    try:
        yield
    finally:
        if not is_loaded:
            del sys.modules[_GRAMMARS]


def _why(engine: Mapping[str, Any]) -> str:
    """The cause of the first failed step, or of the end of the run; empty if every step ran."""
    steps: list[Step] = engine["witness"].account.steps if engine["witness"].account else []
    for step in steps:
        if step.cause:
            return f"{step.id}: {step.cause}"
    return str(engine["watch"].cause)
