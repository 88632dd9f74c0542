"""Write a bundle: the folder with the evidence of a run. It is published complete or not at all.

The files are written to a hidden folder beside the bundles and synced; then the folder is renamed. A
bundle that exists is never changed. The writing process holds a lock on the hidden folder
(`files.Workplace`) until the rename: by this lock, recovery distinguishes a run in progress from a killed
run. `seal` writes the bundle of a notebook that plain papermill or JupyterLab executed.
"""

import errno
import json
import os
import re
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from runbooklib import files
from runbooklib.config import variables
from runbooklib.config.site_secrets import environment_secrets
from runbooklib.errors import EvidenceError, InputError
from runbooklib.evidence import journal, ledger, manifest, pdf, signature
from runbooklib.evidence.executed_notebook import (
    NOTEBOOK,
    PAGE,
    VERDICT,
    verdict_of,
)
from runbooklib.evidence.sanitize import cleaned
from runbooklib.evidence.verdict_json import canonical
from runbooklib.files import Workplace
from runbooklib.redact.redactor import Depth, Redactor
from runbooklib.render.page import page

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
_UTF8 = ("utf-8", "surrogatepass")
_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]+")


class Bundle:
    """The folder of one run's evidence, while it is being written.

    With `chromium`, the path of a browser, the page is also printed to a PDF. Raises InputError, before the
    run, if the folder is not writable. A full disk does not prevent a run: if the disk is full or becomes
    full, the evidence goes to the spool, and `trouble` says why.
    """

    def __init__(
        self, output: Path, alert: str, service: str, started_at: datetime, chromium: str = ""
    ) -> None:
        self.name = f"{started_at:%Y%m%dT%H%M%SZ}-{_safe_name(alert)}-{_safe_name(service)}"
        self.started_at = started_at
        self.output = output
        self.trouble = ""
        self._chromium, self._is_spooled = chromium, False
        self._former: Workplace | None = None
        try:
            self._place = Workplace(output, self.name)
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise _not_writable_error(output, error) from None
            self._place = self._open_spool(error)

    @classmethod
    def left_behind(cls, place: Workplace, name: str, started_at: datetime) -> "Bundle":
        """The unfinished bundle of a killed run; `place` is its claimed folder. Raises ValueError."""
        bundle = cls.__new__(cls)
        bundle.name, bundle.started_at, bundle.output = files.checked(name), started_at, place.root
        bundle.trouble, bundle._chromium, bundle._is_spooled = "", "", False
        bundle._place, bundle._former = place, None
        return bundle

    @property
    def folder(self) -> Path:
        """The hidden folder in which the bundle is written."""
        return self._place.folder

    def spool(self, error: OSError) -> None:
        """Continue in the spool. Raises EvidenceError if it is there already or the spool is not writable.

        The former folder stays until `remove_former`: if this process is killed, it is the only evidence.
        """
        if self._is_spooled:
            raise _spool_error(error)
        former = self._place
        self._place = self._open_spool(error)
        self._former = former

    def remove_former(self) -> None:
        """Remove the former folder, after all its content is in the spool."""
        if self._former is not None:
            self._former.remove()
            self._former = None

    def _open_spool(self, error: OSError) -> Workplace:
        self.trouble = f"{self.output} could not be written ({error.strerror}): the evidence is in the spool"
        try:
            place = Workplace(spool(), self.name)
        except OSError as second:
            raise _spool_error(second) from None
        self.output, self._is_spooled = place.root, True
        return place

    def finish(self, notebook: Mapping[str, Any], about: Mapping[str, Any], home: Path | None) -> Path:
        """Write notebook, page, verdict and manifest, add the bundle to the ledger, and publish it.

        The whole notebook is cleaned here. `about` is added to the manifest. Raises EvidenceError.
        """
        redactor = Redactor(environment_secrets())
        # Each output of a run was cleaned alone; a secret split over several outputs is seen here.
        notebook = cleaned(notebook, redactor)
        about = redactor.json({**_run_times(self.started_at), **about}, Depth.SECRETS)
        try:
            published = self._finish_or_spool(notebook, about, home)
            self.remove_former()
            return published
        finally:
            self._close()

    def _finish_or_spool(
        self, notebook: Mapping[str, Any], about: Mapping[str, Any], home: Path | None
    ) -> Path:
        """Finish the bundle in its folder, or in the spool if that fails."""
        try:
            return self._finish(notebook, about, home)
        except OSError as error:
            kept = _bytes(self.folder / journal.FILE)
            self.spool(error)
        try:
            if kept is not None:
                _write(self.folder / journal.FILE, kept)
            return self._finish(notebook, about, home)
        except OSError as error:
            self._place.remove()  # an incomplete copy; the former folder still has the evidence
            raise _spool_error(error) from None

    def _finish(self, notebook: Mapping[str, Any], about: Mapping[str, Any], home: Path | None) -> Path:
        verdict, folder = verdict_of(notebook), self.folder
        title = f"{verdict['status']} {verdict['alert']}" if verdict else self.name
        _write(folder / NOTEBOOK, (json.dumps(notebook, indent=1, ensure_ascii=False) + "\n").encode(*_UTF8))
        _write(folder / PAGE, page(notebook, title).encode(*_UTF8))
        if verdict is not None:
            _write(folder / VERDICT, canonical(verdict).encode(*_UTF8))
        about = {**about, **self._print_pdf(), "bundle": self.name}
        left_out = () if about.get("failure") else (journal.FILE,)
        _write(
            folder / manifest.FILE, canonical(manifest.describe(folder, about, home, left_out)).encode(*_UTF8)
        )
        self._sign(folder)
        self._publish(datetime.fromisoformat(about["ended_at"]), keeps_journal=bool(about.get("failure")))
        return self.output / self.name

    def _sign(self, folder: Path) -> None:
        """Sign the bundle. If that fails, the evidence is kept unsigned and `trouble` says so."""
        (folder / signature.FILE).unlink(missing_ok=True)
        try:
            signature.sign(folder)
        except EvidenceError as error:
            self.trouble = self.trouble or error.message

    def _publish(self, ended_at: datetime, *, keeps_journal: bool) -> None:
        """Add the bundle to the ledger and rename it. `seal --interrupted` completes this after a crash.

        The journal of a finished run is removed: the notebook has the same content.
        """
        place, folder = self._place, self.folder
        digest = manifest.sha256(folder / manifest.FILE)
        with ledger.held(place.beside) as book:
            self.name = place.free_name(self.name)
            if not keeps_journal:
                (folder / journal.FILE).unlink(missing_ok=True)
            ledger.enter(book, self.name, digest, ended_at)
            place.rename(self.name)

    def _print_pdf(self) -> dict[str, str]:
        """Print the page if a browser was given. Returns the failure for the manifest, or nothing."""
        if self._chromium:
            try:
                pdf.print_page(self._chromium, self.folder / PAGE, self.folder / pdf.FILE)
            except EvidenceError as error:
                return {"pdf_failure": error.message}
        return {}

    def abandon(self) -> None:
        """Remove the unfinished bundle of a run that did not start."""
        self.remove_former()
        self._place.remove()

    def _close(self) -> None:
        """Release the locks of the folders. `recover` can then seal the evidence that is still in them."""
        for place in (self._place, self._former):
            if place is not None:
                place.close()


