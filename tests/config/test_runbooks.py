"""Which runbook serves which alert: its own, or one that it shares with alerts of the same signal."""

import json
from pathlib import Path

import pytest

from runbooklib.config import runbooks
from runbooklib.errors import ParameterError, SettingsError, UnknownAlertError
from tests.support import small

SHARED = {"HighErrorRate": ("MediumErrorRate",), "HighLatency": ("VeryHighLatency",)}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in small.home(tmp_path).items():
        monkeypatch.setenv(name, value)
    return tmp_path


def serve(home: Path, stem: str, *alerts: str) -> None:
    """A notebook of that name that serves these alerts."""
    small.write(
        home, stem, more_parameters='alert: str = "First"  # which of them\nlimit: float = 1.0  # a limit\n'
    )
    path = home / "notebooks" / f"{stem}.ipynb"
    notebook = json.loads(path.read_text())
    notebook["metadata"]["runbook"] = {"alerts": list(alerts)}
    path.write_text(json.dumps(notebook))
    for alert in alerts:
        (home / "parameters" / f"{alert}.yaml").write_text(f"alert: {alert}\n")


def test_all_18_alerts_have_a_runbook_and_degrees_of_one_signal_share_it() -> None:
    alerts = runbooks.alerts()
    assert len(alerts) == 18
    found = {alert: runbooks.find(alert).notebook.stem for alert in alerts}
    shared = {other: first for first, others in SHARED.items() for other in others}
    assert found == {alert: shared.get(alert, alert) for alert in alerts}


@pytest.mark.parametrize("alert", ["HighErrorRate", "MediumErrorRate", "HighLatency", "VeryHighLatency"])
def test_each_of_them_runs_by_its_own_name_and_with_its_own_limits(alert: str) -> None:
    values = runbooks.chosen(runbooks.find(alert), {"environment": "lab"})
    assert values["alert"] == alert
    limit = {"HighErrorRate": 0.05, "MediumErrorRate": 0.01, "HighLatency": 0.5, "VeryHighLatency": 2.0}[
        alert
    ]
    assert limit in values.values()


def test_a_notebook_serves_the_alerts_of_its_metadata(home: Path) -> None:
    serve(home, "Both", "First", "Second")
    assert runbooks.alerts() == ["First", "Second", "Small"]
    assert runbooks.find("Second").notebook.name == "Both.ipynb"
    with pytest.raises(UnknownAlertError):
        runbooks.find("Both")


def test_two_notebooks_for_one_alert_are_refused_by_name(home: Path) -> None:
    serve(home, "Both", "First", "Small")
    with pytest.raises(SettingsError, match=r"Both\.ipynb.*Small\.ipynb|Small\.ipynb.*Both\.ipynb"):
        runbooks.alerts()


def test_a_run_of_one_alert_cannot_be_given_the_name_of_another(home: Path) -> None:
    serve(home, "Both", "First", "Second")
    runbook = runbooks.find("Second")
    assert runbooks.chosen(runbook, {})["alert"] == "Second"
    with pytest.raises(ParameterError, match="-p: alert is 'First', but this is a run of Second"):
        runbooks.chosen(runbook, {"alert": "First"})
    (home / "parameters" / "Second.yaml").unlink()
    with pytest.raises(ParameterError, match=r"Second\.yaml: alert is 'First', but this is a run of Second"):
        runbooks.chosen(runbook, {})


def test_a_title_keeps_its_colons_and_one_without_is_the_heading(home: Path) -> None:
    path = home / "notebooks" / "Small.ipynb"
    plain = path.read_text()
    path.write_text(plain.replace("# Small: a small runbook", "# Small: disk: nearly full"))
    assert runbooks.find("Small").title == "disk: nearly full"
    path.write_text(plain.replace("# Small: a small runbook", "# Small"))
    assert runbooks.find("Small").title == "Small"
