"""Run the steps of a notebook in order, and report each event to a witness.

This is papermill's client with limited output sizes, the deadlines of `Watch`, and a status for each step.
"""

import asyncio
import hashlib
import json
import time
from contextlib import suppress
from queue import Empty
from typing import Any, Protocol

from jupyter_core.utils import run_sync
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionComplete, CellExecutionError, DeadKernelError
from nbformat import NotebookNode
from papermill.clientwrap import PapermillNotebookClient
from traitlets import Any as AnyTrait

from runbooklib.config.site_secrets import environment_secrets
from runbooklib.evidence.sanitize import cleaned_text
from runbooklib.evidence.verdict_json import FINDING_MIME
from runbooklib.execution import limits
from runbooklib.execution.limits import Lines, Stream
from runbooklib.execution.run_state import StepStatus, status_of
from runbooklib.redact.redactor import Redactor

_POLL_SECONDS = 0.1
BEAT_SECONDS = 1.0


class RunObserver(Protocol):
    """Receives the events of a run as they happen. `place` is the index of an output in its cell."""

    def shown(self, cell: int, place: int, output: dict[str, Any]) -> None:
        """An output is new, or its content changed."""

    def continued(self, cell: int, place: int, text: str) -> None:
        """A stream has more text."""

    def cleared(self, cell: int) -> None:
        """The cell's outputs were cleared."""

    def beat(self, cell: int, seconds: float) -> None:
        """The step has been running for `seconds`."""


