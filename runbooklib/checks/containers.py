"""The service's container: did it exit, did it run out of memory, what does it use?"""

from dataclasses import replace
from datetime import datetime, timedelta

import pandas as pd

from runbooklib.checks import thresholds
from runbooklib.checks.registry import check
from runbooklib.checks.time_series import began, finite, unseen_seconds
from runbooklib.errors import NoDataError, Reason, StaleError
from runbooklib.model.findings import Fact, Finding, Status, breach, unknown
from runbooklib.promql import build
from runbooklib.sources.context import Context
from runbooklib.sources.docker.events import Events, LastRun

_MEMORY = "resident memory"


@check
def container_deaths(context: Context) -> Finding:
    """Did the container exit unexpectedly?

    From Docker's events. Docker keeps only the last 256, and each health check of any container takes three:
    if they do not reach back to the lead before the symptom, the container's own start time, last exit and
    restart counter answer. If these cannot, the answer is UNKNOWN.
    """
    events = context.sources.docker.events(context.container, context.suspect_since, context.window.end)
    deaths = events.deaths
    if not len(deaths):
        return _without_death_events(context, events)
    codes = sorted({str(int(code)) for code in deaths["exit_code"].dropna()})
    template = (
        "{name} exited unexpectedly at {last:time} (exit code {codes})."
        if len(deaths) == 1
        else "{name} exited unexpectedly {count} times (exit code {codes}), last at {last:time}."
    )
    return Finding(
        status=Status.CRITICAL,
        template=template,
        facts={**_event_facts(context, deaths), "codes": ", ".join(codes) or None},
        measured=float(len(deaths)),
        unit="count",
        since=_first(context, events, deaths),
        source="docker",
        query=f"events of {context.container}",
        rows=deaths[["at", "action", "exit_code"]],
    )


@check
def out_of_memory(context: Context) -> Finding:
    """Did the kernel kill a process of the container because memory ran out?

    From `oom` events. Docker's flag State.OOMKilled is not enough for OK: it misses the death of a child
    process and does not say when it was set. With exit code 137 it proves that the last exit was one.
    """
    docker = context.sources.docker
    events = docker.events(context.container, context.suspect_since, context.window.end)
    ooms = events.ooms
    query = f"oom events of {context.container}"
    if not len(ooms):
        if events.last_run and events.last_run.was_killed_for_memory_after(context.suspect_since):
            return _killed_for_memory(context, events.last_run)
        template = "No process of {name} ran out of memory between {start:time} and {end:time}."
        return _no_event(context, events, template, query=query)
    return Finding(
        status=Status.CRITICAL,
        template=_oom_template(is_container_dead=len(events.deaths) > 0, is_single=len(ooms) == 1),
        facts={
            **_event_facts(context, ooms),
            "limit": docker.container(context.container).memory_limit_bytes,
        },
        measured=float(len(ooms)),
        unit="count",
        since=_first(context, events, ooms),
        source="docker",
        query=query,
        rows=ooms[["at", "action"]],
    )


def _without_death_events(context: Context, events: Events) -> Finding:
    """No event of an unexpected exit: the answer by how far the events reach, or by the container's state."""
    query, last_run = f"events of {context.container}", events.last_run
    none = "{name} did not exit unexpectedly between {start:time} and {end:time}."
    if _covers(events.complete_since, context.suspect_since) or last_run is None:
        return _no_event(context, events, none, query=query)
    if last_run.covers(context.suspect_since):
        return replace(
            _no_event(
                context, replace(events, complete_since=None), none, query=f"inspect {context.container}"
            ),
            further_templates=("It has been running since {started:time} without an exit.",),
            facts={**_span(context), "started": last_run.started_at},
        )
    if last_run.restarted_after(context.suspect_since):
        return Finding(
            status=Status.CRITICAL,
            template="{name} exited and was restarted by Docker, {count} times since it was created; the last"
            " exit was at {last:time}.",
            facts={"name": context.container, "count": last_run.restart_count, "last": last_run.finished_at},
            measured=float(last_run.restart_count),
            unit="count",
            source="docker",
            query=f"inspect {context.container}",
        )
    if last_run.was_killed_for_memory_after(context.suspect_since):
        return _killed_for_memory(context, last_run)
    return _no_event(context, events, none, query=query)


