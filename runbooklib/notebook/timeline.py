"""Events in the window: the alert's start, deployments, restarts and actions, requested in parallel.

Charts mark these events. The timeline lists them together with findings, queries and notes. A source that
fails gives one event that says so; the other sources are not affected.
"""

from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from runbooklib import promql
from runbooklib.checks.time_series import began
from runbooklib.errors import NonsenseError, NotRecordedError, SourceError
from runbooklib.evidence import action_ledger
from runbooklib.model.event import Event
from runbooklib.sources.context import Context
from runbooklib.sources.tape import Tape, side_by_side

# The mark in charts for the start of the alert.
FIRES = "alert fires"
_ACTIONS = "actions"


def happened(context: Context, tape: Tape, evidence: Path | None = None) -> tuple[Event, ...]:
    """The events in the context's window. Actions are read from the ledger in the folder `evidence`."""
    calls: list[Callable[[], list[Event]]] = [
        partial(_events_or_reason, "when the alert began", "prometheus", partial(_alert, context)),
        partial(_events_or_reason, "deployments", "git", partial(_deployments, context)),
        partial(_events_or_reason, "restarts", "docker", partial(_restarts, context)),
        partial(_events_or_reason, "actions", _ACTIONS, partial(_actions, context, tape, evidence)),
    ]
    return tuple(event for events in side_by_side(calls) for event in events)


def ordered(events: Iterable[Event]) -> list[Event]:
    """The events by time; events without a time are last."""
    listed = list(events)
    known = [(event.at, index) for index, event in enumerate(listed) if event.at is not None]
    return [*(listed[index] for _, index in sorted(known)), *(event for event in listed if event.at is None)]


def _events_or_reason(what: str, source: str, ask: Callable[[], list[Event]]) -> list[Event]:
    """The events of one source, or one event without a time that says why they are unknown."""
    try:
        return ask()
    except SourceError as error:
        return [Event(None, f"not known: {what}. {error}", error.system or source)]
    except NotRecordedError:
        # Older recordings do not contain this request. They stay valid: events do not change the verdict.
        return [Event(None, f"not known: {what}. The recording does not contain it", source)]


def _alert(context: Context) -> list[Event]:
    """The time when the alert began to fire, by the same query as in the check `alert_rule`."""
    selector = promql.selector("ALERTS", {"alertname": context.alert})
    states = context.sources.prometheus.range(selector, context.window)
    firing = [name for name in states.columns if 'alertstate="firing"' in str(name)]
    if not firing:
        return []
    # ALERTS has no sample while the alert does not fire, so a gap means that it does not fire.
    active = states[firing].max(axis=1).fillna(0.0)
    at = began(active, above=0.5, bridging_seconds=2 * context.window.step_seconds)
    if at is None:
        return [Event(None, f"{context.alert} was firing before the window began", "prometheus")]
    return [Event(at, f"{context.alert} fires", "prometheus", FIRES)]


def _deployments(context: Context) -> list[Event]:
    deployments = context.sources.git.deployments(context.window.start, context.window.end)
    return [
        Event(commit.at, f"{commit.short} “{commit.subject}” is deployed", "git", f"deployed {commit.short}")
        for commit in deployments
    ]


def _restarts(context: Context) -> list[Event]:
    window, name = context.window, context.container
    events, since = context.sources.docker.events, window.start
    try:
        history = events(name, since, window.end)
    except NotRecordedError:
        # Older recordings contain only the request of the checks, which begins here.
        since = context.suspect_since
        history = events(name, since, window.end)
    kinds = (
        (history.starts, "starts", "started"),
        (history.deaths, "exits by itself", "died"),
        (history.ooms, "runs out of memory", "out of memory"),
    )
    container_events = [
        Event(at.to_pydatetime(), f"{name} {what}", "docker", mark)
        for frame, what, mark in kinds
        for at in frame["at"]
    ]
    since = max(since, history.complete_since or since)
    if since > window.start:
        text = f"not known: what happened to {name} before {since:%Y-%m-%d %H:%M:%S} UTC"
        container_events.append(Event(None, text, "docker"))
    return container_events


def _actions(context: Context, tape: Tape, evidence: Path | None) -> list[Event]:
    """The actions on this service from the start of the window until the incident was opened."""
    window = context.window
    span = {"since": window.start.isoformat(), "until": window.opened_at.isoformat()}
    actions = tape.ask(
        _ACTIONS, {"question": "deeds", **span}, partial(_recorded_actions, context, evidence), is_ours=True
    )
    return [
        Event(
            datetime.fromisoformat(action["at"]),
            f"{action['by']}: {action['action']} on {action['target']} ({action['outcome']})",
            _ACTIONS,
            "" if action["outcome"] == "refused" else action["action"],
        )
        for action in actions
    ]


def _recorded_actions(context: Context, evidence: Path | None) -> list[dict[str, Any]]:
    """The actions in the ledger that are of this service and in the window, as JSON values."""
    if evidence is None:
        return []
    try:
        lines, wrong = action_ledger.read(evidence)
        records = action_ledger.deeds_of(lines)
    except (OSError, ValueError) as error:
        raise NonsenseError(f"the action ledger cannot be read: {error}", system=_ACTIONS) from None
    if wrong:
        raise NonsenseError(wrong, system=_ACTIONS, hint="see `runbook actions`")
    window, target = context.window, context.target
    place = (target.environment_name, target.service_name)
    own = [record for record in records if (record.environment, record.service) == place]
    within = [record for record in own if window.start <= record.at <= window.opened_at]
    names = ("by", "action", "target", "outcome")
    return [
        {"at": record.at.isoformat(), **{name: getattr(record, name) for name in names}} for record in within
    ]
