"""Deployments: each deployment is a tag in a clone of the repository.

This module runs the git program with options that disable everything that the configuration of the
repository could start (hooks, pagers, filters, monitors), and that prevent downloads.
"""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from runbooklib.errors import DeadlineError, NoDataError, ParameterError, RefusedError, UnreachableError
from runbooklib.model.window import moment_of
from runbooklib.sources.tape import Tape

SYSTEM = "git"
MAX_FILES = 20
MAX_DEPLOYMENTS = 200
MAX_SUBJECT_CHARACTERS = 1_000
_REVISION = re.compile(r"[0-9a-f]{4,64}")
_PATTERN = re.compile(r"[\w*?./+-]+", re.ASCII)
_FORMAT = "%00".join(
    ("%(refname:lstrip=2)", "%(creatordate:iso-strict)", "%(objecttype)", "%(objectname)", "%(*objectname)")
)
_SAFE = {
    "core.fsmonitor": "false",
    "core.hooksPath": "/dev/null",
    "core.pager": "cat",
    "log.showSignature": "false",
    "protocol.allow": "never",
    "safe.directory": "*",
}


@dataclass(frozen=True, slots=True)
class Deployment:
    """A deployment: its tag, its time `at` (aware UTC), and its changes.

    The time is the date of the tag, or of the commit for a lightweight tag. The changes are those since the
    previous deployment (`previous_revision`), or since the parent commit for the first deployment. Their
    numbers are None if this clone lacks the data; a binary file counts no lines; `changed_files` contains at
    most MAX_FILES paths.
    """

    tag: str
    at: datetime
    revision: str
    short: str
    subject: str
    files_changed: int | None
    insertions: int | None
    deletions: int | None
    changed_files: tuple[str, ...]
    previous_revision: str


class Git:
    """A local clone of the repository that is deployed."""

    def __init__(
        self,
        repository: str,
        tape: Tape,
        *,
        deployment_tags: str = "deploy/*",
        deadline_seconds: float = 10.0,
    ) -> None:
        if not _PATTERN.fullmatch(deployment_tags):
            raise ParameterError(f"{deployment_tags!r} is not a pattern for tags", system=SYSTEM)
        self._repository = repository
        self._tape = tape
        self._pattern = deployment_tags
        self._deadline_seconds = deadline_seconds

    def __repr__(self) -> str:
        return f"Git({self._repository!r})"

    def deployments(self, since: datetime, until: datetime) -> tuple[Deployment, ...]:
        """The deployments from `since` to `until`, oldest first; the newest MAX_DEPLOYMENTS of them.

        Raises NoDataError if no tag matches the pattern, RefusedError if the path is not a repository.
        """
        span = (since.isoformat(), until.isoformat())
        return self._ask_for_deployments(
            {"question": "deployments", "since": span[0], "until": span[1]},
            lambda tags: [i for i, tag in enumerate(tags) if since <= tag.at <= until][-MAX_DEPLOYMENTS:],
        )

    def last_deployment(self, before: datetime) -> Deployment | None:
        """The newest deployment that is older than `before`; None without such a deployment."""
        deployments = self._ask_for_deployments(
            {"question": "last_deployment", "before": before.isoformat()},
            lambda tags: [i for i, tag in enumerate(tags) if tag.at < before][-1:],
        )
        return deployments[0] if deployments else None

    def deployment_of(self, revision: str) -> Deployment | None:
        """The newest deployment of a revision (4 to 64 hexadecimal digits); None if there is none."""
        if not _REVISION.fullmatch(revision):
            raise ParameterError(
                f"{revision!r} is not a revision", system=SYSTEM, hint="pass 4 to 64 hexadecimal digits"
            )
        deployments = self._ask_for_deployments(
            {"question": "deployment_of", "revision": revision},
            lambda tags: [i for i, tag in enumerate(tags) if tag.revision.startswith(revision)][-1:],
        )
        return deployments[0] if deployments else None

    def _ask_for_deployments(
        self, request: dict[str, Any], select_indexes: "_IndexSelection"
    ) -> tuple[Deployment, ...]:
        def call() -> list[dict[str, Any]]:
            program = _Program(self._repository, self._deadline_seconds)
            tags = _tags(program, self._pattern)
            return [_deployment(program, tags, index) for index in select_indexes(tags)]

        rows = self._tape.ask(
            SYSTEM,
            request | {"tags": self._pattern},
            call,
            target=self._repository,
            deadline_seconds=self._deadline_seconds,
        )
        return tuple(
            Deployment(**(row | {"at": moment_of(row["at"]), "changed_files": tuple(row["changed_files"])}))
            for row in rows
        )


@dataclass(frozen=True, slots=True)
class _Tag:
    name: str
    at: datetime
    revision: str


_IndexSelection = Callable[[Sequence[_Tag]], list[int]]


