"""The available runbooks, and the parameters of a run.

A notebook serves the alert of its own name, or the alerts that its metadata lists: alerts on several levels
of one signal share a notebook, and each has its own parameters/<Alert>.yaml. It has no heavy imports,
so that wrong input is refused at once.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from runbooklib.config import notebook_file, parameters, site
from runbooklib.config.notebook_file import source
from runbooklib.config.parameters import Declared, Value
from runbooklib.config.yaml_file import read_mapping
from runbooklib.errors import ParameterError, SettingsError, UnknownAlertError, suggestion
from runbooklib.model.window import moment_of, seconds_of
from runbooklib.text import quoted

# In a notebook that serves several alerts, this parameter names the alert of the run.
ALERT = "alert"


@dataclass(frozen=True, slots=True)
class Runbook:
    """One runbook: its alert's name, its notebook and what the notebook's parameters cell declares."""

    alert: str
    notebook: Path
    title: str
    declared: Mapping[str, Declared]


def alerts() -> list[str]:
    """The names of all alerts that have a runbook."""
    return sorted(_notebooks())


def find(alert: str) -> Runbook:
    """The alert's runbook. Raises UnknownAlertError, or SettingsError for a bad notebook."""
    known = _notebooks()
    if alert not in known:
        raise UnknownAlertError(
            f"there is no runbook for {quoted(alert)}", hint=suggestion(alert, sorted(known))
        )
    path = known[alert]
    cells = notebook_file.read(path)["cells"]
    parameter_cells = [cell for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
    if len(parameter_cells) != 1:
        raise SettingsError(
            f"notebooks/{path.name} needs one cell tagged `parameters`, but has {len(parameter_cells)}",
            hint="tag only the cell that declares the parameters",
        )
    heading = next((source(cell) for cell in cells if cell["cell_type"] == "markdown"), alert)
    names, _, title = heading.splitlines()[0].lstrip("# ").strip().partition(": ")
    return Runbook(alert, path, title or names, parameters.parse_declarations(source(parameter_cells[0])))


def _notebooks() -> dict[str, Path]:
    """Each alert's notebook. Raises SettingsError if two notebooks serve the same alert."""
    notebooks: dict[str, Path] = {}
    for path in sorted((site.home() / "notebooks").glob("*.ipynb")):
        for alert in served_alerts(path):
            if alert in notebooks:
                raise SettingsError(
                    f"notebooks/{path.name} and notebooks/{notebooks[alert].name} both serve {alert}",
                    hint="remove it from `metadata.runbook.alerts` of one of them",
                )
            notebooks[alert] = path
    return notebooks


def served_alerts(path: Path) -> tuple[str, ...]:
    """The alerts that a notebook serves: those in its metadata, else the alert of its own name.

    A notebook that cannot be read serves the alert of its own name; a run of it reports the error.
    """
    try:
        listed = notebook_file.read(path)["metadata"]["runbook"]["alerts"]
    except (SettingsError, KeyError, TypeError):
        return (path.stem,)
    return tuple(str(alert) for alert in listed) if isinstance(listed, list) and listed else (path.stem,)


def chosen(runbook: Runbook, texts: Mapping[str, str]) -> dict[str, Value]:
    """The parameters of a run: parameters/<Alert>.yaml, then what the caller gave as text.

    Names, types, environment, service and times are checked here, before a kernel starts.
    Raises InputError.
    """
    file_name = f"parameters/{runbook.alert}.yaml"
    path = site.home() / file_name
    file_values = read_mapping(path, file_name) if path.exists() else {}
    values = parameters.check_types(runbook.declared, file_values, file_name)
    values |= parameters.from_text(runbook.declared, texts, "-p")
    parameters.refuse_missing(runbook.declared, values, runbook.alert)
    full = {name: parameter.default for name, parameter in runbook.declared.items()} | values
    if full.get(ALERT, runbook.alert) != runbook.alert:
        where = "-p" if ALERT in texts else file_name
        raise ParameterError(
            f"{where}: {ALERT} is {full[ALERT]!r}, but this is a run of {runbook.alert}",
            hint=f"set {ALERT} to {runbook.alert!r}, or run the runbook of the other alert",
        )
    _require_service(full)
    site.read_target(str(full["environment"]), str(full["service"]))
    if full.get("at"):
        moment_of(str(full["at"]))
    if full.get("lookback"):
        seconds_of(str(full["lookback"]))
    return values


def _require_service(full: Mapping[str, Value | None]) -> None:
    """Raise ParameterError without an environment or a service; the hint lists the known ones."""
    for needed in ("environment", "service"):
        if isinstance(full.get(needed), str) and full[needed]:
            continue
        known = site.environments() if needed == "environment" else site.services(str(full["environment"]))
        raise ParameterError(
            f"{needed} is required",
            hint=f"add --{needed} NAME; known names: {', '.join(known) or 'none'}",
        )
