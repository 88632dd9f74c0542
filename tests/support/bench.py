"""A home whose kernels leave a mark, so that "refused before a kernel starts" is seen and not believed."""

import json
import resource
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import small
from tests.support.running import Ended, command
from tests.support.survey import Survey

_TRIES = 5


@dataclass
class Bench:
    """A home with one small runbook, whose kernels leave a mark, and where code would leave another."""

    folder: Path
    environment: dict[str, str]

    @property
    def output(self) -> Path:
        return self.folder / "evidence"

    @property
    def kernel_mark(self) -> Path:
        return self.folder / "a-kernel-was-here"

    @property
    def code_mark(self) -> Path:
        return self.folder / "code-was-here"

    def write(self, name: str, content: str | bytes) -> None:
        """A file of parameters/."""
        raw = content.encode() if isinstance(content, str) else content
        (self.folder / "home" / "parameters" / name).write_bytes(raw)

    def declare(self, more: str, *cells: str) -> None:
        small.write(self.folder / "home", "Small", *(cells or ("1",)), more_parameters=more)

    def run(self, *more: str) -> Ended:
        argv = ["runbook", "run", "Small", "--json", "--output", str(self.output), *more]
        return command(argv, self.environment)

    def refused(
        self,
        *more: str,
        expected_words: Sequence[str] = (),
        argv: Sequence[str] = (),
        within: float = 1.0,
        after: str = "",
    ) -> None:
        """Run it: exit 3, one short line that has these words, within a second, no kernel, no evidence.

        The second is one of a processor: how long it waits for one says nothing of us.
        """
        whole = argv or ["runbook", "run", "Small", "--output", str(self.output), *more]
        for _ in range(_TRIES):  # caches that are cold are no fault of ours
            before = _processor_seconds()
            ended = command(whole, self.environment)
            if _processor_seconds() - before < within:
                break
        else:
            pytest.fail(f"not once refused within {within} s: {ended.err[:500]}")
        assert ended.code == 3, (ended.code, ended.err[-500:])
        line = ended.err.removeprefix(after)
        assert (ended.out, len(line.splitlines())) == ("", 1), ended.err[:500]
        assert len(line) < 600
        assert all(c.isprintable() for c in line.rstrip("\n")), ended.err
        for words in expected_words:
            assert words in line, ended.err
        assert not self.kernel_mark.exists()
        assert not self.code_mark.exists()
        assert not list(self.output.rglob("*"))


def _processor_seconds() -> float:
    """What the processes that this one started, and that have ended, took of a processor."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def made_bench(tmp_path: Path, survey: Survey) -> Bench:
    """The bench of one test: a kernelspec stands in the place of the usual one."""
    made = Bench(tmp_path, {})
    spec = tmp_path / "jupyter" / "kernels" / "python3"
    spec.mkdir(parents=True)
    script = f'touch {made.kernel_mark}; exec {sys.executable} -m ipykernel_launcher -f "$0"'
    argv = ["/bin/sh", "-c", script, "{connection_file}"]
    kernelspec = {"argv": argv, "display_name": "P", "language": "python"}
    (spec / "kernel.json").write_text(json.dumps(kernelspec))
    made.environment |= small.home(tmp_path / "home") | survey.environment
    made.environment["JUPYTER_PATH"] = str(tmp_path / "jupyter")
    return made
