"""The service as Prometheus' target, and as anybody on the network sees it."""

from datetime import datetime, timedelta

import pandas as pd

from runbooklib import measures, promql
from runbooklib.errors import NotConfiguredError, Reason
from runbooklib.findings import Finding, Status, unknown
from runbooklib.scene import Scene
from runbooklib.series import began, unseen_seconds


def scraped(scene: Scene) -> Finding:
    """Does Prometheus reach the service?

    `up` of its targets. `up == 0` cannot fire where the target itself is gone, so that is told apart: no
    sample at the end of the window is a target that vanished, or that was never there, also where others are
    left. One that answers now and did not all through the last rate window comes and goes.
    """
    query = promql.selector("up", scene.labels)
    frame = scene.sources.prometheus.range(query, scene.window)
    last = frame.iloc[-1].dropna()
    if last.empty:
        return _vanished(frame, query)
    recent = frame.loc[frame.index > scene.window.end - timedelta(seconds=measures.fresh_seconds(scene))]
    uptime, down = float(recent.min(axis=1).mean()), int((last == 0).sum())
    gone = len(frame.columns) - len(last)
    lowest = frame.min(axis=1)
    since = began(lowest, below=0.5, bridging_seconds=measures.fresh_seconds(scene))
    is_sound = not down and not gone and uptime == 1
    return Finding(
        status=Status.OK if is_sound else Status.CRITICAL if down else Status.WARNING,
        template=_told(down, gone, uptime),
        facts={
            "down": down,
            "gone": gone,
            "all": len(last),
            "uptime": uptime,
            "error": _last_error(scene) if down else "",
        },
        measured=uptime,
        unit="ratio",
        since=None if is_sound else since,
        blur_seconds=0.0 if is_sound else unseen_seconds(lowest, since),
        source="prometheus",
        query=query,
        series=None if is_sound else _named(frame),
    )


def _told(down: int, gone: int, uptime: float) -> str:
    if down:
        return "Prometheus cannot reach {down} of {all} targets: “{error}”"
    if gone:
        return "Targets that vanished within this window: {gone}; Prometheus reaches the {all} that are left."
    if uptime < 1:
        return "The target comes and goes: it was up for {uptime:percent} of the last moments, and is now."
    return "Prometheus reaches all {all} targets."


def _vanished(frame: pd.DataFrame, query: str) -> Finding:
    seen = frame.dropna(how="all") if len(frame.columns) else frame.iloc[:0]
    last: datetime | None = seen.index[-1].to_pydatetime() if len(seen) else None
    return Finding(
        status=Status.CRITICAL,
        template=(
            "The target vanished: its last sample is of {last:time}. An alert on `up == 0` cannot see that."
            if last
            else "Prometheus has no target with these labels in this window. An alert on `up "
            "== 0` cannot see that."
        ),
        facts={"last": last},
        measured=0.0,
        since=last,
        source="prometheus",
        query=query,
        series=_named(frame) if len(seen) else None,
    )


def _named(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.rename(columns=lambda name: "up" if len(frame.columns) == 1 else str(name))


def _last_error(scene: Scene) -> str:
    """What Prometheus says of its last attempt; only known for now."""
    if not scene.window.is_live:
        return "not known for the past"
    targets = scene.sources.prometheus.targets()
    errors = targets[(targets["health"] == "down") & (targets["job"] == scene.labels.get("job", ""))]
    return str(errors["last_error"].iloc[0]) if len(errors) else "it does not say why"


def service_reachable(scene: Scene) -> Finding:
    """Can a connection to the service be opened from here: name, port, certificate?"""
    scene.need_live("dns")
    if not scene.service.url:
        raise NotConfiguredError(
            "the service has no url", system="dns", remedy="add it to the environment's file"
        )
    reach = scene.sources.dns.reach(scene.service.url)
    return Finding(
        status=Status.CRITICAL if reach.failed_at else Status.OK,
        template=(
            "{host}:{port} cannot be reached from here, it fails at {step}: {error}"
            if reach.failed_at
            else "{host}:{port} accepts connections from here."
        ),
        facts={"host": reach.host, "port": str(reach.port), "step": reach.failed_at, "error": reach.error},
        source="dns",
        query=scene.service.url,
    )


def alive_though_unscraped(scene: Scene) -> Finding:
    """Does the service accept connections although Prometheus cannot reach it?

    Then not the service is ill but the way to it: a changed address, a network rule, a target that was taken
    out of the configuration.
    """
    reachable, state = service_reachable(scene), scraped(scene)
    if reachable.facts["step"] == "dns" or (reachable.status is not Status.OK and state.status is Status.OK):
        return unknown(
            Reason.PARTIAL,
            "{host} cannot be reached from here, it fails at {step}: {error} That does not say how it is.",
            facts=reachable.facts,
            source="dns",
            query=scene.service.url,
        )
    contradicts = reachable.status is Status.OK and state.status is not Status.OK
    return Finding(
        status=Status.WARNING if contradicts else Status.OK,
        template=(
            "{host} accepts connections, and Prometheus cannot see it: look at the way between them."
            if contradicts
            else "What can be reached from here and what Prometheus sees agree."
        ),
        facts={"host": reachable.facts["host"]},
        since=state.since if contradicts else None,
        blur_seconds=state.blur_seconds if contradicts else 0.0,
        source="dns",
        query=scene.service.url,
    )
