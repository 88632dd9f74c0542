"""Deployments: was there one, is it what runs, and did the errors begin with it?"""

from datetime import datetime, timedelta

import pandas as pd

from runbooklib import queries
from runbooklib.errors import NoDataError
from runbooklib.findings import Finding, Status
from runbooklib.scene import Scene
from runbooklib.series import finite
from runbooklib.sources.git import Deployment
from runbooklib.window import seconds_of


def deployments(scene: Scene) -> Finding:
    """Was something deployed shortly before it began?

    Deployment tags between the lead before the symptom and the symptom; without a symptom a deployment
    is no finding.
    """
    found = scene.sources.git.deployments(scene.suspect_since, scene.window.end)
    before = [one for one in found if scene.onset is not None and one.at <= _latest(scene)]
    if not before:
        return Finding(
            status=Status.OK,
            template=(
                "No deployment since {start:time}."
                if not found
                else "Deployments since {start:time}: {count}; none before a symptom began."
            ),
            facts={"start": scene.suspect_since, "count": len(found)},
            source="git",
            query="deployment tags",
            rows=_table(found) if found else None,
        )
    last = before[-1]
    return Finding(
        status=Status.WARNING,
        template="{short} “{subject}” was deployed at {at:time}, {ahead:seconds} before it began.",
        facts={
            "short": last.short,
            "subject": last.subject,
            "at": last.at,
            "ahead": max(0.0, (scene.onset - last.at).total_seconds()) if scene.onset else None,
        },
        since=last.at,
        source="git",
        query="deployment tags",
        rows=_table(found),
        marks=tuple((one.at, one.short) for one in found),
    )


def _latest(scene: Scene) -> datetime:
    """The latest moment that still counts as before the onset, given how far clocks may lie apart."""
    onset = scene.onset or scene.window.end
    return onset + timedelta(seconds=scene.timing.tolerance_seconds)


def _table(found: tuple[Deployment, ...]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "at": one.at,
                "revision": one.short,
                "change": one.subject,
                "files": one.files_changed,
                "lines": "" if one.insertions is None else f"+{one.insertions} -{one.deletions}",
                "touched": ", ".join(one.changed_files[:3]),
            }
            for one in found
        ]
    )


def running_revision(scene: Scene) -> Finding:
    """Does a revision run that was deployed shortly before it began?

    The revision that the container's image is labelled with, looked up among the deployments.
    """
    scene.need_live("docker")
    container = scene.sources.docker.container(scene.container)
    if not container.revision:
        raise NoDataError(
            f"the image of {container.name} carries no revision",
            system="docker",
            remedy="build it with the label org.opencontainers.image.revision",
        )
    deployment = scene.sources.git.deployment_of(container.revision)
    if deployment is None:
        raise NoDataError(
            f"no deployment has the revision {container.revision[:12]}",
            system="git",
            remedy="fetch the repository's tags",
        )
    fresh = scene.onset is not None and scene.suspect_since <= deployment.at <= _latest(scene)
    return Finding(
        status=Status.WARNING if fresh else Status.OK,
        template="{name} runs {short} “{subject}”, deployed at {at:time}.",
        facts={
            "name": container.name,
            "short": deployment.short,
            "subject": deployment.subject,
            "at": deployment.at,
        },
        since=deployment.at if fresh else None,
        source="docker",
        query=f"inspect {container.name}",
    )


def errors_since_deployment(scene: Scene, *, above: float) -> Finding:
    """Did requests begin to fail with a deployment?

    The share of failed requests (0–1) in the rate window before the last deployment that precedes the
    symptom, and the highest in the lead after it: below the limit before, above it after.
    """
    template = "Before {short} was deployed {was:percent} of requests failed, then up to {became:percent}."
    return _since_deployment(scene, queries.failed_share(scene.target), above, template, "ratio")


def slower_since_deployment(scene: Scene, *, above: float, quantile: float = 0.95) -> Finding:
    """Did requests become slow with a deployment?

    The quantile (0–1) of their duration before the last deployment that precedes the symptom, and the highest
    after it; `above` is seconds.
    """
    template = "Before {short} was deployed requests took {was:seconds}, then up to {became:seconds}."
    query = queries.duration_quantile(scene.target, quantile)
    return _since_deployment(scene, query, above, template, "seconds")


def _since_deployment(scene: Scene, query: str, above: float, template: str, unit: str) -> Finding:
    found = scene.sources.git.deployments(scene.suspect_since, scene.window.end)
    before = [one for one in found if scene.onset is not None and one.at <= _latest(scene)]
    if not before:
        return Finding(
            status=Status.OK,
            template="There was no deployment that it could have begun with.",
            source="prometheus",
            query=query,
        )
    frame = scene.sources.prometheus.range(query, scene.window)
    if "value" not in frame:
        raise NoDataError("the query has no series in this window", system="prometheus")
    was, became, goes_on = _around(scene, finite(frame["value"]), before[-1])
    broke = was <= above < became
    if not broke and not goes_on:
        raise NoDataError("soon after it there were no requests any more", system="prometheus")
    return Finding(
        status=Status.CRITICAL if broke else Status.OK,
        template=template,
        facts={"was": was, "became": became, "short": before[-1].short},
        measured=became,
        limit=above,
        unit=unit,
        since=before[-1].at if broke else None,
        source="prometheus",
        query=query,
    )


def _around(scene: Scene, column: "pd.Series[float]", deployment: Deployment) -> tuple[float, float, bool]:
    """The median shortly before a deployment, the highest after it, and whether samples go on."""
    # On a coarse grid a rate window may hold no sample at all: two steps always do.
    span = max(seconds_of(scene.timing.rate_window), 2 * scene.window.step_seconds)
    settled = deployment.at + timedelta(seconds=span)
    just_before = (column.index <= deployment.at) & (column.index > deployment.at - timedelta(seconds=span))
    ends = min(max(settled, _latest(scene)), scene.window.end)
    earlier = column[just_before]
    later = column[(column.index > deployment.at) & (column.index <= ends)]
    if earlier.empty or later.empty:
        raise NoDataError("there are no requests to compare before and after it", system="prometheus")
    goes_on = later.index[-1] >= ends - timedelta(seconds=2 * scene.window.step_seconds)
    return float(earlier.median()), float(later.max()), goes_on
