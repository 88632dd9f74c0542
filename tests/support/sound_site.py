"""A site whose every system answers soundly: small stand-ins, a real PostgreSQL, a real clone of git.

`Answers` are what a sound system says to a request; a test puts a lie in the place of some of them.
"""

import json
import os
import re
import shutil
import struct
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from runbooklib.config.environment import Environment, Target
from runbooklib.model.window import Window
from runbooklib.sources.context import Context, Sources
from runbooklib.sources.tape import Tape
from tests.support.servers import running
from tests.support.stand_in import Asked, Behaviour, answer, closed_port
from tests.support.supervisor import prefix

TOKEN = "canary-of-the-site-5d1c"
TOKEN_VARIABLE = "RUNBOOK_SOUND_TOKEN"
NAME = "provider.test"
STARTED = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=3)
LABELS = {
    "__name__": "x",
    "alertname": "Alert",
    "component": "x",
    "endpoint": "/x",
    "error_type": "x",
    "instance": "x",
    "job": "backend",
    "language": "x",
    "le": "10",
    "method": "GET",
    "model": "x",
    "operation": "x",
    "status_code": "200",
}
RULE = "sound_rule > 1"
# What is counted and what is not: the first that stands in a query says which value it has.
VALUES = (
    (RULE, None),
    ("up == 0", None),
    ("ALERTS", None),
    ("changes(", "0"),
    ("resets(", "0"),
    ("5..", "0"),
    ('"error"', "0"),
    ("_errors_", "0"),
    ("sandbox_pool_in_use", "0.5"),
    ("increase(", "100"),
    ("", "1"),
)
HEALTH = {
    "status": "healthy",
    "components": {
        "database": {"status": "healthy"},
        "sandbox_pool": {"status": "healthy", "available_containers": 1},
        "x": {"status": "healthy"},
    },
}
Samples = Callable[[float, str], tuple[float, str]]


def prometheus_data(asked: Asked, change: Samples = lambda at, value: (at, value)) -> dict[str, Any]:
    """What a sound Prometheus says; each sample as `change` makes it of its time and value."""
    params = {name: given[0] for name, given in {**asked.params, **asked.form}.items()}
    if asked.path == "/api/v1/rules":
        rule = {"name": "Alert", "query": RULE, "type": "alerting", "state": "inactive", "labels": {}}
        return {"groups": [{"name": "g", "rules": [rule]}]}
    if asked.path == "/api/v1/targets":
        return {"activeTargets": []}
    value = next(value for part, value in VALUES if part in params.get("query", ""))
    is_range = asked.path == "/api/v1/query_range"
    times = _grid(params) if is_range else [_seconds(params.get("time", datetime.now(UTC).isoformat()))]
    samples = [list(change(at, value)) for at in times] if value is not None else []
    series: dict[str, Any] = {"metric": _labels(params.get("query", ""))}
    series |= {"values": samples} if is_range else {"value": next(iter(samples), None)}
    return {"resultType": "matrix" if is_range else "vector", "result": [series] if samples else []}


def _labels(query: str) -> dict[str, str]:
    """Those that it sums by; all of them where nothing is summed."""
    if by := re.search(r"by\(([^)]+)\)", query):
        kept = set(by[1].split(",")) - ({"le"} if "histogram_quantile" in query else set())
        return {name: value for name, value in LABELS.items() if name in kept}
    return {} if re.search(r"sum|max|min|histogram_quantile|count", query) else LABELS


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _grid(params: dict[str, str]) -> list[float]:
    start, end, step = _seconds(params["start"]), _seconds(params["end"]), float(params["step"])
    return [start + number * step for number in range(int((end - start) / step + 1e-9) + 1)]


def sound_prometheus(asked: Asked) -> Behaviour:
    """Every series that is asked for is there, steady, and says that nothing is wrong."""
    return answer({"status": "success", "data": prometheus_data(asked)})


def sound_alertmanager(_: Asked) -> Behaviour:
    """No alert, no silence."""
    return answer([])


def sound_web(_: Asked) -> Behaviour:
    """A health page that calls everything healthy."""
    return answer(HEALTH)


