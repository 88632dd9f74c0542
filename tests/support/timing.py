"""How long something takes, for tests that others run beside, on machines that are busy.

A deadline is shown to hold by what would take much longer without it: a server or a query that hangs for
`HANG_SECONDS`. What ends before the hang does was ended by the deadline; how much later than the deadline
is the machine's affair, and `BUSY_SECONDS` is room for it. Work that must stay small is measured in
processor time. What a number of seconds on the clock must show is marked `alone`.
"""

import time
from collections.abc import Callable
from typing import Any

HANG_SECONDS = 600.0
BUSY_SECONDS = 60.0


def seconds_taken(call: Callable[[], Any]) -> float:
    """How long the call took, by the clock on the wall."""
    begun = time.monotonic()
    call()
    return time.monotonic() - begun


def cpu_seconds_taken(call: Callable[[], Any]) -> float:
    """Seconds of the processor that this process spent on the call, whatever ran beside it."""
    begun = time.process_time()
    call()
    return time.process_time() - begun
