"""Response times."""

from runbooklib import measures, queries
from runbooklib.findings import Finding
from runbooklib.measures import Limit, Words
from runbooklib.scene import Scene


def response_time(
    scene: Scene, *, above: float, critical_above: float | None = None, quantile: float = 0.95
) -> Finding:
    """How long do users wait?

    The `quantile` (0–1) of the duration of user requests, from the histogram's buckets summed over
    instances; `above` and `critical_above` are seconds.
    """
    name = f"P{quantile * 100:g}"
    words = Words(
        template="{name} is {now:seconds}; the limit is {limit:seconds}.",
        line=name,
        unit="seconds",
        facts={"name": name},
    )
    limit = Limit(above=above, critical_above=critical_above)
    return measures.quantile(
        scene, queries.durations(scene.target), limit, words, q=quantile, what="requests"
    )


def slow_endpoints(scene: Scene, *, above: float, quantile: float = 0.95, top: int = 5) -> Finding:
    """Which endpoints are slow?

    The `quantile` (0–1) of the duration at each endpoint, slowest first; `above` is seconds.
    """
    words = Words(
        template=(
            "{beyond} of {all} endpoints are slower than {limit:seconds}. "
            "The slowest is {worst} with {now:seconds}."
        ),
        sound="None of {all} endpoints is slower than {limit:seconds}.",
        line="",
        unit="seconds",
    )
    histogram = queries.durations(scene.target)
    return measures.slowest(scene, histogram, by="endpoint", q=quantile, above=above, words=words, top=top)
