"""Tables about an incident from the site's settings. They send no request to a system."""

import re
from collections.abc import Mapping
from datetime import date, datetime, timedelta

import pandas as pd

from runbooklib.config.environment import Ownership
from runbooklib.model.window import seconds_of
from runbooklib.sources.context import Context

_FACT = re.compile(r"\{([a-z_]+)\}")


def basics(context: Context) -> pd.DataFrame:
    """Alert, service, environment, window and team. Two columns, name and value."""
    site = context.target.environment
    values = {
        "alert": context.alert,
        "service": context.service.title,
        "environment": site.title,
        "from": pd.Timestamp(context.window.start),
        "to": pd.Timestamp(context.window.end),
        "team": site.ownership.team,
    }
    return _two_columns(values)


def clock(context: Context) -> pd.DataFrame:
    """How far this machine's clock is off, and which clock the times use. Two columns, name and value."""
    skew = context.window.skew_seconds
    off = f"this machine's is {abs(skew):.0f} s {'behind' if skew > 0 else 'ahead'}"
    return _two_columns({"clock": f"{off}; all times here are from the clock of the monitored systems"})


def _two_columns(values: Mapping[str, object]) -> pd.DataFrame:
    """Name and value in two columns, without empty values."""
    return pd.DataFrame([{"": name, " ": value} for name, value in values.items() if value])


def upkeep(context: Context, uses: Mapping[str, str]) -> pd.DataFrame:
    """Who maintains the runbook, its last and next review, and its last use. Two columns, name and value."""
    owner = context.target.environment.ownership
    unread = uses.get("unread", "")
    no_use = "cannot be determined" if unread else "never, according to this evidence"
    values = {
        "kept by": owner.primary or owner.team,
        "reviewers": ", ".join(owner.reviewers),
        "last reviewed": owner.last_reviewed,
        "next review": _next_review(owner, context.window.opened_at),
        "last used": uses.get("last_used") or no_use,
        "last drilled": uses.get("last_drilled") or no_use,
        "evidence that cannot be read": unread,
        "feedback": ", ".join(owner.feedback),
    }
    return _two_columns(values)


def _next_review(owner: Ownership, today: datetime) -> str:
    try:
        last = date.fromisoformat(owner.last_reviewed)
    except ValueError:
        return "unknown: `last_reviewed` is not a date" if owner.last_reviewed else ""
    due = last + timedelta(seconds=seconds_of(owner.review_every))
    return f"{due}: overdue" if due < today.date() else str(due)


def contacts(context: Context) -> pd.DataFrame:
    """The people and teams to call, one row each."""
    contacts = context.target.environment.contacts
    return pd.DataFrame(
        [
            {"role": c.role, "name": c.name, "reach": c.reach, "only for": ", ".join(c.only_for)}
            for c in contacts
        ]
    )


def links(context: Context) -> pd.DataFrame:
    """The site's links with this window filled in: {start_ms}, {end_ms}, {end}, {span}, {alert}."""
    window, site = context.window, context.target.environment
    facts = {
        "start_ms": str(int(window.start.timestamp() * 1000)),
        "end_ms": str(int(window.end.timestamp() * 1000)),
        "end": window.end.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "span": f"{int(window.span_seconds)}s",
        "alert": context.alert,
    }
    return pd.DataFrame(
        [
            {"where": name, "link": _FACT.sub(lambda match: facts.get(match[1], match[0]), link)}
            for name, link in (site.links | site.documents).items()
        ]
    )


def history(context: Context) -> pd.DataFrame:
    """The past incidents of this alert, one row each."""
    incidents = context.target.environment.past_incidents.get(context.alert, ())
    return pd.DataFrame([past.model_dump() for past in incidents])
