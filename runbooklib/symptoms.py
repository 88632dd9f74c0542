"""The ledger of the symptoms: what was found, and what was known when each was first asked."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from runbooklib.findings import Finding, Status, onset_of
from runbooklib.inquiry import lapsed
from runbooklib.scene import Scene

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

    def known(self, name: str, scene: Scene) -> Known:
        """What is known when this is first asked."""
        now = {"onset": scene.onset, "is_disturbed": scene.is_disturbed}
        return self._known.setdefault(name, now)

    def keep(self, name: str, finding: Finding, scene: Scene) -> Scene:
        """Keep what was found; the scene as it is known to be by now."""
        self._found[name] = finding
        if scene.onset is not None:
            return scene
        # That another alert fires measures nothing here, so it disturbs nothing either.
        disturbed = any(f.status >= Status.WARNING and f.measured is not None for f in self.findings)
        return replace(scene, onset=onset_of(self.findings), is_disturbed=disturbed)

    def lapse(self) -> None:
        """What was found counts no longer, and is UNKNOWN until it is asked again."""
        self._found = {name: lapsed(finding) for name, finding in self._found.items()}
        self._known.clear()
