"""The gate that the notebook's panel starts outlives an interrupt of the kernel."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

ASKS = """
import signal, sys
from runbooklib.notebook.approval_panel import _run_gate
signal.signal(signal.SIGINT, signal.default_int_handler)
print(_run_gate(["sh", "-c", sys.argv[1]]))
"""


def until(path: Path) -> None:
    end = time.monotonic() + 40
    while not path.exists():
        assert time.monotonic() < end, f"{path.name} never came"
        time.sleep(0.05)


def test_an_interrupted_notebook_leaves_the_gate_running(tmp_path: Path) -> None:
    """Jupyter interrupts the kernel's whole process group."""
    gate = f"touch {tmp_path}/intent; sleep 8; touch {tmp_path}/outcome"
    argv = [sys.executable, "-c", ASKS, gate]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, start_new_session=True) as kernel:
        until(tmp_path / "intent")
        os.killpg(kernel.pid, signal.SIGINT)
        told, _ = kernel.communicate(timeout=40)
        assert not (tmp_path / "outcome").exists()
    assert told.startswith(
        "This cell was interrupted. The action continues; see its outcome with `runbook actions`."
    )
    until(tmp_path / "outcome")
