"""A settings file of the site, changed at one stroke: temporary file, sync, rename; owner and mode stay."""

import hashlib
from pathlib import Path
from typing import Any

from runbooklib import folders
from runbooklib.errors import ActionError
from runbooklib.sources.files import SYSTEM, read, text_of, with_settings


def change(path: Path, sha256: str, values: dict[str, str]) -> None:
    """Set the values in the .env file, if it is still the one of that digest.

    Raises ActionError, SourceError.
    """
    about: dict[str, Any] = {"system": SYSTEM, "target": str(path)}
    content = read(path)
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ActionError("was changed since it was looked at", **about, remedy="run the runbook again")
    if any("\n" in value or "\r" in value for value in values.values()):
        raise ActionError("a setting cannot have a line break", **about)
    place = path.resolve()
    now = place.stat()
    text = with_settings(text_of(content, str(path)), values)
    try:
        folders.replace(place, text.encode(), now.st_mode & 0o777, (now.st_uid, now.st_gid))
    except OSError as error:
        raise ActionError(f"cannot be written: {error.strerror}", **about) from None
