"""The signature of a bundle: an Ed25519 signature over its manifest, in `manifest.dsse.json` beside it.

The file is a DSSE v1 envelope with an in-toto Statement v1. The statement's subjects are manifest.json and
each file that the manifest lists, by the SHA-256 of their raw bytes, so the JSON formatting does not matter.
RUNBOOK_SIGNING_KEY names the private key in the process that runs a runbook; it is removed from the kernel's
environment. Verification needs only the public key.
"""

import base64
import hashlib
import json
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runbooklib.config import variables
from runbooklib.errors import EvidenceError, InputError
from runbooklib.files import write_new

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

FILE = "manifest.dsse.json"
MANIFEST = "manifest.json"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
_STATEMENT, _PREDICATE = "https://in-toto.io/Statement/v1", "urn:runbooklib:manifest:1"
_ABOUT = ("kind", "alert", "started_at", "ended_at")
_MAX_BYTES = 10_000_000


def kernel_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment for a kernel: without the variable that names the signing key."""
    return {name: value for name, value in environment.items() if name != variables.SIGNING_KEY}


def make_keys(private: Path) -> Path:
    """Write a new private key to this path and its public key beside it; return the latter's path.

    Raises InputError.
    """
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    public = private.with_suffix(".pub.pem")
    secret = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    shared = key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
    try:
        write_new(private, secret)
        try:
            write_new(public, shared, mode=0o644)
        except OSError:
            private.unlink()
            raise
    except OSError as error:
        raise InputError(
            f"{error.filename} cannot be written: {error.strerror}",
            hint="name a new file, like signing.pem",
        ) from None
    return public


def private_key() -> "Ed25519PrivateKey | None":
    """The key that RUNBOOK_SIGNING_KEY names, read once for each process; None if the variable is not set.

    Raises InputError if the file is not an Ed25519 private key, or if other users may read it.
    """
    path = os.environ.get(variables.SIGNING_KEY, "")
    return _private_key(path) if path else None


@cache
def _private_key(path: str) -> "Ed25519PrivateKey":
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    content, mode = _read_key_file(Path(path), variables.SIGNING_KEY)
    if mode & 0o077:
        raise InputError(
            f"{variables.SIGNING_KEY}: {path} may be read by others (mode {mode:04o})",
            hint=f"chmod 600 {path}",
        )
    key: Any = None
    with suppress(ValueError, TypeError, ArithmeticError):  # TypeError: the key has a passphrase
        key = load_pem_private_key(content, password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise InputError(
            f"{variables.SIGNING_KEY}: {path} is not an Ed25519 key in PEM without a passphrase",
            hint="create a key with `runbook keygen signing.pem`",
        )
    return key


def public_key(path: Path) -> "Ed25519PublicKey":
    """The public key in a PEM file. Raises InputError."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    content, _ = _read_key_file(path, "--key")
    key: Any = None
    with suppress(ValueError, TypeError, ArithmeticError):
        key = load_pem_public_key(content)
    if not isinstance(key, Ed25519PublicKey):
        raise InputError(
            f"--key: {path} is not a public Ed25519 key in PEM",
            hint="pass the .pub.pem file of `runbook keygen`",
        )
    return key


