"""Evidence elsewhere: a bundle that is whole on this machine, copied to any URL that fsspec can write to.

A run is always sealed on local disk first and copied afterwards; the local bundle stays. The manifest goes
last, so that half a copy is never taken for a whole one, and everything is read back and compared to the
byte. Nothing that is there is replaced, but for the beginning of a file of ours whose writing broke off.

The ledger stays with the local bundles: object stores cannot append, and two machines that wrote one ledger
there would break each other's chain. At the URL a bundle is held together by its own manifest.
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
# Where a folder must be made before a file can be; in an object store making one could make a bucket.
_HAS_FOLDERS = frozenset("file local memory sftp ssh smb ftp webdav hdfs dbfs".split())
_PERMANENT = (RunbookError, PermissionError, FileNotFoundError, NotADirectoryError)


@dataclass(frozen=True, slots=True)
class Destination:
    """Where evidence goes: a local folder, and the URL that it is copied to afterwards (empty: none)."""

    folder: Path
    url: str = ""


def destination(output: str) -> Destination:
    """What `--output` means: a folder, or a URL and the folder of the local bundle.

    That folder is RUNBOOK_EVIDENCE, else evidence/. No connection is opened.
    Raises InputError for a URL that cannot be written to.
    """
    if "://" not in output and "::" not in output:
        return Destination(Path(output))
    check(output)
    return Destination(Path(os.environ.get(variables.EVIDENCE) or "evidence"), output)


def check(url: str) -> None:
    """Refuse a URL that nothing can be uploaded to, before a run. Raises InputError."""
    protocol, separator, rest = url.partition("://")
    if not separator or "::" in url or not rest:
        raise InputError(f"{shown(url)} is no URL of a folder", hint="for example s3://bucket/prefix")
    if protocol in ("http", "https"):
        raise InputError(f"{protocol}:// cannot be written to", hint="for example s3://bucket/prefix")
    if protocol in _S3 and "@" in rest.partition("/")[0]:
        raise InputError(
            "credentials do not belong in an s3:// URL", hint="give them as AWS_* environment variables"
        )
    try:
        from fsspec.registry import get_filesystem_class

        get_filesystem_class(protocol)
    except ImportError as error:
        is_ours = protocol in _S3 or (error.name or "").startswith("fsspec")
        hint = _INSTALL if is_ours else _line(error, url)
        raise InputError(f"{protocol}:// needs a library that is not installed", hint=hint) from None
    except ValueError:
        raise InputError(
            f"no storage is called {protocol}://", hint="for example s3://bucket/prefix"
        ) from None


def shown(url: str) -> str:
    """The URL as it may be told: without user, password, query and fragment."""
    return re.sub(r"://[^/?#]*@", "://", url).partition("?")[0].partition("#")[0].rstrip("/")


def upload(bundle: Path, url: str, *, within_seconds: float = TOTAL_SECONDS) -> bool:
    """Copy the bundle to `url`/<its name>; False where an equal one was there already.

    Tries three times, pausing longer each time, and ends within the given seconds whatever the storage
    does. Raises InputError for what can never work, EvidenceError where the copy is not there in the end
    or another bundle of that name is; the local bundle is as it was.
    """
    check(url)
    contents = _contents(bundle)
    name = bundle.resolve().name
    left, ends_at = ATTEMPTS, time.monotonic() + within_seconds
    with ThreadPool(1) as pool:  # its thread is a daemon: storage that hangs does not keep the process
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
                raise _failure(bundle, url, errors[0] if errors else None, within_seconds)
            time.sleep(pause)


def _failure(bundle: Path, url: str, error: BaseException | None, seconds: float) -> EvidenceError:
    whole = f"the evidence is whole in {bundle}"
    if isinstance(error, RunbookError):
        return EvidenceError(f"{error.message}; {whole}", hint=error.hint)
    reason = f"no end within {seconds:g} s" if error is None else _line(error, url)
    return EvidenceError(
        f"not uploaded to {shown(url)}: {reason}; {whole}",
        hint=f"finish it with `runbook upload {bundle} {shown(url)}`",
    )


def _line(error: BaseException, url: str) -> str:
    """The error in one line, without secrets."""
    lines = str(error).strip().splitlines() or [""]
    user = re.search(r"://([^/?#]*)@", url)
    known = [part for part in (user[1].split(":", 1) if user else []) if part]
    told = Redactor([*environment_secrets(), *known]).text(lines[0], Depth.SECRETS)
    return f"{type(error).__name__}: {told[:300]}" if told else type(error).__name__


def _contents(bundle: Path) -> dict[str, bytes]:
    """The files of a bundle that is whole, the manifest last. Raises InputError, EvidenceError."""
    if not (bundle / manifest.FILE).is_file():
        raise InputError(f"{bundle} is no bundle", hint="name a folder that `runbook run` wrote")
    wrong = manifest.verify_bundle(bundle)
    if wrong:
        raise EvidenceError(
            f"{wrong[0]}; only whole evidence is uploaded", hint=f"see `runbook verify {bundle}`"
        )
    files = sorted(path for path in bundle.iterdir() if path.name != manifest.FILE)
    return {path.name: path.read_bytes() for path in (*files, bundle / manifest.FILE)}


def _copy(url: str, name: str, contents: Mapping[str, bytes]) -> bool:
    """One attempt: go on where the one before ended. False where there was nothing left to do."""
    from fsspec.core import url_to_fs

    storage, root = url_to_fs(url, **_options(url))
    folder = f"{root.rstrip('/')}/{name}"
    storage.invalidate_cache()
    found = {file: storage.cat_file(f"{folder}/{file}") for file in _names(storage, folder)}
    unfinished = _unfinished(found, contents)
    differing = sorted(file for file in found if file not in unfinished and found[file] != contents.get(file))
    if differing:
        raise EvidenceError(
            f"{shown(url)}/{name} is there and differs from this bundle ({', '.join(differing)}); "
            "nothing was replaced",
            hint="choose another URL",
        )
    if found.keys() == contents.keys() and not unfinished:
        return False
    if storage.protocol in _HAS_FOLDERS or not _HAS_FOLDERS.isdisjoint(storage.protocol):
        storage.makedirs(folder, exist_ok=True)
    for file in contents:  # in this order: the manifest is the last
        if file not in found or file in unfinished:
            _write(storage, f"{folder}/{file}", contents[file], is_new=file not in found)
    return True


def _options(url: str) -> dict[str, Any]:
    """S3's own retries are turned down, for ours are bounded; what the user's fsspec settings say wins."""
    protocol = url.partition("://")[0]
    if protocol not in _S3:
        return {}
    from fsspec.config import conf

    ours = {"connect_timeout": 5, "read_timeout": 30, "retries": {"max_attempts": 1}}
    return {"config_kwargs": {**ours, **conf.get(protocol, {}).get("config_kwargs", {})}}


def _names(storage: Any, folder: str) -> list[str]:
    try:
        listed = storage.ls(folder, detail=False)
    except FileNotFoundError:
        return []
    return [str(path).rstrip("/").rpartition("/")[2] for path in listed]


def _unfinished(found: Mapping[str, bytes], contents: Mapping[str, bytes]) -> set[str]:
    """Files that break off in the middle, as a write of ours that was interrupted leaves them.

    Only while the manifest is not there whole: what was finished once is never written again.
    """
    known = {file: there for file, there in found.items() if file in contents}
    cut = {file for file in known if known[file] != contents[file] and contents[file].startswith(known[file])}
    return cut if manifest.FILE in cut or manifest.FILE not in found else set()


def _write(storage: Any, path: str, content: bytes, *, is_new: bool) -> None:
    # An answer that was lost on the way makes a second try find its own file: what counts is what is read.
    with suppress(FileExistsError):
        try:
            storage.pipe_file(path, content, mode="create" if is_new else "overwrite")
        except OSError as error:
            if error.errno != errno.ENOSYS:
                raise
            storage.pipe_file(path, content)  # storage that cannot refuse to overwrite; we have looked
    storage.invalidate_cache()
    if storage.cat_file(path) != content:
        raise EvidenceError(f"{path} reads back otherwise than it was written", hint="choose another URL")
