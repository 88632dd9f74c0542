"""Proof of recovery: the conditions of the template, asked again and again until they have held long enough.

RECOVERED      every condition was answered, and held, at every look of the whole span, and its series in
               Prometheus have no gap and no point beyond the limit in it
NOT RECOVERED  the time is over, and a condition did not hold at the last look that was not good, or hold
               long enough since
CANNOT TELL    the time is over, and what stood in the way could not be asked: no data, no traffic, no answer
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

from runbooklib import actionledger
from runbooklib.actionledger import Deed
from runbooklib.answers import Check, answered
from runbooklib.checks import alerting, dependencies, latency, traffic
from runbooklib.errors import EvidenceError, ParameterError
from runbooklib.findings import Finding, Status
from runbooklib.redact import Redactor
from runbooklib.scene import Scene
from runbooklib.tape import Tape, side_by_side
from runbooklib.window import seconds_of

# Of requests, and of a P95 in seconds: what the template calls recovered.
FAILED_BELOW, WAIT_BELOW_SECONDS = 0.01, 0.5
Condition = tuple[Check, Mapping[str, Any]]
# A scene that ends now, and a tape of its own for it.
Look = Callable[[], tuple[Scene, Tape]]
OnSample = Callable[["Sample", float], None]
# Looks that are further apart prove nothing of the time between them.
_MOST_APART = timedelta(seconds=60)
# However seldom a site scrapes: half of that, since a look takes its time. Looking more often than the scrape
# is no waste, for only the series wait for it: pages and Alertmanager answer anew each time.
_MOST_EVERY_SECONDS = 30.0


class Outcome(StrEnum):
    """What the certificate says."""

    RECOVERED = "RECOVERED"
    NOT_RECOVERED = "NOT RECOVERED"
    CANNOT_TELL = "CANNOT TELL"


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at all conditions, when it was over (aware UTC, and by the monotonic clock)."""

    at: datetime
    seconds: float
    findings: tuple[Finding, ...]

    @property
    def status(self) -> Status:
        """OK only where every condition was answered and holds; WARNING or worse where one does not."""
        return max(finding.status for finding in self.findings)


