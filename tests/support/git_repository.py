"""The git source on real repositories."""

import os
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from runbooklib.sources.git import Deployment, Git
from runbooklib.sources.tape import Tape

NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)


class Repository:
    """A repository that plays deployments, a minute apart."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True)
        self.git("init", "-q", "-b", "main")

    def git(self, *arguments: str, at: datetime = NOON) -> str:
        env = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1"}
        for role in ("AUTHOR", "COMMITTER"):
            env |= {f"GIT_{role}_NAME": "t", f"GIT_{role}_EMAIL": "t@t", f"GIT_{role}_DATE": at.isoformat()}
        done = subprocess.run(
            ["git", *arguments], cwd=self.path, env=env, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    def commit(self, message: str, files: dict[bytes, bytes], at: datetime = NOON) -> str:
        for name, content in files.items():
            Path(os.fsdecode(os.fsencode(self.path) + b"/" + name)).write_bytes(content)
        self.git("add", "-A")
        self.git("commit", "-q", "--cleanup=verbatim", "-m", message, at=at)
        return self.git("rev-parse", "HEAD")

    def deploy(self, number: int, *, annotated: bool = True, at: datetime | None = None) -> None:
        at = at or NOON + timedelta(minutes=number)
        self.git("tag", *(["-a", "-m", "deployed"] if annotated else []), f"deploy/{number}", at=at)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    repository = Repository(tmp_path / "clone")
    repository.commit("first", {b"a.txt": b"1\n2\n"})
    repository.deploy(1)
    repository.commit("second\n\nbody", {b"a.txt": b"1\n3\n", b"b.bin": b"\0\1", b"c": b"x\n"})
    repository.deploy(2)
    return repository


def source(repository: Repository, tape: Tape | None = None) -> Git:
    return Git(str(repository.path), tape or Tape())


def all_of(git: Git) -> tuple[Deployment, ...]:
    return git.deployments(NOON, NOON + timedelta(hours=1))
