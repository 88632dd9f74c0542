"""Silences a message in its file, with a reason: `# runbook-lint: ignore RULE because REASON`.

In YAML a silence applies to its own line and the next line; in a notebook to its cell. A silence without a
reason, or without a message to silence, is itself a message: it would hide later faults.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from runbooklib.lint.rule import Message, Needs, Rule, Severity
from runbooklib.lint.workspace import Material, Notebook

UNREASONED = Rule(
    "silence-without-reason",
    Severity.ERROR,
    "A silence gives a reason.",
    "A later reader needs the reason to decide whether the silence is still correct.",
    bad="# runbook-lint: ignore ratio-without-floor",
    good="# runbook-lint: ignore ratio-without-floor because traffic never falls below 100/s",
)
USELESS = Rule(
    "silence-of-nothing",
    Severity.ERROR,
    "A silence applies to an existing message.",
    "A silence without a message hides the next fault.",
    bad="# runbook-lint: ignore untidyy because …",
    good="remove the silence",
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


def remove_silenced(
    material: Material, messages: Iterable[Message], needs: Mapping[str, Needs]
) -> Iterator[Message]:
    """The messages without a silence, and the messages about silences.

    `needs` is the input that each rule requires. A silence of a rule without its input is not reported.
    """
    silences, used = list(_silences(material)), set[_Silence]()
    for message in messages:
        covering = [silence for silence in silences if silence.covers(message)]
        used |= set(covering)
        if not covering:
            yield message
    for silence in silences:
        needed = needs.get(silence.name)
        if needed is not None and not material.has_input_for(needed):
            continue
        if silence not in used:
            yield USELESS.at(
                silence.file, silence.line, f"there is no message {silence.name} here: remove the silence"
            )
        elif not silence.reason:
            yield UNREASONED.at(
                silence.file, silence.line, f"the silence of {silence.name} has no reason: add `because …`"
            )


def _silences(material: Material) -> Iterator[_Silence]:
    spans = {notebook.file: list(_spans(notebook)) for notebook in material.notebooks}
    for file, text in material.texts.items():
        for number, line in enumerate(text.split("\n"), 1):
            match = _SILENCE.search(line)
            if match is None:
                continue
            cells = [span for span in spans.get(file, ()) if span[0] <= number <= span[1]]
            first, last = cells[0] if cells else (number, number + 1)
            yield _Silence(match[1], match[2] or "", file, number, first, last)


def _spans(notebook: Notebook) -> Iterator[tuple[int, int]]:
    """The first and the last line of each cell's source in the notebook's file."""
    for cell in notebook.cells:
        yield notebook.line(cell), notebook.line(cell, cell.source.count("\n") + 1)
