"""An old incident again, from its recording: the same notebook, or today's, with no system asked."""

import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from runbooklib import parameters, runbooks, unfinished, variables
from runbooklib.errors import InputError
from runbooklib.evidence import VERDICT, Bundle, read_export, read_notebook, read_recording, verdict_of
from runbooklib.report import canonical
from runbooklib.runner import OnFinding, Run, execute
from runbooklib.tape import OPENING


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
    evidence: Path,
    output: Path,
    *,
    notebook: Path | None = None,
    on_finding: OnFinding | None = None,
    chromium: str = "",
) -> Replay:
    """Replay the evidence (a bundle or an executed notebook), with its own notebook or another.

    The result is a bundle under `output`. Raises InputError for evidence without a recording.
    """
    then = _recorded(evidence)
    name = f"replay-{then.verdict['alert']}"
    bundle = Bundle(output, name, then.verdict["service"], then.opened_at, chromium)
    about = {"kind": "replay", "alert": then.verdict["alert"], "of": evidence.name}
    with tempfile.TemporaryDirectory(prefix="runbook-") as folder:
        path = Path(folder) / "replay.ipynb"
        source = _prepared(read_notebook(notebook), then) if notebook else then.notebook
        path.write_text(json.dumps(_without_outputs(source)), encoding="utf-8")
        run = execute(
            path,
            bundle,
            about,
            values=then.parameters,
            on_finding=on_finding,
            kernel_environment={variables.REPLAY: str(evidence.absolute())},
        )
    return Replay(run, then.verdict, tuple(_differences(then.verdict, run.verdict or {})))


@dataclass(frozen=True, slots=True)
class _Recorded:
    """What was recorded: the verdict of then, its notebook, and the parameters still to be injected."""

    verdict: dict[str, Any]
    notebook: dict[str, Any]
    parameters: dict[str, Any]
    opened_at: datetime


def _recorded(evidence: Path) -> _Recorded:
    exported = read_export(evidence)
    opening = next((entry for entry in read_recording(evidence) if entry.source == OPENING), None)
    if opening is None:
        raise InputError(f"{evidence} holds no recording", remedy="only what was recorded can be replayed")
    if exported:
        runbook = runbooks.find(exported["alert"])
        # A recording is data: no name in it may become code in our own notebook.
        values = parameters.typed(runbook.declared, exported["parameters"], evidence.name)
        notebook = read_notebook(runbook.notebook)
        return _Recorded(exported["verdict"], notebook, values, opening.asked_at)
    executed = read_notebook(evidence)
    return _Recorded(_verdict_of(evidence, executed), executed, {}, opening.asked_at)


def _verdict_of(evidence: Path, executed: Mapping[str, Any]) -> dict[str, Any]:
    stored = evidence / VERDICT
    try:
        found = json.loads(stored.read_bytes()) if stored.is_file() else verdict_of(executed)
    except ValueError as error:
        raise InputError(f"{stored} is no JSON: {error}", remedy="see `runbook verify`") from None
    if not isinstance(found, dict) or "alert" not in found:
        raise InputError(f"{evidence} holds no verdict", remedy="name a bundle that `runbook run` wrote")
    return found


def _without_outputs(executed: Mapping[str, Any]) -> dict[str, Any]:
    cells = [
        {**cell, "outputs": [], "execution_count": None} if cell["cell_type"] == "code" else cell
        for cell in executed["cells"]
        if cell.get("id") != unfinished.CELL_ID
    ]
    return {**executed, "cells": cells}


def _prepared(notebook: Mapping[str, Any], then: _Recorded) -> dict[str, Any]:
    """Another notebook with the cell that papermill injected into the recorded one."""
    injected = [cell for cell in then.notebook["cells"] if _is(cell, "injected-parameters")]
    cells = []
    for cell in notebook["cells"]:
        if not _is(cell, "injected-parameters"):
            cells.append(cell)
        if _is(cell, "parameters"):
            cells += injected
    return {**notebook, "cells": cells}


def _is(cell: Mapping[str, Any], tag: str) -> bool:
    return tag in cell["metadata"].get("tags", [])


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
