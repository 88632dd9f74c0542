"""The control bar of a notebook: service, window, look again, auto-refresh, seal. Needs ipywidgets.

It is shown in a notebook of a Jupyter server, not in a headless run. Elsewhere it is one line of text, and
evidence keeps only that line. The bar changes no system: the approval panel goes to the gate for that.
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

from runbooklib.config import site
from runbooklib.errors import EvidenceError, InputError, ParameterError, RunbookError, SourceError
from runbooklib.evidence import ledger
from runbooklib.evidence.executed_notebook import read_notebook, recording_of, verdict_of
from runbooklib.evidence.runs import evidence_folder
from runbooklib.evidence.verdict_json import canonical, verdict_as_dict
from runbooklib.execution.supervisor import is_inside_headless_run
from runbooklib.model.window import seconds_of
from runbooklib.notebook import resume
from runbooklib.notebook.approval_panel import Panel
from runbooklib.notebook.incident import Incident
from runbooklib.notebook.timeline import FIRES
from runbooklib.render.html import status_line
from runbooklib.render.sentences import headline, time
from runbooklib.sources.context import Context, Sources
from runbooklib.sources.tape import Tape
from runbooklib.text import filled

NOW, AT, AROUND = "now", "at", "around the alert's start"
_SPANS = ("5m", "15m", "30m", "1h", "3h", "6h", "24h")
_EVERY = (("off", 0), ("10 s", 10), ("30 s", 30), ("1 min", 60), ("5 min", 300))
_SEAL_SECONDS = 120
_SEAL_HINT = "runbook seal NOTEBOOK"
# After a page reload JupyterLab does not connect outputs with display ids, and saves only what it shows.
_RELOADED = "Page reloaded; outputs are not live. Run all cells."
_LOOKED = "Looked at {at} ({seconds:.1f} s): {status}, {headline}"
_LOOKED_RELOADED = "Looked at {at} ({seconds:.1f} s): {status}, {headline} " + _RELOADED
_INTERRUPTED = "Interrupted. Checks that did not run again are UNKNOWN. {status}, {headline}"
_FAILED = "Failed ({error}). Checks that did not run again are UNKNOWN. {status}, {headline}"
_REFRESH_INTERRUPTED = "Auto-refresh stopped. " + _INTERRUPTED
_REFRESH_FAILED = "Auto-refresh stopped. " + _FAILED
_REFRESH_NEEDS_NOW = "Auto-refresh needs a window that ends now."
_RESOLVED = "The alert is no longer firing; auto-refresh stopped."


class LookAgain(Protocol):
    """Runs all checks again; an empty `at` means now. Raises RunbookError."""

    def __call__(self, *, service: str, at: str, lookback: str) -> None:
        """Run all checks for that service and window."""


def line(context: Context) -> str:
    """The line of text that stands in for the bar."""
    window = f"{time(context.window.start)} to {time(context.window.end)}"
    return f"Controls: {context.target.service_name}, {window}. In JupyterLab this is a control bar."


def can_click() -> bool:
    """Whether a Jupyter server runs this notebook, so that a person can click; not in a headless run."""
    return resume.own_notebook() is not None and not is_inside_headless_run()


def show(incident: Incident, look_again: LookAgain) -> None:
    """Show the bar, or its line of text, in the cell's output."""
    from IPython.display import display

    shown: dict[str, Any] = {}
    if can_click():
        with contextlib.suppress(ImportError):  # without ipywidgets the line of text is shown alone
            shown = dict(Bar(incident, look_again).widget._repr_mimebundle_())
    display({**shown, "text/plain": line(incident.context)}, raw=True)


def span_of(mode: str, at: str, span: str, alert_start: datetime | None, now: datetime) -> tuple[str, str]:
    """(at, lookback) of a window that ends now or at `at`, or that is centred on the alert's start.

    Raises ParameterError if the alert has no known start time, and for `at` without a time.
    """
    if mode == NOW:
        return "", span
    if mode == AT:
        if not at.strip():
            raise ParameterError("`at` needs a time", hint='pass it like "2026-01-15T03:12:00Z"')
        return at.strip(), span
    if alert_start is None:
        raise ParameterError("the alert has no known start time", hint="pass the time as `at`")
    half = timedelta(seconds=seconds_of(span))
    start, end = alert_start - half, alert_start + half
    if end >= now:
        return "", f"{max((now - start).total_seconds(), 1):.0f}s"
    return end.isoformat(), f"{(end - start).total_seconds():.0f}s"


