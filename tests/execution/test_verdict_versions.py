"""Evidence of an older verdict version verifies and replays; its sentences are not compared."""

import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runbooklib.evidence.verdict_json import canonical
from runbooklib.execution.replay import differences
from runbooklib.model.verdict import VERSION
from tests.support.running import ROOT, Ended, command

DATA = ROOT / "tests" / "data"
RECORDING = DATA / "verdict-version-1.json"
SAYS_SO = f"The recorded verdict has version 1, this one {VERSION}. Sentences are not compared"
AGREES = "Statuses, ranks, onset and start times are the recorded ones."
DIFFERS = "The verdict differs from the recorded one:"

Change = Callable[[dict[str, Any]], None]


def version_1() -> dict[str, Any]:
    verdict: dict[str, Any] = json.loads(RECORDING.read_text())["verdict"]
    assert verdict["version"] == 1
    return verdict


def bundle_of_version_1(folder: Path) -> Path:
    """The bundle, unpacked below the folder."""
    with tarfile.open(DATA / "bundle-version-1.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    [bundle] = [path for path in (folder / "v1").iterdir() if path.is_dir()]
    return bundle


def replayed(evidence: Path, output: Path, *more: str) -> Ended:
    return command(["runbook", "replay", str(evidence), "--output", str(output), *more])


def with_verdict(change: Change, folder: Path) -> Path:
    """A copy of the recording whose verdict was changed."""
    exported = json.loads(RECORDING.read_text())
    change(exported["verdict"])
    file = folder / "changed.json"
    file.write_text(canonical(exported))
    return file


def sentences(verdict: dict[str, Any]) -> None:
    verdict["headline"] = "Another headline."
    verdict["symptoms"][0] |= {"says": "Another sentence.", "question": "Another question?"}
    verdict["causes"][0]["title"] = "Another title"
    verdict["causes"][0]["for"][0]["says"] = "Another sentence."
    verdict["next"][0]["effect"] = "Another effect."


def status(verdict: dict[str, Any]) -> None:
    verdict["symptoms"][0]["status"] = "OK"


def worst_status(verdict: dict[str, Any]) -> None:
    verdict["status"] = "OK"


def rank(verdict: dict[str, Any]) -> None:
    verdict["causes"][0]["rank"] = "unlikely"


def order(verdict: dict[str, Any]) -> None:
    verdict["causes"].reverse()


def onset(verdict: dict[str, Any]) -> None:
    verdict["onset"] = "2026-11-26T02:00:00+00:00"


def since(verdict: dict[str, Any]) -> None:
    verdict["causes"][0]["for"][1]["since"] = None


def status_of_a_sign(verdict: dict[str, Any]) -> None:
    verdict["causes"][0]["for"][1]["status"] = "WARNING"


def removed_sign(verdict: dict[str, Any]) -> None:
    del verdict["causes"][0]["for"][0]


def removed_unknown(verdict: dict[str, Any]) -> None:
    del verdict["not_checked"][0]


@pytest.mark.parametrize(
    ("change", "code"),
    [(sentences, 1), (status, 4), (rank, 4)],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_recording_of_version_1_is_compared_without_its_sentences(
    change: Change, code: int, tmp_path: Path
) -> None:
    # Today's notebook asks about causes that it did not ask about then. A replay with a named notebook ends
    # with the code of its own verdict, one with the runbook's notebook with 4 if the verdicts differ.
    notebook = bundle_of_version_1(tmp_path) / "notebook.ipynb"
    changed = with_verdict(change, tmp_path)
    ended = replayed(changed, tmp_path / "out", "--notebook", str(notebook))
    assert ended.code == 1, ended.err
    if code == 4:
        assert replayed(changed, tmp_path / "today").code == 4
    assert SAYS_SO in ended.out
    assert (AGREES in ended.out, DIFFERS in ended.out) == (code == 1, code == 4)


@pytest.mark.parametrize(
    "change",
    [status, worst_status, rank, order, onset, since, status_of_a_sign, removed_sign, removed_unknown],
)
def test_each_tampered_part_of_version_1_is_a_difference(change: Change) -> None:
    current = version_1() | {"version": VERSION}
    recorded = version_1()
    assert list(differences(recorded, current)) == []
    change(recorded)
    assert list(differences(recorded, current))


def test_sentences_are_compared_within_one_version_only() -> None:
    recorded, rewritten = version_1(), version_1()
    sentences(rewritten)
    assert list(differences(recorded, rewritten))
    assert list(differences(recorded, rewritten | {"version": VERSION})) == []


def test_a_check_that_is_asked_twice_is_compared_twice() -> None:
    """Both findings have the same check and question: neither may hide the other."""
    recorded = version_1()
    recorded["symptoms"].append(dict(recorded["symptoms"][0]))
    changed = json.loads(json.dumps(recorded))
    status(changed)
    assert list(differences(recorded, changed))
    assert list(differences(recorded, changed | {"version": VERSION}))


def test_a_bundle_of_version_1_verifies_and_replays_with_its_own_notebook(tmp_path: Path) -> None:
    bundle = bundle_of_version_1(tmp_path)
    verified = command(["runbook", "verify", str(tmp_path / "v1")])
    assert (verified.code, verified.err) == (0, "")
    recorded = json.loads((bundle / "verdict.json").read_text())
    assert recorded == version_1()
    ended = replayed(bundle, tmp_path / "out", "--json")
    assert ended.code == 1, ended.err
    assert SAYS_SO in ended.err
    assert AGREES in ended.err
    assert ended.verdict["version"] == VERSION
    assert ended.verdict["rules"] == 2  # versions 1 and 2 are judged alike
    assert list(differences(recorded, ended.verdict)) == []


@pytest.mark.parametrize("version", [VERSION + 1, 0, "2", None, True])
def test_a_verdict_of_an_unknown_version_is_refused_before_a_kernel_starts(
    version: object, tmp_path: Path
) -> None:
    changed = with_verdict(lambda verdict: verdict.update(version=version), tmp_path)
    ended = replayed(changed, tmp_path / "out")
    assert ended.code == 3
    assert f"holds a verdict of version {version!r}" in ended.err
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())
