"""A rule, and a message: one place that violates the rule."""

from dataclasses import dataclass, field
from enum import StrEnum


class Severity(StrEnum):
    """An error makes `runbook lint` fail; a warning is shown."""

    ERROR = "error"
    WARNING = "warning"


class Needs(StrEnum):
    """The input that a rule requires."""

    HOME = "nothing but the runbooks' folder"
    RULES = "--rules"
    ROUTING = "--rules and --alertmanager"
    LIVE = "--live"


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: its statement, the reason, a bad and a good example.

    `--explain` and docs/lint.md show these texts.
    """

    name: str
    severity: Severity
    statement: str
    why: str
    bad: str
    good: str
    needs: Needs = Needs.HOME

    def at(self, file: str, line: int, text: str) -> "Message":
        """The message that this line of the file violates the rule."""
        return Message(file, line, self.name, text, self)


@dataclass(frozen=True, slots=True, order=True)
class Message:
    """One fault and its place: `file` is the displayed path, `line` counts from 1."""

    file: str
    line: int
    name: str
    text: str
    rule: Rule = field(compare=False, repr=False)

    def __str__(self) -> str:
        """The message in the form of a compiler's message."""
        return f"{self.file}:{self.line}: {self.name}: {self.text}"
