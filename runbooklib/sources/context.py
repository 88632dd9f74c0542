"""The context of a check: the target, the window and the systems to query.

Checks get a Context and nothing else. The clients of the systems are created on first use, and all of them go
through the same tape.
"""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial

from runbooklib.config import site, site_secrets
from runbooklib.config.environment import Service, Target, Timing
from runbooklib.config.site import System, configured
from runbooklib.config.site_secrets import secret
from runbooklib.errors import NotConfiguredError, StaleError
from runbooklib.model.alert import Alert
from runbooklib.model.verdict import VERSION
from runbooklib.model.window import Window, seconds_of
from runbooklib.redact.redactor import Redactor
from runbooklib.sources.alertmanager import Alertmanager
from runbooklib.sources.clock import MIN_SKEW_SECONDS, skew_by_docker, skew_by_http
from runbooklib.sources.dns import Dns
from runbooklib.sources.docker.client import Docker
from runbooklib.sources.git import Git
from runbooklib.sources.postgres.client import Postgres
from runbooklib.sources.prometheus.client import Prometheus
from runbooklib.sources.site_files import Files
from runbooklib.sources.tape import DEADLINE_SECONDS, Tape, side_by_side
from runbooklib.sources.web import Web
from runbooklib.text import filled

_CLOCK_BEHIND = "its clock is {seconds:.0f} s behind the clock of the other systems"
_CLOCK_AHEAD = "its clock is {seconds:.0f} s ahead of the clock of the other systems"


class Sources:
    """The systems of one target. Each raises NotConfiguredError if the environment does not name it."""

    def __init__(self, target: Target, tape: Tape, *, deadline_seconds: float = DEADLINE_SECONDS) -> None:
        self._target = target
        self._tape = tape
        self._deadline_seconds = deadline_seconds
        self._clock_errors: dict[str, StaleError] = {}

    def skew_seconds(self) -> float:
        """How far the clock of Prometheus is ahead of this machine's; 0 if no system answers.

        If Prometheus does not answer, the clock of Alertmanager or of the service is used.
        """
        systems, service = self._target.systems, self._target.service
        # The paths that the checks use: a proxy may allow only these, and must not look unreachable.
        endpoints = [("prometheus", systems.prometheus, "/api/v1/query?query=time()")]
        endpoints += [("alertmanager", systems.alertmanager, "/api/v2/status")]
        requests = [
            partial(self._skew_by, name, system.url, path, system.token_env)
            for name, system, path in endpoints
            if system
        ]
        if service.url:
            requests.append(partial(self._skew_by, "web", service.url, service.health, ""))
        # Usually the first answers. If it does not, ask all others in parallel.
        skews = [request() for request in requests[:1]]
        if skews == [None]:
            skews = side_by_side(requests[1:])
        return next((skew for skew in skews if skew is not None), 0.0)

    def _skew_by(self, name: str, url: str, path: str, token_env: str) -> float | None:
        try:
            token = self._secret(token_env, name)
        except NotConfiguredError:
            return None  # the checks of this system say why
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return skew_by_http(
            self._tape, name, url, path, headers=headers, deadline_seconds=self._deadline_seconds
        )

    def compare_clocks(self, skew_seconds: float) -> None:
        """Mark Docker as stale if its clock differs from that of Prometheus by more than the tolerance."""
        if self._target.systems.docker is None:
            return
        url = self._target.systems.docker.url
        own = skew_by_docker(self._tape, url, deadline_seconds=self._deadline_seconds)
        if own is not None and abs(own - skew_seconds) > MIN_SKEW_SECONDS:
            behind = skew_seconds - own
            template = _CLOCK_BEHIND if behind > 0 else _CLOCK_AHEAD
            self._clock_errors["docker"] = StaleError(
                filled(template, seconds=abs(behind)),
                system="docker",
                target=url,
                hint="set the clock of its host",
            )

    @cached_property
    def prometheus(self) -> Prometheus:
        """Metrics and rules."""
        system = self._configured(self._target.systems.prometheus, "prometheus")
        return Prometheus(
            system.url,
            self._tape,
            token=self._secret(system.token_env, "prometheus"),
            deadline_seconds=self._deadline_seconds,
        )

    @cached_property
    def alertmanager(self) -> Alertmanager:
        """Alerts and silences."""
        system = self._configured(self._target.systems.alertmanager, "alertmanager")
        return Alertmanager(
            system.url,
            self._tape,
            token=self._secret(system.token_env, "alertmanager"),
            deadline_seconds=self._deadline_seconds,
        )

    @cached_property
    def docker(self) -> Docker:
        """Containers, their events and logs."""
        if "docker" in self._clock_errors:
            raise self._clock_errors["docker"]
        system = self._configured(self._target.systems.docker, "docker")
        return Docker(system.url, self._tape, deadline_seconds=self._deadline_seconds)

    @cached_property
    def postgres(self) -> Postgres:
        """Sessions, locks and limits of the database."""
        system = self._configured(self._target.systems.postgres, "postgres")
        return Postgres(
            system.dsn,
            self._tape,
            password=self._secret(system.password_env, "postgres"),
            deadline_seconds=self._deadline_seconds,
        )

    @cached_property
    def web(self) -> Web:
        """The service's HTTP endpoints."""
        if not self._target.service.url:
            raise NotConfiguredError(
                "the service has no url", system="web", hint="add it to the environment's file"
            )
        return Web(self._target.service.url, self._tape, deadline_seconds=self._deadline_seconds)

    @cached_property
    def dns(self) -> Dns:
        """Name resolution and reachability."""
        nameservers = self._configured(self._target.systems.dns, "dns").nameservers
        return Dns(nameservers, self._tape, deadline_seconds=self._deadline_seconds)

    @cached_property
    def git(self) -> Git:
        """Deployments."""
        system = self._configured(self._target.systems.git, "git")
        return Git(
            system.repository,
            self._tape,
            deployment_tags=system.deployment_tags,
            deadline_seconds=self._deadline_seconds,
        )

    @cached_property
    def files(self) -> Files:
        """Scripts and .env files of the site on this machine."""
        return Files(self._tape, deadline_seconds=self._deadline_seconds)

    def _configured(self, system: System | None, name: str) -> System:
        return configured(system, name, self._target.systems.unusable)

    def _secret(self, variable: str, system: str) -> str:
        # A replay sends no request, so it needs no secret.
        return "" if self._tape.is_replay else secret(variable, system)


