"""Uploads a sealed bundle to any URL that fsspec can write to.

A run is always sealed on the local disk first and then copied; the local bundle stays. The manifest is copied
last, so a partial copy has no manifest. Every file is read back and compared byte by byte. An upload never
replaces a file, with one exception: a file of this bundle whose earlier upload was interrupted.

The ledger is not uploaded: object stores cannot append, and two machines that write the same ledger would
break its hash chain. At the URL, only the manifest shows whether a bundle is complete.
"""

import errno
import os
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

from runbooklib.config import variables
from runbooklib.config.site_secrets import environment_secrets
from runbooklib.errors import EvidenceError, InputError, RunbookError
from runbooklib.evidence import manifest
from runbooklib.redact.redactor import Depth, Redactor

ATTEMPTS, FIRST_PAUSE_SECONDS, TOTAL_SECONDS = 3, 1.0, 180.0
_INSTALL = "pip install 'runbooklib[remote]'"
_S3 = frozenset(("s3", "s3a"))
# These need a folder before a file. In an object store, creating a folder could create a bucket.
_HAS_FOLDERS = frozenset("file local memory sftp ssh smb ftp webdav hdfs dbfs".split())
_PERMANENT = (RunbookError, PermissionError, FileNotFoundError, NotADirectoryError)


@dataclass(frozen=True, slots=True)
class Destination:
    """The local folder for evidence, and the URL that it is then copied to (empty: no copy)."""

    folder: Path
    url: str = ""


def destination(output: str) -> Destination:
    """The destination that `--output` names: a folder, or a URL.

    With a URL, the local bundle is in RUNBOOK_EVIDENCE, else in evidence/. This opens no connection.
    Raises InputError for a URL that cannot be written to.
    """
    if "://" not in output and "::" not in output:
        return Destination(Path(output))
    check(output)
    return Destination(Path(os.environ.get(variables.EVIDENCE) or "evidence"), output)


def check(url: str) -> None:
    """Raise InputError for a URL that cannot be uploaded to. This is called before a run."""
    protocol, separator, rest = url.partition("://")
    if not separator or "::" in url or not rest:
        raise InputError(
            f"{hide_credentials(url)} is not the URL of a folder", hint="for example s3://bucket/prefix"
        )
    if protocol in ("http", "https"):
        raise InputError(f"{protocol}:// cannot be written to", hint="for example s3://bucket/prefix")
    if protocol in _S3 and "@" in rest.partition("/")[0]:
        raise InputError(
            "an s3:// URL must not contain credentials", hint="set them as AWS_* environment variables"
        )
    try:
        from fsspec.registry import get_filesystem_class

        get_filesystem_class(protocol)
    except ImportError as error:
        is_ours = protocol in _S3 or (error.name or "").startswith("fsspec")
        hint = _INSTALL if is_ours else _error_line(error, url)
        raise InputError(f"{protocol}:// needs a library that is not installed", hint=hint) from None
    except ValueError:
        raise InputError(
            f"{protocol}:// is an unknown storage protocol", hint="for example s3://bucket/prefix"
        ) from None


def hide_credentials(url: str) -> str:
    """The URL without user, password, query and fragment, for messages."""
    return re.sub(r"://[^/?#]*@", "://", url).partition("?")[0].partition("#")[0].rstrip("/")


def upload(bundle: Path, url: str, *, within_seconds: float = TOTAL_SECONDS) -> bool:
    """Copy the bundle to `url`/<its name>; return False if an equal copy already exists there.

    It tries three times with increasing pauses, and returns within the given seconds even if the storage
    does not answer. Raises InputError if the bundle or the URL can never work. Raises EvidenceError if the
    copy fails or another bundle of that name exists there. The local bundle does not change.
    """
    check(url)
    contents = _contents(bundle)
    name = bundle.resolve().name
    left, ends_at = ATTEMPTS, time.monotonic() + within_seconds
    with ThreadPool(1) as pool:  # daemon thread: unresponsive storage does not keep the process running
        while True:
            errors: list[BaseException] = []
            copied = pool.apply_async(_copy, (url, name, contents), error_callback=errors.append)
            copied.wait(max(0.0, ends_at - time.monotonic()))
            if copied.ready() and not errors:
                return copied.get()
            left -= 1
            pause = FIRST_PAUSE_SECONDS * 2 ** (ATTEMPTS - 1 - left)
            is_late = time.monotonic() + pause >= ends_at
            if not errors or not left or is_late or isinstance(errors[0], _PERMANENT):
                raise _upload_error(bundle, url, errors[0] if errors else None, within_seconds)
            time.sleep(pause)


