"""What the site's settings say about an incident, as tables: no system is asked for it."""

import re

import pandas as pd

from runbooklib.scene import Scene

_FACT = re.compile(r"\{([a-z_]+)\}")


def basics(scene: Scene) -> pd.DataFrame:
    """What this is about: alert, service, window, who keeps the runbook. Two columns, name and value."""
    site = scene.target.environment
    told = {
        "alert": scene.alert,
        "service": scene.service.title,
        "environment": site.title,
        "from": pd.Timestamp(scene.window.start),
        "to": pd.Timestamp(scene.window.end),
        "team": site.ownership.team,
        "runbook last reviewed": site.ownership.last_reviewed,
    }
    return pd.DataFrame([{"": name, " ": value} for name, value in told.items() if value])


def contacts(scene: Scene) -> pd.DataFrame:
    """Whom to call, a row each."""
    found = scene.target.environment.contacts
    return pd.DataFrame(
        [{"role": c.role, "name": c.name, "reach": c.reach, "only for": ", ".join(c.only_for)} for c in found]
    )


def links(scene: Scene) -> pd.DataFrame:
    """The site's links with this window filled in: {start_ms}, {end_ms}, {end}, {span}, {alert}."""
    window, site = scene.window, scene.target.environment
    facts = {
        "start_ms": str(int(window.start.timestamp() * 1000)),
        "end_ms": str(int(window.end.timestamp() * 1000)),
        "end": window.end.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "span": f"{int(window.span_seconds)}s",
        "alert": scene.alert,
    }
    return pd.DataFrame(
        [
            {"where": name, "link": _FACT.sub(lambda found: facts.get(found[1], found[0]), link)}
            for name, link in (site.links | site.documents).items()
        ]
    )


def history(scene: Scene) -> pd.DataFrame:
    """The past incidents of this alert, a row each."""
    found = scene.target.environment.past_incidents.get(scene.alert, ())
    return pd.DataFrame([past.model_dump() for past in found])
