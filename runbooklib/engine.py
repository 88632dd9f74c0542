"""Our papermill engine: papermill's own client, and a word for each finding while it runs."""

import os
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NBClientEngine
from traitlets import Any as AnyTrait
from traitlets.config import Config

from runbooklib.report import FINDING_MIME

OnFinding = Callable[[dict[str, Any], float], None]


class _Client(PapermillNotebookClient):  # type: ignore[misc]
    """Tells `on_finding` of each finding, and how long it took since the one before (seconds)."""

    on_finding = AnyTrait(default_value=None, allow_none=True)
    _last = 0.0

    def process_message(self, message: dict[str, Any], *rest: Any) -> Any:
        data = message.get("content", {}).get("data", {}) if message["msg_type"] == "display_data" else {}
        if self.on_finding is not None and FINDING_MIME in data:
            now = time.monotonic()
            self.on_finding(data[FINDING_MIME], now - self._last if self._last else 0.0)
            self._last = now
        return super().process_message(message, *rest)


class RunbookEngine(NBClientEngine):  # type: ignore[misc]
    """`papermill --engine runbook`."""

    @classmethod
    def execute_managed_notebook(
        cls,
        nb_man: Any,
        kernel_name: str,
        *,
        start_timeout: int = 60,
        execution_timeout: int | None = None,
        on_finding: OnFinding | None = None,
        kernel_environment: Mapping[str, str] | None = None,
        **_: Any,
    ) -> Any:
        """Run the cells; `on_finding(finding, seconds)` is called for each finding as it comes."""
        # Sockets in a folder of our own and not TCP ports, which every user of this machine could talk to.
        with tempfile.TemporaryDirectory(prefix="runbook-") as folder:
            ipc = {"transport": "ipc", "connection_file": str(Path(folder) / "kernel.json")}
            client = _Client(
                nb_man,
                kernel_name=kernel_name,
                timeout=execution_timeout,
                startup_timeout=start_timeout,
                on_finding=on_finding,
                config=Config({"KernelManager": ipc}),
            )
            return client.execute(env={**os.environ, **(kernel_environment or {})})
