"""How far back a container's log can be read: Docker and others delete its oldest lines (rotation).

The container's creation says where the log began, not where the part that is left begins.
"""

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from runbooklib.errors import RefusedError
from runbooklib.model.window import moment_of
from runbooklib.sources.docker.engine import SYSTEM, Engine, PartialResponse
from runbooklib.sources.docker.log_frames import demultiplexed
from runbooklib.sources.docker.log_stream import moment_of_line

# Drivers whose lines cannot be read back.
_UNREADABLE = frozenset({"none", "passthrough", "passthrough-tty"})
_NO_LIMIT = frozenset({"", "-1", "0", "0B"})
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgtp]?)i?b?", re.IGNORECASE)
# A file of Docker's contains at most 6 bytes for each byte of a line, and its time and stream.
_MAX_ESCAPED_BYTES, _BYTES_PER_ENTRY = 6, 150


def refuse_unreadable(container: dict[str, Any], url: str) -> None:
    """Raise RefusedError if the container's logging driver keeps no lines that can be read."""
    driver = _config(container)[0]
    if driver in _UNREADABLE:
        raise RefusedError(
            f"the container's logging driver is {driver!r}: its log cannot be read",
            system=SYSTEM,
            target=url,
            hint="use the driver json-file or local, or read the log where it is sent",
            code=driver,
        )


def lost_before(
    engine: Engine, container: dict[str, Any], since: datetime, read: Iterable[tuple[int, int, bool]]
) -> datetime | None:
    """The time of the first line that can be read, if earlier lines since `since` may be deleted; else None.

    `read`: for each part of the log that was read: bytes, entries, and whether it was read to its end.
    """
    created = moment_of(container["Created"])
    driver, options = _config(container)
    rotates = driver != "json-file" or options.get("max-size", "") not in _NO_LIMIT
    if not rotates and created >= since:
        return None
    first = _first_line_at(engine, container)
    if first is None or first <= since:
        return None
    # Nothing is deleted while the files together are smaller than a single file may be, if there are several.
    size = sum(_MAX_ESCAPED_BYTES * size + _BYTES_PER_ENTRY * entries for size, entries, _ in read)
    is_small = size < _size_of_a_full_file(driver, options) and all(is_whole for *_, is_whole in read)
    return None if rotates and is_small and created >= since else first


def _config(container: dict[str, Any]) -> tuple[str, dict[str, str]]:
    config = (container.get("HostConfig") or {}).get("LogConfig") or {}
    options = dict(config.get("Config") or {})
    if config.get("Size"):  # podman
        options.setdefault("max-size", str(config["Size"]))
    return str(config.get("Type") or ""), options


def _size_of_a_full_file(driver: str, options: dict[str, str]) -> float:
    """The bytes that at least one file has after a rotation; 0 if all files can be small."""
    prefix = "" if driver in ("json-file", "local") else "cache-"
    size, files = options.get(f"{prefix}max-size"), options.get(f"{prefix}max-file")
    if driver != "json-file":
        size, files = size or "20m", files or "5"
    match = _SIZE.fullmatch(size or "")
    if driver in ("", "journald", "k8s-file") or match is None or not (files or "1").isdigit():
        return 0.0
    return float(match[1]) * 1000.0 ** " kmgtp".index(match[2].lower() or " ") if int(files or 1) > 1 else 0.0


def _first_line_at(engine: Engine, container: dict[str, Any]) -> datetime | None:
    """The time of the oldest line that the engine still has; None for an empty log."""
    parameters = {"stdout": "1", "stderr": "1", "timestamps": "1"}
    part = PartialResponse(engine, f"/containers/{container['Id']}/logs", parameters, max_bytes=1)
    frames = demultiplexed(part, is_tty=bool(container["Config"]["Tty"]))
    for _, payload in frames:
        return moment_of_line(payload.decode("utf-8", "replace"))
    return None
