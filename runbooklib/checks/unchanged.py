"""Since when a problem has been the same, from the series that remember it.

A health page shows one moment. Whether it was as ill before the incident is known from the counter of its own
requests, or from the gauge of its components.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

import pandas as pd

from runbooklib.errors import SourceError
from runbooklib.model.findings import Finding, Status
from runbooklib.model.window import Window
from runbooklib.promql import build
from runbooklib.sources.context import Context
from runbooklib.sources.tape import side_by_side

# The verdict version from which on checks ask for this. Recordings of older versions do not contain it.
FIRST_VERSION = 3
_HISTORY, _HISTORY_STEP_SECONDS, _HISTORY_RANGE = timedelta(days=7), 1800.0, "30m"
_REQUESTS, _HEALTH = "http_requests_total", "app_health_status"
# After a longer pause of the prober, the state in between is unknown.
_MAX_PAUSE = timedelta(hours=1)
_FOR = "Unchanged for {unchanged_for:seconds}."
# For a window and the range of its rates: 1 where only the problem was seen, 0 where it was not, else NaN.
_States = Callable[[Window, str], "pd.Series[float]"]


def page_since(context: Context, path: str) -> datetime | None:
    """Since when each counted request to this page has failed with 5xx; None if none is counted."""
    labels = {**context.labels, "endpoint": path}

    def states(window: Window, over: str) -> "pd.Series[float]":
        codes = [{"status_code": "5.."}, {"status_code": "[1-4].."}]
        increases = [build.increase(build.selector(_REQUESTS, labels, matching=code), over) for code in codes]
        failed, others = _columns(context, window, [build.sum_of(increase) for increase in increases])
        ill = (failed > 0).astype(float).where((failed > 0) | (others > 0))
        return ill.where(~(others > 0), 0.0)

    return _since(context, states)


def components_since(context: Context, components: Sequence[str]) -> datetime | None:
    """Since when the gauge of these components has shown all of them as unhealthy; None without the gauge."""
    names = "|".join(build.literal(name) for name in components)

    def states(window: Window, over: str) -> "pd.Series[float]":
        selector = build.selector(_HEALTH, context.labels, matching={"component": names})
        (highest,) = _columns(context, window, [f"max(max_over_time({selector}[{over}]))"])
        return (highest < 1).astype(float).where(highest.notna())

    return _since(context, states) if components else None


def _columns(context: Context, window: Window, queries: Sequence[str]) -> list["pd.Series[float]"]:
    frames = side_by_side([partial(context.sources.prometheus.range, query, window) for query in queries])
    empty = pd.Series(float("nan"), index=frames[0].index)
    return [frame.iloc[:, 0] if len(frame.columns) else empty for frame in frames]


def _since(context: Context, states: _States) -> datetime | None:
    if context.verdict_version < FIRST_VERSION:
        return None
    window = context.window
    history = replace(
        window, start=window.start - _HISTORY, end=window.start, step_seconds=_HISTORY_STEP_SECONDS
    )
    try:
        recent = _start(states(window, context.timing.rate_window))
        if recent is None or recent - window.start > timedelta(seconds=2 * window.step_seconds):
            return recent
        return _start(states(history, _HISTORY_RANGE)) or recent
    except SourceError:
        return None  # The question is about the page, and it has an answer; its age stays unknown.


def _start(states: "pd.Series[float]") -> datetime | None:
    """The start of the last episode, or the end of the index if it has ended; None if nothing is known."""
    known = states.dropna()
    if known.empty:
        return None
    end = states.index[-1]
    start = end
    for moment, state in zip(reversed(known.index), reversed(known.to_list()), strict=True):
        if not state or start - moment > _MAX_PAUSE:
            break
        start = moment
    moment_at: datetime = start.to_pydatetime()
    return moment_at


def with_age(finding: Finding, end: datetime) -> Finding:
    """The finding with a sentence for how long it has been the same at `end`, if that is known."""
    if finding.unchanged_since is None or finding.status < Status.WARNING:
        return finding
    facts = {**finding.facts, "unchanged_for": (end - finding.unchanged_since).total_seconds()}
    return replace(finding, facts=facts, further_templates=(*finding.further_templates, _FOR))
