"""The ledger of the symptoms: what was found, and what was known when each was first asked."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from runbooklib.checks.ask import lapsed
from runbooklib.model.findings import Finding, Status
from runbooklib.model.verdict import onset_of
from runbooklib.scene import Scene
from runbooklib.steps import Change, put_right

# What the scene knew of the symptom: the fields of a Scene by their names.
Known = Mapping[str, Any]


class SymptomLedger:
    """The findings about symptoms, in the order in which each was first asked."""

    def __init__(self) -> None:
        self._found: dict[str, Finding] = {}
        # What was known when a question was first asked: asked again, it is to be the same question.
        self._known: dict[str, Known] = {}

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Every finding."""
        return tuple(self._found.values())

    def known(self, name: str, scene: Scene, former: str = "") -> Known:
        """What is known when this is first asked, or what it stands for since its limits were changed."""
        now = {"onset": scene.onset, "is_disturbed": scene.is_disturbed}
        return self._known.setdefault(name, self._known.get(former, now))

    def keep(self, name: str, finding: Finding, scene: Scene) -> Scene:
        """Keep what was found; the scene as it is known to be by now."""
        self._found[name] = finding
        return scene if scene.onset is not None else replace(scene, **_told_by(self.findings))

    def settle(self, change: Change, scene: Scene) -> Scene:
        """Put right what a cell takes otherwise, and what is known of the scene since."""
        self._found = put_right(self._found, *change.within(""))
        names = tuple(self._found)
        self._known = {name: _told_by(self.findings[:place]) for place, name in enumerate(names)}
        return replace(scene, **_told_by(self.findings))

    def lapse(self) -> None:
        """What was found counts no longer, and is UNKNOWN until it is asked again."""
        self._found = {name: lapsed(finding) for name, finding in self._found.items()}
        self._known.clear()


def _told_by(findings: Sequence[Finding]) -> Known:
    """What they tell of the scene. Once they tell when it began, the later ones change nothing of that."""
    first = next((place for place, one in enumerate(findings) if onset_of([one])), len(findings))
    seen = findings[: first + 1]
    # That another alert fires measures nothing here, so it disturbs nothing either.
    disturbed = any(f.status >= Status.WARNING and f.measured is not None for f in seen)
    return {"onset": onset_of(seen), "is_disturbed": disturbed}
