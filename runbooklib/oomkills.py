"""How often the kernel of the operating system killed for want of memory, in a process's own cgroup."""

import re
from contextlib import suppress
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_COUNT = re.compile(r"^oom_kill (\d+)$", re.MULTILINE)


def count(pid: int | None = None) -> int | None:
    """Kills so far in the memory cgroup of the process (None: this one), and None where nobody counts."""
    try:
        lines = Path(f"/proc/{pid or 'self'}/cgroup").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        _, controllers, path = line.split(":", 2)
        inside = path.lstrip("/")
        # cgroups v1 name their controller, v2 has one tree for all of them.
        for file in (
            [_ROOT / "memory" / inside / "memory.oom_control"] if controllers == "memory" else []
        ) + ([_ROOT / inside / "memory.events"] if not controllers else []):
            with suppress(OSError):
                if found := _COUNT.search(file.read_text()):
                    return int(found[1])
    return None