@dataclass(frozen=True)
class SoundDocker:
    """A container that has run for hours on the revision that was deployed last."""

    revision: str

    def __call__(self, asked: Asked) -> Behaviour:
        """The answer of the engine."""
        path = asked.path.partition("/containers/backend")[2] or asked.path.rpartition("/")[2]
        if path == "/json":
            return answer(self._container())
        return {
            "version": answer({"ApiVersion": "1.41"}),
            "stats": answer(_stats()),
            "top": answer({"Titles": ["PID", "PPID", "CMD"], "Processes": [["9", "1", "uvicorn app:app"]]}),
            "events": answer(json.dumps(_start()) + "\n"),
            "logs": answer(_log(), content_type="application/vnd.docker.raw-stream"),
        }[path]

    def _container(self) -> dict[str, Any]:
        return {
            "Name": "/backend",
            "Id": "a" * 64,
            "Image": "sha256:" + "b" * 64,
            "Created": STARTED.isoformat(),
            "RestartCount": 0,
            "State": {
                "Status": "running",
                "Running": True,
                "ExitCode": 0,
                "OOMKilled": False,
                "StartedAt": STARTED.isoformat(),
                "FinishedAt": "0001-01-01T00:00:00Z",
            },
            "HostConfig": {
                "Memory": 1 << 31,
                "RestartPolicy": {"Name": "always"},
                "LogConfig": {"Type": "json-file", "Config": {}},
            },
            "Config": {
                "Image": "backend:1",
                "Tty": False,
                "Labels": {"org.opencontainers.image.revision": self.revision},
            },
        }


def _stats() -> dict[str, Any]:
    def used(seconds: int) -> dict[str, Any]:
        usage = {"total_usage": seconds * 10**8}
        return {"cpu_usage": usage, "system_cpu_usage": seconds * 10**9, "online_cpus": 2}

    return {
        "memory_stats": {"usage": 10**8, "stats": {}},
        "cpu_stats": used(2),
        "precpu_stats": used(1),
    }


def _start() -> dict[str, Any]:
    return {
        "Type": "container",
        "Action": "start",
        "timeNano": int(STARTED.timestamp()) * 10**9,
        "Actor": {"ID": "a" * 64, "Attributes": {"name": "backend", "image": "backend:1"}},
    }


def _log() -> bytes:
    moments = (STARTED, datetime.now(UTC) - timedelta(minutes=5))
    lines = [f"{at.isoformat()} INFO all is well\n".encode() for at in moments]
    return b"".join(b"\x01\0\0\0" + struct.pack(">I", len(line)) + line for line in lines)


@contextmanager
def database() -> Iterator[int]:
    """The port of a PostgreSQL that trusts everybody on loopback and has one table."""
    initdb_paths = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not initdb_paths:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("PostgreSQL is not installed")
    home, port = Path(tempfile.mkdtemp(prefix=prefix("rbs"), dir="/tmp")), closed_port()
    start = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
    try:
        if start:
            shutil.chown(home, "postgres")
        programs = initdb_paths[-1].parent
        make = [*start, str(programs / "initdb"), "-D", f"{home}/data", "-U", "reader", "-A", "trust"]
        subprocess.run(make, check=True, capture_output=True, cwd="/")
        argv = [*start, str(programs / "postgres"), "-D", f"{home}/data", "-p", str(port), "-h", "127.0.0.1"]
        with running([*argv, "-F", "-c", "unix_socket_directories="], home, lambda: _is_up(port)):
            _do(port, "create table things (id int primary key)")
            _do(port, "create role blind login")
            _do(port, "analyze things")
            time.sleep(0.6)  # its statistics are told to the collector a moment later
            yield port
    finally:
        shutil.rmtree(home, ignore_errors=True)


def dsn(port: int, user: str = "reader", host: str = "127.0.0.1") -> str:
    """libpq's words for the database."""
    return f"host={host} port={port} dbname=postgres user={user}"


def _is_up(port: int) -> bool:
    try:
        _do(port, "select 1")
    except psycopg.OperationalError:
        return False
    return True


def _do(port: int, statement: str) -> None:
    with psycopg.connect(dsn(port), connect_timeout=3) as connection:
        connection.execute(statement.encode())


def clone(folder: Path) -> str:
    """A repository in the folder, its one commit deployed shortly before what is to be explained."""
    about = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null", "HOME": str(folder)}
    about |= {"GIT_COMMITTER_DATE": (datetime.now(UTC) - timedelta(minutes=31)).isoformat()}
    who = ["-c", "user.name=li", "-c", "user.email=li@example.com"]
    for words in (
        ["init", "-q"],
        [*who, "commit", "-q", "--allow-empty", "-m", "a change"],
        [*who, "tag", "-a", "deploy/1", "-m", "deployed"],
    ):
        subprocess.run(["git", *words], cwd=folder, check=True, env={**os.environ, **about})
    process = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=folder, check=True, capture_output=True, text=True
    )
    return process.stdout.strip()


def make_context(
    systems: dict[str, Any], service: dict[str, Any], tape: Tape, *, deadline_seconds: float
) -> Context:
    """The context at these systems for the service, at this moment."""
    site = Environment.model_validate(
        {
            "title": "Sound",
            "systems": systems,
            "services": {"backend": {"title": "Backend", "labels": {"job": "backend"}, **service}},
            "escalation": {"affected_users_query": "affected_users"},
        }
    )
    target = Target(environment_name="sound", service_name="backend", environment=site)
    window = Window.open(opened_at=datetime.now(UTC))
    return Context("Alert", target, window, Sources(target, tape, deadline_seconds=deadline_seconds))
