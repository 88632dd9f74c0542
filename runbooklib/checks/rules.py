"""Any alert by its own expression: what a runbook asks of a rule that nobody wrote checks for."""

from datetime import datetime

import pandas as pd

from runbooklib import expression as promql
from runbooklib.errors import NoDataError
from runbooklib.expression import Condition
from runbooklib.findings import Fact, Finding, Status
from runbooklib.scene import Scene
from runbooklib.series import began

_MOST_SERIES = 6
_SEVERITIES = {"critical": Status.CRITICAL, "page": Status.CRITICAL}


def alert_expression(scene: Scene, *, expression: str, severity: str = "warning") -> Finding:
    """Is the alert's own condition true?

    The whole expression at the end of the window, and its measured side over the window against its
    threshold, the worst series first. Not true is only OK where what is measured exists: a missing series is
    not sound.
    """
    condition = promql.condition_of(expression)
    holds = scene.sources.prometheus.instant(expression, scene.window.end)
    status = _SEVERITIES.get(severity, Status.WARNING) if len(holds) else Status.OK
    if condition is None:
        return _without_threshold(expression, holds, status)
    frame = _shortened(
        _worst_first(scene.sources.prometheus.range(condition.measured, scene.window), condition)
    )
    if not len(holds):
        _need_samples(frame, condition)
    return _measured(scene, expression, condition, frame, holds, status)


def _without_threshold(expression: str, holds: pd.DataFrame, status: Status) -> Finding:
    """A condition without a number: true for the series that it answers."""
    if not len(holds) and not promql.is_absence(expression):
        raise NoDataError(
            "the condition answers nothing, and it does not say what it measures",
            system="prometheus",
            remedy="see whether its series exist",
        )
    return Finding(
        status=status,
        template="The condition is true for {count} series." if len(holds) else "What it looks for is there.",
        facts={"count": len(holds)},
        measured=float(len(holds)),
        source="prometheus",
        query=expression,
        rows=_table(holds) if len(holds) else None,
    )


def _worst_first(frame: pd.DataFrame, condition: Condition) -> pd.DataFrame:
    """The series that are nearest to the condition at the end, or beyond it."""
    if not len(frame.columns):
        return frame
    ordered = frame.ffill().iloc[-1].sort_values(ascending=condition.operator in ("<", "<=", "=="))
    return pd.DataFrame(frame[list(ordered.index[:_MOST_SERIES])])


def _need_samples(frame: pd.DataFrame, condition: Condition) -> None:
    last = frame.iloc[-2:].ffill().iloc[-1] if len(frame.columns) else pd.Series(dtype=float)
    if not last.notna().any():
        raise NoDataError(
            f"there is no sample of {condition.measured[:120]}",
            system="prometheus",
            remedy="see whether the target is still scraped",
        )


def _measured(
    scene: Scene, query: str, condition: Condition, frame: pd.DataFrame, holds: pd.DataFrame, status: Status
) -> Finding:
    now = frame.iloc[:, 0].dropna() if len(frame.columns) else pd.Series(dtype=float)
    worst = float(now.iloc[-1]) if len(now) and abs(now.iloc[-1]) != float("inf") else None
    facts: dict[str, Fact] = {"count": len(holds), "worst": worst, "operator": condition.operator}
    facts |= {"threshold": condition.threshold, "other": condition.other}
    told = "{operator} {threshold:number}" if condition.threshold is not None else "{operator} {other}"
    return Finding(
        status=status,
        template=(
            f"The condition is true for {{count}} series; the worst is {{worst}}, and true is {told}."
            if len(holds)
            else f"The condition is not true: the nearest is {{worst}}, and true is {told}."
        ),
        facts=facts,
        measured=worst,
        limit=condition.threshold,
        unit=_unit(condition),
        since=_since(scene, frame, condition) if len(holds) else None,
        source="prometheus",
        query=query,
        series=frame if len(frame.columns) else None,
        rows=_table(holds) if len(holds) else None,
    )


def _since(scene: Scene, frame: pd.DataFrame, condition: Condition) -> datetime | None:
    limit = condition.threshold
    if limit is None or condition.operator in ("==", "!=") or not len(frame.columns):
        return None
    is_above = condition.operator.startswith(">")
    return began(
        frame.iloc[:, 0],
        above=limit if is_above else None,
        below=None if is_above else limit,
        bridging_seconds=2 * scene.window.step_seconds,
    )


def _unit(condition: Condition) -> str:
    """The unit that the name of a single metric says, where nothing is computed with it."""
    names = promql.metrics(condition.measured)
    if len(names) == 1 and not any(word in condition.measured for word in ("rate(", " / ", "count(")):
        for suffix in ("seconds", "bytes"):
            if names[0].endswith(f"_{suffix}") or f"_{suffix}_" in names[0]:
                return suffix
    return ""


def _shortened(frame: pd.DataFrame) -> pd.DataFrame:
    """Columns called by the labels in which they differ."""
    parts = [set(str(name).split(",")) for name in frame.columns]
    if len(parts) < 2:
        return frame
    same = set.intersection(*parts)
    names = [
        ",".join(p for p in str(name).split(",") if p not in same) or str(name) for name in frame.columns
    ]
    return frame.set_axis(names, axis="columns") if len(set(names)) == len(names) else frame


def _table(holds: pd.DataFrame) -> pd.DataFrame:
    labels = [name for name in holds.columns if name not in ("value", "__name__")]
    differing = [name for name in labels if holds[name].nunique() > 1 or len(holds) == 1]
    rows = holds.sort_values("value", ascending=False)
    return rows[[*differing, "value"]].reset_index(drop=True)
