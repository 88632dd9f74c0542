"""One service in one environment, and the sections of the file that describes it.

parameters/environments/<name>.yaml contains addresses, services, contacts and links. Secrets appear in it
only as names of environment variables. Every section refuses unknown names.
"""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from runbooklib.config.text_types import (
    Address,
    ContainerName,
    Duration,
    NamedOperatorVariable,
    OperatorVariable,
    ReadableSettingName,
    SettingName,
)
from runbooklib.model.window import seconds_of


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class DnsSystem(_Section):
    """Name servers as "address" or "address:port"; none means this machine's resolver."""

    nameservers: tuple[str, ...] = Field(default=(), strict=False)


class Timing(_Section):
    """How this site measures: the window of rates, the lookback and the lead.

    `lead` is how long before the symptom a possible cause may have begun.
    """

    rate_window: Duration = "5m"
    lookback: Duration = "1h"
    lead: Duration = "30m"
    scrape_interval: Duration = "15s"

    @property
    def lead_seconds(self) -> float:
        """The lead in seconds."""
        return seconds_of(self.lead)

    @property
    def tolerance_seconds(self) -> float:
        """The maximum difference between the clocks of two systems: two scrapes."""
        return 2 * seconds_of(self.scrape_interval)


class Probe(_Section):
    """A request that shows whether an important function works; it must not change anything."""

    name: str
    path: str


class Contact(_Section):
    """A contact; `only_for` lists the severities for which to call, empty for all."""

    role: str
    name: str
    reach: str
    only_for: tuple[str, ...] = Field(default=(), strict=False)


class Escalation(_Section):
    """When to escalate: maximum duration, maximum share of affected users, maximum time to repair.

    `affected_users_query` is PromQL for the share of users affected (0–1). Without it that rule is UNKNOWN.
    """

    lasting: Duration = "15m"
    affected_users: float = 0.10
    affected_users_query: str = ""
    unresolved: Duration = "30m"


class Ownership(_Section):
    """Who maintains the runbooks of this site, and when they were last reviewed."""

    team: str = ""
    primary: str = ""
    reviewers: tuple[str, ...] = Field(default=(), strict=False)
    feedback: tuple[str, ...] = Field(default=(), strict=False)
    last_reviewed: str = ""
    review_every: Duration = "13w"


class Objective(_Section):
    """A service level objective: the minimum share of successful requests, executions or chats over time."""

    name: str
    of: Literal["requests", "executions", "chats"]
    success: float = Field(gt=0, lt=1)
    over: Duration = "30d"


class PastIncident(_Section):
    """One past incident: what happened and what helped."""

    date: str
    title: str
    lasted: str = ""
    cause: str = ""
    remedy: str = ""
    prevention: str = ""


class Script(_Section):
    """A script of the site as a list of words, run without a shell; {revision} is replaced."""

    command: tuple[str, ...] = Field(min_length=1, strict=False)
    within: Duration = "10m"


class HttpSystem(_Section):
    """A system that is queried over HTTP; `token_env` names the variable that holds a bearer token."""

    url: Address
    token_env: str = ""


class DockerSystem(_Section):
    """A Docker engine, or the filtering proxy in front of it."""

    url: Address


class PostgresSystem(_Section):
    """libpq's connection string without password; `password_env` names the variable that holds it."""

    dsn: Address
    password_env: str = ""


class GitSystem(_Section):
    """A clone of the deployed repository; each deployment is a tag that matches `deployment_tags`."""

    repository: Address
    deployment_tags: str = "deploy/*"


class Systems(_Section):
    """The systems to query. A check of a system that is not listed is UNKNOWN, "not configured".

    `unusable` is written by the reader of the file, not by a site: the systems whose settings are wrong, and
    what is wrong with them. A check of such a system is UNKNOWN as well.
    """

    prometheus: HttpSystem | None = None
    alertmanager: HttpSystem | None = None
    docker: DockerSystem | None = None
    postgres: PostgresSystem | None = None
    dns: DnsSystem = DnsSystem()
    git: GitSystem | None = None
    unusable: dict[str, str] = Field(default={}, exclude_if=lambda unusable: not unusable)


