"""Since when a problem has been the same, from the earlier runs in the folder of the evidence.

For a problem whose age no series remembers. The answer is on the tape, so that a replay needs no evidence.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from runbooklib.checks.ask import Check, ask
from runbooklib.checks.unchanged import FIRST_VERSION, with_age
from runbooklib.errors import NotRecordedError
from runbooklib.evidence.runs import verdicts_about
from runbooklib.model.findings import Finding, Status
from runbooklib.model.verdict import ALERT_CHECKS, OTHER_ALERTS
from runbooklib.render.sentences import sentence
from runbooklib.sources.context import Context
from runbooklib.sources.tape import Tape

_SOURCE = "evidence"
# After a longer time without a run, the state in between is unknown.
_MAX_PAUSE = timedelta(days=7)
_SIDES = ("for", "against", "missing", "not_counted")


def ask_with_age(
    check: Check, limits: Mapping[str, Any], context: Context, tape: Tape, evidence: Path | None
) -> Finding:
    """Run the check; if its finding is a problem of unknown age, look for it in the earlier runs.

    `evidence` is the folder of the earlier runs. Raises as `checks.ask.ask` does.
    """
    finding = ask(check, limits, context, tape)
    is_dated = finding.since is not None or finding.unchanged_since is not None
    is_about_alerts = finding.check in ALERT_CHECKS | OTHER_ALERTS
    if finding.status < Status.WARNING or is_dated or is_about_alerts:
        return finding
    if context.verdict_version < FIRST_VERSION:
        return finding
    problem = {
        "check": finding.check,
        "question": finding.question,
        "status": finding.status.name,
        "says": sentence(finding),
    }
    request = {"question": "unchanged since", "until": context.window.end.isoformat(), **problem}
    call = partial(_oldest, context, evidence, problem)
    try:
        since = tape.ask(_SOURCE, request, call, is_ours=True)
    except NotRecordedError:
        return finding  # The notebook of this replay asks a check that the recorded run did not ask.
    return with_age(_dated(finding, since), context.window.end) if since else finding


def _dated(finding: Finding, since: str) -> Finding:
    return replace(finding, unchanged_since=datetime.fromisoformat(since))


def _oldest(context: Context, evidence: Path | None, problem: Mapping[str, str]) -> str:
    """The end of the oldest run since which each run shows the same problem; empty without such a run.

    Only runs in which the symptom of their own alert was not present count: a problem of an earlier incident
    is not a problem of every day.
    """
    if evidence is None:
        return ""
    target, since, latest = context.target, "", context.window.end
    for verdict in verdicts_about(target.environment_name, target.service_name, evidence):
        try:
            ended_at = datetime.fromisoformat(verdict["window"]["end"])
            answers = [answer for answer in _findings(verdict) if _is_about(answer, problem)]
            is_sound = verdict["symptoms"][0]["status"] == Status.OK.name
            is_same = all(_is_same(answer, problem) for answer in answers)
        except (KeyError, IndexError, TypeError, ValueError, AttributeError):
            continue  # A bundle that this library did not write.
        if not answers or ended_at >= context.window.end:
            continue
        if not is_same or latest - ended_at > _MAX_PAUSE:
            break
        if is_sound:
            since, latest = ended_at.isoformat(), ended_at
    return since


def _findings(verdict: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from verdict["symptoms"]
    for cause in verdict["causes"]:
        for side in _SIDES:
            answers: Iterable[Mapping[str, Any]] = cause.get(side, ())
            yield from answers


def _is_about(answer: Mapping[str, Any], problem: Mapping[str, str]) -> bool:
    return all(answer[name] == problem[name] for name in ("check", "question"))


def _is_same(answer: Mapping[str, Any], problem: Mapping[str, str]) -> bool:
    """Whether it is the same problem. The earlier sentence may end with how long it had been the same."""
    return answer["status"] == problem["status"] and str(answer["says"]).startswith(problem["says"])
