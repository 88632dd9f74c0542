"""Remedies for the monitoring itself."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from runbooklib.alerts import Alert
from runbooklib.errors import ActionError, ParameterError, SourceError
from runbooklib.http import fetch, target_of
from runbooklib.plans import Proposal
from runbooklib.remedy import Act, Seen, actions_of, may_write, remedy
from runbooklib.scene import Scene
from runbooklib.settings import configured, secret
from runbooklib.window import seconds_of

_SYSTEM = "alertmanager"
_DEADLINE_SECONDS = 10.0
_MOST_SECONDS = 7 * 86400.0
# What tells one series of an alert from another: a silence must not cover other services.
_MATCHED = ("job", "service", "component", "instance")


def look_at_targets(scene: Scene) -> Proposal:
    """See what Prometheus has for targets; changes nothing."""
    url = configured(scene.target.systems.prometheus, "prometheus").url
    return Proposal(
        title="See which targets Prometheus has, and why it cannot reach one",
        command=f"curl --silent --max-time 10 '{url}/api/v1/targets?state=any'",
        effect="Changes nothing. A target that is missing there was taken out of the configuration.",
    )


def _matchers(scene: Scene, alerts: tuple[Alert, ...]) -> dict[str, str]:
    """The labels that all of these alerts bear alike."""
    same = {
        label: alerts[0].labels[label]
        for label in _MATCHED
        if label in alerts[0].labels and len({one.labels.get(label) for one in alerts}) == 1
    }
    return {"alertname": scene.alert, **same}


def _seconds(duration: str) -> float:
    seconds = seconds_of(duration)
    if not 0 < seconds <= _MOST_SECONDS:
        raise ParameterError(f"a silence of {duration!r}", remedy="more than nothing, and at most 7d")
    return seconds


def _firing(scene: Scene, *, duration: str = "1h") -> Seen:
    _seconds(duration)
    may_write(actions_of(scene).alertmanager, _SYSTEM)
    alerts = scene.sources.alertmanager.alerts(scene.alert)
    if not alerts:
        raise ActionError(f"{scene.alert} is not firing: there is nothing to silence", system=_SYSTEM)
    if all(one.silenced_by for one in alerts):
        raise ActionError(f"{scene.alert} is silenced already", system=_SYSTEM)
    starts = [one.starts_at for one in alerts if one.starts_at]
    began = min(starts).isoformat() if starts else ""
    return Seen(scene.alert, {"matchers": _matchers(scene, alerts), "since": began})


def _silence(act: Act) -> str:
    scene, plan = act.scene, act.plan
    system = may_write(actions_of(scene).alertmanager, _SYSTEM)
    about: dict[str, Any] = {"system": _SYSTEM, "target": target_of(system.url)}
    token, now = secret(system.token_env), datetime.now(UTC)
    ends = now + timedelta(seconds=_seconds(str(plan.parameters.get("duration", "1h"))))
    matchers = [
        {"name": name, "value": value, "isRegex": False, "isEqual": True}
        for name, value in plan.identity["matchers"].items()
    ]
    comment = f"incident {act.evidence}, plan {plan.fingerprint}; see `runbook actions`"
    told = {"startsAt": now.isoformat(), "endsAt": ends.isoformat(), "matchers": matchers}
    headers = {"Content-Type": "application/json"}
    try:
        answer = fetch(
            "POST",
            f"{system.url.rstrip('/')}/api/v2/silences",
            **about,
            headers=headers | ({"Authorization": f"Bearer {token}"} if token else {}),
            content=json.dumps({**told, "createdBy": act.by, "comment": comment}).encode(),
            deadline_seconds=_DEADLINE_SECONDS,
        )
    except SourceError as error:
        raise ActionError(
            error.message, **about, remedy="see whether there is a silence", is_outcome_known=False
        ) from None
    return f"silenced {scene.alert} until {ends:%Y-%m-%d %H:%M} UTC (silence {_id(answer, about)})"


def _id(answer: Any, about: dict[str, Any]) -> str:
    if answer.status != 200:
        told = (answer.text.strip().splitlines() or ["no reason given"])[0][:300]
        raise ActionError(f"answers {answer.status}: {told}", **about)
    found = answer.json(**about)
    return str(found.get("silenceID", "?")) if isinstance(found, dict) else "?"


@remedy(identify=_firing, perform=_silence, mends=False)
def silence_alert(scene: Scene, *, duration: str = "1h") -> Proposal:
    """Silence the alert for a time, while somebody works on it."""
    _seconds(duration)
    return Proposal(
        title=f"Silence {scene.alert} for {duration}, while somebody works on it",
        command=f"amtool silence add --duration={duration} --comment='see the runbook' "
        f"alertname={scene.alert}",
        effect="Nobody is notified of this alert until then; what is wrong stays wrong.",
        loses="Notifications of the same alert of this service.",
        undo="amtool silence expire ID",
    )
