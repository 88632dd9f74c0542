"""An engineer's own questions: SQL, PromQL and log lines as frames. Recorded like a check's."""

import json
import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pandas as pd

from runbooklib.errors import ParameterError
from runbooklib.model.event import Event
from runbooklib.model.window import moment_of, seconds_of
from runbooklib.scene import Scene
from runbooklib.tape import Entry

NOTE = "note"
_LONGEST = 200
_OURS = frozenset({"opening", "actions"})


def sql(scene: Scene, query: str, params: Sequence[Any]) -> pd.DataFrame:
    """The rows of one read-only query."""
    return scene.sources.postgres.sql(query, params)


def promql(scene: Scene, query: str, *, instant: bool) -> pd.DataFrame:
    """The series of a query on the window, or their values at its end."""
    ask = scene.sources.prometheus
    return ask.instant(query, scene.window.end) if instant else ask.range(query, scene.window)


def logs(scene: Scene, *, since: str, until: str, matching: str, container: str) -> pd.DataFrame:
    """The log's entries of that time that match. `attrs` say what of it was not read."""
    end = _moment(until, scene.window.end) if until else scene.window.end
    start = _moment(since, scene.window.end) if since else scene.window.start
    if start >= end:
        raise ParameterError(f"since {start:%H:%M:%S} is not before until {end:%H:%M:%S}", remedy="swap them")
    try:
        pattern = re.compile(matching)
    except re.error as error:
        raise ParameterError(f"matching {matching!r} is no pattern: {error}", remedy="see re") from None
    told = scene.sources.docker.logs(container or scene.container, start, end)
    texts = zip(told.frame["text"], told.frame["line"], strict=True)
    frame = told.frame.loc[[bool(pattern.search(text) or pattern.search(line)) for text, line in texts]]
    first = ["at", "level", "line", "exception", "path", "status_code"]
    frame = frame[[*first, *(name for name in frame.columns if name not in first)]].reset_index(drop=True)
    frame.attrs |= {"quiet_lines": told.quiet_lines, "is_cut": told.is_cut or told.ends_early_at is not None}
    frame.attrs["reads_since"] = told.reads_since.isoformat()
    return frame


def _moment(text: str, end: datetime) -> datetime:
    """A time, or how long before `end`."""
    if re.fullmatch(r"(?:\d+[smhdw])+", text):
        return end - timedelta(seconds=seconds_of(text))
    return moment_of(text)


def told(entry: Entry) -> Event | None:
    """A question of somebody's own as an event; None for what nobody asked of a system."""
    if entry.source in _OURS:
        return None
    if entry.source == NOTE:
        answer = entry.answer or {}
        return Event(entry.asked_at, f"{answer.get('who')}: {answer.get('text')}", NOTE)
    error = f": no answer, {entry.error['message']}" if entry.error else ""
    return Event(entry.asked_at, f"asked {_words(entry.request)[:_LONGEST]}{error}", entry.source)


def _words(request: dict[str, Any]) -> str:
    """What was asked, as somebody would say it."""
    params = dict(request.get("params") or ()) if request.get("path") else {}
    query = params.get("query") or request.get("query")
    if query:
        return " ".join(str(query).split())
    named = [request[key] for key in ("question", "name", "path") if request.get(key)]
    return " of ".join(map(str, named)) or json.dumps(request, ensure_ascii=False)
