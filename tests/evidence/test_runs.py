"""When a runbook was last used, and last drilled, by the evidence of its runs."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from runbooklib.evidence import ledger
from runbooklib.evidence.runs import Uses, uses_of

START = datetime(2026, 1, 15, 3, tzinfo=UTC)


def bundle(folder: Path, hours: int, alert: str, *, is_drill: bool = False, kind: str = "run") -> str:
    """A sealed run; when it was sealed."""
    at = START + timedelta(hours=hours)
    place = folder / f"{hours}-{alert}"
    place.mkdir()
    (place / "verdict.json").write_text(json.dumps({"alert": alert, "is_drill": is_drill}))
    (place / "manifest.json").write_text(json.dumps({"kind": kind}))
    ledger.append(folder, place.name, "0" * 64, at)
    return at.isoformat()


def test_the_newest_use_and_the_newest_drill_are_told_apart(tmp_path: Path) -> None:
    bundle(tmp_path, 1, "A")
    drilled = bundle(tmp_path, 2, "A", is_drill=True)
    used = bundle(tmp_path, 3, "A")
    bundle(tmp_path, 4, "B")
    assert uses_of("A", tmp_path) == Uses(used, drilled)


def test_a_replay_is_no_use_and_nothing_is_never(tmp_path: Path) -> None:
    bundle(tmp_path, 1, "A", kind="replay")
    assert uses_of("A", tmp_path) == Uses()
    assert uses_of("A", tmp_path / "nowhere") == Uses()


def test_a_bundle_that_cannot_be_read_is_passed_over(tmp_path: Path) -> None:
    used = bundle(tmp_path, 1, "A")
    bundle(tmp_path, 2, "A")
    (tmp_path / "2-A" / "verdict.json").write_text("{")
    assert uses_of("A", tmp_path).last_used == used


def test_a_ledger_that_cannot_be_read_is_named_and_raises_nothing(tmp_path: Path) -> None:
    (tmp_path / ledger.FILE).mkdir()
    assert uses_of("A", tmp_path) == Uses(unread=f"{tmp_path / ledger.FILE}: Is a directory")


def test_a_run_of_another_user_is_named_and_those_that_can_be_read_are_told(tmp_path: Path) -> None:
    used = bundle(tmp_path, 1, "A")
    bundle(tmp_path, 2, "A")
    hidden = tmp_path / "2-A" / "verdict.json"
    hidden.unlink()
    hidden.mkdir()
    assert uses_of("A", tmp_path) == Uses(used, unread=f"{hidden}: Is a directory")


def test_what_was_removed_was_not_hidden(tmp_path: Path) -> None:
    bundle(tmp_path, 1, "A")
    (tmp_path / "1-A" / "verdict.json").unlink()
    assert uses_of("A", tmp_path) == Uses()
