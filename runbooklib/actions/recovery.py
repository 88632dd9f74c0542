"""Proof of recovery: checks the recovery conditions repeatedly until all have been met for long enough.

RECOVERED      Every condition was met in every sample of the required time, and its series in Prometheus have
               no gap and no point beyond the limit in that time.
NOT RECOVERED  The time is over. The last sample that was not OK has a condition that was not met.
CANNOT TELL    The time is over. The last sample that was not OK has a condition without an answer.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from runbooklib.actions.baseline import as_before, before_incident
from runbooklib.checks import alert_rule, dependencies, traffic
from runbooklib.checks.ask import Check, ask
from runbooklib.errors import EvidenceError, ParameterError
from runbooklib.evidence import action_ledger
from runbooklib.evidence.action_ledger import ActionRecord
from runbooklib.model.findings import Fact, Finding, Status
from runbooklib.model.window import seconds_of
from runbooklib.redact.redactor import Redactor
from runbooklib.render.sentences import say
from runbooklib.sources.context import Context
from runbooklib.sources.tape import Tape, side_by_side

# The default limits: the share of failed requests (0–1), and the P95 of the response time.
FAILED_BELOW, WAIT_BELOW_SECONDS = 0.01, 0.5
Condition = tuple[Check, Mapping[str, Any]]
# Returns a context that ends now, and its own tape.
Look = Callable[[], tuple[Context, Tape]]
OnSample = Callable[["Sample", float], None]
# Samples that are further apart prove nothing about the time between them.
_MAX_DISTANCE = timedelta(seconds=60)
# Half of `_MAX_DISTANCE`, since a sample takes time. A shorter interval than the scrape interval is useful:
# health pages and Alertmanager give a new answer for each sample.
_MAX_INTERVAL_SECONDS = 30.0


_HELD = "All conditions have been met for {held:seconds}."
_GAPS = "The series of these conditions have a gap: {gaps}."
_BREACHES = "The series of these conditions were beyond the limit: {breaches}."
_STOPPED_EARLY = "The conditions were checked for {held:seconds} of {hold:seconds} only."
_FAILED = "Conditions that are not met: {failed}."
_UNKNOWN = "Conditions without an answer: {unknown}."
_HELD_SINCE = "Since then, all conditions have been met for {held:seconds} of {hold:seconds}."


class RecoveryOutcome(StrEnum):
    """The result of a certificate."""

    RECOVERED = "RECOVERED"
    NOT_RECOVERED = "NOT RECOVERED"
    CANNOT_TELL = "CANNOT TELL"


_Explanation = tuple[RecoveryOutcome, tuple[str, ...], Mapping[str, Fact]]


@dataclass(frozen=True, slots=True)
class Sample:
    """One check of all conditions, and when it ended: `at` (aware UTC), `seconds` (monotonic clock)."""

    at: datetime
    seconds: float
    findings: tuple[Finding, ...]

    @property
    def status(self) -> Status:
        """OK only if every condition has an answer and is met; the worst status of all conditions."""
        return max(finding.status for finding in self.findings)


@dataclass(frozen=True, slots=True)
class Certificate:
    """The result: `outcome`, and its explanation in `templates` and `facts` (as in a Finding).

    `since` is when the action was done or the samples began; `held_since` is the first sample from which on
    every condition was met, None if the last sample is not OK. Times are aware UTC.
    """

    outcome: RecoveryOutcome
    templates: tuple[str, ...]
    facts: Mapping[str, Fact]
    since: datetime
    held_since: datetime | None
    held_seconds: float
    hold_seconds: float
    samples: tuple[Sample, ...]

    @property
    def says(self) -> str:
        """The explanation of the outcome."""
        return " ".join(say(template, self.facts) for template in self.templates)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The findings of the last sample, one for each condition."""
        return self.samples[-1].findings

    @property
    def curve(self) -> pd.DataFrame:
        """The names of the statuses: one row for each sample (aware UTC), one column for each condition."""
        rows = [{f.check: f.status.name for f in sample.findings} for sample in self.samples]
        return pd.DataFrame(rows, index=pd.DatetimeIndex([s.at for s in self.samples], name="at"))

    @property
    def seconds_until_ok(self) -> dict[str, float | None]:
        """By check: how many seconds after `since` it became OK and stayed OK.

        None if it is not OK at the end, 0 if it was OK in every sample.
        """
        seconds: dict[str, float | None] = {}
        for place, last in enumerate(self.findings):
            bad = [sample for sample in self.samples if sample.findings[place].status is not Status.OK]
            if last.status is not Status.OK:
                seconds[last.check] = None
                continue
            after = [sample for sample in self.samples if not bad or sample.seconds > bad[-1].seconds]
            seconds[last.check] = (after[0].at - self.since).total_seconds() if bad else 0.0
        return seconds


