"""Changed evidence is found out: each byte, each file, each line of the ledger, each bundle."""

import json
import shutil
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from runbooklib.cli import app
from runbooklib.evidence import ledger, manifest
from runbooklib.evidence.bundle import Bundle
from runbooklib.evidence.verdict_json import VERDICT_MIME
from tests.support.running import command

NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)
FILES = ["notebook.ipynb", "notebook.html", "verdict.json", "manifest.json"]


def executed(number: int) -> dict[str, Any]:
    """An executed notebook, as small as one can be."""
    verdict = {"status": "OK", "alert": "HighErrorRate", "service": f"backend-{number}"}
    output = {"output_type": "display_data", "metadata": {}, "data": {VERDICT_MIME: verdict}}
    cell = {"cell_type": "code", "id": "a", "source": "1", "outputs": [output], "metadata": {}}
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [cell]}


def sealed(output: Path, number: int) -> Path:
    bundle = Bundle(output, "HighErrorRate", f"backend-{number}", NOON + timedelta(minutes=number))
    return bundle.finish(executed(number), {"kind": "run", "parameters": {}}, None)


@pytest.fixture
def evidence(tmp_path: Path) -> Path:
    """A folder of four bundles."""
    for number in range(4):
        sealed(tmp_path / "evidence", number)
    return tmp_path / "evidence"


def bundles(evidence: Path) -> list[Path]:
    return list(manifest.bundles(evidence))


def verify(*paths: Path) -> tuple[int, str]:
    """What `runbook verify` ends with, and what it says is wrong."""
    ended = CliRunner().invoke(app, ["verify", *map(str, paths)])
    assert ended.exception is None or isinstance(ended.exception, SystemExit), ended.output
    return ended.exit_code, ended.stderr


def lines(evidence: Path) -> list[str]:
    return (evidence / ledger.FILE).read_text().splitlines(keepends=True)


def write_lines(evidence: Path, changed: list[str]) -> None:
    (evidence / ledger.FILE).write_text("".join(changed))


