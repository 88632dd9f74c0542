"""The lab as one object: up, break_, heal, status, down."""

import fcntl
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab import deployments, engine, environment, faults, monitoring, postgres, processes, servers, web
from lab.errors import LabError
from lab.layout import DEFAULT_BASE_PORT, DEFAULT_STATE, HOST, Layout

GREEN_SECONDS = 90.0
POLL_SECONDS = 0.5
TARGET_UP = 'up{job="helloagents-backend"}'
REQUESTS = "sum(rate(http_requests_total[15s]))"
MIN_REQUESTS = 10.0  # below this rate the traffic has not recovered
ERROR_SHARE = (
    'sum(rate(http_requests_total{status_code=~"5.."}[15s])) / sum(rate(http_requests_total[15s])) or '
    "0 * sum(rate(http_requests_total[15s]))"
)
Say = Callable[[str], None]


def silent(_: str) -> None:
    """Print nothing."""


@dataclass(frozen=True, slots=True)
class Status:
    """What runs, what is broken, and which alerts fire in Prometheus."""

    servers: dict[str, str]
    faults: list[str]
    alerts: dict[str, str]
    error_share: float | None
    version: str
    green: bool


@dataclass(frozen=True, slots=True)
class Lab:
    """One lab: its state directory and its base port."""

    state: Path = DEFAULT_STATE
    base_port: int = DEFAULT_BASE_PORT
    say: Say = silent

    @property
    def layout(self) -> Layout:
        """Ports, paths and names of this lab."""
        return Layout(self.state.absolute(), self.base_port)

    def up(self) -> None:
        """Start the missing servers and wait until the lab is green. If that fails, stop them again."""
        self._make_directories()
        with self._alone():
            before = {name for name in (*STOP_ORDER, "docker") if processes.running(self.layout, name)}
            complete = False
            try:
                self._start_all(fresh=not before)
                complete = True
            finally:
                if not complete:
                    self._stop_all(keep=before)

    def break_(self, fault: str) -> None:
        """Begin a fault; it lasts until heal."""
        definition = faults.find(fault)
        with self._alone():
            self._must_be_up()
            names = faults.active(self.layout)
            if fault not in names:
                faults.remember(self.layout, [*names, fault])
                if definition.begin:
                    definition.begin(self.layout)
                faults.switch(self.layout, [*names, fault])

    def deploy(self, revision: str) -> str:
        """Replace the running revision by an earlier revision, as a rollback does."""
        with self._alone():
            self._must_be_up()
            revision = deployments.roll_back(self.layout, revision)
            engine.run(self.layout, revision)
            return revision

    def redeploy(self) -> None:
        """Recreate the backend's container with the current settings."""
        with self._alone():
            self._must_be_up()
            engine.run(self.layout, deployments.current(self.layout))

    def heal(self) -> None:
        """End all faults and wait until everything is green again."""
        with self._alone():
            self._must_be_up()
            names = faults.active(self.layout)
            faults.remember(self.layout, [])
            faults.switch(self.layout, [])
            for name in faults.ending(names):
                end = faults.FAULTS[name].end
                if end:
                    end(self.layout)
            changed = environment.write_settings(self.layout)
            self._restore_container(recreate=changed)
            self._wait_until_green()

    def status(self) -> Status:
        """The status of the whole lab. Changes nothing."""
        layout = self.layout
        servers = {name: self._server_state(name) for name in SERVERS}
        container = engine.state(layout) if engine.answers(layout.docker_socket) else {}
        servers["backend"] = container.get("status", "stopped")
        alerts = web.alerts(layout)
        return Status(
            servers=servers,
            faults=faults.active(layout),
            alerts=alerts or {},
            error_share=web.value(layout, ERROR_SHARE),
            version=container.get("version", ""),
            green=all(state == "running" for state in servers.values()) and self._not_green() is None,
        )

    def down(self, *, wipe: bool = False) -> None:
        """Stop all servers of this lab. Without `wipe` the state is kept for a quick next start."""
        if not self.state.exists():
            return
        with self._alone():
            self._stop_all(keep=set())
        if wipe:
            shutil.rmtree(self.state)

    def backfill(self, hours: float) -> None:
        """Add past hours of a healthy backend to Prometheus."""
        with self._alone():
            monitoring.write_configs(self.layout)
            monitoring.backfill(self.layout, hours)

    def _make_directories(self) -> None:
        layout = self.layout
        for path in (layout.state, layout.logs, layout.processes, layout.faults):
            path.mkdir(parents=True, exist_ok=True)
            path.chmod(0o755)  # PostgreSQL and the backend run as other users

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the lab's lock: only one command at a time."""
        if not self.state.is_dir():
            raise LabError("the lab is not up: python -m lab up")
        with (self.state / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _must_be_up(self) -> None:
        if not web.is_ok(self.layout.prometheus_port, "/-/ready") or not engine.answers(
            self.layout.docker_socket
        ):
            raise LabError("the lab is not up: python -m lab up")

    def _start_all(self, *, fresh: bool) -> None:
        layout = self.layout
        environment.write(layout)
        environment.write_programs(layout)
        deployments.prepare(layout)
        if fresh:  # after a reboot of the machine the lab starts healthy too
            faults.forget(layout)
        with ThreadPoolExecutor() as lanes:
            jobs = [
                lanes.submit(lane) for lane in (self._start_database, self._start_engine, self._start_others)
            ]
        for job in jobs:
            job.result()
        self._start_backend(fresh=fresh)
        if "no-traffic" not in faults.active(layout):
            self._start(servers.traffic(layout), "25 requests/s")
        if not faults.active(layout):
            self._wait_until_green()

    def _start(self, server: processes.Server, where: str) -> None:
        started = time.monotonic()
        if processes.start(self.layout, server):
            self._ready(server.name, where, started)

    def _ready(self, name: str, where: str, started: float) -> None:
        self.say(f"{name:<13} ready   {where:<48} {time.monotonic() - started:5.1f} s")

    def _start_database(self) -> None:
        layout, started = self.layout, time.monotonic()
        if "database-down" in faults.active(layout):
            return
        new = postgres.prepare(layout)
        if processes.start(layout, postgres.server(layout)):
            if new:
                postgres.fill(layout)
            if "slow-queries" not in faults.active(layout):
                postgres.restore_index(layout)
            self._ready("postgres", f"{HOST}:{layout.postgres_port}", started)

    def _start_engine(self) -> None:
        layout, started = self.layout, time.monotonic()
        if engine.start(layout):
            self._ready("docker", layout.docker_url, started)
        started = time.monotonic()
        tag = engine.image(layout, deployments.original(layout))
        self._ready("image", tag, started)

    def _start_others(self) -> None:
        layout, on = self.layout, faults.active(self.layout)
        monitoring.write_configs(layout, target="target-gone" not in on)
        if "ai-provider-down" not in on:
            provider = servers.provider(layout, hang="ai-provider-hangs" in on, slow="ai-provider-slow" in on)
            self._start(provider, f"{HOST}:{layout.provider_port}")
        nameserver = servers.nameserver(layout, broken="dns-broken" in on)
        self._start(nameserver, f"{HOST}:{layout.nameserver_port}")
        self._start(monitoring.alertmanager(layout), layout.alertmanager_url)
        self._start(monitoring.prometheus(layout), layout.prometheus_url)

    def _start_backend(self, *, fresh: bool) -> None:
        layout, started = self.layout, time.monotonic()
        if not fresh and engine.state(layout).get("status") in {"running", "restarting"}:
            return
        engine.remove(layout)
        processes.must_be_free(layout.backend_port, "backend")
        engine.run(layout, deployments.current(layout))
        deadline = time.monotonic() + 30
        while not web.is_ok(layout.backend_port, "/api/v1/agents") and not faults.active(layout):
            if time.monotonic() > deadline:
                raise LabError(f"backend not ready after 30 s: {engine.last_log_line(layout)}")
            time.sleep(0.2)
        self._ready("backend", layout.backend_url, started)

    def _stop_all(self, *, keep: set[str]) -> None:
        layout = self.layout
        if not keep and engine.answers(layout.docker_socket):
            processes.stop(layout, "traffic")
            engine.remove(layout)
        for name in STOP_ORDER:
            if name not in keep and processes.stop(layout, name):
                self.say(f"{name:<13} stopped")
        if "docker" not in keep and engine.stop(layout):
            self.say(f"{'docker':<13} stopped")
        if not keep and faults.active(layout):
            faults.forget(layout)

    def _server_state(self, name: str) -> str:
        if name == "docker":
            return "running" if engine.answers(self.layout.docker_socket) else "stopped"
        return "stopped" if processes.running(self.layout, name) is None else "running"

    def _restore_container(self, *, recreate: bool = False) -> None:
        """Replace a container that crashed or runs another version; keep a healthy container."""
        layout = self.layout
        state, revision = engine.state(layout), deployments.original(layout)
        sound = state.get("status") == "running" and state.get("restarts") == "0"
        if recreate or not sound or state.get("revision") != revision:
            engine.run(layout, revision)

    def _wait_until_green(self) -> None:
        deadline = time.monotonic() + GREEN_SECONDS
        while (reason := self._not_green()) is not None:
            if time.monotonic() > deadline:
                raise LabError(f"not green after {GREEN_SECONDS:g} s: {reason}")
            time.sleep(POLL_SECONDS)

    def _not_green(self) -> str | None:
        """The reason why the lab is not green; None if it is green."""
        layout = self.layout
        if not web.is_ok(layout.backend_port, "/health"):
            return "the backend's /health does not answer 200"
        firing = (
            sorted(web.alerts(layout) or {})
            if web.alerts(layout) is not None
            else ["Prometheus does not answer"]
        )
        if firing:
            return f"alerts: {', '.join(firing)}"
        notified = web.notified(layout)
        if notified is None or notified:
            return f"Alertmanager: {', '.join(notified) if notified else 'does not answer'}"
        if not web.value(layout, TARGET_UP):
            return "Prometheus does not scrape the backend"
        requests = web.value(layout, REQUESTS) or 0.0
        if requests < MIN_REQUESTS:
            return f"only {requests:.0f} requests/s"
        share = web.value(layout, ERROR_SHARE)
        if share is None:
            return "Prometheus has no request rate yet"
        if share >= 0.01:
            return f"{share:.1%} of requests fail"
        if engine.state(layout).get("revision") != deployments.original(layout):
            return "another version than the original runs"
        return None


SERVERS = ("prometheus", "alertmanager", "postgres", "docker", "ai-provider", "nameserver", "traffic")
STOP_ORDER = (
    "traffic",
    "nightly-report",
    "hoarder",
    "prometheus",
    "alertmanager",
    "ai-provider",
    "nameserver",
    "postgres",
)
