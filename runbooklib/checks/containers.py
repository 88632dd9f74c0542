"""The service's container: does it run, did it die, did it run out of memory?"""

from datetime import datetime, timedelta

import pandas as pd

from runbooklib import measures, promql
from runbooklib.containerevents import Events
from runbooklib.errors import NoDataError, Reason, StaleError
from runbooklib.findings import Finding, Status, breach, unknown
from runbooklib.scene import Scene
from runbooklib.series import began, finite, unseen_seconds
from runbooklib.sources.docker import Container


def container_state(scene: Scene) -> Finding:
    """Is the container running?

    Running is not sound where the engine had to start it again since shortly before it began: in a crash
    loop it runs whenever one looks.
    """
    scene.need_live("docker")
    container = scene.sources.docker.container(scene.container)
    started = container.started_at
    restarted = container.restart_count > 0 and started is not None and started >= scene.suspect_since
    status, template = _state(container, is_restarted=restarted)
    return Finding(
        status=status,
        template=template,
        facts={
            "name": container.name,
            "state": container.status,
            "started": started,
            "exit": container.exit_code,
            "restarts": container.restart_count,
        },
        since=_ended_at(container),
        source="docker",
        query=f"inspect {container.name}",
    )


def _ended_at(container: Container) -> datetime | None:
    """When it ended, where that was the first time: of many ends the engine remembers only the last."""
    is_last_of_many = container.restart_count > 0
    return None if container.is_running or is_last_of_many else container.finished_at


def _state(container: Container, *, is_restarted: bool) -> tuple[Status, str]:
    if not container.is_running:
        return Status.CRITICAL, "{name} is {state}; it ended with exit code {exit}."
    if is_restarted:
        told = "{name} is running since {started:time}; the engine had to start it again, times: {restarts}."
        return Status.WARNING, told
    if container.health == "unhealthy":
        return Status.WARNING, "{name} is running, and its own health check fails."
    return Status.OK, "{name} is running since {started:time}."


def container_deaths(scene: Scene) -> Finding:
    """Did the container die without being asked to?

    From the engine's events. The engine keeps only the last 256: where they do not reach back far
    enough, no event is no proof, and only the restart counter of the present container still speaks.
    """
    events = scene.sources.docker.events(scene.container, scene.suspect_since, scene.window.end)
    deaths = events.deaths
    if len(deaths):
        codes = sorted({str(int(code)) for code in deaths["exit_code"].dropna()})
        return Finding(
            status=Status.CRITICAL,
            template="{name} died by itself, times: {count}, last at {last:time}, exit code {codes}.",
            facts={
                "name": scene.container,
                "count": len(deaths),
                "last": deaths["at"].iloc[-1].to_pydatetime(),
                "codes": ", ".join(codes) or "unknown",
            },
            measured=float(len(deaths)),
            unit="count",
            since=_first(scene, events, deaths),
            source="docker",
            query=f"events of {scene.container}",
            rows=deaths[["at", "action", "exit_code"]],
        )
    if not _covers(events.complete_since, scene.suspect_since):
        return _not_kept(scene, events.complete_since)
    return Finding(
        status=Status.OK,
        template="{name} did not die between {start:time} and {end:time}.",
        facts={"name": scene.container, "start": scene.suspect_since, "end": scene.window.end},
        measured=0.0,
        unit="count",
        source="docker",
        query=f"events of {scene.container}",
    )


def out_of_memory(scene: Scene) -> Finding:
    """Did the kernel kill something in the container for want of memory?

    From `oom` events: the flag State.OOMKilled misses the death of a child process, and says
    "at some time" and not "now".
    """
    docker = scene.sources.docker
    events = docker.events(scene.container, scene.suspect_since, scene.window.end)
    ooms = events.ooms
    if not len(ooms):
        if not _covers(events.complete_since, scene.suspect_since):
            return _not_kept(scene, events.complete_since)
        return Finding(
            status=Status.OK,
            template="No process of {name} was killed for want of memory.",
            facts={"name": scene.container},
            source="docker",
            query=f"oom events of {scene.container}",
        )
    whole = len(events.deaths) > 0
    return Finding(
        status=Status.CRITICAL,
        template=(
            "Killed by its memory limit of {limit:bytes}: {name}, times: {count}, last at {last:time}."
            if whole
            else "A process in {name} was killed by the memory limit of {limit:bytes}, times: {count}, "
            "last at {last:time}; the container went on."
        ),
        facts={
            "name": scene.container,
            "limit": docker.container(scene.container).memory_limit_bytes,
            "count": len(ooms),
            "last": ooms["at"].iloc[-1].to_pydatetime(),
        },
        measured=float(len(ooms)),
        unit="count",
        since=_first(scene, events, ooms),
        source="docker",
        query=f"oom events of {scene.container}",
        rows=ooms[["at", "action"]],
    )


def _first(scene: Scene, events: Events, happened: pd.DataFrame) -> datetime | None:
    """When it happened for the first time; None where the engine may have dropped earlier events."""
    if not _covers(events.complete_since, scene.suspect_since):
        return None
    first: datetime = happened["at"].iloc[0].to_pydatetime()
    return first


