"""Runs of the command line and of plain papermill, as a user starts them."""

import json
import os
import subprocess
import sys
import time
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
        printed: dict[str, Any] = json.loads(self.out)
        return printed


def command(
    argv: Sequence[str],
    environment: Mapping[str, str] | None = None,
    cwd: Path = ROOT,
    *,
    seconds: float = 600,
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


def has_ended(pid: int, *, within_seconds: float = 60.0) -> bool:
    """Whether the process ends soon: one that was killed dies a moment later, when it gets a processor."""
    ends_at = time.monotonic() + within_seconds
    while _is_running(pid):
        if time.monotonic() > ends_at:
            return False
        time.sleep(0.02)
    return True


def _is_running(pid: int) -> bool:
    """One that ended and that nobody has asked about yet does not run."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


DOWN = """
title: "A site where nothing answers"
systems:
  prometheus: {url: "http://127.0.0.1:9"}
  alertmanager: {url: "http://127.0.0.1:9"}
  docker: {url: "unix:///nowhere/docker.sock"}
  postgres: {dsn: "host=127.0.0.1 port=9 dbname=x user=x", password_env: "DOWN_PASSWORD"}
  dns: {nameservers: ["127.0.0.1:9"]}
  git: {repository: "/nowhere"}
services:
  backend:
    title: "Backend"
    labels: {job: "backend"}
    url: "http://127.0.0.1:9"
    containers: ["backend"]
    key_functions: [{name: "list", path: "/list"}]
    dependencies: [{name: "provider", url: "https://provider.invalid/"}]
"""
