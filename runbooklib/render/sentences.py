"""Facts into sentences, and a catalogue of these sentences in each language.

A template is an English sentence with `{fact}` or `{fact:kind}` in it. It is also the key of its own
translation: a catalogue maps templates to templates. Facts are never evaluated: a field is a name.
"""

import math
import re
import string
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from runbooklib.errors import Reason
from runbooklib.model.event import Event
from runbooklib.model.findings import Fact, Finding, Status
from runbooklib.model.verdict import ALERT_CHECKS, Rank, Verdict
from runbooklib.text import visible

# Other languages by their code: English template -> template. English is its own catalogue.
CATALOGUES: dict[str, Mapping[str, str]] = {"en": {}}
# English words that a fact may be, as `{fact:term}`. A catalogue translates them like templates.
TERMS = frozenset({"requests", "code executions", "AI requests", *(rank.value for rank in Rank)})
# An UNKNOWN finding begins with its reason.
_REASONS: Mapping[Reason, str] = {
    Reason.UNREACHABLE: "Unreachable:",
    Reason.TIMED_OUT: "Timed out:",
    Reason.REFUSED: "Refused:",
    Reason.NONSENSE: "Invalid answer:",
    Reason.NO_DATA: "No data:",
    Reason.THIN_TRAFFIC: "Too little traffic:",
    Reason.STALE: "Stale:",
    Reason.PARTIAL: "Partial answer:",
    Reason.NOT_CONFIGURED: "Not configured:",
    Reason.NOT_ASKED: "Not asked again:",
}
_FIELD = re.compile(r"[a-z_][a-z0-9_]*")


def say(template: str, facts: Mapping[str, Fact] | None = None, *, language: str = "en") -> str:
    """The sentence of a template and its facts. Invisible characters of facts are escaped.

    Raises ValueError for a field that is not a name and for an unknown term, KeyError for an unknown kind,
    TypeError for a fact that does not fit its kind.
    """
    values, catalogue = facts or {}, CATALOGUES.get(language, {})
    parts = []
    for plain, field, kind, _ in string.Formatter().parse(catalogue.get(template, template)):
        parts.append(plain)
        if field is not None:
            if not _FIELD.fullmatch(field):
                raise ValueError(f"{field!r} is not the name of a fact")
            value = values.get(field)
            if kind == "term" and isinstance(value, str):
                value = catalogue.get(term(value), value)
            parts.append(fact_text(value, kind if kind and kind != "term" else ""))
    return "".join(parts)


def fact_text(value: Fact, kind: str = "") -> str:
    """One fact as text. `kind` is a key of KINDS, or empty for the value without a unit."""
    if value is None or value != value:
        return "unknown"
    if isinstance(value, float) and math.isinf(value):
        return "infinity" if value > 0 else "-infinity"
    if kind:
        return KINDS[kind](value)
    if isinstance(value, datetime):
        return time(value)
    return visible(value) if isinstance(value, str) else number(value)


def term(value: Fact) -> str:
    """A term of TERMS. Raises ValueError for any other text."""
    if value not in TERMS:
        raise ValueError(f"{value!r} is not in TERMS")
    return str(value)


def number(value: Fact) -> str:
    """Three significant digits: 0.0312, 12.3, 1,240. Whole numbers keep all digits."""
    amount = _float(value)
    if amount == int(amount) and abs(amount) < 1e15:
        return f"{int(amount):,}"
    return f"{amount:,.0f}" if abs(amount) >= 999.5 else f"{amount:.3g}"


def percent(value: Fact) -> str:
    """A ratio 0–1 as a percentage. A ratio below 1 is never shown as 100 %, one above 0 never as 0 %."""
    share = _float(value) * 100
    if share == int(share):
        return f"{share:.0f} %"
    digits = 1 if abs(share) >= 1 else 2
    while digits < 9 and round(share, digits) in (0, 100):
        digits += 1
    return f"{share:.{digits}f} %"


def seconds(value: Fact) -> str:
    """A duration in seconds, in its two largest units."""
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
    """A number of bytes in binary units."""
    amount = _float(value)
    for unit in ("bytes", "KiB", "MiB"):
        if abs(amount) < 1023.5:
            return f"{amount:.0f} {unit}"
        amount /= 1024
    return f"{amount:.2f} GiB"


def time(value: Fact) -> str:
    """An aware time in UTC, to the second. A text is returned as it is."""
    if not isinstance(value, datetime):
        return str(value)
    return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def rate(value: Fact) -> str:
    """A number per second."""
    return f"{number(round(_float(value), 2))}/s"


def _float(value: Fact) -> float:
    if isinstance(value, int | float):
        return float(value)
    raise TypeError(f"{value!r} is not a number")


KINDS: Mapping[str, Callable[[Fact], str]] = {
    "percent": percent,
    "seconds": seconds,
    "bytes": size,
    "number": number,
    "rate": rate,
    "time": time,
    "term": term,
}


def sentence(finding: Finding, *, language: str = "en") -> str:
    """The sentences of a finding. An UNKNOWN finding begins with its reason."""
    reason = (say(_REASONS[finding.reason], language=language),) if finding.reason else ()
    templates = (finding.template, *finding.further_templates)
    return " ".join((*reason, *(say(template, finding.facts, language=language) for template in templates)))


