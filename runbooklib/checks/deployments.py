"""Deployments: was there one before the symptom, does it run, and did the errors begin with it?"""

from datetime import datetime, timedelta

import pandas as pd

from runbooklib.checks import own_pages, queries
from runbooklib.checks.registry import check
from runbooklib.checks.time_series import finite
from runbooklib.errors import NoDataError
from runbooklib.model.findings import Finding, Status
from runbooklib.model.window import seconds_of
from runbooklib.sources.context import Context
from runbooklib.sources.docker.client import Container
from runbooklib.sources.git import Deployment


@check
def deployments(context: Context) -> Finding:
    """Was something deployed shortly before the symptom began?

    Deployment tags between the lead before the symptom and the symptom. Without a symptom the answer is OK.
    So it is if the alert is about failed requests and only the service's own pages fail: these failures are
    those of a prober, and their start is not that of a symptom.
    """
    recent = context.sources.git.deployments(context.suspect_since, context.window.end)
    earlier = _before_onset(context, recent)
    pages = own_pages.failing_in_alert(context) if earlier else ""
    if pages:
        return _only_own_pages_fail(pages, "git", "deployment tags", rows=_table(recent))
    if earlier and context.onset is not None:
        last = earlier[-1]
        return Finding(
            status=Status.WARNING,
            template="{short} “{subject}” was deployed at {at:time}, {ahead:seconds} before the symptom.",
            facts={
                "short": last.short,
                "subject": last.subject,
                "at": last.at,
                "ahead": max(0.0, (context.onset - last.at).total_seconds()),
            },
            since=last.at,
            source="git",
            query="deployment tags",
            rows=_table(recent),
            marks=tuple((deployment.at, deployment.short) for deployment in recent),
        )
    return Finding(
        status=Status.OK,
        template=(
            "Deployments since {start:time}: {count}; none before the symptom began."
            if recent
            else "There was no deployment since {start:time}."
        ),
        facts={"start": context.suspect_since, "count": len(recent)},
        source="git",
        query="deployment tags",
        rows=_table(recent) if recent else None,
    )


def _only_own_pages_fail(pages: str, source: str, query: str, *, rows: pd.DataFrame | None = None) -> Finding:
    """A deployment explains nothing, since no user's request fails."""
    return Finding(
        status=Status.OK,
        template=(
            "Only requests to {pages} fail, the service's own pages: this does not point to a deployment."
        ),
        facts={"pages": pages},
        source=source,
        query=query,
        rows=rows,
    )


def _before_onset(context: Context, recent: tuple[Deployment, ...]) -> list[Deployment]:
    """The deployments before the symptom; none without a symptom."""
    if context.onset is None:
        return []
    return [deployment for deployment in recent if deployment.at <= _latest_cause(context)]


def _latest_cause(context: Context) -> datetime:
    """The latest time that still counts as before the onset, since clocks differ by up to the tolerance."""
    onset = context.onset or context.window.end
    return onset + timedelta(seconds=context.timing.tolerance_seconds)


def _table(recent: tuple[Deployment, ...]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "at": deployment.at,
                "revision": deployment.short,
                "change": deployment.subject,
                "files": deployment.files_changed,
                "lines": _changed_lines(deployment),
                "touched": ", ".join(deployment.changed_files[:3]),
            }
            for deployment in recent
        ]
    )


def _changed_lines(deployment: Deployment) -> str:
    return "" if deployment.insertions is None else f"+{deployment.insertions} -{deployment.deletions}"


@check
def running_revision(context: Context) -> Finding:
    """Was the running revision deployed shortly before the symptom began?

    Looks up the revision from the label of the container's image among the deployments.
    """
    context.need_live("docker")
    container = context.sources.docker.container(context.container)
    deployment = _deployment_of(context, container)
    is_recent = context.onset is not None and context.suspect_since <= deployment.at <= _latest_cause(context)
    pages = own_pages.failing_in_alert(context) if is_recent else ""
    if pages:
        return _only_own_pages_fail(pages, "docker", f"inspect {container.name}")
    return Finding(
        status=Status.WARNING if is_recent else Status.OK,
        template="{name} runs revision {short} “{subject}”, deployed at {at:time}.",
        facts={
            "name": container.name,
            "short": deployment.short,
            "subject": deployment.subject,
            "at": deployment.at,
        },
        since=deployment.at if is_recent else None,
        source="docker",
        query=f"inspect {container.name}",
    )


