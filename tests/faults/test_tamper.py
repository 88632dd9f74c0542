"""H72 to H77: evidence that somebody changed afterwards, with all that they can do who have no key.

The evidence is of real runs, signed. Whoever changes it may also write manifests and the ledger anew, so that
they fit again: then the signature tells, or the head that a postmortem quotes.
"""

import json
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from runbooklib.config import variables
from runbooklib.evidence import ledger, manifest, signature
from tests.support import small
from tests.support.running import Ended, command
from tests.support.survey import Survey


@dataclass(frozen=True)
class Sealed:
    """Evidence of three signed runs, the head that each printed, and what it takes to verify it."""

    folder: Path
    heads: Sequence[str]
    key: Path

    @property
    def bundles(self) -> list[Path]:
        return list(manifest.bundles(self.folder))

    def verify(self, *more: str) -> Ended:
        return command(["runbook", "verify", str(self.folder), *more])

    def with_key(self, *more: str) -> Ended:
        return self.verify("--key", str(self.key), *more)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Sealed:
    folder = tmp_path_factory.mktemp("tamper")
    home = small.home(folder / "home")
    made = command(["runbook", "keygen", str(folder / "signing.pem")])
    assert made.code == 0, made.err
    heads = []
    for number in range(3):
        argv = ["runbook", "run", "Small", "--json", "--output", str(folder / "evidence")]
        argv += ["--at", f"2026-01-15T0{number}:00:00Z"]
        ended = command(argv, {**home, variables.SIGNING_KEY: str(folder / "signing.pem")})
        assert ended.code == 2, ended.err
        heads.append(ended.verdict["head"])
    return Sealed(folder / "evidence", heads, folder / "signing.pub.pem")


@pytest.fixture
def sealed(original: Sealed, tmp_path: Path) -> Sealed:
    """A copy that a test may change."""
    return Sealed(shutil.copytree(original.folder, tmp_path / "evidence"), original.heads, original.key)


def rewritten_manifest(bundle: Path) -> None:
    """What an insider does: the manifest fits its files again."""
    told = json.loads((bundle / "manifest.json").read_bytes())
    for name in told["files"]:
        told["files"][name] = {
            "sha256": manifest.sha256(bundle / name),
            "bytes": (bundle / name).stat().st_size,
        }
    (bundle / "manifest.json").write_text(json.dumps(told))


def rewritten_ledger(folder: Path) -> None:
    """And the ledger is a whole chain over the manifests that there are."""
    (folder / ledger.FILE).unlink()
    previous = ledger.FIRST
    with (folder / ledger.FILE).open("w") as file:
        for bundle in manifest.bundles(folder):
            ended_at = json.loads((bundle / "manifest.json").read_bytes())["ended_at"]
            line = ledger.Line(bundle.name, manifest.sha256(bundle / "manifest.json"), ended_at, previous)
            file.write(line.as_text())
            previous = line.sha256


def edit_verdict(bundle: Path) -> None:
    edit = ["sed", "-i", 's/"status": "UNKNOWN"/"status": "OK"/', str(bundle / "verdict.json")]
    subprocess.run(edit, check=True)
    assert json.loads((bundle / "verdict.json").read_bytes())["status"] == "OK"


@pytest.mark.row("H72", "H73", "H74", "H76", "H77")
def test_untouched_evidence_is_whole_signed_and_holds_every_head(original: Sealed) -> None:
    heads = [word for head in original.heads for word in ("--head", head)]
    ended = original.with_key(*heads)
    assert (ended.code, ended.err) == (0, ""), ended.err
    assert ended.out == f"whole    {original.folder}  head {original.heads[-1]}\n"
    assert original.heads == list(ledger.heads(original.folder))
    for bundle in original.bundles:
        ended = command(["runbook", "verify", str(bundle), "--key", str(original.key), *heads])
        assert (ended.code, ended.err) == (0, ""), ended.err


def test_what_a_chain_alone_cannot_tell_is_said(original: Sealed) -> None:
    told = original.verify().out.splitlines()
    assert [line.partition(":")[0] for line in told[1:]] == ["Not checked", "Not checked"]
    assert ("cut off" in told[1], "--key" in told[2]) == (True, True)


