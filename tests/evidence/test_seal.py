"""Evidence of a notebook that plain papermill executed: the same as of a run."""

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from runbooklib.evidence.executed_notebook import recording_of, verdict_of
from runbooklib.evidence.verdict_json import canonical
from runbooklib.sources.tape import OPENING
from tests.support.running import ROOT, Ended, command, notebook
from tests.support.site import running_site


@dataclass(frozen=True)
class Sealed:
    """The executed notebook, and the bundle that was made of it."""

    executed: Path
    bundle: Path
    ended: Ended

    @property
    def manifest(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads((self.bundle / "manifest.json").read_text())
        return told


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Sealed:
    folder = tmp_path_factory.mktemp("sealed")
    executed = folder / "out.ipynb"
    with running_site(tmp_path_factory.mktemp("site")) as site:
        argv = ["papermill", "notebooks/HighErrorRate.ipynb", str(executed), "-p", "environment", "site"]
        ran = command([*argv, "-p", "error_rate_limit", "0.2"], site.environment)
    assert ran.code == 0, ran.err
    ended = command(["runbook", "seal", str(executed), "--output", str(folder / "evidence")])
    assert ended.code == 0, ended.err
    [bundle] = [path for path in (folder / "evidence").iterdir() if path.is_dir()]
    return Sealed(executed, bundle, ended)


def test_it_is_a_whole_bundle_named_and_dated_by_its_recording(sealed: Sealed) -> None:
    names = {file.name for file in sealed.bundle.iterdir()}
    assert names == {"notebook.ipynb", "notebook.html", "verdict.json", "manifest.json"}
    [opening] = [e for e in recording_of(notebook(sealed.executed)) if e.source == OPENING]
    assert sealed.bundle.name == f"{opening.asked_at:%Y%m%dT%H%M%SZ}-HighErrorRate-backend"
    assert str(sealed.bundle / "notebook.html") in sealed.ended.out
    verified = command(["runbook", "verify", str(sealed.bundle.parent), str(sealed.bundle)])
    assert (verified.code, verified.err) == (0, "")


def test_its_verdict_is_the_one_of_the_notebook_in_canonical_form(sealed: Sealed) -> None:
    verdict = verdict_of(notebook(sealed.executed))
    assert (sealed.bundle / "verdict.json").read_text() == canonical(verdict)
    assert verdict is not None
    says = "30 % of requests fail; the limit is 20 %. /api/v1/agents has most of the failures: 50 %."
    assert verdict["symptoms"][0]["says"] == says


def test_the_manifest_says_what_was_run_with_what_and_by_whom(sealed: Sealed) -> None:
    told = sealed.manifest
    assert (told["kind"], told["alert"], told["failure"]) == ("seal", "HighErrorRate", "")
    assert told["parameters"]["environment"] == "site"
    assert told["parameters"]["error_rate_limit"] == 0.2
    assert told["alert_fingerprints"] == ["0123456789abcdef"]
    assert told["who"]
    assert told["host"]
    [opening] = [e for e in recording_of(notebook(sealed.executed)) if e.source == OPENING]
    assert datetime.fromisoformat(told["started_at"]) == opening.asked_at
    assert datetime.fromisoformat(told["ended_at"]) > opening.asked_at


def test_no_path_of_this_machine_is_in_it(sealed: Sealed) -> None:
    for file in sealed.bundle.iterdir():
        assert str(sealed.executed.parent) not in file.read_text()
        assert str(ROOT) not in file.read_text()


def test_only_its_owner_may_read_it(sealed: Sealed) -> None:
    assert sealed.bundle.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in sealed.bundle.iterdir()} == {0o600}


def test_it_replays_to_the_same_verdict(sealed: Sealed, tmp_path: Path) -> None:
    ended = command(["runbook", "replay", str(sealed.bundle), "--output", str(tmp_path)])
    assert ended.code == 1, ended.err
    assert "The verdict is the recorded one, to the byte." in ended.out


def test_sealing_again_overwrites_nothing(sealed: Sealed) -> None:
    before = (sealed.bundle / "manifest.json").read_bytes()
    again = command(["runbook", "seal", str(sealed.executed), "--output", str(sealed.bundle.parent)])
    assert again.code == 0, again.err
    assert (sealed.bundle.parent / f"{sealed.bundle.name}-2" / "manifest.json").is_file()
    assert (sealed.bundle / "manifest.json").read_bytes() == before
    assert command(["runbook", "verify", str(sealed.bundle.parent)]).code == 0


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "is no notebook"),
        ("{}", "is no notebook"),
        ('{"nbformat": 3, "cells": []}', "is no notebook"),
        ('{"nbformat": 4, "cells": [], "metadata": {}}', "holds no verdict and no recording (run it first"),
    ],
)
def test_what_was_not_executed_is_refused_and_leaves_nothing(tmp_path: Path, content: str, told: str) -> None:
    (tmp_path / "out.ipynb").write_text(content)
    ended = command(["runbook", "seal", str(tmp_path / "out.ipynb"), "--output", str(tmp_path / "evidence")])
    assert (ended.code, told in ended.err) == (3, True), ended.err
    assert len(ended.err.strip().splitlines()) == 1
    assert not (tmp_path / "evidence").exists() or not list((tmp_path / "evidence").iterdir())


def test_a_notebook_that_is_not_there_is_refused(tmp_path: Path) -> None:
    ended = command(["runbook", "seal", str(tmp_path / "nowhere.ipynb")])
    assert (ended.code, "does not exist" in ended.err) == (3, True)