def _read_key_file(path: Path, what: str) -> tuple[bytes, int]:
    """The file's content and mode. A pipe does not block. Raises InputError."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            about = os.fstat(file.fileno())
            if not stat.S_ISREG(about.st_mode):
                raise InputError(f"{what}: {path} is not a regular file", hint="pass a PEM file")
            return file.read(10_000), stat.S_IMODE(about.st_mode)
    except OSError as error:
        raise InputError(f"{what}: {path} cannot be read: {error.strerror}", hint="pass a PEM file") from None


def key_id(key: "Ed25519PublicKey") -> str:
    """The id of a key: the SHA-256 of its public key in DER."""
    from cryptography.hazmat.primitives import serialization as form

    return hashlib.sha256(
        key.public_bytes(form.Encoding.DER, form.PublicFormat.SubjectPublicKeyInfo)
    ).hexdigest()


def pae(payload_type: str, payload: bytes) -> bytes:
    """The pre-authentication encoding of DSSE v1: type and payload, each after its length."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def envelope(manifest: bytes, key: "Ed25519PrivateKey") -> str:
    """The envelope, as JSON, with the signed statement about a manifest of these bytes."""
    fields = json.loads(manifest)
    digests = {MANIFEST: hashlib.sha256(manifest).hexdigest()}
    digests |= {name: about["sha256"] for name, about in fields["files"].items()}
    statement = {
        "_type": _STATEMENT,
        "subject": [{"name": name, "digest": {"sha256": digest}} for name, digest in digests.items()],
        "predicateType": _PREDICATE,
        "predicate": {name: fields[name] for name in _ABOUT if name in fields},
    }
    payload = json.dumps(statement, ensure_ascii=False).encode()
    signed = key.sign(pae(PAYLOAD_TYPE, payload))
    signatures = [{"keyid": key_id(key.public_key()), "sig": base64.b64encode(signed).decode()}]
    whole = {"payload": base64.b64encode(payload).decode(), "payloadType": PAYLOAD_TYPE}
    return json.dumps({**whole, "signatures": signatures}, indent=1) + "\n"


def sign(folder: Path) -> None:
    """Sign the folder's manifest if RUNBOOK_SIGNING_KEY names a key. Raises EvidenceError, OSError."""
    try:
        key = private_key()
    except InputError as error:
        raise EvidenceError(f"the evidence cannot be signed: {error.message}", hint=error.hint) from None
    if key is not None:
        write_new(folder / FILE, envelope((folder / MANIFEST).read_bytes(), key).encode())


def is_signed(folder: Path) -> bool:
    """Whether the bundle has a signature, valid or not."""
    return os.path.lexists(folder / FILE)


def misfit(folder: Path) -> list[str]:
    """The problems of a bundle's signature that need no key: it is unreadable, or is for another manifest."""
    if not is_signed(folder):
        return []
    where = f"{folder.name}/{FILE}"
    read = _read(folder)
    if read is None:
        return [f"{where}: was changed: it cannot be read"]
    payload, _, _ = read
    return [] if _is_about(payload, folder) else [f"{where}: is not about this bundle's {MANIFEST}"]


def verify(folder: Path, key: "Ed25519PublicKey") -> list[str]:
    """The problems of a bundle's signature with this public key; empty if this key signed the bundle."""
    from cryptography.exceptions import InvalidSignature

    where = f"{folder.name}/{FILE}"
    if not is_signed(folder):
        return [f"{folder.name}: is unsigned: it has no {FILE}"]
    read = _read(folder)
    if read is None:
        return [f"{where}: was changed: it cannot be read"]
    payload, signer, signed = read
    try:
        key.verify(signed, pae(PAYLOAD_TYPE, payload))
    except InvalidSignature:
        if signer != key_id(key):
            return [f"{where}: is signed by another key, {signer[:16]}…, and not by {key_id(key)[:16]}…"]
        return [f"{where}: was changed, or signed by another key under the name of this one"]
    return [] if _is_about(payload, folder) else [f"{where}: is not about this bundle's {MANIFEST}"]


def _read(folder: Path) -> tuple[bytes, str, bytes] | None:
    """Payload, key id and signature of the envelope; None if it cannot be read or has another format."""
    path = folder / FILE
    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size > _MAX_BYTES:
            return None
        fields = json.loads(path.read_bytes())
        [signature] = fields["signatures"]
        if fields["payloadType"] != PAYLOAD_TYPE:
            return None
        payload = base64.b64decode(fields["payload"], validate=True)
        signed = base64.b64decode(signature["sig"], validate=True)
        return payload, _replace_unprintable(signature["keyid"]), signed
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _replace_unprintable(value: Any) -> str:
    return "".join(c if c.isprintable() else "?" for c in str(value))


def _is_about(payload: bytes, folder: Path) -> bool:
    """Whether the statement is about the folder's manifest as it is now."""
    try:
        statement = json.loads(payload)
        if (statement["_type"], statement["predicateType"]) != (_STATEMENT, _PREDICATE):
            return False
        subjects = statement["subject"]
        [digest] = [subject["digest"]["sha256"] for subject in subjects if subject["name"] == MANIFEST]
        return bool(digest == hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest())
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False
