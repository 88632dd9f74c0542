"""Approving a proposed action in the notebook: see it, type its target's name, do it. Widgets of ipywidgets.

The gate stands in a process of its own, with a key of its own: the notebook is sealed first, then
`runbook approve` is started on that evidence, as in a terminal. This kernel never performs anything.
"""

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from runbooklib.errors import RunbookError
from runbooklib.incident import Incident
from runbooklib.plans import Plan, Proposal
from runbooklib.render.html import proposal_lines, status_line, text
from runbooklib.render.inert import literal

_SECONDS = 900
_GOES_ON = "The gate goes on by itself: `runbook actions` says what comes of it."
_NONE = "This notebook has proposed nothing that can be approved."
_REPLAY = "A replay never acts: run the notebook without `replay`, and approve what it proposes then."


def offered(incident: Incident) -> dict[str, Proposal]:
    """What can be approved by now, strongest cause first: as it is chosen from -> the proposal.

    A replay never acts.
    """
    found: dict[str, Proposal] = {}
    if incident.tape.is_replay:
        return found
    for weighed in incident.verdict.causes:
        for one in weighed.cause.proposals:
            if one.plan is not None:
                name = f"{one.plan.action} on {one.plan.target} ({one.plan.fingerprint})"
                found.setdefault(name, one)
    return found


class Panel:
    """The panel of one incident. `seal` gives the notebook's bundle, and raises RunbookError."""

    def __init__(self, incident: Incident, seal: Callable[[], Path], look: Callable[[], object]) -> None:
        import ipywidgets

        self._incident, self._seal, self._look = incident, seal, look
        self._offered: Mapping[str, Proposal] = {}
        hidden = ipywidgets.Layout(display="none")
        narrow = ipywidgets.Layout(width="auto", align_self="flex-start")
        self.open = ipywidgets.Button(description="Act …", layout=narrow)
        self.choice = ipywidgets.Dropdown(options=(), description="Action")
        self.preview = ipywidgets.HTML()
        self.by = ipywidgets.Text(description="Your name", continuous_update=True)
        self.typed = ipywidgets.Text(description="Type the target", continuous_update=True)
        self.do = ipywidgets.Button(description="Do it", button_style="danger", disabled=True)
        self.says = ipywidgets.HTML(value=status_line(""))
        for field in (self.choice, self.by, self.typed):
            field.style.description_width = "initial"
        fields = ipywidgets.HBox([self.by, self.typed, self.do])
        self.inner = ipywidgets.VBox([self.choice, self.preview, fields], layout=hidden)
        self.widget = ipywidgets.VBox([self.open, self.inner, self.says])
        self.open.on_click(lambda _: self._opened())
        self.choice.observe(lambda _: self._chosen(), names="value")
        for field in (self.by, self.typed):
            field.observe(lambda _: self._allow(), names="value")
        self.do.on_click(lambda _: self.perform())

    @property
    def _proposal(self) -> Proposal | None:
        return self._offered.get(self.choice.value or "")

    def _opened(self) -> None:
        """Show what can be approved now, or close the panel."""
        is_open = self.inner.layout.display == "none"
        self._offered = offered(self._incident) if is_open else {}
        self.choice.options = tuple(self._offered)
        self.inner.layout.display = None if self._offered else "none"
        none = _REPLAY if self._incident.tape.is_replay else _NONE
        self._say(none if is_open and not self._offered else "")
        self._chosen()

    def _chosen(self) -> None:
        proposal = self._proposal
        plan = proposal.plan if proposal else None
        shown = proposal_lines([proposal]) if proposal else ""
        self.preview.value = literal(shown + (f"<div>{text(_where(plan))}</div>" if plan else ""))
        self.typed.value = ""
        self.typed.placeholder = plan.target if plan else ""
        self._allow()

    def _allow(self) -> None:
        """The button works once a person has a name, and the target's name stands there."""
        plan = self._proposal.plan if self._proposal else None
        self.do.disabled = not (plan and self.by.value.strip() and self.typed.value == plan.target)

    def perform(self) -> None:
        """Seal what led to it, then let the gate do it, and look again."""
        plan = self._as_proposed_now()
        if plan is None or self.do.disabled:
            self._say("The notebook does not propose this any more: close this, and open it again.")
            return
        self.do.disabled = True
        self._say("Sealing, then looking again, then doing it …")
        try:
            bundle = self._seal()
        except RunbookError as error:
            self._say(str(error))
            self._allow()
            return
        self.typed.value = ""
        words = ["approve", str(bundle), plan.fingerprint, "--yes", plan.fingerprint, "--no-wait"]
        self._say(_told([sys.executable, "-m", "runbooklib", *words, "--by", self.by.value.strip()]))
        self._look()

    def _as_proposed_now(self) -> Plan | None:
        """The chosen plan as the notebook proposes it now, which may have looked again meanwhile."""
        chosen = self._proposal.plan if self._proposal else None
        plans = [one.plan for one in offered(self._incident).values()]
        same = [one for one in plans if one and chosen and _what(one) == _what(chosen)]
        return same[0] if same else None

    def _say(self, told: str) -> None:
        self.says.value = status_line(told)


def _where(plan: Plan) -> str:
    """Where it would be done, and who is hit."""
    held_by = plan.identity.get("held by")
    return f"In {plan.environment}, service {plan.service}." + (f" Held by {held_by}." if held_by else "")


def _what(plan: Plan) -> tuple[object, ...]:
    """What a person approves: everything but when it was looked at."""
    return plan.action, dict(plan.parameters), plan.target, dict(plan.identity)


def _told(argv: list[str]) -> str:
    """What the gate said last: what was done, or why not.

    It has a session of its own and goes on when this kernel is interrupted: an action must not be cut off
    between its intent and its outcome.
    """
    try:
        gate = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        out, err = gate.communicate(timeout=_SECONDS)
    except KeyboardInterrupt:
        return f"{_GOES_ON} This cell was interrupted."
    except subprocess.TimeoutExpired:
        return f"{_GOES_ON} It has not ended within {_SECONDS / 60:.0f} min."
    except OSError as error:
        return f"The gate cannot be started: {error}."
    done = [line for line in out.splitlines() if line.startswith("Done: ")]
    if gate.returncode == 0 and done:
        return f"{done[-1]}. Prove that it helped: incident.recovery(held=…), or runbook verify-recovery."
    last = (err.strip().splitlines() or ["nothing was said"])[-1]
    return last.removeprefix("runbook: ")
