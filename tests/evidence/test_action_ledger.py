import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from runbooklib.evidence import action_ledger, ledger, manifest
from runbooklib.evidence.action_ledger import ActionRecord

AT = datetime(2026, 1, 15, 3, 0, tzinfo=UTC)
TEXTS = dict.fromkeys(
    ("by", "action", "target", "environment", "service", "alert", "why", "plan", "evidence", "nonce"), "x"
)


def line(name: str, **told: str) -> dict[str, str]:
    return {"id": name, **TEXTS, "proposed_in": "", **told}


def deed(name: str = "a", *, ago: float = 0.0, **told: str) -> ActionRecord:
    known = {**TEXTS, "host": "h", "outcome": "done", **told}
    return ActionRecord(id=name, at=AT - timedelta(seconds=ago), **known)  # type: ignore[arg-type]


def test_an_intent_without_an_outcome_has_one_that_nobody_knows(tmp_path: Path) -> None:
    with action_ledger.held(tmp_path) as book:
        book.append("intent", line("1", target="t"))
        book.append("intent", line("2"))
        book.append("outcome", {"id": "2", "outcome": "done", "told": "restarted"})
        book.append("recovery", {"id": "2", "recovery": "RECOVERED", "after_seconds": 12.5})
        book.append("refused", line("3", told="too soon"))
    lines, wrong = action_ledger.read(tmp_path)
    first, second, third = action_ledger.deeds_of(lines)
    assert wrong == ""
    assert (first.outcome, first.target, first.message) == ("unknown", "t", "")
    assert (second.outcome, second.message, second.recovery) == ("done", "restarted", "RECOVERED")
    assert second.recovered_after_seconds == 12.5
    assert (third.outcome, third.message) == ("refused", "too soon")


@pytest.mark.parametrize(
    ("looks", "recovery", "later"),
    [
        (["RECOVERED", "RECOVERED"], "RECOVERED", ()),
        (["NOT RECOVERED", "RECOVERED"], "NOT RECOVERED", ("RECOVERED",)),
        (["NOT RECOVERED", "RECOVERED", "RECOVERED"], "NOT RECOVERED", ("RECOVERED",)),
        (["RECOVERED", "NOT RECOVERED", "RECOVERED"], "RECOVERED", ("NOT RECOVERED", "RECOVERED")),
        (["CANNOT TELL", "RECOVERED"], "RECOVERED", ()),
        (["CANNOT TELL", "NOT RECOVERED", "CANNOT TELL"], "NOT RECOVERED", ()),
        (["RECOVERED", "CANNOT TELL"], "RECOVERED", ()),
        (["CANNOT TELL", "CANNOT TELL"], "CANNOT TELL", ()),
    ],
)
def test_the_first_answer_that_decides_stays_and_another_one_later_is_kept_beside_it(
    tmp_path: Path, looks: list[str], recovery: str, later: tuple[str, ...]
) -> None:
    with action_ledger.held(tmp_path) as book:
        book.append("intent", line("1"))
        for number, look in enumerate(looks):
            after = 10.0 + number if look == "RECOVERED" else None
            book.append("recovery", {"id": "1", "recovery": look, "after_seconds": after})
    [deed] = action_ledger.deeds_of(action_ledger.read(tmp_path)[0])
    assert (deed.recovery, deed.later) == (recovery, later)
    first = 10.0 + looks.index("RECOVERED") if recovery == "RECOVERED" else None
    assert deed.recovered_after_seconds == first


@pytest.mark.parametrize("outcome", ["done", "failed", "unknown"])
def test_the_last_deed_that_may_have_changed_something_is_the_one_that_is_looked_at(
    tmp_path: Path, outcome: str
) -> None:
    with action_ledger.held(tmp_path) as book:
        book.append("intent", line("1"))
        if outcome != "unknown":
            book.append("outcome", {"id": "1", "outcome": outcome, "told": ""})
        book.append("refused", line("2", told="too soon"))
    found = action_ledger.last_of(tmp_path, "x", "x", "x")
    assert found is not None
    assert (found.id, found.outcome) == ("1", outcome)


