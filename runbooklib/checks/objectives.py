"""Service level objectives: how much of the error budget is left, and how fast is it used?

The budget is the share of requests that may fail, (1 - success), over the period. The burn rate is the share
that fails now over the share that may fail; at 1 the budget lasts exactly the period. The limits are those of
the SRE Workbook, chapter 5: at 14.4, 2 % of a budget for 30 days are used in 1 h; at 6, 5 % in 6 h.

The rules for escalation to another person or team.

The checks that follow from the environment's settings: service level objectives and escalation rules.
"""

from typing import Any

from runbooklib.checks import queries, thresholds
from runbooklib.checks.ask import Check
from runbooklib.checks.queries import Outcomes
from runbooklib.checks.registry import check
from runbooklib.checks.workers import several_workers
from runbooklib.errors import NoDataError, Reason
from runbooklib.model.findings import Finding, Status, breach, unknown
from runbooklib.model.window import seconds_of
from runbooklib.promql import build
from runbooklib.sources.context import Context

FAST_BURN, SLOW_BURN = 14.4, 6.0
# With samples for this share of the period, all of it was seen: a scrape may fail.
_WHOLE = 0.99
_LEFT = "{left:percent} of the error budget for {over} is left ({budget:seconds} of full outage)."
_LEFT_SO_FAR = (
    "{left:percent} of the error budget for the last {known:seconds} is left"
    " ({budget:seconds} of full outage)."
)
_SPENT = "This incident has used {spent:percent} of the budget ({spent_seconds:seconds})."
_BURN = "The burn rate is {burn:number}."
_NOT_COUNTED = "Nothing is counted at present, so failures that are not counted are not included."
_SHORT = "Prometheus has data for the last {known:seconds} only, {seen:percent} of {over}."


@check
def error_budget(
    context: Context,
    *,
    promise: str,  # noqa: ARG001 - the question names it
    of: str,
    success: float,
    over: str,
) -> Finding:
    """{promise}: how much of the error budget is left?

    The objective: of all `of` (requests, executions, chats) over the duration `over`, the share `success`
    (0–1) succeeds. If Prometheus has data for a part of the period only, the budget is that of this part:
    attempts and failures are those of the same time, and the finding says which share of the period it is.
    """
    outcomes = _outcomes(context, of)
    period = seconds_of(over)
    known = min(_known_seconds(context, over), period)
    is_short = known < period * _WHOLE
    facts = _budget(context, outcomes, 1 - success, over, known if is_short else period)
    left, burn = facts["left"], _burn_rate(context, outcomes, 1 - success)
    status = _status(left, burn)
    further = (_NOT_COUNTED,) if burn is None else (_SPENT, _BURN) if context.onset else (_BURN,)
    return Finding(
        status=status,
        reason=Reason.NO_DATA if status is Status.UNKNOWN else None,
        template=_LEFT_SO_FAR if is_short else _LEFT,
        further_templates=(_SHORT, *further) if is_short else further,
        facts={"over": over, "known": known, "seen": known / period, "burn": burn, **facts},
        measured=left,
        limit=0.0,
        unit="ratio",
        source="prometheus",
        query=build.sum_of(build.increase(outcomes.failed, over)),
    )


def _budget(
    context: Context, outcomes: Outcomes, may_fail: float, over: str, seen_seconds: float
) -> dict[str, float]:
    """The facts about the budget of the time that was seen.

    `may_fail` is the ratio 0–1 of attempts that may fail. Prometheus counts attempts and failures over the
    same samples, so neither is scaled to the period.
    """
    total = _increase(context, outcomes.every, over)
    if not total:
        raise NoDataError(f"there were no {outcomes.what} in the last {over}", system="prometheus")
    failed = _increase(context, outcomes.failed, over, absent=0.0)
    allowed = may_fail * total
    spent = _increase(context, outcomes.failed, _incident_duration(context), absent=0.0) / allowed
    budget = may_fail * seen_seconds
    return {
        "left": 1 - failed / allowed,
        "budget": budget,
        "spent": spent,
        "spent_seconds": spent * budget,
    }


