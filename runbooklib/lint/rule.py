"""A rule, and a message: one place where it is broken."""

from dataclasses import dataclass, field
from enum import StrEnum


class Severity(StrEnum):
    """An error makes `runbook lint` fail; a warning is shown."""

    ERROR = "error"
    WARNING = "warning"


class Needs(StrEnum):
    """What must be given before a rule can be judged at all."""

    HOME = "nothing but the runbooks' folder"
    RULES = "--rules"
    ROUTING = "--rules and --alertmanager"
    LIVE = "--live"


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: what holds where it is kept, why, and an example of either side.

    These texts are the documentation: `--explain` and docs/lint.md are made of them.
    """

    name: str
    severity: Severity
    holds: str
    why: str
    bad: str
    good: str
    needs: Needs = Needs.HOME

    def at(self, file: str, line: int, text: str) -> "Message":
        """The message that this rule is broken there."""
        return Message(file, line, self.name, text, self)


@dataclass(frozen=True, slots=True, order=True)
class Message:
    """What is wrong, and where: `file` is as it is shown, `line` counts from 1."""

    file: str
    line: int
    name: str
    text: str
    rule: Rule = field(compare=False, repr=False)

    def __str__(self) -> str:
        """A line as a compiler writes it."""
        return f"{self.file}:{self.line}: {self.name}: {self.text}"
