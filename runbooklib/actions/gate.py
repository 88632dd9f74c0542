"""The gate before actions: preview, approve, look again, perform, record the outcome.

An approval is bound by HMAC to the digest of the plan that was shown. It names a person, expires, and is
valid for one use. Its key exists only in the gate's process: it is in no file, no environment variable and no
kernel's memory. A process that a headless run started can only propose.
"""

import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from runbooklib.actions import snapshot
from runbooklib.actions.action import ApprovedAction, require_actions
from runbooklib.actions.preflight import Preflight, look
from runbooklib.actions.registry import ACTIONS
from runbooklib.config import site_secrets
from runbooklib.errors import ActionError, EvidenceError, RunbookError
from runbooklib.evidence import action_ledger
from runbooklib.evidence.action_ledger import ActionRecord, Book
from runbooklib.evidence.document import Record
from runbooklib.evidence.verdict_json import ACTION_MIME
from runbooklib.execution.supervisor import is_inside_headless_run
from runbooklib.model.plan import Plan
from runbooklib.model.window import seconds_of
from runbooklib.redact.redactor import Depth, Redactor

_MAX_NAME_LENGTH = 100
# The fields of a ActionRecord that its first line in the ledger holds.
_LINE_FIELDS = "id by action target environment service alert why plan evidence nonce proposed_in".split()


@dataclass(frozen=True, slots=True)
class Justification:
    """Why an action is taken: the bundle whose run proposed it, and the cause that it addresses."""

    bundle: str
    cause: str


@dataclass(frozen=True, slots=True)
class Approval:
    """One person's approval of one plan.

    `expires_at` (aware UTC) is for display; the gate compares `deadline` (monotonic seconds).
    """

    plan: str
    by: str
    expires_at: datetime
    deadline: float
    nonce: str
    mac: str