def test_the_chain_goes_on_where_it_ended_and_a_torn_line_is_taken_off(tmp_path: Path) -> None:
    with action_ledger.held(tmp_path) as book:
        book.append("intent", line("1"))
    path = tmp_path / action_ledger.FILE
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"kind":"outc')
    assert action_ledger.read(tmp_path)[1] == ""
    with action_ledger.held(tmp_path) as book:
        book.append("outcome", {"id": "1", "outcome": "failed", "told": "no"})
    assert path.read_bytes().startswith(whole)
    lines, wrong = action_ledger.read(tmp_path)
    assert (len(lines), wrong) == (2, "")
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("change", ["edit", "remove", "swap"])
def test_a_line_that_was_changed_is_seen_and_nothing_is_added(tmp_path: Path, change: str) -> None:
    with action_ledger.held(tmp_path) as book:
        for number in range(3):
            book.append("intent", line(str(number)))
    path = tmp_path / action_ledger.FILE
    lines = path.read_bytes().splitlines(keepends=True)
    changed = {
        "edit": [lines[0].replace(b'"by":"x"', b'"by":"y"'), *lines[1:]],
        "remove": [lines[0], lines[2]],
        "swap": [lines[1], lines[0], lines[2]],
    }[change]
    path.write_bytes(b"".join(changed))
    assert "was changed, or a line before it is missing" in action_ledger.read(tmp_path)[1]
    with pytest.raises(ValueError, match="was changed"), action_ledger.held(tmp_path):
        pass
    assert any(action_ledger.FILE in told for told in manifest.verify_folder(tmp_path))


def test_a_link_is_no_ledger(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    folder = tmp_path / "evidence"
    folder.mkdir()
    (folder / action_ledger.FILE).symlink_to(victim)
    with pytest.raises(OSError, match="symbolic"), action_ledger.held(folder):
        pass
    assert victim.read_text() == "precious"


def refusal(
    *before: ActionRecord, now: ActionRecord | None = None, cooldown: float = 900.0, most: int = 6
) -> str:
    given = now or deed("now", plan="new")
    return action_ledger.refusal(before, given, cooldown_seconds=cooldown, most_per_hour=most)


def test_the_first_deed_may_be_done() -> None:
    assert refusal() == ""


def test_a_target_rests_and_another_target_does_not_wait_for_it() -> None:
    assert "the cooldown is 900 s" in refusal(deed(ago=899))
    assert refusal(deed(ago=901)) == ""
    assert refusal(deed(ago=10, target="other")) == ""
    assert refusal(deed(ago=10, environment="other")) == ""


def test_what_failed_and_what_nobody_knows_counts_and_what_was_refused_does_not() -> None:
    assert refusal(deed(ago=10, outcome="failed"))
    assert refusal(deed(ago=10, outcome="unknown"))
    assert refusal(deed(ago=10, outcome="refused")) == ""


def test_a_deed_by_a_clock_that_is_ahead_counts_too() -> None:
    assert "300 s ahead of this machine's clock" in refusal(deed(ago=-300))


@pytest.mark.parametrize("outcome", ["done", "failed", "unknown"])
def test_the_very_plan_is_never_acted_upon_twice_however_long_ago(outcome: str) -> None:
    told = refusal(deed(ago=10**6, plan="new", outcome=outcome))
    assert "this plan was already performed" in told
    assert f"(outcome: {outcome})" in told


def test_an_hour_has_only_so_many_whatever_the_targets() -> None:
    others = [deed(str(n), ago=60.0 * n + 1, target=f"t{n}") for n in range(6)]
    assert "6 actions within an hour" in refusal(*others)
    assert refusal(*others, most=7) == ""
    assert refusal(*others[:-1], replace(others[-1], at=AT - timedelta(seconds=3601))) == ""


def test_a_stop_file_says_why(tmp_path: Path) -> None:
    assert action_ledger.stop_reason(tmp_path) == ""
    (tmp_path / action_ledger.STOP_FILE).touch()
    assert action_ledger.stop_reason(tmp_path) == "STOP-ACTIONS is empty"
    (tmp_path / action_ledger.STOP_FILE).write_text("audit\n")
    assert action_ledger.stop_reason(tmp_path) == "audit"


def test_a_bundle_of_an_action_without_its_line_is_missed(tmp_path: Path) -> None:
    bundle = tmp_path / "20260115T030000Z-action"
    bundle.mkdir()
    about = {"kind": "action", "deed": "gone", "bundle": bundle.name, "ended_at": AT.isoformat()}
    text = json.dumps(manifest.describe(bundle, about, None))
    (bundle / manifest.FILE).write_text(text)
    ledger.append(tmp_path, bundle.name, manifest.sha256(bundle / manifest.FILE), AT)
    assert manifest.verify_folder(tmp_path) == [f"{action_ledger.FILE}: the line of {bundle.name} is gone"]
