"""Requests: how many, how many fail, and which."""

import pandas as pd

from runbooklib import queries
from runbooklib.errors import NoDataError, Reason
from runbooklib.findings import Finding, Status, breach, unknown
from runbooklib.scene import Scene
from runbooklib.series import began, latest
from runbooklib.window import seconds_of

# A share of fewer requests than this is chance, not a finding.
LEAST_REQUESTS = 20.0


def _fresh_seconds(scene: Scene) -> float:
    return 2 * scene.window.step_seconds + seconds_of(scene.timing.rate_window)


def error_rate(scene: Scene, *, above: float, least_requests: float = LEAST_REQUESTS) -> Finding:
    """What share of the users' requests fails?

    5xx over all, each as a rate over the site's rate window; health and metrics pages are left out.
    `above` is a ratio 0–1. Fewer than `least_requests` in the rate window is UNKNOWN.
    """
    window = scene.timing.rate_window
    query = queries.failed_share(scene.target)
    requests = _counted(scene)
    if requests < least_requests:
        return unknown(
            Reason.THIN_TRAFFIC,
            "{requests:number} requests in {window} are too few to judge a share of them by; "
            "it takes {least:number}.",
            facts={"requests": requests, "window": window, "least": least_requests},
            source="prometheus",
            query=query,
        )
    frame = scene.sources.prometheus.range(query, scene.window).rename(columns={"value": "failed requests"})
    column = _column(frame, "failed requests")
    share = latest(column, within_seconds=_fresh_seconds(scene))
    since = began(column, above=above, bridging_seconds=seconds_of(window))
    status = breach(share, above=above, status=Status.CRITICAL)
    return Finding(
        status=status,
        template="{share:percent} of requests fail; the limit is {limit:percent}.",
        facts={"share": share, "limit": above, "requests": requests},
        measured=share,
        limit=above,
        unit="ratio",
        since=since if status is not Status.OK else None,
        source="prometheus",
        query=query,
        series=frame,
    )


def _counted(scene: Scene) -> float:
    """How many requests there were in the last rate window."""
    frame = scene.sources.prometheus.instant(queries.requests_counted(scene.target), scene.window.end)
    if frame.empty:
        raise NoDataError(
            f"there is no series {queries.REQUESTS} for this service",
            system="prometheus",
            remedy="see whether the target is still scraped",
        )
    return float(frame["value"].iloc[0])


def _column(frame: pd.DataFrame, name: str) -> "pd.Series[float]":
    if name not in frame:
        raise NoDataError("the query has no series in this window", system="prometheus")
    return frame[name]


def request_rate(scene: Scene, *, below_share: float = 0.5) -> Finding:
    """Does the service get the traffic that it usually gets?

    Requests per second at the end of the window against the median of the window. `below_share` is the
    ratio of the two under which traffic counts as lost.
    """
    query = queries.request_rate(scene.target)
    frame = scene.sources.prometheus.range(query, scene.window).rename(columns={"value": "requests"})
    column = _column(frame, "requests")
    now = latest(column, within_seconds=_fresh_seconds(scene))
    usual = float(column.median())
    if usual <= 0:
        raise NoDataError("the service had no traffic in this window", system="prometheus")
    return Finding(
        status=breach(now / usual, below=below_share, status=Status.WARNING),
        template="{now:rate} arrive; usual in this window is {usual:rate}.",
        facts={"now": now, "usual": usual},
        measured=now,
        limit=usual * below_share,
        unit="per second",
        since=began(column, below=usual * below_share, bridging_seconds=_fresh_seconds(scene)),
        source="prometheus",
        query=query,
        series=frame,
    )


def failing_endpoints(scene: Scene, *, above: float, top: int = 5) -> Finding:
    """Which endpoints fail?

    The share of 5xx at each endpoint, worst first. `above` is a ratio 0–1.
    """
    return _failing(scene, ("method", "endpoint"), above, top)


def failing_instances(scene: Scene, *, above: float, top: int = 5) -> Finding:
    """Do all instances fail, or one?

    The share of 5xx at each instance, worst first. `above` is a ratio 0–1.
    """
    return _failing(scene, ("instance",), above, top)


def _failing(scene: Scene, by: tuple[str, ...], above: float, top: int) -> Finding:
    query = queries.failed_share(scene.target, by=by)
    ask = scene.sources.prometheus
    shares = ask.instant(query, scene.window.end)
    if shares.empty:
        raise NoDataError("there was no traffic to judge", system="prometheus")
    rates = ask.instant(queries.failure_rate(scene.target, by=by), scene.window.end)
    rows = _table(shares, rates, by).head(top)
    worst = rows.iloc[0]
    beyond = int((shares["value"] > above).sum())
    return Finding(
        status=Status.WARNING if beyond else Status.OK,
        template=(
            "{beyond} of {all} are beyond {limit:percent}; "
            "worst is {worst}: {share:percent} of its requests fail."
            if beyond
            else "None of {all} is beyond {limit:percent}."
        ),
        facts={
            "beyond": beyond,
            "all": len(shares),
            "limit": above,
            "worst": " ".join(str(worst[name]) for name in by),
            "share": float(worst["failing share"]),
        },
        measured=float(worst["failing share"]),
        limit=above,
        unit="ratio",
        source="prometheus",
        query=query,
        rows=rows if beyond else None,
        series=_worst_shares(scene, by[-1], top) if beyond and len(shares) > 1 else None,
    )


def _table(shares: pd.DataFrame, rates: pd.DataFrame, by: tuple[str, ...]) -> pd.DataFrame:
    columns = list(by)
    known = rates.rename(columns={"value": "failures per second"})
    if known.empty:
        known = pd.DataFrame(columns=[*columns, "failures per second"])
    rows = shares.rename(columns={"value": "failing share"}).merge(known, on=columns, how="left")
    rows["failures per second"] = rows["failures per second"].astype(float).fillna(0.0)
    ranked = rows.sort_values(["failures per second", "failing share"], ascending=False)
    return ranked[[*columns, "failing share", "failures per second"]].reset_index(drop=True)


def _worst_shares(scene: Scene, label: str, top: int) -> pd.DataFrame:
    query = queries.failed_share(scene.target, by=(label,))
    frame = scene.sources.prometheus.range(query, scene.window, by=label)
    worst = frame.max().sort_values(ascending=False).index[:top]
    return pd.DataFrame(frame[worst])


def status_codes(scene: Scene, *, top: int = 5) -> Finding:
    """With which status codes do requests fail?

    Failures per second by status code. Without any failure this is OK.
    """
    query = queries.failure_rate(scene.target, by=("status_code",))
    frame = scene.sources.prometheus.instant(query, scene.window.end)
    rows = frame[frame["value"] > 0].sort_values("value", ascending=False).head(top)
    if rows.empty:
        _counted(scene)
        return Finding(status=Status.OK, template="No request fails.", source="prometheus", query=query)
    return Finding(
        status=Status.WARNING,
        template="Most failures are {code}: {rate:rate}.",
        facts={"code": str(rows["status_code"].iloc[0]), "rate": float(rows["value"].iloc[0])},
        source="prometheus",
        query=query,
        rows=rows.rename(columns={"status_code": "status code", "value": "failures per second"}),
    )
