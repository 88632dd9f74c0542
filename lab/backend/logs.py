"""Application events as one JSON object per line, mixed with uvicorn's plain lines as in production."""

import json
import sys
from datetime import UTC, datetime


def log(event: str, level: str = "info", **fields: object) -> None:
    """Write one event; one write call per line, so that lines of different threads do not mix."""
    stamp = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    line = {"event": event, "level": level, "timestamp": stamp, **fields}
    sys.stdout.write(json.dumps(line, default=str) + "\n")
    sys.stdout.flush()