def test_untouched_evidence_is_whole_as_a_bundle_as_a_folder_and_after_a_copy(
    evidence: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(bundles(evidence)[0], tmp_path / "elsewhere" / bundles(evidence)[0].name)
    assert verify(evidence, *bundles(evidence), copy) == (0, "")
    for inside, path in ((evidence, "."), (bundles(evidence)[0], "."), (bundles(evidence)[0], "..")):
        ended = command(["runbook", "verify", path], cwd=inside)
        assert (ended.code, ended.err) == (0, "")


@pytest.mark.parametrize("verb", ["verify", "approve"])
def test_a_ledger_that_cannot_be_read_is_told_in_one_line(evidence: Path, verb: str) -> None:
    (evidence / "ledger.jsonl").unlink()
    (evidence / "ledger.jsonl").mkdir()
    ended = command(["runbook", verb, str(next(evidence.glob("*-0")))])
    told = f"runbook: {evidence / 'ledger.jsonl'}: Is a directory"
    assert (ended.code, ended.err.strip()) == (4, told)


@pytest.mark.parametrize("name", FILES)
def test_a_single_flipped_bit_is_named_wherever_it_is(evidence: Path, name: str) -> None:
    bundle = bundles(evidence)[1]
    whole = (bundle / name).read_bytes()
    for place in sorted({0, 1, len(whole) // 3, len(whole) // 2, len(whole) - 2, len(whole) - 1}):
        for bit in (1, 2, 128):
            flipped = bytearray(whole)
            flipped[place] ^= bit
            (bundle / name).write_bytes(flipped)
            for target in (bundle, evidence):
                code, told = verify(target)
                assert (code, f"{bundle.name}/{name}: was changed" in told) == (1, True), (place, bit, told)
                others = [other for other in bundles(evidence) if other != bundle and other.name in told]
                assert not others
    (bundle / name).write_bytes(whole)
    assert verify(evidence) == (0, "")


@pytest.mark.parametrize("name", FILES)
def test_a_dropped_file_is_named(evidence: Path, name: str) -> None:
    bundle = bundles(evidence)[2]
    (bundle / name).unlink()
    assert verify(bundle) == (1, f"  {bundle.name}/{name}: is missing\n")
    assert verify(evidence)[0] == 1


@pytest.mark.parametrize("name", ["more.txt", ".hidden", "notebook.ipynb~", "manifest.json.bak"])
def test_an_added_file_is_named(evidence: Path, name: str) -> None:
    bundle = bundles(evidence)[2]
    (bundle / name).write_text("")
    assert verify(evidence) == (1, f"  {bundle.name}/{name}: was added\n")


def test_an_added_folder_is_named_and_so_is_one_in_the_place_of_a_file(evidence: Path) -> None:
    bundle = bundles(evidence)[2]
    (bundle / "more").mkdir()
    (bundle / "verdict.json").unlink()
    (bundle / "verdict.json").mkdir()
    code, told = verify(bundle)
    assert code == 1
    assert told.splitlines() == [
        f"  {bundle.name}/more: was added",
        f"  {bundle.name}/verdict.json: was changed",
    ]


@pytest.mark.parametrize("name", FILES)
def test_a_link_to_an_equal_file_is_no_evidence(evidence: Path, tmp_path: Path, name: str) -> None:
    bundle = bundles(evidence)[0]
    shutil.move(bundle / name, tmp_path / name)
    (bundle / name).symlink_to(tmp_path / name)
    code, told = verify(bundle)
    assert (code, f"{bundle.name}/{name}: was changed" in told) == (1, True), told


def test_a_link_to_an_equal_bundle_is_no_evidence(evidence: Path, tmp_path: Path) -> None:
    bundle = bundles(evidence)[0]
    shutil.move(bundle, tmp_path / "moved")
    bundle.symlink_to(tmp_path / "moved")
    code, told = verify(evidence)
    assert (code, f"{bundle.name}: is a link" in told) == (1, True), told


def test_a_verdict_that_was_changed_together_with_its_digest_is_not_the_one_in_the_ledger(
    evidence: Path,
) -> None:
    bundle = bundles(evidence)[1]
    verdict = bundle / "verdict.json"
    verdict.write_text(verdict.read_text().replace('"OK"', '"CRITICAL"'))
    told = json.loads((bundle / "manifest.json").read_text())
    told["files"]["verdict.json"]["sha256"] = manifest.sha256(verdict)
    (bundle / "manifest.json").write_text(json.dumps(told))
    for target in (bundle, evidence):
        code, wrong = verify(target)
        assert code == 1
        assert wrong == f"  {bundle.name}/manifest.json: was changed: it is not the one in ledger.jsonl\n"


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"files": []}', '{"files": {"a": 1}}', '{"files": {"a": {}}}']
)
def test_a_manifest_that_says_nothing_is_named(evidence: Path, content: str) -> None:
    bundle = bundles(evidence)[1]
    (bundle / "manifest.json").write_text(content)
    code, told = verify(bundle)
    assert (code, f"{bundle.name}/manifest.json: was changed" in told) == (1, True), told


def test_every_single_byte_of_the_ledger_counts(evidence: Path) -> None:
    """The last line too, which no line after it vouches for."""
    file = evidence / ledger.FILE
    whole = file.read_bytes()
    for place in range(len(whole)):
        for bit in (1, 4):
            flipped = bytearray(whole)
            flipped[place] ^= bit
            file.write_bytes(flipped)
            assert manifest.verify_folder(evidence), (place, bytes(flipped[max(0, place - 9) : place + 9]))
    file.write_bytes(whole.replace(b"\n", b"\r\n"))
    assert "was changed" in " ".join(manifest.verify_folder(evidence))


LINE_CHANGES: dict[str, tuple[Callable[[list[str]], list[str]], str]] = {
    "two swapped": (lambda told: [told[0], told[2], told[1], told[3]], "ledger.jsonl line 2"),
    "first two swapped": (lambda told: [told[1], told[0], *told[2:]], "ledger.jsonl line 1"),
    "last two swapped": (lambda told: [*told[:2], told[3], told[2]], "ledger.jsonl line 3"),
    "first deleted": (lambda told: told[1:], "ledger.jsonl line 1"),
    "middle deleted": (lambda told: [told[0], *told[2:]], "ledger.jsonl line 2"),
    "one repeated": (lambda told: [*told[:2], told[1], *told[2:]], "ledger.jsonl line 3"),
    "all reversed": (lambda told: told[::-1], "ledger.jsonl line 1"),
    "time changed": (lambda told: [told[0], told[1].replace('at":"2', 'at":"1'), *told[2:]], "line 3"),
    "spaces added": (lambda told: [told[0].replace(",", ", "), *told[1:]], "line 1: was changed"),
    "no JSON": (lambda told: [told[0], "nonsense\n", *told[2:]], "ledger.jsonl line 2: was changed"),
    "empty line": (lambda told: [told[0], "\n", *told[1:]], "ledger.jsonl line 2: was changed"),
}  # fmt: skip


@pytest.mark.parametrize("change", LINE_CHANGES)
def test_a_changed_ledger_is_named_by_its_line(evidence: Path, change: str) -> None:
    changed, named = LINE_CHANGES[change]
    write_lines(evidence, changed(lines(evidence)))
    code, told = verify(evidence)
    assert (code, named in told) == (1, True), told


def test_a_ledger_whose_newest_line_was_cut_off_misses_its_bundle(evidence: Path) -> None:
    write_lines(evidence, lines(evidence)[:-1])
    assert verify(evidence) == (1, f"  {bundles(evidence)[-1].name}: is not in ledger.jsonl\n")


def test_a_ledger_that_is_gone_is_named(evidence: Path) -> None:
    (evidence / ledger.FILE).unlink()
    assert verify(evidence) == (1, "  ledger.jsonl: is missing\n")


@pytest.mark.parametrize("place", [0, 1, 3])
def test_a_bundle_that_was_deleted_is_missed(evidence: Path, place: int) -> None:
    gone = bundles(evidence)[place]
    shutil.rmtree(gone)
    assert verify(evidence) == (1, f"  {gone.name}: is gone, and ledger.jsonl knows it\n")


def test_a_bundle_that_was_renamed_is_missed_and_its_new_name_is_unknown(evidence: Path) -> None:
    old = bundles(evidence)[1]
    old.rename(evidence / "20200101T000000Z-HighErrorRate-backend")
    code, told = verify(evidence)
    assert code == 1
    assert f"{old.name}: is gone" in told
    assert "20200101T000000Z-HighErrorRate-backend: is not in ledger.jsonl" in told


def test_a_bundle_that_was_put_beside_is_not_in_the_ledger(evidence: Path) -> None:
    shutil.copytree(bundles(evidence)[1], evidence / "20260115T120900Z-HighErrorRate-backend")
    for target in (evidence, evidence / "20260115T120900Z-HighErrorRate-backend"):
        told = "  20260115T120900Z-HighErrorRate-backend: is not in ledger.jsonl\n"
        assert verify(target) == (1, told)


def test_two_bundles_that_were_swapped_are_both_named(evidence: Path) -> None:
    one, two = bundles(evidence)[1:3]
    one.rename(evidence / "aside")
    two.rename(one)
    (evidence / "aside").rename(two)
    code, told = verify(evidence)
    assert code == 1
    for bundle in (one, two):
        assert f"{bundle.name}/manifest.json: was changed" in told


def test_swapped_files_of_two_bundles_are_both_named(evidence: Path) -> None:
    one, two = (bundle / "verdict.json" for bundle in bundles(evidence)[1:3])
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)
    code, told = verify(evidence)
    assert (code, len(told.splitlines())) == (1, 2)
    assert f"{one.parent.name}/verdict.json: was changed" in told
    assert f"{two.parent.name}/verdict.json: was changed" in told


