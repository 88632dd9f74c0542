"""Commits that take others back, made in a worktree of its own; nobody pushes its branch."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from runbooklib.errors import ActionError

SYSTEM = "git"
_SECONDS = 120
_SAFE = {
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
    """The last of the new commits, by that person, on the new branch; `revisions` is one, or a range.

    Raises ActionError; then all is as it was.
    """
    _refuse_programs(repository)
    folder = tempfile.mkdtemp(prefix="runbook-revert-")
    place = str(Path(folder) / "work")
    try:
        _git(repository, "worktree", "add", "--quiet", "--detach", place, "HEAD")
        _git(place, "revert", "--no-edit", "--end-of-options", revisions, by=_plain(by))
        made = _git(place, "rev-parse", "--verify", "HEAD")
        _git(repository, "branch", "--no-track", branch, made)
        return made
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        _git(repository, "worktree", "prune")


def _plain(name: str) -> str:
    """A name as git has it: without what would end it."""
    return "".join(c for c in name if c.isprintable() and c not in "<>") or "runbooklib"


def _refuse_programs(repository: str) -> None:
    """Filters and merge drivers are programs that the repository's own configuration would have run."""
    told = _git(repository, "config", "--name-only", "--get-regexp", r"^(filter|merge)\..*", may_fail=True)
    programs = [n for n in told.split() if n.endswith((".clean", ".smudge", ".process", ".driver"))]
    if programs:
        raise ActionError(
            f"the clone's configuration runs programs ({programs[0]})",
            system=SYSTEM,
            target=repository,
            remedy="revert by hand",
        )


def _git(place: str, *words: str, may_fail: bool = False, by: str = "runbooklib") -> str:
    git = shutil.which("git")
    if git is None:
        raise ActionError("the program git is not installed", system=SYSTEM, remedy="install git")
    argv = [git, "--no-pager"]
    argv += [part for name, value in {**_SAFE, "user.name": by}.items() for part in ("-c", f"{name}={value}")]
    environment = {"PATH": os.defpath, "HOME": "/nonexistent", "LC_ALL": "C.UTF-8"}
    environment |= {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0"}
    try:
        done = subprocess.run(
            [*argv, "-C", place, *words],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise ActionError(f"git {words[0]} did not end within {_SECONDS} s", system=SYSTEM) from None
    if done.returncode and not may_fail:
        told = (done.stderr or done.stdout).decode("utf-8", "backslashreplace").strip().partition("\n")[0]
        raise ActionError(f"git {words[0]} said: {told}", system=SYSTEM, target=place)
    return done.stdout.decode("utf-8", "backslashreplace").strip()
