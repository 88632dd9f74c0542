"""What the texts of an environment's file may be: addresses, names, variables.

Secrets stand in that file only as names of environment variables, and a text that could be one is refused.
"""

import re
from typing import Annotated

from pydantic import AfterValidator

from runbooklib import variables
from runbooklib.secretnames import sounds_secret

_URL_PASSWORD = re.compile(r"://[^/\s]*:[^/\s]*@")
_ADDRESS_NAME = re.compile(r"([\w-]+)\s*=")
# libpq's parameters: a file, and a kind of authentication.
_NOT_SECRET = frozenset(("sslkey", "require_auth"))
_CONTAINER = re.compile(r"[a-zA-Z0-9][\w.-]+", re.ASCII)
_SETTING = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")


def _no_credentials(text: str) -> str:
    names = [name for name in _ADDRESS_NAME.findall(text) if name.lower() not in _NOT_SECRET]
    if _URL_PASSWORD.search(text) or any(sounds_secret(name) for name in names):
        raise ValueError("holds a password: name an environment variable in the field that ends in _env")
    return text


def _container(name: str) -> str:
    if not _CONTAINER.fullmatch(name):
        raise ValueError("is no name of a container: letters, digits and _ . - after a letter or digit")
    return name


def _operators(variable: str) -> str:
    if variable and not variable.startswith(variables.OPERATOR_PREFIX):
        raise ValueError(
            f"must name a variable that begins with {variables.OPERATOR_PREFIX}: no cell gets to see those"
        )
    return variable


def _named(variable: str) -> str:
    if not variable:
        raise ValueError(f"must name a variable that begins with {variables.OPERATOR_PREFIX}")
    return variable


def _setting(name: str) -> str:
    if not _SETTING.fullmatch(name):
        raise ValueError(f"{name[:80]!r} is no name of a setting")
    return name


def _readable(name: str) -> str:
    if sounds_secret(name):
        raise ValueError(
            f"{name} sounds like a secret, and none may stand here: "
            f"set_from: {{{name}: {variables.OPERATOR_PREFIX}…}} takes it from an environment variable"
        )
    return name


Address = Annotated[str, AfterValidator(_no_credentials)]
ContainerName = Annotated[str, AfterValidator(_container)]
OperatorVariable = Annotated[str, AfterValidator(_operators)]
NamedOperatorVariable = Annotated[OperatorVariable, AfterValidator(_named)]
SettingName = Annotated[str, AfterValidator(_setting)]
ReadableSettingName = Annotated[SettingName, AfterValidator(_readable)]
