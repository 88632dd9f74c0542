"""The gate before actions: propose, approve, look again, perform, and write down what came of it.

An approval is bound by HMAC to the digest of the plan that was shown, names a person, expires, and serves
once. Its key is made with the gate and dies with it: it lies in no file, in no environment and in no
kernel's memory. A process that a headless run has started can only propose.
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

from runbooklib import actionledger, capture, settings
from runbooklib.actionledger import Book, Deed
from runbooklib.descent import is_within_a_run
from runbooklib.errors import ActionError, EvidenceError, RunbookError
from runbooklib.plans import Plan
from runbooklib.present import REMEDIES, Look, look
from runbooklib.record import Record
from runbooklib.redact import Depth, Redactor
from runbooklib.remedy import Act, actions_of
from runbooklib.report import ACTION_MIME
from runbooklib.window import seconds_of

_MOST_NAME = 100


@dataclass(frozen=True, slots=True)
class Reason:
    """Why an action is taken: the bundle whose run proposed it, and the cause that it is for."""

    bundle: str
    cause: str


@dataclass(frozen=True, slots=True)
class Approval:
    """Somebody's yes to one plan. `until` is aware UTC, for people; what counts is `ends_at` (monotonic)."""

    plan: str
    by: str
    until: datetime
    ends_at: float
    nonce: str
    mac: str


