"""Refs that are options, a repository that wants programs run, messages that act, secrets in its files."""

import json
import os
import signal
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from runbooklib import errors
from runbooklib.checks.deployments import deployments
from runbooklib.model.findings import Status
from runbooklib.sources.git import Git
from runbooklib.sources.tape import Tape
from tests.support.asking import Asking, told
from tests.support.dockerd import until_true
from tests.support.git_repository import NOON, Repository, all_of, repository, source
from tests.support.survey import Survey, folder_content

__all__ = ["repository"]
MESSAGE = (
    "evil \x1b[31mred\x1b]8;;http://x/\x07link \x9b2J \x08\x08 <script>alert(1)</script> <img src=x"
    " onerror=y> ![i](http://x/) \u202egpj \u200b"
    "\n\nbody <b>\n\nApproved-by: nobody\nSigned-off-by: \x1b[2K root <r@x>"
)


@contextmanager
def unchanged(repository: Repository) -> Iterator[None]:
    """Not one file of the repository, or beside it, is written, changed or removed."""
    folder = repository.path.parent
    before = folder_content(folder)
    yield
    assert folder_content(folder) == before


@pytest.mark.row("H43")
@pytest.mark.parametrize(
    "given",
    ["--output={mark}", "-O{mark}", "-O", "--upload-pack=touch {mark}", "--exec=touch {mark}", "HEAD",
     "HEAD@{1}", "@", ":/x", "^HEAD", "a..b", "main", "../x", "abc;touch {mark}", "`touch {mark}`", "abc\n",
     "abc\x00", "ABCDEF", "é", "0" * 65, ""],
)  # fmt: skip
def test_what_is_no_revision_is_refused_before_git_is_run(repository: Repository, given: str) -> None:
    mark = repository.path.parent / "mark"
    tape = Tape()
    with unchanged(repository), pytest.raises(errors.ParameterError, match="is not a revision"):
        source(repository, tape).deployment_of(given.replace("{mark}", str(mark)))
    assert tape.take_recorded() == []


@pytest.mark.row("H43")
@pytest.mark.parametrize(
    "given",
    ["--output={mark}", "x --exec={mark}", "$(touch {mark})", "`id`", "x;id", "%(contents)", "é", "", "a\nb"],
)
def test_what_is_no_pattern_of_tags_is_refused(repository: Repository, given: str) -> None:
    given = given.replace("{mark}", str(repository.path.parent / "mark"))
    with unchanged(repository), pytest.raises(errors.ParameterError, match="is not a pattern for tags"):
        Git(str(repository.path), Tape(), deployment_tags=given)


@pytest.mark.row("H43")
@pytest.mark.parametrize("pattern", ["-O", "--all", "--output", "../../etc/*", "/etc/passwd", "*"])
def test_a_pattern_that_looks_like_an_option_or_a_path_is_only_a_pattern(
    repository: Repository, pattern: str
) -> None:
    with unchanged(repository), pytest.raises(errors.NoDataError, match="no tag matches"):
        all_of(Git(str(repository.path), Tape(), deployment_tags=pattern if pattern != "*" else "none*"))


@pytest.mark.row("H43")
def test_tags_and_branches_that_look_like_options_write_and_run_nothing(repository: Repository) -> None:
    mark = repository.path.parent / "mark"
    head = repository.git("rev-parse", "HEAD")
    names = ["--output=mark", "-O", "--upload-pack=touch-mark", "--help", "%(contents)", "$(touch-mark)"]
    refs = repository.path / ".git" / "refs"
    for name in names:
        (refs / "tags" / "deploy" / name).write_text(f"{head}\n")
        (refs / "heads" / name).write_text(f"{head}\n")
    with unchanged(repository):
        found = all_of(source(repository))
        last = source(repository).last_deployment(NOON + timedelta(hours=1))
    assert {f"deploy/{name}" for name in names} <= {one.tag for one in found}
    assert last is not None
    assert {one.files_changed for one in found if one.revision == head} == {0, 3}
    assert not mark.exists()


@pytest.mark.row("H43")
@pytest.mark.parametrize(
    "path", ["--upload-pack=touch mark", "-c core.pager=touch mark", "--exec-path=/tmp", "-p"]
)
def test_a_repository_s_path_that_looks_like_an_option_is_only_a_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(errors.RefusedError):
        all_of(Git(path, Tape()))
    assert list(tmp_path.iterdir()) == []


