"""Prometheus, on prometheus-api-client: its own methods for an engineer's questions, ours for the checks.

Whatever either of them asks passes through the tape. The library's traps are gone round here: no
retries that swallow the server's own words, whole deadlines, exact aware UTC times, empty answers as
empty frames, every series kept, labels escaped, warnings kept, long queries in the body.
"""

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import numpy as np
import pandas as pd
import requests
from prometheus_api_client.prometheus_connect import PrometheusConnect

from runbooklib.errors import NoDataError, NonsenseError, ParameterError, RefusedError, StaleError
from runbooklib.http import Response, fetch, target_of
from runbooklib.promql import quoted, selector
from runbooklib.tape import DEADLINE_SECONDS, Tape
from runbooklib.window import Window

# Prometheus refuses a range query of more points a series.
MOST_POINTS = 11_000
LONGEST_IN_URL = 1_500

_MOST_TEXT = 2_000
_POSTED = frozenset(f"/api/v1/{name}" for name in ("query", "query_range", "series", "labels"))
_TIMED = frozenset({"/api/v1/query", "/api/v1/query_range"})
_INFINITE = frozenset({"+Inf", "-Inf"})
# Times are milliseconds there; an answer may be that far off what was asked.
_TOLERANCE_SECONDS = 0.002
_SHAPE_ERRORS = (KeyError, TypeError, ValueError, IndexError, OverflowError, AttributeError)


@dataclass(frozen=True, slots=True)
class Rule:
    """One alerting rule. `state` is inactive, pending or firing; `active_at` (aware UTC) since when."""

    name: str
    query: str
    for_seconds: float
    state: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    active_at: datetime | None
    last_error: str
    group: str

    @classmethod
    def from_prometheus(cls, told: Mapping[str, Any], group: str) -> "Rule":
        """A Rule of one element of a group's `rules` in `/api/v1/rules`."""
        since = [moment for alert in told.get("alerts") or () if (moment := _moment(alert.get("activeAt")))]
        return cls(
            name=str(told["name"]),
            query=str(told["query"]),
            for_seconds=float(told.get("duration", 0)),
            state=str(told.get("state", "")),
            labels=_labels(told.get("labels") or {}),
            annotations=_labels(told.get("annotations") or {}),
            active_at=min(since, default=None),
            last_error=str(told.get("lastError", "")),
            group=group,
        )


class Prometheus(PrometheusConnect):
    """One Prometheus. Answers are frames and frozen records; times are aware UTC.

    Every method raises UnreachableError, DeadlineError, RefusedError (with the server's own words) or
    NonsenseError. An engineer's own questions (`custom_query` and the library's other methods) are
    recorded, bounded and replayed too; they answer as the library does.
    """

    def __init__(
        self, url: str, tape: Tape, *, token: str = "", deadline_seconds: float = DEADLINE_SECONDS
    ) -> None:
        self._door = _TapedSession(url.rstrip("/"), tape, token, deadline_seconds)
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
        kind, result = self._result(data, ("vector", "scalar"))
        try:
            series = [{"metric": {}, "value": result}] if kind == "scalar" else list(result)
            labels = [_labels(one["metric"]) for one in series]
            values = _floats([one["value"] for one in series])
            times = [float(one["value"][0]) for one in series]
        except _SHAPE_ERRORS as error:
            raise self._nonsense(error) from None
        self._refuse_other_times(times, at)
        frame = _rows(labels, values)
        frame.attrs["warnings"] = warnings
        return frame

    def range(self, query: str, window: Window, *, by: str = "") -> pd.DataFrame:
        """One float64 column a series, on every step of the window (aware UTC index); a gap is NaN.

        A column is called by its labels, like `endpoint="/x",method="GET"` ("value" without any), or by the
        value of the label `by`. What the server warned of is in `attrs["warnings"]`. Raises ParameterError
        for more than 11,000 points, NonsenseError for two series of one name.
        """
        grid = _grid(window)
        span = (("start", _text_of(window.start)), ("end", _text_of(window.end)))
        params = (("query", query), *span, ("step", repr(window.step_seconds)))
        data, warnings = self._data("/api/v1/query_range", params)
        _, result = self._result(data, ("matrix",))
        try:
            names = [_name_of(_labels(one["metric"]), by) for one in result]
            matrix = np.full((len(grid), len(names)), np.nan)
            for number, one in enumerate(result):
                matrix[_positions(one["values"], window, len(grid)), number] = _floats(one["values"])
        except _SHAPE_ERRORS as error:
            raise self._nonsense(error) from None
        if len(set(names)) < len(names):
            raise NonsenseError(
                f"has several series with the same {by or 'labels'}",
                system="prometheus",
                target=self._target,
                remedy=f"sum the query by({by})" if by else "see its remote storage",
            )
        frame = pd.DataFrame(matrix, index=grid, columns=pd.Index(names, dtype=object))
        frame.attrs["warnings"] = warnings
        return frame

    def rules(self) -> tuple[Rule, ...]:
        """All alerting rules, in the server's order."""
        data, _ = self._data("/api/v1/rules", (("type", "alert"),))
        try:
            return tuple(
                Rule.from_prometheus(rule, str(group["name"]))
                for group in data["groups"]
                for rule in group["rules"]
                if rule.get("type") == "alerting"
            )
        except _SHAPE_ERRORS as error:
            raise self._nonsense(error) from None

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

    def targets(self) -> pd.DataFrame:
        """One row an active target.

        Columns: job, instance, health (up, down or unknown), scrape_url, last_scrape_at (aware UTC),
        last_scrape_seconds, last_error ("" where there was none).
        """
        data, _ = self._data("/api/v1/targets", (("state", "active"),))
        try:
            rows = [_target_row(told) for told in data["activeTargets"]]
        except _SHAPE_ERRORS as error:
            raise self._nonsense(error) from None
        frame = pd.DataFrame(rows, columns=list(_TARGET_COLUMNS))
        return frame.astype(_TARGET_COLUMNS)

    def metric_names(self) -> tuple[str, ...]:
        """The names of all metrics that it knows, sorted."""
        data, _ = self._data("/api/v1/label/__name__/values", ())
        if not isinstance(data, list):
            raise self._nonsense(TypeError("no list of names"))
        return tuple(sorted(str(name) for name in data))

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
        notes = [note for key in ("warnings", "infos") for note in told.get(key) or ()]
        return told["data"], [str(note) for note in notes]

    def _result(self, data: Any, kinds: tuple[str, ...]) -> tuple[str, Any]:
        kind = data.get("resultType") if isinstance(data, dict) else type(data).__name__
        if kind not in kinds or not isinstance(data.get("result"), list):
            raise self._nonsense(TypeError(f"a {kind} where a {kinds[0]} was asked for"))
        return str(kind), data["result"]

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


