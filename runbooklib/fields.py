"""What the texts of an environment's file may be: addresses, names, variables; and which names sound secret.

Secrets stand in that file only as names of environment variables, and a text that could be one is refused.
"""

import re
from typing import Annotated

from pydantic import AfterValidator

_CREDENTIALS = re.compile(
    r"://[^/\s]*:[^/\s]*@|\b(?:ssl)?password\s*=|[?&][\w-]*(?:token|secret|key)=", re.IGNORECASE
)
_CONTAINER = re.compile(r"[a-zA-Z0-9][\w.-]+", re.ASCII)
_SETTING = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
# No kernel ever gets a variable whose name begins so: what may change a system is not for cells.
OPERATOR_PREFIX = "RUNBOOK_OPERATOR_"

# DB_PASSWORD, apiKey and APIKEY are DB and PASSWORD, api and Key, APIKEY.
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_SECRET_WORD = re.compile(
    r".*(?:passw|passphrase|secret|credential).*"
    r"|.*(?:keys?|tokens?|pass|passcode|pwd|pw|creds?|auth|authorization|dsn|cookies?|jwt)"
)
# Words that end like those, and tell nothing.
_ORDINARY = frozenset("monkey donkey turkey hotkey hotkeys bypass compass surpass".split())
# Of a language model, tokens are counted: MAX_TOKENS.
_COUNTED = frozenset("max min limit count budget per".split())


def sounds_secret(name: str) -> bool:
    """Whether a setting of that name may hold a secret; rather once too often than once too seldom."""
    words = {word.lower() for word in _WORD.findall(name)} - _ORDINARY
    if words & _COUNTED:
        words.discard("tokens")
    return any(_SECRET_WORD.fullmatch(word) for word in words)


def _no_credentials(text: str) -> str:
    if _CREDENTIALS.search(text):
        raise ValueError("holds a password: name an environment variable in the field that ends in _env")
    return text


def _container(name: str) -> str:
    if not _CONTAINER.fullmatch(name):
        raise ValueError("is no name of a container: letters, digits and _ . - after a letter or digit")
    return name


def _operators(variable: str) -> str:
    if variable and not variable.startswith(OPERATOR_PREFIX):
        raise ValueError(
            f"must name a variable that begins with {OPERATOR_PREFIX}: no cell gets to see those"
        )
    return variable


def _named(variable: str) -> str:
    if not variable:
        raise ValueError(f"must name a variable that begins with {OPERATOR_PREFIX}")
    return variable


def _setting(name: str) -> str:
    if not _SETTING.fullmatch(name):
        raise ValueError(f"{name[:80]!r} is no name of a setting")
    return name


def _readable(name: str) -> str:
    if sounds_secret(name):
        raise ValueError(
            f"{name} sounds like a secret, and none may stand here: "
            f"set_from: {{{name}: {OPERATOR_PREFIX}…}} takes it from an environment variable"
        )
    return name


Address = Annotated[str, AfterValidator(_no_credentials)]
ContainerName = Annotated[str, AfterValidator(_container)]
OperatorVariable = Annotated[str, AfterValidator(_operators)]
NamedOperatorVariable = Annotated[OperatorVariable, AfterValidator(_named)]
SettingName = Annotated[str, AfterValidator(_setting)]
ReadableSettingName = Annotated[SettingName, AfterValidator(_readable)]
