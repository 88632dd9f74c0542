"""A site where actions may act, and a person at its gate."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from runbooklib.actions import registry
from runbooklib.actions.gate import Gate, Justification
from runbooklib.evidence import action_ledger
from runbooklib.evidence.action_ledger import ActionRecord
from runbooklib.model.plan import Plan
from runbooklib.sources.context import context_of
from tests.support import small

WHY = Justification("20260115T031200Z-Small-backend", "The process hangs")


class Acting:
    """An environment `site` with a service `backend`, and its folder of evidence."""

    def __init__(
        self,
        folder: Path,
        monkeypatch: pytest.MonkeyPatch,
        *,
        systems: Mapping[str, Any],
        actions: Mapping[str, Any],
        containers: tuple[str, ...] = (),
        **service: Any,
    ) -> None:
        self.home, self.folder = folder / "home", folder / "evidence"
        self.folder.mkdir()
        self.environment = small.home(self.home)
        self.file = self.home / "parameters" / "environments" / "site.yaml"
        backend = {
            "title": "Backend",
            "labels": {"job": "backend"},
            "containers": list(containers),
            **service,
        }
        self.settings: dict[str, Any] = {
            "title": "Site",
            "systems": dict(systems),
            "actions": dict(actions),
            "services": {"backend": backend},
        }
        self.write()
        for name, value in self.environment.items():
            monkeypatch.setenv(name, value)

    def write(self, **actions: Any) -> None:
        """Write the environment's file; JSON is YAML too."""
        self.settings["actions"] |= actions
        self.file.write_text(json.dumps(self.settings))

    def gate(self, by: str = "Ada") -> Gate:
        """A gate of somebody's own."""
        return Gate(self.folder, by, WHY)

    def plan(self, action: str, **parameters: Any) -> Plan:
        """What a run would propose now."""
        context, _ = context_of("Small", "site", "backend")
        return registry.ACTIONS[action].plan(context, parameters)

    def forged(self, action: str, target: str, **parameters: Any) -> Plan:
        """A plan that no run of ours proposed."""
        return Plan(action, parameters, "Small", "backend", "site", target, {"id": "0" * 64})

    def perform(self, plan: Plan, *, by: str = "Ada", **more: str) -> ActionRecord:
        """Look, approve and perform, as a person does it."""
        gate = self.gate(by)
        return gate.perform(plan, gate.approve(gate.look(plan), plan.target), **more)

    @property
    def deeds(self) -> list[ActionRecord]:
        """What the ledger tells."""
        lines, wrong = action_ledger.read(self.folder)
        assert not wrong
        return action_ledger.deeds_of(lines)

    @property
    def outcomes(self) -> list[str]:
        """The outcomes that it tells, in their order."""
        return [deed.outcome for deed in self.deeds]
