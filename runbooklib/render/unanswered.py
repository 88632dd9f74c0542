"""Checks without an answer, grouped by their reason: one line a system, and how to get an answer."""

from collections.abc import Sequence
from dataclasses import dataclass

from runbooklib.errors import Reason
from runbooklib.model.findings import Finding
from runbooklib.render.sentences import sentence

# What cannot be reached comes first: it is a sign of the incident itself. Then what the site has to set up.
_ORDER = (
    Reason.UNREACHABLE,
    Reason.TIMED_OUT,
    Reason.REFUSED,
    Reason.NOT_CONFIGURED,
    Reason.NONSENSE,
    Reason.PARTIAL,
    Reason.STALE,
    Reason.NO_DATA,
    Reason.THIN_TRAFFIC,
    Reason.NOT_ASKED,
)


@dataclass(frozen=True, slots=True)
class Unanswered:
    """The questions without an answer for the same reason. `hint` is how to get one, empty if unknown."""

    says: str
    hint: str
    questions: tuple[str, ...]


def by_reason(findings: Sequence[Finding]) -> list[Unanswered]:
    """The UNKNOWN findings in groups of the same reason, system and sentence; each question once."""
    questions: dict[tuple[str, str], dict[str, None]] = {}
    for finding in sorted(findings, key=_place):
        group = sentence(finding), str(finding.facts.get("hint") or "")
        questions.setdefault(group, {})[finding.question] = None
    return [Unanswered(says, hint, tuple(asked)) for (says, hint), asked in questions.items()]


def _place(finding: Finding) -> int:
    return _ORDER.index(finding.reason) if finding.reason else len(_ORDER)
