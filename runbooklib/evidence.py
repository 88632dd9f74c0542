"""The executed notebook as evidence: a folder that is either there whole or not at all.

It is put together in a hidden folder beside, synced, then renamed; a folder that exists is never touched.
"""

import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from runbooklib import ledger, manifest, pdf
from runbooklib.cleaning import cleaned
from runbooklib.errors import EvidenceError, InputError
from runbooklib.redact import Depth, Redactor
from runbooklib.render.page import page
from runbooklib.report import RECORDING_MIME, VERDICT_MIME, canonical
from runbooklib.settings import environment_secrets
from runbooklib.tape import Entry, pack, unpack

NOTEBOOK, PAGE, VERDICT = "notebook.ipynb", "notebook.html", "verdict.json"
_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]+")


def read_notebook(path: Path) -> dict[str, Any]:
    """An executed notebook by its own path or its bundle's. Raises InputError."""
    file = path / NOTEBOOK if path.is_dir() else path
    try:
        notebook: dict[str, Any] = json.loads(file.read_bytes())
        if notebook["nbformat"] != 4 or not isinstance(notebook["cells"], list):
            raise ValueError("it is no notebook of nbformat 4")
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}", remedy="name a bundle") from None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file} is no notebook: {error}", remedy="name a bundle") from None
    return notebook


def read_recording(path: Path) -> list[Entry]:
    """The recording of a bundle, an executed notebook, or a file that `export` wrote. Raises InputError."""
    exported = read_export(path)
    return unpack(exported["recording"]) if exported else recording_of(read_notebook(path))


def read_export(path: Path) -> dict[str, Any] | None:
    """What `export` wrote: alert, service, parameters, verdict and recording; None for another file."""
    if path.is_dir() or path.suffix == ".ipynb":
        return None
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {error}", remedy="name a bundle or a recording") from None
    return found if isinstance(found, dict) and "recording" in found else None


def export(bundle: Path) -> dict[str, Any]:
    """The recording alone, with what it takes to replay it: small, without outputs, fit for a repository."""
    notebook = read_notebook(bundle)
    verdict = verdict_of(notebook)
    if verdict is None:
        raise InputError(f"{bundle} holds no verdict", remedy="name a bundle that `runbook run` wrote")
    return {
        "version": 1,
        "alert": verdict["alert"],
        "service": verdict["service"],
        "parameters": notebook["metadata"].get("papermill", {}).get("parameters", {}),
        "verdict": verdict,
        "recording": pack(recording_of(notebook)),
    }


def outputs(notebook: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The data of every output, in order: mime type -> content."""
    for cell in notebook["cells"]:
        for output in cell.get("outputs", ()):
            if "data" in output:
                yield output["data"]


def verdict_of(notebook: Mapping[str, Any]) -> dict[str, Any] | None:
    """The verdict that the notebook's first output ended with, or None where there is none."""
    verdicts = [data[VERDICT_MIME] for data in outputs(notebook) if VERDICT_MIME in data]
    return dict(verdicts[0]) if verdicts else None


def recording_of(notebook: Mapping[str, Any]) -> list[Entry]:
    """Every answer that the notebook recorded, in the order of its cells."""
    packed = [data[RECORDING_MIME] for data in outputs(notebook) if RECORDING_MIME in data]
    return [entry for recording in packed for entry in unpack(recording)]


def fingerprints_of(recording: Iterable[Entry], alert: str) -> list[str]:
    """Alertmanager's fingerprints of the alert, as far as it was asked."""
    answers = [e.answer for e in recording if e.source == "alertmanager" and isinstance(e.answer, list)]
    told = [one for answer in answers for one in answer if isinstance(one, dict)]
    found = {str(t.get("fingerprint")) for t in told if (t.get("labels") or {}).get("alertname") == alert}
    return sorted(found)


class Bundle:
    """The folder of one run's evidence, while it is being put together.

    With `chromium`, the program of a browser, the page is also printed to a PDF.
    Raises InputError where nothing could be written: before a run, not after it.
    """

    def __init__(
        self, output: Path, alert: str, service: str, started_at: datetime, chromium: str = ""
    ) -> None:
        self.name = f"{started_at:%Y%m%dT%H%M%SZ}-{_safe(alert)}-{_safe(service)}"
        self.started_at = started_at
        self.output = output
        self._chromium = chromium
        self._work = output / f".{self.name}.{os.getpid()}"
        try:
            output.mkdir(parents=True, exist_ok=True)
            self._work.mkdir(mode=0o700)
        except OSError as error:
            raise InputError(
                f"the evidence cannot be written to {output}: {error.strerror}",
                remedy="choose another folder with --output",
            ) from None

    @property
    def notebook_path(self) -> Path:
        """Where the notebook is saved while it runs."""
        return self._work / NOTEBOOK

    def finish(self, executed: Mapping[str, Any], about: Mapping[str, Any], home: Path | None) -> Path:
        """Write notebook, page, verdict and manifest, name the folder, enter it in the ledger.

        Secrets that cells printed are taken out here. `about` goes into the manifest. Raises EvidenceError.
        """
        redactor = Redactor(environment_secrets())
        notebook: dict[str, Any] = cleaned(executed, redactor)
        about = redactor.json({**_dated(self.started_at), **about}, Depth.SECRETS)
        verdict = verdict_of(notebook)
        title = f"{verdict['status']} {verdict['alert']}" if verdict else self.name
        try:
            _write(self._work / NOTEBOOK, json.dumps(notebook, indent=1, ensure_ascii=False) + "\n")
            _write(self._work / PAGE, page(notebook, title))
            if verdict is not None:
                _write(self._work / VERDICT, canonical(verdict))
            about = {**about, **self._printed()}
            _write(self._work / manifest.FILE, canonical(manifest.describe(self._work, about, home)))
            return self._publish(datetime.fromisoformat(about["ended_at"]))
        except OSError as error:
            raise EvidenceError(
                f"the evidence could not be written: {error.strerror}; what there is lies in {self._work}",
                remedy="make room, and move it by hand",
            ) from None

    def _printed(self) -> dict[str, str]:
        """Print the page where that is wanted; what failed goes into the manifest, and the rest is kept."""
        if self._chromium:
            try:
                pdf.print_page(self._chromium, self._work / PAGE, self._work / pdf.FILE)
            except EvidenceError as error:
                return {"pdf_failure": error.message}
        return {}

    def _publish(self, ended_at: datetime) -> Path:
        _sync(self._work)
        for again in range(1, 1000):
            final = self.output / (self.name if again == 1 else f"{self.name}-{again}")
            try:
                # mkdir claims the name; rename onto an empty folder of ours replaces nothing of anybody's.
                final.mkdir(mode=0o700)
            except FileExistsError:
                continue
            self._work.rename(final)
            _sync(self.output)
            digest = manifest.sha256(final / manifest.FILE)
            ledger.append(self.output, final.name, digest, ended_at)
            return final
        raise EvidenceError(f"there are 999 runs named {self.name}", remedy="choose another folder")

    def abandon(self) -> None:
        """Remove what was begun: for a run that was refused before it started."""
        shutil.rmtree(self._work, ignore_errors=True)


def _safe(name: str) -> str:
    return _UNSAFE.sub("_", name).strip("._-")[:80] or "unnamed"


def _write(path: Path, content: str) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    path.chmod(0o600)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _dated(started_at: datetime) -> dict[str, str]:
    return {"started_at": started_at.isoformat(), "ended_at": datetime.now(UTC).isoformat()}
