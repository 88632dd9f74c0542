"""Reads the settings of a site: parameters/environments/<name>.yaml, and the secrets that it names."""

import json
import os

from runbooklib.config import variables
from runbooklib.config.environment import Target
from runbooklib.config.site import _runner_tags, read_target
from runbooklib.errors import InputError, MissingSecretError, NotConfiguredError
from runbooklib.redact.redactor import secrets_within, tag
from runbooklib.redact.secret_names import sounds_secret

# The shell's and the desktop's: a folder, and the name of a desktop.
_NOT_SECRET = frozenset("PWD OLDPWD DESKTOP_SESSION GDMSESSION XDG_SESSION_ID XDG_SESSION_PATH".split())
# "on" or "prod" under a secret's name would blank half of every text.
_MIN_SECRET = 6


def secret(variable: str, system: str) -> str:
    """The value of the environment variable that a setting names; empty if the setting is empty.

    `system` is the system that needs it. Raises MissingSecretError.
    """
    if not variable:
        return ""
    value = os.environ.get(variable, "")
    if not value:
        raise MissingSecretError(
            f"the environment variable {variable} is not set",
            system=system,
            hint=f"export {variable}=… and run the command again",
        )
    return value


def secrets_of(target: Target) -> list[str]:
    """The values of all secrets that the environment's file names and that are set.

    A secret that is not set makes its own system UNKNOWN (see `secret`), and does not stop the run.
    """
    systems = target.systems
    names = [system.token_env for system in (systems.prometheus, systems.alertmanager) if system]
    names += [systems.postgres.password_env] if systems.postgres else []
    return [os.environ[variable] for variable in names if os.environ.get(variable)]


def operator_secrets_of(target: Target) -> list[str]:
    """The values of the secrets that actions log in with, and of those that they write into .env files.

    A variable of the second kind may be unset: only its own action needs it. Raises MissingSecretError.
    """
    actions = target.environment.actions
    if actions is None:
        return []
    names = [("postgres", actions.postgres.password_env)] if actions.postgres else []
    names += [("alertmanager", actions.alertmanager.token_env)] if actions.alertmanager else []
    written = [os.environ.get(variable, "") for variable in _written_variables(target)]
    return [*(secret(variable, system) for system, variable in names if variable), *filter(None, written)]


def _written_variables(target: Target) -> list[str]:
    """The variables whose values actions write into .env files."""
    actions = target.environment.actions
    switches = actions.switches.values() if actions else ()
    return sorted({variable for switch in switches for variable in switch.set_from.values()})


def operators_value(variable: str) -> str:
    """The value of the variable that an action writes into an .env file. Raises NotConfiguredError."""
    value = os.environ.get(variable, "")
    about = {"system": "settings", "hint": f"export {variable}=… and run the command again"}
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


def tags_for_kernel(environment: str, service: str) -> dict[str, str]:
    """The environment variable that passes those tags to a kernel; empty if the settings cannot be read."""
    try:
        target = read_target(environment, service)
    except InputError:
        return {}  # the notebook shows this error itself
    tags = {name: tag(os.environ[name]) for name in _written_variables(target) if os.environ.get(name)}
    return {variables.TAGS: json.dumps(tags)}


def environment_secrets() -> list[str]:
    """The secrets in this process's environment: by the variable's name, or inside its value."""
    secrets = [value for name, value in os.environ.items() if _is_secret(name)]
    secrets += [secret for value in os.environ.values() for secret in secrets_within(value)]
    return sorted({secret for secret in secrets if len(secret) >= _MIN_SECRET})


def _is_secret(variable: str) -> bool:
    is_ordinary = variable in _NOT_SECRET or variable in variables.NAMES
    return variable.startswith(variables.OPERATOR_PREFIX) or (not is_ordinary and sounds_secret(variable))
