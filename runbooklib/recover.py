"""What killed runs left behind, made into evidence: sealed as interrupted, from their journals."""

import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from runbooklib import journal, runner
from runbooklib.account import Account
from runbooklib.evidence import Bundle
from runbooklib.redact import Redactor
from runbooklib.settings import environment_secrets
from runbooklib.witness import Witness

CAUSE = "the runner died"


def recover(output: Path) -> Iterator[Path]:
    """Seal each run in the folder that is dead, one bundle at a time; what lives is left alone.

    A run that died before its first line left nothing to keep, and its folder is removed. Raises
    EvidenceError.
    """
    if not output.is_dir():
        return
    for folder in sorted(path for path in output.iterdir() if path.name.startswith(".") and path.is_dir()):
        try:
            held = journal.claim(folder / journal.FILE)
        except (
            OSError
        ):  # no journal: nothing of ours, a run that has not begun, or one that was all but sealed
            if sealed := Bundle.complete(output, folder.name):
                yield sealed
            continue
        if held is None:
            continue
        try:
            yield from _sealed(output, folder)
        finally:
            os.close(held)


def _sealed(output: Path, folder: Path) -> Iterator[Path]:
    lines, wrong = journal.read(folder / journal.FILE)
    if not lines or lines[0]["kind"] != "begin":
        if not wrong:
            Bundle.left_behind(output, folder.name, folder.name, datetime.now().astimezone()).abandon()
        return
    begin = lines[0]
    bundle = Bundle.left_behind(
        output, folder.name, str(begin["bundle"]), datetime.fromisoformat(begin["at"])
    )
    witness = Witness(bundle, Redactor(environment_secrets()), begin["about"])
    account = witness.account = Account(begin["notebook"])
    failure = f"{CAUSE}; what its journal holds is all there is" if not wrong else f"{CAUSE}; {wrong}"
    for line in lines:
        account.apply(line)
        if line["kind"] == "end":
            failure = str(line["failure"])
    yield runner.seal(bundle, witness, _about(begin), failure)[0]


def _about(begin: dict[str, Any]) -> dict[str, Any]:
    return {**begin["about"], "is_recovered": True}
