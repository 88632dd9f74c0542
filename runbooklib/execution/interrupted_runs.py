"""What killed runs left behind, made into evidence: sealed as interrupted, from their journals."""

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from runbooklib import files
from runbooklib.config.site_secrets import environment_secrets
from runbooklib.errors import EvidenceError
from runbooklib.evidence import journal, ledger, manifest, signature
from runbooklib.evidence.bundle import Bundle
from runbooklib.execution import runner
from runbooklib.execution.recorder import RunRecorder
from runbooklib.execution.run_state import RunState
from runbooklib.files import Workplace
from runbooklib.redact.redactor import Redactor

CAUSE = "the runner died"
# A run that has just begun can have an empty folder without a lock: only an older one is removed.
_YOUNG_SECONDS = 60.0


def recover(output: Path) -> Iterator[Path]:
    """Seal each interrupted run in the folder and yield its bundle. A run in progress is left alone.

    A run that died before its first journal line has no evidence, and its folder is removed. Raises
    EvidenceError at the end if some runs could not be sealed; their folders stay.
    """
    failures = []
    hidden = [path for path in output.iterdir() if path.name.startswith(".")] if output.is_dir() else []
    for folder in sorted(path for path in hidden if path.is_dir() and not path.is_symlink()):
        try:
            yield from _recovered(output, folder)
        except (EvidenceError, OSError, LookupError, TypeError, ValueError) as error:
            failures.append(f"{folder.name}: {error}")
    if failures:
        raise EvidenceError(
            f"what a killed run left was not sealed: {'; '.join(failures)}", hint="look into its journal"
        )


def _recovered(output: Path, folder: Path) -> Iterator[Path]:
    is_ours = files.is_workplace(folder.name)
    if not is_ours and not any((folder / name).exists() for name in (journal.FILE, manifest.FILE)):
        return
    place = Workplace.claimed(output, folder.name)
    if place is None:
        return
    try:
        if published := _published(place):
            yield published
        elif os.path.lexists(place.folder / journal.FILE):
            yield from _sealed(place)
        elif is_ours and _is_old(place.folder) and not any(place.folder.iterdir()):
            place.remove()
    finally:
        place.close()


def _is_old(folder: Path) -> bool:
    return time.time() - folder.stat().st_mtime > _YOUNG_SECONDS


def _published(place: Workplace) -> Path | None:
    """Publish a bundle that was complete when its process died. Returns None if it was not complete."""
    about = manifest.whole(place.folder)
    if about is None:
        return None
    with ledger.held(place.beside) as book:
        digest = manifest.sha256(place.folder / manifest.FILE)
        entered = ledger.name_of(book, digest)
        if not entered and os.path.lexists(place.folder / journal.FILE):
            return None  # it is sealed from its journal instead
        if not entered:
            _sign(place.folder)
        name = place.free_name(files.checked(entered or about["bundle"]))
        if name != entered:  # it has no ledger entry, or another run took its name since
            ledger.enter(book, name, digest, datetime.fromisoformat(about["ended_at"]))
        place.rename(name)
    return place.root / name


def _sign(folder: Path) -> None:
    """Sign the bundle, unless its own process did. A valid signature stays."""
    if signature.misfit(folder):
        (folder / signature.FILE).unlink()
    if not signature.is_signed(folder):
        with suppress(EvidenceError):  # unsigned evidence is kept, as after a normal run
            signature.sign(folder)


def _sealed(place: Workplace) -> Iterator[Path]:
    path = place.folder / journal.FILE
    if path.is_symlink() or not path.is_file():
        raise EvidenceError(f"{journal.FILE} is not a regular file")
    lines, wrong = journal.read(path)
    if not lines:
        if wrong:
            raise EvidenceError(wrong)
        if _is_old(place.folder):
            place.remove()
        return
    begin = lines[0]
    began_at = datetime.fromisoformat(begin["at"])
    bundle = Bundle.left_behind(place, str(begin["bundle"]), began_at)
    witness = RunRecorder(bundle, Redactor(environment_secrets()), begin["about"])
    account = witness.account = RunState(begin["notebook"])
    failure = f"{CAUSE}; {wrong or 'what its journal holds is all there is'}"
    for line in lines:
        account.apply(line)
        if line["kind"] == "end":
            failure = str(line["failure"])
    about: dict[str, Any] = {**begin["about"], "is_recovered": True}
    yield runner.seal(bundle, witness, about, failure)[0]
