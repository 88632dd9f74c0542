"""Files of the site that actions depend on: the program that an action runs, the settings that it changes.

Of a program, only its digest is recorded. Of a settings file, only the requested settings are recorded, with
a tag in place of a value that may be secret.
"""

import hashlib
import os
import re
import stat
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runbooklib.config import site_secrets
from runbooklib.errors import NoDataError, NonsenseError, RefusedError
from runbooklib.redact.redactor import tag
from runbooklib.redact.secret_names import sounds_secret
from runbooklib.sources.tape import Tape

SYSTEM = "files"
MAX_BYTES = 16_000_000
_LINE = re.compile(r"(\s*(?:export\s+)?)([A-Za-z_][A-Za-z0-9_]*)\s*=(.*)")


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of an .env file, and the SHA-256 of the file in hexadecimal.

    `values` maps each requested name to its text, or to None if it is not set. A value that may be secret is
    replaced by its tag.
    """

    values: dict[str, str | None]
    sha256: str


class Files:
    """Files of this machine, and the operator's variables that are written to them."""

    def __init__(self, tape: Tape, *, deadline_seconds: float = 10.0) -> None:
        self._tape = tape
        self._deadline_seconds = deadline_seconds

    def digests(self, paths: Sequence[str]) -> dict[str, str]:
        """Path -> SHA-256 in hexadecimal. Raises NoDataError for a missing file, and RefusedError."""
        digests: dict[str, str] = self._ask(
            {"question": "digests", "paths": list(paths)},
            lambda: {path: hashlib.sha256(read(Path(path))).hexdigest() for path in paths},
            ", ".join(paths),
        )
        return digests

    def settings(self, path: str, names: Sequence[str], *, hidden: Collection[str] = ()) -> Settings:
        """The settings with these names in the .env file; the last line of a name counts. Raises SourceError.

        A setting that is in `hidden`, or that has the name of a secret, is returned as its tag.
        """

        def call() -> dict[str, Any]:
            content = read(Path(path))
            settings = dict.fromkeys(names) | dict(settings_in(text_of(content, path)))
            values = {name: settings[name] for name in names}
            for name, value in values.items():
                if value is not None and (name in hidden or sounds_secret(name)):
                    values[name] = tag(bare(value))
            return {"values": values, "sha256": hashlib.sha256(content).hexdigest()}

        request = {"question": "settings", "path": path, "names": list(names)}
        request |= {"hidden": sorted(hidden)} if hidden else {}
        return Settings(**self._ask(request, call, path))

    def tags(self, variables: Sequence[str]) -> dict[str, str]:
        """The tag of the value of each of the operator's variables. Raises NotConfiguredError."""
        tags: dict[str, str] = self._ask(
            {"question": "tags", "variables": list(variables)},
            lambda: {name: site_secrets.operators_tag(name) for name in variables},
            ", ".join(variables),
        )
        return tags

    def _ask(self, request: dict[str, Any], call: Any, target: str) -> Any:
        return self._tape.ask(SYSTEM, request, call, target=target, deadline_seconds=self._deadline_seconds)


def read(path: Path) -> bytes:
    """The content of a regular file of at most MAX_BYTES. Raises NoDataError and RefusedError."""
    about = {"system": SYSTEM, "target": str(path)}
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
            content = file.read(MAX_BYTES + 1) if is_file else b""
    except FileNotFoundError:
        raise NoDataError("this file does not exist", **about, hint="check the environment's file") from None
    except OSError as error:
        raise RefusedError(f"cannot be read: {error.strerror}", **about) from None
    if not is_file or len(content) > MAX_BYTES:
        raise RefusedError(
            f"is not a regular file of at most {MAX_BYTES:,} bytes",
            **about,
            hint="check the environment's file",
        )
    return content


def text_of(content: bytes, path: str) -> str:
    """The content as text. Raises NonsenseError if it is not UTF-8."""
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise NonsenseError("is not UTF-8", system=SYSTEM, target=path) from None


def settings_in(text: str) -> list[tuple[str, str]]:
    """The settings of an .env file in order, as (name, value); a value keeps its quotes."""
    matches = [_LINE.fullmatch(line) for line in text.split("\n")]
    return [(match[2], match[3].strip()) for match in matches if match]


def bare(value: str) -> str:
    """A value without the quotes around it, as the program gets it."""
    is_quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
    return value[1:-1] if is_quoted else value


def with_settings(text: str, values: dict[str, str]) -> str:
    """The text of the .env file with these settings. All other lines stay; new names are added at the end."""
    lines, new = text.split("\n"), dict(values)
    ending = "\r\n" if lines[0].endswith("\r") else "\n"
    for number, line in enumerate(lines):
        match = _LINE.fullmatch(line)
        if match and match[2] in values:
            lines[number] = f"{match[1]}{match[2]}={values[match[2]]}" + "\r" * line.endswith("\r")
            new.pop(match[2], None)
    text = "\n".join(lines)
    added = ending.join(f"{name}={value}" for name, value in new.items())
    if not added:
        return text
    return f"{text}{added}{ending}" if lines[-1] == "" else f"{text}{ending}{added}"
