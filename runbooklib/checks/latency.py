"""How long requests take."""

import pandas as pd

from runbooklib import queries
from runbooklib.errors import NoDataError
from runbooklib.findings import Finding, Status, breach
from runbooklib.scene import Scene
from runbooklib.series import began, latest
from runbooklib.window import seconds_of


def response_time(scene: Scene, *, above: float, quantile: float = 0.95) -> Finding:
    """How long do users wait?

    A quantile (0–1) of the duration of all requests, in seconds, from the histogram's buckets summed
    over instances. It is interpolated within a bucket: a limit that is no bucket's bound is a guess.
    """
    query = queries.duration_quantile(scene.target, quantile)
    name = f"P{quantile * 100:g}"
    frame = scene.sources.prometheus.range(query, scene.window).rename(columns={"value": name})
    if name not in frame:
        raise NoDataError("there is no histogram of durations for this service", system="prometheus")
    fresh = 2 * scene.window.step_seconds + seconds_of(scene.timing.rate_window)
    seconds = latest(frame[name], within_seconds=fresh)
    return Finding(
        status=breach(seconds, above=above, status=Status.WARNING),
        template="{name} is {seconds:seconds}; the limit is {limit:seconds}.",
        facts={"name": name, "seconds": seconds, "limit": above},
        measured=seconds,
        limit=above,
        unit="seconds",
        since=began(frame[name], above=above, bridging_seconds=fresh),
        source="prometheus",
        query=query,
        series=frame,
    )


def slow_endpoints(scene: Scene, *, above: float, quantile: float = 0.95, top: int = 5) -> Finding:
    """Which endpoints are slow?

    The quantile (0–1) of the duration at each endpoint in seconds, slowest first.
    """
    query = queries.duration_quantile(scene.target, quantile, by=("endpoint",))
    frame = scene.sources.prometheus.instant(query, scene.window.end)
    known = frame[frame["value"].notna()] if len(frame) else frame
    if known.empty:
        raise NoDataError("there was no traffic to judge", system="prometheus")
    rows = known.sort_values("value", ascending=False).reset_index(drop=True)
    slow = rows[rows["value"] > above]
    return Finding(
        status=Status.WARNING if len(slow) else Status.OK,
        template=(
            "{slow} of {all} endpoints are slower than {limit:seconds}; "
            "slowest is {worst}: {seconds:seconds}."
            if len(slow)
            else "None of {all} endpoints is slower than {limit:seconds}."
        ),
        facts={
            "slow": len(slow),
            "all": len(rows),
            "limit": above,
            "worst": str(rows["endpoint"].iloc[0]),
            "seconds": float(rows["value"].iloc[0]),
        },
        measured=float(rows["value"].iloc[0]),
        limit=above,
        unit="seconds",
        source="prometheus",
        query=query,
        rows=_shown(slow.head(top), quantile) if len(slow) else None,
    )


def _shown(rows: pd.DataFrame, quantile: float) -> pd.DataFrame:
    return rows[["endpoint", "value"]].rename(columns={"value": f"P{quantile * 100:g} seconds"})
