"""Facts into sentences: each kind at its edges, nothing evaluated, nothing invisible."""

from datetime import datetime, timedelta, timezone

import pytest

from runbooklib.errors import Reason
from runbooklib.model.findings import Finding, Status, unknown
from runbooklib.model.verdict import Cause, judge
from runbooklib.render import sentences
from runbooklib.render.sentences import fact_text, headline, say, sentence
from runbooklib.text import visible

NAN = float("nan")


@pytest.mark.parametrize(
    ("kind", "value", "said"),
    [
        ("percent", 0, "0 %"),
        ("percent", 1, "100 %"),
        ("percent", 0.05, "5 %"),
        ("percent", 0.3, "30 %"),
        ("percent", 0.0512, "5.1 %"),
        ("percent", 0.999, "99.9 %"),
        ("percent", 0.9999, "99.99 %"),
        ("percent", 0.0005, "0.05 %"),
        ("percent", 0.00001, "0.001 %"),
        ("percent", 12.5, "1250 %"),
        ("percent", -0.051, "-5.1 %"),
        ("seconds", 0, "0 ms"),
        ("seconds", 0.0004, "0.4 ms"),
        ("seconds", 0.12, "120 ms"),
        ("seconds", 0.9999, "1 s"),
        ("seconds", 1, "1 s"),
        ("seconds", 12.34, "12.3 s"),
        ("seconds", 59.96, "1 min"),
        ("seconds", 60, "1 min"),
        ("seconds", 61.4, "1 min 1 s"),
        ("seconds", 3599.7, "1 h"),
        ("seconds", 3600, "1 h"),
        ("seconds", 5400, "1 h 30 min"),
        ("seconds", 86399, "23 h 59 min"),
        ("seconds", 90000, "1 d 1 h"),
        ("seconds", -90, "-1 min 30 s"),
        ("bytes", 0, "0 bytes"),
        ("bytes", 1023, "1023 bytes"),
        ("bytes", 1024, "1 KiB"),
        ("bytes", 1048575, "1 MiB"),
        ("bytes", 201326592, "192 MiB"),
        ("bytes", 1610612736, "1.50 GiB"),
        ("number", 0, "0"),
        ("number", 1240, "1,240"),
        ("number", 12.34, "12.3"),
        ("number", 0.03123, "0.0312"),
        ("number", 1234.5, "1,234"),
        ("number", 999.96, "1,000"),
        ("number", 1e18, "1,000,000,000,000,000,000"),
        ("rate", 12, "12/s"),
        ("rate", 0.126, "0.13/s"),
        ("rate", 0, "0/s"),
    ],
)
def test_a_number_is_said_in_its_unit(kind: str, value: float, said: str) -> None:
    assert fact_text(value, kind) == said


@pytest.mark.parametrize("kind", ["percent", "seconds", "bytes", "number", "rate", "time", ""])
@pytest.mark.parametrize("value", [None, NAN])
def test_what_nobody_knows_is_called_unknown(kind: str, value: float | None) -> None:
    assert fact_text(value, kind) == "unknown"


@pytest.mark.parametrize("kind", ["percent", "seconds", "bytes", "number", "rate", ""])
@pytest.mark.parametrize(("value", "said"), [(float("inf"), "infinity"), (-float("inf"), "-infinity")])
def test_infinity_is_said_and_does_not_fail(kind: str, value: float, said: str) -> None:
    """As a quantile of Prometheus is, when all requests fell into the last bucket."""
    assert fact_text(value, kind) == said


def test_a_time_is_said_in_utc_whatever_its_zone() -> None:
    noon = datetime(2026, 1, 15, 20, 0, 0, 999_999, tzinfo=timezone(timedelta(hours=8)))
    assert fact_text(noon) == fact_text(noon, "time") == "2026-01-15 12:00:00 UTC"
    assert fact_text("yesterday", "time") == "yesterday"


@pytest.mark.parametrize("kind", ["percent", "seconds", "bytes", "number", "rate"])
def test_a_text_where_a_number_belongs_is_a_defect_and_not_a_sentence(kind: str) -> None:
    with pytest.raises(TypeError, match="is not a number"):
        fact_text("12", kind)


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("plain text", "plain text"),
        ("line\nbreak\tand tab", "line\nbreak\tand tab"),
        ("\x1b[31m", "\\u{1b}[31m"),
        ("\x00\x07\x08\x7f", "\\u{0}\\u{7}\\u{8}\\u{7f}"),
        ("a\rb", "a\\u{d}b"),
        ("\x9b\x90", "\\u{9b}\\u{90}"),
        ("\u202etxt", "\\u{202e}txt"),
        ("a\u200bb\u200d\ufeff\u00ad", "a\\u{200b}b\\u{200d}\\u{feff}\\u{ad}"),
        ("a\u2028b\u2029", "a\\u{2028}b\\u{2029}"),
        ("\U000e0041", "\\u{e0041}"),
        ("\ud800", "\\u{d800}"),
        ("\ue000", "\\u{e000}"),
        ("数据库 – ü ✖ 🙂 ５ ² µs Ωm ½", "数据库 – ü ✖ 🙂 ５ ² µs Ωm ½"),  # noqa: RUF001
        ("a\u3164b\u2800c\ufe01d\u034fe", "a\\u{3164}b\\u{2800}c\\u{fe01}d\\u{34f}e"),
        ("b\u0430ckend", "b\\u{430}ckend"),
        ("\u0441\u043e\u0440 ok", "\\u{441}\\u{43e}\\u{440} ok"),
        (
            "\u0440\u043e\u0441\u0442 \u0436\u0430\u043b\u043e\u0431",
            "\u0440\u043e\u0441\u0442 \u0436\u0430\u043b\u043e\u0431",
        ),
        ("\u0436 b\u0430ckend", "\u0436 b\\u{430}ckend"),
        ("\uff42ack \U0001d41b", "\\u{ff42}ack \\u{1d41b}"),
        ("\u0391lpha \u03bbog", "\\u{391}lpha \u03bbog"),
    ],
)
def test_what_is_invisible_is_shown(hostile: str, shown: str) -> None:
    assert visible(hostile) == shown
    assert fact_text(hostile) == shown
    assert say("“{line}”", {"line": hostile}) == f"“{shown}”"