def trapped(repository: Repository) -> Path:
    """Every setting, hook, attribute and filter that could name a program names one that leaves a mark."""
    mark, script = repository.path.parent / "ran", repository.path.parent / "run.sh"
    script.write_text(f"#!/bin/sh\necho \"$0 $*\" >> '{mark}'\ncat 2>/dev/null\nexit 0\n")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    (repository.path / ".gitattributes").write_text("* diff=evil filter=evil merge=evil\n")
    repository.commit("attributes", {b"e": b"1\n"})
    repository.deploy(3)
    for hook in (
        "post-index-change",
        "reference-transaction",
        "pre-auto-gc",
        "post-checkout",
        "fsmonitor-watchman",
    ):
        path = repository.path / ".git" / "hooks" / hook
        path.unlink(missing_ok=True)
        path.parent.mkdir(exist_ok=True)
        path.symlink_to(script)
    included = repository.path / ".git" / "more"
    included.write_text(f'[core]\n\tpager = "{script}"\n[diff]\n\texternal = "{script}"\n')
    settings = {
        **dict.fromkeys(
            ["core.fsmonitor", "core.pager", "pager.log", "pager.for-each-ref", "pager.diff-tree",
             "diff.external", "diff.evil.textconv", "diff.evil.command", "filter.evil.clean",
             "filter.evil.smudge",
             "filter.evil.process", "gpg.program", "gpg.ssh.program", "core.sshCommand", "core.askPass",
             "core.alternateRefsCommand", "core.gitProxy", "core.editor", "sequence.editor",
             "uploadpack.packObjectsHook", "credential.helper", "interactive.diffFilter", "trailer.x.command",
             "merge.evil.driver", "remote.origin.uploadpack"],
            str(script),
        ),
        "include.path": str(included),
        "alias.log": f"!{script}",
        "alias.for-each-ref": f"!{script}",
        "log.showSignature": "true",
        "extensions.partialClone": "origin",
        "remote.origin.url": f"ext::{script} %S",
        "remote.origin.promisor": "true",
        "protocol.allow": "always",
        "core.untrackedCache": "true",
    }  # fmt: skip
    for name, value in settings.items():
        repository.git("config", name, value)
    mark.unlink(missing_ok=True)
    return mark


@pytest.mark.row("H44")
def test_nothing_that_the_repository_names_is_run(repository: Repository) -> None:
    mark = trapped(repository)
    with unchanged(repository):
        assert [one.tag for one in all_of(source(repository))] == ["deploy/1", "deploy/2", "deploy/3"]
        assert source(repository).last_deployment(NOON + timedelta(hours=1)) is not None
        assert source(repository).deployment_of("0" * 40) is None
    assert not mark.exists()


@pytest.mark.row("H44")
def test_the_trap_itself_works_on_a_git_that_is_not_told_otherwise(repository: Repository) -> None:
    mark = trapped(repository)
    (repository.path / "e").write_text("2\n")
    for words in (["status"], ["diff"], ["log", "-1", "-p", "--ext-diff"]):
        subprocess.run(["git", *words], cwd=repository.path, capture_output=True, check=False)
    assert mark.exists()


@pytest.mark.row("H44")
def test_an_object_that_a_partial_clone_lacks_is_not_fetched(repository: Repository) -> None:
    mark = trapped(repository)
    tree = repository.git("rev-parse", "HEAD^{tree}")
    (repository.path / ".git" / "objects" / tree[:2] / tree[2:]).unlink()
    found = all_of(source(repository))[-1]
    assert (found.tag, found.files_changed) == ("deploy/3", None)
    assert not mark.exists()
    words = ["git", "diff-tree", "-r", "--numstat", "deploy/2", "deploy/3"]
    # The same question without our precautions runs a program, and waits for it for ever.
    null = subprocess.DEVNULL
    with subprocess.Popen(
        words, cwd=repository.path, start_new_session=True, stdin=null, stdout=null, stderr=null
    ) as careless:
        until_true(mark.exists)
        os.killpg(careless.pid, signal.SIGKILL)


@pytest.mark.row("H44")
def test_what_our_own_environment_names_is_not_run_either(
    repository: Repository, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    mark = trapped(repository)
    script = str(repository.path.parent / "run.sh")
    for name in ("GIT_PAGER", "PAGER", "GIT_EXTERNAL_DIFF", "GIT_SSH_COMMAND", "GIT_ASKPASS", "GIT_EDITOR"):
        monkeypatch.setenv(name, script)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "core.fsmonitor")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", script)
    monkeypatch.setenv("GIT_TRACE", str(tmp_path / "trace"))
    monkeypatch.setenv("GIT_CONFIG_PARAMETERS", f"'core.pager={script}'")
    assert len(all_of(source(repository))) == 3
    assert not mark.exists()
    assert not (tmp_path / "trace").exists()


