"""Silencing on the spot, with a reason: `# runbook-lint: ignore RULE because REASON`.

In YAML it speaks for its own line and the next one; in a notebook for its cell. A silence that has no
reason, or that silences nothing, is itself a finding: else it would hide what comes later.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from runbooklib.lint.rule import Message, Needs, Rule, Severity
from runbooklib.lint.workspace import Material, Notebook

UNREASONED = Rule(
    "silence-without-reason",
    Severity.ERROR,
    "A silence says why.",
    "Whoever reads it next year decides by the reason whether it still holds.",
    bad="# runbook-lint: ignore ratio-without-floor",
    good="# runbook-lint: ignore ratio-without-floor because traffic never falls below 100/s",
)
USELESS = Rule(
    "silence-of-nothing",
    Severity.ERROR,
    "A silence silences something.",
    "One that has nothing to silence any more hides the next finding.",
    bad="# runbook-lint: ignore untidyy because …",
    good="take it away",
)
RULES = (UNREASONED, USELESS)
_SILENCE = re.compile(
    r"runbook-lint: ignore ([\w-]+)(?: because ([^\n]*?\w[^\n]*?))?\s*(?:-->.*|\\n\",?|\",?)?$"
)


@dataclass(frozen=True)
class _Silence:
    name: str
    reason: str
    file: str
    line: int
    first: int
    last: int

    def covers(self, message: Message) -> bool:
        return (
            message.name == self.name
            and message.file == self.file
            and self.first <= message.line <= self.last
        )


def sift(material: Material, messages: Iterable[Message], needs: Mapping[str, Needs]) -> Iterator[Message]:
    """The messages that nobody silenced, and what is wrong with the silences.

    `needs` is what each rule needs to be judged: a silence of one that was not judged is not called useless.
    """
    silences, used = list(_silences(material)), set[_Silence]()
    for message in messages:
        covering = [silence for silence in silences if silence.covers(message)]
        used |= set(covering)
        if not covering:
            yield message
    for silence in silences:
        needed = needs.get(silence.name)
        if needed is not None and not material.is_judged(needed):
            continue
        if silence not in used:
            yield USELESS.at(silence.file, silence.line, f"there is no {silence.name} here to be silenced")
        elif not silence.reason:
            yield UNREASONED.at(silence.file, silence.line, f"why is {silence.name} ignored? Add `because …`")


def _silences(material: Material) -> Iterator[_Silence]:
    spans = {notebook.file: list(_spans(notebook)) for notebook in material.notebooks}
    for file, text in material.texts.items():
        for number, line in enumerate(text.split("\n"), 1):
            found = _SILENCE.search(line)
            if found is None:
                continue
            cells = [span for span in spans.get(file, ()) if span[0] <= number <= span[1]]
            first, last = cells[0] if cells else (number, number + 1)
            yield _Silence(found[1], found[2] or "", file, number, first, last)


def _spans(notebook: Notebook) -> Iterator[tuple[int, int]]:
    """The first and the last line of each cell's source in the notebook's file."""
    for cell in notebook.cells:
        yield notebook.line(cell), notebook.line(cell, cell.source.count("\n") + 1)