def test_a_run_prints_the_head_for_people_too(original: Sealed, tmp_path: Path) -> None:
    home = small.home(tmp_path / "home")
    ended = command(["runbook", "run", "Small", "--output", str(tmp_path / "evidence")], home)
    [head] = ledger.heads(tmp_path / "evidence")
    assert f"Ledger head, for the postmortem: {head}\n" in ended.out
    assert "manifest.dsse.json" not in {path.name for path in tmp_path.rglob("*")}  # no key, no signature
    told = command(["runbook", "verify", str(tmp_path / "evidence"), "--key", str(original.key)])
    assert told.code == 1
    assert told.out.startswith("UNSIGNED")
    assert "is unsigned: it has no manifest.dsse.json" in told.err


@pytest.mark.row("H72")
def test_an_edited_verdict_is_named(sealed: Sealed) -> None:
    bundle = sealed.bundles[1]
    edit_verdict(bundle)
    for ended in (sealed.verify(), sealed.with_key()):
        assert ended.code == 1
        assert ended.err == f"  {bundle.name}/verdict.json: was changed\n"
        assert ended.out.startswith("CHANGED")


@pytest.mark.row("H72")
def test_an_edited_verdict_is_named_though_manifest_and_ledger_were_written_anew(sealed: Sealed) -> None:
    bundle = sealed.bundles[1]
    edit_verdict(bundle)
    rewritten_manifest(bundle)
    assert (
        f"{bundle.name}/manifest.json: was changed: it is not the one in ledger.jsonl" in sealed.verify().err
    )
    rewritten_ledger(sealed.folder)
    named = f"{bundle.name}/manifest.dsse.json: is not about this bundle's manifest.json\n"
    for ended in (sealed.verify(), sealed.with_key()):
        assert (ended.code, named in ended.err) == (1, True), ended.err
        assert not [other for other in sealed.bundles if other != bundle and other.name in ended.err]
    (bundle / signature.FILE).unlink()
    assert sealed.verify().code == 0  # without key and head, nothing is left that could tell:
    ended = sealed.with_key()
    assert (ended.code, ended.err) == (1, f"  {bundle.name}: is unsigned: it has no manifest.dsse.json\n")
    ended = sealed.verify("--head", sealed.heads[-1])
    assert (ended.code, "lines were cut off or rewritten" in ended.err) == (1, True), ended.err


@pytest.mark.row("H73")
@pytest.mark.parametrize("is_rewritten", [False, True])
@pytest.mark.parametrize("what", ["a step dropped", "its last output dropped", "the file's tail cut off"])
def test_a_dropped_step_and_a_truncated_tail_are_named(
    sealed: Sealed, what: str, *, is_rewritten: bool
) -> None:
    bundle = sealed.bundles[1]
    path = bundle / "notebook.ipynb"
    notebook: dict[str, Any] = json.loads(path.read_bytes())
    steps = [number for number, cell in enumerate(notebook["cells"]) if cell.get("outputs")]
    if what == "a step dropped":
        del notebook["cells"][steps[-1]]
    else:
        notebook["cells"][steps[-1]]["outputs"].pop()
    content = path.read_bytes()[:-200] if "tail" in what else json.dumps(notebook, indent=1).encode()
    assert content != path.read_bytes()
    path.write_bytes(content)
    if is_rewritten:
        rewritten_manifest(bundle)
        rewritten_ledger(sealed.folder)
    named = "manifest.dsse.json: is not about" if is_rewritten else "notebook.ipynb: was changed"
    ended = sealed.with_key()
    assert (ended.code, f"{bundle.name}/{named}" in ended.err) == (1, True), ended.err


@pytest.mark.row("H73")
@pytest.mark.parametrize("count", [1, 2])
def test_a_ledger_without_its_tail_misses_the_bundles(sealed: Sealed, count: int) -> None:
    path = sealed.folder / ledger.FILE
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-count]))
    ended = sealed.verify()
    assert ended.code == 1
    assert ended.err == "".join(
        f"  {bundle.name}: is not in ledger.jsonl\n" for bundle in sealed.bundles[-count:]
    )


