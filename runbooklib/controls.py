"""A bar to look again with: service, window, refresh while the alert fires, seal. Widgets of ipywidgets.

It is shown where somebody can click: in a notebook of a Jupyter server, and not within a headless run.
Elsewhere it is one line of text, which is also all that evidence keeps of it. Nothing here changes a system:
for that, `approvals` goes to the gate.
"""

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any, Protocol

from runbooklib import ledger, resumption, settings
from runbooklib.approvals import Panel
from runbooklib.descent import is_within_a_run
from runbooklib.errors import EvidenceError, InputError, ParameterError, RunbookError, SourceError
from runbooklib.evidence import read_notebook, recording_of, verdict_of
from runbooklib.history import evidence_folder
from runbooklib.incident import Incident
from runbooklib.render.html import status_line
from runbooklib.render.sentences import headline, time
from runbooklib.report import canonical, verdict_as_dict
from runbooklib.scene import Scene, Sources
from runbooklib.tape import Tape
from runbooklib.timeline import FIRES
from runbooklib.window import seconds_of

NOW, AT, AROUND = "now", "at", "around the alert's start"
_SPANS = ("5m", "15m", "30m", "1h", "3h", "6h", "24h")
_EVERY = (("off", 0), ("10 s", 10), ("30 s", 30), ("1 min", 60), ("5 min", 300))
_SEAL_SECONDS = 120
# JupyterLab forgets which output is which when a page is loaded, and saves no outputs but what it shows.
_LOADED_ANEW = "This page was loaded anew; its cells show what was saved. Run all cells, and they move again."


class LookAgain(Protocol):
    """Asks everything again; `at` empty is now. Raises RunbookError."""

    def __call__(self, *, service: str, at: str, lookback: str) -> None:
        """Of that service, at that time."""


def line(scene: Scene) -> str:
    """What the bar says where there is none."""
    window = f"{time(scene.window.start)} to {time(scene.window.end)}"
    return f"Controls: {scene.target.service_name}, {window}. In JupyterLab this is a bar to click."


def can_click() -> bool:
    """Whether somebody sees this notebook in a browser: a server runs it, and no headless run does."""
    return resumption.own_notebook() is not None and not is_within_a_run()


def show(incident: Incident, look_again: LookAgain) -> None:
    """Show the bar in the cell's output, or the line."""
    from IPython.display import display

    shown: dict[str, Any] = {}
    if can_click():
        with contextlib.suppress(ImportError):  # without ipywidgets the line says all
            shown = dict(Bar(incident, look_again).widget._repr_mimebundle_())
    display({**shown, "text/plain": line(incident.scene)}, raw=True)


def span_of(mode: str, at: str, span: str, began: datetime | None, now: datetime) -> tuple[str, str]:
    """(at, lookback) of a window: until now, until `at`, or as long before as after the alert began.

    Raises ParameterError where nobody knows when it began, and for `at` without a time.
    """
    if mode == NOW:
        return "", span
    if mode == AT:
        if not at.strip():
            raise ParameterError("at needs a time", remedy='write it like "2026-01-15T03:12:00Z"')
        return at.strip(), span
    if began is None:
        raise ParameterError("nobody knows when the alert began", remedy="give the time by `at`")
    half = timedelta(seconds=seconds_of(span))
    start, end = began - half, began + half
    if end >= now:
        return "", f"{max((now - start).total_seconds(), 1):.0f}s"
    return end.isoformat(), f"{(end - start).total_seconds():.0f}s"


