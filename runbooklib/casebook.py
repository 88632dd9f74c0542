"""What was found about the symptoms and causes of one incident, and what of its scene is known by that."""

from collections.abc import Mapping
from typing import Any

from runbooklib.audience import Kept
from runbooklib.causeledger import Asker, CauseBook
from runbooklib.model.event import Event
from runbooklib.model.findings import Finding
from runbooklib.model.verdict import Verdict, judge
from runbooklib.scene import Scene
from runbooklib.steps import Change, Steps
from runbooklib.symptoms import SymptomLedger


class Casebook:
    """The ledgers of the symptoms and of all causes.

    `scene` is what they were asked of, as it is known by now.
    """

    def __init__(self, scene: Scene, steps: Steps, asker: Asker) -> None:
        self.scene = scene
        self._steps = steps
        self._symptoms = SymptomLedger()
        self.causes = CauseBook(steps, asker)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Every finding about symptoms, in the order in which it was first asked."""
        return self._symptoms.findings

    @property
    def verdict(self) -> Verdict:
        """What it comes to so far."""
        scene = self.scene
        tolerance = scene.timing.tolerance_seconds + scene.window.step_seconds
        return judge(self.findings, self.causes.all, onset=scene.onset, tolerance_seconds=tolerance)

    def began(self) -> list[Event]:
        """What was found with a known beginning."""
        signs = [sign for cause in self.causes.all for sign in cause.signs]
        return [Event(f.since, f, f.source) for f in (*self.findings, *signs) if f.since]

    def known(self, name: str) -> Mapping[str, Any]:
        """What is known of the scene when this symptom is first asked, which a replay will ask with."""
        former = self._steps.former_of(("", name)) or ("", "")
        return self._symptoms.known(name, self.scene, former[1])

    def keep(self, name: str, finding: Finding) -> None:
        """Keep what was found about a symptom."""
        self.scene = self._symptoms.keep(name, finding, self.scene)

    def restore(self, one: Kept) -> None:
        """Take up a finding of the run that this one goes on with."""
        self._steps.knew(one.cell, (one.cause, one.name))
        if one.cause:
            self.causes.ledger(one.cause, one.title).restore(one.name, one.finding)
        else:
            self.known(one.name)
            self.keep(one.name, one.finding)

    def lapse(self, scene: Scene) -> None:
        """What was found counts no longer: another scene is asked."""
        self.scene = scene
        self._symptoms.lapse()
        self.causes.lapse()

    def settle(self, change: Change) -> None:
        """Put right what a cell takes otherwise than before."""
        self.scene = self._symptoms.settle(change, self.scene)
        self.causes.settle(change)
