"""What people asked and noted between the steps of an incident, also before its kernel was restarted."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from runbooklib.errors import ParameterError
from runbooklib.evidence import manifest
from runbooklib.model.event import Event
from runbooklib.questions import NOTE, told
from runbooklib.tape import Entry, Tape


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
            raise ParameterError("a note needs words", remedy='write it like incident.note("what you saw")')
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
