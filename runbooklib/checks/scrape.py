"""The service as a target of Prometheus, and as seen from the network."""

from datetime import datetime, timedelta

import pandas as pd

from runbooklib.checks import thresholds
from runbooklib.checks.registry import check
from runbooklib.checks.time_series import began, unseen_seconds
from runbooklib.errors import DeadlineError, NotConfiguredError, NotRecordedError, Reason, UnreachableError
from runbooklib.model.findings import Finding, Status, unknown
from runbooklib.promql import build
from runbooklib.sources.context import Context

_WEEK = "7d"
_MAX_TARGETS = 8


@check
def scraped(context: Context) -> Finding:
    """Does Prometheus reach the service?

    `up` of its targets. A target without a sample at the end of the window disappeared, or never existed:
    `up == 0` cannot fire for it, so the finding says so. UNKNOWN if there was none for a week and Prometheus
    has other targets: then the labels of the service can be wrong. A target that is up now and was down
    during the last rate window is unstable.
    """
    query = build.selector("up", context.labels)
    frame = context.sources.prometheus.range(query, context.window)
    last = frame.iloc[-1].dropna()
    if last.empty:
        is_in_window = bool(len(frame.columns)) and bool(frame.notna().any().any())
        never = None if is_in_window else _never_scraped(context, query)
        return never or _disappeared(frame, query)
    recent = frame.loc[
        frame.index > context.window.end - timedelta(seconds=thresholds.fresh_seconds(context))
    ]
    uptime, down = float(recent.min(axis=1).mean()), int((last == 0).sum())
    gone = len(frame.columns) - len(last)
    lowest = frame.min(axis=1)
    since = began(lowest, below=0.5, bridging_seconds=thresholds.fresh_seconds(context))
    error = _last_error(context) if down else ""
    is_sound = not down and not gone and uptime == 1
    return Finding(
        status=Status.OK if is_sound else Status.CRITICAL if down else Status.WARNING,
        template=_template(down, gone, uptime, error),
        facts={"down": down, "gone": gone, "all": len(last), "uptime": uptime, "error": error},
        measured=uptime,
        unit="ratio",
        since=None if is_sound else since,
        blur_seconds=0.0 if is_sound else unseen_seconds(lowest, since),
        source="prometheus",
        query=query,
        series=None if is_sound else _named(frame),
    )


def _template(down: int, gone: int, uptime: float, error: str) -> str:
    if down and error:
        return "Prometheus cannot reach {down} of {all} targets: “{error}”"
    if down:
        return "Prometheus cannot reach {down} of {all} targets. The error is unknown."
    if gone:
        return "{gone} targets disappeared within this window. Prometheus reaches the other {all}."
    if uptime < 1:
        return (
            "The target is unstable: it is up now, but was up for {uptime:percent} of the last rate window."
        )
    return "Prometheus reaches all {all} targets."


def _disappeared(frame: pd.DataFrame, query: str) -> Finding:
    seen = frame.dropna(how="all") if len(frame.columns) else frame.iloc[:0]
    last: datetime | None = seen.index[-1].to_pydatetime() if len(seen) else None
    return Finding(
        status=Status.CRITICAL,
        template=(
            "The target disappeared: its last sample is from {last:time}. "
            "An alert on `up == 0` cannot detect this."
            if last
            else "Prometheus has no target with these labels in this window. An alert on `up == 0` cannot "
            "detect this."
        ),
        facts={"last": last},
        measured=0.0,
        since=last,
        source="prometheus",
        query=query,
        series=_named(frame) if len(seen) else None,
    )


def _never_scraped(context: Context, query: str) -> Finding | None:
    """UNKNOWN if Prometheus had no such target in the last week and has others: the labels can be wrong."""
    prometheus, end = context.sources.prometheus, context.window.end
    try:
        earlier = prometheus.instant(f"count(present_over_time({query}[{_WEEK}]))", end)
        others = prometheus.target_labels(context.labels, end)
    except NotRecordedError:
        return None  # a recording of an earlier version
    if len(earlier) or not others:
        return None
    return unknown(
        Reason.NO_DATA,
        "Prometheus had no target {target} in the last {week}, and has {others}. Check the labels of the"
        " service in the environment's file.",
        facts={"target": query, "week": _WEEK, "others": ", ".join(others[:_MAX_TARGETS])},
        source="prometheus",
        query=query,
    )


