"""Actions on the monitoring itself."""

import json
import shlex
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from runbooklib.actions.action import (
    ApprovedAction,
    TargetState,
    action,
    require_actions,
    require_writable,
    text_only,
)
from runbooklib.config.environment import OperatorHttp
from runbooklib.config.site import configured
from runbooklib.config.site_secrets import secret
from runbooklib.errors import ActionError, ParameterError, SourceError
from runbooklib.model.alert import Alert
from runbooklib.model.plan import Proposal
from runbooklib.model.window import seconds_of
from runbooklib.sources.context import Context
from runbooklib.sources.http import Response, fetch, target_of

_SYSTEM = "alertmanager"
_DEADLINE_SECONDS = 10.0
_MAX_SILENCE_SECONDS = 7 * 86400.0
# With the service's own labels, these distinguish its alert from another service's alert.
_SERVICE_LABELS = ("job", "service", "component", "instance")
_SITE_LABELS = ("cluster", "environment", "env", "namespace", "region", "datacenter", "site", "tenant")


@text_only
def look_at_targets(context: Context) -> Proposal:
    """List the scrape targets of Prometheus; changes nothing."""
    systems = context.target.systems
    url = configured(systems.prometheus, "prometheus", systems.unusable).url
    return Proposal(
        title="List the scrape targets of Prometheus and their errors",
        command=f"curl --silent --max-time 10 '{url}/api/v1/targets?state=any'",
        effect="Changes nothing. A target that is missing there was removed from the configuration.",
    )


def _own_alerts(context: Context) -> tuple[list[Alert], dict[str, str]]:
    """The firing alerts of this service, and the labels that match them. Raises SourceError, ActionError.

    If the labels also match an alert of another service, nothing may be silenced.
    """
    alerts = context.sources.alertmanager.alerts(context.alert)
    own = [alert for alert in alerts if context.is_ours(alert)]
    if not own:
        raise ActionError(
            f"{context.alert} is not firing for this service; there is nothing to silence", system=_SYSTEM
        )
    matchers = _matchers(context, own)
    for other in alerts:
        if not context.is_ours(other) and all(other.labels.get(n) == v for n, v in matchers.items()):
            raise ActionError(
                f"{_as_amtool_arguments(matchers)} also matches an alert of another service",
                system=_SYSTEM,
                hint="add labels to the rule that distinguish its services",
            )
    return own, matchers


def _matchers(context: Context, alerts: Sequence[Alert]) -> dict[str, str]:
    """The labels with the same value in all of these alerts."""
    names = dict.fromkeys((*context.labels, *_SERVICE_LABELS, *_SITE_LABELS))
    first = alerts[0].labels
    common = {
        name: first[name]
        for name in names
        if name in first and all(alert.labels.get(name) == first[name] for alert in alerts)
    }
    return {"alertname": context.alert, **common}


def _as_amtool_arguments(matchers: Mapping[str, str]) -> str:
    return " ".join(shlex.quote(f"{name}={value}") for name, value in matchers.items())


def _silence_seconds(duration: str) -> float:
    seconds = seconds_of(duration)
    if not 0 < seconds <= _MAX_SILENCE_SECONDS:
        raise ParameterError(
            f"{duration!r} is not a valid duration of a silence",
            hint="pass a duration above 0 and at most 7d",
        )
    return seconds


def _firing(context: Context, *, duration: str = "1h") -> TargetState:
    _silence_seconds(duration)
    require_writable(require_actions(context).alertmanager, _SYSTEM)
    alerts, matchers = _own_alerts(context)
    if all(alert.silenced_by for alert in alerts):
        raise ActionError(f"{context.alert} is already silenced", system=_SYSTEM)
    starts = [alert.starts_at for alert in alerts if alert.starts_at]
    since = min(starts).isoformat() if starts else ""
    return TargetState(context.alert, {"matchers": matchers, "since": since})


def _silence(approved: ApprovedAction) -> str:
    plan = approved.plan
    system = require_writable(require_actions(approved.context).alertmanager, _SYSTEM)
    start = datetime.now(UTC)
    end = start + timedelta(seconds=_silence_seconds(str(plan.parameters.get("duration", "1h"))))
    matchers = [
        {"name": name, "value": value, "isRegex": False, "isEqual": True}
        for name, value in plan.identity["matchers"].items()
    ]
    silence = {
        "startsAt": start.isoformat(),
        "endsAt": end.isoformat(),
        "matchers": matchers,
        "createdBy": approved.by,
        "comment": f"incident {approved.evidence}, plan {plan.fingerprint}; see `runbook actions`",
    }
    name = _silence_id(_post_silence(system, silence), system)
    return f"silenced {approved.context.alert} until {end:%Y-%m-%d %H:%M} UTC (silence {name})"


def _post_silence(system: OperatorHttp, silence: Mapping[str, Any]) -> Response:
    token, address = secret(system.token_env, _SYSTEM), target_of(system.url)
    headers = {"Content-Type": "application/json"}
    try:
        return fetch(
            "POST",
            f"{system.url.rstrip('/')}/api/v2/silences",
            system=_SYSTEM,
            target=address,
            headers=headers | ({"Authorization": f"Bearer {token}"} if token else {}),
            content=json.dumps(silence).encode(),
            deadline_seconds=_DEADLINE_SECONDS,
        )
    except SourceError as error:
        raise ActionError(
            error.message,
            system=_SYSTEM,
            target=address,
            hint="see in Alertmanager whether the silence exists",
            is_outcome_known=False,
        ) from None


def _silence_id(answer: Response, system: OperatorHttp) -> str:
    address: dict[str, Any] = {"system": _SYSTEM, "target": target_of(system.url)}
    if answer.status != 200:
        reason = (answer.text.strip().splitlines() or ["(empty)"])[0][:300]
        # A 502 of a gateway does not show what Alertmanager did.
        is_refusal = 400 <= answer.status < 500
        raise ActionError(
            f"answered with HTTP status {answer.status}: {reason}", **address, is_outcome_known=is_refusal
        )
    body = answer.json(**address)
    return str(body.get("silenceID", "?")) if isinstance(body, dict) else "?"


@action(identify=_firing, perform=_silence, needs_recovery_check=False)
def silence_alert(context: Context, *, duration: str = "1h") -> Proposal:
    """Silence the alert for a time."""
    _silence_seconds(duration)
    try:
        matchers = _as_amtool_arguments(_own_alerts(context)[1])
    except (SourceError, ActionError):
        matchers = _as_amtool_arguments({"alertname": context.alert, **context.labels})
    return Proposal(
        title=f"Silence {context.alert} for {duration}",
        command=f"amtool silence add --duration={duration} --comment='see the runbook' {matchers}",
        effect="Alertmanager sends no notification of this alert until then. The problem itself stays.",
        loses=f"Notifications of every alert with {matchers}.",
        undo="amtool silence expire ID",
    )
