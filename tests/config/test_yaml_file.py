import os
from contextlib import suppress
from pathlib import Path
from time import process_time
from typing import Any

import pytest

from runbooklib.config.yaml_file import read_mapping
from runbooklib.errors import SettingsError


def read(folder: Path, text: str | bytes) -> dict[str, Any]:
    file = folder / "x.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_mapping(file, "x.yaml")


def test_plain_values_mean_what_they_look_like(tmp_path: Path) -> None:
    text = """
    text: backend
    number: 5
    share: 0.05
    flag: true
    nothing: null
    day: 2026-01-15
    time: "12:34:56"
    quoted: "no"
    list: [a, 1]
    map: {a: {b: c}}
    """
    assert read(tmp_path, text) == {
        "text": "backend",
        "number": 5,
        "share": 0.05,
        "flag": True,
        "nothing": None,
        "day": "2026-01-15",
        "time": "12:34:56",
        "quoted": "no",
        "list": ["a", 1],
        "map": {"a": {"b": "c"}},
    }


@pytest.mark.parametrize("text", ["", "\n", "# only a comment\n", "---\n"])
def test_an_empty_file_is_an_empty_mapping(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, text) == {}


AMBIGUOUS = [
    "NO",
    "no",
    "yes",
    "Yes",
    "on",
    "off",
    "y",
    "N",
    "007",
    "-007",
    "0o17",
    "0b1",
    "0x1F",
    "12:34:56",
    "1:30",
    "10_000",
    "1__0",
    "-.5_0",
    "1_0.5",
    "1_0.5e+3",
    "1e3",
    "1E-3",
    "1.5e3",
    ".5e3",
]


@pytest.mark.parametrize("word", AMBIGUOUS)
def test_words_that_yaml_turns_into_values_are_refused(tmp_path: Path, word: str) -> None:
    with pytest.raises(SettingsError, match=r"x.yaml, line 2, column 4: .*quote it"):
        read(tmp_path, f"a: b\nk: {word}\n")
    assert read(tmp_path, f"k: '{word}'") == {"k": word}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("on: 1", "line 1, column 1: on is ambiguous"),
        ("a: 1\nb: 2\na: 3", "line 3, column 1: 'a' is a duplicate key"),
        ("x:\n  a: 1\n  a: 2", "line 3, column 3: 'a' is a duplicate key"),
        ("1: a", "line 1, column 1: the key 1 is not text"),
        ("? [a]\n: b", "line 1, column 3: the key ['a'] is not text"),
        ("a: &x 1\nb: *x", "line 1, column 4: anchors and aliases"),
        ("a: *x", "line 1, column 4: anchors and aliases"),
        ("<<: {a: 1}", "line 1, column 1: "),
        ("a: [1, 2", "line 1, column 9: "),
        ("a: 1\n b: 2", "line 2, column 3: "),
        ("a: 1\n\tb: 2", "line 2, column 1: "),
        ("a: 1\n---\nb: 2", "line 2, column 1: "),
        ("a: 1\nb: \0", "line 2, column 4: special characters"),
        ("a: " + "[" * 10_000, "line 1, column 53: nested too deeply"),
        ("\n".join(" " * depth + "a:" for depth in range(200)), "line 50, column 50: nested too deeply"),
        ("a: .nan", "line 1, column 4: '.nan' is not a finite number"),
        ("b: 1\na: 1.0e+999999", "line 2, column 4: '1.0e+999999' is not a finite number"),
        ("a: " + "1" * 5000, "line 1, column 4: '1111"),
        ('a: "\\UFFFFFFFF"', "line 1, column 7: an escape that is not a character"),
        ('a: "\\U00110000"', "line 1, column 7: an escape that is not a character"),
        ('a: "x\\0"', "line 1, column 4: contains U+0000, which"),
        ('a: "x\\ud800"', "line 1, column 4: contains U+D800, which"),
        (
            "b: 1\na: x\u202ey",
            "line 2, column 4: contains U+202E RIGHT-TO-LEFT OVERRIDE, which cannot be printed",
        ),
        ("a\u200bb: 1", "line 1, column 1: contains U+200B ZERO WIDTH SPACE"),
        ("x" * 300 + ": 1\n" + "x" * 300 + ": 1", "(300 characters) is a duplicate key"),
    ],
)
def test_what_is_wrong_is_told_with_line_and_column(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(SettingsError) as raised:
        read(tmp_path, text)
    assert told in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "tag",
    [
        "!!python/object/apply:os.getcwd []",
        "!!python/name:os.getcwd ''",
        "!!binary aGVsbG8=",
        "!!timestamp 2026-01-15",
        "!!set {a}",
        "!!str 5",
        "!mine x",
    ],
)
def test_tags_are_refused(tmp_path: Path, tag: str) -> None:
    with pytest.raises(SettingsError, match="line 1, column 4: tags are not allowed"):
        read(tmp_path, f"a: {tag}")