class Dependency(_Section):
    """An external system that the service needs, and the URL at which it answers."""

    name: str
    url: Address


class ServiceDatabase(_Section):
    """How the service itself logs in to PostgreSQL: its role, and the name of its database.

    The checks ask with the login of `systems.postgres` whether the server lets this role in.
    """

    role: str = Field(min_length=1)
    name: str = Field(min_length=1)


class Service(_Section):
    """One service: its labels in Prometheus, its pages, its containers, its database, what it depends on."""

    title: str
    labels: dict[str, str]
    url: Address = ""
    health: str = "/health"
    probes: tuple[str, ...] = Field(default=("/health", "/metrics"), strict=False)
    containers: tuple[ContainerName, ...] = Field(default=(), strict=False)
    key_functions: tuple[Probe, ...] = Field(default=(), strict=False)
    dependencies: tuple[Dependency, ...] = Field(default=(), strict=False)
    database: ServiceDatabase | None = Field(default=None, exclude_if=lambda database: database is None)


class OperatorHttp(_Section):
    """A system that actions may write to over HTTP; `token_env` names the variable that holds a token."""

    url: Address
    token_env: OperatorVariable = ""


class OperatorPostgres(_Section):
    """libpq's connection string for a role that may end sessions (pg_signal_backend)."""

    dsn: Address
    password_env: OperatorVariable = ""


class Switch(_Section):
    """Settings of an .env file that change together, and the command that puts them into effect.

    `set` maps a setting to its value. `set_from` maps a secret setting to the environment variable that holds
    its value.
    """

    file: Address
    set: dict[ReadableSettingName, Address] = {}
    set_from: dict[SettingName, NamedOperatorVariable] = {}
    then: tuple[str, ...] = Field(default=(), strict=False)
    within: Duration = "5m"

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if not self.names:
            raise ValueError("sets nothing: name settings in set or in set_from")
        if duplicates := sorted(self.set.keys() & self.set_from.keys()):
            raise ValueError(f"{duplicates[0]} is both in set and in set_from")
        return self

    @property
    def names(self) -> list[str]:
        """All settings that change."""
        return sorted({*self.set, *self.set_from})


class Actions(_Section):
    """What actions may change, and how often. An action without its entry is only proposed, as text.

    `cooldown` is the minimum time between two actions on the same target; `most_per_hour` counts all targets.
    An approval is valid for `approval`. With `revert`, actions may add reverting commits on a new branch of
    the clone that systems.git names; they never push. `switches` maps an action's name to its switch.
    """

    docker: DockerSystem | None = None
    postgres: OperatorPostgres | None = None
    alertmanager: OperatorHttp | None = None
    rollback: Script | None = None
    revert: bool = False
    switches: dict[str, Switch] = {}
    cooldown: Duration = "15m"
    most_per_hour: int = Field(default=6, ge=1)
    approval: Duration = "10m"


class Environment(_Section):
    """The content of one parameters/environments/<name>.yaml.

    `drill`: faults are injected here on purpose, so a run is a drill and its runbooks need no owner.
    """

    title: str
    drill: bool = False
    systems: Systems
    services: dict[str, Service]
    timing: Timing = Timing()
    contacts: tuple[Contact, ...] = Field(default=(), strict=False)
    links: dict[str, Address] = {}
    documents: dict[str, Address] = {}
    ownership: Ownership = Ownership()
    escalation: Escalation = Escalation()
    actions: Actions | None = None
    objectives: tuple[Objective, ...] = Field(default=(), strict=False)
    past_incidents: dict[str, Annotated[tuple[PastIncident, ...], Field(strict=False)]] = {}


class Target(_Section):
    """One service in one environment: all site settings that a notebook needs."""

    environment_name: str
    service_name: str
    environment: Environment

    @property
    def service(self) -> Service:
        """The service's own settings."""
        return self.environment.services[self.service_name]

    @property
    def timing(self) -> Timing:
        """How this site measures."""
        return self.environment.timing

    @property
    def systems(self) -> Systems:
        """The systems to query."""
        return self.environment.systems