@dataclass(frozen=True, slots=True)
class Certificate:
    """What came of it, in `outcome` and `says`. `held_since`: from when on every condition held, if one did.

    `turned` has, for each condition, how many seconds after `since` it turned good for good; None where it
    did not, and 0 where it had been good all along. `curve`: a row a look, a column a condition, with the
    names of the statuses.
    """

    outcome: Outcome
    says: str
    since: datetime
    held_since: datetime | None
    held_seconds: float
    hold_seconds: float
    samples: tuple[Sample, ...]

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The conditions as they were last answered."""
        return self.samples[-1].findings

    @property
    def curve(self) -> pd.DataFrame:
        """A row a look, by time (aware UTC); a column a condition; the names of the statuses."""
        rows = [{f.check: f.status.name for f in sample.findings} for sample in self.samples]
        return pd.DataFrame(rows, index=pd.DatetimeIndex([s.at for s in self.samples], name="at"))

    @property
    def turned(self) -> dict[str, float | None]:
        """By check: how many seconds after `since` it turned good for good."""
        found: dict[str, float | None] = {}
        for place, last in enumerate(self.findings):
            bad = [s for s in self.samples if s.findings[place].status is not Status.OK]
            if last.status is not Status.OK:
                found[last.check] = None
                continue
            after = [s for s in self.samples if not bad or s.seconds > bad[-1].seconds]
            found[last.check] = (after[0].at - self.since).total_seconds() if bad else 0.0
        return found


def conditions(*, failed_below: float, wait_below_seconds: float) -> list[Condition]:
    """What must hold: health page, share of failed requests, P95, rule, alert, key functions.

    The share and P95 need traffic, or they are UNKNOWN; so is a rule whose series are gone.
    """
    asked: list[Condition] = [
        (traffic.error_rate, {"above": failed_below}),
        (latency.response_time, {"above": wait_below_seconds}),
        (alerting.alert_rule, {}),
        (alerting.firing_alert, {}),
        (dependencies.health_page, {}),
    ]
    return [*asked, (dependencies.key_functions, {})]


@dataclass(frozen=True, slots=True)
class Wait:
    """How long all must hold, for how long that is waited, how often it is looked at; in seconds."""

    hold_seconds: float
    within_seconds: float
    every_seconds: float

    @classmethod
    def of(cls, scene: Scene, held: str, within: str = "") -> "Wait":
        """By durations; without `within`, ten minutes more than must be held. Raises ParameterError."""
        hold = seconds_of(held)
        scrape = max(seconds_of(scene.timing.scrape_interval), 2.0)
        if hold < 2 * scrape:
            raise ParameterError(
                f"{held} is no time to prove anything in", remedy=f"hold it for {2 * scrape:g} s or more"
            )
        every = min(scrape, _MOST_EVERY_SECONDS)
        return cls(hold, seconds_of(within) if within else hold + 600.0, every)


def watch(
    look: Look,
    wait: Wait,
    *,
    since: datetime | None = None,
    failed_below: float = FAILED_BELOW,
    wait_below_seconds: float = WAIT_BELOW_SECONDS,
    on_sample: OnSample | None = None,
) -> Certificate:
    """Look until everything has held long enough, or the time is over.

    `on_sample` is told of each look, and for how many seconds everything has held.
    """
    begun, since = time.monotonic(), since or datetime.now(UTC)
    samples: list[Sample] = []
    limits = {"failed_below": failed_below, "wait_below_seconds": wait_below_seconds}
    while True:
        next_at = time.monotonic() + wait.every_seconds
        samples.append(_looked(look, limits))
        held = held_seconds(samples)
        if on_sample is not None:
            on_sample(samples[-1], held)
        is_over = time.monotonic() - begun >= wait.within_seconds
        if is_over or (held >= wait.hold_seconds and not flaws(samples, wait.hold_seconds)):
            return certificate(samples, since, wait.hold_seconds)
        time.sleep(max(next_at - time.monotonic(), 0.0))


def _looked(look: Look, limits: Mapping[str, float]) -> Sample:
    """All conditions now, side by side, each with a scene and a tape of its own."""

    def ask(check: Check, given: Mapping[str, Any]) -> Finding:
        return answered(check, given, *look())

    findings = side_by_side([partial(ask, check, given) for check, given in conditions(**limits)])
    return Sample(datetime.now(UTC), time.monotonic(), tuple(findings))


def prove(
    scene: Scene,
    redactor: Redactor,
    evidence: Path | None,
    wait: Wait,
    *,
    on_sample: OnSample | None = None,
    failed_below: float = FAILED_BELOW,
    wait_below_seconds: float = WAIT_BELOW_SECONDS,
) -> tuple[Certificate, Deed | None]:
    """Watch that place from now on, over new tapes; and the last deed there, which may have helped.

    `evidence` is the folder with the ledger of actions. Raises EvidenceError where that cannot be read.
    """
    where = (scene.target.environment_name, scene.target.service_name, scene.alert)
    try:
        deed = actionledger.last_of(evidence, *where) if evidence else None
    except (OSError, ValueError) as error:
        raise EvidenceError(
            f"the ledger of actions cannot be read: {error}", remedy="see `runbook verify`"
        ) from None

    def look() -> tuple[Scene, Tape]:
        own = Tape(redactor)
        return scene.anew(own, at_least_seconds=wait.hold_seconds * 1.5), own

    found = watch(
        look,
        wait,
        since=deed.at if deed else None,
        failed_below=failed_below,
        wait_below_seconds=wait_below_seconds,
        on_sample=on_sample,
    )
    return found, deed


def held_seconds(samples: Sequence[Sample]) -> float:
    """For how long, up to the last look, every look was good."""
    good = _good(samples)
    return good[-1].seconds - good[0].seconds if good else 0.0


def _good(samples: Sequence[Sample]) -> list[Sample]:
    """The looks since the last one that was not good, and since the last long time without any."""
    found: list[Sample] = []
    for sample in samples:
        if found and sample.at - found[-1].at > _MOST_APART:
            found = []
        found = [*found, sample] if sample.status is Status.OK else []
    return found


def flaws(samples: Sequence[Sample], hold_seconds: float) -> list[str]:
    """What the series of the last look have against it: points beyond a limit, and gaps, within the span."""
    start = samples[-1].at - timedelta(seconds=hold_seconds)
    told = []
    for finding in samples[-1].findings:
        if finding.series is None or finding.limit is None:
            continue
        held = finding.series.loc[finding.series.index >= pd.Timestamp(start)]
        is_short = held.empty or finding.series.index[0] > pd.Timestamp(start)
        if is_short or bool(held.isna().any(axis=None)):
            told.append(f"{finding.check} has a gap")
        elif bool((held > finding.limit).any(axis=None)):
            told.append(f"{finding.check} was beyond its limit")
    return told


def certificate(samples: Sequence[Sample], since: datetime, hold_seconds: float) -> Certificate:
    """What these looks amount to."""
    good, held = _good(samples), held_seconds(samples)
    lacking = flaws(samples, hold_seconds) if held >= hold_seconds else []
    if held >= hold_seconds and not lacking:
        outcome, says = Outcome.RECOVERED, f"Everything has held for {held:.0f} s."
    else:
        outcome, says = _why_not(samples, held, hold_seconds, lacking)
    return Certificate(
        outcome=outcome,
        says=says,
        since=since,
        held_since=good[0].at if good else None,
        held_seconds=held,
        hold_seconds=hold_seconds,
        samples=tuple(samples),
    )


def _why_not(
    samples: Sequence[Sample], held: float, hold_seconds: float, lacking: Sequence[str]
) -> tuple[Outcome, str]:
    if lacking:
        has_gap = any(one.endswith("a gap") for one in lacking)
        return (Outcome.CANNOT_TELL if has_gap else Outcome.NOT_RECOVERED), f"{'; '.join(lacking)}."
    last = next(s for s in reversed(samples) if s.status is not Status.OK) if _was_bad(samples) else None
    if last is None:
        return Outcome.CANNOT_TELL, f"It was looked at for {held:.0f} s only, of {hold_seconds:.0f} s."
    failed = [f for f in last.findings if f.status >= Status.WARNING]
    unknown = [f for f in last.findings if f.status is Status.UNKNOWN]
    since = f" Everything holds since, for {held:.0f} s of {hold_seconds:.0f} s." if held else ""
    if failed:
        return Outcome.NOT_RECOVERED, f"It does not hold: {_named(failed)}.{since}"
    return Outcome.CANNOT_TELL, f"It could not be asked: {_named(unknown)}.{since}"


def _was_bad(samples: Sequence[Sample]) -> bool:
    return any(sample.status is not Status.OK for sample in samples)


def _named(findings: Sequence[Finding]) -> str:
    return ", ".join(f.check for f in findings)
