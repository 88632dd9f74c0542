"""The envelope of a manifest: its form and its key. Tampering is in tests/faults/test_tamper.py."""

import base64
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from runbooklib.config import variables
from runbooklib.errors import EvidenceError, InputError
from runbooklib.evidence import signature

MANIFEST = {"version": 1, "kind": "run", "alert": "A — 三", "files": {"a.txt": {"sha256": "ab" * 32}}}


@pytest.fixture
def key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    signature.make_keys(tmp_path / "signing.pem")
    monkeypatch.setenv(variables.SIGNING_KEY, str(tmp_path / "signing.pem"))
    return tmp_path / "signing.pub.pem"


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "manifest.json").write_text(json.dumps(MANIFEST, ensure_ascii=False))
    return folder


def told(bundle: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((bundle / signature.FILE).read_bytes())
    return found


def test_the_bytes_that_are_signed_are_those_of_the_specification() -> None:
    """The example of DSSE's protocol.md."""
    expected = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    assert signature.pae("http://example.com/HelloWorld", b"hello world") == expected
    assert signature.pae("t", "三".encode()) == b"DSSEv1 1 t 3 \xe4\xb8\x89"


@pytest.mark.usefixtures("key")
def test_the_envelope_holds_an_in_toto_statement_whose_subjects_are_the_files(
    bundle: Path,
) -> None:
    signature.sign(bundle)
    assert told(bundle)["payloadType"] == "application/vnd.in-toto+json"
    statement = json.loads(base64.b64decode(told(bundle)["payload"]))
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    digest = hashlib.sha256((bundle / "manifest.json").read_bytes()).hexdigest()
    assert statement["subject"] == [
        {"name": "manifest.json", "digest": {"sha256": digest}},
        {"name": "a.txt", "digest": {"sha256": "ab" * 32}},
    ]
    assert statement["predicate"] == {"kind": "run", "alert": "A — 三"}
    assert (bundle / signature.FILE).stat().st_mode & 0o777 == 0o600


def test_whoever_knows_dsse_can_verify_it_without_us(key: Path, bundle: Path) -> None:
    signature.sign(bundle)
    payload = base64.b64decode(told(bundle)["payload"])
    [one] = told(bundle)["signatures"]
    public: Any = load_pem_public_key(key.read_bytes())
    kind = told(bundle)["payloadType"]
    public.verify(
        base64.b64decode(one["sig"]), f"DSSEv1 {len(kind)} {kind} {len(payload)} ".encode() + payload
    )
    assert signature.verify(bundle, signature.public_key(key)) == []


def test_without_a_key_nothing_is_signed_and_nothing_is_wrong(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(variables.SIGNING_KEY, raising=False)
    signature.sign(bundle)
    assert [path.name for path in bundle.iterdir()] == ["manifest.json"]
    assert signature.misfit(bundle) == []


@pytest.mark.usefixtures("key")
def test_a_signature_that_is_there_is_never_overwritten(bundle: Path) -> None:
    (bundle / signature.FILE).write_text("planted")
    with pytest.raises(FileExistsError):
        signature.sign(bundle)
    assert (bundle / signature.FILE).read_text() == "planted"


def test_new_keys_are_a_pair_that_only_their_owner_may_read_and_replace_nothing(tmp_path: Path) -> None:
    public = signature.make_keys(tmp_path / "one.pem")
    assert (tmp_path / "one.pem").stat().st_mode & 0o777 == 0o600
    assert public == tmp_path / "one.pub.pem"
    before = (tmp_path / "one.pem").read_bytes()
    with pytest.raises(InputError, match=r"one\.pem cannot be written: File exists"):
        signature.make_keys(tmp_path / "one.pem")
    assert (tmp_path / "one.pem").read_bytes() == before
    (tmp_path / "two.pub.pem").write_text("somebody's")
    with pytest.raises(InputError, match=r"two\.pub\.pem cannot be written"):
        signature.make_keys(tmp_path / "two.pem")
    assert not (tmp_path / "two.pem").exists()


@pytest.mark.usefixtures("key")
def test_a_key_that_others_may_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bundle: Path
) -> None:
    for mode in (0o640, 0o604, 0o620):
        (tmp_path / f"{mode}.pem").write_bytes((tmp_path / "signing.pem").read_bytes())
        (tmp_path / f"{mode}.pem").chmod(mode)
        monkeypatch.setenv(variables.SIGNING_KEY, str(tmp_path / f"{mode}.pem"))
        with pytest.raises(InputError, match=r"may be read by others .*chmod 600"):
            signature.private_key()
    with pytest.raises(EvidenceError, match="cannot be signed"):
        signature.sign(bundle)


KEYS = {
    "no file": [],
    "text": ["sh", "-c", "echo hello > key"],
    "empty": ["touch", "key"],
    "a folder": ["mkdir", "key"],
    "a pipe that nobody writes": ["mkfifo", "key"],
    "another kind of key": ["openssl", "genpkey", "-algorithm", "ed448", "-out", "key"],
    "a passphrase": [
        "openssl",
        "genpkey",
        "-algorithm",
        "ed25519",
        "-aes256",
        "-pass",
        "pass:x",
        "-out",
        "key",
    ],
}


@pytest.mark.parametrize("what", KEYS)
def test_what_is_no_key_is_refused_at_once(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "key"
    if KEYS[what]:
        subprocess.run(KEYS[what], cwd=tmp_path, check=True, capture_output=True, timeout=20)
        path.chmod(0o700 if path.is_dir() else 0o600)
    monkeypatch.setenv(variables.SIGNING_KEY, str(path))
    with pytest.raises(InputError, match=variables.SIGNING_KEY):
        signature.private_key()
    with pytest.raises(InputError, match="--key"):
        signature.public_key(path)


def test_a_private_key_is_no_public_one_and_the_other_way_round(
    key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match="is not a public Ed25519 key"):
        signature.public_key(tmp_path / "signing.pem")
    key.chmod(0o600)
    monkeypatch.setenv(variables.SIGNING_KEY, str(key))
    with pytest.raises(InputError, match="is not an Ed25519 key"):
        signature.private_key()


def test_a_kernels_environment_is_everything_but_the_key(key: Path) -> None:
    program = "import json, os; print(json.dumps(dict(os.environ)))"
    kept = signature.kernel_environment(os.environ)
    ended = subprocess.run(
        [sys.executable, "-c", program], env=kept, capture_output=True, text=True, check=True
    )
    found = json.loads(ended.stdout)
    assert variables.SIGNING_KEY not in found
    assert str(key.parent / "signing.pem") not in found.values()
    assert os.environ.keys() - found.keys() == {variables.SIGNING_KEY}


def envelope(payload: object, **signature_of: object) -> str:
    told = {"payload": payload, "payloadType": signature.PAYLOAD_TYPE, "signatures": [signature_of]}
    return json.dumps(told)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        "\xff",
        "[" * 100_000,
        '{"payload": "", "payloadType": "x", "signatures": []}',
        envelope("!", sig="", keyid=1),
        envelope("W10=", sig=""),
        envelope(5, sig="", keyid=""),
        envelope("W10=", sig="", keyid="").replace("in-toto", "other"),
    ],
)
def test_an_envelope_that_cannot_be_read_is_named_with_and_without_a_key(
    key: Path, bundle: Path, content: str
) -> None:
    (bundle / signature.FILE).write_text(content, encoding="latin-1")
    named = [f"bundle/{signature.FILE}: was changed: it cannot be read"]
    assert signature.verify(bundle, signature.public_key(key)) == named
    assert signature.misfit(bundle) == named


def test_a_key_id_of_terminal_codes_is_not_said(key: Path, bundle: Path) -> None:
    signature.sign(bundle)
    changed = told(bundle)
    changed["signatures"][0] = {"keyid": "\x1b[2J\u202eabc", "sig": base64.b64encode(b"x" * 64).decode()}
    (bundle / signature.FILE).write_text(json.dumps(changed))
    [line] = signature.verify(bundle, signature.public_key(key))
    assert "signed by another key, ?[2J?abc" in line