def conditions(*, failed_below: float, wait_below_seconds: float) -> list[Condition]:
    """The conditions: share of failed requests, P95, alert rule, firing alert, health page, key functions.

    Without traffic, the share and P95 are UNKNOWN; so is a rule whose series are missing.
    """
    return [
        (traffic.error_rate, {"above": failed_below}),
        (traffic.response_time, {"above": wait_below_seconds}),
        (alert_rule.alert_rule, {}),
        (alert_rule.firing_alert, {}),
        (dependencies.health_page, {}),
        (dependencies.key_functions, {}),
    ]


@dataclass(frozen=True, slots=True)
class Wait:
    """How long all conditions must be met, the timeout, and the interval between samples, in seconds."""

    hold_seconds: float
    within_seconds: float
    every_seconds: float

    @classmethod
    def of(cls, context: Context, held: str, within: str = "") -> "Wait":
        """From durations; `within` defaults to ten minutes more than `held`. Raises ParameterError."""
        hold = seconds_of(held)
        scrape = max(seconds_of(context.timing.scrape_interval), 2.0)
        if hold < 2 * scrape:
            raise ParameterError(
                f"{held} is too short to prove recovery", hint=f"use {2 * scrape:g} s or more"
            )
        every = min(scrape, _MAX_INTERVAL_SECONDS)
        return cls(hold, seconds_of(within) if within else hold + 600.0, every)


def watch(
    look: Look,
    wait: Wait,
    *,
    since: datetime | None = None,
    before: datetime | None = None,
    failed_below: float = FAILED_BELOW,
    wait_below_seconds: float = WAIT_BELOW_SECONDS,
    on_sample: OnSample | None = None,
) -> Certificate:
    """Take samples until all conditions have been met long enough, or the time is over.

    `before` is a time before the incident (aware UTC): a problem that was the same then meets its condition.
    `on_sample` is called with each sample and the number of seconds for which all conditions have been met.
    """
    started, since = time.monotonic(), since or datetime.now(UTC)
    samples: list[Sample] = []
    limits = {"failed_below": failed_below, "wait_below_seconds": wait_below_seconds}
    while True:
        next_at = time.monotonic() + wait.every_seconds
        samples.append(_sample(look, limits, before))
        held = held_seconds(samples)
        if on_sample is not None:
            on_sample(samples[-1], held)
        is_over = time.monotonic() - started >= wait.within_seconds
        if is_over or (held >= wait.hold_seconds and not flaws(samples, wait.hold_seconds)):
            return certificate(samples, since, wait.hold_seconds)
        time.sleep(max(next_at - time.monotonic(), 0.0))


def _sample(look: Look, limits: Mapping[str, float], before: datetime | None) -> Sample:
    """Check all conditions in parallel, each with its own context and tape."""

    def answer(check: Check, parameters: Mapping[str, Any]) -> Finding:
        return as_before(ask(check, parameters, *look()), before)

    calls = [partial(answer, check, parameters) for check, parameters in conditions(**limits)]
    findings = side_by_side(calls)
    return Sample(datetime.now(UTC), time.monotonic(), tuple(findings))


def prove(
    context: Context,
    redactor: Redactor,
    evidence: Path | None,
    wait: Wait,
    *,
    on_sample: OnSample | None = None,
    failed_below: float = FAILED_BELOW,
    wait_below_seconds: float = WAIT_BELOW_SECONDS,
) -> tuple[Certificate, ActionRecord | None]:
    """Watch the context's service from now on; return the certificate and the last action on the service.

    `evidence` is the folder with the action ledger. Raises EvidenceError if the ledger cannot be read.
    """
    place = (context.target.environment_name, context.target.service_name, context.alert)
    try:
        deed = action_ledger.last_of(evidence, *place) if evidence else None
    except (OSError, ValueError) as error:
        raise EvidenceError(
            f"the action ledger cannot be read: {error}", hint="see `runbook verify`"
        ) from None

    def look() -> tuple[Context, Tape]:
        own = Tape(redactor)
        return context.with_new_window(own, at_least_seconds=wait.hold_seconds * 1.5), own

    result = watch(
        look,
        wait,
        since=deed.at if deed else None,
        before=before_incident(look()[0]),
        failed_below=failed_below,
        wait_below_seconds=wait_below_seconds,
        on_sample=on_sample,
    )
    return result, deed