@dataclass(frozen=True, slots=True)
class Context:
    """One alert's target and window.

    `onset` is when the symptom began, if a check has determined it.
    `is_disturbed`: a symptom is beyond its limit, even if its start is unknown.
    `verdict_version`: the rules of judging; those of its own time in a replay of older evidence.
    """

    alert: str
    target: Target
    window: Window
    sources: Sources = field(repr=False, compare=False)
    onset: datetime | None = None
    is_disturbed: bool = False
    verdict_version: int = VERSION

    @property
    def service(self) -> Service:
        """The service's own settings."""
        return self.target.service

    @property
    def timing(self) -> Timing:
        """How this site measures."""
        return self.target.timing

    @property
    def labels(self) -> dict[str, str]:
        """The labels of the service's series."""
        return dict(self.service.labels)

    def is_ours(self, alert: Alert) -> bool:
        """Whether the alert can be about this service: none of its labels names another service."""
        others = self.target.environment.services.keys() - {self.target.service_name}
        is_matching = all(alert.labels.get(name, value) == value for name, value in self.labels.items())
        return is_matching and alert.labels.get("service") not in others

    @property
    def container(self) -> str:
        """The name of the service's container. Raises NotConfiguredError."""
        if not self.service.containers:
            raise NotConfiguredError(
                "the service names no container",
                system="docker",
                hint="add `containers` to the service in the environment's file",
            )
        return self.service.containers[0]

    @property
    def suspect_since(self) -> datetime:
        """The earliest time of a possible cause: the lead before the onset, or the window's start."""
        if self.onset is None:
            return self.window.start
        return self.onset - timedelta(seconds=self.timing.lead_seconds)

    @property
    def time_before(self) -> datetime | None:
        """A time before the symptom began: the lead before the onset; without a symptom, the window's start.

        None if there is a symptom whose start is unknown.
        """
        return None if self.onset is None and self.is_disturbed else self.suspect_since

    def with_server_clock(self) -> "Context":
        """The context with its window in the clock of the systems, if this machine's clock differs."""
        skew = self.sources.skew_seconds()
        if not skew:
            return self
        self.sources.compare_clocks(skew)
        return replace(self, window=self.window.by_clock(skew))

    def with_new_window(self, tape: Tape, *, at_least_seconds: float = 0.0) -> "Context":
        """The same target over another tape, with a window that ends now and has a minimum length."""
        lookback = max(seconds_of(self.timing.lookback), at_least_seconds)
        window = Window.open(
            opened_at=datetime.now(UTC),
            lookback=f"{lookback:.0f}s",
            scrape_interval=self.timing.scrape_interval,
        )
        sources = Sources(self.target, tape)
        return replace(self, window=window, sources=sources).with_server_clock()

    def need_live(self, system: str) -> None:
        """Raise StaleError if the window is in the past: `system` only knows its current state."""
        if not self.window.is_live:
            raise StaleError(
                f"knows only its current state, not its state at {self.window.end:%Y-%m-%d %H:%M} UTC",
                system=system,
                hint="read the evidence of a run from that time",
            )


def context_of(alert: str, environment: str, service: str) -> tuple[Context, Tape]:
    """The service with a window that ends now, and its own tape. Raises InputError."""
    target = site.read_target(environment, service)
    secrets = [
        *site_secrets.secrets_of(target),
        *site_secrets.operator_secrets_of(target),
        *site_secrets.environment_secrets(),
    ]
    tape = Tape(Redactor(secrets))
    timing = target.timing
    window = Window.open(
        opened_at=datetime.now(UTC), lookback=timing.lookback, scrape_interval=timing.scrape_interval
    )
    return Context(alert, target, window, Sources(target, tape)).with_server_clock(), tape
