"""What a bundle consists of, and whether it still does: `manifest.json` and its check.

The manifest holds the SHA-256 of each other file; the ledger beside the bundles holds the manifest's, and
the signature, where there is one, is over the manifest.
"""

import getpass
import hashlib
import json
import platform
import socket
import subprocess
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from runbooklib.evidence import action_ledger, ledger, signature

FILE = "manifest.json"
VERSION = 1
_TOOLS = ("runbooklib", "papermill", "nbformat", "prometheus-api-client", "docker", "psycopg", "pandas")


def sha256(path: Path) -> str:
    """The file's digest, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def describe(
    folder: Path, about: Mapping[str, Any], home: Path | None, left_out: Sequence[str] = ()
) -> dict[str, Any]:
    """The manifest of the files in the folder. `about` says what was run, with what, when."""
    hidden = (FILE, signature.FILE, *left_out)
    files = sorted(path for path in folder.iterdir() if path.name not in hidden)
    return {
        "version": VERSION,
        **about,
        "files": {path.name: {"sha256": sha256(path), "bytes": path.stat().st_size} for path in files},
        "who": user(),
        "host": socket.gethostname(),
        "python": platform.python_version(),
        "tools": {name: metadata.version(name) for name in _TOOLS},
        "git_commit": _commit(home) if home else None,
    }


def user() -> str:
    """The name of this process's user."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"  # a container whose user id has no name


def _commit(home: Path) -> str | None:
    """The commit of the runbooks, with "+" where files were changed; None outside a repository."""
    try:
        head = _git(home, "rev-parse", "--verify", "HEAD")
        return head + ("+" if _git(home, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(home: Path, *words: str) -> str:
    argv = ["git", "-c", "core.fsmonitor=", "-c", "core.hooksPath=/dev/null", *words]
    ended = subprocess.run(argv, cwd=home, capture_output=True, text=True, check=True, timeout=5)
    return ended.stdout.strip()


def whole(folder: Path) -> dict[str, Any] | None:
    """The manifest of a bundle that is whole, whatever the ledger says of it; None for another folder."""
    try:
        fields: dict[str, Any] = json.loads((folder / FILE).read_bytes())
        is_whole = all(sha256(folder / name) == about["sha256"] for name, about in fields["files"].items())
        datetime.fromisoformat(fields["ended_at"])
        return fields if is_whole and isinstance(fields["bundle"], str) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def verify_bundle(folder: Path) -> list[str]:
    """What is wrong with a bundle: each changed, missing or added file by its name. Nothing: it is whole."""
    folder = folder.resolve()
    path = folder / FILE
    if path.is_symlink():
        return [f"{folder.name}/{FILE}: was changed: it is a link"]
    if not path.is_file():
        return [f"{folder.name}/{FILE}: is missing"]
    try:
        fields = json.loads(path.read_bytes())
        expected = {str(name): str(about["sha256"]) for name, about in fields["files"].items()}
        ended_at = str(fields["ended_at"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return [f"{folder.name}/{FILE}: was changed: it cannot be read"]
    present = {entry.name for entry in folder.iterdir()} - {FILE, signature.FILE}
    problems = [f"{folder.name}/{name}: is missing" for name in sorted(expected.keys() - present)]
    problems += [f"{folder.name}/{name}: was added" for name in sorted(present - expected.keys())]
    for name in sorted(present & expected.keys()):
        file = folder / name
        if file.is_symlink() or not file.is_file() or sha256(file) != expected[name]:
            problems.append(f"{folder.name}/{name}: was changed")
    return [*problems, *signature.misfit(folder), *_compare_with_ledger(folder, ended_at)]


def _compare_with_ledger(folder: Path, ended_at: str) -> list[str]:
    """Whether the ledger beside the bundle, where there is one, knows this very manifest."""
    lines, _ = ledger.read(folder.parent)
    if not lines:
        return []
    known = [line for line in lines if line.bundle == folder.name]
    if not known:
        return [f"{folder.name}: is not in {ledger.FILE}"]
    if sha256(folder / FILE) != known[-1].manifest_sha256:
        return [f"{folder.name}/{FILE}: was changed: it is not the one in {ledger.FILE}"]
    if ended_at != known[-1].sealed_at:
        return [f"{ledger.FILE}: was changed: it has another time for {folder.name} than its manifest"]
    return []


def verify_folder(folder: Path) -> list[str]:
    """What is wrong with a folder of bundles: its chain, each bundle, and bundles that are gone."""
    lines, problems = ledger.read(folder)
    if not lines and not problems:
        problems.append(f"{ledger.FILE}: is missing")
    bundle_names = list(dict.fromkeys(line.bundle for line in lines))
    problems += [
        f"{name}: is gone, and {ledger.FILE} knows it"
        for name in bundle_names
        if not (folder / name).is_dir()
    ]
    for bundle in bundles(folder):
        is_link = bundle.is_symlink()
        problems += [f"{bundle.name}: is a link"] if is_link else verify_bundle(bundle)
    return [*problems, *_compare_with_action_ledger(folder)]


def _compare_with_action_ledger(folder: Path) -> list[str]:
    """Whether the ledger of actions is whole, and knows of every bundle that speaks of one."""
    try:
        lines, problem = action_ledger.read(folder)
        deeds = {str(line.get("id")): line for line in lines}
        snapshots = [str(line["evidence"]) for line in lines if line["kind"] == "intent"]
        # Lines of older versions name no certificate.
        certificates = [str(line.get("evidence", "")) for line in lines if line["kind"] == "recovery"]
    except (OSError, KeyError, TypeError) as error:
        return [f"{action_ledger.FILE}: was changed: it cannot be read ({error})"]
    heads = {str(line["previous"]) for line in lines} | {action_ledger.head_of(folder)}
    problems = [problem] if problem else []
    problems += [
        f"{name}: is gone, and {action_ledger.FILE} knows it"
        for name in (*snapshots, *certificates)
        if not (folder / Path(name).name).is_dir()
    ]
    for bundle in bundles(folder):
        about = whole(bundle) or {}
        if about.get("kind") == "action" and about.get("deed") not in deeds:
            problems.append(f"{action_ledger.FILE}: the line of {bundle.name} is gone")
        if about.get("kind") == "recovery" and about.get("deed") and bundle.name not in certificates:
            problems.append(f"{action_ledger.FILE}: the line of {bundle.name} is gone, or was never written")
        if about.get("actions_head") and about["actions_head"] not in heads:
            problems.append(f"{action_ledger.FILE}: was changed: it is not what {bundle.name} saw")
    return problems


def bundles(folder: Path) -> Sequence[Path]:
    """The bundles in a folder, by name and so by time; hidden folders are runs that are not finished."""
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def is_folder_of_bundles(path: Path) -> bool:
    """Whether this is a folder with a ledger, or with bundles in it."""
    return (path / ledger.FILE).exists() or any((bundle / FILE).exists() for bundle in bundles(path))
