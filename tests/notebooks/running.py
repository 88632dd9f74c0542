"""Runs of the command line and of plain papermill, as a user starts them."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Ended:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def verdict(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.out)
        return found


def command(
    argv: Sequence[str],
    environment: Mapping[str, str] | None = None,
    cwd: Path = ROOT,
    *,
    seconds: float = 180,
) -> Ended:
    """Run a program of this virtual environment to its end."""
    ended = subprocess.run(
        [str(BIN / argv[0]), *argv[1:]],
        cwd=cwd,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    return Ended(ended.returncode, ended.stdout, ended.stderr)


def notebook(path: Path) -> dict[str, Any]:
    read: dict[str, Any] = nbformat.read(path, as_version=4)
    return read


def outputs(executed: dict[str, Any]) -> list[dict[str, Any]]:
    return [output for cell in executed["cells"] for output in cell.get("outputs", [])]


def errors(executed: dict[str, Any]) -> list[dict[str, Any]]:
    return [output for output in outputs(executed) if output["output_type"] == "error"]
