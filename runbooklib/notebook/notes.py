"""An engineer's own questions: SQL, PromQL and log lines as frames. Recorded like a check's.

What people asked and noted between the steps of an incident, also before its kernel was restarted.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

import pandas as pd

from runbooklib.errors import ParameterError
from runbooklib.evidence import manifest
from runbooklib.model.event import Event
from runbooklib.model.window import moment_of, seconds_of
from runbooklib.sources.context import Context
from runbooklib.sources.tape import NOTE, Entry, Tape

_LONGEST = 200
_OURS = frozenset({"opening", "actions"})


def sql(context: Context, query: str, params: Sequence[Any]) -> pd.DataFrame:
    """The rows of one read-only query."""
    return context.sources.postgres.sql(query, params)


def promql(context: Context, query: str, *, instant: bool) -> pd.DataFrame:
    """The series of a query on the window, or their values at its end."""
    ask = context.sources.prometheus
    return ask.instant(query, context.window.end) if instant else ask.range(query, context.window)


def logs(context: Context, *, since: str, until: str, matching: str, container: str) -> pd.DataFrame:
    """The log's entries of that time that match. `attrs` say what of it was not read."""
    end = _moment(until, context.window.end) if until else context.window.end
    start = _moment(since, context.window.end) if since else context.window.start
    if start >= end:
        raise ParameterError(f"since {start:%H:%M:%S} is not before until {end:%H:%M:%S}", hint="swap them")
    try:
        pattern = re.compile(matching)
    except re.error as error:
        raise ParameterError(f"matching {matching!r} is no pattern: {error}", hint="see re") from None
    told = context.sources.docker.logs(container or context.container, start, end)
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


class Diary:
    """Each own question and note once; `former` are those of a run that this one goes on with."""

    def __init__(self, tape: Tape, former: Iterable[Entry] = ()) -> None:
        self._tape = tape
        self._entries = {entry.key: entry for entry in former}
        self._played: Counter[str] = Counter()

    def notice(self) -> list[Entry]:
        """What was asked since the last step is somebody's own question; those that were noticed now."""
        used = self._tape.take_used()
        self._entries |= {entry.key: entry for entry in used}
        return used

    def events(self) -> list[Event]:
        """What was asked and noted."""
        return [event for event in map(told, self._entries.values()) if event]

    def own_among(self, entries: Sequence[Entry]) -> list[int]:
        """The places of those that somebody asked or noted."""
        return [place for place, entry in enumerate(entries) if entry.key in self._entries]

    def note(self, text: str, cell: str) -> list[Event]:
        """Record what somebody noted, with who and when, and tell it. Raises ParameterError.

        The same words in the same cell are one note; where no cell is known, each time is another.
        """
        if not isinstance(text, str) or not text.strip():
            raise ParameterError("a note needs words", hint='write it like incident.note("what you saw")')
        words = text.strip()
        asked = self._replayed(words, cell) if self._tape.is_replay else self._asked(words, cell)
        self.notice()
        self._tape.ask(NOTE, asked, lambda: {"who": manifest.user(), "text": words})
        return [event for event in map(told, self.notice()) if event]

    def _asked(self, words: str, cell: str) -> dict[str, Any]:
        if cell:
            return {"text": words, "cell": cell}
        before = [one for one in self._same(words) if "cell" not in one]
        return {"text": words, "number": len(before) + 1} if before else {"text": words}

    def _replayed(self, words: str, cell: str) -> dict[str, Any]:
        """The note that this was: that of the cell; else the next of these words: no run knows cells."""
        same = self._same(words)
        of_cell = [one for one in same if cell and one.get("cell") == cell]
        place, self._played[words] = self._played[words], self._played[words] + 1
        return (of_cell or same[place : place + 1] or same[-1:] or [{"text": words}])[0]

    def _same(self, words: str) -> list[dict[str, Any]]:
        redacted = self._tape.redactor.json({"text": words})["text"]
        return [one.request for one in self._tape.known(NOTE) if one.request.get("text") == redacted]
