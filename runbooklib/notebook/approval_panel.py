"""The approval panel in the notebook: preview an action, type its target's name, start it. Needs ipywidgets.

The notebook is sealed first, then `runbook approve` is started on that evidence, as in a terminal. The gate
and its key are in that process. This kernel never performs an action.
"""

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from runbooklib.errors import RunbookError
from runbooklib.model.plan import Plan, Proposal
from runbooklib.notebook.incident import Incident
from runbooklib.render.html import proposal_lines, status_line, text
from runbooklib.render.inert_html import literal
from runbooklib.text import filled

_TIMEOUT_SECONDS = 900
_INTERRUPTED = "This cell was interrupted. The action continues; see its outcome with `runbook actions`."
_LATE = "Not finished after {minutes:.0f} min. The action continues; see its outcome with `runbook actions`."
_DONE = "{done}. Check that it helped: incident.recovery(held=…), or runbook verify-recovery."
_NONE = "This notebook has no proposal that can be approved."
_REPLAY = "A replay cannot perform actions. Run the notebook without `replay`, then approve."
_CHANGED = "The notebook does not propose this any more. Close this panel and open it again."
_WHERE = "Environment {environment}, service {service}."
_WHERE_HELD = "Environment {environment}, service {service}. Held by {held_by}."


def approvable_proposals(incident: Incident) -> dict[str, Proposal]:
    """The proposals that can be approved now, by label, strongest cause first. Empty in a replay."""
    proposals: dict[str, Proposal] = {}
    if incident.tape.is_replay:
        return proposals
    for ranked_cause in incident.verdict.causes:
        for proposal in ranked_cause.cause.proposals:
            if plan := proposal.plan:
                label = f"{plan.action} on {plan.target} ({plan.fingerprint})"
                proposals.setdefault(label, proposal)
    return proposals


class Panel:
    """The panel of one incident. `seal` returns the notebook's bundle, and raises RunbookError."""

    def __init__(self, incident: Incident, seal: Callable[[], Path], look: Callable[[], object]) -> None:
        import ipywidgets

        self._incident, self._seal, self._look = incident, seal, look
        self._proposals: Mapping[str, Proposal] = {}
        hidden = ipywidgets.Layout(display="none")
        narrow = ipywidgets.Layout(width="auto", align_self="flex-start")
        self.open = ipywidgets.Button(description="Act …", layout=narrow)
        self.choice = ipywidgets.Dropdown(options=(), description="Action")
        self.preview = ipywidgets.HTML()
        self.by = ipywidgets.Text(description="Your name", continuous_update=True)
        self.typed = ipywidgets.Text(description="Type the target", continuous_update=True)
        self.do = ipywidgets.Button(description="Perform", button_style="danger", disabled=True)
        self.says = ipywidgets.HTML(value=status_line(""))
        for field in (self.choice, self.by, self.typed):
            field.style.description_width = "initial"
        fields = ipywidgets.HBox([self.by, self.typed, self.do])
        self.inner = ipywidgets.VBox([self.choice, self.preview, fields], layout=hidden)
        self.widget = ipywidgets.VBox([self.open, self.inner, self.says])
        self.open.on_click(lambda _: self._toggle())
        self.choice.observe(lambda _: self._show_choice(), names="value")
        for field in (self.by, self.typed):
            field.observe(lambda _: self._update_button(), names="value")
        self.do.on_click(lambda _: self.perform())

    @property
    def _proposal(self) -> Proposal | None:
        return self._proposals.get(self.choice.value or "")

    def _toggle(self) -> None:
        """Show the proposals that can be approved now, or close the panel."""
        is_open = self.inner.layout.display == "none"
        self._proposals = approvable_proposals(self._incident) if is_open else {}
        self.choice.options = tuple(self._proposals)
        self.inner.layout.display = None if self._proposals else "none"
        reason = _REPLAY if self._incident.tape.is_replay else _NONE
        self._say(reason if is_open and not self._proposals else "")
        self._show_choice()

    def _show_choice(self) -> None:
        proposal = self._proposal
        plan = proposal.plan if proposal else None
        shown = proposal_lines([proposal]) if proposal else ""
        self.preview.value = literal(shown + (f"<div>{text(_where_text(plan))}</div>" if plan else ""))
        self.typed.value = ""
        self.typed.placeholder = plan.target if plan else ""
        self._update_button()

    def _update_button(self) -> None:
        """Enable the button if both a person's name and the target's name are typed."""
        plan = self._proposal.plan if self._proposal else None
        self.do.disabled = not (plan and self.by.value.strip() and self.typed.value == plan.target)

    def perform(self) -> None:
        """Seal the notebook, start the gate on that bundle, then look again."""
        plan = self._as_proposed_now()
        if plan is None or self.do.disabled:
            self._say(_CHANGED)
            return
        self.do.disabled = True
        self._say("Sealing the notebook, then checking the target, then performing the action …")
        try:
            bundle = self._seal()
        except RunbookError as error:
            self._say(str(error))
            self._update_button()
            return
        self.typed.value = ""
        words = ["approve", str(bundle), plan.fingerprint, "--yes", plan.fingerprint, "--no-wait"]
        self._say(_run_gate([sys.executable, "-m", "runbooklib", *words, "--by", self.by.value.strip()]))
        self._look()

    def _as_proposed_now(self) -> Plan | None:
        """The chosen plan, if the notebook still proposes it: the checks may have run again since."""
        chosen = self._proposal.plan if self._proposal else None
        plans = [proposal.plan for proposal in approvable_proposals(self._incident).values()]
        if chosen is None:
            return None
        content = _approved_content(chosen)
        return next((plan for plan in plans if plan and _approved_content(plan) == content), None)

    def _say(self, message: str) -> None:
        self.says.value = status_line(message)


def _where_text(plan: Plan) -> str:
    """Where the action would run, and whose sessions it would end."""
    held_by = plan.identity.get("held by")
    template = _WHERE_HELD if held_by else _WHERE
    return filled(template, environment=plan.environment, service=plan.service, held_by=held_by)


def _approved_content(plan: Plan) -> tuple[object, ...]:
    """What a person approves: everything except the time of the read."""
    return plan.action, dict(plan.parameters), plan.target, dict(plan.identity)


def _run_gate(argv: list[str]) -> str:
    """Run `runbook approve`; return its outcome or its error as one sentence.

    It has its own session, so an interrupt of this kernel does not end it: an action must not stop between
    its intent and its outcome.
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
        out, err = gate.communicate(timeout=_TIMEOUT_SECONDS)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except subprocess.TimeoutExpired:
        return filled(_LATE, minutes=_TIMEOUT_SECONDS / 60)
    except OSError as error:
        return f"`runbook approve` cannot be started: {error}."
    done = [line for line in out.splitlines() if line.startswith("Done: ")]
    if gate.returncode == 0 and done:
        return filled(_DONE, done=done[-1])
    last = (err.strip().splitlines() or ["`runbook approve` ended without output"])[-1]
    return last.removeprefix("runbook: ")
