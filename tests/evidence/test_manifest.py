import hashlib
import json
import os
import subprocess
from pathlib import Path

import pytest

from runbooklib.evidence import manifest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (bundle / "b.txt").write_bytes(b"two")
    (bundle / "a.txt").write_bytes(b"")
    (bundle / manifest.FILE).write_text("old")
    return bundle


def git(home: Path, *words: str) -> str:
    env = {"PATH": os.environ["PATH"], "HOME": str(home), "GIT_CONFIG_NOSYSTEM": "1"}
    env |= {f"GIT_{r}_{what}": "t@t" for r in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    done = subprocess.run(["git", *words], cwd=home, env=env, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_each_file_but_itself_is_described_by_its_digest_and_size(folder: Path) -> None:
    told = manifest.describe(folder, {"kind": "run", "parameters": {"a": 1}}, None)
    assert told["files"] == {
        "a.txt": {"sha256": hashlib.sha256(b"").hexdigest(), "bytes": 0},
        "b.txt": {"sha256": hashlib.sha256(b"two").hexdigest(), "bytes": 3},
    }
    assert (told["version"], told["kind"], told["parameters"]) == (manifest.VERSION, "run", {"a": 1})
    assert json.loads(json.dumps(told)) == told


def test_who_where_and_with_what_is_told(folder: Path) -> None:
    told = manifest.describe(folder, {}, None)
    assert all(isinstance(told[name], str) and told[name] for name in ("who", "host", "python"))
    assert told["tools"]["papermill"][0].isdigit()
    assert {"runbooklib", "docker", "prometheus-api-client"} <= told["tools"].keys()


def test_a_user_id_without_a_name_is_unknown(folder: Path) -> None:
    """As in a container that was started with --user 12345."""
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody without a name")
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
            os.environ.pop(name, None)
        os.setuid(54321)
        os.write(writer, manifest.user().encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writer)
    assert os.read(reader, 100) == b"unknown"
    os.close(reader)
    assert folder.is_dir()


def test_the_commit_of_the_runbooks_is_told_and_a_plus_where_files_were_changed(
    folder: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    assert manifest.describe(folder, {}, home)["git_commit"] is None
    git(home, "init", "-q")
    assert manifest.describe(folder, {}, home)["git_commit"] is None  # no commit yet
    (home / "x").write_text("1")
    git(home, "add", "x")
    git(home, "commit", "-q", "-m", "x")
    head = git(home, "rev-parse", "HEAD")
    assert manifest.describe(folder, {}, home)["git_commit"] == head
    (home / "untracked").write_text("1")
    assert manifest.describe(folder, {}, home)["git_commit"] == head
    (home / "x").write_text("2")
    assert manifest.describe(folder, {}, home)["git_commit"] == f"{head}+"
    assert manifest.describe(folder, {}, tmp_path / "nowhere")["git_commit"] is None
    assert manifest.describe(folder, {}, None)["git_commit"] is None


def test_a_repository_cannot_make_us_run_its_programs(folder: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    git(home, "init", "-q")
    (home / "x").write_text("1")
    git(home, "add", "x")
    git(home, "commit", "-q", "-m", "x")
    canary = tmp_path / "ran"
    program = home / "evil.sh"
    program.write_text(f"#!/bin/sh\ntouch {canary}\n")
    program.chmod(0o755)
    git(home, "config", "core.fsmonitor", str(program))
    git(home, "config", "core.hooksPath", str(home))
    (home / "x").write_text("2")
    assert manifest.describe(folder, {}, home)["git_commit"]
    assert not canary.exists()


def test_bundles_are_the_folders_that_are_not_hidden_by_name(tmp_path: Path) -> None:
    for name in ("b", "a", ".unfinished.1"):
        (tmp_path / name).mkdir()
    (tmp_path / "file").write_text("")
    assert [path.name for path in manifest.bundles(tmp_path)] == ["a", "b"]
    assert not manifest.is_folder_of_bundles(tmp_path)
    (tmp_path / "a" / manifest.FILE).write_text("{}")
    assert manifest.is_folder_of_bundles(tmp_path)
    assert not manifest.is_folder_of_bundles(tmp_path / "a")