def _upload_error(bundle: Path, url: str, error: BaseException | None, seconds: float) -> EvidenceError:
    whole = f"the evidence is whole in {bundle}"
    if isinstance(error, RunbookError):
        return EvidenceError(f"{error.message}; {whole}", hint=error.hint)
    reason = f"no end within {seconds:g} s" if error is None else _error_line(error, url)
    return EvidenceError(
        f"not uploaded to {hide_credentials(url)}: {reason}; {whole}",
        hint=f"finish it with `runbook upload {bundle} {hide_credentials(url)}`",
    )


def _error_line(error: BaseException, url: str) -> str:
    """The type and first line of the error, without secrets."""
    lines = str(error).strip().splitlines() or [""]
    user = re.search(r"://([^/?#]*)@", url)
    known = [part for part in (user[1].split(":", 1) if user else []) if part]
    message = Redactor([*environment_secrets(), *known]).text(lines[0], Depth.SECRETS)
    return f"{type(error).__name__}: {message[:300]}" if message else type(error).__name__


def _contents(bundle: Path) -> dict[str, bytes]:
    """The files of an intact bundle, the manifest last. Raises InputError, EvidenceError."""
    if not (bundle / manifest.FILE).is_file():
        raise InputError(f"{bundle} is not a bundle", hint="pass a folder that `runbook run` wrote")
    problems = manifest.verify_bundle(bundle)
    if problems:
        raise EvidenceError(
            f"{problems[0]}; only whole evidence is uploaded", hint=f"see `runbook verify {bundle}`"
        )
    files = sorted(path for path in bundle.iterdir() if path.name != manifest.FILE)
    return {path.name: path.read_bytes() for path in (*files, bundle / manifest.FILE)}


def _copy(url: str, name: str, contents: Mapping[str, bytes]) -> bool:
    """Make one attempt, which continues an earlier attempt; return False if the copy was already complete."""
    from fsspec.core import url_to_fs

    storage, root = url_to_fs(url, **_options(url))
    folder = f"{root.rstrip('/')}/{name}"
    storage.invalidate_cache()
    stored = {file: storage.cat_file(f"{folder}/{file}") for file in _stored_names(storage, folder)}
    unfinished = _partial_files(stored, contents)
    differing = sorted(
        file for file in stored if file not in unfinished and stored[file] != contents.get(file)
    )
    if differing:
        raise EvidenceError(
            f"{hide_credentials(url)}/{name} already exists and differs from this bundle "
            f"({', '.join(differing)}); nothing was replaced",
            hint="choose another URL",
        )
    if stored.keys() == contents.keys() and not unfinished:
        return False
    if storage.protocol in _HAS_FOLDERS or not _HAS_FOLDERS.isdisjoint(storage.protocol):
        storage.makedirs(folder, exist_ok=True)
    for file in contents:  # the manifest is the last
        if file not in stored or file in unfinished:
            _write(storage, f"{folder}/{file}", contents[file], is_new=file not in stored)
    return True


def _options(url: str) -> dict[str, Any]:
    """Options that reduce S3's own retries and timeouts. The user's fsspec settings take precedence."""
    protocol = url.partition("://")[0]
    if protocol not in _S3:
        return {}
    from fsspec.config import conf

    ours = {"connect_timeout": 5, "read_timeout": 30, "retries": {"max_attempts": 1}}
    return {"config_kwargs": {**ours, **conf.get(protocol, {}).get("config_kwargs", {})}}


def _stored_names(storage: Any, folder: str) -> list[str]:
    try:
        listed = storage.ls(folder, detail=False)
    except FileNotFoundError:
        return []
    return [str(path).rstrip("/").rpartition("/")[2] for path in listed]


def _partial_files(stored: Mapping[str, bytes], contents: Mapping[str, bytes]) -> set[str]:
    """The stored files that contain only the beginning of this bundle's file, as an interrupted upload does.

    Empty if the manifest is stored completely: then the upload was finished, and it is not repeated.
    """
    cut = {
        file
        for file, content in stored.items()
        if file in contents and content != contents[file] and contents[file].startswith(content)
    }
    return cut if manifest.FILE in cut or manifest.FILE not in stored else set()


def _write(storage: Any, path: str, content: bytes, *, is_new: bool) -> None:
    # If the answer to a first write was lost, the file exists already. The content that is read back decides.
    with suppress(FileExistsError):
        try:
            storage.pipe_file(path, content, mode="create" if is_new else "overwrite")
        except OSError as error:
            if error.errno != errno.ENOSYS:
                raise
            storage.pipe_file(path, content)  # this storage cannot refuse to overwrite; `_copy` has checked
    storage.invalidate_cache()
    if storage.cat_file(path) != content:
        raise EvidenceError(f"{path} was read back with a different content", hint="choose another URL")