class _Program:
    """Runs the git program in one repository; all runs share one deadline."""

    def __init__(self, repository: str, deadline_seconds: float) -> None:
        self.repository = repository
        self._deadline_seconds = deadline_seconds
        self._ends_at = time.monotonic() + deadline_seconds
        git = shutil.which("git")
        if git is None:
            raise UnreachableError(
                "the program git is not installed", system=SYSTEM, target=repository, hint="install git"
            )
        self._start = [git, "--no-pager", "--literal-pathspecs"]
        self._start += [part for name, value in _SAFE.items() for part in ("-c", f"{name}={value}")]
        self._start += ["-C", repository]

    def run(self, *arguments: str, is_optional: bool = False) -> str | None:
        """The output of git. Raises DeadlineError, and RefusedError with the message of git.

        If git fails and `is_optional`, the result is None.
        """
        parent = str(Path(self.repository).resolve().parent)
        try:
            done = subprocess.run(
                [*self._start, *arguments],
                env=_environment(parent),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
                timeout=max(self._ends_at - time.monotonic(), 0.05),
            )
        except subprocess.TimeoutExpired:
            raise DeadlineError(
                f"no answer within {self._deadline_seconds:g} s", system=SYSTEM, target=self.repository
            ) from None
        if done.returncode == 0:
            return done.stdout.decode("utf-8", "backslashreplace")
        if is_optional:
            return None
        message = done.stderr.decode("utf-8", "backslashreplace").strip().partition("\n")[0]
        raise RefusedError(
            message.removeprefix("fatal: ") or f"git exited with code {done.returncode}",
            system=SYSTEM,
            target=self.repository,
            hint="set systems.git.repository to a clone of the repository that is deployed",
            code=str(done.returncode),
        )


def _environment(ceiling: str) -> dict[str, str]:
    """The environment of git: without the configuration of user and machine, prompts, and downloads."""
    return {
        "PATH": os.defpath + ":/usr/local/bin",
        "HOME": "/nonexistent",
        "LC_ALL": "C.UTF-8",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_CONFIG_SYSTEM": "/dev/null",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_ALLOW_PROTOCOL": "none",
        "GIT_CEILING_DIRECTORIES": ceiling,
    }


def _tags(program: _Program, pattern: str) -> list[_Tag]:
    """All deployments, oldest first, without tags of objects that are not commits."""
    output = (
        program.run("for-each-ref", "--sort=creatordate", f"--format={_FORMAT}", f"refs/tags/{pattern}") or ""
    )
    tags = []
    for line in output.split("\n")[:-1]:
        name, at, kind, object_id, target_id = line.split("\0")
        if at and kind in ("commit", "tag"):
            revision = object_id if kind == "commit" else target_id
            tags.append(_Tag(name, moment_of(at).astimezone(UTC), revision))
    if not tags:
        raise NoDataError(
            f"no tag matches {pattern!r}",
            system=SYSTEM,
            target=program.repository,
            hint="tag each deployment, or set systems.git.deployment_tags",
        )
    return sorted(tags, key=lambda tag: tag.at)


def _deployment(program: _Program, tags: Sequence[_Tag], index: int) -> dict[str, Any]:
    tag = tags[index]
    previous = tags[index - 1].revision if index else ""
    changes = _changes(program, previous or _parent(program, tag.revision), tag.revision)
    subject = program.run(
        "log", "-1", "--no-color", "--format=%s", "--end-of-options", tag.revision, is_optional=True
    )
    return {
        "tag": tag.name,
        "at": tag.at.isoformat(),
        "revision": tag.revision,
        "short": tag.revision[:8],
        "subject": _shorten((subject or "").removesuffix("\n")),
        "previous_revision": previous,
        **changes,
    }


def _shorten(text: str) -> str:
    return text if len(text) <= MAX_SUBJECT_CHARACTERS else f"{text[: MAX_SUBJECT_CHARACTERS - 1]}…"


def _parent(program: _Program, revision: str) -> str:
    """The first parent of a commit; the empty tree for a root commit; "" if a shallow clone lacks it."""
    parent = program.run("rev-parse", "--verify", "--quiet", f"{revision}^", is_optional=True)
    if parent is None and (program.run("rev-parse", "--is-shallow-repository") or "").strip() == "false":
        parent = program.run("hash-object", "-t", "tree", "--stdin")
    return (parent or "").strip()


def _changes(program: _Program, before: str, after: str) -> dict[str, Any]:
    output = None if not before else program.run(
        "diff-tree", "-r", "-z", "--numstat", "--no-renames", "--no-ext-diff", "--no-textconv",
        "--end-of-options", before, after, is_optional=True,
    )  # fmt: skip
    if output is None:
        return {"files_changed": None, "insertions": None, "deletions": None, "changed_files": []}
    rows = [row.split("\t", 2) for row in output.split("\0") if row]
    return {
        "files_changed": len(rows),
        "insertions": sum(int(row[0]) for row in rows if row[0] != "-"),
        "deletions": sum(int(row[1]) for row in rows if row[1] != "-"),
        "changed_files": [row[2] for row in rows[:MAX_FILES]],
    }