@pytest.mark.parametrize(
    "template",
    [
        "{a.__class__}",
        "{a[0]}",
        "{a.b}",
        "{0}",
        "{}",
        "{A}",
        "{a!r}x{b.c}",
        "{__init__.__globals__}",
        "{a b}",
    ],
)
def test_a_field_is_a_name_and_nothing_is_evaluated(template: str) -> None:
    with pytest.raises(ValueError, match="is not the name of a fact"):
        say(template, {"a": "x"})


def test_facts_are_no_templates() -> None:
    assert say("{a} and {b}", {"a": "{b}", "b": "{a.__class__}"}) == "{b} and {a.__class__}"
    assert say("{{a}} {a}", {"a": "x"}) == "{a} x"


def test_a_fact_that_is_missing_is_unknown_and_a_kind_that_is_none_is_a_defect() -> None:
    assert say("{a:percent} of {b}", {"b": "x"}) == "unknown of x"
    with pytest.raises(KeyError):
        say("{a:colour}", {"a": 1})


def test_a_catalogue_translates_the_template_and_keeps_the_facts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sentences.CATALOGUES, "zh", {"{share:percent} fail.": "失败率 {share:percent}。"})
    assert say("{share:percent} fail.", {"share": 0.3}, language="zh") == "失败率 30 %。"
    assert say("No word for it.", language="zh") == "No word for it."
    assert say("{share:percent} fail.", {"share": 0.3}, language="eo") == "30 % fail."


def of(status: Status, said: str) -> Finding:
    if status is Status.UNKNOWN:
        return unknown(Reason.UNREACHABLE, said)
    return Finding(status=status, template=said, source="s")


def test_an_unknown_finding_begins_with_its_reason() -> None:
    assert sentence(of(Status.UNKNOWN, "nobody.")) == "Unreachable: nobody."
    assert sentence(of(Status.OK, "All is well.")) == "All is well."


NO_SERIES = unknown(Reason.NO_DATA, "no series of chats.")
NO_RULE = unknown(Reason.NO_DATA, "no series, so the rule cannot become true.", check="alert_rule")
OTHERS = Finding(status=Status.WARNING, template="Other firing alerts: X.", check="related_alerts")
CLAIMED = Cause("c", "The crash", (of(Status.CRITICAL, "It crashed."),))
UNLIKELY = Cause("u", "The other", (of(Status.OK, "Not this."),))


@pytest.mark.parametrize(
    ("symptoms", "causes", "said"),
    [
        ([], [], "No check has run yet."),
        ([of(Status.OK, "Fine.")], [], "All checks passed."),
        (
            [of(Status.UNKNOWN, "gone.")],
            [],
            "Cannot tell. Unreachable: gone. Checks without an answer: 1.",
        ),
        (
            [of(Status.OK, "Fine."), of(Status.UNKNOWN, "gone.")],
            [],
            "Fine. Checks without an answer: 1.",
        ),
        ([of(Status.CRITICAL, "Bad.")], [], "Bad."),
        ([of(Status.CRITICAL, "Bad.")], [CLAIMED], "Bad. Most likely cause: The crash (likely)."),
        (
            [of(Status.CRITICAL, "Bad.")],
            [UNLIKELY],
            "Bad. No known cause is supported by the checks.",
        ),
        (
            [of(Status.WARNING, "Slow."), of(Status.CRITICAL, "Bad.")],
            [],
            "Bad.",
        ),
        ([of(Status.CRITICAL, "First."), of(Status.CRITICAL, "Second.")], [], "First."),
        (
            [of(Status.OK, "Fine.")],
            [CLAIMED],
            "The alert's own symptom is not present. Fine. Another check found a problem. It crashed.",
        ),
        (
            [NO_SERIES, OTHERS],
            [],
            "Cannot tell. No data: no series of chats. Checks without an answer: 1. Beside that: "
            "Other firing alerts: X.",
        ),
        (
            [NO_SERIES, NO_RULE, OTHERS, of(Status.WARNING, "Slow.")],
            [],
            "Cannot tell. No data: no series, so the rule cannot become true. Checks without an answer: 2. "
            "Beside that: Slow.",
        ),
        (
            [NO_SERIES, OTHERS],
            [CLAIMED],
            "The alert's own question has no answer. No data: no series of chats. Another check found a "
            "problem. It crashed. Most likely cause: The crash (likely).",
        ),
        (
            [of(Status.OK, "Fine."), OTHERS],
            [],
            "The alert's own symptom is not present. Fine. Beside that: Other firing alerts: X.",
        ),
    ],
)
def test_the_headline_says_what_it_is_and_never_more_than_is_known(
    symptoms: list[Finding], causes: list[Cause], said: str
) -> None:
    assert headline(judge(symptoms, causes)) == said
