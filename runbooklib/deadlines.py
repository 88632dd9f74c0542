"""How long things may take, on the monotonic clock."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Deadlines:
    """For a kernel to start, for a step, and for a run as a whole."""

    start_seconds: float = 60.0
    step_seconds: float = 120.0
    run_seconds: float = 600.0