def _deployment_of(context: Context, container: Container) -> Deployment:
    """The deployment of the container's revision. Raises NoDataError."""
    if not container.revision:
        raise NoDataError(
            f"the image of {container.name} has no revision label",
            system="docker",
            hint="build it with the label org.opencontainers.image.revision",
        )
    deployment = context.sources.git.deployment_of(container.revision)
    if deployment is None:
        raise NoDataError(
            f"no deployment tag points to the revision {container.revision[:12]}",
            system="git",
            hint="fetch the repository's tags",
        )
    return deployment


@check
def errors_since_deployment(context: Context, *, above: float) -> Finding:
    """Did requests begin to fail with a deployment?

    The share of failed requests (0–1) in the rate window before the last deployment that precedes the
    symptom, and the highest share in the lead after it. CRITICAL if the first is not above the limit and the
    second is.
    """
    return _since_deployment(
        context,
        queries.failed_share(context.target),
        above,
        "{before:percent} of requests failed before {short} was deployed, up to {after:percent} after it.",
        "ratio",
    )


@check
def slower_since_deployment(context: Context, *, above: float, quantile: float = 0.95) -> Finding:
    """Did requests become slow with a deployment?

    The `quantile` (0–1) of their duration before the last deployment that precedes the symptom, and the
    highest after it; `above` is seconds.
    """
    return _since_deployment(
        context,
        queries.duration_quantile(context.target, quantile),
        above,
        "Requests took {before:seconds} before {short} was deployed, up to {after:seconds} after it.",
        "seconds",
    )


def _since_deployment(context: Context, query: str, above: float, template: str, unit: str) -> Finding:
    recent = context.sources.git.deployments(context.suspect_since, context.window.end)
    earlier = _before_onset(context, recent)
    if not earlier:
        return Finding(
            status=Status.OK,
            template="There was no deployment before the symptom since {start:time}.",
            facts={"start": context.suspect_since},
            source="git",
            query="deployment tags",
        )
    deployment = earlier[-1]
    frame = context.sources.prometheus.range(query, context.window)
    if "value" not in frame:
        raise NoDataError("the query has no series in this window", system="prometheus")
    before, after, continues = _around(context, finite(frame["value"]), deployment)
    is_worse = before <= above < after
    if not is_worse and not continues:
        raise NoDataError("there are no requests some time after the deployment", system="prometheus")
    return Finding(
        status=Status.CRITICAL if is_worse else Status.OK,
        template=template,
        facts={"before": before, "after": after, "short": deployment.short},
        measured=after,
        limit=above,
        unit=unit,
        since=deployment.at if is_worse else None,
        source="prometheus",
        query=query,
    )


def _around(
    context: Context, column: "pd.Series[float]", deployment: Deployment
) -> tuple[float, float, bool]:
    """The median shortly before a deployment, the highest value after it, and whether samples continue."""
    # On a coarse grid a rate window may hold no sample, but two steps always do.
    span = max(seconds_of(context.timing.rate_window), 2 * context.window.step_seconds)
    settled = deployment.at + timedelta(seconds=span)
    ends = min(max(settled, _latest_cause(context)), context.window.end)
    start = deployment.at - timedelta(seconds=span)
    before = column[(column.index > start) & (column.index <= deployment.at)]
    after = column[(column.index > deployment.at) & (column.index <= ends)]
    if before.empty or after.empty:
        raise NoDataError(
            "there are no requests just before or just after the deployment", system="prometheus"
        )
    continues = after.index[-1] >= ends - timedelta(seconds=2 * context.window.step_seconds)
    return float(before.median()), float(after.max()), continues
