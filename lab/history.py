"""Past hours of a healthy backend as OpenMetrics text, for charts and comparisons with yesterday."""

from collections.abc import Iterator
from itertools import chain
from typing import TextIO

from lab.layout import HOST, Layout

STEP_SECONDS = 15
REQUESTS_PER_SECOND = {
    "/api/v1/agents": 6.0,
    "/api/v1/conversations": 5.0,
    "/api/v1/chat": 5.0,
    "/api/v1/sandbox/execute": 4.0,
    "/api/v1/search": 3.0,
    "/api/v1/agents/touch": 1.5,
    "/health": 2.0,
}
TYPICAL_SECONDS = {"/api/v1/chat": 0.25, "/api/v1/sandbox/execute": 0.1}
BUCKETS = ("0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1.0", "2.5", "5.0", "10.0", "+Inf")
ERROR_EVERY = 2000  # one request in 2,000 fails on a normal day


def write(file: TextIO, layout: Layout, starts: float, ends: float) -> None:
    """Write every series, family by family, as OpenMetrics requires."""
    where = f"{HOST}:{layout.backend_port}"
    instance = f'app="helloagents",instance="{where}",job="helloagents-backend",service="backend"'
    steps = range(int(starts) // STEP_SECONDS * STEP_SECONDS, int(ends), STEP_SECONDS)
    file.writelines(chain(up(instance, steps), requests(instance, steps), durations(instance, steps)))
    file.write("# EOF\n")


def up(instance: str, steps: range) -> Iterator[str]:
    """Series of a target that always answered."""
    yield "# TYPE up gauge\n"
    for at in steps:
        yield f"up{{{instance}}} 1 {at}\n"


def requests(instance: str, steps: range) -> Iterator[str]:
    """Counters that grow evenly, with the few failures of a normal day."""
    yield "# TYPE http_requests counter\n"
    for endpoint, rate in REQUESTS_PER_SECOND.items():
        for code in ("200", "500"):
            labels = f'{instance},endpoint="{endpoint}",method="GET",status_code="{code}"'
            for at in steps:
                count = int(rate * (at - steps.start))
                failed = count // ERROR_EVERY
                yield f"http_requests_total{{{labels}}} {failed if code == '500' else count - failed} {at}\n"


def durations(instance: str, steps: range) -> Iterator[str]:
    """Latency histograms in which every request took the typical time."""
    yield "# TYPE http_request_duration_seconds histogram\n"
    for endpoint, rate in REQUESTS_PER_SECOND.items():
        labels = f'{instance},endpoint="{endpoint}",method="GET"'
        typical = TYPICAL_SECONDS.get(endpoint, 0.02)
        for at in steps:
            count = int(rate * (at - steps.start))
            for bound in BUCKETS:
                inside = count if float(bound) >= typical else 0
                yield f'http_request_duration_seconds_bucket{{{labels},le="{bound}"}} {inside} {at}\n'
            yield f"http_request_duration_seconds_count{{{labels}}} {count} {at}\n"
            yield f"http_request_duration_seconds_sum{{{labels}}} {count * typical:.3f} {at}\n"