def _not_writable_error(output: Path, error: OSError) -> InputError:
    return InputError(
        f"the evidence cannot be written to {output}: {error.strerror}",
        hint="choose another folder with --output",
    )


def _spool_error(error: OSError) -> EvidenceError:
    return EvidenceError(
        f"the evidence could not be written, and not to the spool {spool()} either: {error.strerror}",
        hint=f"make room, or name another spool in {variables.SPOOL}",
    )


def _bytes(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _safe_name(name: str) -> str:
    return _UNSAFE.sub("_", name).strip("._-")[:80] or "unnamed"


def _write(path: Path, content: bytes) -> None:
    """Write a file; an incomplete file of a killed run is replaced."""
    path.unlink(missing_ok=True)
    files.write_new(path, content)


def _run_times(started_at: datetime) -> dict[str, str]:
    return {"started_at": started_at.isoformat(), "ended_at": datetime.now(UTC).isoformat()}


def spool() -> Path:
    """The folder for evidence when its own folder is full: RUNBOOK_SPOOL, else a folder of this user."""
    configured = os.environ.get(variables.SPOOL)
    lasting = Path("/var/tmp")  # noqa: S108 - kept after a reboot; only this user can write to the folder in it
    return (
        Path(configured)
        if configured
        else (lasting if lasting.is_dir() else Path(tempfile.gettempdir()))
        / (f"runbook-spool-{os.geteuid()}")
    )
