"""The runbooks that there are, and the parameters that a run of one may have.

Nothing heavy is imported here: what is refused must be refused at once.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runbooklib import parameters, settings
from runbooklib.errors import ParameterError, SettingsError, UnknownAlertError, suggestion
from runbooklib.parameters import Declared, Value
from runbooklib.window import moment_of, seconds_of
from runbooklib.yamlfile import read_mapping


@dataclass(frozen=True, slots=True)
class Runbook:
    """One runbook: its alert's name, its notebook and what the notebook's parameters cell declares."""

    alert: str
    notebook: Path
    title: str
    declared: Mapping[str, Declared]


def alerts() -> list[str]:
    """The names of all alerts that have a runbook."""
    return sorted(path.stem for path in (settings.home() / "notebooks").glob("*.ipynb"))


def find(alert: str) -> Runbook:
    """The alert's runbook. Raises UnknownAlertError, or SettingsError for a bad notebook."""
    known = alerts()
    if alert not in known:
        raise UnknownAlertError(f"there is no runbook for {alert!r}", remedy=suggestion(alert, known))
    path = settings.home() / "notebooks" / f"{alert}.ipynb"
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    except (OSError, ValueError, KeyError) as error:
        raise SettingsError(f"notebooks/{alert}.ipynb cannot be read: {error}") from None
    tagged = [cell for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
    if len(tagged) != 1:
        raise SettingsError(
            f"notebooks/{alert}.ipynb needs one cell tagged `parameters`, and has {len(tagged)}",
            remedy="tag the cell that declares them",
        )
    heading = next((_source(cell) for cell in cells if cell["cell_type"] == "markdown"), alert)
    title = heading.splitlines()[0].lstrip("# ").strip()
    return Runbook(alert, path, title, parameters.declared(_source(tagged[0])))


def _source(cell: Mapping[str, Any]) -> str:
    return "".join(cell["source"])


def chosen(runbook: Runbook, given: Mapping[str, str]) -> dict[str, Value]:
    """The parameters of a run: parameters/<Alert>.yaml, then what the caller gave as text.

    Everything that can be wrong is refused here, before a kernel starts: names, types, environment,
    service, secrets, times. Raises the InputError that says so.
    """
    shown = f"parameters/{runbook.alert}.yaml"
    path = settings.home() / shown
    stored = read_mapping(path, shown) if path.exists() else {}
    values = parameters.typed(runbook.declared, stored, shown)
    values |= parameters.from_text(runbook.declared, given, "-p")
    full = {name: one.default for name, one in runbook.declared.items()} | values
    for needed in ("environment", "service"):
        if not isinstance(full.get(needed), str) or not full[needed]:
            raise ParameterError(f"{needed} is not given", remedy=f"add -p {needed}=…")
    settings.secrets_of(settings.read_target(str(full["environment"]), str(full["service"])))
    if full.get("at"):
        moment_of(str(full["at"]))
    if full.get("lookback"):
        seconds_of(str(full["lookback"]))
    return values
