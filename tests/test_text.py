import pytest

from runbooklib.text import filled, hidden, quoted


@pytest.mark.parametrize(
    "text",
    ["", "plain", "a\tb\nc", "é ü ß", "数据库\u3000三", "日本語", "🙂", "—…×", "e\u0301", "नमस्ते", "مرحبا"],
)
def test_what_people_write_is_seen(text: str) -> None:
    assert hidden(text) == ""


@pytest.mark.parametrize(
    ("character", "told"),
    [
        ("\0", "U+0000"),
        ("\r", "U+000D"),
        ("\x1b", "U+001B"),
        ("\x9b", "U+009B"),
        ("\xa0", "U+00A0 NO-BREAK SPACE"),
        ("\xad", "U+00AD SOFT HYPHEN"),
        ("\u034f", "U+034F COMBINING GRAPHEME JOINER"),
        ("\u200b", "U+200B ZERO WIDTH SPACE"),
        ("\u2028", "U+2028 LINE SEPARATOR"),
        ("\u202e", "U+202E RIGHT-TO-LEFT OVERRIDE"),
        ("\u2800", "U+2800 BRAILLE PATTERN BLANK"),
        ("\u3164", "U+3164 HANGUL FILLER"),
        ("\ud800", "U+D800"),
        ("\ufe0f", "U+FE0F VARIATION SELECTOR-16"),
        ("\ufeff", "U+FEFF ZERO WIDTH NO-BREAK SPACE"),
        ("\U000e0041", "U+E0041 TAG LATIN CAPITAL LETTER A"),
        ("\U000e0100", "U+E0100 VARIATION SELECTOR-17"),
    ],
)
def test_what_is_not_seen_is_named(character: str, told: str) -> None:
    assert hidden(f"数a{character}b") == told
    assert hidden(character) == told


def test_a_quote_is_short_and_in_one_line() -> None:
    assert quoted("a") == "'a'"
    assert quoted("a\nb\u202e") == "'a\\nb\\u202e'"
    assert quoted("x" * 61) == f"{'x' * 60!r}… (61 characters)"
    assert quoted(5) == "5"
    assert len(quoted(["x" * 1000])) < 130


def test_a_template_is_filled_by_name() -> None:
    assert filled("{share:.0%} of {what}", share=0.5, what="{requests}") == "50% of {requests}"


@pytest.mark.parametrize("template", ["{x.__class__}", "{x[0]}", "{}", "{0}", "{x.y:>9}"])
def test_a_template_with_another_field_than_a_name_is_refused(template: str) -> None:
    with pytest.raises(ValueError, match="is not a name"):
        filled(template, x="x")
