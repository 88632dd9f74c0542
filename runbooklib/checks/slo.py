"""The promise to the users: how much of the error budget is left, and how fast is it spent?

A budget is what may fail: (1 - success) of all requests of the period. The burn rate is the share that fails
now over the share that may; at 1 the budget lasts exactly the period. The limits are those of the SRE
Workbook, chapter 5: at 14.4 a budget of 30 days loses 2 % in an hour, at 6 it loses 5 % in six.
"""

from runbooklib import measures, promql, queries
from runbooklib.errors import NoDataError, Reason
from runbooklib.findings import Finding, Status
from runbooklib.queries import Outcomes
from runbooklib.scene import Scene
from runbooklib.window import seconds_of

FAST_BURN, SLOW_BURN = 14.4, 6.0


def error_budget(
    scene: Scene,
    *,
    promise: str,  # noqa: ARG001 - the question names it
    of: str,
    success: float,
    over: str,
) -> Finding:
    """{promise}: how much of the error budget is left?

    Of `of` (requests, executions, chats) the share `success` (0–1) was promised over the duration `over`.
    Where Prometheus knows less than that, what is missing is taken to be like what it knows.
    """
    outcomes = _outcomes(scene, of)
    period, known = seconds_of(over), _known_seconds(scene, over)
    every, failed = _grew(scene, outcomes.every, over), _grew(scene, outcomes.failed, over, absent=0.0)
    if not every:
        raise NoDataError(f"there were no {outcomes.what} in the last {over}", system="prometheus")
    allowed = (1 - success) * every * max(period / known, 1.0)
    began_at = scene.onset or scene.window.start
    lasted = f"{max(1, int((scene.window.end - began_at).total_seconds()))}s"
    spent = _grew(scene, outcomes.failed, lasted, absent=0.0) / allowed
    now = _one(scene, queries.share_of(scene.target, outcomes))
    burn = None if now is None else now / (1 - success)
    left = 1 - failed / allowed
    status = _status(left, burn)
    return Finding(
        status=status,
        reason=Reason.NO_DATA if status is Status.UNKNOWN else None,
        template=_template(scene, burn) + ("" if known >= period else _SHORT),
        facts={
            "left": left,
            "budget": (1 - success) * period,
            "over": over,
            "spent": spent,
            "spent_seconds": spent * (1 - success) * period,
            "burn": burn,
            "known": known,
        },
        measured=left,
        limit=0.0,
        unit="ratio",
        source="prometheus",
        query=promql.sum_of(promql.increase(outcomes.failed, over)),
    )


_BEGAN = (
    "{left:percent} of the budget of {over} is left (it is {budget:seconds} of total failure); this incident "
    "has used {spent:percent} of it ({spent_seconds:seconds}), and it is being spent {burn:number} times as "
    "fast as it may be."
)
_STOPPED = (
    "{left:percent} of the budget of {over} is left by what was counted (it is {budget:seconds} of total "
    "failure), and nothing is being counted now: what fails without being counted is not in it."
)
_QUIET = (
    "{left:percent} of the budget of {over} is left (it is {budget:seconds} of total failure); it is being "
    "spent {burn:number} times as fast as it may be."
)
_SHORT = " Prometheus knows only the last {known:seconds}; the rest is taken to be alike."


def _outcomes(scene: Scene, of: str) -> Outcomes:
    counted = {
        "requests": queries.request_outcomes,
        "executions": queries.executions,
        "chats": queries.chats,
    }
    return counted[of](scene.target)


def _template(scene: Scene, burn: float | None) -> str:
    if burn is None:
        return _STOPPED
    return _BEGAN if scene.onset else _QUIET


def _status(left: float, burn: float | None) -> Status:
    if burn is not None and burn > FAST_BURN:
        return Status.CRITICAL
    if left <= 0 or (burn is not None and burn > SLOW_BURN):
        return Status.WARNING
    return Status.UNKNOWN if burn is None else Status.OK


def _known_seconds(scene: Scene, over: str) -> float:
    """For how much of the period there are samples of the service's target."""
    up = promql.selector("up", scene.labels)
    samples = _one(scene, f"max(count_over_time({up}[{over}]))")
    if not samples:
        raise NoDataError("Prometheus does not know the service", system="prometheus")
    return samples * seconds_of(scene.timing.scrape_interval)


def _grew(scene: Scene, selector: str, over: str, *, absent: float | None = None) -> float:
    """By how much the counter grew; `absent` where there is none: failures are counted from the first."""
    grown = _one(scene, promql.sum_of(promql.increase(selector, over)))
    if grown is None and absent is None:
        raise NoDataError("there is no such series for this service", system="prometheus")
    return grown if grown is not None else (absent or 0.0)


def _one(scene: Scene, query: str) -> float | None:
    frame = scene.sources.prometheus.instant(query, scene.window.end)
    return measures.number(frame, "") if len(frame) else None
