"""`runbook verify-recovery` on a site where nothing answers: it says so, and after which deed it looked."""

from pathlib import Path

import pytest

from runbooklib.config import variables
from runbooklib.evidence import action_ledger, manifest
from runbooklib.evidence.executed_notebook import outputs
from runbooklib.evidence.verdict_json import CERTIFICATE_MIME
from tests.support import small
from tests.support.running import Ended, command, notebook


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    environment = small.home(tmp_path / "home")
    with (tmp_path / "home" / "parameters" / "environments" / "down.yaml").open("a") as file:
        file.write('timing: {scrape_interval: "1s"}\n')  # so it is looked at every two seconds
    return environment


@pytest.fixture
def evidence(tmp_path: Path) -> Path:
    """A folder in whose ledger a restart has failed."""
    folder = tmp_path / "evidence"
    folder.mkdir()
    place = {"environment": "down", "service": "backend", "alert": "Small"}
    deed = {"by": "Ada", "action": "restart_container", "target": "web", "why": "hang"}
    rest = dict.fromkeys(("plan", "nonce", "evidence", "proposed_in"), "")
    with action_ledger.held(folder) as book:
        book.append("intent", {"id": "1", **place, **deed, **rest})
        book.append("outcome", {"id": "1", "outcome": "failed", "told": "it does not start"})
    return folder


def verify_recovery(evidence: Path, home: dict[str, str], verb: str = "verify-recovery") -> Ended:
    argv = ["runbook", verb, "Small", "--output", str(evidence), "--held", "30s", "--within", "1s"]
    return command(argv, home)


@pytest.mark.parametrize("verb", ["verify-recovery", "recover-check"])  # the second is the old name
def test_it_says_after_which_deed_it_looked_and_how_that_ended(
    evidence: Path, home: dict[str, str], verb: str
) -> None:
    ended = verify_recovery(evidence, home, verb)
    assert ended.code == 2, ended.err
    assert "\nCANNOT TELL  Conditions without an answer: " in ended.out
    assert "\nAfter restart_container on web by Ada at " in ended.out
    assert " UTC (failed)\nCertificate: " in ended.out
    assert manifest.verify_folder(evidence) == []
    (bundle,) = manifest.bundles(evidence)
    [certificate] = [
        data[CERTIFICATE_MIME]
        for data in outputs(notebook(bundle / "notebook.ipynb"))
        if CERTIFICATE_MIME in data
    ]
    assert (certificate["outcome"], certificate["action"]["outcome"]) == ("CANNOT TELL", "failed")
    told = command(["runbook", "actions", "--output", str(evidence)], home)
    assert "failed   restart_container on web (down, backend)  by Ada@" in told.out
    assert "  CANNOT TELL\n" in told.out


def test_what_was_seen_is_told_though_it_cannot_be_kept(
    evidence: Path, home: dict[str, str], tmp_path: Path
) -> None:
    (evidence / "ledger.jsonl").mkdir()
    (tmp_path / "file").touch()
    ended = verify_recovery(evidence, {**home, variables.SPOOL: str(tmp_path / "file" / "spool")})
    assert ended.code == 4, (ended.out, ended.err)
    assert "\nCANNOT TELL  Conditions without an answer: " in ended.out
    assert "could not be written" in ended.err
    assert action_ledger.read(evidence)[0][-1]["kind"] == "outcome"
