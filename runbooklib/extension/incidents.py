"""The incident's folder and its notebook: prepared and never executed, once for each alert that began.

`incidents/<UTC start>-<Alert>-<service>/<Alert>.ipynb` below the server's root is the runbook with its
parameters set, as papermill sets them. Where a headless run of the alert is in the evidence, a copy of its
notebook lies beside it. What is there is never overwritten, and evidence is only read.
"""

import json
import math
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

from runbooklib import folders, history, notebookfile, runbooks, settings
from runbooklib.errors import EvidenceError, InputError, SettingsError, SourceError
from runbooklib.evidence import read_notebook
from runbooklib.extension import firing, runs
from runbooklib.extension.link import ENVIRONMENT, SERVICE, Link, given
from runbooklib.folders import Workplace, write_new
from runbooklib.parameters import Value
from runbooklib.runbooks import Runbook
from runbooklib.window import seconds_of

FOLDER = "incidents"
_STAMP = "%Y%m%dT%H%M%SZ"
# Whoever clicks twice means the same incident, where nobody can say when it began.
_SAME_WITHIN = timedelta(hours=1)
# An alert that began before that is over, unless Alertmanager says that it still fires.
_LIVE_WITHIN = timedelta(days=1)
_MOST_FOLDERS = 100


@dataclass(frozen=True, slots=True)
class Incident:
    """What the folder is for."""

    runbook: Runbook
    values: Mapping[str, Value]
    starts_at: datetime

    @property
    def environment(self) -> str:
        """The environment that is asked."""
        return self._full(ENVIRONMENT)

    @property
    def service(self) -> str:
        """The service that is looked at."""
        return self._full(SERVICE)

    def _full(self, name: str) -> str:
        return str(self.values.get(name) or self.runbook.declared[name].default)

    @property
    def told(self) -> dict[str, str]:
        """What the notebook's metadata say of it."""
        began = self.starts_at.isoformat()
        return {
            "alert": self.runbook.alert,
            "environment": self.environment,
            "service": self.service,
            "starts_at": began,
        }


def prepare(link: Link, root: Path, now: datetime) -> str:
    """Prepare what the link asks for; the path of the notebook to open, below `root`, with `/`.

    Raises InputError for what cannot be meant, and EvidenceError where nothing can be written.
    """
    incident = _incident(link, root, now)
    try:
        return _prepared(incident, root)
    except OSError as error:
        raise EvidenceError(
            f"{FOLDER}/ cannot be written: {error.strerror}", remedy="see the server's root folder"
        ) from None


def _incident(link: Link, root: Path, now: datetime) -> Incident:
    runbook = runbooks.find(link.alert)
    chosen = {ENVIRONMENT: os.environ.get(firing.ENVIRONMENT_VARIABLE, ""), **given(runbook, link)}
    values = runbooks.chosen(runbook, {name: value for name, value in chosen.items() if value})
    incident = Incident(runbook, values, link.starts_at or now)
    if link.starts_at is None:
        incident = _begun(incident, link, root, now)
    return Incident(runbook, {**values, **_window(incident, link, now)}, incident.starts_at)


def _begun(incident: Incident, link: Link, root: Path, now: datetime) -> Incident:
    """The same, since when it fires by Alertmanager; else as it was opened last within the hour, else now."""
    began = _since(incident, link)
    if began is None:
        began = max(_opened(incident, root, now), default=now.replace(microsecond=0))
    return Incident(incident.runbook, incident.values, began)


def _since(incident: Incident, link: Link) -> datetime | None:
    """Since when it fires; None where it does not, or where nobody can say."""
    try:
        found = firing.meant(incident.environment, link.alert, link.labels)
    except (SourceError, InputError):
        return None
    began = [alert.starts_at for alert in found if alert.starts_at]
    return min(began).replace(microsecond=0) if began else None


def _opened(incident: Incident, root: Path, now: datetime) -> Iterator[datetime]:
    """When the incidents of the last hour began that have a folder of this alert and service."""
    end = _folder(incident).partition("-")[2]
    for path in root.glob(f"{FOLDER}/*"):
        stamp, _, rest = path.name.partition("-")
        try:
            began = datetime.strptime(stamp, _STAMP).replace(tzinfo=UTC)
        except ValueError:
            continue
        if rest == end and now - _SAME_WITHIN <= began <= now and _is_of(path, incident):
            yield began


def _window(incident: Incident, link: Link, now: datetime) -> dict[str, Value]:
    """The parameters of the window, so that it holds the alert's beginning; what is set already stays.

    Of an alert that fires the window ends now. Of one that began more than a day ago, and of which
    Alertmanager knows nothing any more, it ends soon after the beginning.
    """
    declared = incident.runbook.declared
    if not {"at", "lookback"} <= declared.keys() or any(incident.values.get(n) for n in ("at", "lookback")):
        return {}
    timing = settings.read_target(incident.environment, incident.service).timing
    usual, elapsed = seconds_of(timing.lookback), now - incident.starts_at
    if elapsed <= _LIVE_WITHIN:
        needed = elapsed.total_seconds() + timing.lead_seconds
        return {"lookback": f"{math.ceil(needed / 60)}m"} if needed > usual else {}
    if _fires(incident, link) is not False:
        return {}
    return {"at": f"{incident.starts_at + timedelta(seconds=usual / 2):%Y-%m-%dT%H:%M:%SZ}"}