class Bar:
    """The control bar of one incident."""

    def __init__(self, incident: Incident, look_again: LookAgain) -> None:
        import ipywidgets

        self._incident, self._look_again = incident, look_again
        self._task: asyncio.Task[None] | None = None
        self._is_reloaded = False
        context = incident.context
        known = [context.target.service_name]
        with contextlib.suppress(RunbookError):  # a replay needs no settings
            known = list(dict.fromkeys([*known, *site.services(context.target.environment_name)]))
        narrow = ipywidgets.Layout(width="auto")
        self.service = ipywidgets.Dropdown(options=known, value=context.target.service_name, layout=narrow)
        self.mode = ipywidgets.Dropdown(
            options=(NOW, AT, AROUND), value=NOW if context.window.ends_now else AT, layout=narrow
        )
        self.at = ipywidgets.Text(
            value="" if context.window.ends_now else context.window.end.isoformat(),
            placeholder="2026-01-15T03:12:00Z",
            continuous_update=False,
            layout=ipywidgets.Layout(width="19em"),
        )
        own = f"{context.window.span_seconds:.0f}s"
        self.span = ipywidgets.Dropdown(
            options=(("as opened", own), *((span, span) for span in _SPANS)), value=own, layout=narrow
        )
        self.again = ipywidgets.Button(description="Look again", layout=narrow)
        self.every = ipywidgets.Dropdown(options=_EVERY, value=0, layout=narrow)
        self.sealing = ipywidgets.Button(description="Seal evidence", layout=narrow)
        self.says = ipywidgets.HTML(value=status_line(""))
        self.acting = Panel(incident, lambda: Path(self._seal_notebook()[0]), self.look)
        self.widget = self._arrange(ipywidgets)
        for field in (self.service, self.mode, self.at, self.span):
            field.observe(self._on_change, names="value")
        self.again.on_click(lambda _: self.look())
        self.every.observe(self._refresh, names="value")
        self.sealing.on_click(lambda _: self.seal())
        _on_reload(self._on_page_reload)

    def _arrange(self, widgets: Any) -> Any:
        """The widgets in rows. A description is an HTML label, which a screen reader reads with the field."""
        labels = {
            self.service: "Service",
            self.mode: "Window ends",
            self.at: "time",
            self.span: "lookback, or ±",
            self.every: "Refresh while it fires",
        }
        for field, name in labels.items():
            field.description, field.style.description_width = name, "initial"
        fields = [self.service, self.mode, self.at, self.span, self.again, self.every, self.sealing]
        row = widgets.Layout(flex_flow="row wrap", grid_gap="4px 12px")
        return widgets.VBox([widgets.HBox(fields, layout=row), self.says, self.acting.widget])

    def _on_change(self, change: Any) -> None:
        """Look again after a change; with mode `at`, only once a time is given."""
        if change["owner"] is self.mode and self.mode.value == AT and not self.at.value:
            self._say("Enter the time.")
            return
        if change["owner"] is self.at and self.mode.value != AT:
            return
        self.look()

    def _on_page_reload(self) -> None:
        self._is_reloaded = True
        self._say(_RELOADED)

    def look(self) -> bool:
        """Run all checks again; False if they could not run."""
        started = monotonic()
        self._say("Looking …")
        try:
            alert_start = self._alert_start() if self.mode.value == AROUND else None
            at, lookback = span_of(
                self.mode.value, self.at.value, self.span.value, alert_start, datetime.now(UTC)
            )
            self._look_again(service=self.service.value, at=at, lookback=lookback)
        except RunbookError as error:
            self._say(str(error))
            return False
        except BaseException as error:
            self._say(self._incomplete_message(error, _INTERRUPTED, _FAILED))
            raise
        verdict, took = self._incident.verdict, monotonic() - started
        template = _LOOKED_RELOADED if self._is_reloaded else _LOOKED
        at, status = time(datetime.now(UTC)), verdict.status.name
        self._say(filled(template, at=at, seconds=took, status=status, headline=headline(verdict)))
        return True

    def _incomplete_message(self, error: BaseException, interrupted: str, failed: str) -> str:
        """The sentence for checks that did not all run: one of two templates, with the verdict since."""
        verdict = self._incident.verdict
        message = self._incident.tape.redactor.text(f"{type(error).__name__}: {error}".removesuffix(": "))
        template = interrupted if isinstance(error, KeyboardInterrupt) else failed
        return filled(template, error=message, status=verdict.status.name, headline=headline(verdict))

    def _alert_start(self) -> datetime | None:
        """When the alert began to fire; if that is not known, when the symptom began."""
        fires = [at for at, word in self._incident.marks() if word == FIRES]
        return fires[-1] if fires else self._incident.context.onset

    def _refresh(self, change: Any) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None
        if change["new"]:
            self._task = asyncio.get_running_loop().create_task(self._keep_looking(change["new"]))

    async def _keep_looking(self, seconds: int) -> None:
        """Look again at each interval, until the alert stops firing or an error occurs."""
        try:
            message = await self._refresh_until_resolved(seconds)
        except asyncio.CancelledError:
            raise  # a person chose another interval, or none
        except BaseException as error:  # noqa: BLE001 - an exception in a task is not shown, or ends the kernel
            message = self._incomplete_message(error, _REFRESH_INTERRUPTED, _REFRESH_FAILED)
        self._stop_refresh(message)

    async def _refresh_until_resolved(self, seconds: int) -> str:
        """Look again until the refresh must stop; return the reason, empty if it is already shown."""
        while True:
            if self.mode.value != NOW:
                return _REFRESH_NEEDS_NOW
            if not self.look():
                return ""
            if not self._is_firing():
                return _RESOLVED
            await asyncio.sleep(seconds)

    def _stop_refresh(self, message: str) -> None:
        self._task = None
        self.every.value = 0
        if message:
            self._say(message)

    def _is_firing(self) -> bool:
        """Whether the alert fires. If Alertmanager does not answer, the alert counts as firing."""
        context, tape = self._incident.context, Tape(self._incident.tape.redactor)
        try:
            # Over a separate tape: this request is no check, and not part of the evidence.
            alerts = Sources(context.target, tape).alertmanager.alerts(context.alert)
            return any(context.is_ours(alert) for alert in alerts)
        except SourceError:
            return True

    def seal(self) -> None:
        """Seal the saved notebook, and show the path of the bundle."""
        self._say("Sealing …")
        try:
            bundle, head = self._seal_notebook()
        except RunbookError as error:
            self._say(str(error))
            return
        self._say(f"Sealed: {bundle} · head {head}")

    def _seal_notebook(self) -> tuple[str, str]:
        """(path of the bundle, head of the ledger). Raises InputError, EvidenceError."""
        notebook, folder = resume.own_notebook(), evidence_folder()
        if notebook is None or not notebook.is_file() or folder is None:
            raise InputError("cannot determine the file of this notebook", hint=_SEAL_HINT)
        self._require_saved(notebook)
        argv = [sys.executable, "-m", "runbooklib", "seal", str(notebook), "--output", str(folder)]
        try:
            ended = subprocess.run(argv, capture_output=True, text=True, timeout=_SEAL_SECONDS, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise EvidenceError(f"the notebook could not be sealed: {error}", hint=_SEAL_HINT) from None
        lines = [line for line in ended.stdout.splitlines() if line.startswith("Evidence: ")]
        if ended.returncode or not lines:
            last = (ended.stderr.strip().splitlines() or ["(no output)"])[-1]
            raise EvidenceError(f"the notebook could not be sealed: {last}", hint=_SEAL_HINT)
        bundle = Path(lines[-1].removeprefix("Evidence: ")).parent
        return str(bundle), ledger.head_of(bundle)

    def _require_saved(self, notebook: Path) -> None:
        """Raise InputError if the file lacks the current verdict, an answer or a note."""
        # Read the time before the content: a save between the two must not hide a missing output.
        saved_at = datetime.fromtimestamp(notebook.stat().st_mtime, UTC)
        saved = read_notebook(notebook)
        cells = {str(cell.get("id")) for cell in saved["cells"]}
        missing = self._incident.outputs.missing(recording_of(saved), cells, saved_at)
        now = canonical(verdict_as_dict(self._incident.verdict, self._incident.context))
        if not missing and canonical(verdict_of(saved)) == now:
            return
        # A page that was reloaded or cleared does not show these outputs, so saving it does not save them.
        is_not_shown = self._is_reloaded or any(place.is_before(saved_at) for place in missing)
        raise InputError(
            f"the file {notebook.name} does not hold all outputs of this session",
            hint="run all cells, save (Ctrl+S), then seal" if is_not_shown else "save (Ctrl+S), then seal",
        )

    def _say(self, message: str) -> None:
        self.says.value = status_line(message)


def _on_reload(call: Callable[[], None]) -> None:
    """Call `call` when a page asks the kernel for its widgets: the page was loaded after them."""
    import ipywidgets

    def opened(comm: Any, message: Any) -> None:
        ipywidgets.Widget.handle_control_comm_opened(comm, message)
        call()

    ipywidgets.comm.get_comm_manager().register_target("jupyter.widget.control", opened)
