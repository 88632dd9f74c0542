"""Several runbooks at once, each in a process of its own, so that one that dies takes no other with it.

Everything is planned, and refused, before the first of them starts. A run that was killed, hung or could
not start is FAILED, whatever it had said until then: never OK.
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
from runbooklib.config import runbooks
from runbooklib.config.runbooks import Runbook
from runbooklib.errors import EvidenceError, InputError, ParameterError, suggestion
from runbooklib.evidence import manifest, pdf
from runbooklib.render import batch_index
from runbooklib.render.batch_index import FAILED, Row

INDEX = "index.html"
RUN_SECONDS = 1800.0  # for one run; its cells have shorter limits of their own
STOP_SECONDS = 10.0
_LOOK_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Planned:
    """One run to come: `given` are its parameters as text; `service` and `environment` are for showing."""

    alert: str
    service: str
    environment: str
    given: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one run. `failure` says why it is FAILED; `verdict` is as far as it got."""

    planned: Planned
    seconds: float
    failure: str = ""
    verdict: Mapping[str, Any] | None = None
    bundle: Path | None = None

    @property
    def status(self) -> str:
        """A Status's name, or FAILED."""
        return FAILED if self.failure or self.verdict is None else str(self.verdict["status"])

    @property
    def row(self) -> Row:
        """The run at a glance."""
        told = self.failure or str((self.verdict or {}).get("headline", ""))
        name = self.bundle.name if self.bundle else ""
        has_pdf = self.bundle is not None and (self.bundle / pdf.FILE).exists()
        return Row(self.planned.alert, self.planned.service, self.status, told, self.seconds, name, has_pdf)

    def as_dict(self) -> dict[str, Any]:
        """The verdict as `runbook run --json` prints it; `status` is FAILED where the run failed."""
        known = {"alert": self.planned.alert, "service": self.planned.service, "headline": self.failure}
        told = {"status": self.status, "failure": self.failure, "seconds": round(self.seconds, 1)}
        bundle = str(self.bundle) if self.bundle else None
        return {**known, **(self.verdict or {}), **told, "bundle": bundle}


OnChange = Callable[[Sequence[Planned], Outcome | None], None]


def plan(alerts: Iterable[str], services: Sequence[str], given: Mapping[str, str]) -> list[Planned]:
    """One run for each alert and service, in this order; no services: the one of each runbook's parameters.

    A parameter is for the runbooks that declare it. Raises InputError for the first thing that is wrong.
    """
    found = [runbooks.find(alert) for alert in dict.fromkeys(alerts)]
    declared = sorted({name for runbook in found for name in runbook.declared})
    for name in given:
        if name not in declared:
            raise ParameterError(
                f"no runbook of this batch has a parameter {name!r}", hint=suggestion(name, declared)
            )
    wanted = [{"service": name} for name in dict.fromkeys(services)] or [{}]
    return [_planned(runbook, {**given, **service}) for runbook in found for service in wanted]


def _planned(runbook: Runbook, given: Mapping[str, str]) -> Planned:
    known = {name: value for name, value in given.items() if name in runbook.declared}
    values = {name: one.default for name, one in runbook.declared.items()} | runbooks.chosen(runbook, known)
    return Planned(runbook.alert, str(values["service"]), str(values["environment"]), known)


def run_all(
    planned: Sequence[Planned], output: Path, *, jobs: int, options: Sequence[str], on_change: OnChange
) -> list[Outcome]:
    """Run them, at most `jobs` at once, each to a bundle under `output`; outcomes in the order of the plan.

    `options` are more words for `runbook run`. `on_change(running, ended)` is called whenever a run began
    (`ended` is None) or ended. When this is interrupted, what is running is stopped first.
    """
    _writable(output)
    waiting, running, outcomes = list(planned), list[_Running](), dict[int, Outcome]()
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                with _undisturbed():
                    running.append(_Running(waiting.pop(0), output, options))
                on_change([one.planned for one in running], None)
            for one in [one for one in running if one.has_ended()]:
                running.remove(one)
                ended = outcomes[id(one.planned)] = one.outcome()
                on_change([left.planned for left in running], ended)
            time.sleep(_LOOK_SECONDS if running else 0)
    finally:
        for one in running:
            one.stop()
            one.forget()
    return [outcomes[id(one)] for one in planned]


