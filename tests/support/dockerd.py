"""A real Docker engine for the tests: our own dockerd, or the one that answers where we are not root."""

import contextlib
import io
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import docker
import pytest

from runbooklib.checks.container_state import container_state
from runbooklib.checks.containers import container_cpu, container_deaths, container_memory, out_of_memory
from runbooklib.checks.deployments import running_revision
from runbooklib.checks.logs import log_lines, new_exceptions
from runbooklib.config.environment import DockerSystem, Environment, Service, Systems, Target
from runbooklib.model.window import Window
from runbooklib.sources.context import Context, Sources
from runbooklib.sources.docker.client import Docker
from runbooklib.sources.tape import Tape
from tests.support.asking import Asking, Check
from tests.support.supervisor import prefix

IMAGE = "runbook-test:1"


def missing(reason: str) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def root_file_system() -> bytes:
    """A tar of a shell, a few programs and the libraries they need: no image can be pulled here."""
    programs = [p for name in ("sh", "sleep", "head", "seq", "cat") if (p := shutil.which(name))]
    files = set(programs)
    for program in programs:
        libraries = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
        files |= set(re.findall(r"(/\S+) \(0x", libraries))
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for file in sorted(files):
            info = tar.gettarinfo(str(Path(file).resolve()), arcname=f"{file}".lstrip("/"))
            info.mode = 0o755
            with Path(file).resolve().open("rb") as source:
                tar.addfile(info, source)
    return packed.getvalue()


@contextlib.contextmanager
def own_engine() -> Iterator[str]:
    home = Path(tempfile.mkdtemp(prefix=prefix("rbd"), dir="/tmp"))
    url = f"unix://{home}/s"
    directories = ["--data-root", f"{home}/data", "--exec-root", f"{home}/exec", "-p", f"{home}/pid"]
    off = ["--bridge=none", "--iptables=false", "--ip6tables=false"]
    log = (home / "log").open("wb")
    process = subprocess.Popen(["dockerd", *off, *directories, "-H", url], stdout=log, stderr=log)
    try:
        for _ in range(900):
            if process.poll() is not None or (home / "s").exists():
                break
            time.sleep(0.1)
        if process.poll() is not None:
            missing(f"dockerd did not start: {(home / 'log').read_text()[-500:]}")
        yield url
    finally:
        process.terminate()
        process.wait(30)
        log.close()
        shutil.rmtree(home, ignore_errors=True)


@contextlib.contextmanager
def some_engine() -> Iterator[str]:
    """The URL of an engine: one of our own where we may start it."""
    with contextlib.ExitStack() as stack:
        if os.geteuid() == 0 and shutil.which("dockerd"):
            where = stack.enter_context(own_engine())
        else:
            where = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
            if not Path(where.removeprefix("unix://")).exists():
                missing("no Docker engine answers, and we may not start one")
        yield where


@pytest.fixture(scope="session")
def url() -> Iterator[str]:
    with some_engine() as where:
        yield where


class Engine:
    """The writing side, for tests only."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.client = docker.DockerClient(base_url=url)
        self.client.api.import_image_from_data(root_file_system(), repository="runbook-test", tag="1")
        self.begun: list[str] = []

    def run(self, script: str, name: str = "", *, wait: bool = False, **options: object) -> str:
        name = name or f"t-{uuid.uuid4().hex[:8]}"
        defaults = {"network_mode": "none", "detach": True, "name": name}
        container = self.client.containers.run(IMAGE, ["sh", "-c", script], **{**defaults, **options})  # type: ignore[call-overload]
        self.begun.append(container.id)
        if wait:
            container.wait(timeout=120)
        return name

    def remove(self, name: str) -> None:
        with contextlib.suppress(docker.errors.NotFound):
            self.client.containers.get(name).remove(force=True)

    def close(self) -> None:
        for container in self.begun:
            self.remove(container)
        self.client.close()


@contextlib.contextmanager
def writing(url: str) -> Iterator[Engine]:
    engine = Engine(url)
    try:
        yield engine
    finally:
        engine.close()


@pytest.fixture(scope="session")
def engine(url: str) -> Iterator[Engine]:
    with writing(url) as engine:
        yield engine


@pytest.fixture(scope="module")
def busy_url() -> Iterator[str]:
    """An engine for tests that make many events: it keeps only the last 256 of them."""
    with some_engine() as where:
        yield where


@pytest.fixture(scope="module")
def host(busy_url: str) -> Iterator[Engine]:
    with writing(busy_url) as engine:
        yield engine


def span() -> tuple[datetime, datetime]:
    now = datetime.now(UTC)
    return now - timedelta(minutes=10), now + timedelta(seconds=1)


def until_true(holds: Callable[[], bool], seconds: float = 90.0) -> None:
    ends = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < ends, "did not come true in time"
        time.sleep(0.1)


CHECKS: list[Check | tuple[Check, dict[str, Any]]] = [
    container_state,
    container_deaths,
    out_of_memory,
    (container_cpu, {"above": 0.9}),
    (container_memory, {"above": 1e9}),
    (log_lines, {"matching": "ERROR", "about": "errors"}),
    new_exceptions,
    running_revision,
]


def asking(url: str, container: str = "backend", deadline: float = 10.0) -> Asking:
    return Asking({}, container, docker=lambda tape: Docker(url, tape, deadline_seconds=deadline))


def make_context(
    url: str, container: str, onset: datetime | None = None, tape: Tape | None = None
) -> Context:
    service = Service(title="Backend", labels={"service": "backend"}, containers=(container,))
    environment = Environment(
        title="Test", systems=Systems(docker=DockerSystem(url=url)), services={"backend": service}
    )
    target = Target(environment_name="test", service_name="backend", environment=environment)
    window = Window.open(opened_at=datetime.now(UTC) + timedelta(seconds=15), lookback="10m")
    return Context("HighErrorRate", target, window, Sources(target, tape or Tape()), onset)
