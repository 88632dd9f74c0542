"""The events of an incident's window: alert, deployments, restarts and actions, requested in parallel.

Charts mark them; the timeline lists them with findings, queries and notes. If a source fails, its events are
replaced by one event that gives the reason.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from runbooklib.checks.time_series import began
from runbooklib.errors import NonsenseError, NotRecordedError, SourceError
from runbooklib.evidence import action_ledger
from runbooklib.model.event import Event, Statement
from runbooklib.model.findings import Fact
from runbooklib.promql import build
from runbooklib.sources.context import Context
from runbooklib.sources.tape import Tape, side_by_side

# The mark of the alert's start in charts.
FIRES = "alert fires"
_ACTIONS = "actions"
_RECORD_FACTS = ("by", "action", "target", "outcome")


@dataclass(frozen=True, slots=True)
class _Kind:
    """One kind of event: the source that is asked, and the templates for a failed request."""

    source: str
    failed: str
    not_recorded: str


_ALERT = _Kind(
    "prometheus",
    "not known: when the alert began. {error}",
    "not known: when the alert began. It was not asked when this was recorded",
)
_DEPLOYMENTS = _Kind(
    "git",
    "not known: deployments. {error}",
    "not known: deployments. It was not asked when this was recorded",
)
_RESTARTS = _Kind(
    "docker",
    "not known: restarts. {error}",
    "not known: restarts. It was not asked when this was recorded",
)
_ACTION_RECORDS = _Kind(
    _ACTIONS,
    "not known: actions. {error}",
    "not known: actions. It was not asked when this was recorded",
)


def window_events(context: Context, tape: Tape, evidence: Path | None = None) -> tuple[Event, ...]:
    """The events in the context's window. Actions are read from the ledger in the folder `evidence`."""
    requests: list[Callable[[], list[Event]]] = [
        partial(_events_or_reason, _ALERT, partial(_alert, context)),
        partial(_events_or_reason, _DEPLOYMENTS, partial(_deployments, context)),
        partial(_events_or_reason, _RESTARTS, partial(_restarts, context)),
        partial(_events_or_reason, _ACTION_RECORDS, partial(_actions, context, tape, evidence)),
    ]
    return tuple(event for events in side_by_side(requests) for event in events)


def sort_by_time(events: Iterable[Event]) -> list[Event]:
    """The events by time; events without a time are last."""
    latest = datetime.max.replace(tzinfo=UTC)
    return sorted(events, key=lambda event: event.at or latest)


def _events_or_reason(kind: _Kind, request: Callable[[], list[Event]]) -> list[Event]:
    try:
        return request()
    except SourceError as error:
        return [Event(None, Statement(kind.failed, {"error": str(error)}), error.system or kind.source)]
    except NotRecordedError:
        # Recordings that are older than this request must still replay: these events decide nothing.
        return [Event(None, Statement(kind.not_recorded), kind.source)]


def _alert(context: Context) -> list[Event]:
    """The time at which the alert began to fire. The request is the same as that of `alert_rule`."""
    selector = build.selector("ALERTS", {"alertname": context.alert})
    states = context.sources.prometheus.range(selector, context.window)
    firing = [name for name in states.columns if 'alertstate="firing"' in str(name)]
    if not firing:
        return []
    # ALERTS has no sample while the alert does not fire, so a gap means that it does not fire.
    active = states[firing].max(axis=1).fillna(0.0)
    at = began(active, above=0.5, bridging_seconds=2 * context.window.step_seconds)
    facts: dict[str, Fact] = {"alert": context.alert}
    if at is None:
        return [Event(None, Statement("{alert} was firing before the window began", facts), "prometheus")]
    return [Event(at, Statement("{alert} fires", facts), "prometheus", FIRES)]


def _deployments(context: Context) -> list[Event]:
    events = []
    for deployment in context.sources.git.deployments(context.window.start, context.window.end):
        revision = deployment.short
        facts: dict[str, Fact] = {"revision": revision, "subject": deployment.subject}
        what = Statement("{revision} “{subject}” is deployed", facts)
        events.append(Event(deployment.at, what, "git", f"deployed {revision}"))
    return events


def _restarts(context: Context) -> list[Event]:
    window, since = context.window, context.window.start
    request = partial(context.sources.docker.events, context.container)
    try:
        answer = request(since, window.end)
    except NotRecordedError:
        # Older recordings have only the request of the checks.
        since = context.suspect_since
        answer = request(since, window.end)
    container: dict[str, Fact] = {"container": context.container}
    kinds = (
        (answer.starts, Statement("{container} starts", container), "started"),
        (answer.deaths, Statement("{container} exits unexpectedly", container), "died"),
        (answer.ooms, Statement("{container} is out of memory", container), "out of memory"),
    )
    events = [
        Event(at.to_pydatetime(), what, "docker", mark) for frame, what, mark in kinds for at in frame["at"]
    ]
    since = max(since, answer.complete_since or since)
    if since > window.start:
        template = "not known: what happened to {container} before {since:time}"
        events.append(Event(None, Statement(template, {**container, "since": since}), "docker"))
    return events


def _actions(context: Context, tape: Tape, evidence: Path | None) -> list[Event]:
    """The actions on this service, from the start of the window until the window was opened."""
    window = context.window
    span = {"since": window.start.isoformat(), "until": window.opened_at.isoformat()}
    request = {"question": "deeds", **span}
    records = tape.ask(_ACTIONS, request, partial(_records, context, evidence), is_ours=True)
    return [_action_event(record) for record in records]


def _action_event(record: Mapping[str, Any]) -> Event:
    facts = {name: record[name] for name in _RECORD_FACTS}
    mark = "" if record["outcome"] == "refused" else record["action"]
    what = Statement("{by}: {action} on {target} ({outcome})", facts)
    return Event(datetime.fromisoformat(record["at"]), what, _ACTIONS, mark)


def _records(context: Context, evidence: Path | None) -> list[dict[str, Any]]:
    if evidence is None:
        return []
    try:
        lines, fault = action_ledger.read(evidence)
        records = action_ledger.deeds_of(lines)
    except (OSError, ValueError) as error:
        raise NonsenseError(f"the action ledger cannot be read: {error}", system=_ACTIONS) from None
    if fault:
        raise NonsenseError(fault, system=_ACTIONS, hint="see `runbook actions`")
    window, target = context.window, context.target
    service = (target.environment_name, target.service_name)
    return [
        {"at": record.at.isoformat(), **{name: getattr(record, name) for name in _RECORD_FACTS}}
        for record in records
        if (record.environment, record.service) == service and window.start <= record.at <= window.opened_at
    ]
