"""Reverts commits in a temporary git worktree. The new branch is never pushed."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from runbooklib.errors import ActionError

SYSTEM = "git"
_TIMEOUT_SECONDS = 120
# No program that the repository's configuration names may run.
_SAFE_CONFIGURATION = {
    "core.fsmonitor": "false",
    "core.hooksPath": "/dev/null",
    "core.editor": "true",
    "commit.gpgSign": "false",
    "protocol.allow": "never",
    "safe.directory": "*",
    "user.email": "runbooklib@localhost.invalid",
    "gc.auto": "0",
}


def revert(repository: str, revisions: str, branch: str, *, by: str) -> str:
    """Revert `revisions` (one, or a range) on a new branch; return the last new commit.

    Raises ActionError; then the repository is unchanged.
    """
    _refuse_filter_programs(repository)
    folder = tempfile.mkdtemp(prefix="runbook-revert-")
    worktree = str(Path(folder) / "work")
    try:
        _git(repository, "worktree", "add", "--quiet", "--detach", worktree, "HEAD")
        _git(worktree, "revert", "--no-edit", "--end-of-options", revisions, by=_author(by))
        commit = _git(worktree, "rev-parse", "--verify", "HEAD")
        _git(repository, "branch", "--no-track", branch, commit)
        return commit
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        _git(repository, "worktree", "prune")


def _author(name: str) -> str:
    """The name without the characters that git does not allow in an author."""
    return "".join(c for c in name if c.isprintable() and c not in "<>") or "runbooklib"


def _refuse_filter_programs(repository: str) -> None:
    """Raise ActionError if the repository configures filters or merge drivers: git would run them."""
    answer = _git(repository, "config", "--name-only", "--get-regexp", r"^(filter|merge)\..*", may_fail=True)
    programs = [n for n in answer.split() if n.endswith((".clean", ".smudge", ".process", ".driver"))]
    if programs:
        raise ActionError(
            f"the clone's configuration runs a program: {programs[0]}",
            system=SYSTEM,
            target=repository,
            hint="revert by hand",
        )


def _git(folder: str, *words: str, may_fail: bool = False, by: str = "runbooklib") -> str:
    git = shutil.which("git")
    if git is None:
        raise ActionError("the program git is not installed", system=SYSTEM, hint="install git")
    configuration = {**_SAFE_CONFIGURATION, "user.name": by}
    options = [part for name, value in configuration.items() for part in ("-c", f"{name}={value}")]
    environment = {"PATH": os.defpath, "HOME": "/nonexistent", "LC_ALL": "C.UTF-8"}
    environment |= {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0"}
    try:
        ended = subprocess.run(
            [git, "--no-pager", *options, "-C", folder, *words],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=_TIMEOUT_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise ActionError(f"git {words[0]} did not end within {_TIMEOUT_SECONDS} s", system=SYSTEM) from None
    if ended.returncode and not may_fail:
        output = (ended.stderr or ended.stdout).decode("utf-8", "backslashreplace")
        first_line = output.strip().partition("\n")[0]
        raise ActionError(f"git {words[0]} failed: {first_line}", system=SYSTEM, target=folder)
    return ended.stdout.decode("utf-8", "backslashreplace").strip()