@pytest.mark.row("H73")
def test_a_ledger_whose_last_line_is_torn_is_named_by_the_line(sealed: Sealed) -> None:
    path = sealed.folder / ledger.FILE
    path.write_bytes(path.read_bytes()[:-30])
    ended = sealed.verify()
    assert (ended.code, "ledger.jsonl line 3: was changed" in ended.err) == (1, True), ended.err


@pytest.mark.row("H74")
@pytest.mark.parametrize(
    "name", ["notebook.ipynb", "notebook.html", "verdict.json", "manifest.json", signature.FILE]
)
def test_swapped_files_of_two_bundles_are_both_named(sealed: Sealed, name: str) -> None:
    one, two = sealed.bundles[:2]
    assert manifest.sha256(one / name) != manifest.sha256(two / name)
    swap(one / name, two / name)
    for ended in (sealed.verify(), sealed.with_key()):
        assert ended.code == 1
        assert f"{one.name}/" in ended.err
        assert f"{two.name}/" in ended.err
        assert sealed.bundles[2].name not in ended.err


def swap(one: Path, two: Path) -> None:
    aside = one.with_name("aside")
    one.rename(aside)
    two.rename(one)
    aside.rename(two)


@pytest.mark.row("H74")
def test_two_whole_bundles_that_changed_names_are_named_by_chain_and_by_head(sealed: Sealed) -> None:
    one, two = sealed.bundles[:2]
    swap(one, two)
    ended = sealed.verify()
    assert ended.code == 1
    for bundle in (one, two):
        assert f"{bundle.name}/manifest.json: was changed: it is not the one in ledger.jsonl" in ended.err
    rewritten_ledger(sealed.folder)
    ended = sealed.with_key("--head", sealed.heads[-1])
    assert (ended.code, sealed.heads[-1] in ended.err) == (1, True), ended.err


@pytest.mark.row("H76")
def test_evidence_that_was_signed_again_with_another_key_is_named(sealed: Sealed, tmp_path: Path) -> None:
    """Everything is written anew and fits, and only the key is not the right one."""
    assert command(["runbook", "keygen", str(tmp_path / "other.pem")]).code == 0
    bundle = sealed.bundles[1]
    edit_verdict(bundle)
    rewritten_manifest(bundle)
    rewritten_ledger(sealed.folder)
    signed_anew(bundle, tmp_path / "other.pem")
    assert sealed.verify().code == 0  # nobody asked by whom
    ended = sealed.with_key()
    other = signature.key_id(signature.public_key(tmp_path / "other.pub.pem"))
    mine = signature.key_id(signature.public_key(sealed.key))
    assert ended.code == 1
    told_keys = f"is signed by another key, {other[:16]}…, and not by {mine[:16]}…"
    assert ended.err == f"  {bundle.name}/manifest.dsse.json: {told_keys}\n"
    # Under the name of the right key.
    told = json.loads((bundle / signature.FILE).read_bytes())
    told["signatures"][0]["keyid"] = mine
    (bundle / signature.FILE).write_text(json.dumps(told))
    ended = sealed.with_key()
    assert (ended.code, "was changed, or signed by another key under the name" in ended.err) == (1, True)
    # Both signatures at once are none of ours either.
    own = json.loads((sealed.bundles[0] / signature.FILE).read_bytes())
    told["signatures"] += own["signatures"]
    (bundle / signature.FILE).write_text(json.dumps(told))
    assert sealed.with_key().code == 1


def signed_anew(bundle: Path, key: Path) -> None:
    (bundle / signature.FILE).unlink()
    program = (
        "import sys, pathlib; from runbooklib.evidence import signature\n"
        "signature.sign(pathlib.Path(sys.argv[1]))"
    )
    ended = command(["python", "-c", program, str(bundle)], {variables.SIGNING_KEY: str(key)})
    assert ended.code == 0, ended.err


