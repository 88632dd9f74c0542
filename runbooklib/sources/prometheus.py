"""Prometheus, on prometheus-api-client: its own methods for an engineer's questions, ours for the checks.

Whatever either of them asks passes through the tape. The library's traps are gone round here: no
retries that swallow the server's own words, whole deadlines, exact aware UTC times, empty answers as
empty frames, every series kept, labels escaped, warnings kept, long queries in the body.
"""

import difflib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pandas as pd
from prometheus_api_client.prometheus_connect import PrometheusConnect

from runbooklib import promdata
from runbooklib.errors import (
    NoDataError,
    NonsenseError,
    NotRecordedError,
    ParameterError,
    RefusedError,
    StaleError,
)
from runbooklib.promdata import Rule
from runbooklib.promql import selector
from runbooklib.promsession import TapedSession
from runbooklib.tape import DEADLINE_SECONDS, Tape, side_by_side
from runbooklib.window import Window


class Prometheus(PrometheusConnect):
    """One Prometheus. Answers are frames and frozen records; times are aware UTC.

    Every method raises UnreachableError, DeadlineError, RefusedError (with the server's own words) or
    NonsenseError. An engineer's own questions (`custom_query` and the library's other methods) are
    recorded, bounded and replayed too; they answer as the library does.
    """

    def __init__(
        self, url: str, tape: Tape, *, token: str = "", deadline_seconds: float = DEADLINE_SECONDS
    ) -> None:
        self._door = TapedSession(url.rstrip("/"), tape, token, deadline_seconds)
        self._remark = tape.remark
        self._target = self._door.target
        super().__init__(url=url.rstrip("/"), session=self._door)

    def __repr__(self) -> str:
        return f"Prometheus({self._target!r})"

    def instant(self, query: str, at: datetime) -> pd.DataFrame:
        """One row a series at that moment: its labels as str columns, "" where it lacks one, and "value".

        "value" is float64; a label of that name becomes "exported_value". No series, no rows. What the
        server warned of is in `attrs["warnings"]`. Raises StaleError for samples of another time.
        """
        params = (("query", query), ("time", _text_of(at)))
        data, warnings = self._data("/api/v1/query", params)
        with self._shaped():
            frame, times = promdata.instant_frame(data)
        self._refuse_other_times(times, at)
        frame.attrs["warnings"] = warnings
        return frame

    def range(self, query: str, window: Window, *, by: str = "") -> pd.DataFrame:
        """One float64 column a series, on every step of the window (aware UTC index); a gap is NaN.

        A column is called by its labels, like `endpoint="/x",method="GET"` ("value" without any), or by the
        value of the label `by`. What the server warned of is in `attrs["warnings"]`. Raises ParameterError
        for more than 11,000 points, NonsenseError for two series of one name.
        """
        grid = promdata.grid_of(window)
        span = (("start", _text_of(window.start)), ("end", _text_of(window.end)))
        params = (("query", query), *span, ("step", repr(window.step_seconds)))
        data, warnings = self._data("/api/v1/query_range", params)
        with self._shaped():
            frame = promdata.range_frame(data, window, grid, by=by)
        if frame.columns.has_duplicates:
            raise NonsenseError(
                f"has several series with the same {by or 'labels'}",
                system="prometheus",
                target=self._target,
                remedy=f"sum the query by({by})" if by else "see its remote storage",
            )
        frame.attrs["warnings"] = warnings
        return frame

    def rules(self) -> tuple[Rule, ...]:
        """All alerting rules, in the server's order."""
        data, _ = self._data("/api/v1/rules", (("type", "alert"),))
        with self._shaped():
            return promdata.alerting_rules(data)

    def rule(self, name: str) -> Rule:
        """The alerting rule of that name; of several, the one that is furthest on its way to firing.

        Raises NoDataError with the nearest name.
        """
        rules = self.rules()
        order = {"firing": 0, "pending": 1}
        found = sorted((rule for rule in rules if rule.name == name), key=lambda r: order.get(r.state, 2))
        if found:
            return found[0]
        near = difflib.get_close_matches(name, [rule.name for rule in rules], n=1, cutoff=0.5)
        raise NoDataError(
            f"has no alerting rule {name!r}",
            system="prometheus",
            target=self._target,
            remedy=f"did you mean {near[0]!r}?" if near else "see its rule files",
        )

    def counts(self, selectors: Sequence[str], at: datetime) -> list[float | None]:
        """How many series each selector has at that moment; NaN where the answer is no number.

        None in the replay of a recording that is older than this question: there nobody knows any more.
        """
        return side_by_side([partial(self._count, f"count({one})", at) for one in selectors])

    def _count(self, query: str, at: datetime) -> float | None:
        try:
            frame = self.instant(query, at)
        except NotRecordedError:
            return None
        return float(frame["value"].iloc[0]) if len(frame) else 0.0

    def targets(self) -> pd.DataFrame:
        """One row an active target.

        Columns: job, instance, health (up, down or unknown), scrape_url, last_scrape_at (aware UTC),
        last_scrape_seconds, last_error ("" where there was none).
        """
        data, _ = self._data("/api/v1/targets", (("state", "active"),))
        with self._shaped():
            return promdata.targets_frame(data)

    def metric_names(self) -> tuple[str, ...]:
        """The names of all metrics that it knows, sorted."""
        data, _ = self._data("/api/v1/label/__name__/values", ())
        with self._shaped():
            return promdata.sorted_names(data)

    def get_current_metric_value(
        self, metric_name: str, label_config: Any = None, params: Any = None
    ) -> list[dict[str, Any]]:
        """As the library's, with the labels escaped."""
        query = selector(metric_name, label_config) if label_config else metric_name
        found: list[dict[str, Any]] = super().get_current_metric_value(query, params=params)
        return found

    def get_metric_range_data(
        self, metric_name: str, label_config: Any = None, *args: Any, **kwargs: Any
    ) -> list[dict[str, Any]]:
        """As the library's, with the labels escaped. Give start_time and end_time: its defaults are old."""
        query = selector(metric_name, label_config) if label_config else metric_name
        found: list[dict[str, Any]] = super().get_metric_range_data(query, {}, *args, **kwargs)
        return found

    def _data(self, path: str, params: Sequence[tuple[str, str]]) -> tuple[Any, list[str]]:
        answer = self._door.answered("GET", path, params)
        status, told = answer["status"], answer.get("json")
        about = {"system": "prometheus", "target": self._target}
        if isinstance(told, dict) and told.get("status") == "error":
            reason = ": ".join(str(told[key]) for key in ("errorType", "error") if told.get(key))
            raise RefusedError(reason or "says error, and not why", **about, code=str(status))
        if status != 200:
            text = (str(answer.get("text") or told or "").strip().splitlines() or [""])[0][:300]
            raise RefusedError(f"answers {status}{': ' if text else ''}{text}", **about, code=str(status))
        if not isinstance(told, dict) or told.get("status") != "success" or "data" not in told:
            raise self._nonsense(KeyError("status or data"))
        with self._shaped():
            notes = promdata.notes_of(told)
        for warning in told.get("warnings") or ():
            self._remark(str(warning))
        return told["data"], notes

    @contextmanager
    def _shaped(self) -> Iterator[None]:
        """What is parsed inside and has not the shape of an answer is nonsense of this Prometheus."""
        try:
            yield
        except promdata.SHAPE_ERRORS as error:
            raise self._nonsense(error) from None

    def _refuse_other_times(self, times: Sequence[float], at: datetime) -> None:
        off = max((moment - at.timestamp() for moment in times), key=abs, default=0.0)
        if not abs(off) <= 1.0:
            raise StaleError(
                f"answers for a time {abs(off):.0f} s {'after' if off > 0 else 'before'} the one asked about",
                system="prometheus",
                target=self._target,
                remedy="see its clock and its remote storage",
            )

    def _nonsense(self, error: Exception) -> NonsenseError:
        told = f"its answer has not the shape of Prometheus: {str(error)[:200] or type(error).__name__}"
        return NonsenseError(told, system="prometheus", target=self._target)


def _text_of(moment: datetime) -> str:
    if moment.tzinfo is None:
        raise ParameterError(f"{moment} does not say which time zone", remedy="give an aware time")
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
