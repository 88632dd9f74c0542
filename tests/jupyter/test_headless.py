"""Where a headless run of the alert is in the evidence, the link opens a copy of it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from runbooklib.evidence import manifest
from runbooklib.evidence.verdict_json import VERDICT_MIME
from tests.support.jupyter_server import Served, led_to, links_in, page, sections
from tests.support.running import command, errors, notebook, outputs


def ended(bundle: Path) -> datetime:
    verdict = json.loads((bundle / "verdict.json").read_text())
    return datetime.fromisoformat(verdict["window"]["end"])


def link_of(bundle: Path, *, seconds: float = 20, alert: str = "HighErrorRate", more: str = "") -> str:
    """The link of an alert that began so many seconds before the run looked."""
    began = ended(bundle) - timedelta(seconds=seconds)
    return f"alertname={alert}&starts_at={began:%Y-%m-%dT%H:%M:%SZ}{more}"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_link_opens_a_copy_of_the_run_with_run_again_beside_it(served: Served, bundle: Path) -> None:
    sealed = contents(bundle)
    path = led_to(served, served.open(link_of(bundle)))
    assert path.name == f"{bundle.name}.ipynb"
    assert path.parent.parent == served.root / "incidents"
    cells = notebook(path)["cells"]
    assert cells[0]["cell_type"] == "markdown"
    assert "[Run again with current data](HighErrorRate.ipynb)" in cells[0]["source"]
    executed = notebook(bundle / "notebook.ipynb")["cells"]
    assert [c["source"] for c in cells[1:]] == [c["source"] for c in executed]
    assert any(c.get("outputs") for c in cells)
    again = notebook(path.parent / "HighErrorRate.ipynb")["cells"]
    assert not any(c.get("outputs") for c in again)
    path.write_text("somebody digs on")
    assert contents(bundle) == sealed
    assert manifest.verify_folder(bundle.parent) == []
    assert path.stat().st_ino != (bundle / "notebook.ipynb").stat().st_ino
    assert led_to(served, served.open(link_of(bundle))) == path
    assert path.read_text() == "somebody digs on"


def test_the_notebook_that_somebody_began_to_run_goes_before_the_copy(served: Served, bundle: Path) -> None:
    link = link_of(bundle, seconds=21)
    copy = led_to(served, served.open(link))
    own = copy.parent / "HighErrorRate.ipynb"
    begun = notebook(own)
    begun["cells"][1]["execution_count"] = 1
    own.write_text(json.dumps(begun))
    assert led_to(served, served.open(link)) == own


def test_a_run_of_another_time_service_environment_or_alert_is_not_shown(
    served: Served, bundle: Path
) -> None:
    for link in (
        link_of(bundle, seconds=2 * 3600),
        link_of(bundle, seconds=-600),
        link_of(bundle, more="&service=shop"),
        link_of(bundle, seconds=22, more="&environment=lab"),
        link_of(bundle, alert="MediumErrorRate"),
    ):
        path = led_to(served, served.open(link))
        assert path.name in ("HighErrorRate.ipynb", "MediumErrorRate.ipynb"), link


@contextmanager
def changed(file: Path) -> Iterator[None]:
    """Somebody makes the evidence say OK, for a while."""
    sealed = file.read_bytes()
    assert b"UNKNOWN" in sealed
    try:
        file.write_bytes(sealed.replace(b"UNKNOWN", b"OK", 1))
        yield
    finally:
        file.write_bytes(sealed)


@pytest.mark.usefixtures("alertmanager")
def test_a_verdict_that_was_changed_is_not_listed_as_evidence(served: Served, bundle: Path) -> None:
    with changed(bundle / "verdict.json"):
        found = sections(page(served).text)
        assert links_in(found["runs"]) == []
        assert f"{bundle.name} is not as it was sealed" in found["not-checked"]
        shown = page(served, path=f"/evidence/{bundle.name}")
    assert shown.status_code == 500
    assert "verdict.json: was changed" in shown.text


def test_a_run_whose_evidence_was_changed_is_not_shown(served: Served, bundle: Path) -> None:
    with changed(bundle / "notebook.ipynb"):
        path = led_to(served, served.open(link_of(bundle, seconds=23)))
    assert path.name == "HighErrorRate.ipynb"
    assert led_to(served, served.open(link_of(bundle, seconds=23))).name == f"{bundle.name}.ipynb"


def test_the_prepared_notebook_runs_as_it_is_from_its_own_folder(served: Served, bundle: Path) -> None:
    link = link_of(bundle, seconds=7200)  # so that no headless run is shown in its place
    path = led_to(served, served.open(link))
    environment = {**served.environment, "RUNBOOK_HOME": str(served.root)}
    ended = command(["papermill", str(path), str(path), "--cwd", str(path.parent)], environment)
    assert ended.code == 0, ended.err
    (verdict, *_) = [
        output["data"][VERDICT_MIME]
        for output in outputs(notebook(path))
        if VERDICT_MIME in output.get("data", {})
    ]
    assert (verdict["environment"], verdict["service"]) == ("site", "backend")
    assert errors(notebook(path)) == []