def _named(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.rename(columns=lambda name: "up" if len(frame.columns) == 1 else str(name))


def _last_error(context: Context) -> str:
    """The error of the last scrape; empty if there is none. Prometheus keeps no errors of the past."""
    if not context.window.is_live:
        return ""
    targets = context.sources.prometheus.targets()
    errors = targets[(targets["health"] == "down") & (targets["job"] == context.labels.get("job", ""))]
    return str(errors["last_error"].iloc[0]) if len(errors) else ""


@check
def service_reachable(context: Context) -> Finding:
    """Does the service answer from here (DNS, port, certificate, an HTTP answer)?

    An accepted connection is not enough: the kernel accepts connections for a process that hangs. The page
    of the service must answer within the deadline, with any status. A gateway that answers 502 or 504 says
    that the service behind it does not answer.
    """
    context.need_live("dns")
    if not context.service.url:
        raise NotConfiguredError(
            "the service has no url", system="dns", hint="add it to the environment's file"
        )
    reach = context.sources.dns.reach(context.service.url)
    step, error, code = reach.failed_at, reach.error, 0
    if not step:
        step, error, code = _answer(context)
    return Finding(
        status=Status.CRITICAL if step else Status.OK,
        template=_REACHABLE.get(step, _UNREACHABLE),
        facts={"host": reach.host, "port": str(reach.port), "step": step, "error": error, "code": code},
        source="dns" if reach.failed_at else "web",
        query=context.service.url if reach.failed_at else f"GET {context.service.health}",
    )


_UNREACHABLE = "{host}:{port} cannot be reached from here. The step {step} failed: {error}"
_REACHABLE = {
    "": "{host}:{port} answers from here with HTTP status {code}.",
    "answer": (
        "{host}:{port} accepts connections and does not answer: {error}. A process that hangs looks like"
        " this."
    ),
    "gateway": "{host}:{port} answers {code}: a gateway says that the service behind it does not answer.",
}
_GATEWAY_STATUSES = frozenset({502, 504})


def _answer(context: Context) -> tuple[str, str, int]:
    """The step that failed (empty: none), its error, and the HTTP status.

    Raises UnreachableError if only this machine does not know the service's name: that says nothing about it.
    """
    try:
        status = context.sources.web.page(context.service.health).status
    except (DeadlineError, UnreachableError) as error:
        if isinstance(error, UnreachableError) and error.code == UnreachableError.UNRESOLVED:
            raise
        return "answer", error.message, 0
    return ("gateway" if status in _GATEWAY_STATUSES else "", "", status)


@check
def alive_though_unscraped(context: Context) -> Finding:
    """Does the service answer from here although Prometheus cannot reach it?

    Then the fault is between the two: a changed address, a network rule, or a target that was removed from
    the configuration.
    """
    reachable, state = service_reachable(context), scraped(context)
    if reachable.facts["step"] == "dns" or (reachable.status is not Status.OK and state.status is Status.OK):
        return unknown(
            Reason.PARTIAL,
            "{host} cannot be reached from here. The step {step} failed: {error} The state of the service is "
            "unknown.",
            facts=reachable.facts,
            source="dns",
            query=context.service.url,
        )
    contradicts = reachable.status is Status.OK and state.status is not Status.OK
    return Finding(
        status=Status.WARNING if contradicts else Status.OK,
        template=(
            "{host} answers from here, but Prometheus cannot reach it. Check the network between the two."
            if contradicts
            else "Prometheus and this check agree on whether the service can be reached."
        ),
        facts={"host": reachable.facts["host"]},
        since=state.since if contradicts else None,
        blur_seconds=state.blur_seconds if contradicts else 0.0,
        source="dns",
        query=context.service.url,
    )
