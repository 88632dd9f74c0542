"""Remedies for the monitoring itself."""

import json
import shlex
from collections.abc import Mapping, Sequence
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
# What tells one service's alert from another's, with the labels of the service: a silence covers no other.
_MATCHED = ("job", "service", "component", "instance")
_PLACES = ("cluster", "environment", "env", "namespace", "region", "datacenter", "site", "tenant")


def look_at_targets(scene: Scene) -> Proposal:
    """See what Prometheus has for targets; changes nothing."""
    url = configured(scene.target.systems.prometheus, "prometheus").url
    return Proposal(
        title="See which targets Prometheus has, and why it cannot reach one",
        command=f"curl --silent --max-time 10 '{url}/api/v1/targets?state=any'",
        effect="Changes nothing. A target that is missing there was taken out of the configuration.",
    )


def _matchers(scene: Scene, alerts: Sequence[Alert]) -> dict[str, str]:
    """The labels that all of these alerts, which are ours, bear alike."""
    names = dict.fromkeys((*scene.labels, *_MATCHED, *_PLACES))
    same = {
        label: alerts[0].labels[label]
        for label in names
        if label in alerts[0].labels and len({one.labels.get(label) for one in alerts}) == 1
    }
    return {"alertname": scene.alert, **same}


def _ours(scene: Scene) -> tuple[list[Alert], dict[str, str]]:
    """The alerts of this service, and what matches them. Raises SourceError, ActionError.

    An alert of another service that these matchers would silence too is a reason to silence nothing.
    """
    alerts = scene.sources.alertmanager.alerts(scene.alert)
    ours = [one for one in alerts if scene.is_ours(one)]
    if not ours:
        raise ActionError(f"{scene.alert} is not firing for this service: nothing to silence", system=_SYSTEM)
    matchers = _matchers(scene, ours)
    for other in alerts:
        if not scene.is_ours(other) and all(other.labels.get(n) == v for n, v in matchers.items()):
            raise ActionError(
                f"{_worded(matchers)} would silence another service's alert as well",
                system=_SYSTEM,
                remedy="give the rule labels that tell its services apart",
            )
    return ours, matchers


def _worded(matchers: Mapping[str, str]) -> str:
    """As amtool takes them."""
    return " ".join(shlex.quote(f"{name}={value}") for name, value in matchers.items())


def _seconds(duration: str) -> float:
    seconds = seconds_of(duration)
    if not 0 < seconds <= _MOST_SECONDS:
        raise ParameterError(f"a silence of {duration!r}", remedy="more than nothing, and at most 7d")
    return seconds


def _firing(scene: Scene, *, duration: str = "1h") -> Seen:
    _seconds(duration)
    may_write(actions_of(scene).alertmanager, _SYSTEM)
    alerts, matchers = _ours(scene)
    if all(one.silenced_by for one in alerts):
        raise ActionError(f"{scene.alert} is silenced already", system=_SYSTEM)
    starts = [one.starts_at for one in alerts if one.starts_at]
    began = min(starts).isoformat() if starts else ""
    return Seen(scene.alert, {"matchers": matchers, "since": began})


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
        # A gateway's 502 says nothing of what Alertmanager did.
        is_refusal = 400 <= answer.status < 500
        raise ActionError(f"answers {answer.status}: {told}", **about, is_outcome_known=is_refusal)
    found = answer.json(**about)
    return str(found.get("silenceID", "?")) if isinstance(found, dict) else "?"


@remedy(identify=_firing, perform=_silence, mends=False)
def silence_alert(scene: Scene, *, duration: str = "1h") -> Proposal:
    """Silence the alert for a time, while somebody works on it."""
    _seconds(duration)
    try:
        matchers = _worded(_ours(scene)[1])
    except (SourceError, ActionError):
        matchers = _worded({"alertname": scene.alert, **scene.labels})
    return Proposal(
        title=f"Silence {scene.alert} for {duration}, while somebody works on it",
        command=f"amtool silence add --duration={duration} --comment='see the runbook' {matchers}",
        effect="Nobody is notified of this alert until then; what is wrong stays wrong.",
        loses=f"Notifications of every alert with {matchers}.",
        undo="amtool silence expire ID",
    )
