"""Relative paths in the server's environment mean the same folder to the server and to each kernel."""

import time
from pathlib import Path

from tests.support.alertmanagers import FakeAlertmanager
from tests.support.jupyter_server import (
    TOKEN,
    Served,
    began,
    environment_file,
    home,
    led_to,
    logged_in,
    query,
    serving,
)

RELATIVE = {
    "RUNBOOK_HOME": "../root",
    "RUNBOOK_EVIDENCE": "kept/evidence",
    "RUNBOOK_ENVIRONMENTS": "../environments:more",
    "RUNBOOK_SPOOL": "kept/spool",
    "RUNBOOK_SIGNING_KEY": "kept/key",
}


def kernel_of(served: Served, notebook: Path) -> dict[str, str]:
    """The environment of a kernel that the server starts for the notebook, and where it works."""
    asked = {"path": str(notebook.relative_to(served.root)), "name": notebook.name, "type": "notebook"}
    session = logged_in(served)
    session.headers["Authorization"] = f"token {TOKEN}"
    body = {**asked, "kernel": {"name": "python3"}}
    answer = session.post(f"{served.address}/api/sessions", json=body, timeout=60)
    assert answer.status_code == 201, answer.text
    mark, ends_at = f"JPY_SESSION_NAME={notebook}".encode(), time.monotonic() + 30
    while time.monotonic() < ends_at:
        for process in Path("/proc").glob("[0-9]*"):
            try:
                told = (process / "environ").read_bytes().split(b"\0")
                place = str((process / "cwd").readlink())
            except OSError:
                continue
            if mark in told:
                pairs = (one.decode().partition("=") for one in told)
                return {"cwd": place, **{name: value for name, _, value in pairs}}
        time.sleep(0.1)
    raise AssertionError("no kernel was started")


def test_a_kernel_in_an_incidents_folder_has_the_servers_own_paths(
    tmp_path: Path, answering: tuple[str, FakeAlertmanager]
) -> None:
    root = home(tmp_path / "root")
    environment_file(tmp_path / "environments", answering[0], "backend")
    with serving(root, {**RELATIVE, "RUNBOOK_ENVIRONMENT": "site"}) as served:
        path = led_to(served, served.open(query(began(2), alert="HighErrorRate")))
        found = kernel_of(served, path)
    assert found["cwd"] == str(path.parent)
    for name, told in RELATIVE.items():
        assert found[name].split(":") == [str(root / one) for one in told.split(":")]
