"""Replay: run the notebook of a recorded incident, or another notebook, with its recorded answers.

No request is sent to a system. The new verdict is compared with the recorded verdict.
"""

import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from runbooklib.checks.registry import aliases
from runbooklib.config import runbooks, variables
from runbooklib.config.parameters import check_types
from runbooklib.errors import InputError
from runbooklib.evidence.bundle import Bundle
from runbooklib.evidence.executed_notebook import (
    VERDICT,
    read_export,
    read_notebook,
    read_recording,
    verdict_of,
)
from runbooklib.evidence.verdict_json import canonical
from runbooklib.execution import run_state
from runbooklib.execution.runner import OnFinding, Run, execute
from runbooklib.model.verdict import VERSION
from runbooklib.sources.tape import OPENING


@dataclass(frozen=True, slots=True)
class Replay:
    """A replay: its own run, the recorded verdict, and each difference as (what, recorded, replayed)."""

    run: Run
    recorded: dict[str, Any]
    differences: tuple[tuple[str, str, str], ...]

    @property
    def compares_sentences(self) -> bool:
        """Whether both verdicts have the same version; the sentences of two versions are not compared."""
        return bool(self.recorded["version"] == VERSION)

    @property
    def is_identical(self) -> bool:
        """Whether the verdict has the same bytes as the recorded verdict."""
        return self.run.verdict is not None and canonical(self.run.verdict) == canonical(self.recorded)

    @property
    def agrees(self) -> bool:
        """Whether the verdict equals the recorded verdict, as far as their versions can be compared."""
        if self.compares_sentences:
            return self.is_identical
        return self.run.verdict is not None and not self.differences


def replay(
    evidence: Path,
    output: Path,
    *,
    notebook: Path | None = None,
    on_finding: OnFinding | None = None,
    chromium: str = "",
) -> Replay:
    """Replay evidence (a bundle, an executed notebook or an exported recording) with its notebook or another.

    The result is a bundle under `output`. Raises InputError for evidence without a recording, and for a
    verdict of a version that this library cannot read.
    """
    recorded = _recorded(evidence)
    name = f"replay-{recorded.verdict['alert']}"
    bundle = Bundle(output, name, recorded.verdict["service"], recorded.opened_at, chromium)
    about = {"kind": "replay", "alert": recorded.verdict["alert"], "of": evidence.name}
    with tempfile.TemporaryDirectory(prefix="runbook-") as folder:
        path = Path(folder) / "replay.ipynb"
        source = _prepared(read_notebook(notebook), recorded) if notebook else recorded.notebook
        path.write_text(json.dumps(_without_outputs(source)), encoding="utf-8")
        run = execute(
            path,
            bundle,
            about,
            values=recorded.parameters,
            on_finding=on_finding,
            kernel_environment={variables.REPLAY: str(evidence.absolute())},
        )
    return Replay(run, recorded.verdict, tuple(differences(recorded.verdict, run.verdict or {})))


@dataclass(frozen=True, slots=True)
class _Recorded:
    """Recorded evidence: its verdict, its notebook, and the parameters that are still to be injected."""

    verdict: dict[str, Any]
    notebook: dict[str, Any]
    parameters: dict[str, Any]
    opened_at: datetime


def _recorded(evidence: Path) -> _Recorded:
    exported = read_export(evidence)
    opening = next((entry for entry in read_recording(evidence) if entry.source == OPENING), None)
    if opening is None:
        raise InputError(f"{evidence} holds no recording", hint="only what was recorded can be replayed")
    if exported:
        _require_readable(exported["verdict"], evidence)
        runbook = runbooks.find(exported["alert"])
        # A recording is data: no name in it may become code in our own notebook.
        values = check_types(runbook.declared, exported["parameters"], evidence.name)
        notebook = read_notebook(runbook.notebook)
        return _Recorded(exported["verdict"], notebook, values, opening.asked_at)
    executed = read_notebook(evidence)
    return _Recorded(_verdict_of(evidence, executed), executed, {}, opening.asked_at)


