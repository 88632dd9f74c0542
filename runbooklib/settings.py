"""What differs by site: parameters/environments/<name>.yaml, and the secrets that it names.

The file holds addresses, services, contacts and links; secrets stand in it only as names of environment
variables. A Target is one service in one environment, checked before anything is asked.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from runbooklib.errors import (
    MissingSecretError,
    NotConfiguredError,
    ParameterError,
    SettingsError,
    suggestion,
)
from runbooklib.window import seconds_of
from runbooklib.yamlfile import read_mapping

HOME_VARIABLE = "RUNBOOK_HOME"
ENVIRONMENTS_VARIABLE = "RUNBOOK_ENVIRONMENTS"
Model = TypeVar("Model", bound=BaseModel)
System = TypeVar("System")
_CREDENTIALS = re.compile(
    r"://[^/\s]*:[^/\s]*@|\b(?:ssl)?password\s*=|[?&][\w-]*(?:token|secret|key)=", re.IGNORECASE
)


def _duration(text: str) -> str:
    try:
        seconds_of(text)
    except ParameterError as error:
        raise ValueError(str(error)) from None
    return text


def _no_credentials(text: str) -> str:
    if _CREDENTIALS.search(text):
        raise ValueError("holds a password: name an environment variable in the field that ends in _env")
    return text


_SECRET_NAME = re.compile(r"(?i)(?:passw|secret|token|api_?key|access_?key|private_?key|credential)")
_SECRET_WITHIN = re.compile(r"://[^\s/:@]*:([^\s/@]+)@|\bpassword=([^\s&'\"]+)")

Duration = Annotated[str, AfterValidator(_duration)]
Address = Annotated[str, AfterValidator(_no_credentials)]


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
    containers: tuple[str, ...] = Field(default=(), strict=False)
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


class PastIncident(_Section):
    """One line of history: what it was and what helped."""

    date: str
    title: str
    lasted: str = ""
    cause: str = ""
    remedy: str = ""
    prevention: str = ""


class Environment(_Section):
    """The whole of one parameters/environments/<name>.yaml."""

    title: str
    systems: Systems
    services: dict[str, Service]
    timing: Timing = Timing()
    contacts: tuple[Contact, ...] = Field(default=(), strict=False)
    links: dict[str, Address] = {}
    documents: dict[str, Address] = {}
    ownership: Ownership = Ownership()
    escalation: Escalation = Escalation()
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


def home() -> Path:
    """The folder that holds parameters/ and notebooks/.

    $RUNBOOK_HOME, or the nearest of this folder and its parents. Raises SettingsError.
    """
    named = os.environ.get(HOME_VARIABLE)
    if named:
        return Path(named)
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "parameters" / "environments").is_dir():
            return folder
    raise SettingsError(
        "there is no parameters/environments/ here or above",
        remedy=f"change into the runbooks' folder, or set {HOME_VARIABLE} to it",
    )


def home_or_here() -> Path:
    """The home, or this folder where there is none: a replay needs no settings."""
    try:
        return home()
    except SettingsError:
        return Path.cwd()


def _environment_files() -> dict[str, Path]:
    extra = os.environ.get(ENVIRONMENTS_VARIABLE, "")
    folders = [home() / "parameters" / "environments", *(Path(p) for p in extra.split(os.pathsep) if p)]
    return {file.stem: file for folder in folders for file in sorted(folder.glob("*.yaml"))}


def environments() -> list[str]:
    """The names of the environments that have a file."""
    return sorted(_environment_files())


def read_target(environment: str, service: str) -> Target:
    """The service in the environment. Raises ParameterError or SettingsError."""
    files = _environment_files()
    if environment not in files:
        raise ParameterError(
            f"there is no environment {environment!r}", remedy=suggestion(environment, sorted(files))
        )
    shown = f"environments/{environment}.yaml"
    found = validated(Environment, read_mapping(files[environment], shown), shown)
    if service not in found.services:
        raise ParameterError(
            f"{environment} has no service {service!r}", remedy=suggestion(service, sorted(found.services))
        )
    return Target(environment_name=environment, service_name=service, environment=found)


def validated(model: type[Model], values: Mapping[str, Any], shown: str) -> Model:
    """The values as the model, or a SettingsError that names the first field that is wrong."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        # A misspelt name is also a missing one; the reader is told of the name that they wrote.
        first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
        field = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            nearest = suggestion(str(first["loc"][-1]), _names_at(model, first["loc"][:-1]))
            raise SettingsError(f"{shown}: {field} is not a known name", remedy=nearest) from None
        raise SettingsError(f"{shown}: {field}: {first['msg']}", remedy="mend that field") from None


def _names_at(model: type[BaseModel], path: Sequence[str | int]) -> list[str]:
    """The names that may stand in the section at this path; keys of dicts and places in lists are passed."""
    for part in path:
        field = model.model_fields.get(str(part))
        model = next(_models_in(field.annotation), model) if field else model
    return list(model.model_fields)


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models_in(part)


def secret(variable: str) -> str:
    """The value of the environment variable that a setting names; empty where it names none.

    Raises MissingSecretError.
    """
    if not variable:
        return ""
    value = os.environ.get(variable, "")
    if not value:
        raise MissingSecretError(
            f"the environment variable {variable} is not set", remedy=f"export {variable}=… and start again"
        )
    return value


def secrets_of(target: Target) -> list[str]:
    """The values of all secrets that the environment's file names. Raises MissingSecretError."""
    systems = target.systems
    named = [s.token_env for s in (systems.prometheus, systems.alertmanager) if s]
    named += [systems.postgres.password_env] if systems.postgres else []
    return [secret(variable) for variable in named if variable]


def environment_secrets() -> list[str]:
    """What is secret in this process's environment: by the variable's name, or as the password of a DSN."""
    named = [value for name, value in os.environ.items() if _SECRET_NAME.search(name)]
    within = [
        word for value in os.environ.values() for pair in _SECRET_WITHIN.findall(value) for word in pair
    ]
    return sorted({secret for secret in (*named, *within) if len(secret) >= 6})


def configured(system: System | None, name: str) -> System:
    """The system's settings, or NotConfiguredError."""
    if system is None:
        raise NotConfiguredError(
            "is not in this environment's file", system=name, remedy=f"add systems.{name} to it"
        )
    return system
