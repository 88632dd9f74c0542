"""The text types of an environment's file: durations, addresses, container names, names of variables.

Secrets appear in that file only as names of environment variables; a text with a password is refused.
"""

import re
from typing import Annotated

from pydantic import AfterValidator

from runbooklib.config import variables
from runbooklib.errors import ParameterError
from runbooklib.model.window import seconds_of
from runbooklib.redact.secret_names import sounds_secret

_URL_PASSWORD = re.compile(r"://[^/\s]*:[^/\s]*@")
_ADDRESS_NAME = re.compile(r"([\w-]+)\s*=")
# Parameters of libpq that are not secrets: a file name, and a kind of authentication.
_NOT_SECRET = frozenset(("sslkey", "require_auth"))
_CONTAINER = re.compile(r"[a-zA-Z0-9][\w.-]+", re.ASCII)
_SETTING = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")


def _duration(text: str) -> str:
    try:
        seconds_of(text)
    except ParameterError as error:
        raise ValueError(str(error)) from None
    return text


def _without_credentials(text: str) -> str:
    names = [name for name in _ADDRESS_NAME.findall(text) if name.lower() not in _NOT_SECRET]
    if _URL_PASSWORD.search(text) or any(sounds_secret(name) for name in names):
        raise ValueError(
            "contains a password: put it into a variable, and name it in the field that ends in _env"
        )
    return text


def _container_name(name: str) -> str:
    if not _CONTAINER.fullmatch(name):
        raise ValueError(
            "is not a container name: use letters, digits, _ . and -, and begin with a letter or digit"
        )
    return name


def _operator_variable(variable: str) -> str:
    if variable and not variable.startswith(variables.OPERATOR_PREFIX):
        raise ValueError(
            f"must name a variable that begins with {variables.OPERATOR_PREFIX}: cells cannot read those"
        )
    return variable


def _not_empty(variable: str) -> str:
    if not variable:
        raise ValueError(f"must name a variable that begins with {variables.OPERATOR_PREFIX}")
    return variable


def _setting_name(name: str) -> str:
    if not _SETTING.fullmatch(name):
        raise ValueError(f"{name[:80]!r} is not a setting name")
    return name


def _readable_setting_name(name: str) -> str:
    if sounds_secret(name):
        raise ValueError(
            f"{name} sounds like a secret, which is not allowed here: "
            f"take it from an environment variable, set_from: {{{name}: {variables.OPERATOR_PREFIX}…}}"
        )
    return name


Duration = Annotated[str, AfterValidator(_duration)]
Address = Annotated[str, AfterValidator(_without_credentials)]
ContainerName = Annotated[str, AfterValidator(_container_name)]
OperatorVariable = Annotated[str, AfterValidator(_operator_variable)]
NamedOperatorVariable = Annotated[OperatorVariable, AfterValidator(_not_empty)]
SettingName = Annotated[str, AfterValidator(_setting_name)]
ReadableSettingName = Annotated[SettingName, AfterValidator(_readable_setting_name)]
