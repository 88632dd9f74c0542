"""Reads the settings of a site: parameters/environments/<name>.yaml, and the secrets that it names."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from runbooklib.config import variables
from runbooklib.config.environment import Environment, Systems, Target
from runbooklib.config.yaml_file import read_mapping
from runbooklib.errors import NotConfiguredError, ParameterError, SettingsError, suggestion
from runbooklib.text import quoted

Model = TypeVar("Model", bound=BaseModel)
System = TypeVar("System")
_NONE: Mapping[str, str] = MappingProxyType({})


def home() -> Path:
    """The folder that holds parameters/ and notebooks/.

    $RUNBOOK_HOME, else the nearest such folder from the current one upwards. Raises SettingsError.
    """
    folder_name = os.environ.get(variables.HOME)
    if folder_name:
        return Path(folder_name)
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "parameters" / "environments").is_dir():
            return folder
    raise SettingsError(
        "there is no parameters/environments/ in this folder or above",
        hint=f"change to the folder of the runbooks, or set {variables.HOME} to it",
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
            hint=suggestion(service, sorted(settings.services)),
        )
    return Target(environment_name=environment, service_name=service, environment=settings)


def _environment(environment: str) -> Environment:
    files = _environment_files()
    if environment not in files:
        raise ParameterError(
            f"there is no environment {quoted(environment)}", hint=suggestion(environment, sorted(files))
        )
    file_name = f"environments/{environment}.yaml"
    values = read_mapping(files[environment], file_name)
    systems = values.get("systems")
    if not isinstance(systems, Mapping):
        return validate(Environment, values, file_name)
    unusable = dict(_unusable_systems(systems, file_name))
    usable = {name: section for name, section in systems.items() if name not in unusable}
    settings = validate(Environment, {**values, "systems": usable}, file_name)
    return settings.model_copy(update={"systems": settings.systems.model_copy(update={"unusable": unusable})})


def _unusable_systems(systems: Mapping[str, Any], file_name: str) -> Iterator[tuple[str, str]]:
    """(system, what is wrong) for each system with wrong settings: it must not stop the other systems."""
    for name, section in systems.items():
        if name in Systems.model_fields:
            try:
                validate(Systems, {name: section}, f"{file_name}: systems")
            except SettingsError as error:
                yield name, str(error)


def validate(model: type[Model], values: Mapping[str, Any], file_name: str) -> Model:
    """The values as the model, or a SettingsError that names the first wrong field."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        # A misspelt name also makes a name missing: report the name that the file holds.
        first = min(error.errors(), key=lambda details: details["type"] != "extra_forbidden")
        field = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            nearest = suggestion(str(first["loc"][-1]), _names_at(model, first["loc"][:-1]))
            raise SettingsError(f"{file_name}: {field} is not a known name", hint=nearest) from None
        raise SettingsError(f"{file_name}: {field}: {first['msg']}", hint="fix that field") from None


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


def _runner_tags() -> dict[str, Any]:
    try:
        tags = json.loads(os.environ.get(variables.TAGS, "{}"))
    except ValueError:
        return {}
    return tags if isinstance(tags, dict) else {}


def configured(system: System | None, name: str, unusable: Mapping[str, str] = _NONE) -> System:
    """The system's settings, or NotConfiguredError. `unusable` is that of `Systems`."""
    if name in unusable:
        raise NotConfiguredError(
            f"its settings are wrong: {unusable[name]}", system=name, hint="correct the environment's file"
        )
    if system is None:
        raise NotConfiguredError(
            "is not configured for this environment",
            system=name,
            hint=f"add systems.{name} to the environment's file",
        )
    return system