def test_of_several_paths_one_that_is_changed_is_enough(evidence: Path) -> None:
    (bundles(evidence)[0] / "verdict.json").write_text("{}")
    code, told = verify(*bundles(evidence))
    assert code == 1
    assert told == f"  {bundles(evidence)[0].name}/verdict.json: was changed\n"


def test_what_is_no_folder_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name, message in (("nowhere", "does not exist"), ("file", "is not a folder")):
        ended = command(["runbook", "verify", str(tmp_path / name)])
        assert (ended.code, message in ended.err) == (3, True), ended.err
    assert verify(tmp_path) == (1, f"  {tmp_path.name}/manifest.json: is missing\n")


def seal_some(output: Path) -> list[str]:
    return [sealed(output, number % 2).name for number in range(3)]


def test_processes_that_seal_at_once_leave_a_whole_chain_and_overwrite_nothing(tmp_path: Path) -> None:
    """All want the same two names."""
    output = tmp_path / "evidence"
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with ProcessPoolExecutor(8, mp_context=context) as pool:
        names = [name for done in pool.map(seal_some, [output] * 8) for name in done]
    assert len(set(names)) == 24
    assert {path.name for path in bundles(output)} == set(names)
    assert len(lines(output)) == 24
    assert verify(output) == (0, "")
    assert [path for path in output.iterdir() if path.name.startswith(".")] == []