class Client(PapermillNotebookClient):  # type: ignore[misc] # papermill is untyped
    """Runs the steps. It reports their begin and end to `nb_man`, and their outputs to `witness`."""

    witness = AnyTrait()
    watch = AnyTrait()
    on_finding = AnyTrait(default_value=None, allow_none=True)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._streams: dict[tuple[int, int], Stream] = {}
        self._changed: dict[tuple[int, int], None] = {}
        self._begun: set[tuple[int, int]] = set()
        self._surplus = 0
        self._is_ready = False
        self._began_at = self._beaten_at = self._found_at = 0.0
        self._lines, self._redactor = Lines(), Redactor(environment_secrets())
        self.nb_man.update_streams = self.write_streams

    def start_new_kernel_client(self, **kwargs: Any) -> Any:
        """Connect to the kernel that was started, and put it under the watch."""
        self.watch.keep(self.km.provisioner.process)
        client = super().start_new_kernel_client(**kwargs)
        self._is_ready = True
        return client

    async def _async_cleanup_kernel(self) -> None:
        """Ask a running kernel to shut down; after a grace period kill it and all its descendants."""
        if self._is_ready and not self.watch.is_over:
            self.kc.shutdown()
            self.watch.wait_for_end()
        self.watch.let_go()
        await super()._async_cleanup_kernel()

    _cleanup_kernel = run_sync(_async_cleanup_kernel)

    def papermill_execute_cells(self) -> None:
        """Run the steps until one fails. Raises DeadKernelError if the kernel ended."""
        for index, cell in enumerate(self.nb.cells):
            if cell.cell_type != "code":
                continue
            if self.watch.is_over:
                raise DeadKernelError(self.watch.cause)
            self.nb_man.cell_start(cell, index)
            status, cause, can_go_on = self._run(index, cell)
            self._report(index, is_last=True)
            self.nb_man.step_ended(index, status, cause)
            if not can_go_on:
                if status is StepStatus.INTERRUPTED:
                    raise DeadKernelError(cause)
                break

    def _run(self, index: int, cell: NotebookNode) -> tuple[StepStatus, str, bool]:
        """Run a step. Returns its status, the cause, and whether the next step can run."""
        self._began_at = self._beaten_at = time.monotonic()
        self._surplus = 0
        self.watch.begin()
        try:
            self.execute_cell(cell, index)
        except CellExecutionError as error:
            if self.watch.cause or error.ename == "KeyboardInterrupt":  # and the kernel still runs
                return StepStatus.INTERRUPTED, self.watch.cause or "interrupted", not self.watch.is_over
            return StepStatus.UNKNOWN, f"{error.ename}: {error.evalue}", False
        except DeadKernelError:
            self._read_pending_messages(cell, index)
            return StepStatus.INTERRUPTED, self.watch.cause_of_death(), False
        finally:
            self.watch.end()
            for name, piece in self._lines.rest():
                self._log_stream(name, piece)
        return status_of(cell.outputs), "", True

    async def _async_read_pending_messages(self, cell: NotebookNode, index: int) -> None:
        """Process the messages that the kernel sent before it died."""
        with suppress(Empty, CellExecutionComplete):
            while True:
                message = await self.kc.iopub_channel.get_msg(timeout=_POLL_SECONDS)
                self.process_message(message, cell, index)

    _read_pending_messages = run_sync(_async_read_pending_messages)

    async def _async_poll_kernel_alive(self) -> None:
        """Poll every 0.1 s, where nbclient polls every second."""
        while True:
            await asyncio.sleep(_POLL_SECONDS)
            now = time.monotonic()
            if now - self._beaten_at >= BEAT_SECONDS:
                self._beaten_at = now
                self._report(self._running, is_last=False)
                self.witness.beat(self._running, now - self._began_at)
            if not await self.km.is_alive():
                if self.task_poll_for_reply is not None:
                    self.task_poll_for_reply.cancel()
                return

    @property
    def _running(self) -> int:
        return int(self.nb_man.running)

    def process_message(self, message: dict[str, Any], cell: NotebookNode, cell_index: int) -> Any:
        """Report a finding as soon as it arrives."""
        data = message.get("content", {}).get("data", {}) if message["msg_type"] == "display_data" else {}
        if self.on_finding is not None and FINDING_MIME in data:
            now = time.monotonic()
            self.on_finding(data[FINDING_MIME], now - self._found_at if self._found_at else 0.0)
            self._found_at = now
        # Papermill's own method logs outputs, but not what continues a stream: `_log` does both.
        output = NotebookClient.process_message(self, message, cell, cell_index)
        self.nb_man.autosave_cell()
        self._log(message)
        return output

    def _log(self, message: dict[str, Any]) -> None:
        """Write an output to papermill's log and to its files for stdout and stderr, without secrets."""
        content, kind = message.get("content", {}), message["msg_type"]
        if kind == "stream" and (piece := self._lines.add(content["name"], content["text"])):
            self._log_stream(content["name"], piece)
        elif kind in ("display_data", "execute_result") and "text/plain" in content.get("data", {}):
            text = cleaned_text(str(content["data"]["text/plain"]), self._redactor)
            self.log_output_message(NotebookNode(output_type=kind, data={"text/plain": text}))

    def _log_stream(self, name: str, piece: str) -> None:
        text = cleaned_text(piece, self._redactor)
        self.log_output_message(NotebookNode(output_type="stream", name=name, text=text))

    async def _check_raise_for_error(
        self, cell: NotebookNode, cell_index: int, exec_reply: dict[str, Any] | None
    ) -> None:
        """Raise CellExecutionError unless the kernel replied that it ran the cell ("ok")."""
        await super()._check_raise_for_error(cell, cell_index, exec_reply)
        status = exec_reply["content"].get("status") if exec_reply else None
        if status not in ("ok", "error"):
            words = f"the kernel replied {status!r}" if status else "the kernel sent no reply"
            raise CellExecutionError("", "NotExecuted", words)

    def write_streams(self) -> None:
        """Write the text of the streams that still grow into the notebook."""
        for (cell_index, place), stream in self._streams.items():
            self.nb.cells[cell_index].outputs[place]["text"] = stream.text

    def output(
        self, outs: list[NotebookNode], msg: dict[str, Any], display_id: str | None, cell_index: int
    ) -> NotebookNode | None:
        """Keep an output; replace one that is too large by its size and digest."""
        is_cleared = self.clear_before_next_output
        is_stream = msg["msg_type"] == "stream"
        if is_stream and not is_cleared and self._continue(outs, msg["content"], cell_index):
            return None
        if len(outs) >= limits.MAX_OUTPUTS:
            self._surplus += 1
            return None
        if not is_stream:
            _bound(msg["content"])
        text = msg["content"]["text"] if is_stream else ""
        before = len(outs)
        out: NotebookNode | None = super().output(outs, msg, display_id, cell_index)
        if is_cleared:
            self._discard_outputs(cell_index)
        if len(outs) != before or is_cleared:
            place = len(outs) - 1
            self._changed[cell_index, place] = None
            if out is not None and is_stream:
                stream = self._streams[cell_index, place] = Stream()
                stream.add(text)
                out["text"] = ""
        return out

    def _continue(self, outs: list[NotebookNode], content: dict[str, Any], cell_index: int) -> bool:
        """Add to the last stream of that name, if at most the other stream stands after it."""
        for place in range(len(outs) - 1, max(len(outs) - 3, -1), -1):
            if outs[place].output_type != "stream":
                return False
            if outs[place]["name"] == content["name"]:
                self._streams[cell_index, place].add(content["text"])
                self._changed[cell_index, place] = None
                return True
        return False

    def _update_display_id(self, display_id: str, msg: dict[str, Any]) -> None:
        _bound(msg["content"])
        super()._update_display_id(display_id, msg)
        for cell_index, places in self._display_id_map.get(display_id, {}).items():
            self._changed.update({(cell_index, place): None for place in places})

    def clear_output(self, outs: list[NotebookNode], msg: dict[str, Any], cell_index: int) -> None:
        """Clear the outputs of the cell."""
        super().clear_output(outs, msg, cell_index)
        if not outs:
            self._discard_outputs(cell_index)

    def _discard_outputs(self, cell_index: int) -> None:
        self._streams = {key: stream for key, stream in self._streams.items() if key[0] != cell_index}
        self._changed = {key: None for key in self._changed if key[0] != cell_index}
        self._begun = {key for key in self._begun if key[0] != cell_index}
        self.witness.cleared(cell_index)

    def _report(self, running: int, *, is_last: bool) -> None:
        """Report all changes to the witness, in order. At the end of a step, report the whole streams."""
        changed, self._changed = self._changed, {}
        if is_last:
            self._note_surplus(running, changed)
            changed.update({key: None for key in self._streams if key[0] == running})
        for key in changed:
            output = self.nb.cells[key[0]].outputs[key[1]]
            stream = self._streams.get(key)
            if stream is None:
                self.witness.shown(*key, dict(output))
            elif is_last:
                self._report_end(key, output, stream)
            else:
                self._report_piece(key, output, stream)

    def _report_piece(self, key: tuple[int, int], output: NotebookNode, stream: Stream) -> None:
        if key not in self._begun:
            self._begun.add(key)
            self.witness.shown(*key, {**output, "text": ""})
        if piece := stream.take_settled():
            self.witness.continued(*key, piece)

    def _report_end(self, key: tuple[int, int], output: NotebookNode, stream: Stream) -> None:
        output["text"] = stream.text
        if key in self._begun and stream.is_short:
            self.witness.continued(*key, stream.take_settled(is_last=True))
        else:
            self.witness.shown(*key, dict(output))
        del self._streams[key]

    def _note_surplus(self, running: int, changed: dict[tuple[int, int], None]) -> None:
        if self._surplus:
            notice = f"[runbook: truncated: {self._surplus:,} more outputs of this step are left out]\n"
            outs = self.nb.cells[running].outputs
            changed[running, len(outs)] = None
            outs.append(NotebookNode(output_type="stream", name="stderr", text=notice))


def _bound(content: dict[str, Any]) -> None:
    """Replace the data of an output that is too large by its size and digest."""
    size = sum(len(value) if isinstance(value, str) else 0 for value in content.get("data", {}).values())
    if size > limits.MAX_OUTPUT_BYTES:
        whole = json.dumps(content["data"], sort_keys=True).encode()
        digest = hashlib.sha256(whole).hexdigest()
        notice = f"[runbook: truncated: an output of {len(whole):,} bytes is left out; sha256 {digest}]"
        content["data"] = {"text/plain": notice}