class _TapedSession(requests.Session):
    """What the library takes for its connection: each of its requests becomes a question to the tape.

    Whatever adapter the library mounts, with its retries, is never reached.
    """

    def __init__(self, base: str, tape: Tape, token: str, deadline_seconds: float) -> None:
        super().__init__()
        self.trust_env = False
        self.target = target_of(base)
        self._base = base
        self._tape = tape
        self._token_headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._deadline_seconds = deadline_seconds
        tape.redactor.know(token)

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """The recorded answer to a request of the library, as the library wants it."""
        url = str(request.url)
        if not f"{target_of(url)}/".startswith(f"{self.target}/"):
            raise ParameterError(f"{target_of(url)} is not the Prometheus of this incident")
        path = urlsplit(url).path.removeprefix(urlsplit(self._base).path.rstrip("/"))
        body = request.body if isinstance(request.body, str) else ""
        params = parse_qsl(urlsplit(url).query, keep_blank_values=True) + parse_qsl(body)
        timeout = kwargs.get("timeout")
        answer = self.answered(
            str(request.method), path, params, timeout if isinstance(timeout, int | float) else None
        )
        response = requests.Response()
        response.status_code = answer["status"]
        response.headers["Content-Type"] = answer["content_type"]
        response.encoding, response.url, response.request = "utf-8", f"{self.target}{path}", request
        text = json.dumps(answer["json"]) if "json" in answer else answer["text"]
        response._content = text.encode()
        return response

    def answered(
        self, method: str, path: str, params: Sequence[tuple[str, str]], timeout_seconds: float | None = None
    ) -> dict[str, Any]:
        """Status, content_type and json (or text) of one request, from the tape."""
        if method != "GET" and path not in _POSTED:
            raise ParameterError(f"{method} {path} could change something; here is only looked")
        deadline = min(self._deadline_seconds, timeout_seconds or self._deadline_seconds)
        request = {"method": method, "path": path, "params": [list(pair) for pair in params]}
        answer: dict[str, Any] = self._tape.ask(
            "prometheus",
            request,
            lambda: self._asked(path, params, deadline),
            target=self.target,
            deadline_seconds=deadline,
        )
        return answer

    def _asked(self, path: str, params: Sequence[tuple[str, str]], deadline: float) -> dict[str, Any]:
        sent = list(params)
        if path in _TIMED and "timeout" not in dict(sent):
            sent.append(("timeout", f"{deadline:g}"))
        is_long = path in _POSTED and sum(len(name) + len(value) for name, value in sent) > LONGEST_IN_URL
        response = fetch(
            "POST" if is_long else "GET",
            f"{self._base}{path}",
            system="prometheus",
            target=self.target,
            headers=self._token_headers,
            params=() if is_long else sent,
            form=sent if is_long else (),
            deadline_seconds=deadline,
            is_redirect_refused=path != "/",
        )
        answer = _as_answer(response, self.target)
        if path.startswith("/api/") and response.status == 200 and "json" not in answer:
            told = f"not Prometheus: {response.content_type or 'no content type'}"
            raise NonsenseError(told, system="prometheus", target=self.target, remedy="check the address")
        return answer