class Bar:
    """The bar of one incident."""

    def __init__(self, incident: Incident, look_again: LookAgain) -> None:
        import ipywidgets

        self._incident, self._look_again = incident, look_again
        self._task: asyncio.Task[None] | None = None
        self._is_loaded_anew = False
        scene = incident.scene
        known = [scene.target.service_name]
        with contextlib.suppress(RunbookError):  # a replay needs no settings
            known = list(dict.fromkeys([*known, *settings.services(scene.target.environment_name)]))
        narrow = ipywidgets.Layout(width="auto")
        self.service = ipywidgets.Dropdown(options=known, value=scene.target.service_name, layout=narrow)
        self.mode = ipywidgets.Dropdown(
            options=(NOW, AT, AROUND), value=NOW if scene.window.ends_now else AT, layout=narrow
        )
        self.at = ipywidgets.Text(
            value="" if scene.window.ends_now else scene.window.end.isoformat(),
            placeholder="2026-01-15T03:12:00Z",
            continuous_update=False,
            layout=ipywidgets.Layout(width="19em"),
        )
        own = f"{scene.window.span_seconds:.0f}s"
        self.span = ipywidgets.Dropdown(
            options=(("as opened", own), *((one, one) for one in _SPANS)), value=own, layout=narrow
        )
        self.again = ipywidgets.Button(description="Look again", layout=narrow)
        self.every = ipywidgets.Dropdown(options=_EVERY, value=0, layout=narrow)
        self.sealing = ipywidgets.Button(description="Seal evidence", layout=narrow)
        self.says = ipywidgets.HTML(value=status_line(""))
        self.acting = Panel(incident, lambda: Path(self._sealed()[0]), self.look)
        self.widget = self._laid_out(ipywidgets)
        for asked in (self.service, self.mode, self.at, self.span):
            asked.observe(self._changed, names="value")
        self.again.on_click(lambda _: self.look())
        self.every.observe(self._refresh, names="value")
        self.sealing.on_click(lambda _: self.seal())
        _when_loaded_anew(self._loaded_anew)

    def _laid_out(self, widgets: Any) -> Any:
        """The bar in lines. A description is a label in HTML, which a screen reader tells with the field."""
        named = {
            self.service: "Service",
            self.mode: "Window ends",
            self.at: "time",
            self.span: "looks back, or ±",
            self.every: "Refresh while it fires",
        }
        for field, name in named.items():
            field.description, field.style.description_width = name, "initial"
        fields = [self.service, self.mode, self.at, self.span, self.again, self.every, self.sealing]
        wrapped = widgets.Layout(flex_flow="row wrap", grid_gap="4px 12px")
        return widgets.VBox([widgets.HBox(fields, layout=wrapped), self.says, self.acting.widget])

    def _changed(self, change: Any) -> None:
        """Whoever chooses `at` has still to say when."""
        if change["owner"] is self.mode and self.mode.value == AT and not self.at.value:
            self._say("Give the time.")
            return
        if change["owner"] is self.at and self.mode.value != AT:
            return
        self.look()

    def _loaded_anew(self) -> None:
        self._is_loaded_anew = True
        self._say(_LOADED_ANEW)

    def look(self) -> bool:
        """Ask everything again; whether that could be done."""
        started = monotonic()
        self._say("Looking …")
        try:
            began = self._began() if self.mode.value == AROUND else None
            at, lookback = span_of(self.mode.value, self.at.value, self.span.value, began, datetime.now(UTC))
            self._look_again(service=self.service.value, at=at, lookback=lookback)
        except RunbookError as error:
            self._say(str(error))
            return False
        except BaseException as error:
            self._say(self._broken_off(error))
            raise
        verdict, took = self._incident.verdict, monotonic() - started
        looked = f"Looked at {time(datetime.now(UTC))} ({took:.1f} s)"
        told = f"{looked}: {verdict.status.name}, {headline(verdict)}"
        self._say(f"{told} {_LOADED_ANEW}" if self._is_loaded_anew else told)
        return True

    def _broken_off(self, error: BaseException) -> str:
        """What was in the way, and what the answer is since."""
        told = self._incident.tape.redactor.text(f"{type(error).__name__}: {error}".removesuffix(": "))
        why = "Interrupted" if isinstance(error, KeyboardInterrupt) else f"This failed ({told})"
        verdict = self._incident.verdict
        return f"{why}. What was not asked again is UNKNOWN. {verdict.status.name}, {headline(verdict)}"

    def _began(self) -> datetime | None:
        """When the alert began to fire, else when the symptom began."""
        fires = [at for at, word in self._incident.marks() if word == FIRES]
        return fires[-1] if fires else self._incident.scene.onset

    def _refresh(self, change: Any) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None
        if change["new"]:
            self._task = asyncio.get_running_loop().create_task(self._keep_looking(change["new"]))

    async def _keep_looking(self, seconds: int) -> None:
        """Look again and again, until the alert fires no more, or something is in the way."""
        try:
            told = await self._looked_until_over(seconds)
        except asyncio.CancelledError:
            raise  # somebody chose another time between two looks, or none
        except BaseException as error:  # noqa: BLE001 - raised in a task it is seen by nobody, or ends the kernel
            told = f"Refreshing has ended. {self._broken_off(error)}"
        self._end_refreshing(told)

    async def _looked_until_over(self, seconds: int) -> str:
        """Look until it is over; why it is. Empty: that stands there already."""
        while True:
            if self.mode.value != NOW:
                return "Refreshing is for a window that ends now."
            if not self.look():
                return ""
            if not self._is_firing():
                return "The alert fires no more: refreshing has ended."
            await asyncio.sleep(seconds)

    def _end_refreshing(self, told: str) -> None:
        self._task = None
        self.every.value = 0
        if told:
            self._say(told)

    def _is_firing(self) -> bool:
        """Whether the alert fires; where nobody says so, nobody says that it is over."""
        scene, tape = self._incident.scene, Tape(self._incident.tape.redactor)
        try:
            # Over a tape of its own: nobody's question, and no part of the evidence.
            found = Sources(scene.target, tape).alertmanager.alerts(scene.alert)
            return any(scene.is_ours(one) for one in found)
        except SourceError:
            return True

    def seal(self) -> None:
        """Seal the notebook as it is saved, and say where."""
        self._say("Sealing …")
        try:
            bundle, head = self._sealed()
        except RunbookError as error:
            self._say(str(error))
            return
        self._say(f"Sealed: {bundle} · head {head}")

    def _sealed(self) -> tuple[str, str]:
        """(the bundle, the ledger's head). Raises InputError, EvidenceError."""
        notebook, folder = resumption.own_notebook(), evidence_folder()
        if notebook is None or not notebook.is_file() or folder is None:
            raise InputError("this notebook's file is not known", remedy="runbook seal NOTEBOOK")
        self._need_saved(notebook)
        argv = [sys.executable, "-m", "runbooklib", "seal", str(notebook), "--output", str(folder)]
        try:
            ended = subprocess.run(argv, capture_output=True, text=True, timeout=_SEAL_SECONDS, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise EvidenceError(f"it could not be sealed: {error}", remedy="runbook seal NOTEBOOK") from None
        told = [one for one in ended.stdout.splitlines() if one.startswith("Evidence: ")]
        if ended.returncode or not told:
            last = (ended.stderr.strip().splitlines() or ["nothing was said"])[-1]
            raise EvidenceError(f"it could not be sealed: {last}", remedy="runbook seal NOTEBOOK")
        bundle = Path(told[-1].removeprefix("Evidence: ")).parent
        return str(bundle), ledger.head_of(bundle)

    def _need_saved(self, notebook: Path) -> None:
        """Raises InputError where the file does not hold the answer, or not all that was asked and noted."""
        # Its time comes first: what is saved from now on is no reason to miss nothing.
        saved_at = datetime.fromtimestamp(notebook.stat().st_mtime, UTC)
        saved = read_notebook(notebook)
        cells = {str(cell.get("id")) for cell in saved["cells"]}
        missing = self._incident.places.missing(recording_of(saved), cells, saved_at)
        now = canonical(verdict_as_dict(self._incident.verdict, self._incident.scene))
        if not missing and canonical(verdict_of(saved)) == now:
            return
        # Saving what the page does not show, since it was loaded anew or somebody cleared it, saves nothing.
        is_not_shown = self._is_loaded_anew or any(place.is_before(saved_at) for place in missing)
        first = "run all cells, then " if is_not_shown else ""
        raise InputError(
            f"{notebook.name} is not saved as it stands here", remedy=f"{first}save it (Ctrl+S), then seal"
        )

    def _say(self, told: str) -> None:
        self.says.value = status_line(told)


def _when_loaded_anew(told: Callable[[], None]) -> None:
    """Call it when a page asks the kernel for its widgets: it was loaded after they were made."""
    import ipywidgets

    def opened(comm: Any, message: Any) -> None:
        ipywidgets.Widget.handle_control_comm_opened(comm, message)
        told()

    ipywidgets.comm.get_comm_manager().register_target("jupyter.widget.control", opened)
