"""The notebook on a site where nothing answers: named, and never OK.

That a service or a database refuses connections is an answer: it is down. Everything else is UNKNOWN.
"""

import json
from pathlib import Path

import pytest

from runbooklib.evidence.executed_notebook import verdict_of
from tests.support.running import DOWN, ROOT, Ended, command, errors, notebook

# The checks that answer where nothing listens at the database's address.
DATABASE_DOWN = {"database_answers", "service_login"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("environments")
    (folder / "down.yaml").write_text(DOWN)
    return {"RUNBOOK_ENVIRONMENTS": str(folder), "DOWN_PASSWORD": "hunter2-canary"}


@pytest.fixture(scope="module")
def ended(site: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Ended:
    output = tmp_path_factory.mktemp("evidence")
    return command(["runbook", "run", "HighErrorRate", "-e", "down", "--output", str(output), "--json"], site)


def test_no_runbook_calls_a_site_sound_where_nothing_answers(site: dict[str, str], tmp_path: Path) -> None:
    argv = ["runbook", "batch", "--all", "-e", "down", "--output", str(tmp_path), "--jobs", "2", "--json"]
    ended = command(argv, site, seconds=300)
    verdicts = json.loads(ended.out)
    assert len(verdicts) == 18
    for verdict in verdicts:
        alert = verdict["alert"]
        signs = {sign["check"] for cause in verdict["causes"] for sign in cause["for"]}
        assert signs <= DATABASE_DOWN, alert
        expected = "CRITICAL" if signs or alert == "ServiceDown" else "UNKNOWN"
        assert (verdict["status"], verdict["failure"]) == (expected, ""), alert
        said = [*verdict["symptoms"], *(s for c in verdict["causes"] for s in c["against"])]
        assert [one["check"] for one in said if one["status"] == "OK"] == [], alert
        supported = [cause["id"] for cause in verdict["causes"] if cause["rank"] != "cannot tell"]
        assert supported == (["database-unavailable"] if signs else []), alert
        assert errors(notebook(Path(verdict["bundle"]) / "notebook.ipynb")) == [], alert


def test_a_database_that_refuses_is_the_only_cause_and_the_alert_cannot_be_told(ended: Ended) -> None:
    assert ended.code == 1, ended.err
    assert ended.verdict["status"] == "CRITICAL"
    assert ended.verdict["headline"].startswith("The alert's own question has no answer.")
    assert "The database is down, or refuses the service" in ended.verdict["headline"]


def test_no_check_calls_a_dead_system_sound(ended: Ended) -> None:
    said = [*ended.verdict["symptoms"], *(s for c in ended.verdict["causes"] for s in c["against"])]
    assert [one for one in said if one["status"] == "OK"] == []
    supported = [cause["id"] for cause in ended.verdict["causes"] if cause["rank"] != "cannot tell"]
    assert supported == ["database-unavailable"]


def test_each_dead_system_is_named_with_its_address(ended: Ended) -> None:
    told = " ".join(one["says"] for one in ended.verdict["not_checked"])
    for named in ("prometheus at http://127.0.0.1:9", "alertmanager", "docker", "postgres", "git", "web at"):
        assert named in told


def test_evidence_has_no_error_output_no_secret_and_no_path_of_this_machine(ended: Ended) -> None:
    bundle = Path(ended.verdict["bundle"])
    executed = notebook(bundle / "notebook.ipynb")
    assert errors(executed) == []
    for file in bundle.iterdir():
        text = file.read_text()
        assert "hunter2-canary" not in text
        assert str(ROOT) not in text
        assert str(Path.home()) + "/" not in text


def test_plain_papermill_gives_the_same_verdict(site: dict[str, str], tmp_path: Path) -> None:
    out = tmp_path / "out.ipynb"
    ended = command(
        [
            "papermill",
            "notebooks/HighErrorRate.ipynb",
            str(out),
            *("-f", "parameters/HighErrorRate.yaml"),
            *("-p", "environment", "down"),
        ],
        site,
    )
    assert ended.code == 0, ended.err
    executed = notebook(out)
    assert errors(executed) == []
    verdict = verdict_of(executed)
    assert verdict is not None
    assert verdict["status"] == "CRITICAL"  # the database refuses connections


def test_plain_papermill_with_an_unknown_parameter_stops_and_offers_the_nearest(
    site: dict[str, str], tmp_path: Path
) -> None:
    out = tmp_path / "out.ipynb"
    argv = ["papermill", "notebooks/HighErrorRate.ipynb", str(out), "-p", "enviroment", "down"]
    ended = command([*argv, "-p", "environment", "down"], site)
    assert ended.code != 0
    assert "did you mean 'environment'?" in errors(notebook(out))[0]["evalue"]
