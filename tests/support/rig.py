"""Runs that are disturbed: small runbooks, a log of the steps that finished, what must hold afterwards."""

import json
import os
import shlex
import subprocess
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runbooklib.evidence import journal, manifest
from tests.support import small
from tests.support.running import BIN, ROOT
from tests.support.survey import Survey

STATUSES = {"ok", "problem", "unknown", "interrupted", "not_run"}


@dataclass
class Disturbed:
    """A run that has ended, and what it left."""

    code: int
    out: str
    err: str
    seconds: float
    output: Path

    @property
    def bundles(self) -> list[Path]:
        return list(manifest.bundles(self.output)) if self.output.is_dir() else []

    @property
    def bundle(self) -> Path:
        (bundle,) = self.bundles
        return bundle

    @property
    def notebook(self) -> dict[str, Any]:
        notebook: dict[str, Any] = json.loads((self.bundle / "notebook.ipynb").read_bytes())
        return notebook

    @property
    def steps(self) -> dict[str, tuple[str, str]]:
        """id -> (status, cause), as the notebook's cells say."""
        cells = [cell for cell in self.notebook["cells"] if cell["cell_type"] == "code"]
        return {
            cell["id"]: (cell["metadata"]["runbook"]["status"], cell["metadata"]["runbook"]["cause"])
            for cell in cells
        }

    @property
    def statuses(self) -> list[str]:
        return [status for status, _ in self.steps.values()]

    @property
    def printed(self) -> str:
        """All that the cells printed."""
        cells = [cell for cell in self.notebook["cells"] if cell["cell_type"] == "code"]
        outputs = [output for cell in cells for output in cell["outputs"]]
        return "".join("".join(output["text"]) for output in outputs if output["output_type"] == "stream")


class Rig:
    """A site where nothing answers, and runbooks whose steps leave a line in a log when they finish."""

    def __init__(self, folder: Path, survey: Survey) -> None:
        self.folder, self.survey = folder, survey
        self.environment = {**small.home(folder / "home"), **survey.environment}
        self.environment["RUNBOOK_SPOOL"] = str(folder / "spool")
        self.home = folder / "home"
        self.output = folder / "out"
        self.log = folder / "finished.log"
        self.log.touch()

    def step(self, more: str = "") -> str:
        """A cell that prints a word of its own, does more, and at last leaves the word in the log."""
        word = f"said-{uuid.uuid4().hex}"
        last = f"with open({str(self.log)!r}, 'a') as log: log.write({word + chr(10)!r})"
        return f"print({word!r})\n{more}\n{last}"

    def write(self, *cells: str, is_plain: bool = False, alert: str = "Small") -> None:
        """The runbook: by default it opens an incident and asks one check, which is then UNKNOWN."""
        if is_plain:
            write_plain(self.home, alert, *cells)
        else:
            small.write(self.home, alert, small.CHECK, *cells)

    def start(
        self,
        *options: str,
        before: Sequence[str] = (),
        output: Path | None = None,
        environment: Mapping[str, str] | None = None,
        alert: str = "Small",
    ) -> subprocess.Popen[str]:
        """`runbook run`, under way."""
        argv = [str(BIN / "runbook"), "run", alert, "--output", str(output or self.output), *options]
        return subprocess.Popen(
            [*before, *argv],
            cwd=ROOT,
            env={**os.environ, **self.environment, **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )

    def run(self, *options: str, within_seconds: float = 300, **more: Any) -> Disturbed:
        """`runbook run` to its end."""
        self.log.write_text("")
        begun = time.monotonic()
        with self.start(*options, **more) as process:
            try:
                out, err = process.communicate(timeout=within_seconds)
            finally:
                process.kill()
        return Disturbed(
            process.returncode, out, err, time.monotonic() - begun, more.get("output") or self.output
        )

    def hold(self, run: Disturbed, *, code: int) -> None:
        """The rules that every fault must hold: R2, R3, R5, R6, R7."""
        assert run.code == code, (run.code, run.err)
        assert manifest.verify_folder(run.output) == []
        self.survey.kept(self.log.read_text().split(), run.printed.split())
        assert set(run.statuses) <= STATUSES
        if any(status in ("interrupted", "not_run") for status in run.statuses):
            verdict = run.bundle / "verdict.json"
            statuses = [json.loads(verdict.read_bytes())["status"]] if verdict.exists() else ["none"]
            self.survey.never_ok(statuses)
            assert "This run did not finish" in (run.bundle / "notebook.html").read_text()
        if (run.bundle / journal.FILE).exists():
            lines, wrong = journal.read(run.bundle / journal.FILE)
            assert (bool(lines), wrong) == (True, "")
        else:  # of a run that is whole, the notebook says it all
            assert not {"interrupted", "not_run"} & set(run.statuses)
            assert json.loads((run.bundle / manifest.FILE).read_bytes())["journal"]["lines"] > len(run.steps)
        assert [path.name for path in run.output.iterdir() if path.name.startswith(".")] == []
        messages = [line for line in run.err.splitlines() if line.startswith("runbook: ")]
        assert len(messages) <= 3
        assert "Traceback" not in run.err
        self.survey.nothing_left()


def write_plain(home: Path, alert: str, *cells: str) -> None:
    """A notebook that opens no incident, so that its kernel starts in a second."""
    small.write(home, alert)
    path = home / "notebooks" / f"{alert}.ipynb"
    notebook = json.loads(path.read_bytes())
    notebook["cells"] = notebook["cells"][:2] + [
        {**notebook["cells"][1], "id": f"plain-{n}", "metadata": {}, "source": cell}
        for n, cell in enumerate(cells)
    ]
    path.write_text(json.dumps(notebook))


def until(is_so: Callable[[], object], *, within_seconds: float = 180) -> None:
    """Wait until it is so. Fails where it never becomes."""
    ends_at = time.monotonic() + within_seconds
    while not is_so():
        assert time.monotonic() < ends_at, "it did not come to that"
        time.sleep(0.02)


def shell(script: str, *arguments: str) -> list[str]:
    """A shell that does something to itself and then becomes the command that follows."""
    return ["bash", "-c", f'{script}\nexec "$@"', "bash", *arguments]


class Cgroup:
    """A control group (v1) of our own; `before` puts a command into it."""

    def __init__(self, controller: str, limits: Mapping[str, str]) -> None:
        self.folder = Path("/sys/fs/cgroup") / controller / f"runbook-{uuid.uuid4().hex[:8]}"
        self._limits = limits

    def __enter__(self) -> list[str]:
        self.folder.mkdir()
        for name, value in self._limits.items():
            (self.folder / name).write_text(value)
        return shell(f"echo $$ > {shlex.quote(str(self.folder / 'cgroup.procs'))}")

    def __exit__(self, *_: object) -> None:
        ends_at = time.monotonic() + 5
        while self.folder.exists() and time.monotonic() < ends_at:
            with suppress(OSError):
                self.folder.rmdir()
            time.sleep(0.05)
