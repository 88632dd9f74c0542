"""F67, H05 to H07: files that are wrong, hostile, too large, or hold what cannot be seen."""

import json
from pathlib import Path

import pytest

from tests.support.bench import Bench, made_bench
from tests.support.running import DOWN
from tests.support.survey import Survey


@pytest.fixture
def bench(tmp_path: Path, survey: Survey) -> Bench:
    return made_bench(tmp_path, survey)


BAD_YAML: dict[str, tuple[str | bytes, str]] = {
    "unclosed": ("service: [a, b\n", "line 2, column 1"),
    "indented": ("service: a\n  lookback: b\n", "line 2, column 11"),
    "a tab": ("service: a\n\tlookback: b\n", "line 2, column 1"),
    "two documents": ("service: a\n---\nservice: b\n", "line 2, column 1"),
    "a key twice": ("service: a\nservice: b\n", "line 2, column 1: 'service' is a duplicate key"),
    "a list": ("- service\n", "must contain `name: value` lines"),
    "no UTF-8": (b"at: x\nservice: \xe9\n", "line 2, column 10"),
    "an alias": ("service: &a x\nlookback: *a\n", "line 1, column 10: anchors and aliases"),
    "a merge": ("service: x\n<<: {at: y}\n", "line 2, column 1"),
}
BOMB = "\n".join(
    ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
)
FILES = ("Small.yaml", "environments/down.yaml")


@pytest.mark.row("F67")
@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("what", BAD_YAML)
def test_yaml_that_is_wrong_is_refused_with_line_and_column(bench: Bench, file: str, what: str) -> None:
    content, told = BAD_YAML[what]
    bench.write(file, content)
    bench.refused(expected_words=[file, told])


@pytest.mark.row("F67", "H07")
@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize(
    ("content", "told"),
    [
        (BOMB, "line 1, column 5: anchors and aliases"),
        ("".join(f"k{number}: 1\n" for number in range(100_000)), "larger than 250 kB"),
        ("".join(f"k{number:x}: 1\n" for number in range(22_000)), ": more than 5,000 keys and values"),
        ("a: " + "[" * 10_000, "line 1, column 53: nested too deeply"),
        ("a: " + "{b: " * 10_000, "line 1, column 197: nested too deeply"),
        ("- " * 10_000, "nested too deeply"),
    ],
    ids=["alias bomb", "100k keys", "22k keys", "10k deep list", "10k deep map", "10k dashes"],
)
def test_a_file_that_is_made_to_keep_a_parser_busy_is_refused_at_once(
    bench: Bench, file: str, content: str, told: str
) -> None:
    bench.write(file, content)
    bench.refused(expected_words=[file, told])


@pytest.mark.row("H06")
@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize(
    "tag",
    [
        "!!python/object/apply:os.system ['touch {mark}']",
        "!!python/object/new:os.system [touch {mark}]",
        "!!python/name:os.system ''",
        "!<tag:yaml.org,2002:python/object/apply:os.system> ['touch {mark}']",
        "!!python/object/apply:subprocess.Popen [[touch, '{mark}']]",
        "!!str x",
        "!mine x",
    ],
)
def test_a_tag_is_refused_and_nothing_is_made_of_it(bench: Bench, file: str, tag: str) -> None:
    bench.write(file, f"at: x\nservice: {tag.replace('{mark}', str(bench.code_mark))}\n")
    bench.refused(expected_words=[file, "line 2, column 10: tags are not allowed"])
    bench.write(file, f"%TAG !! tag:yaml.org,2002:python/\n---\nservice: {tag}\n")
    bench.refused(expected_words=[file, "line 3, column 10: tags are not allowed"])


UNSEEN = {
    "NUL": "\0", "escape": "\x1b[31m", "half a character": "\ud800", "other half": "\udfff",
    "right to left": "\u202e", "isolate": "\u2066", "zero width space": "\u200b", "joiner": "\u200d",
    "no-break": "\ufeff", "word joiner": "\u2060", "soft hyphen": "\u00ad", "line separator": "\u2028",
    "filler": "\u3164", "variation": "\ufe0f", "tag": "\U000e0041", "private": "\ue000",
    "hard space": "\u00a0",
}  # fmt: skip


@pytest.mark.row("H05")
@pytest.mark.parametrize("what", UNSEEN)
def test_a_value_that_cannot_be_seen_is_refused_and_leaves_no_file(bench: Bench, what: str) -> None:
    value = f"back{UNSEEN[what]}end"
    bench.declare('note: str = "x"\n')
    in_full = "".join(f"\\U{ord(c):08x}" for c in value)
    for escaped in (json.dumps(value), f'"{in_full}"'):
        bench.write("Small.yaml", f"lookback: 1h\nnote: {escaped}\n")
        if what == "tag" and "\\ud" in escaped:
            continue  # JSON's pair of halves is no YAML
        bench.refused(expected_words=["line 2, column 7: contains U+", "which cannot be printed"])
    bench.write("Small.yaml", f"lookback: 1h\nnote: back{UNSEEN[what]}end\n".encode("utf-8", "surrogatepass"))
    bench.refused(expected_words=["parameters/Small.yaml"])
    (bench.folder / "home" / "parameters" / "Small.yaml").unlink()
    if what not in ("NUL", "half a character", "other half"):  # no command line can hold these
        bench.refused(
            "-p", f"note={value}", expected_words=["-p: note contains U+", "which cannot be printed"]
        )


@pytest.mark.row("H05")
def test_a_byte_that_is_no_text_is_refused_on_the_command_line(bench: Bench) -> None:
    bench.declare('note: str = "x"\n')
    bench.refused("-p", "note=a\udcffb", expected_words=["-p: note contains U+DCFF"])
    bench.refused("-s", "a\udcffb", expected_words=["-p: service contains U+DCFF"])


@pytest.mark.row("H05")
@pytest.mark.parametrize("size", [10_001, 240_000, 10_000_000])
def test_a_value_that_is_too_long_is_refused_and_leaves_no_file(bench: Bench, size: int) -> None:
    bench.declare('note: str = "x"\n')
    bench.write("Small.yaml", f"note: {'x' * size}\n")
    bench.refused(
        expected_words=["larger than 250 kB" if size > 250_000 else "note is longer than 10,000 characters"]
    )
    (bench.folder / "home" / "parameters" / "Small.yaml").unlink()
    if size < 100_000:  # Linux takes no longer word
        bench.refused("-p", f"note={'x' * size}", expected_words=["note is longer than 10,000 characters"])
    bench.write("environments/down.yaml", DOWN + f"links: {{a: {'x' * 10_000_000}}}\n")
    bench.refused(expected_words=["larger than 250 kB"])
