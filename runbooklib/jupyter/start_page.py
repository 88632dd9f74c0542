"""Gathers the content of the start page. A part that fails is reported, and the other parts are shown."""

from datetime import datetime
from urllib.parse import quote, urlencode

from runbooklib import files
from runbooklib.config import runbooks, site
from runbooklib.errors import RunbookError, suggestion
from runbooklib.evidence import runs
from runbooklib.jupyter import alert_link, firing_alerts
from runbooklib.jupyter.alert_link import Link
from runbooklib.model.alert import Alert
from runbooklib.render.start_page_html import AlertRow, Board, RunbookRow, RunRow

REFRESH_SECONDS = 30
_MAX_RUNS = 20
_MAX_FIRING = 200
_SEVERITY = "severity"
_SEVERITIES = ("critical", "warning")
_FIRST_LABELS = ("component", "service")
_SAYS = ("summary", "description", "message")


def gather_board(base_url: str, query: dict[str, str], now: datetime) -> Board:
    """The board. `query` is the query of the page: environment, q, refresh. `base_url` ends with `/`."""
    problems: list[str] = []
    known = _environments(problems)
    environment = _environment(query.get(alert_link.ENVIRONMENT, ""), known, problems)
    searched, is_still = query.get("q", "").strip()[:200], query.get("refresh") == "off"
    rows = _runbook_rows(base_url, environment, problems)
    return Board(
        at=now,
        environment=environment,
        environments=[(name, _page(base_url, name)) for name in known],
        firing=_alert_rows(base_url, environment, {row.alert for row in rows}, problems),
        runbooks=[row for row in rows if searched.lower() in f"{row.alert} {row.title}".lower()],
        searched=searched,
        runs=_run_rows(base_url, problems),
        not_checked=problems,
        # A refresh would disturb a person who searches.
        refresh=0 if is_still or searched else REFRESH_SECONDS,
        toggle=_page(base_url, environment, "" if is_still or searched else "off"),
    )


def _page(base_url: str, environment: str, refresh: str = "") -> str:
    query = {alert_link.ENVIRONMENT: environment, "refresh": refresh}
    return f"{base_url}{alert_link.PAGE}?{urlencode({name: value for name, value in query.items() if value})}"


def _environments(problems: list[str]) -> list[str]:
    try:
        return site.environments()
    except RunbookError as error:
        problems.append(str(error))
        return []


def _environment(requested: str, known: list[str], problems: list[str]) -> str:
    """The requested environment, else the default; empty if it does not exist."""
    try:
        usual = requested or firing_alerts.usual_environment()
    except RunbookError as error:
        problems.append(str(error))
        return ""
    if usual not in known:
        problems.append(f"There is no environment {usual[:80]!r} ({suggestion(usual[:80], known)})")
        return ""
    return usual


def _alert_rows(
    base_url: str, environment: str, served: set[str], problems: list[str]
) -> list[AlertRow] | None:
    if not environment:
        return None
    try:
        alerts = firing_alerts.alerts(environment)
    except RunbookError as error:
        problems.append(f"Firing alerts: {error}")
        return None
    if len(alerts) > _MAX_FIRING:
        problems.append(f"{len(alerts) - _MAX_FIRING:,} more firing alerts are not shown")
    return [
        _alert_row(base_url, environment, alert, is_served=alert.name in served)
        for alert in sorted(alerts, key=_severity_rank)[:_MAX_FIRING]
    ]


def _severity_rank(alert: Alert) -> int:
    """The place of the alert's severity: critical, warning, others. Within it, the order stays."""
    severity = alert.labels.get(_SEVERITY, "").lower()
    return _SEVERITIES.index(severity) if severity in _SEVERITIES else len(_SEVERITIES)


def _alert_row(base_url: str, environment: str, alert: Alert, *, is_served: bool) -> AlertRow:
    link = Link(alert.name, environment, alert.labels, alert.starts_at)
    names = sorted(
        (name for name in alert.labels if name not in (alert_link.ALERT, _SEVERITY)),
        key=lambda name: (name not in _FIRST_LABELS, name),
    )
    quiet = [f"silenced by {silence}" for silence in alert.silenced_by]
    quiet += ["inhibited by another alert"] if alert.inhibited_by else []
    return AlertRow(
        alert=alert.name,
        severity=alert.labels.get(_SEVERITY, ""),
        says=next((alert.annotations[name] for name in _SAYS if alert.annotations.get(name)), ""),
        labels=" ".join(f"{name}={alert.labels[name]}" for name in names),
        since=alert.starts_at,
        quiet=", ".join(quiet),
        link=f"{base_url}{alert_link.OPEN}?{link.query}" if is_served else "",
    )


def _runbook_rows(base_url: str, environment: str, problems: list[str]) -> list[RunbookRow]:
    rows = []
    try:
        names = runbooks.alerts()
    except RunbookError as error:
        problems.append(str(error))
        return []
    for name in names:
        try:
            title = runbooks.find(name).title
        except RunbookError as error:
            title = f"cannot be read: {error}"
        rows.append(RunbookRow(name, title, f"{base_url}{alert_link.OPEN}?{Link(name, environment).query}"))
    return rows


def _run_rows(base_url: str, problems: list[str]) -> list[RunRow]:
    try:
        newest, unread = runs.recent_runs(runs.evidence_place(), _MAX_RUNS)
    except (RunbookError, OSError) as error:
        reason = files.trouble(error) if isinstance(error, OSError) else error
        problems.append(f"The evidence cannot be read: {reason}")
        return []
    problems += [f"Evidence: {problem}" for problem in unread]
    return [
        RunRow(
            at=run.at,
            alert=run.alert,
            service=run.service,
            environment=run.environment,
            status=run.status,
            headline=run.headline if run.kind != "replay" else f"(replay) {run.headline}",
            link=f"{base_url}{alert_link.PAGE}/evidence/{quote(run.bundle)}",
        )
        for run in newest
    ]
