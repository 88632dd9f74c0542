"""The chain over all bundles. What `verify` says of it is tested in tests/evidence/test_verify.py."""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest

from runbooklib.evidence import ledger

NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)
DIGEST = "ab" * 32


def three(folder: Path) -> list[str]:
    return [ledger.append(folder, name, DIGEST, NOON) for name in ("one", "two", "drei — 三")]


def test_each_line_holds_the_digest_of_the_one_before_and_the_head_is_told(tmp_path: Path) -> None:
    heads = three(tmp_path)
    stored = (tmp_path / ledger.FILE).read_bytes().splitlines(keepends=True)
    assert json.loads(stored[0])["previous"] == ledger.FIRST
    for before, line in pairwise(stored):
        assert json.loads(line)["previous"] == hashlib.sha256(before).hexdigest()
    assert heads == [hashlib.sha256(line).hexdigest() for line in stored]
    lines, wrong = ledger.read(tmp_path)
    assert wrong == []
    assert [line.bundle for line in lines] == ["one", "two", "drei — 三"]
    assert lines[0] == ledger.Line("one", DIGEST, NOON.isoformat(), ledger.FIRST)
    assert [line.sha256 for line in lines] == heads


def test_without_a_ledger_there_is_nothing_and_nothing_wrong(tmp_path: Path) -> None:
    assert ledger.read(tmp_path) == ([], [])
    assert list(tmp_path.iterdir()) == []


def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    ledger.append(tmp_path, "one", DIGEST, NOON)
    assert (tmp_path / ledger.FILE).stat().st_mode & 0o777 == 0o600


def test_it_is_not_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("")
    (tmp_path / ledger.FILE).symlink_to(tmp_path / "other")
    with pytest.raises(OSError, match="symbolic links"):
        ledger.append(tmp_path, "one", DIGEST, NOON)
    assert (tmp_path / "other").read_text() == ""


def test_after_a_writer_that_was_killed_midway_its_line_is_named_and_the_next_one_is_whole(
    tmp_path: Path,
) -> None:
    three(tmp_path)
    file = tmp_path / ledger.FILE
    file.write_bytes(file.read_bytes()[:-20])
    ledger.append(tmp_path, "four", DIGEST, NOON)
    lines, wrong = ledger.read(tmp_path)
    assert wrong == ["ledger.jsonl line 3: was changed: it is not as it was written"]
    assert [line.bundle for line in lines] == ["one", "two", "four"]


@pytest.mark.parametrize(
    "stored",
    [
        b"\xff\xfe\n",
        b"{}\n",
        b"[]\n",
        b"null\n",
        b'{"bundle": "a"}\n',
        b"\x00\n",
        b"[" * 100_000 + b"\n",
        '{"bundle":"a\u2028b"}\n'.encode(),
    ],
)
def test_a_line_that_cannot_be_read_is_wrong_and_no_reason_to_stop(tmp_path: Path, stored: bytes) -> None:
    three(tmp_path)
    file = tmp_path / ledger.FILE
    file.write_bytes(stored + file.read_bytes())
    lines, wrong = ledger.read(tmp_path)
    assert len(lines) == 3
    assert wrong[0] == "ledger.jsonl line 1: was changed: it is not as it was written"
    assert wrong[1].startswith("ledger.jsonl line 2 (one): does not follow the line before it")


def test_a_name_with_line_breaks_of_unicode_is_one_line(tmp_path: Path) -> None:
    ledger.append(tmp_path, "a\u2028b\x0bc\x85d\r\ne", DIGEST, NOON)
    ledger.append(tmp_path, "two", DIGEST, NOON)
    lines, wrong = ledger.read(tmp_path)
    assert (wrong, [line.bundle for line in lines]) == ([], ["a\u2028b\x0bc\x85d\r\ne", "two"])


def test_writers_at_the_same_time_wait_for_each_other(tmp_path: Path) -> None:
    names = [str(number) for number in range(40)]
    with ThreadPoolExecutor(8) as pool:
        heads = list(pool.map(lambda name: ledger.append(tmp_path, name, DIGEST, NOON), names))
    lines, wrong = ledger.read(tmp_path)
    assert wrong == []
    assert sorted(line.bundle for line in lines) == sorted(names)
    assert {line.sha256 for line in lines} == set(heads)
