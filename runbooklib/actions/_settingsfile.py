"""A settings file of the site, changed at one stroke: temporary file, sync, rename; owner and mode stay.

As it was it stays beside it, for its owner alone: what it said stands nowhere else.
"""

import hashlib
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runbooklib import folders
from runbooklib.errors import ActionError
from runbooklib.sources.files import SYSTEM, read, settings_in, text_of, with_settings


@dataclass(frozen=True, slots=True)
class Former:
    """The file before it was changed: its copy, and what it set, which may be secret."""

    copy: Path
    values: list[tuple[str, str]] = field(repr=False)


def change(path: Path, sha256: str, values: dict[str, str], mark: str) -> Former:
    """Set the values in the .env file, if it is still the one of that digest.

    The copy's name ends in `.before-` and the mark. Raises ActionError, SourceError.
    """
    about: dict[str, Any] = {"system": SYSTEM, "target": str(path)}
    content = read(path)
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ActionError("was changed since it was looked at", **about, remedy="run the runbook again")
    if any("\n" in value or "\r" in value for value in values.values()):
        raise ActionError("a setting cannot have a line break", **about)
    place, text = path.resolve(), text_of(content, str(path))
    copy, now = place.with_name(f"{place.name}.before-{mark}"), place.stat()
    owner = (now.st_uid, now.st_gid)
    _keep(copy, content, owner, about)
    try:
        folders.replace(place, with_settings(text, values).encode(), now.st_mode & 0o777, owner)
    except OSError as error:
        with suppress(OSError):
            copy.unlink()  # nothing was changed, and it may hold secrets
        raise ActionError(f"cannot be written: {error.strerror}", **about) from None
    return Former(copy, settings_in(text))


def _keep(copy: Path, content: bytes, owner: tuple[int, int], about: dict[str, Any]) -> None:
    """The copy, on the disk before anything else is. Raises ActionError."""
    try:
        folders.write_new(copy, content, owner=owner)
        folders.sync(copy.parent)
    except FileExistsError:
        raise ActionError(
            f"its copy {copy.name} is there already", **about, remedy="see what it is"
        ) from None
    except OSError as error:
        with suppress(OSError):
            copy.unlink()
        raise ActionError(f"cannot be kept as it was: {error.strerror}", **about) from None