def _killed_for_memory(context: Context, last_run: LastRun) -> Finding:
    return Finding(
        status=Status.CRITICAL,
        template="{name} was killed because memory ran out (exit code {exit}) at {last:time}.",
        facts={"name": context.container, "exit": last_run.exit_code, "last": last_run.finished_at},
        measured=1.0,
        unit="count",
        source="docker",
        query=f"inspect {context.container}",
    )


def _first(context: Context, events: Events, happened: pd.DataFrame) -> datetime | None:
    """The time of the first event; None if Docker may have dropped earlier ones."""
    if not _covers(events.complete_since, context.suspect_since):
        return None
    first: datetime = happened["at"].iloc[0].to_pydatetime()
    return first


def _covers(complete_since: datetime | None, needed_since: datetime) -> bool:
    # None: Docker has dropped no event since it started.
    return complete_since is None or complete_since <= needed_since


def _oom_template(*, is_container_dead: bool, is_single: bool) -> str:
    if is_container_dead:
        if is_single:
            return "{name} was killed at its memory limit of {limit:bytes} at {last:time}."
        return "{name} was killed at its memory limit of {limit:bytes} {count} times, last at {last:time}."
    if is_single:
        return (
            "A process in {name} was killed at the memory limit of {limit:bytes} at {last:time};"
            " the container kept running."
        )
    return (
        "Processes in {name} were killed at the memory limit of {limit:bytes} {count} times,"
        " last at {last:time}; the container kept running."
    )


def _event_facts(context: Context, events: pd.DataFrame) -> dict[str, Fact]:
    return {"name": context.container, "count": len(events), "last": events["at"].iloc[-1].to_pydatetime()}


def _no_event(context: Context, events: Events, template: str, *, query: str) -> Finding:
    """OK if Docker still keeps all events of the time in question, else UNKNOWN."""
    if not _covers(events.complete_since, context.suspect_since):
        return unknown(
            Reason.NO_DATA,
            "Docker no longer keeps all events since {since:time}; it keeps those since {kept:time}.",
            facts={"since": context.suspect_since, "kept": events.complete_since},
            source="docker",
            query=f"events of {context.container}",
        )
    return Finding(
        status=Status.OK,
        template=template,
        facts=_span(context),
        measured=0.0,
        unit="count",
        source="docker",
        query=query,
    )


def _span(context: Context) -> dict[str, Fact]:
    return {"name": context.container, "start": context.suspect_since, "end": context.window.end}


@check
def process_restarts(context: Context, *, above: int = 0) -> Finding:
    """Did the process restart?

    Changes of process_start_time_seconds from the lead before the symptom to the end of the window.
    A deployment restarts it once; `above` is the highest number of restarts that is still OK.
    """
    span = int((context.window.end - context.suspect_since).total_seconds())
    started = build.selector("process_start_time_seconds", context.labels)
    query = f"sum(changes({started}[{max(span, 1)}s]))"
    frame = context.sources.prometheus.instant(query, context.window.end)
    restarts = thresholds.number(frame, "process_start_time_seconds has no series for this service")
    template = "Process restarts between {start:time} and {end:time}: {restarts:number}."
    if not restarts:
        template = "The process did not restart between {start:time} and {end:time}."
    return Finding(
        status=breach(restarts, above=above, status=Status.WARNING),
        template=template,
        facts={"restarts": restarts, "start": context.suspect_since, "end": context.window.end},
        measured=restarts,
        limit=float(above),
        unit="count",
        source="prometheus",
        query=query,
    )