def _burn_rate(context: Context, outcomes: Outcomes, may_fail: float) -> float | None:
    """The share that fails now over the share that may fail; None if nothing is counted at present."""
    share = _value(context, queries.share_of(context.target, outcomes))
    return None if share is None else share / may_fail


def _outcomes(context: Context, of: str) -> Outcomes:
    outcomes = {
        "requests": queries.request_outcomes,
        "executions": queries.executions,
        "chats": queries.chats,
    }
    return outcomes[of](context.target)


def _incident_duration(context: Context) -> str:
    """The time since the onset as a PromQL duration; without an onset, the window."""
    start = context.onset or context.window.start
    return f"{max(1, int((context.window.end - start).total_seconds()))}s"


def _status(left: float, burn: float | None) -> Status:
    if burn is not None and burn > FAST_BURN:
        return Status.CRITICAL
    if left <= 0 or (burn is not None and burn > SLOW_BURN):
        return Status.WARNING
    return Status.UNKNOWN if burn is None else Status.OK


def _known_seconds(context: Context, over: str) -> float:
    """For how many seconds of the period Prometheus has samples of the service's target."""
    up = build.selector("up", context.labels)
    samples = _value(context, f"max(count_over_time({up}[{over}]))")
    if not samples:
        raise NoDataError("there are no samples of the service", system="prometheus")
    return samples * seconds_of(context.timing.scrape_interval)


def _increase(context: Context, selector: str, over: str, *, absent: float | None = None) -> float:
    """The increase of the counter; `absent` without such a series: failures have none before the first."""
    increase = _value(context, build.sum_of(build.increase(selector, over)))
    if increase is not None:
        return increase
    if absent is None:
        raise NoDataError("there is no such series for this service", system="prometheus")
    return absent


def _value(context: Context, query: str) -> float | None:
    frame = context.sources.prometheus.instant(query, context.window.end)
    return thresholds.number(frame, "") if len(frame) else None


@check
def lasting(context: Context, *, longer_than_seconds: float) -> Finding:
    """How long has the incident lasted?"""
    if context.onset is None:
        return unknown(Reason.NO_DATA, "No check shows when the incident began.", source="prometheus")
    seconds = (context.window.end - context.onset).total_seconds()
    return Finding(
        status=breach(seconds, above=longer_than_seconds, status=Status.WARNING),
        template="It has lasted {seconds:seconds}, since {since:time}. Escalate after {limit:seconds}.",
        facts={"seconds": seconds, "since": context.onset, "limit": longer_than_seconds},
        measured=seconds,
        limit=longer_than_seconds,
        unit="seconds",
        since=context.onset,
        source="prometheus",
    )


@check
def affected_users(context: Context, *, above: float) -> Finding:
    """What share of the users is affected?

    By the environment's own query. Without a query the finding is UNKNOWN, and shows the share of failed
    requests instead. `above` is a ratio 0–1.
    """
    rules = context.target.environment.escalation
    ask = context.sources.prometheus
    if not rules.affected_users_query:
        shares = ask.instant(queries.failed_share(context.target), context.window.end)
        is_known = len(shares) > 0 and several_workers(context) is None
        return unknown(
            Reason.NOT_CONFIGURED,
            "No query for affected users is configured. {share:percent} of requests fail. Escalate above "
            "{limit:percent} of users.",
            facts={"share": float(shares["value"].iloc[0]) if is_known else None, "limit": above},
            source="prometheus",
        )
    frame = ask.instant(rules.affected_users_query, context.window.end)
    share = thresholds.number(frame, "the query for affected users has no series")
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


Checks = list[tuple[Check, dict[str, Any]]]


def objectives(context: Context) -> Checks:
    """One check for each objective of the environment, with its parameters."""
    return [
        (
            error_budget,
            {
                "promise": objective.name,
                "of": objective.of,
                "success": objective.success,
                "over": objective.over,
            },
        )
        for objective in context.target.environment.objectives
    ]


def escalations(context: Context) -> Checks:
    """The checks of the escalation rules, with their parameters."""
    rules = context.target.environment.escalation
    return [
        (lasting, {"longer_than_seconds": seconds_of(rules.lasting)}),
        (affected_users, {"above": rules.affected_users}),
    ]
