"""Reads the settings of a site: parameters/environments/<name>.yaml, and the secrets that it names."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from runbooklib import variables
from runbooklib.errors import (
    InputError,
    MissingSecretError,
    NotConfiguredError,
    ParameterError,
    SettingsError,
    suggestion,
)
from runbooklib.redact.redactor import secrets_within, tag
from runbooklib.redact.secret_names import sounds_secret
from runbooklib.target import Environment, Target
from runbooklib.text import quoted
from runbooklib.yamlfile import read_mapping

Model = TypeVar("Model", bound=BaseModel)
System = TypeVar("System")
# The shell's and the desktop's: a folder, and the name of a desktop.
_NOT_SECRET = frozenset("PWD OLDPWD DESKTOP_SESSION GDMSESSION XDG_SESSION_ID XDG_SESSION_PATH".split())
# "on" or "prod" under a secret's name would blank half of every text.
_LEAST_SECRET = 6


def home() -> Path:
    """The folder that holds parameters/ and notebooks/.

    $RUNBOOK_HOME, else the nearest such folder from the current one upwards. Raises SettingsError.
    """
    named = os.environ.get(variables.HOME)
    if named:
        return Path(named)
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "parameters" / "environments").is_dir():
            return folder
    raise SettingsError(
        "there is no parameters/environments/ in this folder or above",
        remedy=f"change to the folder of the runbooks, or set {variables.HOME} to it",
    )


def home_or_here() -> Path:
    """The home, or the current folder if there is none: a replay needs no settings."""
    try:
        return home()
    except SettingsError:
        return Path.cwd()


def _environment_files() -> dict[str, Path]:
    extra = os.environ.get(variables.ENVIRONMENTS, "")
    folders = [home() / "parameters" / "environments", *(Path(p) for p in extra.split(os.pathsep) if p)]
    return {file.stem: file for folder in folders for file in sorted(folder.glob("*.yaml"))}


def environments() -> list[str]:
    """The names of the environments that have a file."""
    return sorted(_environment_files())


def services(environment: str) -> list[str]:
    """The names of the environment's services, in the order of its file; none if there is no such file."""
    if environment not in _environment_files():
        return []
    return list(_environment(environment).services)


def read_target(environment: str, service: str) -> Target:
    """The service in the environment. Raises ParameterError or SettingsError."""
    settings = _environment(environment)
    if service not in settings.services:
        raise ParameterError(
            f"{environment} has no service {quoted(service)}",
            remedy=suggestion(service, sorted(settings.services)),
        )
    return Target(environment_name=environment, service_name=service, environment=settings)


def _environment(environment: str) -> Environment:
    files = _environment_files()
    if environment not in files:
        raise ParameterError(
            f"there is no environment {quoted(environment)}", remedy=suggestion(environment, sorted(files))
        )
    shown = f"environments/{environment}.yaml"
    return validated(Environment, read_mapping(files[environment], shown), shown)


def validated(model: type[Model], values: Mapping[str, Any], shown: str) -> Model:
    """The values as the model, or a SettingsError that names the first wrong field."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        # A misspelt name also makes a name missing: report the name that the file holds.
        first = min(error.errors(), key=lambda details: details["type"] != "extra_forbidden")
        field = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            nearest = suggestion(str(first["loc"][-1]), _names_at(model, first["loc"][:-1]))
            raise SettingsError(f"{shown}: {field} is not a known name", remedy=nearest) from None
        raise SettingsError(f"{shown}: {field}: {first['msg']}", remedy="fix that field") from None


def _names_at(model: type[BaseModel], path: Sequence[str | int]) -> list[str]:
    """The names that the section at this path may have; keys of dicts and positions in lists are skipped."""
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
    """The value of the environment variable that a setting names; empty if the setting is empty.

    Raises MissingSecretError.
    """
    if not variable:
        return ""
    value = os.environ.get(variable, "")
    if not value:
        raise MissingSecretError(
            f"the environment variable {variable} is not set",
            remedy=f"export {variable}=… and run the command again",
        )
    return value


def secrets_of(target: Target) -> list[str]:
    """The values of all secrets that the environment's file names. Raises MissingSecretError."""
    systems = target.systems
    named = [system.token_env for system in (systems.prometheus, systems.alertmanager) if system]
    named += [systems.postgres.password_env] if systems.postgres else []
    return [secret(variable) for variable in named if variable]


def operator_secrets_of(target: Target) -> list[str]:
    """The values of the secrets that actions log in with, and of those that they write into .env files.

    A variable of the second kind may be unset: only its own action needs it. Raises MissingSecretError.
    """
    actions = target.environment.actions
    if actions is None:
        return []
    named = [actions.postgres.password_env] if actions.postgres else []
    named += [actions.alertmanager.token_env] if actions.alertmanager else []
    written = [os.environ.get(variable, "") for variable in _written(target)]
    return [*(secret(variable) for variable in named if variable), *filter(None, written)]


def _written(target: Target) -> list[str]:
    """The variables whose values actions write into .env files."""
    actions = target.environment.actions
    switches = actions.switches.values() if actions else ()
    return sorted({variable for switch in switches for variable in switch.set_from.values()})


def operators_value(variable: str) -> str:
    """The value of the variable that an action writes into an .env file. Raises NotConfiguredError."""
    value = os.environ.get(variable, "")
    about = {"system": "settings", "remedy": f"export {variable}=… and run the command again"}
    if not value:
        raise NotConfiguredError(f"the environment variable {variable} is not set", **about)
    if value != value.strip() or not value.isprintable():
        raise NotConfiguredError(
            f"the environment variable {variable} must hold one line of printable text", **about
        )
    return value


def operators_tag(variable: str) -> str:
    """The tag that is shown instead of `operators_value`. Raises NotConfiguredError.

    A headless run's kernel does not get the value; it gets the tag from its runner.
    """
    known = "" if os.environ.get(variable) else _runner_tags().get(variable)
    return known if isinstance(known, str) and known else tag(operators_value(variable))


def _runner_tags() -> dict[str, Any]:
    try:
        tags = json.loads(os.environ.get(variables.TAGS, "{}"))
    except ValueError:
        return {}
    return tags if isinstance(tags, dict) else {}


def tags_for_kernel(environment: str, service: str) -> dict[str, str]:
    """The environment variable that passes those tags to a kernel; empty if the settings cannot be read."""
    try:
        target = read_target(environment, service)
    except InputError:
        return {}  # the notebook shows this error itself
    tags = {name: tag(os.environ[name]) for name in _written(target) if os.environ.get(name)}
    return {variables.TAGS: json.dumps(tags)}


def environment_secrets() -> list[str]:
    """The secrets in this process's environment: by the variable's name, or inside its value."""
    secrets = [value for name, value in os.environ.items() if _is_secret(name)]
    secrets += [secret for value in os.environ.values() for secret in secrets_within(value)]
    return sorted({secret for secret in secrets if len(secret) >= _LEAST_SECRET})


def _is_secret(variable: str) -> bool:
    is_ordinary = variable in _NOT_SECRET or variable in variables.NAMES
    return variable.startswith(variables.OPERATOR_PREFIX) or (not is_ordinary and sounds_secret(variable))


def configured(system: System | None, name: str) -> System:
    """The system's settings, or NotConfiguredError."""
    if system is None:
        raise NotConfiguredError(
            "is not configured for this environment",
            system=name,
            remedy=f"add systems.{name} to the environment's file",
        )
    return system
