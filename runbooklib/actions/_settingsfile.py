"""A settings file of the site, changed at one stroke: temporary file, sync, rename; owner and mode stay."""

import hashlib
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Any

from runbooklib.errors import ActionError
from runbooklib.folders import write_new
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
    work = place.with_name(f".{place.name}.{secrets.token_hex(8)}")
    now = place.stat()
    try:
        write_new(work, with_settings(text_of(content, str(path)), values).encode(), now.st_mode & 0o777)
        if (now.st_uid, now.st_gid) != (os.geteuid(), os.getegid()):
            os.chown(work, now.st_uid, now.st_gid)
        work.replace(place)
    except OSError as error:
        with suppress(OSError):
            work.unlink()
        raise ActionError(f"cannot be written: {error.strerror}", **about) from None
