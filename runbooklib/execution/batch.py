"""Run several runbooks in parallel, each in its own process, so that a crash of one does not end the others.

The whole batch is checked before the first run starts. A run that was killed, exceeded its time limit or
did not start is FAILED, whatever it printed before: never OK.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from runbooklib import files
from runbooklib.config import runbooks, variables
from runbooklib.config.runbooks import Runbook
from runbooklib.errors import EvidenceError, InputError, ParameterError, suggestion
from runbooklib.evidence import manifest, pdf
from runbooklib.render import batch_index
from runbooklib.render.batch_index import FAILED, Row

INDEX = "index.html"
RUN_SECONDS = 1800.0  # per run; its steps have shorter limits
STOP_SECONDS = 10.0
_POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Planned:
    """A planned run. `given` are its parameters as text; `service` and `environment` are for display."""

    alert: str
    service: str
    environment: str
    given: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """The outcome of one run. `failure` is the reason for FAILED; `verdict` covers the checks that ran."""

    planned: Planned
    seconds: float
    failure: str = ""
    verdict: Mapping[str, Any] | None = None
    bundle: Path | None = None

    @property
    def status(self) -> str:
        """The name of a Status, or FAILED."""
        return FAILED if self.failure or self.verdict is None else str(self.verdict["status"])

    @property
    def row(self) -> Row:
        """The run as a row of the index page."""
        summary = self.failure or str((self.verdict or {}).get("headline", ""))
        name = self.bundle.name if self.bundle else ""
        has_pdf = self.bundle is not None and (self.bundle / pdf.FILE).exists()
        return Row(
            self.planned.alert, self.planned.service, self.status, summary, self.seconds, name, has_pdf
        )

    def as_dict(self) -> dict[str, Any]:
        """The verdict as `runbook run --json` prints it; `status` is FAILED where the run failed."""
        known = {"alert": self.planned.alert, "service": self.planned.service, "headline": self.failure}
        result = {"status": self.status, "failure": self.failure, "seconds": round(self.seconds, 1)}
        bundle = str(self.bundle) if self.bundle else None
        return {**known, **(self.verdict or {}), **result, "bundle": bundle}


OnChange = Callable[[Sequence[Planned], RunOutcome | None], None]


def plan(alerts: Iterable[str], services: Sequence[str], given: Mapping[str, str]) -> list[Planned]:
    """One run for each alert and service, in this order. Without services, each runbook uses its default.

    A parameter is passed only to the runbooks that declare it. Raises InputError for the first error.
    """
    chosen = [runbooks.find(alert) for alert in dict.fromkeys(alerts)]
    declared = sorted({name for runbook in chosen for name in runbook.declared})
    for name in given:
        if name not in declared:
            raise ParameterError(
                f"no runbook of this batch has a parameter {name!r}", hint=suggestion(name, declared)
            )
    wanted = [{"service": name} for name in dict.fromkeys(services)] or [{}]
    return [_planned(runbook, {**given, **service}) for runbook in chosen for service in wanted]


def _planned(runbook: Runbook, given: Mapping[str, str]) -> Planned:
    known = {name: value for name, value in given.items() if name in runbook.declared}
    values = {name: parameter.default for name, parameter in runbook.declared.items()} | runbooks.chosen(
        runbook, known
    )
    return Planned(runbook.alert, str(values["service"]), str(values["environment"]), known)


def run_all(
    planned: Sequence[Planned], output: Path, *, jobs: int, options: Sequence[str], on_change: OnChange
) -> list[RunOutcome]:
    """Run all planned runs, at most `jobs` at once, each to a bundle under `output`.

    Returns the outcomes in the order of the plan. `options` are more arguments for `runbook run`.
    `on_change(running, ended)` is called when a run begins (`ended` is None) and when a run ends. After an
    interrupt, the running processes are stopped first. The runs share the pages of the service: each is asked
    once (`sources/shared_answers`).
    """
    _writable(output)
    with tempfile.TemporaryDirectory(prefix="runbook-batch-", ignore_cleanup_errors=True) as shared:
        return _run_all(planned, output, jobs, options, on_change, shared)


def _run_all(
    planned: Sequence[Planned],
    output: Path,
    jobs: int,
    options: Sequence[str],
    on_change: OnChange,
    shared: str,
) -> list[RunOutcome]:
    waiting, running, outcomes = list(planned), list[_Running](), dict[int, RunOutcome]()
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                with _signals_deferred():
                    running.append(_Running(waiting.pop(0), output, options, shared))
                on_change([run.planned for run in running], None)
            for run in [run for run in running if run.has_ended()]:
                running.remove(run)
                ended = outcomes[id(run.planned)] = run.outcome()
                on_change([still_running.planned for still_running in running], ended)
            time.sleep(_POLL_SECONDS if running else 0)
    finally:
        for run in running:
            run.stop()
            run.close()
    return [outcomes[id(item)] for item in planned]


@contextmanager
def _signals_deferred() -> Iterator[None]:
    """Defer signals while a run starts, so that each process that started is in the list to stop."""
    received: list[int] = []
    former: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            former[number] = signal.signal(number, lambda number, _: received.append(number))
    try:
        yield
    finally:
        for signal_number, handler in former.items():
            signal.signal(signal_number, handler)
    for signal_number in dict.fromkeys(received):
        signal.raise_signal(signal_number)


def _environment(shared: str) -> dict[str, str]:
    """The environment of one run: that of the batch, with the folder of the shared answers."""
    return {**os.environ, variables.SHARED_ANSWERS: shared}


class _Running:
    """One `runbook run` process."""

    def __init__(self, planned: Planned, output: Path, options: Sequence[str], shared: str) -> None:
        self.planned = planned
        self._started = time.monotonic()
        self._out, self._err = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115 - closed in outcome()
        self._failure = ""
        self._process: subprocess.Popen[bytes] | None = None
        pairs = [word for name, value in planned.given.items() for word in ("-p", f"{name}={value}")]
        # -P: Python must not import modules from the current folder.
        argv = [sys.executable, "-P", "-m", "runbooklib", "run", planned.alert, "--json", *options]
        try:
            self._process = subprocess.Popen(
                [*argv, "--output", str(output), *pairs],
                stdin=subprocess.DEVNULL,
                stdout=self._out,
                stderr=self._err,
                env=_environment(shared),
                start_new_session=True,
            )
        except OSError as error:
            self._failure = f"could not start: {error.strerror}"

    def has_ended(self) -> bool:
        """Whether the process ended. It is stopped if it exceeds RUN_SECONDS."""
        if self._process is None or self._process.poll() is not None:
            return True
        if time.monotonic() - self._started > RUN_SECONDS:
            self._failure = f"did not end within {RUN_SECONDS:g} s"
            self.stop()
        return self._process.poll() is not None

    def stop(self) -> None:
        """End the process: SIGTERM lets it stop its kernel and seal its evidence; SIGKILL follows."""
        if self._process is None:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_SECONDS)

    def close(self) -> None:
        """Discard what the process printed."""
        self._out.close()
        self._err.close()

    def outcome(self) -> RunOutcome:
        """The outcome of the process that ended, read from what it printed."""
        seconds = time.monotonic() - self._started
        printed, errors = _read(self._out), _read(self._err)
        verdict = _verdict(printed)
        bundle = Path(verdict.pop("bundle")) if verdict else None
        inner = str(verdict.pop("failure")) if verdict else self._reason(errors)
        return RunOutcome(self.planned, seconds, self._failure or inner, verdict, bundle)

    def _reason(self, errors: str) -> str:
        """The reason why the process ended without a verdict."""
        code = self._process.returncode if self._process else 0
        if self._process and code < 0:
            return f"killed by {signal.Signals(-code).name}; what it left is sealed as interrupted"
        lines = errors.strip().splitlines()
        return lines[-1].removeprefix("runbook: ") if lines else f"ended with {code} and no verdict"


def _read(file: IO[bytes]) -> str:
    with file:
        file.seek(0)
        return file.read().decode("utf-8", "replace")


def _verdict(printed: str) -> dict[str, Any] | None:
    """The verdict that `runbook run --json` printed, or None if it printed no complete verdict."""
    try:
        verdict = json.loads(printed)
    except ValueError:
        return None
    return verdict if isinstance(verdict, dict) and {"bundle", "failure"} <= verdict.keys() else None


def _writable(output: Path) -> None:
    try:
        output.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=output):
            pass
    except OSError as error:
        raise InputError(
            f"the evidence cannot be written to {output}: {error.strerror}",
            hint="choose another folder with --output",
        ) from None


def write_index(output: Path, outcomes: Sequence[RunOutcome]) -> Path:
    """Write the index page of the runs, with links to the other bundles in the folder. Raises EvidenceError.

    The page is not evidence: no manifest lists it, and the next batch overwrites it.
    """
    rows = [outcome.row for outcome in outcomes]
    ours = {row.bundle for row in rows}
    earlier = [path.name for path in reversed(manifest.bundles(output)) if path.name not in ours]
    environments = sorted({outcome.planned.environment for outcome in outcomes})
    text = batch_index.index_page(rows, earlier, ", ".join(environments), datetime.now(UTC))
    path = output / INDEX
    try:
        files.replace(path, text.encode("utf-8", "surrogatepass"))
    except OSError as error:
        raise EvidenceError(
            f"{path} could not be written: {error.strerror}; the bundles are whole", hint="make room"
        ) from None
    return path