class Gate:
    """One process's gate for what one person does for one reason; `folder` is that of the evidence.

    Whatever is refused here is in the ledger. Every method raises ActionError.
    """

    def __init__(self, folder: Path, by: str, reason: Reason) -> None:
        if not by.strip():
            raise ActionError("an approval names a person", remedy="give --by NAME")
        self._folder, self._by, self._reason = folder, by.strip()[:_MOST_NAME], reason
        self._key = secrets.token_bytes(32)
        self._served: set[str] = set()

    def look(self, plan: Plan) -> Look:
        """Look at the plan's target, for a person to see."""
        with self._refusing(self._deed(plan)):
            _refuse_runs()
            return look(plan)

    def approve(self, seen: Look, typed: str) -> Approval:
        """The yes of the person who has seen the plan and typed its target's name; valid from the look on."""
        if typed != seen.plan.target:
            raise ActionError(
                f"{typed[:80]!r} is not the target", remedy=f"type {seen.plan.target} to approve"
            )
        seconds = seconds_of(actions_of(seen.scene).approval)
        ends_at = seen.at + seconds
        until = datetime.now(UTC) + timedelta(seconds=ends_at - time.monotonic())
        nonce = secrets.token_hex(16)
        mac = self._mac(seen.plan.digest, ends_at, nonce)
        return Approval(seen.plan.digest, self._by, until, ends_at, nonce, mac)

    def _mac(self, plan: str, ends_at: float, nonce: str) -> str:
        said = json.dumps([plan, self._by, ends_at, nonce]).encode()
        return hmac.new(self._key, said, hashlib.sha256).hexdigest()

    def perform(self, plan: Plan, approval: Approval, *, without_capture: str = "") -> Deed:
        """Do what was approved, once, if everything is still as it was seen.

        `without_capture`: why it is done although what it destroys could not be saved.
        """
        deed = replace(self._deed(plan), nonce=approval.nonce)
        with self._alone(deed):
            with self._refusing(deed):
                _refuse_runs()
                self._refuse(plan, approval)
                now = look(plan)
                deed = replace(deed, evidence=self._captured(now, deed, without_capture).name)
                self._intend(now, deed)
            return self._do(now, deed)

    def _deed(self, plan: Plan) -> Deed:
        return Deed(
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
    def _alone(self, deed: Deed) -> Iterator[None]:
        """No other action begins on the service meanwhile. Raises ActionError where one is under way."""
        with ExitStack() as stack:
            with _written(self._folder):
                alone = actionledger.alone(self._folder, deed.environment, deed.service)
                is_free = stack.enter_context(alone)
            if not is_free:
                with self._refusing(deed):
                    raise ActionError(
                        f"another action on {deed.service} in {deed.environment} is under way",
                        remedy="see `runbook actions`, and wait for what comes of it",
                    )
            yield

    @contextmanager
    def _refusing(self, deed: Deed) -> Iterator[None]:
        """What is refused in here is written down."""
        try:
            yield
        except RunbookError as error:
            told = Redactor(settings.environment_secrets()).text(str(error), Depth.SECRETS)
            with _book(self._folder) as book:
                book.append("refused", {**_line(deed), "told": told})
            raise

    def _refuse(self, plan: Plan, approval: Approval) -> None:
        """Raises ActionError for an approval that is not for this plan, or not any more."""
        mac = self._mac(approval.plan, approval.ends_at, approval.nonce)
        if not hmac.compare_digest(mac, approval.mac):
            raise ActionError("this approval was not given here", remedy="approve it again")
        if approval.plan != plan.digest:
            raise ActionError("the approval is for another plan", remedy="approve this one")
        if time.monotonic() > approval.ends_at:
            raise ActionError(
                f"the approval expired at {approval.until:%H:%M:%S} UTC", remedy="look again, and approve"
            )
        if approval.nonce in self._served:
            raise ActionError("the approval has been used", remedy="an approval serves once")
        self._served.add(approval.nonce)

    def _captured(self, now: Look, deed: Deed, without: str) -> Path:
        """The bundle of what the action would destroy. Raises ActionError where it could not be read."""
        parts = capture.capture(now.scene)
        lost = capture.missing(parts, REMEDIES[now.plan.action].destroys, now.scene)
        if lost and not without:
            raise ActionError(
                f"what this would destroy cannot be saved first: {lost[0]}",
                remedy="mend that, or take it upon yourself: --without-capture REASON",
            )
        record = Record()
        record.say(f"# Before an action\n\nWhat was known before `{now.plan.action}`.")
        facts = {"action": deed.action, "target": deed.target, "approved by": deed.by, "why": deed.why}
        facts |= {"changes": now.proposal.effect, "loses": now.proposal.loses, "undo": now.proposal.undo}
        if lost:
            facts["not saved"] = f"{'; '.join(lost)}. {deed.by}: {without}"
        record.tell("The action", facts)
        record.show("the plan", now.proposal.command, more={ACTION_MIME: now.plan.as_dict()})
        record.keep(parts)
        record.recording(now.tape.take_recorded())
        kind = {"kind": "action", "alert": deed.alert, "deed": deed.id, "plan": deed.plan}
        kind["headline"] = f"{deed.action} on {deed.target}, approved by {deed.by}"
        try:
            return record.seal(self._folder, f"action-{deed.action}", deed.service, deed.at, kind)
        except EvidenceError as error:
            raise ActionError(f"what this would destroy cannot be kept: {error}") from None

    def _intend(self, now: Look, deed: Deed) -> None:
        """Write the intent, if the limits let it be. Raises ActionError."""
        limits = actions_of(now.scene)
        with _book(self._folder) as book:
            if why := actionledger.stopped(self._folder):
                raise ActionError(
                    f"all actions are stopped: {why}",
                    remedy=f"remove {actionledger.STOP_FILE} from the evidence when that is over",
                )
            told = actionledger.refusal(
                book.deeds,
                deed,
                cooldown_seconds=seconds_of(limits.cooldown),
                most_per_hour=limits.most_per_hour,
                is_of_service=REMEDIES[deed.action].is_of_service,
            )
            if told:
                raise ActionError(told)
            book.append("intent", _line(deed))

    def _do(self, now: Look, deed: Deed) -> Deed:
        try:
            told = REMEDIES[now.plan.action].perform(
                Act(now.scene, now.plan, deed.by, deed.proposed_in or deed.evidence)
            )
        except RunbookError as error:
            is_known = getattr(error, "is_outcome_known", True)
            outcome = "failed" if is_known else actionledger.UNKNOWN
            self._end(replace(deed, outcome=outcome, told=str(error)), now)
            raise error if isinstance(error, ActionError) else ActionError(str(error)) from error
        return self._end(replace(deed, outcome="done", told=told), now)

    def _end(self, deed: Deed, now: Look) -> Deed:
        deed = replace(deed, told=now.tape.redactor.text(deed.told, Depth.SECRETS))
        try:
            with _book(self._folder) as book:
                book.append("outcome", {"id": deed.id, "outcome": deed.outcome, "told": deed.told})
        except ActionError as error:
            told = f"{deed.outcome}: {deed.told}; but that could not be written down: {error.message}"
            raise ActionError(told, remedy=error.remedy) from None
        return deed


def _refuse_runs() -> None:
    if is_within_a_run():
        raise ActionError(
            "a headless run can only propose", remedy="approve it in a terminal: runbook approve BUNDLE"
        )


@contextmanager
def _book(folder: Path) -> Iterator[Book]:
    """The ledger, held. Raises ActionError where it cannot be written: then nothing may be done."""
    with _written(folder), actionledger.held(folder) as book:
        yield book


@contextmanager
def _written(folder: Path) -> Iterator[None]:
    """What is written in that folder. Raises ActionError where that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except (OSError, ValueError) as error:
        raise ActionError(
            f"the ledger of actions cannot be written: {error}", remedy=f"see {folder}"
        ) from None


def _line(deed: Deed) -> dict[str, Any]:
    texts = "id by action target environment service alert why plan evidence nonce proposed_in"
    return {name: getattr(deed, name) for name in texts.split()}
