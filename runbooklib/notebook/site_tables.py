"""What the site's settings say about an incident, as tables: no system is asked for it."""

import re
from collections.abc import Mapping
from datetime import date, datetime, timedelta

import pandas as pd

from runbooklib.config.environment import Ownership
from runbooklib.model.window import seconds_of
from runbooklib.sources.context import Context

_FACT = re.compile(r"\{([a-z_]+)\}")


def basics(context: Context) -> pd.DataFrame:
    """What this is about: alert, service, window, who keeps the runbook. Two columns, name and value."""
    site = context.target.environment
    told = {
        "alert": context.alert,
        "service": context.service.title,
        "environment": site.title,
        "from": pd.Timestamp(context.window.start),
        "to": pd.Timestamp(context.window.end),
        "team": site.ownership.team,
    }
    return _listed(told)


def clock(context: Context) -> pd.DataFrame:
    """That this machine's clock is off, and by which one times are told here. Two columns, name and value."""
    skew = context.window.skew_seconds
    off = f"this machine's is {abs(skew):.0f} s {'behind' if skew > 0 else 'ahead'}"
    return _listed({"clock": f"{off}; all times here are by the clock of the systems that were asked"})


def _listed(told: Mapping[str, object]) -> pd.DataFrame:
    """Name and value in two columns, without what is empty."""
    return pd.DataFrame([{"": name, " ": value} for name, value in told.items() if value])


def upkeep(context: Context, uses: Mapping[str, str]) -> pd.DataFrame:
    """Who keeps the runbook, when it was and is to be reviewed, when it was used. Two columns."""
    owner = context.target.environment.ownership
    unread = uses.get("unread", "")
    none = "cannot be told" if unread else "never, as far as this evidence knows"
    told = {
        "kept by": owner.primary or owner.team,
        "reviewers": ", ".join(owner.reviewers),
        "last reviewed": owner.last_reviewed,
        "next review": _next_review(owner, context.window.opened_at),
        "last used": uses.get("last_used") or none,
        "last drilled": uses.get("last_drilled") or none,
        "evidence that cannot be read": unread,
        "feedback": ", ".join(owner.feedback),
    }
    return _listed(told)


def _next_review(owner: Ownership, today: datetime) -> str:
    try:
        last = date.fromisoformat(owner.last_reviewed)
    except ValueError:
        return "unknown: `last_reviewed` is no date" if owner.last_reviewed else ""
    due = last + timedelta(seconds=seconds_of(owner.review_every))
    return f"{due}: overdue" if due < today.date() else str(due)


def contacts(context: Context) -> pd.DataFrame:
    """Whom to call, a row each."""
    found = context.target.environment.contacts
    return pd.DataFrame(
        [{"role": c.role, "name": c.name, "reach": c.reach, "only for": ", ".join(c.only_for)} for c in found]
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
            {"where": name, "link": _FACT.sub(lambda found: facts.get(found[1], found[0]), link)}
            for name, link in (site.links | site.documents).items()
        ]
    )


def history(context: Context) -> pd.DataFrame:
    """The past incidents of this alert, a row each."""
    found = context.target.environment.past_incidents.get(context.alert, ())
    return pd.DataFrame([past.model_dump() for past in found])