def _fires(incident: Incident, link: Link) -> bool | None:
    try:
        return bool(firing.meant(incident.environment, link.alert, link.labels))
    except (SourceError, InputError):
        return None


def _folder(incident: Incident) -> str:
    names = (_named(incident.runbook.alert), _named(incident.service))
    return f"{incident.starts_at:{_STAMP}}-{'-'.join(names)}"


def _named(name: str) -> str:
    """A name of ours as part of a file's: none leads elsewhere, and no two become one."""
    return quote(name, safe=" ")


def _prepared(incident: Incident, root: Path) -> str:
    """The notebook to open: the one that was worked in, else the copy of a headless run, else the new one."""
    root = root.resolve()
    folder, name = _free(incident, root), f"{_named(incident.runbook.alert)}.ipynb"
    _add(root, folder, name, lambda: _notebook(incident))
    if _is_worked_in(root / FOLDER / folder / name):
        return f"{FOLDER}/{folder}/{name}"
    return f"{FOLDER}/{folder}/{_copied(incident, root, folder, name) or name}"


def _free(incident: Incident, root: Path) -> str:
    """The incident's folder; with a number where another environment's has that name already."""
    name = _folder(incident)
    for number in range(1, _MOST_FOLDERS):
        folder = name if number == 1 else f"{name}-{number}"
        path = root / FOLDER / folder
        if not path.exists() or _is_of(path, incident):
            return folder
    raise EvidenceError(f"there are {_MOST_FOLDERS} folders {FOLDER}/{name}", remedy="remove some")


def _is_of(folder: Path, incident: Incident) -> bool:
    """Whether the folder is this environment's. One whose notebook is gone or says nothing of it is."""
    try:
        notebook = notebookfile.read(folder / f"{_named(incident.runbook.alert)}.ipynb")
        told = notebook["metadata"]["runbook"]["incident"][ENVIRONMENT]
    except (SettingsError, KeyError, TypeError):
        return True
    return bool(told == incident.environment)


def _add(root: Path, folder: str, name: str, make: Callable[[], Mapping[str, Any]]) -> None:
    """Put a notebook there, whole or not at all, unless one is there. Raises OSError."""
    if (root / FOLDER / folder / name).exists():
        return
    text = json.dumps(make(), indent=1, ensure_ascii=False) + "\n"
    os.close(folders.opened(root / FOLDER / folder))
    place = Workplace(root / FOLDER, folder, is_there=True)
    work = place.folder / f".{secrets.token_hex(8)}"
    try:
        write_new(work, text.encode("utf-8"))
        os.link(work, place.folder / name, follow_symlinks=False)
    except FileExistsError:
        pass  # another click was faster
    finally:
        work.unlink(missing_ok=True)
        place.close()


def _notebook(incident: Incident) -> Mapping[str, Any]:
    """The runbook with its parameters set, as papermill sets them, and not executed."""
    import papermill  # only once something is prepared

    # Papermill formats paths with the parameters; a name with braces in it is a name.
    path = str(incident.runbook.notebook).replace("{", "{{").replace("}", "}}")
    notebook = papermill.execute_notebook(path, None, dict(incident.values), prepare_only=True)
    notebook.metadata.papermill["input_path"] = incident.runbook.notebook.name
    _mark(notebook.metadata, {"incident": incident.told})
    told: dict[str, Any] = json.loads(json.dumps(notebook))
    return told


def _mark(metadata: Any, told: Mapping[str, Any]) -> None:
    former = metadata.get("runbook")
    metadata["runbook"] = {**(former if isinstance(former, dict) else {}), **told}


def _is_worked_in(path: Path) -> bool:
    """Whether somebody ran a cell of it. One that cannot be read is left to who made it so."""
    try:
        cells = notebookfile.read(path)["cells"]
    except SettingsError:
        return True
    return any(cell.get("outputs") or cell.get("execution_count") for cell in cells)


def _copied(incident: Incident, root: Path, folder: str, name: str) -> str | None:
    """The name of the copy of a headless run; None where there is none."""
    there = sorted(path.name for path in (root / FOLDER / folder).glob("2*Z-*.ipynb"))
    if there:
        return there[0]
    about = incident.runbook.alert, incident.service, incident.environment
    bundle = runs.headless(history.evidence_place(), *about, incident.starts_at)
    if bundle is None:
        return None
    copy = f"{bundle.name}.ipynb"
    try:
        _add(root, folder, copy, lambda: _copy(bundle, name))
    except InputError:
        return None
    return copy


def _copy(bundle: Path, name: str) -> Mapping[str, Any]:
    """The executed notebook, with a cell on top that says what it is and leads to the one to run."""
    notebook = read_notebook(bundle)
    cell = {"cell_type": "markdown", "metadata": {}, "source": _about(bundle.name, name)}
    if notebook.get("nbformat_minor", 0) >= 5:
        cell["id"] = "copy-of-evidence"
    notebook["cells"].insert(0, cell)
    _mark(notebook.setdefault("metadata", {}), {"copy_of": bundle.name})
    return notebook


def _about(bundle: str, notebook: str) -> str:
    """What the copy is. A bundle's name is letters, digits and `_.-`: nothing that a system said."""
    return (
        f"**This ran before you came.** It is a copy of the evidence `{bundle}`, which stays as it is: here\n"
        f"you may dig on.\n\n**[Run again, as it is now]({quote(notebook)})**: the same runbook, not run yet."
    )