class Gate:
    """Checks and performs the actions that one person approves for one reason. `folder` holds the evidence.

    Every refusal is written to the action ledger. Every method raises ActionError.
    """

    def __init__(self, folder: Path, by: str, reason: Justification) -> None:
        if not by.strip():
            raise ActionError("an approval needs the name of a person", hint="pass --by NAME")
        self._folder, self._by, self._reason = folder, by.strip()[:_MAX_NAME_LENGTH], reason
        self._key = secrets.token_bytes(32)
        self._used_nonces: set[str] = set()

    def look(self, plan: Plan) -> Preflight:
        """Read the plan's target, so that a person can see it."""
        with self._recording_refusals(self._deed(plan)):
            _refuse_headless_run()
            return look(plan)

    def approve(self, seen: Preflight, typed: str) -> Approval:
        """The approval of the person who typed the target's name. Its validity counts from the preview."""
        if typed != seen.plan.target:
            raise ActionError(f"{typed[:80]!r} is not the target", hint=f"type {seen.plan.target} to approve")
        deadline = seen.at + seconds_of(require_actions(seen.context).approval)
        expires_at = datetime.now(UTC) + timedelta(seconds=deadline - time.monotonic())
        nonce = secrets.token_hex(16)
        mac = self._mac(seen.plan.digest, deadline, nonce)
        return Approval(seen.plan.digest, self._by, expires_at, deadline, nonce, mac)

    def _mac(self, plan: str, deadline: float, nonce: str) -> str:
        content = json.dumps([plan, self._by, deadline, nonce]).encode()
        return hmac.new(self._key, content, hashlib.sha256).hexdigest()

    def perform(self, plan: Plan, approval: Approval, *, without_capture: str = "") -> ActionRecord:
        """Perform the approved plan once, if its target is unchanged.

        `without_capture`: why it is performed even if the state that it destroys cannot be saved first.
        """
        deed = replace(self._deed(plan), nonce=approval.nonce)
        with self._service_lock(deed):
            with self._recording_refusals(deed):
                _refuse_headless_run()
                self._check_approval(plan, approval)
                preflight = look(plan)
                deed = replace(deed, evidence=self._save_state(preflight, deed, without_capture).name)
                self._write_intent(preflight, deed)
            return self._execute(preflight, deed)

    def _deed(self, plan: Plan) -> ActionRecord:
        return ActionRecord(
            id=secrets.token_hex(8),
            at=datetime.now(UTC),
            by=self._by,
            host="",
            action=plan.action,
            target=plan.target,
            environment=plan.environment,
            service=plan.service,
            alert=plan.alert,
            why=self._reason.cause,
            plan=plan.digest,
            evidence="",
            proposed_in=self._reason.bundle,
        )

    @contextmanager
    def _service_lock(self, deed: ActionRecord) -> Iterator[None]:
        """Keep other actions off the service. Raises ActionError if one is running."""
        with ExitStack() as stack:
            with _ledger_errors(self._folder):
                lock = action_ledger.service_lock(self._folder, deed.environment, deed.service)
                is_free = stack.enter_context(lock)
            if not is_free:
                with self._recording_refusals(deed):
                    raise ActionError(
                        f"another action on {deed.service} in {deed.environment} is running",
                        hint="see `runbook actions`, and wait for its outcome",
                    )
            yield

    @contextmanager
    def _recording_refusals(self, deed: ActionRecord) -> Iterator[None]:
        """Write a line to the ledger for each error."""
        try:
            yield
        except RunbookError as error:
            message = Redactor(site_secrets.environment_secrets()).text(str(error), Depth.SECRETS)
            with _book(self._folder) as book:
                book.append("refused", {**_line(deed), "told": message})
            raise

    def _check_approval(self, plan: Plan, approval: Approval) -> None:
        """Raise ActionError if the approval is not valid for this plan; else mark it as used."""
        mac = self._mac(approval.plan, approval.deadline, approval.nonce)
        if not hmac.compare_digest(mac, approval.mac):
            raise ActionError("this approval was not issued by this process", hint="approve it again")
        if approval.plan != plan.digest:
            raise ActionError("the approval is for another plan", hint="approve this plan")
        if time.monotonic() > approval.deadline:
            raise ActionError(
                f"the approval expired at {approval.expires_at:%H:%M:%S} UTC",
                hint="look again, and approve",
            )
        if approval.nonce in self._used_nonces:
            raise ActionError("the approval was already used", hint="approve it again")
        self._used_nonces.add(approval.nonce)

    def _save_state(self, preflight: Preflight, deed: ActionRecord, without_capture: str) -> Path:
        """Seal what the action would destroy; return the bundle. Raises ActionError if it cannot be read."""
        parts = snapshot.capture(preflight.context)
        lost = snapshot.missing(parts, ACTIONS[deed.action].destroys, preflight.context)
        if lost and not without_capture:
            raise ActionError(
                f"state that this action destroys cannot be saved first: {lost[0]}",
                hint="fix that, or accept the loss: --without-capture REASON",
            )
        record = _record_before(
            preflight, deed, {"not saved": "; ".join(lost), "reason to continue": without_capture}
        )
        record.show_parts(parts)
        record.recording(preflight.tape.take_recorded())
        description = {
            "kind": "action",
            "alert": deed.alert,
            "deed": deed.id,
            "plan": deed.plan,
            "headline": f"{deed.action} on {deed.target}, approved by {deed.by}",
        }
        try:
            return record.seal(self._folder, f"action-{deed.action}", deed.service, deed.at, description)
        except EvidenceError as error:
            raise ActionError(f"state that this action destroys cannot be saved first: {error}") from None

    def _write_intent(self, preflight: Preflight, deed: ActionRecord) -> None:
        """Write the intent to the ledger, if the site's limits allow it. Raises ActionError."""
        limits = require_actions(preflight.context)
        with _book(self._folder) as book:
            if reason := action_ledger.stop_reason(self._folder):
                raise ActionError(
                    f"all actions are stopped: {reason}",
                    hint=f"remove {action_ledger.STOP_FILE} from the evidence folder to allow them again",
                )
            refusal = action_ledger.refusal(
                book.deeds,
                deed,
                cooldown_seconds=seconds_of(limits.cooldown),
                most_per_hour=limits.most_per_hour,
                is_of_service=ACTIONS[deed.action].is_of_service,
            )
            if refusal:
                raise ActionError(refusal)
            book.append("intent", _line(deed))

    def _execute(self, preflight: Preflight, deed: ActionRecord) -> ActionRecord:
        """Perform the plan that was approved, not the newer one, and record the outcome."""
        evidence = deed.proposed_in or deed.evidence
        approved = ApprovedAction(preflight.context, preflight.plan, deed.by, evidence)
        try:
            message = ACTIONS[deed.action].perform(approved)
        except RunbookError as error:
            is_known = getattr(error, "is_outcome_known", True)
            outcome = "failed" if is_known else action_ledger.UNKNOWN
            self._write_outcome(replace(deed, outcome=outcome, message=str(error)), preflight)
            raise error if isinstance(error, ActionError) else ActionError(str(error)) from error
        return self._write_outcome(replace(deed, outcome="done", message=message), preflight)

    def _write_outcome(self, deed: ActionRecord, preflight: Preflight) -> ActionRecord:
        deed = replace(deed, message=preflight.tape.redactor.text(deed.message, Depth.SECRETS))
        try:
            with _book(self._folder) as book:
                book.append("outcome", {"id": deed.id, "outcome": deed.outcome, "told": deed.message})
        except ActionError as error:
            raise ActionError(
                f"the outcome ({deed.outcome}: {deed.message}) could not be recorded: {error.message}",
                hint=error.hint,
            ) from None
        return deed


def _record_before(preflight: Preflight, deed: ActionRecord, loss: dict[str, str]) -> Record:
    """The first cells of the bundle: the action, what it changes and loses, and its plan."""
    proposal = preflight.proposal
    facts = {"action": deed.action, "target": deed.target, "approved by": deed.by, "why": deed.why}
    facts |= {"changes": proposal.effect, "loses": proposal.loses, "undo": proposal.undo}
    record = Record()
    record.say(f"# Before an action\n\nState saved before `{deed.action}`.")
    record.show_table("The action", facts | (loss if loss["not saved"] else {}))
    record.show("the plan", proposal.command, more={ACTION_MIME: preflight.plan.as_dict()})
    return record


def _refuse_headless_run() -> None:
    if is_inside_headless_run():
        raise ActionError(
            "a headless run can only propose", hint="approve it in a terminal: runbook approve BUNDLE"
        )


@contextmanager
def _book(folder: Path) -> Iterator[Book]:
    """The locked ledger. Raises ActionError if it cannot be written: then no action is allowed."""
    with _ledger_errors(folder), action_ledger.held(folder) as book:
        yield book


@contextmanager
def _ledger_errors(folder: Path) -> Iterator[None]:
    """Make the folder, and turn errors of the ledger's file into ActionError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except (OSError, ValueError) as error:
        raise ActionError(f"the action ledger cannot be written: {error}", hint=f"see {folder}") from None


def _line(deed: ActionRecord) -> dict[str, Any]:
    return {name: getattr(deed, name) for name in _LINE_FIELDS}