def _as_answer(response: Response, target: str) -> dict[str, Any]:
    kept: dict[str, Any] = {"status": response.status, "content_type": response.content_type}
    if response.content_type != "application/json":
        return kept | {"text": response.text[:_MOST_TEXT]}
    told = response.json(system="prometheus", target=target)
    if isinstance(told, dict) and not response.is_utf8:
        told["warnings"] = [*(told.get("warnings") or ()), "not all of the answer is UTF-8; see its escapes"]
    return kept | {"json": told}


def _text_of(moment: datetime) -> str:
    if moment.tzinfo is None:
        raise ParameterError(f"{moment} does not say which time zone", remedy="give an aware time")
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _moment(text: object) -> datetime | None:
    if not isinstance(text, str) or not text or text.startswith("0001-01-01"):
        return None
    return datetime.fromisoformat(text).astimezone(UTC)


def _labels(told: Mapping[str, Any]) -> dict[str, str]:
    return {str(name): str(value) for name, value in told.items()}


def _name_of(labels: Mapping[str, str], by: str) -> str:
    if by:
        return labels.get(by, "")
    return ",".join(f"{name}={quoted(labels[name])}" for name in sorted(labels)) or "value"


def _floats(samples: Sequence[Sequence[Any]]) -> "np.ndarray[Any, np.dtype[np.float64]]":
    """The values of [time, text] pairs. A text of 400 digits is no number of Prometheus."""
    values = np.fromiter((float(text) for _, text in samples), np.float64, count=len(samples))
    if any(samples[int(number)][1] not in _INFINITE for number in np.flatnonzero(np.isinf(values))):
        raise ValueError("a number that no float64 can hold")
    return values


def _positions(
    samples: Sequence[Sequence[Any]], window: Window, points: int
) -> "np.ndarray[Any, np.dtype[np.int64]]":
    """Which steps of the window the samples lie on."""
    times = np.fromiter((moment for moment, _ in samples), np.float64, count=len(samples))
    steps = (np.nan_to_num(times, posinf=-1.0) - window.start.timestamp()) / window.step_seconds
    nearest = np.rint(steps)
    is_on_grid = (nearest >= 0) & (nearest < points)
    is_on_grid &= np.abs(steps - nearest) * window.step_seconds <= _TOLERANCE_SECONDS
    if not is_on_grid.all():
        raise ValueError("samples of times that were not asked about")
    return nearest.astype(np.int64)


def _grid(window: Window) -> pd.DatetimeIndex:
    points = int((window.end - window.start) / timedelta(seconds=window.step_seconds) + 1e-9) + 1
    if points > MOST_POINTS:
        raise ParameterError(
            f"{points:,} points a series are more than the {MOST_POINTS:,} that Prometheus gives",
            system="prometheus",
            remedy=f"take a step of {window.span_seconds / (MOST_POINTS - 1):.0f} s, or look back less",
        )
    step = pd.Timedelta(seconds=window.step_seconds)
    return pd.date_range(window.start.astimezone(UTC), periods=points, freq=step, name="time")


def _rows(labels: Sequence[Mapping[str, str]], values: Any) -> pd.DataFrame:
    names = sorted({name for one in labels for name in one})
    columns = {
        "exported_value" if name == "value" else name: pd.Series(
            [one.get(name, "") for one in labels], dtype="str"
        )
        for name in names
    }
    return pd.DataFrame({**columns, "value": values})


_TARGET_COLUMNS: dict[str, Any] = {
    "job": "str",
    "instance": "str",
    "health": "str",
    "scrape_url": "str",
    "last_scrape_at": "datetime64[us, UTC]",
    "last_scrape_seconds": "float64",
    "last_error": "str",
}


def _target_row(told: Mapping[str, Any]) -> tuple[Any, ...]:
    labels = _labels(told["labels"])
    about = (labels.get("job", ""), labels.get("instance", ""), str(told["health"]), str(told["scrapeUrl"]))
    scraped = (_moment(told["lastScrape"]), float(told["lastScrapeDuration"]), str(told["lastError"]))
    return (*about, *scraped)
