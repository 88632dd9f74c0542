"""The one place where facts become sentences, and a catalogue of these sentences in each language.

A template is an English sentence with `{fact}` or `{fact:kind}` in it. It is also the key of its own
translation: a catalogue maps templates to templates. Facts are never evaluated: a field is a name.
"""

import math
import re
import string
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from runbooklib.findings import Fact, Finding, Status, Verdict
from runbooklib.visibly import visible

# Other languages by their code: English template -> template. English is its own catalogue.
CATALOGUES: dict[str, Mapping[str, str]] = {"en": {}}
_FIELD = re.compile(r"[a-z_][a-z0-9_]*")


def say(template: str, facts: Mapping[str, Fact] | None = None, *, language: str = "en") -> str:
    """The sentence of a template and its facts. What came from outside is made visible, never markup."""
    known = facts or {}
    spoken = CATALOGUES.get(language, {}).get(template, template)
    parts = []
    for plain, field, kind, _ in string.Formatter().parse(spoken):
        parts.append(plain)
        if field is not None:
            if not _FIELD.fullmatch(field):
                raise ValueError(f"{field!r} is no name of a fact")
            parts.append(told(known.get(field), kind or ""))
    return "".join(parts)


def told(value: Fact, kind: str = "") -> str:
    """One fact as text. `kind` is percent, seconds, bytes, number, rate, time or empty for as it is."""
    if value is None or value != value:
        return "unknown"
    if isinstance(value, float) and math.isinf(value):
        return "infinity" if value > 0 else "-infinity"
    if kind:
        return _KINDS[kind](value)
    if isinstance(value, datetime):
        return time(value)
    return visible(value) if isinstance(value, str) else number(value)


def number(value: Fact) -> str:
    """At most three significant digits behind the point: 0.0312, 12.3, 1,240."""
    amount = _float(value)
    if amount == int(amount) and abs(amount) < 1e15:
        return f"{int(amount):,}"
    return f"{amount:,.0f}" if abs(amount) >= 999.5 else f"{amount:.3g}"


def percent(value: Fact) -> str:
    """A ratio 0–1 as a percentage; what is not all is never called 100 %, what is not nothing never 0 %."""
    share = _float(value) * 100
    if share == int(share):
        return f"{share:.0f} %"
    digits = 1 if abs(share) >= 1 else 2
    while digits < 9 and round(share, digits) in (0, 100):
        digits += 1
    return f"{share:.{digits}f} %"


def seconds(value: Fact) -> str:
    """A duration in its two largest units."""
    amount = _float(value)
    if amount < 0:
        return f"-{seconds(-amount)}"
    if amount < 0.9995:
        milliseconds = amount * 1000
        return f"{milliseconds:.0f} ms" if milliseconds >= 10 else f"{milliseconds:.2g} ms"
    if amount < 59.95:
        return f"{amount:.3g} s"
    whole = round(amount)
    sizes = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
    place = next(i for i, (size, _) in enumerate(sizes) if whole >= size)
    (large, unit), (small, rest) = sizes[place], sizes[min(place + 1, 3)]
    left = whole % large // small
    return f"{whole // large} {unit} {left} {rest}" if left and large > 1 else f"{whole // large} {unit}"


def size(value: Fact) -> str:
    """Bytes in binary units."""
    amount = _float(value)
    for unit in ("bytes", "KiB", "MiB"):
        if abs(amount) < 1023.5:
            return f"{amount:.0f} {unit}"
        amount /= 1024
    return f"{amount:.2f} GiB"


def time(value: Fact) -> str:
    """An aware moment in UTC, to the second."""
    if not isinstance(value, datetime):
        return str(value)
    return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def rate(value: Fact) -> str:
    """Something per second."""
    return f"{number(round(_float(value), 2))}/s"


def _float(value: Fact) -> float:
    if isinstance(value, int | float):
        return float(value)
    raise TypeError(f"{value!r} is not a number")


_KINDS: Mapping[str, Callable[[Fact], str]] = {
    "percent": percent,
    "seconds": seconds,
    "bytes": size,
    "number": number,
    "rate": rate,
    "time": time,
}


def sentence(finding: Finding, *, language: str = "en") -> str:
    """What a finding says; an UNKNOWN one begins with its reason."""
    said = say(finding.template, finding.facts, language=language)
    return f"{say(finding.reason.value.capitalize(), language=language)}: {said}" if finding.reason else said


def headline(verdict: Verdict, *, language: str = "en") -> str:
    """The verdict in one line: what the alert is about, and the strongest cause."""
    if not verdict.symptoms:
        return say("Nothing has been asked yet.", language=language)
    first, missing = verdict.symptoms[0], {"count": len(verdict.not_checked)}
    if verdict.status is Status.OK:
        return say("Everything that was asked is sound.", language=language)
    if verdict.status is Status.UNKNOWN:
        why = say("Questions without an answer: {count}.", missing, language=language)
        if first.status is Status.OK:
            return f"{sentence(first, language=language)} {why}"
        told = {"told": sentence(first, language=language), "why": why}
        return say("Cannot tell. {told} {why}", told, language=language)
    if first.status is Status.OK:
        told = {"first": sentence(first, language=language), "worst": _worst(verdict, language)}
        return say("The alert's own symptom is not there: {first} But: {worst}", told, language=language)
    # On a draw the first asked speaks: it is what the alert is about.
    worst = max(verdict.symptoms, key=lambda finding: finding.status)
    return f"{sentence(worst, language=language)} {_most_likely(verdict, language)}".strip()


def _worst(verdict: Verdict, language: str) -> str:
    signs = [sign for weighed in verdict.causes for sign in weighed.cause.signs]
    return sentence(max([*verdict.symptoms, *signs], key=lambda finding: finding.status), language=language)


def _most_likely(verdict: Verdict, language: str) -> str:
    if verdict.claimed:
        cause = {"title": verdict.claimed[0].cause.title, "rank": verdict.claimed[0].rank.value}
        return say("Most likely cause: {title} ({rank}).", cause, language=language)
    if verdict.causes:
        return say("Nothing that was checked speaks for a known cause.", language=language)
    return ""


def unfinished(failure: str, interrupted: list[str], not_run: list[str]) -> str:
    """What stands above a notebook whose run did not finish."""
    lines = [say("This run did not finish: {failure}", {"failure": failure})]
    if interrupted:
        lines.append(say("Interrupted: {steps}", {"steps": ", ".join(interrupted)}))
    if not_run:
        facts: dict[str, Fact] = {"count": len(not_run), "steps": ", ".join(not_run)}
        lines.append(say("Not run ({count}): {steps}", facts))
    return "\n".join(lines)


def unfinished_headline(so_far: str, failure: str) -> str:
    """The headline of such a run: what it had found, or that nobody can tell."""
    facts: dict[str, Fact] = {"so_far": so_far, "failure": failure}
    if so_far:
        return say("{so_far} The run did not finish: {failure}", facts)
    return say("Cannot tell: the run did not finish: {failure}", facts)
