"""Evidence elsewhere: on storage that works, that is down, that breaks off and that lies."""

import os
import socket
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import boto3
import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from runbooklib.config import variables
from runbooklib.errors import EvidenceError, InputError
from runbooklib.evidence import manifest, upload
from runbooklib.evidence.bundle import Bundle
from tests.support import small
from tests.support.running import BIN, Ended, command
from tests.support.servers import page, running

AT = datetime(2026, 1, 15, 3, 12, tzinfo=UTC)
FILES = ["manifest.json", "notebook.html", "notebook.ipynb"]


def sealed(folder: Path, printed: str = "hello") -> Path:
    """A bundle of a notebook that printed something; no kernel is needed for it."""
    output = {"output_type": "stream", "name": "stdout", "text": printed}
    cell = {"cell_type": "code", "metadata": {}, "source": "1", "execution_count": 1, "outputs": [output]}
    notebook = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [cell]}
    return Bundle(folder, "Small", "backend", AT).finish(notebook, {"kind": "test"}, None)


class Faulty(MemoryFileSystem):  # type: ignore[misc]
    """Storage in memory whose writes fail: `faults` is used up one a write, empty for a good one."""

    protocol = "faulty"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    faults: ClassVar[list[str]] = []
    written: ClassVar[list[str]] = []

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(super()._strip_protocol(path.replace("faulty://", "memory://", 1)))

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **kwargs: Any) -> None:
        fault = self.faults.pop(0) if self.faults else ""
        self.written.append(path.rpartition("/")[2])
        if fault in ("breaks off", "breaks off for good"):
            super().pipe_file(path, value[: len(value) // 2], mode=mode, **kwargs)
        if fault in ("refuses", "breaks off for good"):
            raise PermissionError("you may not")
        if fault in ("fails", "breaks off"):
            raise OSError("the line is dead")
        super().pipe_file(path, b"?" + value[1:] if fault == "lies" else value, mode=mode, **kwargs)
        if fault == "answer lost":
            raise OSError("the line is dead")


@pytest.fixture
def faulty() -> type[Faulty]:
    fsspec.register_implementation("faulty", Faulty, clobber=True)
    for one in (Faulty.store, Faulty.faults, Faulty.written):
        one.clear()
    Faulty.pseudo_dirs[:] = [""]
    return Faulty


def there(storage: type[Faulty]) -> list[str]:
    return sorted(path.rpartition("/")[2] for path in storage.store)


def test_a_bundle_is_copied_whole_the_manifest_last_and_then_it_is_there_already(
    faulty: type[Faulty], tmp_path: Path
) -> None:
    bundle = sealed(tmp_path)
    assert upload.upload(bundle, "faulty://evidence") is True
    assert faulty.written == ["notebook.html", "notebook.ipynb", "manifest.json"]
    for name in FILES:
        assert faulty().cat_file(f"/evidence/{bundle.name}/{name}") == (bundle / name).read_bytes()
    assert upload.upload(bundle, "faulty://evidence/") is False
    assert len(faulty.written) == 3


@pytest.mark.parametrize("fault", ["fails", "answer lost", "breaks off"])
def test_a_passing_fault_is_tried_again(faulty: type[Faulty], tmp_path: Path, fault: str) -> None:
    faulty.faults.extend(["", fault])
    bundle = sealed(tmp_path)
    assert upload.upload(bundle, "faulty://evidence") is True
    assert there(faulty) == FILES
    assert upload.upload(bundle, "faulty://evidence") is False


def test_a_fault_that_stays_ends_after_three_attempts_and_says_how_to_finish(
    faulty: type[Faulty], tmp_path: Path
) -> None:
    faulty.faults.extend(["fails"] * 9)
    bundle = sealed(tmp_path)
    with pytest.raises(EvidenceError) as caught:
        upload.upload(bundle, "faulty://me:hunter2-canary@evidence")
    assert len(faulty.written) == 3
    told = str(caught.value)
    assert "OSError: the line is dead" in told
    assert f"the evidence is whole in {bundle}" in told
    assert f"`runbook upload {bundle} faulty://evidence`" in told
    assert "hunter2" not in told


@pytest.mark.parametrize("fault", ["refuses", "breaks off for good"])
def test_what_broke_off_is_never_taken_for_whole_and_is_finished_later(
    faulty: type[Faulty], tmp_path: Path, fault: str
) -> None:
    faulty.faults.extend(["", fault])
    bundle = sealed(tmp_path)
    with pytest.raises(EvidenceError, match="PermissionError: you may not"):
        upload.upload(bundle, "faulty://evidence")
    assert len(faulty.written) == 2  # to be refused is no passing fault
    assert "manifest.json" not in there(faulty)
    assert upload.upload(bundle, "faulty://evidence") is True
    assert there(faulty) == FILES
    assert upload.upload(bundle, "faulty://evidence") is False


def test_a_manifest_that_broke_off_is_written_again(faulty: type[Faulty], tmp_path: Path) -> None:
    faulty.faults.extend(["", "", "breaks off for good"])
    bundle = sealed(tmp_path)
    with pytest.raises(EvidenceError):
        upload.upload(bundle, "faulty://evidence")
    assert upload.upload(bundle, "faulty://evidence") is True
    assert (
        faulty().cat_file(f"/evidence/{bundle.name}/manifest.json") == (bundle / "manifest.json").read_bytes()
    )


def test_storage_that_keeps_something_else_is_found_out(faulty: type[Faulty], tmp_path: Path) -> None:
    faulty.faults.append("lies")
    with pytest.raises(
        EvidenceError,
        match=r"notebook.html was read back with a different content.* the evidence is whole in",
    ):
        upload.upload(sealed(tmp_path), "faulty://evidence")
    assert there(faulty) == ["notebook.html"]


def test_another_bundle_of_the_same_name_is_not_replaced(faulty: type[Faulty], tmp_path: Path) -> None:
    first, second = sealed(tmp_path / "a"), sealed(tmp_path / "b", "something else")
    assert first.name == second.name
    upload.upload(first, "faulty://evidence")
    before = {path: file.getvalue() for path, file in faulty.store.items()}
    with pytest.raises(
        EvidenceError, match=r"already exists and differs .*notebook.html.*nothing was replaced"
    ):
        upload.upload(second, "faulty://evidence")
    assert {path: file.getvalue() for path, file in faulty.store.items()} == before


@pytest.mark.parametrize("content", [b"", b"<!DOCTYPE"])
def test_a_finished_copy_that_was_cut_later_is_not_mended_silently(
    faulty: type[Faulty], tmp_path: Path, content: bytes
) -> None:
    bundle = sealed(tmp_path)
    upload.upload(bundle, "faulty://evidence")
    faulty().pipe_file(f"/evidence/{bundle.name}/notebook.html", content)
    with pytest.raises(EvidenceError, match=r"differs from this bundle \(notebook.html\)"):
        upload.upload(bundle, "faulty://evidence")


def test_a_file_that_somebody_added_is_told(faulty: type[Faulty], tmp_path: Path) -> None:
    bundle = sealed(tmp_path)
    faulty().pipe_file(f"/evidence/{bundle.name}/extra.txt", b"")
    with pytest.raises(EvidenceError, match=r"differs from this bundle \(extra.txt\)"):
        upload.upload(bundle, "faulty://evidence")


def test_evidence_that_was_changed_is_not_uploaded(faulty: type[Faulty], tmp_path: Path) -> None:
    bundle = sealed(tmp_path)
    (bundle / "notebook.html").write_text("other")
    with pytest.raises(EvidenceError, match=r"notebook.html: was changed; only whole evidence is uploaded"):
        upload.upload(bundle, "faulty://evidence")
    assert faulty.written == []


def test_storage_that_hangs_does_not_hang_us_and_its_password_is_not_told(tmp_path: Path) -> None:
    bundle = sealed(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"ftp://me:hunter2-canary@127.0.0.1:{silent.getsockname()[1]}/evidence"
        with pytest.raises(EvidenceError, match=r"no end within 0\.5 s") as caught:
            upload.upload(bundle, url, within_seconds=0.5)
    assert "hunter2" not in str(caught.value)
    assert "me:" not in str(caught.value)


def test_a_file_url_makes_its_folder_and_keeps_every_byte(tmp_path: Path) -> None:
    bundle, share = sealed(tmp_path / "here"), tmp_path / "share" / "evidence"
    assert upload.upload(bundle, share.as_uri()) is True
    assert manifest.verify_bundle(share / bundle.name) == []
    assert upload.upload(bundle, share.as_uri()) is False


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("https://example.com/x", "https:// cannot be written to"),
        ("nowhere://bucket", "nowhere:// is an unknown storage protocol"),
        ("s3://", "is not the URL of a folder"),
        ("simplecache::s3://bucket", "is not the URL of a folder"),
        ("s3://key:hunter2-canary@bucket/x", "an s3:// URL must not contain credentials"),
    ],
)
def test_a_url_that_can_never_work_is_refused_before_anything_runs(url: str, told: str) -> None:
    with pytest.raises(InputError) as caught:
        upload.destination(url)
    assert told in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_folder_is_a_folder_and_a_url_has_a_local_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    assert upload.destination("some/folder") == upload.Destination(Path("some/folder"))
    monkeypatch.delenv(variables.EVIDENCE, raising=False)
    assert upload.destination("memory://x") == upload.Destination(Path("evidence"), "memory://x")
    monkeypatch.setenv(variables.EVIDENCE, "elsewhere")
    assert upload.destination("memory://x").folder == Path("elsewhere")


def test_an_uploaded_run_can_be_approved_while_a_spool_is_set(tmp_path: Path) -> None:
    """The local folder of an upload is not the spool, where each approval is refused."""
    spool, kept = {variables.SPOOL: str(tmp_path / "spool")}, {variables.EVIDENCE: str(tmp_path / "kept")}
    home = small.home(tmp_path / "home") | spool
    argv = ["runbook", "run", "Small", "--json", "--output", (tmp_path / "remote").as_uri()]
    for number, place in enumerate(({}, kept)):
        folder = tmp_path / str(number)
        folder.mkdir()
        ended = command(argv, home | place, cwd=folder)
        bundle = folder / ended.verdict["bundle"]
        assert bundle.parent == (tmp_path / "kept" if place else folder / "evidence")
        asked = command(["runbook", "approve", str(bundle), "revert_commit"], home | place, cwd=folder)
        assert "spool" not in asked.err
        assert "this run did not propose 'revert_commit'" in asked.err
    assert not (tmp_path / "spool").exists()


@pytest.mark.parametrize("missing", ["fsspec", "s3fs"])
def test_without_the_extra_the_message_says_what_to_install(missing: str, tmp_path: Path) -> None:
    # None in sys.modules is Python's own way to say that a module cannot be imported.
    program = f"import sys; sys.modules[{missing!r}] = None; from runbooklib.cli import main; main()"
    ended = command([Path(sys.executable).name, "-c", program, "upload", str(sealed(tmp_path)), "s3://b/x"])
    assert ended.code == 3, ended.err
    assert "pip install 'runbooklib[remote]'" in ended.err
    assert len(ended.err.splitlines()) == 1


# From here on: S3, by moto's server, which is stopped while the first command runs.


@pytest.fixture(scope="module")
def s3() -> dict[str, str]:
    """The environment for an S3 endpoint on a free port; nothing listens there yet."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    return {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "runbook-tests",
        "AWS_SECRET_ACCESS_KEY": "hunter2-canary-of-s3",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


@pytest.fixture(scope="module")
def stranded(s3: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Ended, Path]:
    """A run whose storage was down, and the folder where its bundle is."""
    folder = tmp_path_factory.mktemp("stranded")
    environment = small.home(folder / "home") | s3 | {variables.EVIDENCE: str(folder / "kept")}
    argv = ["runbook", "run", "Small", "--json", "--output", "s3://evidence/team"]
    return command(argv, environment), folder / "kept"


@pytest.fixture(scope="module")
def bundle(stranded: tuple[Ended, Path]) -> Path:
    return Path(stranded[0].verdict["bundle"])


@pytest.fixture(scope="module")
def client(s3: dict[str, str], bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The server is back; the bundle was stranded before."""
    assert bundle.is_dir()
    url = s3["AWS_ENDPOINT_URL"]
    argv = [str(BIN / "moto_server"), "-H", "127.0.0.1", "-p", url.rpartition(":")[2]]
    with running(argv, tmp_path_factory.mktemp("moto"), lambda: bool(page(f"{url}/moto-api/"))):
        found = boto3.client(
            "s3", endpoint_url=url, aws_access_key_id="x", aws_secret_access_key="y", region_name="us-east-1"
        )
        found.create_bucket(Bucket="evidence")
        yield found
        found.close()


def stored(client: Any, prefix: str) -> dict[str, bytes]:
    keys = [
        one["Key"] for one in client.list_objects_v2(Bucket="evidence", Prefix=prefix).get("Contents", [])
    ]
    return {key: client.get_object(Bucket="evidence", Key=key)["Body"].read() for key in keys}


def test_storage_that_is_down_ends_in_4_and_one_line_and_the_evidence_is_whole(
    stranded: tuple[Ended, Path], bundle: Path
) -> None:
    ended, kept = stranded
    assert ended.code == 4, ended.err
    assert ended.verdict["status"] == "UNKNOWN"
    assert len(ended.err.splitlines()) == 1
    assert "not uploaded to s3://evidence/team" in ended.err
    assert f"the evidence is whole in {bundle} (finish it with `runbook upload {bundle} s3://" in ended.err
    assert "hunter2" not in ended.err
    assert bundle.parent == kept
    assert command(["runbook", "verify", str(kept)]).code == 0


def test_upload_finishes_what_was_stranded_and_can_be_said_twice(
    s3: dict[str, str], client: Any, bundle: Path
) -> None:
    argv = ["runbook", "upload", str(bundle), "s3://evidence/team"]
    first = command(argv, s3)
    assert (first.code, first.out, first.err) == (0, f"Uploaded: s3://evidence/team/{bundle.name}\n", "")
    expected = {f"team/{bundle.name}/{file.name}": file.read_bytes() for file in bundle.iterdir()}
    assert stored(client, "team/") == expected
    again = command(argv, s3)
    assert (again.code, again.out) == (0, f"There already: s3://evidence/team/{bundle.name}\n")
    client.put_object(Bucket="evidence", Key=f"team/{bundle.name}/verdict.json", Body=b"{}")
    refused = command(argv, s3)
    assert refused.code == 4
    assert "already exists and differs from this bundle (verdict.json); nothing was replaced" in refused.err


def test_seal_uploads_too(s3: dict[str, str], client: Any, bundle: Path, tmp_path: Path) -> None:
    environment = {**s3, variables.EVIDENCE: str(tmp_path / "kept")}
    argv = ["runbook", "seal", str(bundle / "notebook.ipynb"), "--output", "s3://evidence/sealed"]
    ended = command(argv, environment, cwd=tmp_path)
    assert ended.code == 0, ended.err
    (local,) = [path for path in (tmp_path / "kept").iterdir() if path.is_dir()]
    assert ended.err == f"Uploaded: s3://evidence/sealed/{local.name}\n"
    assert stored(client, "sealed/").keys() == {f"sealed/{local.name}/{f.name}" for f in local.iterdir()}


def test_a_bucket_that_is_not_there_is_not_made(s3: dict[str, str], client: Any, bundle: Path) -> None:
    ended = command(["runbook", "upload", str(bundle), "s3://evidnce/team"], s3)
    assert ended.code == 4
    assert "not uploaded to s3://evidnce/team" in ended.err
    assert [one["Name"] for one in client.list_buckets()["Buckets"]] == ["evidence"]
