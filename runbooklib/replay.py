"""An old incident again, from its recording: the same notebook, or today's, with no system asked."""

import json
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from runbooklib import settings
from runbooklib.errors import InputError
from runbooklib.evidence import VERDICT, Bundle, read_notebook, recording_of, verdict_of
from runbooklib.incident import OPENING
from runbooklib.report import canonical
from runbooklib.runner import OnFinding, Run, execute
from runbooklib.session import REPLAY_VARIABLE


@dataclass(frozen=True, slots=True)
class Replay:
    """A replay: its own run, the verdict of then, and which findings differ (then, now)."""

    run: Run
    recorded: dict[str, Any]
    changed: tuple[tuple[str, str, str], ...]

    @property
    def is_identical(self) -> bool:
        """Whether the verdict is the recorded one to the byte."""
        return self.run.verdict is not None and canonical(self.run.verdict) == canonical(self.recorded)


def replay(
    evidence: Path, output: Path, *, notebook: Path | None = None, on_finding: OnFinding | None = None
) -> Replay:
    """Replay the evidence (a bundle or an executed notebook), with its own notebook or another.

    The result is a bundle under `output`. Raises InputError for evidence without a recording.
    """
    started = time.monotonic()
    executed = read_notebook(evidence)
    recorded, opened_at = _verdict_of(evidence, executed), _opened_at(executed)
    source = _prepared(read_notebook(notebook), executed) if notebook else _without_outputs(executed)
    bundle = Bundle(output, f"replay-{recorded['alert']}", recorded["service"], opened_at)
    try:
        with tempfile.TemporaryDirectory(prefix="runbook-") as folder:
            path = Path(folder) / "replay.ipynb"
            path.write_text(json.dumps(source), encoding="utf-8")
            where = evidence / "notebook.ipynb" if evidence.is_dir() else evidence
            again = {REPLAY_VARIABLE: str(where.absolute())}
            played, failure = execute(
                path, bundle.notebook_path, on_finding=on_finding, kernel_environment=again
            )
    except BaseException:
        bundle.abandon()
        raise
    about = {"kind": "replay", "alert": recorded["alert"], "of": evidence.name, "failure": failure}
    final = bundle.finish(played, about, settings.home_or_here())
    verdict = verdict_of(read_notebook(final))
    run = Run(final, verdict, failure, time.monotonic() - started)
    return Replay(run, recorded, tuple(_differences(recorded, verdict or {})))


def _verdict_of(evidence: Path, executed: Mapping[str, Any]) -> dict[str, Any]:
    stored = evidence / VERDICT
    try:
        found = json.loads(stored.read_bytes()) if stored.is_file() else verdict_of(executed)
    except ValueError as error:
        raise InputError(f"{stored} is no JSON: {error}", remedy="see `runbook verify`") from None
    if not isinstance(found, dict) or "alert" not in found:
        raise InputError(f"{evidence} holds no verdict", remedy="name a bundle that `runbook run` wrote")
    return found


def _opened_at(executed: Mapping[str, Any]) -> datetime:
    opening = next((entry for entry in recording_of(executed) if entry.source == OPENING), None)
    if opening is None:
        raise InputError("the notebook holds no recording", remedy="only what was recorded can be replayed")
    return opening.asked_at


def _without_outputs(executed: Mapping[str, Any]) -> dict[str, Any]:
    cells = [
        {**cell, "outputs": [], "execution_count": None} if cell["cell_type"] == "code" else cell
        for cell in executed["cells"]
    ]
    return {**executed, "cells": cells}


def _prepared(notebook: Mapping[str, Any], executed: Mapping[str, Any]) -> dict[str, Any]:
    """Another notebook with the cell that papermill injected into the recorded one."""
    injected = [c for c in executed["cells"] if "injected-parameters" in c["metadata"].get("tags", [])]
    cells = []
    for cell in _without_outputs(notebook)["cells"]:
        if "injected-parameters" not in cell["metadata"].get("tags", []):
            cells.append(cell)
        if "parameters" in cell["metadata"].get("tags", []):
            cells += _without_outputs({"cells": injected})["cells"]
    return {**notebook, "cells": cells}


def _differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """(what, then, now) of everything that the two verdicts do not say alike."""
    before, after = dict(_said(then)), dict(_said(now))
    for name in dict.fromkeys((*before, *after)):
        if before.get(name) != after.get(name):
            yield name, before.get(name, "not asked"), after.get(name, "not asked")


def _said(verdict: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "verdict", str(verdict.get("status", "none"))
    for finding in verdict.get("symptoms", ()):
        yield f"{finding['check']}: {finding['question']}", f"{finding['status']} {finding['says']}"
    for cause in verdict.get("causes", ()):
        yield cause["id"], cause["rank"]
        for sign in (*cause["for"], *cause["against"], *cause["missing"]):
            yield f"{cause['id']} {sign['check']}: {sign['question']}", f"{sign['status']} {sign['says']}"
