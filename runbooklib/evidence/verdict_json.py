"""The verdict as JSON: what machines read, and what a replay must reproduce byte for byte."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from runbooklib.model.findings import Finding
from runbooklib.model.plan import Proposal
from runbooklib.model.verdict import VERSION, RankedCause, Verdict
from runbooklib.render.sentences import headline, sentence

if TYPE_CHECKING:
    from runbooklib.sources.context import Context

FINDING_MIME = "application/vnd.runbook.finding+json"
VERDICT_MIME = "application/vnd.runbook.verdict+json"
RECORDING_MIME = "application/vnd.runbook.recording+json"
# Marks a replayed verdict. Its bytes equal the recorded verdict, and no action may be based on it.
REPLAY_MIME = "application/vnd.runbook.replay+json"
ACTION_MIME = "application/vnd.runbook.action+json"
CERTIFICATE_MIME = "application/vnd.runbook.certificate+json"
OURS = frozenset({FINDING_MIME, VERDICT_MIME, RECORDING_MIME, REPLAY_MIME, ACTION_MIME, CERTIFICATE_MIME})


def verdict_as_dict(verdict: Verdict, context: "Context") -> dict[str, Any]:
    """The verdict as JSON values; `docs/verdict.md` describes each field."""
    return {
        "version": VERSION,
        "status": verdict.status.name,
        "alert": context.alert,
        "service": context.target.service_name,
        "environment": context.target.environment_name,
        "is_drill": context.target.environment.drill,
        "headline": headline(verdict),
        "window": {
            "start": context.window.start.isoformat(),
            "end": context.window.end.isoformat(),
            "step_seconds": context.window.step_seconds,
        },
        "onset": verdict.onset.isoformat() if verdict.onset else None,
        "symptoms": [_finding(finding) for finding in verdict.symptoms],
        "causes": [_cause(ranked_cause) for ranked_cause in verdict.causes],
        "not_checked": [_finding(finding) for finding in verdict.not_checked],
        "unchanged": _findings(verdict.unchanged),
        "next": [_proposal(proposal) for proposal in verdict.proposals],
        **_actions(verdict),
        # A replay of older evidence: its status follows the rules of that version.
        **({"rules": context.verdict_version} if context.verdict_version != VERSION else {}),
    }


def _actions(verdict: Verdict) -> dict[str, Any]:
    """The proposals that can be approved, strongest cause first; empty without any."""
    actions: dict[str, dict[str, Any]] = {}
    for ranked_cause in verdict.causes:
        for proposal in ranked_cause.cause.proposals:
            if proposal.plan is not None:
                about = {
                    "undo": proposal.undo,
                    "cause": ranked_cause.cause.title,
                    "rank": ranked_cause.rank.value,
                }
                action = {**_proposal(proposal), **about, "plan": proposal.plan.as_dict()}
                actions.setdefault(proposal.plan.digest, action)
    return {"actions": list(actions.values())} if actions else {}


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "check": finding.check,
        "question": finding.question,
        "status": finding.status.name,
        "says": sentence(finding),
        "source": finding.source,
        "since": finding.since.isoformat() if finding.since else None,
    }


def _cause(ranked_cause: RankedCause) -> dict[str, Any]:
    return {
        "id": ranked_cause.cause.id,
        "title": ranked_cause.cause.title,
        "rank": ranked_cause.rank.value,
        "points_for": ranked_cause.points_for,
        "points_against": ranked_cause.points_against,
        "for": _findings(ranked_cause.speaks_for),
        "against": _findings((*ranked_cause.speaks_against, *ranked_cause.came_after)),
        "missing": _findings(ranked_cause.missing),
        "not_counted": _findings(ranked_cause.not_counted),
    }


def _findings(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    return [_finding(finding) for finding in findings]


def _proposal(proposal: Proposal) -> dict[str, Any]:
    plan = proposal.plan
    return {
        "title": proposal.title,
        "command": proposal.command,
        "effect": proposal.effect,
        "loses": proposal.loses,
        **({"action": plan.action, "fingerprint": plan.fingerprint} if plan else {}),
    }


def canonical(value: Any) -> str:
    """Canonical JSON: UTF-8, sorted keys, two spaces, one final line break. Raises ValueError for NaN."""
    return json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
