"""Checks the text of a notebook: the sections of the template, complete, in order, without placeholders."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from runbooklib.lint.rule import Message, Rule, Severity
from runbooklib.lint.workspace import Cell, Material, Notebook

SECTIONS = (
    "Basics",
    "The alert",
    "Initial diagnosis",
    "Causes",
    "Escalation",
    "Recovery",
    "After the incident",
    "Resources",
    "Past incidents",
    "Upkeep",
)
MISSING = Rule(
    "section-missing",
    Severity.ERROR,
    "A runbook has all sections of the template.",
    "All runbooks have the same structure, so a reader knows where to look: " + ", ".join(SECTIONS) + ".",
    bad="a notebook without `## Escalation`",
    good="## Escalation",
)
ORDER = Rule(
    "section-out-of-order",
    Severity.ERROR,
    "The sections are in the order of the template.",
    "The order is that of an incident: confirm the problem, look for the cause, then act.",
    bad="## Causes … ## Initial diagnosis",
    good="## Initial diagnosis … ## Causes",
)
EMPTY = Rule(
    "section-empty",
    Severity.ERROR,
    "Each section has text or code.",
    "A section with only a heading does not help the reader.",
    bad="## Escalation\n## Recovery",
    good="## Escalation\nincident.escalation()",
)
ALERT = Rule(
    "alert-unexplained",
    Severity.ERROR,
    "The section on the alert explains what triggers it and why it matters.",
    "The on-call engineer may not know this alert, and decides with these two sentences.",
    bad="## The alert\n\nThe disk is full.",
    good="## The alert\n\n**What triggers it.** …\n\n**Why it matters.** …",
)
PLACEHOLDER = Rule(
    "placeholder",
    Severity.ERROR,
    "A runbook contains no placeholder.",
    "During an incident, the reader cannot fill in a TODO.",
    bad="**Why it matters.** TODO",
    good="**Why it matters.** Users cannot log in.",
)
RULES = (MISSING, ORDER, EMPTY, ALERT, PLACEHOLDER)
_HEADING = re.compile(r"^## +(.+?) *$")
_ANY_HEADING = re.compile(r"^#{1,6} ")
_QUOTED = re.compile(r"`[^`]*`|<!--.*?-->")
_LEFT = re.compile(
    r"\b(?:TODO|FIXME|XXX|TBD)\b|\[告警名称\]"
    r"|(?i:\[alert name\]|<(?:your|insert|fill|describe)\b[^>]*>|\bname@|\bxxx-xxxx\b|\blorem ipsum\b)"
)
_FENCE = re.compile(r"^(?:```|~~~)")


@dataclass(frozen=True)
class _Section:
    title: str
    line: int
    text: str
    has_code: bool


def check(material: Material) -> Iterator[Message]:
    """The messages about missing, empty and unordered sections, and about placeholders."""
    for notebook in material.notebooks:
        sections = list(_sections(notebook))
        yield from _check_sections(notebook, sections)
        for cell in notebook.cells:
            if cell.kind == "markdown":
                yield from _placeholders(notebook, cell)


def _sections(notebook: Notebook) -> Iterator[_Section]:
    """The second-level headings, each with its text up to the next heading."""
    title, at, lines, has_code = "", 1, list[str](), False
    for cell in notebook.cells:
        if cell.kind != "markdown":
            has_code = has_code or bool(cell.source.strip())
            continue
        for number, line in enumerate(cell.source.split("\n"), 1):
            heading = _HEADING.match(line)
            if heading is None:
                lines.append(line)
                continue
            if title:
                yield _Section(title, at, "\n".join(lines), has_code)
            title, at, lines, has_code = heading[1], notebook.line(cell, number), [], False
    if title:
        yield _Section(title, at, "\n".join(lines), has_code)


def _check_sections(notebook: Notebook, sections: list[_Section]) -> Iterator[Message]:
    titles = [section.title for section in sections]
    for title in SECTIONS:
        if title not in titles:
            yield MISSING.at(notebook.file, 1, f"the section `## {title}` is missing")
    known = [section for section in sections if section.title in SECTIONS]
    places = [SECTIONS.index(section.title) for section in known]
    late = next((n for n in range(1, len(places)) if places[n] < max(places[:n])), None)
    if late is not None:
        before = known[places.index(max(places[:late]))].title
        yield ORDER.at(notebook.file, known[late].line, f"`## {known[late].title}` is after `## {before}`")
    for section in known:
        texts = [line for line in section.text.splitlines() if line.strip() and not _ANY_HEADING.match(line)]
        if not texts and not section.has_code:
            yield EMPTY.at(notebook.file, section.line, f"`## {section.title}` is empty")
        elif section.title == "The alert":
            yield from _check_explanation(notebook, section)


def _check_explanation(notebook: Notebook, section: _Section) -> Iterator[Message]:
    needed = ("What triggers it", "Why it matters")
    missing = [words for words in needed if words.lower() not in section.text.lower()]
    if missing:
        text = f"`## The alert` does not contain: {', '.join(missing)}"
        yield ALERT.at(notebook.file, section.line, text)


def _placeholders(notebook: Notebook, cell: Cell) -> Iterator[Message]:
    is_fenced = False
    for number, line in enumerate(cell.source.split("\n"), 1):
        is_fenced ^= bool(_FENCE.match(line))
        match = None if is_fenced else _LEFT.search(_QUOTED.sub("", line))
        if match:
            text = f"the placeholder {match[0]!r} is not filled in (cell {cell.id})"
            yield PLACEHOLDER.at(notebook.file, notebook.line(cell, number), text)
