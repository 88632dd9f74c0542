"""Files of the site that actions rest on: which program would run, which settings would change.

Of a program only its digest is read, and of a settings file only the settings that are asked for.
"""

import hashlib
import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runbooklib.errors import NoDataError, NonsenseError, RefusedError
from runbooklib.tape import Tape

SYSTEM = "files"
MOST_BYTES = 16_000_000
_LINE = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=(.*)")


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of an .env file as they are: name -> text, None where it is not set; the file's SHA-256."""

    values: dict[str, str | None]
    sha256: str


class Files:
    """Files of this machine."""

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

    def settings(self, path: str, names: Sequence[str]) -> Settings:
        """What the .env file sets those names to; the last line of a name counts. Raises SourceError."""

        def call() -> dict[str, Any]:
            content = read(Path(path))
            found = dict(settings_in(text_of(content, path)))
            digest = hashlib.sha256(content).hexdigest()
            return {"values": {name: found.get(name) for name in names}, "sha256": digest}

        told = self._ask({"question": "settings", "path": path, "names": list(names)}, call, path)
        return Settings(**told)

    def _ask(self, request: dict[str, Any], call: Any, target: str) -> Any:
        return self._tape.ask(SYSTEM, request, call, target=target, deadline_seconds=self._deadline_seconds)


def read(path: Path) -> bytes:
    """The content of a file, and of nothing else. Raises NoDataError, RefusedError."""
    about = {"system": SYSTEM, "target": str(path)}
    try:
        held = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(held, "rb") as file:
            is_file = stat.S_ISREG(os.fstat(held).st_mode)
            content = file.read(MOST_BYTES + 1) if is_file else b""
    except FileNotFoundError:
        raise NoDataError("there is no such file", **about, remedy="see the environment's file") from None
    except OSError as error:
        raise RefusedError(f"cannot be read: {error.strerror}", **about) from None
    if not is_file or len(content) > MOST_BYTES:
        raise RefusedError("is no file of a usual size", **about, remedy="see the environment's file")
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
    return [(line[1], line[2].strip()) for line in found if line]


def with_settings(text: str, values: dict[str, str]) -> str:
    """The .env file with these settings; all other lines stay as they are, and new names come last."""
    lines, left = text.split("\n"), dict(values)
    for number, line in enumerate(lines):
        found = _LINE.fullmatch(line)
        if found and found[1] in values:
            lines[number] = f"{found[1]}={values[found[1]]}"
            left.pop(found[1], None)
    added = [f"{name}={value}" for name, value in left.items()]
    if added and lines[-1] == "":
        lines[-1:] = [*added, ""]
    else:
        lines += added
    return "\n".join(lines)