@pytest.mark.row("H45")
def test_a_hostile_message_is_read_exactly_and_only_as_a_subject(repository: Repository) -> None:
    repository.commit(
        MESSAGE, {b"--output=x": b"1\n", b"bad\xff\n\tname": b"1\n", b"\x1b[2K": b"", b"<b>": b""}
    )
    repository.deploy(3)
    tape = Tape()
    third = all_of(source(repository, tape))[-1]
    assert third.subject == MESSAGE.partition("\n")[0]
    assert set(third.changed_files) == {"--output=x", "bad\\xff\n\tname", "\x1b[2K", "<b>"}
    kept = json.dumps([entry.as_dict() for entry in tape.take_recorded()])
    assert "Approved-by" not in kept, "a trailer approves nothing, and is not even read"
    assert json.dumps(third.subject)[1:-1] in kept


@pytest.mark.row("H45")
def test_a_message_of_a_megabyte_or_in_no_encoding_is_a_subject_all_the_same(repository: Repository) -> None:
    for number, message in (
        (3, b"x" * 1_000_000),
        (4, b"bad \xff\xfe \xc3"),
        (5, b"\n\n\n"),
        (6, b"-1 --help"),
    ):
        file = repository.path.parent / "message"
        file.write_bytes(message)
        repository.git(
            "commit", "-q", "--allow-empty", "--allow-empty-message", "--cleanup=verbatim", "-F", str(file)
        )
        repository.deploy(number)
    subjects = [one.subject for one in all_of(source(repository))][2:]
    assert subjects[0] == "x" * 999 + "…"
    assert subjects[1].startswith("bad ")
    assert subjects[2:] == ["", "-1 --help"]


@pytest.mark.row("H67")
def test_neither_a_remote_s_token_nor_what_a_file_holds_is_told(
    repository: Repository, survey: Survey
) -> None:
    token, password, note = "t0ken-of/the+remote", "env p4ssword=1", "n0te-in-a-config"
    repository.git("config", "remote.origin.url", f"https://bot:{token}@git.example/x.git")
    repository.git("config", "http.extraHeader", f"Authorization: Basic {token}")
    repository.git("config", "user.note", note)
    repository.commit(
        "settings", {b".env": f"DB_PASSWORD={password}\n".encode(), b"key.pem": password.encode()}
    )
    repository.deploy(3)
    repository.commit(f"rotate password={note}", {b".env": f"DB_PASSWORD={password}2\n".encode()})
    repository.deploy(4)
    assert password in repository.git("show", "HEAD"), "the difference holds it"
    where = Asking({}, git=lambda tape: Git(str(repository.path), tape))
    found = where.sources.git.deployments(NOON, NOON + timedelta(hours=1))
    [finding] = where.ask(deployments)
    assert [one.changed_files for one in found[2:]] == [(".env", "key.pem"), (".env",)]
    assert finding.status is Status.OK
    places = {
        "tape": where.recording,
        "told": told([finding]),
        "found": str(found),
        "repr": repr(where.sources.git),
    }
    survey.no_canary(places, token, password, note)


@pytest.mark.row("H67")
def test_an_error_of_git_does_not_tell_the_remote_s_token(repository: Repository, survey: Survey) -> None:
    token = "t0ken-of/the+remote"
    repository.git("config", "remote.origin.url", f"https://bot:{token}@git.example/x.git")
    with (repository.path / ".git" / "config").open("a") as settings:
        settings.write(f"[broken\n\turl = https://bot:{token}@git.example/x.git\n")
    where = Asking({}, git=lambda tape: Git(str(repository.path), tape))
    [finding] = where.ask(deployments)
    survey.never_ok([finding.status])
    assert "bad config" in told([finding])
    survey.no_canary({"tape": where.recording, "told": told([finding])}, token)


@pytest.mark.row("H67")
def test_git_is_told_no_secret_by_its_command_line_or_environment(
    repository: Repository, survey: Survey, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A program in git's place writes down what it was started with."""
    canary = "c4nary-of-the-environment"
    seen = tmp_path / "seen"
    fake = tmp_path / "bin" / "git"
    fake.parent.mkdir()
    fake.write_text(f'#!/bin/sh\n{{ env; echo "$@"; }} >> {seen}\nexit 1\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("DATABASE_PASSWORD", canary)
    monkeypatch.setenv("GITHUB_TOKEN", canary)
    with pytest.raises(errors.RefusedError):
        all_of(source(repository))
    assert "for-each-ref" in seen.read_text()
    survey.no_canary({"seen": seen.read_bytes()}, canary)
