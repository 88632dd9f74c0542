"""A person's own questions (SQL, PromQL, log lines, as frames) and notes, recorded as a check's are."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

import pandas as pd

from runbooklib.errors import ParameterError
from runbooklib.evidence import manifest
from runbooklib.model.event import Event, Statement
from runbooklib.model.findings import Fact
from runbooklib.model.window import moment_of, seconds_of
from runbooklib.sources.context import Context
from runbooklib.sources.tape import NOTE, Entry, Tape

_MAX_QUERY_LENGTH = 200
_NOT_QUESTIONS = frozenset({"opening", "actions"})


def sql(context: Context, query: str, params: Sequence[Any]) -> pd.DataFrame:
    """The rows of one read-only query."""
    return context.sources.postgres.sql(query, params)


def promql(context: Context, query: str, *, instant: bool) -> pd.DataFrame:
    """The series of a query on the window, or their values at its end."""
    ask = context.sources.prometheus
    return ask.instant(query, context.window.end) if instant else ask.range(query, context.window)


def logs(context: Context, *, since: str, until: str, matching: str, container: str) -> pd.DataFrame:
    """The log entries in that time that match. `attrs` say what was not read."""
    end = _moment(until, context.window.end) if until else context.window.end
    start = _moment(since, context.window.end) if since else context.window.start
    if start >= end:
        raise ParameterError(
            f"since ({start:%H:%M:%S}) is not before until ({end:%H:%M:%S}).", hint="Swap since and until."
        )
    try:
        pattern = re.compile(matching)
    except re.error as error:
        raise ParameterError(
            f"matching {matching!r} is not a regular expression: {error}",
            hint="Write it as for Python's re module.",
        ) from None
    log = context.sources.docker.logs(container or context.container, start, end)
    texts = zip(log.frame["text"], log.frame["line"], strict=True)
    frame = log.frame.loc[[bool(pattern.search(text) or pattern.search(line)) for text, line in texts]]
    first = ["at", "level", "line", "exception", "path", "status_code"]
    frame = frame[[*first, *(name for name in frame.columns if name not in first)]].reset_index(drop=True)
    frame.attrs |= {
        "quiet_lines": log.quiet_lines,
        "is_cut": log.is_cut or log.ends_early_at is not None or log.cut_at is not None,
    }
    frame.attrs["reads_since"] = log.reads_since.isoformat()
    return frame


def _moment(text: str, end: datetime) -> datetime:
    """A time, or a duration before `end`."""
    if re.fullmatch(r"(?:\d+[smhdw])+", text):
        return end - timedelta(seconds=seconds_of(text))
    return moment_of(text)


def event_of(entry: Entry) -> Event | None:
    """A person's question or note as an event; None for an entry that is not a question to a system."""
    if entry.source in _NOT_QUESTIONS:
        return None
    if entry.source == NOTE:
        answer = entry.answer or {}
        note = Statement("{who}: {text}", {"who": answer.get("who"), "text": answer.get("text")})
        return Event(entry.asked_at, note, NOTE)
    facts: dict[str, Fact] = {"query": _query_text(entry.request)[:_MAX_QUERY_LENGTH]}
    if not entry.error:
        return Event(entry.asked_at, Statement("asked {query}", facts), entry.source)
    failed = Statement("asked {query}: no answer, {error}", {**facts, "error": entry.error["message"]})
    return Event(entry.asked_at, failed, entry.source)


def _query_text(request: dict[str, Any]) -> str:
    """The query, or the question and its subject, in a line."""
    params = dict(request.get("params") or ()) if request.get("path") else {}
    query = params.get("query") or request.get("query")
    if query:
        return " ".join(str(query).split())
    named = [request[key] for key in ("question", "name", "path") if request.get(key)]
    return " of ".join(map(str, named)) or json.dumps(request, ensure_ascii=False)


class Notes:
    """A person's own questions and notes, each once, also those of the interrupted run that is resumed."""

    def __init__(self, tape: Tape, saved: Iterable[Entry] = ()) -> None:
        self._tape = tape
        self._entries = {entry.key: entry for entry in saved}
        self._replayed: Counter[str] = Counter()

    def collect(self) -> list[Entry]:
        """Take what was asked since the last step: a person asked it. Returns the new entries."""
        used = self._tape.take_used()
        self._entries |= {entry.key: entry for entry in used}
        return used

    def events(self) -> list[Event]:
        """One event for each question and note."""
        return [event for event in map(event_of, self._entries.values()) if event]

    def personal_indexes(self, entries: Sequence[Entry]) -> list[int]:
        """The indexes of those entries that a person asked or noted."""
        return [index for index, entry in enumerate(entries) if entry.key in self._entries]

    def add(self, text: str, cell: str) -> list[Event]:
        """Record a note with the user's name and the time, and return its event. Raises ParameterError.

        The same words in the same cell are one note; where the cell is not known, each time is a new note.
        """
        if not isinstance(text, str) or not text.strip():
            raise ParameterError("The note is empty.", hint='Write for example incident.note("what you saw")')
        words = text.strip()
        request = self._recorded_request(words, cell) if self._tape.is_replay else self._request(words, cell)
        self.collect()
        self._tape.ask(NOTE, request, lambda: {"who": manifest.user(), "text": words})
        return [event for event in map(event_of, self.collect()) if event]

    def _request(self, words: str, cell: str) -> dict[str, Any]:
        if cell:
            return {"text": words, "cell": cell}
        before = [request for request in self._same_query_text(words) if "cell" not in request]
        return {"text": words, "number": len(before) + 1} if before else {"text": words}

    def _recorded_request(self, words: str, cell: str) -> dict[str, Any]:
        """The request of the recorded note: that of this cell, else the next with these words.

        A headless run does not know its cell ids, so there the order decides.
        """
        same = self._same_query_text(words)
        of_cell = [request for request in same if cell and request.get("cell") == cell]
        index, self._replayed[words] = self._replayed[words], self._replayed[words] + 1
        return (of_cell or same[index : index + 1] or same[-1:] or [{"text": words}])[0]

    def _same_query_text(self, words: str) -> list[dict[str, Any]]:
        redacted = self._tape.redactor.json({"text": words})["text"]
        return [e.request for e in self._tape.known(NOTE) if e.request.get("text") == redacted]
