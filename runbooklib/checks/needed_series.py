"""The series that an alert's expression needs: without them, "not true" is not an answer."""

import math
from functools import partial

import pandas as pd

from runbooklib.checks.time_series import finite
from runbooklib.errors import NoDataError
from runbooklib.promql import needs, reading
from runbooklib.sources.context import Context
from runbooklib.sources.tape import side_by_side


def need_any(context: Context, query: str) -> None:
    """Raises NoDataError if an alternative of the rule has no series, so that it cannot become true.

    One existing series is enough: a counter of errors has none before the first error.
    """
    for operand in reading.or_operands(query):
        selectors = needs.rests_on(operand)
        counted = context.sources.prometheus.counts(selectors, context.window.end)
        if selectors and not any(count is None or 0 < count < math.inf for count in counted):
            raise NoDataError(
                f"there is no series of {', '.join(selectors)[:200]}, so the rule cannot become true",
                system="prometheus",
                hint="check that the target is scraped",
            )


def need_all(context: Context, expression: str) -> None:
    """Raises NoDataError if the condition is not true because a series is missing."""
    for operand in reading.or_operands(expression):
        _need(context, needs.rests_on(operand))
        condition = reading.condition_of(operand)
        for side in (condition.measured, condition.other) if condition else ():
            # A side with a comparison of its own is empty if that comparison is not true. Its series exist:
            # they were checked above.
            if side and not needs.is_filter(side):
                (answer,) = _need(context, (needs.without_constants(side),))
                if condition and (condition.threshold is not None or condition.operator not in ("==", "!=")):
                    _refuse_histograms(side, answer)


def _refuse_histograms(query: str, answer: pd.DataFrame) -> None:
    """Raises NoDataError if the answer consists of native histograms: Prometheus leaves them out."""
    if answer.attrs["histograms"] == len(answer):
        raise NoDataError(
            f"{query[:120]} is a native histogram, which cannot be compared, so the alert cannot fire",
            system="prometheus",
            hint="compare its histogram_quantile, histogram_avg or histogram_count",
        )


def _need(context: Context, queries: tuple[str, ...]) -> list[pd.DataFrame]:
    """The answers of the queries. Raises NoDataError for an answer without a finite sample."""
    ask, end = context.sources.prometheus, context.window.end
    answers = side_by_side([partial(ask.instant, query, end) for query in queries])
    for query, answer in zip(queries, answers, strict=True):
        if finite(answer["value"]).empty:
            raise NoDataError(
                f"there is no sample of {query[:120]}, so the alert cannot fire",
                system="prometheus",
                hint="check that the target is scraped",
            )
    return answers
