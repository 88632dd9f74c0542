"""The rules for escalation to another person or team."""

from runbooklib import measures, queries
from runbooklib.errors import Reason
from runbooklib.findings import Finding, Status, breach, unknown
from runbooklib.scene import Scene


def lasting(scene: Scene, *, longer_than_seconds: float) -> Finding:
    """How long has the incident lasted?"""
    if scene.onset is None:
        return unknown(Reason.NO_DATA, "No check shows when the incident began.", source="prometheus")
    seconds = (scene.window.end - scene.onset).total_seconds()
    return Finding(
        status=breach(seconds, above=longer_than_seconds, status=Status.WARNING),
        template="It has lasted {seconds:seconds}, since {since:time}. Escalate after {limit:seconds}.",
        facts={"seconds": seconds, "since": scene.onset, "limit": longer_than_seconds},
        measured=seconds,
        limit=longer_than_seconds,
        unit="seconds",
        since=scene.onset,
        source="prometheus",
    )


def affected_users(scene: Scene, *, above: float) -> Finding:
    """What share of the users is affected?

    By the environment's own query. Without a query the finding is UNKNOWN, and shows the share of failed
    requests instead. `above` is a ratio 0–1.
    """
    rules = scene.target.environment.escalation
    ask = scene.sources.prometheus
    if not rules.affected_users_query:
        shares = ask.instant(queries.failed_share(scene.target), scene.window.end)
        return unknown(
            Reason.NOT_CONFIGURED,
            "No query for affected users is configured. {share:percent} of requests fail. Escalate above "
            "{limit:percent} of users.",
            facts={"share": float(shares["value"].iloc[0]) if len(shares) else None, "limit": above},
            source="prometheus",
        )
    frame = ask.instant(rules.affected_users_query, scene.window.end)
    share = measures.number(frame, "the query for affected users has no series")
    return Finding(
        status=breach(share, above=above, status=Status.CRITICAL),
        template="{share:percent} of users are affected. Escalate above {limit:percent}.",
        facts={"share": share, "limit": above},
        measured=share,
        limit=above,
        unit="ratio",
        source="prometheus",
        query=rules.affected_users_query,
    )
