"""What killed runs left behind, made into evidence: sealed as interrupted, from their journals."""

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from runbooklib import journal, runner
from runbooklib.account import Account
from runbooklib.errors import EvidenceError
from runbooklib.evidence import Bundle
from runbooklib.redact import Redactor
from runbooklib.settings import environment_secrets
from runbooklib.witness import Witness

CAUSE = "the runner died"
# A run that has just begun may not have its first line yet, nor the lock by which it is known to live.
_YOUNG_SECONDS = 60.0


def recover(output: Path) -> Iterator[Path]:
    """Seal each run in the folder that is dead, one bundle at a time; what lives is left alone.

    A run that died before its first line left nothing to keep, and its folder is removed. Raises
    EvidenceError at the end, for all that could not be sealed; it stays where it is.
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
            f"what a killed run left was not sealed: {'; '.join(failures)}", remedy="look into its journal"
        )


def _recovered(output: Path, folder: Path) -> Iterator[Path]:
    try:
        held = journal.claim(folder / journal.FILE)
    except FileNotFoundError:  # nothing of ours, a run that has not begun, or one that was all but sealed
        if sealed := Bundle.complete(output, folder.name):
            yield sealed
        return
    if held is None:
        return
    try:
        yield from _sealed(output, folder)
    finally:
        os.close(held)


def _sealed(output: Path, folder: Path) -> Iterator[Path]:
    lines, wrong = journal.read(folder / journal.FILE)
    if not lines:
        if wrong:
            raise EvidenceError(wrong)
        if time.time() - folder.stat().st_mtime > _YOUNG_SECONDS:
            Bundle.left_behind(output, folder.name, "unnamed", datetime.now(UTC)).abandon()
        return
    begin = lines[0]
    began_at = datetime.fromisoformat(begin["at"])
    bundle = Bundle.left_behind(output, folder.name, str(begin["bundle"]), began_at)
    witness = Witness(bundle, Redactor(environment_secrets()), begin["about"])
    account = witness.account = Account(begin["notebook"])
    failure = f"{CAUSE}; {wrong or 'what its journal holds is all there is'}"
    for line in lines:
        account.apply(line)
        if line["kind"] == "end":
            failure = str(line["failure"])
    about: dict[str, Any] = {**begin["about"], "is_recovered": True}
    yield runner.seal(bundle, witness, about, failure)[0]
