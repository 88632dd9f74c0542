"""Application events as one JSON object a line, mixed with uvicorn's own plain lines as in production."""

import json
import sys
from datetime import UTC, datetime


def log(event: str, level: str = "info", **fields: object) -> None:
    """Write one event; one write call a line, so that threads do not mix their lines."""
    stamp = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    line = {"event": event, "level": level, "timestamp": stamp, **fields}
    sys.stdout.write(json.dumps(line, default=str) + "\n")
    sys.stdout.flush()
