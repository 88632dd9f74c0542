"""The git source on real repositories."""

import json
import os
import stat
import subprocess
from datetime import UTC, timedelta
from pathlib import Path

import pytest

from runbooklib import errors
from runbooklib.sources.git import Git
from runbooklib.sources.tape import Tape
from tests.support.git_repository import NOON, Repository, all_of, source

HOSTILE = "evil \x1b[31m<b>\x07 Approved-by: nobody"


def test_deployments_come_newest_last_with_what_they_changed(repository: Repository) -> None:
    first, second = all_of(source(repository))
    assert (first.tag, second.tag) == ("deploy/1", "deploy/2")
    assert second.at == NOON + timedelta(minutes=2)
    assert second.at.tzinfo is UTC
    assert second.revision == repository.git("rev-parse", "HEAD")
    assert second.revision.startswith(second.short)
    assert second.previous_revision == first.revision
    assert second.subject == "second"
    assert (second.files_changed, second.insertions, second.deletions) == (3, 2, 1)
    assert second.changed_files == ("a.txt", "b.bin", "c")


def test_the_first_deployment_is_compared_with_its_parent(repository: Repository) -> None:
    first = all_of(source(repository))[0]
    assert first.previous_revision == ""
    assert (first.files_changed, first.insertions, first.deletions) == (1, 2, 0)
    repository.git("tag", "-d", "deploy/1")
    assert all_of(source(repository))[0].files_changed == 3


def test_only_deployments_of_the_time_are_given(repository: Repository) -> None:
    git = source(repository)
    late = git.deployments(NOON + timedelta(minutes=2), NOON + timedelta(hours=1))
    assert [d.tag for d in late] == ["deploy/2"]
    assert git.deployments(NOON + timedelta(minutes=3), NOON + timedelta(hours=1)) == ()


def test_a_lightweight_tag_has_its_commit_s_time(repository: Repository) -> None:
    at = NOON + timedelta(minutes=7)
    repository.commit("third", {b"d": b""}, at=at)
    repository.deploy(3, annotated=False, at=NOON + timedelta(minutes=50))
    assert all_of(source(repository))[-1].at == at


def test_a_rollback_is_a_deployment_of_an_old_revision(repository: Repository) -> None:
    repository.git("checkout", "-q", "deploy/1")
    repository.deploy(3)
    first, second, third = all_of(source(repository))
    assert third.revision == first.revision
    assert third.previous_revision == second.revision
    found = source(repository).deployment_of(first.short)
    assert found is not None
    assert found.tag == "deploy/3"


def test_last_deployment_is_the_one_before(repository: Repository) -> None:
    found = source(repository).last_deployment(NOON + timedelta(minutes=2))
    assert found is not None
    assert found.tag == "deploy/1"
    assert source(repository).last_deployment(NOON) is None


def test_an_unknown_revision_has_no_deployment(repository: Repository) -> None:
    assert source(repository).deployment_of("0" * 40) is None


@pytest.mark.parametrize("revision", ["--output=/x", "-O", "HEAD", "main;id", "abc\n", ""])
def test_what_is_no_revision_is_refused_before_git_is_run(tmp_path: Path, revision: str) -> None:
    with pytest.raises(errors.ParameterError):
        Git(str(tmp_path / "nowhere"), Tape()).deployment_of(revision)


def test_hostile_names_and_subjects_survive_as_text(repository: Repository) -> None:
    repository.commit(HOSTILE, {b"--output=x": b"1\n", b"bad\xff\n\tname": b"1\n"})
    repository.deploy(3)
    tape = Tape()
    third = all_of(source(repository, tape))[-1]
    assert third.subject == HOSTILE
    assert set(third.changed_files) == {"--output=x", "bad\\xff\n\tname"}
    json.dumps([e.as_dict() for e in tape.take_recorded()]).encode()


def test_nothing_that_the_repository_s_configuration_names_is_run(repository: Repository) -> None:
    mark = repository.path / "ran"
    script = repository.path / "run.sh"
    script.write_text(f"#!/bin/sh\necho $0 >> {mark}\ncat\n")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    (repository.path / ".gitattributes").write_text("* diff=evil filter=evil\n")
    repository.commit("attributes", {b"e": b"1\n"})
    repository.deploy(3)
    names = (
        "core.fsmonitor",
        "core.pager",
        "pager.log",
        "diff.external",
        "diff.evil.textconv",
        "filter.evil.clean",
    )
    for name in (*names, "diff.evil.command", "gpg.program", "core.sshCommand", "core.alternateRefsCommand"):
        repository.git("config", name, str(script))
    repository.git("config", "log.showSignature", "true")
    assert len(all_of(source(repository))) == 3
    assert not mark.exists()


def test_a_clone_of_another_user_can_be_read(repository: Repository) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    for path in [repository.path, *repository.path.rglob("*")]:
        os.chown(path, 65534, 65534)
    assert len(all_of(source(repository))) == 2


def test_a_shallow_clone_says_that_it_cannot_count(repository: Repository, tmp_path: Path) -> None:
    subprocess.run(
        ["git", "clone", "-q", "--depth=1", f"file://{repository.path}", str(tmp_path / "shallow")],
        check=True, capture_output=True,
    )  # fmt: skip
    shallow = Git(str(tmp_path / "shallow"), Tape())
    found = all_of(shallow)[-1]
    assert found.tag == "deploy/2"
    assert found.subject == "second"
    assert found.files_changed is None


def test_no_matching_tag_is_no_data_and_not_no_deployment(repository: Repository) -> None:
    with pytest.raises(errors.NoDataError, match="release"):
        all_of(Git(str(repository.path), Tape(), deployment_tags="release/*"))


def test_a_folder_within_a_repository_is_no_repository(repository: Repository) -> None:
    inside = repository.path / "sub"
    inside.mkdir()
    with pytest.raises(errors.RefusedError, match="not a git repository"):
        all_of(Git(str(inside), Tape()))
    with pytest.raises(errors.RefusedError):
        all_of(Git(str(repository.path / "none"), Tape()))


def test_a_missing_git_says_to_install_it(
    repository: Repository, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(errors.UnreachableError, match="install git"):
        all_of(source(repository))


def test_a_replay_without_the_repository_gives_equal_answers(repository: Repository) -> None:
    tape = Tape()
    live = all_of(source(repository, tape))
    entries = [type(e).from_dict(json.loads(json.dumps(e.as_dict()))) for e in tape.take_recorded()]
    subprocess.run(["rm", "-rf", str(repository.path)], check=True)
    again = Git(str(repository.path), Tape(recording=entries))
    assert all_of(again) == live
    with pytest.raises(errors.NotRecordedError):
        again.last_deployment(NOON)
