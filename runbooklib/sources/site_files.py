"""Files of the site that actions rest on: which program would run, which settings would change.

Of a program only its digest is read, and of a settings file only the settings that are asked for: of those
that may be secret a tag.
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
    """Settings of an .env file as they are: name -> text, None where it is not set; the file's SHA-256.

    What may be secret is its tag.
    """

    values: dict[str, str | None]
    sha256: str


class Files:
    """Files of this machine, and the operator's variables that go into them."""

    def __init__(self, tape: Tape, *, deadline_seconds: float = 10.0) -> None:
        self._tape = tape
        self._deadline_seconds = deadline_seconds

    def digests(self, paths: Sequence[str]) -> dict[str, str]:
        """Path -> SHA-256. Raises NoDataError for a file that is not there, RefusedError for what is none."""
        told: dict[str, str] = self._ask(
            {"question": "digests", "paths": list(paths)},
            lambda: {path: hashlib.sha256(read(Path(path))).hexdigest() for path in paths},
            ", ".join(paths),
        )
        return told

    def settings(self, path: str, names: Sequence[str], *, hidden: Collection[str] = ()) -> Settings:
        """What the .env file sets those names to; the last line of a name counts. Raises SourceError.

        Of those that are `hidden`, and of those that sound secret, nobody is told more than the tag.
        """

        def call() -> dict[str, Any]:
            content = read(Path(path))
            values = dict.fromkeys(names) | dict(settings_in(text_of(content, path)))
            told = {name: values[name] for name in names}
            for name, value in told.items():
                if value is not None and (name in hidden or sounds_secret(name)):
                    told[name] = tag(bare(value))
            return {"values": told, "sha256": hashlib.sha256(content).hexdigest()}

        request = {"question": "settings", "path": path, "names": list(names)}
        request |= {"hidden": sorted(hidden)} if hidden else {}
        return Settings(**self._ask(request, call, path))

    def tags(self, variables: Sequence[str]) -> dict[str, str]:
        """The tag of what each of the operator's variables holds. Raises NotConfiguredError."""
        told: dict[str, str] = self._ask(
            {"question": "tags", "variables": list(variables)},
            lambda: {name: site_secrets.operators_tag(name) for name in variables},
            ", ".join(variables),
        )
        return told

    def _ask(self, request: dict[str, Any], call: Any, target: str) -> Any:
        return self._tape.ask(SYSTEM, request, call, target=target, deadline_seconds=self._deadline_seconds)


def read(path: Path) -> bytes:
    """The content of a file, and of nothing else. Raises NoDataError, RefusedError."""
    about = {"system": SYSTEM, "target": str(path)}
    try:
        held = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(held, "rb") as file:
            is_file = stat.S_ISREG(os.fstat(held).st_mode)
            content = file.read(MAX_BYTES + 1) if is_file else b""
    except FileNotFoundError:
        raise NoDataError("there is no such file", **about, hint="see the environment's file") from None
    except OSError as error:
        raise RefusedError(f"cannot be read: {error.strerror}", **about) from None
    if not is_file or len(content) > MAX_BYTES:
        raise RefusedError("is no file of a usual size", **about, hint="see the environment's file")
    return content


def text_of(content: bytes, path: str) -> str:
    """The content as text. Raises NonsenseError."""
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise NonsenseError("is not UTF-8", system=SYSTEM, target=path) from None


def settings_in(text: str) -> list[tuple[str, str]]:
    """The settings of an .env file in their order: name, and value as it stands there."""
    found = [_LINE.fullmatch(line) for line in text.split("\n")]
    return [(line[2], line[3].strip()) for line in found if line]


def bare(value: str) -> str:
    """A value without the quotes around it: so a program gets it, and so it turns up elsewhere."""
    is_quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
    return value[1:-1] if is_quoted else value


def with_settings(text: str, values: dict[str, str]) -> str:
    """The .env file with these settings; all other lines stay as they are, and new names come last."""
    lines, left = text.split("\n"), dict(values)
    ending = "\r\n" if lines[0].endswith("\r") else "\n"
    for number, line in enumerate(lines):
        found = _LINE.fullmatch(line)
        if found and found[2] in values:
            lines[number] = f"{found[1]}{found[2]}={values[found[2]]}" + "\r" * line.endswith("\r")
            left.pop(found[2], None)
    text = "\n".join(lines)
    added = ending.join(f"{name}={value}" for name, value in left.items())
    if not added:
        return text
    return f"{text}{added}{ending}" if lines[-1] == "" else f"{text}{ending}{added}"
