"""What happened, and when: the alert, deployments, restarts and actions, asked at once and side by side.

Charts mark it, and the timeline lists it with what was found, asked and noted. What cannot be asked is named,
and takes nothing else with it.
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

# The word by which charts mark it.
FIRES = "alert fires"
_ACTIONS = "actions"


def happened(context: Context, tape: Tape, evidence: Path | None = None) -> tuple[Event, ...]:
    """What happened in the context's window; actions are read from the ledger in the folder `evidence`."""
    calls: list[Callable[[], list[Event]]] = [
        partial(_tried, "when the alert began", "prometheus", partial(_alert, context)),
        partial(_tried, "deployments", "git", partial(_deployments, context)),
        partial(_tried, "restarts", "docker", partial(_restarts, context)),
        partial(_tried, "actions", _ACTIONS, partial(_actions, context, tape, evidence)),
    ]
    return tuple(event for events in side_by_side(calls) for event in events)


def ordered(events: Iterable[Event]) -> list[Event]:
    """By time; at the end what is not known."""
    told = list(events)
    known = [(event.at, place) for place, event in enumerate(told) if event.at is not None]
    return [*(told[place] for _, place in sorted(known)), *(event for event in told if event.at is None)]


def _tried(what: str, source: str, ask: Callable[[], list[Event]]) -> list[Event]:
    try:
        return ask()
    except SourceError as error:
        return [Event(None, f"not known: {what}. {error}", error.system or source)]
    except NotRecordedError:
        # Recordings that are older than this question stay good: it decides nothing.
        return [Event(None, f"not known: {what}. It was not asked when this was recorded", source)]


def _alert(context: Context) -> list[Event]:
    """When the alert began to fire. The same question as that of `alert_rule`."""
    selector = promql.selector("ALERTS", {"alertname": context.alert})
    states = context.sources.prometheus.range(selector, context.window)
    firing = [name for name in states.columns if 'alertstate="firing"' in str(name)]
    if not firing:
        return []
    # ALERTS has no sample while the alert does not fire: here a gap means just that.
    active = states[firing].max(axis=1).fillna(0.0)
    at = began(active, above=0.5, bridging_seconds=2 * context.window.step_seconds)
    if at is None:
        return [Event(None, f"{context.alert} was firing before the window began", "prometheus")]
    return [Event(at, f"{context.alert} fires", "prometheus", FIRES)]


def _deployments(context: Context) -> list[Event]:
    found = context.sources.git.deployments(context.window.start, context.window.end)
    return [
        Event(one.at, f"{one.short} “{one.subject}” is deployed", "git", f"deployed {one.short}")
        for one in found
    ]


def _restarts(context: Context) -> list[Event]:
    window, name = context.window, context.container
    events, since = context.sources.docker.events, window.start
    try:
        told = events(name, since, window.end)
    except NotRecordedError:
        # As the checks ask it: older recordings hold that.
        since = context.suspect_since
        told = events(name, since, window.end)
    kinds = (
        (told.starts, "starts", "started"),
        (told.deaths, "dies by itself", "died"),
        (told.ooms, "is out of memory", "out of memory"),
    )
    found = [
        Event(at.to_pydatetime(), f"{name} {what}", "docker", mark)
        for frame, what, mark in kinds
        for at in frame["at"]
    ]
    since = max(since, told.complete_since or since)
    if since > window.start:
        text = f"not known: what happened to {name} before {since:%Y-%m-%d %H:%M:%S} UTC"
        found.append(Event(None, text, "docker"))
    return found


def _actions(context: Context, tape: Tape, evidence: Path | None) -> list[Event]:
    """What was done about it, from the start of the window until it was opened."""
    window = context.window
    span = {"since": window.start.isoformat(), "until": window.opened_at.isoformat()}
    told = tape.ask(_ACTIONS, {"question": "deeds", **span}, partial(_deeds, context, evidence), is_ours=True)
    return [
        Event(
            datetime.fromisoformat(one["at"]),
            f"{one['by']}: {one['action']} on {one['target']} ({one['outcome']})",
            _ACTIONS,
            "" if one["outcome"] == "refused" else one["action"],
        )
        for one in told
    ]


def _deeds(context: Context, evidence: Path | None) -> list[dict[str, Any]]:
    if evidence is None:
        return []
    try:
        lines, wrong = action_ledger.read(evidence)
        deeds = action_ledger.deeds_of(lines)
    except (OSError, ValueError) as error:
        raise NonsenseError(f"the ledger of actions cannot be read: {error}", system=_ACTIONS) from None
    if wrong:
        raise NonsenseError(wrong, system=_ACTIONS, hint="see `runbook actions`")
    window, target = context.window, context.target
    place = (target.environment_name, target.service_name)
    own = [one for one in deeds if (one.environment, one.service) == place]
    within = [one for one in own if window.start <= one.at <= window.opened_at]
    names = ("by", "action", "target", "outcome")
    return [{"at": one.at.isoformat(), **{name: getattr(one, name) for name in names}} for one in within]