@contextmanager
def _undisturbed() -> Iterator[None]:
    """What would end us waits until this is over: a run that began must be among those that are stopped."""
    came: list[int] = []
    former: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            former[number] = signal.signal(number, lambda number, _: came.append(number))
    try:
        yield
    finally:
        for one, handler in former.items():
            signal.signal(one, handler)
    for one in dict.fromkeys(came):
        signal.raise_signal(one)


class _Running:
    """`runbook run` in a process of its own."""

    def __init__(self, planned: Planned, output: Path, options: Sequence[str]) -> None:
        self.planned = planned
        self._started = time.monotonic()
        self._out, self._err = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115 - closed in outcome()
        self._failure = ""
        self._process: subprocess.Popen[bytes] | None = None
        pairs = [word for name, value in planned.given.items() for word in ("-p", f"{name}={value}")]
        # -P: the folder that we are in is no place to import from.
        argv = [sys.executable, "-P", "-m", "runbooklib", "run", planned.alert, "--json", *options]
        try:
            self._process = subprocess.Popen(
                [*argv, "--output", str(output), *pairs],
                stdin=subprocess.DEVNULL,
                stdout=self._out,
                stderr=self._err,
                start_new_session=True,
            )
        except OSError as error:
            self._failure = f"could not start: {error.strerror}"

    def has_ended(self) -> bool:
        """Whether it has; one that takes too long is stopped."""
        if self._process is None or self._process.poll() is not None:
            return True
        if time.monotonic() - self._started > RUN_SECONDS:
            self._failure = f"did not end within {RUN_SECONDS:g} s"
            self.stop()
        return self._process.poll() is not None

    def stop(self) -> None:
        """End it: first asked to, so that it stops its kernel and cleans up; then made to."""
        if self._process is None:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_SECONDS)

    def forget(self) -> None:
        """Nobody asks what it printed."""
        self._out.close()
        self._err.close()

    def outcome(self) -> Outcome:
        """What became of it, from what it printed."""
        seconds = time.monotonic() - self._started
        told, said = _read(self._out), _read(self._err)
        verdict = _verdict(told)
        bundle = Path(verdict.pop("bundle")) if verdict else None
        inner = str(verdict.pop("failure")) if verdict else self._reason(said)
        return Outcome(self.planned, seconds, self._failure or inner, verdict, bundle)

    def _reason(self, said: str) -> str:
        """Why it ended without a verdict."""
        code = self._process.returncode if self._process else 0
        if self._process and code < 0:
            return f"killed by {signal.Signals(-code).name}; what it left is sealed as interrupted"
        lines = said.strip().splitlines()
        return lines[-1].removeprefix("runbook: ") if lines else f"ended with {code} and no verdict"


def _read(file: IO[bytes]) -> str:
    with file:
        file.seek(0)
        return file.read().decode("utf-8", "replace")


def _verdict(printed: str) -> dict[str, Any] | None:
    """What `runbook run --json` printed, or None where it printed no whole verdict."""
    try:
        found = json.loads(printed)
    except ValueError:
        return None
    return found if isinstance(found, dict) and {"bundle", "failure"} <= found.keys() else None


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


def write_index(output: Path, outcomes: Sequence[Outcome]) -> Path:
    """The page over the runs, and links to the other bundles in the folder. Raises EvidenceError.

    It is no evidence: it is in no manifest, and the next batch writes it anew.
    """
    rows = [one.row for one in outcomes]
    ours = {row.bundle for row in rows}
    earlier = [path.name for path in reversed(manifest.bundles(output)) if path.name not in ours]
    environments = sorted({one.planned.environment for one in outcomes})
    text = batch_index.index_page(rows, earlier, ", ".join(environments), datetime.now(UTC))
    path = output / INDEX
    try:
        files.replace(path, text.encode("utf-8", "surrogatepass"))
    except OSError as error:
        raise EvidenceError(
            f"{path} could not be written: {error.strerror}; the bundles are whole", hint="make room"
        ) from None
    return path