def _verdict_of(evidence: Path, executed: Mapping[str, Any]) -> dict[str, Any]:
    stored = evidence / VERDICT
    try:
        verdict = json.loads(stored.read_bytes()) if stored.is_file() else verdict_of(executed)
    except ValueError as error:
        raise InputError(f"{stored} is not JSON: {error}", hint="see `runbook verify`") from None
    if not isinstance(verdict, dict) or "alert" not in verdict:
        raise InputError(f"{evidence} holds no verdict", hint="name a bundle that `runbook run` wrote")
    _require_readable(verdict, evidence)
    return verdict


def _require_readable(verdict: Mapping[str, Any], evidence: Path) -> None:
    version = verdict.get("version")
    if type(version) is not int or not 1 <= version <= VERSION:
        raise InputError(
            f"{evidence} holds a verdict of version {version!r}",
            hint=f"this runbooklib replays verdicts of version 1 to {VERSION}; install a newer one",
        )


def _without_outputs(executed: Mapping[str, Any]) -> dict[str, Any]:
    cells = [
        {**cell, "outputs": [], "execution_count": None} if cell["cell_type"] == "code" else cell
        for cell in executed["cells"]
        if cell.get("id") != run_state.CELL_ID
    ]
    return {**executed, "cells": cells}


def _prepared(notebook: Mapping[str, Any], recorded: _Recorded) -> dict[str, Any]:
    """Another notebook with the cell that papermill injected into the recorded notebook."""
    injected = [cell for cell in recorded.notebook["cells"] if _is(cell, "injected-parameters")]
    cells = []
    for cell in notebook["cells"]:
        if not _is(cell, "injected-parameters"):
            cells.append(cell)
        if _is(cell, "parameters"):
            cells += injected
    return {**notebook, "cells": cells}


def _is(cell: Mapping[str, Any], tag: str) -> bool:
    return tag in cell["metadata"].get("tags", [])


def differences(recorded: Mapping[str, Any], replayed: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """(what, recorded, replayed) for each part in which two verdicts differ.

    Sentences are compared only between verdicts of the same version.
    """
    sentences = recorded.get("version") == replayed.get("version")
    before, after = (dict(_statements(verdict, sentences=sentences)) for verdict in (recorded, replayed))
    for name in dict.fromkeys((*before, *after)):
        if before.get(name) != after.get(name):
            yield name, before.get(name, "not asked"), after.get(name, "not asked")


def _statements(verdict: Mapping[str, Any], *, sentences: bool) -> Iterator[tuple[str, str]]:
    """(what, value) of each part of a verdict that is compared. Each `what` is unique."""
    yield "verdict", str(verdict.get("status", "none"))
    for name in ("alert", "service", "environment", "is_drill", "window", "onset"):
        yield name, str(verdict.get(name))
    yield from _findings("", verdict.get("symptoms", ()), sentences=sentences)
    yield "order of causes", ", ".join(cause["id"] for cause in verdict.get("causes", ()))
    for cause in verdict.get("causes", ()):
        points = f"{cause['points_for']} points for it, {cause['points_against']} against"
        yield cause["id"], f"{cause['rank']}: {points}"
        for side in ("for", "against", "missing", "not_counted"):
            yield from _findings(f"{cause['id']} {side} ", cause.get(side, ()), sentences=sentences)
    yield from _findings("unchanged ", verdict.get("unchanged", ()), sentences=sentences)
    yield from _findings("not checked ", verdict.get("not_checked", ()), sentences=sentences)


def _findings(
    prefix: str, findings: Sequence[Mapping[str, Any]], *, sentences: bool
) -> Iterator[tuple[str, str]]:
    """(what, value) of each finding; a check that was asked several times is numbered."""
    count: Counter[str] = Counter()
    for finding in findings:
        # A check may have been renamed since the recording.
        name, value = aliases().get(finding["check"], finding["check"]), finding["status"]
        if sentences:
            name, value = f"{name}: {finding['question']}", f"{value} {finding['says']}"
        count[name] += 1
        number = f" ({count[name]})" if count[name] > 1 else ""
        yield f"{prefix}{name}{number}", f"{value} since {finding['since']}" if finding["since"] else value
