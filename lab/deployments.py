"""The git repository of the deployments: each has a commit, a tag deploy/<UTC> and an image."""

import hashlib
import os
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

from lab import processes
from lab.errors import LabError
from lab.layout import Layout

SOURCE = Path(__file__).with_name("backend")
TAG_FORMAT = "deploy/%Y%m%dT%H%M%SZ"
PAST = (
    (timedelta(days=12, hours=3), "1.4.0", "HelloAgents backend 1.4.0", "First release of the 1.4 line."),
    (
        timedelta(days=6, hours=5),
        "1.4.1",
        "Shorter timeout for the AI provider",
        "AI provider: give up after 2 s.",
    ),
    (timedelta(days=2, hours=1), "1.4.2", "Search in any case", "Search finds messages in any case."),
)
BAD_VERSION = "1.5.0"
BAD_SUBJECT = "Show display names of agents, and text in search"
BAD_CHANGES = (
    ('"name": row["name"]', '"name": row["display_name"]'),
    ('"text": row["body"]', '"text": row["text"]'),
)


def git(layout: Layout, *arguments: str, at: datetime | None = None) -> bytes:
    """Run git on the repository, without the user's own configuration."""
    environment = {
        "PATH": os.environ.get("PATH", ""),
        "HOME": str(layout.state),
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "Lab Deployer",
        "GIT_AUTHOR_EMAIL": "deployer@lab.invalid",
        "GIT_COMMITTER_NAME": "Lab Deployer",
        "GIT_COMMITTER_EMAIL": "deployer@lab.invalid",
    }
    if at:
        environment |= {"GIT_AUTHOR_DATE": at.isoformat(), "GIT_COMMITTER_DATE": at.isoformat()}
    argv = [processes.program("git", "git"), "-C", str(layout.deployments), *arguments]
    done = subprocess.run(argv, env=environment, capture_output=True, check=False)
    if done.returncode:
        raise LabError(f"git {arguments[0]} failed: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


def text(layout: Layout, *arguments: str) -> str:
    """Git's output without the final line break."""
    return git(layout, *arguments).decode().strip()


def prepare(layout: Layout) -> None:
    """Create the repository with its history, unless it exists and contains the current backend."""
    mark = layout.deployments / ".git" / "lab-source"
    if mark.exists() and mark.read_text(encoding="utf-8") == fingerprint():
        return
    shutil.rmtree(layout.deployments, ignore_errors=True)
    layout.deployments.mkdir()
    git(layout, "init", "--quiet", "--initial-branch=main")
    now = datetime.now(UTC).replace(microsecond=0)
    copy_source(layout)
    notes = ""
    for age, number, subject, note in PAST:
        notes = f"## {number}\n\n{note}\n\n{notes}"
        write_version(layout, number, notes)
        deploy(layout, subject, number, now - age)
    git(layout, "update-ref", "refs/lab/original", "HEAD")
    mark.write_text(fingerprint(), encoding="utf-8")


def fingerprint() -> str:
    """A digest of the backend's code."""
    digest = hashlib.sha256(repr(PAST).encode())
    for path in sorted(SOURCE.iterdir()):
        if path.is_file():
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def copy_source(layout: Layout) -> None:
    """The backend's code, with the Dockerfile at the top."""
    ignore = shutil.ignore_patterns("__pycache__", "Dockerfile")
    shutil.copytree(SOURCE, layout.deployments / "backend", ignore=ignore)
    shutil.copy(SOURCE / "Dockerfile", layout.deployments / "Dockerfile")


def write_version(layout: Layout, number: str, notes: str) -> None:
    """The two files that every release changes."""
    (layout.deployments / "VERSION").write_text(f"{number}\n", encoding="utf-8")
    (layout.deployments / "CHANGELOG.md").write_text(
        f"# Changes\n\n{notes}".rstrip() + "\n", encoding="utf-8"
    )


def deploy(layout: Layout, subject: str, number: str, at: datetime) -> str:
    """Commit all files and tag the commit as a deployment. Returns the revision."""
    git(layout, "add", "--all")
    git(layout, "commit", "--quiet", "--no-gpg-sign", "-m", subject, at=at)
    tag(layout, f"Deploy {number}: {subject}", at)
    return text(layout, "rev-parse", "HEAD")


def tag(layout: Layout, message: str, at: datetime) -> None:
    """Tag the current revision with its deployment time."""
    git(layout, "tag", "--force", "--annotate", "--no-sign", "-m", message, at.strftime(TAG_FORMAT), at=at)


def original(layout: Layout) -> str:
    """The revision that works."""
    return text(layout, "rev-parse", "refs/lab/original")


def current(layout: Layout) -> str:
    """The revision that was deployed last."""
    return text(layout, "rev-parse", "HEAD")


def version(layout: Layout, revision: str) -> str:
    """The version number that a revision carries."""
    return text(layout, "show", f"{revision}:VERSION")


def archive(layout: Layout, revision: str) -> bytes:
    """The files of a revision as a tar archive: the context of the image build."""
    return git(layout, "archive", "--format=tar", revision)


def commit_bad_release(layout: Layout) -> str:
    """A release with a real bug: it reads columns that its own queries do not select."""
    path = layout.deployments / "backend" / "endpoints.py"
    code = path.read_text(encoding="utf-8")
    for right, wrong in BAD_CHANGES:
        if code.count(right) != 1:
            raise LabError(
                f"the bad release no longer fits {path.name}: adapt BAD_CHANGES in lab/deployments.py"
            )
        code = code.replace(right, wrong)
    path.write_text(code, encoding="utf-8")
    notes = (layout.deployments / "CHANGELOG.md").read_text(encoding="utf-8").removeprefix("# Changes\n\n")
    write_version(layout, BAD_VERSION, f"## {BAD_VERSION}\n\n{BAD_SUBJECT}.\n\n{notes}")
    return deploy(layout, BAD_SUBJECT, BAD_VERSION, datetime.now(UTC).replace(microsecond=0))


def roll_back(layout: Layout, revision: str = "") -> str:
    """Deploy that revision again, or the original one. Later commits stay in the history."""
    revision = text(
        layout, "rev-parse", "--verify", "--end-of-options", f"{revision or original(layout)}^{{commit}}"
    )
    left = version(layout, "HEAD")
    git(layout, "reset", "--quiet", "--hard", revision)
    now = datetime.now(UTC).replace(microsecond=0)
    tag(layout, f"Deploy {version(layout, revision)}: roll back {left}", now)
    return revision
