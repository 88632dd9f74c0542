"""A notebook that somebody runs cell by cell, in any order and more than once, as a front end does it."""

import json
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from queue import Empty
from typing import Any

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

from runbooklib.evidence.verdict_json import FINDING_MIME

_SECONDS = 60
# A cell that makes the bar under the answer, and says what its first button is called by.
BAR = (
    "from functools import partial\n"
    "from runbooklib.notebook.controls import Bar\n"
    "from runbooklib.notebook.session import look_again\n"
    "bar = Bar(incident, partial(look_again, incident))\n"
    "print(bar.again.comm.comm_id)"
)


class ByHand:
    """The notebook: its cells by their ids, and a kernel. What a cell showed before goes when it is run."""

    def __init__(self, path: Path, cells: Mapping[str, str], environment: Mapping[str, str]) -> None:
        self.path = path
        self.environment = {**os.environ, **environment, "JPY_SESSION_NAME": str(path)}
        self.cells: dict[str, dict[str, Any]] = {}
        self._displays: list[tuple[str, dict[str, Any]]] = []
        # What was shown in the place of something else, as text, in its order.
        self.redrawn: list[str] = []
        for name, source in cells.items():
            self.add(name, source)
        self.start()

    def add(self, name: str, source: str) -> None:
        """One more cell; or another source of one that is there."""
        tags = ["parameters"] if name == "parameters" else []
        kept = self.cells.get(name, {"outputs": []})["outputs"]
        self.cells[name] = {
            "cell_type": "code",
            "id": name,
            "metadata": {"tags": tags},
            "source": source,
            "outputs": kept,
            "execution_count": None,
        }

    def start(self) -> None:
        """A kernel that knows nothing yet."""
        self._manager = KernelManager(kernel_name="python3")
        self._manager.start_kernel(env=self.environment)
        client = self._manager.client()
        assert isinstance(client, BlockingKernelClient)
        self._client = client
        self._client.start_channels()
        self._client.wait_for_ready(timeout=_SECONDS)

    def stop(self) -> None:
        """The kernel is gone; what it had shown is not."""
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=True)

    def run(self, *names: str) -> None:
        """Run these cells in this order; of none, all of them in theirs."""
        for name in names or tuple(self.cells):
            self._run(name)

    def tell(self, source: str) -> str:
        """What this says, run once in a cell that the notebook does not keep."""
        self.add("told", source)
        self._run("told")
        said = self.said("told")
        del self.cells["told"]
        return said

    def click(self, comm: str) -> None:
        """Click the button of that comm, and do not wait."""
        click = {"method": "custom", "content": {"event": "click"}}
        self._client.shell_channel.send(
            self._client.session.msg("comm_msg", {"comm_id": comm, "data": click})
        )

    def interrupt(self) -> None:
        """What the stop button does; also while a cell is run, from another thread."""
        provisioner: Any = self._manager.provisioner
        os.kill(provisioner.pid, signal.SIGINT)

    def _run(self, name: str) -> None:
        cell = self.cells[name]
        cell["outputs"] = []
        message = self._client.session.msg("execute_request", self._request(cell["source"]))
        message["metadata"] = {"cellId": name}
        self._client.shell_channel.send(message)
        parent = message["header"]["msg_id"]
        while True:
            try:
                published = self._client.get_iopub_msg(timeout=_SECONDS)
            except Empty:
                raise AssertionError(f"the cell {name} has not ended") from None
            kind, content = published["msg_type"], published["content"]
            if kind == "update_display_data":
                self._update(content)
            elif kind in ("display_data", "execute_result", "stream", "error"):
                self._show(cell, kind, content)
            is_own = published["parent_header"].get("msg_id") == parent
            if is_own and kind == "status" and content["execution_state"] == "idle":
                return

    def _request(self, source: str) -> dict[str, Any]:
        flags = {"silent": False, "store_history": True, "allow_stdin": False, "stop_on_error": True}
        return {"code": source, "user_expressions": {}, **flags}

    def _show(self, cell: dict[str, Any], kind: str, content: dict[str, Any]) -> None:
        output = {"output_type": kind, **content}
        display = output.pop("transient", {}).get("display_id")
        output.pop("execution_count", None)
        cell["outputs"].append(output)
        if display:
            self._displays.append((display, output))

    def _update(self, content: dict[str, Any]) -> None:
        self.redrawn.append(content["data"].get("text/plain", ""))
        for display, output in self._displays:
            if display == content["transient"]["display_id"]:
                output["data"] = content["data"]

    def save(self) -> Path:
        """Write the notebook as it stands."""
        spec = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
        cells = list(self.cells.values())
        notebook = {"nbformat": 4, "nbformat_minor": 5, "metadata": spec, "cells": cells}
        self.path.write_text(json.dumps(notebook))
        return self.path

    def said(self, name: str) -> str:
        """What the cell shows, as text."""
        outputs = self.cells[name]["outputs"]
        texts = [o.get("text") or o.get("evalue") or o.get("data", {}).get("text/plain", "") for o in outputs]
        return "\n".join(map(str, texts))

    def findings(self, name: str) -> list[dict[str, Any]]:
        """The findings in the cell's outputs."""
        data = [output.get("data", {}) for output in self.cells[name]["outputs"]]
        return [content[FINDING_MIME] for content in data if FINDING_MIME in content]


@contextmanager
def by_hand(path: Path, cells: Mapping[str, str], environment: Mapping[str, str]) -> Iterator[ByHand]:
    """The notebook, with its kernel until the end of the block."""
    notebook = ByHand(path, cells, environment)
    try:
        yield notebook
    finally:
        notebook.stop()
