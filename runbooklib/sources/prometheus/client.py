"""Prometheus: the methods of prometheus-api-client for queries in a notebook, and methods for the checks.

All requests pass through the tape. Unlike the library's own methods, those for the checks use exact aware UTC
times, return an empty frame for an empty answer, keep all series, escape labels and keep warnings.
"""

import difflib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pandas as pd
from prometheus_api_client.prometheus_connect import PrometheusConnect

from runbooklib.errors import (
    NoDataError,
    NonsenseError,
    NotRecordedError,
    ParameterError,
    RefusedError,
    StaleError,
)
from runbooklib.model.window import Window
from runbooklib.promql.build import selector, sum_of
from runbooklib.sources.prometheus import frames
from runbooklib.sources.prometheus.frames import Rule
from runbooklib.sources.prometheus.session import TapedSession
from runbooklib.sources.tape import DEADLINE_SECONDS, Tape, side_by_side


class Prometheus(PrometheusConnect):
    """One Prometheus server. Answers are frames and frozen records; times are aware UTC.

    Every method raises UnreachableError, DeadlineError, RefusedError (with the server's own message) or
    NonsenseError. `custom_query` and the other methods of the library are recorded, limited and replayed as
    well; they return what the library returns.
    """

    def __init__(
        self, url: str, tape: Tape, *, token: str = "", deadline_seconds: float = DEADLINE_SECONDS
    ) -> None:
        self._taped = TapedSession(url.rstrip("/"), tape, token, deadline_seconds)
        self._remark = tape.remark
        self._target = self._taped.target
        super().__init__(url=url.rstrip("/"), session=self._taped)

    def __repr__(self) -> str:
        return f"Prometheus({self._target!r})"

    def instant(self, query: str, at: datetime) -> pd.DataFrame:
        """One row for each series at a time: its labels as str columns ("" for a missing label), and "value".

        "value" is float64; a label named "value" becomes "exported_value". Without a series the frame is
        empty. A native histogram has the number of its observations as value; `attrs["histograms"]` is the
        number of such series. `attrs["warnings"]` contains the server's warnings. Raises StaleError for
        samples of another time.
        """
        params = (("query", query), ("time", _text_of(at)))
        data, warnings = self._data("/api/v1/query", params)
        with self._shaped():
            frame, times = frames.instant_frame(data)
        self._refuse_other_times(times, at)
        frame.attrs["warnings"] = warnings
        return frame

    def range(self, query: str, window: Window, *, by: str = "") -> pd.DataFrame:
        """One float64 column for each series, on every step of the window (aware UTC index); a gap is NaN.

        A column is named by its labels, like `endpoint="/x",method="GET"` ("value" without labels), or by the
        value of the label `by`. `attrs["warnings"]` contains the server's warnings. Raises ParameterError for
        more than 11,000 points, NonsenseError for two series with the same name.
        """
        grid = frames.grid_of(window)
        span = (("start", _text_of(window.start)), ("end", _text_of(window.end)))
        params = (("query", query), *span, ("step", repr(window.step_seconds)))
        data, warnings = self._data("/api/v1/query_range", params)
        with self._shaped():
            frame = frames.range_frame(data, window, grid, by=by)
        if frame.columns.has_duplicates:
            raise NonsenseError(
                f"returned several series with the same {by or 'labels'}",
                system="prometheus",
                target=self._target,
                hint=f"sum the query by({by})" if by else "check its remote storage",
            )
        frame.attrs["warnings"] = warnings
        return frame

    def rules(self) -> tuple[Rule, ...]:
        """All alerting rules, in the server's order."""
        data, _ = self._data("/api/v1/rules", (("type", "alert"),))
        with self._shaped():
            return frames.alerting_rules(data)

    def rule(self, name: str) -> Rule:
        """The alerting rule with this name; of several, a firing one before a pending one.

        Raises NoDataError, which suggests the nearest name.
        """
        rules = self.rules()
        order = {"firing": 0, "pending": 1}
        same_name = [rule for rule in rules if rule.name == name]
        if same_name:
            return min(same_name, key=lambda rule: order.get(rule.state, 2))
        near = difflib.get_close_matches(name, [rule.name for rule in rules], n=1, cutoff=0.5)
        raise NoDataError(
            f"has no alerting rule {name!r}",
            system="prometheus",
            target=self._target,
            hint=f"did you mean {near[0]!r}?" if near else "check its rule files",
        )

    def counts(self, selectors: Sequence[str], at: datetime) -> list[float | None]:
        """The number of series of each selector at a time; NaN if the answer is not a number.

        None in the replay of an older recording that does not contain this request.
        """
        return side_by_side([partial(self._count, f"count({selector})", at) for selector in selectors])

    def target_labels(self, names: Iterable[str], at: datetime) -> list[str]:
        """The targets with samples in the last hour, each as `up{job="a"}` with the labels of these names."""
        known = sorted({"job", *names})
        frame = self.instant(sum_of("present_over_time(up[1h])", by=tuple(known)), at)
        rows = frame[[name for name in known if name in frame]].to_dict("records")
        return sorted(
            selector("up", {name: value for name in known if (value := row.get(name))}) for row in rows
        )

    def _count(self, query: str, at: datetime) -> float | None:
        try:
            frame = self.instant(query, at)
        except NotRecordedError:
            return None
        return float(frame["value"].iloc[0]) if len(frame) else 0.0

    def targets(self) -> pd.DataFrame:
        """One row for each active target.

        Columns: job, instance, health (up, down or unknown), scrape_url, last_scrape_at (aware UTC),
        last_scrape_seconds, last_error ("" without an error).
        """
        data, _ = self._data("/api/v1/targets", (("state", "active"),))
        with self._shaped():
            return frames.targets_frame(data)

    def metric_names(self) -> tuple[str, ...]:
        """The names of all metrics, sorted."""
        data, _ = self._data("/api/v1/label/__name__/values", ())
        with self._shaped():
            return frames.sorted_names(data)

    def get_current_metric_value(
        self, metric_name: str, label_config: Any = None, params: Any = None
    ) -> list[dict[str, Any]]:
        """The library's method, with escaped labels."""
        query = selector(metric_name, label_config) if label_config else metric_name
        samples: list[dict[str, Any]] = super().get_current_metric_value(query, params=params)
        return samples

    def get_metric_range_data(
        self, metric_name: str, label_config: Any = None, *args: Any, **kwargs: Any
    ) -> list[dict[str, Any]]:
        """The library's method, with escaped labels.

        Pass start_time and end_time: the library computes its defaults once, at import.
        """
        query = selector(metric_name, label_config) if label_config else metric_name
        series: list[dict[str, Any]] = super().get_metric_range_data(query, {}, *args, **kwargs)
        return series

    def _data(self, path: str, params: Sequence[tuple[str, str]]) -> tuple[Any, list[str]]:
        answer = self._taped.answered("GET", path, params)
        status, content = answer["status"], answer.get("json")
        about = {"system": "prometheus", "target": self._target}
        if isinstance(content, dict) and content.get("status") == "error":
            reason = ": ".join(str(content[key]) for key in ("errorType", "error") if content.get(key))
            raise RefusedError(reason or "returned an error without a reason", **about, code=str(status))
        if status != 200:
            text = (str(answer.get("text") or content or "").strip().splitlines() or [""])[0][:300]
            raise RefusedError(
                f"returned status {status}{': ' if text else ''}{text}", **about, code=str(status)
            )
        if not isinstance(content, dict) or content.get("status") != "success" or "data" not in content:
            raise self._nonsense(KeyError("status or data"))
        with self._shaped():
            notes = frames.notes_of(content)
        for warning in content.get("warnings") or ():
            self._remark(str(warning))
        return content["data"], notes

    @contextmanager
    def _shaped(self) -> Iterator[None]:
        """Turn a parser's error inside the block into a NonsenseError of this server."""
        try:
            yield
        except frames.SHAPE_ERRORS as error:
            raise self._nonsense(error) from None

    def _refuse_other_times(self, times: Sequence[float], at: datetime) -> None:
        off = max((moment - at.timestamp() for moment in times), key=abs, default=0.0)
        if not abs(off) <= 1.0:
            raise StaleError(
                f"returned samples {abs(off):.0f} s {'after' if off > 0 else 'before'} the requested time",
                system="prometheus",
                target=self._target,
                hint="check its clock and its remote storage",
            )

    def _nonsense(self, error: Exception) -> NonsenseError:
        message = f"the answer is not in the format of Prometheus: {str(error)[:200] or type(error).__name__}"
        return NonsenseError(message, system="prometheus", target=self._target)


def _text_of(moment: datetime) -> str:
    if moment.tzinfo is None:
        raise ParameterError(f"{moment} has no time zone", hint="pass an aware datetime")
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