def test_an_alias_bomb_is_refused_at_once(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    begun = process_time()
    with pytest.raises(SettingsError, match="anchors and aliases"):
        read(tmp_path, "\n".join(lines))
    assert process_time() - begun < 2


@pytest.mark.parametrize("text", ["- a\n- b", "just text", "5"])
def test_what_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingsError, match="must contain `name: value` lines"):
        read(tmp_path, text)


@pytest.mark.parametrize("filler", ["x", "数"])
def test_a_file_that_is_too_large_is_refused_and_never_cut(tmp_path: Path, filler: str) -> None:
    size = len(filler.encode())
    with pytest.raises(SettingsError, match="larger than 250 kB"):
        read(tmp_path, "a: 1\n# " + filler * (300_000 // size) + "\nb: 2\n")


def sized(piece: str, tail: str = "") -> str:
    """The piece, as often as a file may hold it."""
    return "a: 1\n" + piece * (240_000 // len(piece)) + tail


BUSY = {
    "keys": "".join(f"k{number:x}: 1\n" for number in range(22_000)),
    "values": "a: [" + "1," * 110_000 + "]",
    "escapes": 'a: "' + "\\x41" * 55_000 + '"',
    "comments": sized("#\n"),
    "empty lines": sized("\n"),
    "lines of a text": sized("\n  x", "\n"),
    "directives": "%FOO bar\n" * 25_000,
    "digits": "b: " + "1_" * 110_000 + "x",
    "sixties": "b: 1" + ":1" * 110_000 + "x",
    "colons": "b: " + "1:" * 110_000,
    "questions": "? " * 110_000,
    "dashes": "a:\n" + "- " * 110_000,
}


@pytest.mark.parametrize("what", BUSY)
def test_no_file_keeps_the_parser_busy(tmp_path: Path, what: str) -> None:
    assert 150_000 < len(BUSY[what]) < 250_000
    begun = process_time()
    with suppress(SettingsError):
        read(tmp_path, BUSY[what])
    assert process_time() - begun < 0.7


@pytest.mark.parametrize("what", ["keys", "values"])
def test_more_values_than_anybody_writes_are_refused_where_they_become_too_many(
    tmp_path: Path, what: str
) -> None:
    with pytest.raises(SettingsError, match=r"line \d+, column \d+: more than 5,000 keys and values"):
        read(tmp_path, BUSY[what])


def test_a_pipe_is_no_file_and_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SettingsError, match="pipe cannot be read: it is not a regular file"):
        read_mapping(tmp_path / "pipe", "pipe")


def test_a_file_that_is_missing_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"x\.yaml is not UTF-8 text at line 2, column 4"):
        read(tmp_path, b"b: 1\na: \xff\xfe")
    with pytest.raises(SettingsError, match="y cannot be read: No such file"):
        read_mapping(tmp_path / "missing", "y")
    with pytest.raises(SettingsError, match="y cannot be read: Is a directory"):
        read_mapping(tmp_path, "y")