@pytest.mark.row("H76")
def test_a_single_flipped_bit_of_a_signature_is_named(sealed: Sealed) -> None:
    bundle, key = sealed.bundles[1], signature.public_key(sealed.key)
    path = bundle / signature.FILE
    whole = path.read_bytes()
    told = json.loads(whole)
    assert signature.verify(bundle, key) == []
    for field in ("payload", "payloadType", "sig", "keyid"):
        value = told["signatures"][0].get(field) or told[field]
        start = whole.index(value.encode())
        for place in (start, start + len(value) // 2, start + len(value) - 3):
            flipped = bytearray(whole)
            flipped[place] ^= 1
            path.write_bytes(flipped)
            # The key's name is a hint: the signature holds, whatever name stands beside it.
            assert bool(signature.verify(bundle, key)) == (field != "keyid"), (field, place)


@pytest.mark.row("H77")
@pytest.mark.parametrize("count", [1, 2])
def test_a_ledger_that_was_rolled_back_with_its_bundles_lacks_the_head_of_the_postmortem(
    sealed: Sealed, count: int
) -> None:
    path = sealed.folder / ledger.FILE
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-count]))
    for bundle in sealed.bundles[-count:]:
        shutil.rmtree(bundle)
    ended = sealed.with_key()
    assert (ended.code, ended.err) == (0, "")  # a valid prefix, signed: no chain can tell
    assert "Not checked: whether the newest bundles were cut off" in ended.out
    ended = sealed.with_key("--head", sealed.heads[-1])
    assert ended.code == 1
    gone = f"ledger.jsonl: has no head {sealed.heads[-1]}: lines were cut off or rewritten"
    assert ended.err == f"  {gone}\n"
    assert sealed.with_key("--head", sealed.heads[0].upper()).code == 0  # what is older is still vouched for


@pytest.mark.row("H77")
def test_a_head_vouches_for_a_single_bundle_too(sealed: Sealed) -> None:
    bundle = sealed.bundles[0]
    argv = ["runbook", "verify", str(bundle), "--head", sealed.heads[0]]
    assert command(argv).code == 0
    (sealed.folder / ledger.FILE).write_text("")
    ended = command(argv)
    assert (ended.code, sealed.heads[0] in ended.err) == (1, True), ended.err


@pytest.mark.parametrize("text", ["", "abc", "g" * 64, "a" * 65])
def test_a_head_that_is_no_digest_is_bad_input(original: Sealed, text: str) -> None:
    ended = original.verify("--head", text)
    assert (ended.code, "is not a SHA-256" in ended.err) == (3, True), ended.err


@pytest.mark.parametrize("key", ["nowhere.pem", "signing.pem"])
def test_a_key_that_is_no_public_one_is_bad_input(original: Sealed, key: str) -> None:
    ended = original.verify("--key", str(original.key.with_name(key)))
    assert (ended.code, "--key" in ended.err, len(ended.err.splitlines())) == (3, True, 1), ended.err


def test_a_signing_key_that_others_may_read_is_refused_before_anything_runs(
    original: Sealed, tmp_path: Path, survey: Survey
) -> None:
    home = small.home(tmp_path / "home")
    key = tmp_path / "open.pem"
    shutil.copy(original.key.with_name("signing.pem"), key)
    key.chmod(0o644)
    argv = ["runbook", "run", "Small", "--output", str(tmp_path / "evidence")]
    ended = command(argv, {**home, **survey.environment, variables.SIGNING_KEY: str(key)})
    assert (ended.code, "chmod 600" in ended.err) == (3, True), ended.err
    assert not (tmp_path / "evidence").exists()


def test_no_kernel_is_told_where_the_key_is(original: Sealed, tmp_path: Path, survey: Survey) -> None:
    home = small.home(tmp_path / "home")
    small.write(tmp_path / "home", "Small", "import os\nprint(sorted(os.environ))\nprint(os.environ)")
    argv = ["runbook", "run", "Small", "--json", "--output", str(tmp_path / "evidence")]
    key = original.key.with_name("signing.pem")
    ended = command(argv, {**home, **survey.environment, variables.SIGNING_KEY: str(key)})
    bundle = Path(ended.verdict["bundle"])
    assert signature.is_signed(bundle)
    content = (bundle / "notebook.ipynb").read_text()
    assert "RUNBOOK_HOME" in content
    assert (variables.SIGNING_KEY in content, str(key) in content) == (False, False)