def held_seconds(samples: Sequence[Sample]) -> float:
    """For how many seconds, up to the last sample, every sample was OK."""
    good = _ok_samples(samples)
    return good[-1].seconds - good[0].seconds if good else 0.0


def _ok_samples(samples: Sequence[Sample]) -> list[Sample]:
    """The samples since the last one that was not OK, and since the last long pause between samples."""
    good: list[Sample] = []
    for sample in samples:
        if good and sample.at - good[-1].at > _MAX_DISTANCE:
            good = []
        good = [*good, sample] if sample.status is Status.OK else []
    return good


@dataclass(frozen=True, slots=True)
class Flaw:
    """A condition whose series has a gap, or else a point beyond its limit, within the required time."""

    check: str
    is_gap: bool


def flaws(samples: Sequence[Sample], hold_seconds: float) -> list[Flaw]:
    """The flaws in the series of the last sample, within the last `hold_seconds`."""
    start = pd.Timestamp(samples[-1].at - timedelta(seconds=hold_seconds))
    result = []
    for finding in samples[-1].findings:
        if finding.series is None or finding.limit is None:
            continue
        held = finding.series.loc[finding.series.index >= start]
        is_short = held.empty or finding.series.index[0] > start
        if is_short or bool(held.isna().any(axis=None)):
            result.append(Flaw(finding.check, is_gap=True))
        elif bool((held > finding.limit).any(axis=None)):
            result.append(Flaw(finding.check, is_gap=False))
    return result


def certificate(samples: Sequence[Sample], since: datetime, hold_seconds: float) -> Certificate:
    """The certificate for these samples."""
    good, held = _ok_samples(samples), held_seconds(samples)
    series_flaws = flaws(samples, hold_seconds) if held >= hold_seconds else []
    explanation: _Explanation = RecoveryOutcome.RECOVERED, (_HELD,), {}
    if series_flaws:
        explanation = _explain_flaws(series_flaws)
    elif held < hold_seconds:
        explanation = _explain_short_hold(samples, held)
    outcome, templates, facts = explanation
    return Certificate(
        outcome=outcome,
        templates=templates,
        facts={"held": held, "hold": hold_seconds, **facts},
        since=since,
        held_since=good[0].at if good else None,
        held_seconds=held,
        hold_seconds=hold_seconds,
        samples=tuple(samples),
    )


def _explain_flaws(series_flaws: Sequence[Flaw]) -> _Explanation:
    gaps = [flaw.check for flaw in series_flaws if flaw.is_gap]
    breaches = [flaw.check for flaw in series_flaws if not flaw.is_gap]
    templates = ((_GAPS,) if gaps else ()) + ((_BREACHES,) if breaches else ())
    outcome = RecoveryOutcome.CANNOT_TELL if gaps else RecoveryOutcome.NOT_RECOVERED
    return outcome, templates, {"gaps": ", ".join(gaps), "breaches": ", ".join(breaches)}


def _explain_short_hold(samples: Sequence[Sample], held: float) -> _Explanation:
    bad = [sample for sample in samples if sample.status is not Status.OK]
    if not bad:
        return RecoveryOutcome.CANNOT_TELL, (_STOPPED_EARLY,), {}
    failed = [finding.check for finding in bad[-1].findings if finding.status >= Status.WARNING]
    unknown = [finding.check for finding in bad[-1].findings if finding.status is Status.UNKNOWN]
    outcome = RecoveryOutcome.NOT_RECOVERED if failed else RecoveryOutcome.CANNOT_TELL
    templates = (_FAILED if failed else _UNKNOWN, *((_HELD_SINCE,) if held else ()))
    return outcome, templates, {"failed": ", ".join(failed), "unknown": ", ".join(unknown)}
