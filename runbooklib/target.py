"""One service in one environment, and the sections of the file that describes it.

parameters/environments/<name>.yaml holds addresses, services, contacts and links; secrets stand in it only
as names of environment variables. Every section refuses what it does not know.
"""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from runbooklib.errors import ParameterError
from runbooklib.fields import (
    Address,
    ContainerName,
    NamedOperatorVariable,
    OperatorVariable,
    ReadableSettingName,
    SettingName,
)
from runbooklib.window import seconds_of


def _duration(text: str) -> str:
    try:
        seconds_of(text)
    except ParameterError as error:
        raise ValueError(str(error)) from None
    return text


Duration = Annotated[str, AfterValidator(_duration)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class HttpSystem(_Section):
    """A system that is asked over HTTP; `token_env` names the variable that holds a bearer token."""

    url: Address
    token_env: str = ""


class DockerSystem(_Section):
    """A Docker engine, or the filtering proxy in front of it."""

    url: Address


class PostgresSystem(_Section):
    """libpq's connection string without password; `password_env` names the variable that holds it."""

    dsn: Address
    password_env: str = ""


class DnsSystem(_Section):
    """Name servers as "address" or "address:port"; none means those of this machine."""

    nameservers: tuple[str, ...] = Field(default=(), strict=False)


class GitSystem(_Section):
    """A clone of what is deployed; each deployment is a tag that matches `deployment_tags`."""

    repository: Address
    deployment_tags: str = "deploy/*"


class Systems(_Section):
    """Where to ask. A system that is left out is UNKNOWN, "not configured", wherever it is needed."""

    prometheus: HttpSystem | None = None
    alertmanager: HttpSystem | None = None
    docker: DockerSystem | None = None
    postgres: PostgresSystem | None = None
    dns: DnsSystem = DnsSystem()
    git: GitSystem | None = None


class Timing(_Section):
    """How this site measures: the window of rates, how far back to look, how early a cause may lie.

    `lead` is how long before the symptom a cause may have begun and still be suspected.
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
        """How far two clocks of different systems may lie apart: two scrapes."""
        return 2 * seconds_of(self.scrape_interval)


class Probe(_Section):
    """A request that shows whether a function that matters works; it must not change anything."""

    name: str
    path: str


class Dependency(_Section):
    """Something outside that the service needs, by the URL at which it answers."""

    name: str
    url: Address


class Service(_Section):
    """One service: its labels in Prometheus, its pages, its containers, what it depends on."""

    title: str
    labels: dict[str, str]
    url: Address = ""
    health: str = "/health"
    probes: tuple[str, ...] = Field(default=("/health", "/metrics"), strict=False)
    containers: tuple[ContainerName, ...] = Field(default=(), strict=False)
    key_functions: tuple[Probe, ...] = Field(default=(), strict=False)
    dependencies: tuple[Dependency, ...] = Field(default=(), strict=False)


class Contact(_Section):
    """Who to call; `only_for` names the severities for which."""

    role: str
    name: str
    reach: str
    only_for: tuple[str, ...] = Field(default=(), strict=False)


class Escalation(_Section):
    """When to call someone: how long it may last, how many users it may hit, how long mending may take.

    `affected_users_query` is PromQL for the share of users affected (0–1). Without it that rule is UNKNOWN.
    """

    lasting: Duration = "15m"
    affected_users: float = 0.10
    affected_users_query: str = ""
    unresolved: Duration = "30m"


class Ownership(_Section):
    """Who keeps the runbooks of this site, and when they were last read through."""

    team: str = ""
    primary: str = ""
    reviewers: tuple[str, ...] = Field(default=(), strict=False)
    feedback: tuple[str, ...] = Field(default=(), strict=False)
    last_reviewed: str = ""
    review_every: Duration = "13w"


class Objective(_Section):
    """What was promised: the share of `requests`, `executions` or `chats` that succeeds, over how long."""

    name: str
    of: Literal["requests", "executions", "chats"]
    success: float = Field(gt=0, lt=1)
    over: Duration = "30d"


class PastIncident(_Section):
    """One line of history: what it was and what helped."""

    date: str
    title: str
    lasted: str = ""
    cause: str = ""
    remedy: str = ""
    prevention: str = ""


class OperatorHttp(_Section):
    """A system that actions may write to over HTTP; `token_env` names the variable that holds a token."""

    url: Address
    token_env: OperatorVariable = ""


class OperatorPostgres(_Section):
    """libpq's connection string of a role that may end sessions (pg_signal_backend)."""

    dsn: Address
    password_env: OperatorVariable = ""


class Script(_Section):
    """A program of the site as a list of words, run without a shell; {revision} in it is filled in."""

    command: tuple[str, ...] = Field(min_length=1, strict=False)
    within: Duration = "10m"


class Switch(_Section):
    """Settings of an .env file that change together, and the command that puts them into effect.

    `set` holds their values. What is secret stands in `set_from`, as the name of the environment variable
    that holds it.
    """

    file: Address
    set: dict[ReadableSettingName, Address] = {}
    set_from: dict[SettingName, NamedOperatorVariable] = {}
    then: tuple[str, ...] = Field(default=(), strict=False)
    within: Duration = "5m"

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if not self.names:
            raise ValueError("sets nothing: name settings in set, or in set_from")
        if twice := sorted(self.set.keys() & self.set_from.keys()):
            raise ValueError(f"{twice[0]} stands both in set and in set_from")
        return self

    @property
    def names(self) -> list[str]:
        """All settings that change."""
        return sorted({*self.set, *self.set_from})


class Actions(_Section):
    """What may be changed here, and how often. What is left out can only be proposed, as a text.

    `cooldown` is the least time between two actions on the same target; `most_per_hour` counts all targets.
    An approval is valid for `approval`. With `revert`, a commit that takes another one back may be made in
    the clone that systems.git names; nobody pushes it. `switches` are by the action's name.
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
    """The whole of one parameters/environments/<name>.yaml.

    `drill`: things are broken here on purpose, so that a run is a drill and nobody need own its runbooks.
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
    """One service in one environment: everything that a notebook needs to know about the site."""

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
        """Where to ask."""
        return self.environment.systems