@check
def memory_usage(context: Context, *, above: float) -> Finding:
    """How close did memory come to the container's limit?

    The highest resident memory of the process in the window over the container's limit; `above` is a
    ratio 0–1. UNKNOWN for a container without a limit.
    """
    context.need_live("docker")
    limit = context.sources.docker.container(context.container).memory_limit_bytes
    query = build.sum_of(build.selector("process_resident_memory_bytes", context.labels))
    frame = context.sources.prometheus.range(query, context.window).rename(columns={"value": _MEMORY})
    recent = _recent_memory(context, frame)
    highest = float(recent.max())
    if limit is None:
        return unknown(
            Reason.NOT_CONFIGURED,
            "The process used up to {highest:bytes}; the container has no memory limit to compare with.",
            facts={"highest": highest},
            source="docker",
            series=frame,
        )
    status = breach(highest / limit, above=above, status=Status.WARNING)
    if status is Status.OK:
        _require_samples_until_onset(context, recent)
    # A leaking process that is killed grows again and again: the first time counts.
    since = began(recent, above=limit * above, bridging_seconds=context.window.span_seconds)
    return Finding(
        status=status,
        template="The process used up to {highest:bytes} of {limit:bytes} ({share:percent}).",
        facts={"highest": highest, "limit": limit, "share": highest / limit},
        measured=highest,
        limit=limit * above,
        unit="bytes",
        since=since,
        blur_seconds=unseen_seconds(frame[_MEMORY], since),
        source="prometheus",
        query=query,
        series=frame,
    )


def _recent_memory(context: Context, frame: pd.DataFrame) -> "pd.Series[float]":
    """The samples since the lead before the symptom. Raises NoDataError."""
    missing = "process_resident_memory_bytes has no samples for this service"
    if _MEMORY not in frame or finite(frame[_MEMORY]).empty:
        raise NoDataError(missing, system="prometheus")
    start = context.suspect_since - timedelta(seconds=context.window.step_seconds)
    recent = finite(frame.loc[frame.index >= start, _MEMORY])
    if recent.empty:
        raise NoDataError(f"{missing} since {_utc(context.suspect_since)}", system="prometheus")
    return recent


def _utc(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def _require_samples_until_onset(context: Context, samples: "pd.Series[float]") -> None:
    """Raises StaleError if the samples end before the symptom began.

    A process that died later has no later samples; that is no reason to doubt the earlier ones.
    """
    needed_until = context.onset or context.window.end
    late_seconds = (needed_until - samples.index[-1]).total_seconds()
    if late_seconds > thresholds.fresh_seconds(context):
        raise StaleError(
            f"the last sample is {late_seconds:.0f} s older than {_utc(needed_until)}", system="prometheus"
        )


@check
def container_cpu(context: Context, *, above: float) -> Finding:
    """How much CPU do all processes of the container use now?

    Includes child processes, which the service's own metric does not count; `above` is in cores (1.0 is
    one core).
    """
    context.need_live("docker")
    used = context.sources.docker.stats(context.container).cpu_share
    return Finding(
        status=breach(used, above=above, status=Status.WARNING),
        template="{name} uses {used:percent} of a core; the limit is {limit:percent}.",
        facts={"name": context.container, "used": used, "limit": above},
        measured=used,
        limit=above,
        unit="ratio",
        source="docker",
        query=f"stats of {context.container}",
    )


@check
def container_memory(context: Context, *, above: float) -> Finding:
    """How much memory do all processes of the container use now?

    Includes child processes, without page cache; `above` is bytes.
    """
    context.need_live("docker")
    used = context.sources.docker.stats(context.container).memory_bytes
    return Finding(
        status=breach(used, above=above, status=Status.WARNING),
        template="{name} uses {used:bytes} of memory; the limit is {limit:bytes}.",
        facts={"name": context.container, "used": used, "limit": above},
        measured=float(used),
        limit=above,
        unit="bytes",
        source="docker",
        query=f"stats of {context.container}",
    )