def _covers(complete_since: datetime | None, needed_since: datetime) -> bool:
    # None: the engine has dropped nothing since it started.
    return complete_since is None or complete_since <= needed_since


def _not_kept(scene: Scene, complete_since: datetime | None) -> Finding:
    return unknown(
        Reason.NO_DATA,
        "The engine no longer keeps the events from {since:time} on; what it keeps begins at {kept:time}.",
        facts={"since": scene.suspect_since, "kept": complete_since},
        source="docker",
        query=f"events of {scene.container}",
    )


def process_restarts(scene: Scene, *, above: int = 0) -> Finding:
    """Did the process start again?

    Changes of process_start_time_seconds from the lead before the symptom to the end of the window.
    A deployment is one; `above` is how many are still nothing to speak of.
    """
    span = int((scene.window.end - scene.suspect_since).total_seconds())
    started = promql.selector("process_start_time_seconds", scene.labels)
    query = f"sum(changes({started}[{max(span, 1)}s]))"
    frame = scene.sources.prometheus.instant(query, scene.window.end)
    restarts = measures.number(frame, "the service does not say when it started")
    return Finding(
        status=breach(restarts, above=above, status=Status.WARNING),
        template="Starts of the process in {span:seconds} before the window's end: {restarts:number}.",
        facts={"restarts": restarts, "span": float(span)},
        measured=restarts,
        limit=float(above),
        unit="count",
        source="prometheus",
        query=query,
    )


def memory_usage(scene: Scene, *, above: float) -> Finding:
    """How near did memory come to the container's limit?

    The highest resident memory of the process in the window over the container's limit; `above` is a
    ratio 0–1. A container without a limit cannot be judged.
    """
    scene.need_live("docker")
    limit = scene.sources.docker.container(scene.container).memory_limit_bytes
    query = promql.selector("process_resident_memory_bytes", scene.labels)
    frame = scene.sources.prometheus.range(promql.sum_of(query), scene.window)
    frame = frame.rename(columns={"value": "resident memory"})
    if "resident memory" not in frame or finite(frame["resident memory"]).empty:
        raise NoDataError("the service does not say how much memory it uses", system="prometheus")
    recent = finite(frame.loc[frame.index >= scene.suspect_since - _one_step(scene), "resident memory"])
    if recent.empty:
        raise NoDataError("the service did not say how much memory it used", system="prometheus")
    most = float(recent.max())
    if limit is None:
        return unknown(
            Reason.NOT_CONFIGURED,
            "{most:bytes} at most, and the container has no limit to judge it by.",
            facts={"most": most},
            source="docker",
            series=frame,
        )
    status = breach(most / limit, above=above, status=Status.WARNING)
    if status is Status.OK:
        _need_until_it_began(scene, recent)
    # A leak that is killed climbs again and again: the first time counts.
    since = began(recent, above=limit * above, bridging_seconds=scene.window.span_seconds)
    return Finding(
        status=status,
        template="At most {most:bytes} of {limit:bytes} ({share:percent}).",
        facts={"most": most, "limit": limit, "share": most / limit},
        measured=most,
        limit=limit * above,
        unit="bytes",
        since=since,
        blur_seconds=unseen_seconds(frame["resident memory"], since),
        source="prometheus",
        query=promql.sum_of(query),
        series=frame,
    )


def _need_until_it_began(scene: Scene, known: "pd.Series[float]") -> None:
    """Raises StaleError where the samples end earlier: what has died is silent, and only that may be."""
    late = ((scene.onset or scene.window.end) - known.index[-1]).total_seconds()
    if late > measures.fresh_seconds(scene):
        raise StaleError(f"the last sample is {late:.0f} s too old", system="prometheus")


def _one_step(scene: Scene) -> timedelta:
    return timedelta(seconds=scene.window.step_seconds)


def container_cpu(scene: Scene, *, above: float) -> Finding:
    """How much processor time do all processes of the container use now?

    Children too, which the service's own metric does not count; `above` is in cores (1.0 is one core).
    """
    scene.need_live("docker")
    used = scene.sources.docker.stats(scene.container).cpu_share
    return Finding(
        status=breach(used, above=above, status=Status.WARNING),
        template="{name} uses {used:percent} of a core; the limit is {limit:percent}.",
        facts={"name": scene.container, "used": used, "limit": above},
        measured=used,
        limit=above,
        unit="ratio",
        source="docker",
        query=f"stats of {scene.container}",
    )


def container_memory(scene: Scene, *, above: float) -> Finding:
    """How much memory do all processes of the container hold now?

    Children too, without page cache; `above` is bytes.
    """
    scene.need_live("docker")
    held = scene.sources.docker.stats(scene.container).memory_bytes
    return Finding(
        status=breach(held, above=above, status=Status.WARNING),
        template="{name} holds {held:bytes}; the limit is {limit:bytes}.",
        facts={"name": scene.container, "held": held, "limit": above},
        measured=float(held),
        limit=above,
        unit="bytes",
        source="docker",
        query=f"stats of {scene.container}",
    )
