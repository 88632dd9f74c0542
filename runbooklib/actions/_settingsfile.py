"""Changes an .env file atomically (temporary file, sync, rename); owner and mode stay.

First the file is copied beside itself, readable by its owner only: its former content is stored nowhere else.
"""

import hashlib
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runbooklib import files
from runbooklib.errors import ActionError
from runbooklib.sources.files import SYSTEM, read, settings_in, text_of, with_settings


@dataclass(frozen=True, slots=True)
class FormerFile:
    """The file before the change: the path of its copy, and its settings, which may be secret."""

    copy: Path
    values: list[tuple[str, str]] = field(repr=False)


def change_file(path: Path, sha256: str, values: dict[str, str], suffix: str) -> FormerFile:
    """Set the values in the .env file, if its content still has that digest.

    The copy's name ends in `.before-` and the suffix. Raises ActionError, SourceError.
    """
    address: dict[str, Any] = {"system": SYSTEM, "target": str(path)}
    content = read(path)
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ActionError(
            "has changed since the action was proposed", **address, remedy="run the runbook again"
        )
    if any("\n" in value or "\r" in value for value in values.values()):
        raise ActionError("a setting cannot contain a line break", **address)
    file, text = path.resolve(), text_of(content, str(path))
    copy, status = file.with_name(f"{file.name}.before-{suffix}"), file.stat()
    owner = (status.st_uid, status.st_gid)
    _write_copy(copy, content, owner, address)
    try:
        files.replace(file, with_settings(text, values).encode(), status.st_mode & 0o777, owner)
    except OSError as error:
        with suppress(OSError):
            copy.unlink()  # nothing was changed, and the copy may hold secrets
        raise ActionError(f"cannot be written: {error.strerror}", **address) from None
    return FormerFile(copy, settings_in(text))


def _write_copy(copy: Path, content: bytes, owner: tuple[int, int], address: dict[str, Any]) -> None:
    """Write the copy and sync it. Raises ActionError."""
    try:
        files.write_new(copy, content, owner=owner)
        files.sync(copy.parent)
    except FileExistsError:
        raise ActionError(
            f"its copy {copy.name} already exists", **address, remedy="see what it holds"
        ) from None
    except OSError as error:
        with suppress(OSError):
            copy.unlink()
        raise ActionError(f"cannot be copied first: {error.strerror}", **address) from None