def event_text(event: Event, *, language: str = "en") -> str:
    """The sentence of an event."""
    if isinstance(event.what, Finding):
        return sentence(event.what, language=language)
    return say(event.what.template, event.what.facts, language=language)


def headline(verdict: Verdict, *, language: str = "en") -> str:
    """The verdict in a few sentences: the alert's symptom, and the strongest cause."""
    return " ".join(_headline(verdict, language))


def _headline(verdict: Verdict, language: str) -> Sequence[str]:
    if not verdict.symptoms:
        return [say("No check has run yet.", language=language)]
    first = verdict.symptoms[0]
    if verdict.is_unanswered:
        return _unanswered_texts(verdict, language)
    if verdict.status is Status.OK:
        return _sound_texts(verdict, language)
    if verdict.status is Status.UNKNOWN:
        about, count = sentence(first, language=language), _unanswered_count(verdict, language)
        return (
            [about, count]
            if first.status is Status.OK
            else [say("Cannot tell.", language=language), about, count]
        )
    if first.status is Status.OK:
        return [
            say("The alert's own symptom is not present.", language=language),
            sentence(first, language=language),
            say("Another check found a problem.", language=language),
            _worst_finding_text(verdict, language),
        ]
    # If several are equally bad, `max` returns the first: it is the alert's own symptom.
    worst = max(verdict.symptoms, key=lambda finding: finding.status)
    return [sentence(worst, language=language), *_likely_cause_texts(verdict, language)]


def _unanswered_texts(verdict: Verdict, language: str) -> Sequence[str]:
    """The alert's own question has no answer: this comes first, then what else was found."""
    about = sentence(_reason_without_answer(verdict), language=language)
    if verdict.status is Status.CRITICAL:
        return [
            say("The alert's own question has no answer.", language=language),
            about,
            say("Another check found a problem.", language=language),
            _worst_finding_text(verdict, language),
            *_likely_cause_texts(verdict, language),
        ]
    cannot_tell = [say("Cannot tell.", language=language), about, _unanswered_count(verdict, language)]
    return [*cannot_tell, *_beside_texts(_worst_finding(verdict), language)]


def _reason_without_answer(verdict: Verdict) -> Finding:
    """The first symptom; if its series are missing, the finding that says so of the alert's own rule."""
    first = verdict.symptoms[0]
    of_rule = [f for f in verdict.symptoms if f.check in ALERT_CHECKS and f.reason is Reason.NO_DATA]
    return of_rule[0] if of_rule and first.reason is Reason.NO_DATA else first


def _unanswered_count(verdict: Verdict, language: str) -> str:
    facts = {"count": len(verdict.not_checked)}
    return say("Checks without an answer: {count}.", facts, language=language)


def _sound_texts(verdict: Verdict, language: str) -> Sequence[str]:
    if not verdict.beside:
        return [say("All checks passed.", language=language)]
    return [
        say("The alert's own symptom is not present.", language=language),
        sentence(verdict.symptoms[0], language=language),
        *_beside_texts(verdict.beside[0], language),
    ]


def _beside_texts(finding: Finding, language: str) -> Sequence[str]:
    """What was found beside the answer, if it is a problem."""
    if finding.status < Status.WARNING:
        return []
    return [say("Beside that:", language=language), sentence(finding, language=language)]


def _worst_finding_text(verdict: Verdict, language: str) -> str:
    return sentence(_worst_finding(verdict), language=language)


def _worst_finding(verdict: Verdict) -> Finding:
    """The worst finding; of several, the first that has weight."""
    signs = [sign for ranked_cause in verdict.causes for sign in ranked_cause.cause.signs]
    findings = [*verdict.symptoms, *signs]
    return max(findings, key=lambda finding: (finding.status, finding not in verdict.beside))


def _likely_cause_texts(verdict: Verdict, language: str) -> Sequence[str]:
    if verdict.supported_causes:
        facts = {
            "title": verdict.supported_causes[0].cause.title,
            "rank": verdict.supported_causes[0].rank.value,
        }
        return [say("Most likely cause: {title} ({rank:term}).", facts, language=language)]
    if verdict.causes:
        return [say("No known cause is supported by the checks.", language=language)]
    return []


def unfinished(failure: str, interrupted: list[str], not_run: list[str]) -> str:
    """The text above a notebook whose run did not finish."""
    lines = [say("This run did not finish: {failure}", {"failure": failure})]
    if interrupted:
        lines.append(say("Interrupted: {steps}", {"steps": ", ".join(interrupted)}))
    if not_run:
        facts: dict[str, Fact] = {"count": len(not_run), "steps": ", ".join(not_run)}
        lines.append(say("Not run ({count}): {steps}", facts))
    return "\n".join(lines)


def unfinished_headline(so_far: str, failure: str) -> str:
    """The headline of a run that did not finish: the verdict so far, if there is one."""
    facts: dict[str, Fact] = {"failure": failure}
    if so_far:
        return f"{so_far} {say('The run did not finish: {failure}', facts)}"
    return say("Cannot tell. The run did not finish: {failure}", facts)
