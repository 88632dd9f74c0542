"""A recorded run again: on a machine without network, elsewhere, as somebody else, to the same byte."""

import base64
import json
import os
import shutil
import subprocess
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from runbooklib.evidence.executed_notebook import VERDICT, recording_of, verdict_of
from runbooklib.evidence.verdict_json import FINDING_MIME, RECORDING_MIME, VERDICT_MIME, canonical
from runbooklib.sources import tape
from tests.support.running import BIN, Ended, command, notebook, outputs
from tests.support.site import PASSWORD, SiteAnswers, running_site, with_cells
from tests.support.stand_in import answer, standin

NOBODY = 65534
OWN_QUESTION = 'incident.prometheus.custom_query("up")'


@dataclass(frozen=True)
class Recorded:
    """A run on a site that is gone, the notebook that recorded it, and a folder for what comes of it."""

    bundle: Path
    home: Path
    ended: Ended

    @property
    def verdict(self) -> bytes:
        return (self.bundle / VERDICT).read_bytes()


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    with running_site(tmp_path_factory.mktemp("site")) as site:
        home = site.home(OWN_QUESTION)
        output = tmp_path_factory.mktemp("evidence")
        ended = site.run(output, environment={"RUNBOOK_HOME": str(home)})
    assert ended.code == 1, ended.err
    return Recorded(Path(ended.verdict["bundle"]), home, ended)


@pytest.fixture
def elsewhere(tmp_path: Path) -> dict[str, str]:
    """A place that knows nothing of the site: no settings, no secret."""
    (tmp_path / "empty").mkdir()
    return {"RUNBOOK_HOME": str(tmp_path / "empty")}


def replay(evidence: Path, output: Path, environment: dict[str, str], *more: str) -> Ended:
    return command(["runbook", "replay", str(evidence), "--output", str(output), *more], environment)


def verdict_in(output: Path) -> bytes:
    [bundle] = [path for path in output.iterdir() if path.is_dir()]
    return (bundle / VERDICT).read_bytes()


def assert_is_the_recorded(ended: Ended, output: Path, recorded: Recorded) -> None:
    assert ended.code == recorded.ended.code, ended.err
    assert "The verdict is the recorded one, to the byte." in ended.out
    assert verdict_in(output) == recorded.verdict


def test_without_any_network_the_verdict_is_the_recorded_one_to_the_byte(
    recorded: Recorded, elsewhere: dict[str, str], tmp_path: Path
) -> None:
    """Without root there are no namespaces; then only the session's own refusal of sockets stands."""
    alone = ["unshare", "-n"] if os.geteuid() == 0 and shutil.which("unshare") else []
    argv = [*alone, str(BIN / "runbook"), "replay", str(recorded.bundle), "--output", str(tmp_path / "out")]
    ended = command([shutil.which(argv[0]) or argv[0], *argv[1:]], elsewhere)
    assert_is_the_recorded(ended, tmp_path / "out", recorded)
    assert command(["runbook", "verify", str(tmp_path / "out"), str(recorded.bundle.parent)]).code == 0


@pytest.fixture
def nobody(tmp_path: Path) -> Iterator[list[str]]:
    """The words that make a command somebody else's; the folder "theirs" is a home of that user."""
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        yield []
        return
    for folder in (tmp_path, *tmp_path.parents):
        if folder.is_relative_to("/tmp/pytest-of-root"):
            folder.chmod(0o711)
    drop = ["--clear-groups", "--bounding-set=-all,+dac_read_search"]
    # A Python under /root can be read by root alone: nobody may read everything then, and write nothing.
    drop += ["--inh-caps=-all,+dac_read_search", "--ambient-caps=+dac_read_search"]
    words = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", *drop]
    again = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import runbooklib'], check=True)"
    tried = subprocess.run([*words, str(BIN / "python"), "-c", again], check=False, capture_output=True)
    if tried.returncode:
        pytest.skip(f"nobody may not use this virtual environment: {tried.stderr.decode()[-200:]}")
    yield words


def test_copied_elsewhere_as_another_user_in_another_zone_and_language_it_is_the_same(
    recorded: Recorded, elsewhere: dict[str, str], nobody: list[str], tmp_path: Path
) -> None:
    theirs = tmp_path / "theirs"
    copy = shutil.copytree(recorded.bundle, theirs / "a copy, 复制")
    output = theirs / "out"
    output.mkdir()
    if nobody:
        for path in (theirs, *theirs.rglob("*")):
            shutil.chown(path, NOBODY, NOBODY)
    there = {"HOME": str(theirs), "TZ": "Asia/Shanghai", "LC_ALL": "C", "LANG": "C", "USER": "nobody"}
    argv = [*nobody, str(BIN / "runbook"), "replay", str(copy), "--output", str(output)]
    ended = command([shutil.which(argv[0]) or argv[0], *argv[1:]], elsewhere | there, cwd=theirs)
    assert_is_the_recorded(ended, output, recorded)
    if nobody:
        assert {path.stat().st_uid for path in output.rglob("*")} == {NOBODY}


def test_an_exported_recording_replays_with_the_runbook_of_its_alert(
    recorded: Recorded, tmp_path: Path
) -> None:
    file = tmp_path / "incident.json"
    exported = command(["runbook", "export", str(recorded.bundle), str(file)])
    assert exported.code == 0, exported.err
    again = command(["runbook", "export", str(recorded.bundle), str(file)])
    assert (again.code, "name a new file" in again.err) == (3, True)
    ended = replay(file, tmp_path / "out", {"RUNBOOK_HOME": str(recorded.home)})
    assert_is_the_recorded(ended, tmp_path / "out", recorded)
    # What was replayed is evidence too: its own recording is as long as the one that it came from.
    [played] = [path for path in (tmp_path / "out").iterdir() if path.is_dir()]
    entries = [recording_of(notebook(path / "notebook.ipynb")) for path in (recorded.bundle, played)]
    assert {entry.key for entry in entries[0]} == {entry.key for entry in entries[1]}


def test_a_question_that_was_never_recorded_ends_4_and_is_named(
    recorded: Recorded, elsewhere: dict[str, str], tmp_path: Path
) -> None:
    today = shutil.copy(recorded.home / "notebooks" / "HighErrorRate.ipynb", tmp_path / "today.ipynb")
    with_cells(today, "incident.check(response_time, above=0.5, quantile=0.99)")
    ended = replay(recorded.bundle, tmp_path / "out", elsewhere, "--notebook", str(today))
    assert ended.code == 4
    assert "NotRecordedError: prometheus" in ended.err
    assert "was never asked" in ended.err
    assert "histogram_quantile(0.99" in ended.err


def test_with_another_notebook_the_findings_that_changed_are_shown_and_no_others(
    recorded: Recorded, elsewhere: dict[str, str], tmp_path: Path
) -> None:
    today = tmp_path / "today.ipynb"
    source = (recorded.home / "notebooks" / "HighErrorRate.ipynb").read_text()
    asked = "incident.check(error_rate, above=error_rate_limit, critical_above=critical_error_rate)"
    assert asked in source
    today.write_text(source.replace(asked, "incident.check(error_rate, above=0.9)"))
    ended = replay(recorded.bundle, tmp_path / "out", elsewhere, "--notebook", str(today))
    assert ended.code == 1, ended.err
    told = ended.out.partition("The verdict differs from the recorded one:\n")[2]
    assert "error_rate: What share of user requests fails?" in told
    assert "then  CRITICAL 30 % of requests fail; the limit is 5 %." in told
    assert "now   OK 30 % of requests fail; the limit is 90 %." in told
    for unchanged in ("alert_rule", "failing_endpoints", "response_time", "container_state"):
        assert unchanged not in told


def test_an_engineers_own_question_lies_in_the_output_of_its_cell(recorded: Recorded) -> None:
    executed = notebook(recorded.bundle / "notebook.ipynb")
    [cell] = [cell for cell in executed["cells"] if cell["source"] == OWN_QUESTION]
    [packed] = [o["data"][RECORDING_MIME] for o in cell["outputs"] if RECORDING_MIME in o.get("data", {})]
    [entry] = tape.unpack(packed)
    assert (entry.source, entry.error) == ("prometheus", None)
    assert ["query", "up"] in entry.request["params"]
    [shown] = [output for output in cell["outputs"] if output["output_type"] == "execute_result"]
    assert json.dumps(entry.answer["json"]["data"]["result"][0]["metric"]) in shown["data"]["text/plain"]


PLAIN = """
import sys
from runbooklib.notebook import *
incident = open_incident("HighErrorRate", environment="", service="", replay=sys.argv[1])
print(incident.prometheus.custom_query("up"))
finding = incident.check(error_rate, above=0.05)
print(finding.status.name, finding.since.isoformat(), finding.asked_at.isoformat())
import socket
try:
    socket.create_connection(("127.0.0.1", int(sys.argv[2])), 1)
except Exception as error:
    print(type(error).__name__)
"""


def test_plain_python_replays_and_its_sockets_are_shut(recorded: Recorded, elsewhere: dict[str, str]) -> None:
    with standin(answer(b"", 200)) as server:
        port = server.url.rpartition(":")[2]
        ended = command(["python", "-c", PLAIN, str(recorded.bundle), port], elsewhere)
    assert ended.code == 0, ended.err
    then = next(one for one in recorded.ended.verdict["symptoms"] if one["check"] == "error_rate")
    assert f"CRITICAL {then['since']}" in ended.out
    assert ended.out.strip().endswith("NotRecordedError")
    assert server.asked == []


def test_a_notebook_that_names_the_recording_replays_it_in_its_own_kernel(
    recorded: Recorded, elsewhere: dict[str, str], tmp_path: Path
) -> None:
    source = tmp_path / "today.ipynb"
    given = json.loads((recorded.home / "notebooks" / "HighErrorRate.ipynb").read_text())
    [opened] = [cell for cell in given["cells"] if cell["id"] == "open"]
    opened["source"] = "".join(opened["source"]).replace("at=at", f"replay={str(recorded.bundle)!r}, at=at")
    [rates] = [cell for cell in given["cells"] if cell["id"] == "error-rate"]
    with standin(answer(b"", 200)) as server:
        source.write_text(json.dumps(given))
        with_cells(
            source,
            f"import urllib.request\ntry:\n    urllib.request.urlopen({server.url!r}, timeout=2)\n"
            "except Exception as error:\n    print(type(error).__name__)",
            after=rates["id"],
        )
        ended = command(["papermill", str(source), str(tmp_path / "out.ipynb")], elsewhere)
    assert ended.code == 0, ended.err
    executed = notebook(tmp_path / "out.ipynb")
    verdict = verdict_of(executed)
    assert canonical(verdict).encode() == recorded.verdict
    assert server.asked == []
    assert "replayed from a recording" in (tmp_path / "out.ipynb").read_text()
    assert [o["text"] for o in outputs(executed) if o["output_type"] == "stream"] == ["NotRecordedError\n"]


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    told = SiteAnswers(other_annotation="x" * (tape.MAX_RECORDED_BYTES + 1))
    with running_site(tmp_path_factory.mktemp("large"), told) as site:
        return site.run(tmp_path_factory.mktemp("evidence"))


def test_an_answer_too_large_to_record_is_used_and_its_finding_says_so(large: Ended) -> None:
    bundle = Path(large.verdict["bundle"])
    executed = notebook(bundle / "notebook.ipynb")
    found = {
        output["data"][FINDING_MIME]["check"]: output["data"][FINDING_MIME]
        for output in outputs(executed)
        if FINDING_MIME in output.get("data", {})
    }
    assert found["related_alerts"]["status"] == "WARNING"
    assert [name for name, finding in found.items() if not finding["is_replayable"]] == ["related_alerts"]
    assert "this cannot be replayed" in (bundle / "notebook.html").read_text()
    assert (bundle / "notebook.ipynb").stat().st_size < 1_000_000


def test_a_replay_says_which_answer_was_too_large_to_record(
    large: Ended, elsewhere: dict[str, str], tmp_path: Path
) -> None:
    ended = replay(Path(large.verdict["bundle"]), tmp_path / "out", elsewhere)
    assert ended.code == 4
    assert "NotRecordedError: alertmanager" in ended.err
    assert "the answer was too large to record" in ended.err


def test_a_run_stays_under_a_megabyte_and_holds_no_secret(recorded: Recorded) -> None:
    assert sum(file.stat().st_size for file in recorded.bundle.iterdir()) < 1_000_000
    assert not [file for file in recorded.bundle.iterdir() if PASSWORD in file.read_text()]


def changed(bundle: Path, folder: Path, change: Any) -> Path:
    """A copy of the bundle whose recordings were changed."""
    copy = shutil.copytree(bundle, folder / "changed")
    executed = json.loads((copy / "notebook.ipynb").read_text())
    for output in outputs(executed):
        if RECORDING_MIME in output.get("data", {}):
            change(output["data"])
    (copy / "notebook.ipynb").write_text(json.dumps(executed))
    return copy


def another_version(data: dict[str, Any]) -> None:
    data[RECORDING_MIME]["version"] = 99


def damaged(data: dict[str, Any]) -> None:
    whole = base64.b64decode(data[RECORDING_MIME]["data"])
    data[RECORDING_MIME]["data"] = base64.b64encode(whole[:-9]).decode()


def of_another_shape(data: dict[str, Any]) -> None:
    data[RECORDING_MIME]["data"] = base64.b64encode(zlib.compress(b'[{"source": 1}]')).decode()


def emptied(data: dict[str, Any]) -> None:
    del data[RECORDING_MIME]


def without_verdict(data: dict[str, Any]) -> None:
    data.pop(VERDICT_MIME, None)


@pytest.mark.parametrize(
    ("change", "code", "told"),
    [
        (another_version, 4, "a recording of version 99 cannot be read"),
        (damaged, 4, "a recording is damaged"),
        (of_another_shape, 4, "a recording is damaged"),
        (emptied, 3, "holds no recording"),
        (without_verdict, 3, "holds no verdict"),
    ],
)
def test_evidence_that_cannot_be_replayed_is_refused_in_one_line_before_a_kernel_starts(
    recorded: Recorded, tmp_path: Path, change: Any, code: int, told: str
) -> None:
    copy = changed(recorded.bundle, tmp_path, change)
    if change is without_verdict:
        (copy / VERDICT).unlink()
    ended = replay(copy, tmp_path / "out", {})
    assert (ended.code, told in ended.err) == (code, True), ended.err
    [refusal] = [line for line in ended.err.splitlines() if not line.startswith("Running ")]
    assert refusal.startswith("runbook: ")
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_the_replayed_evidence_itself_is_not_touched(recorded: Recorded) -> None:
    """Last in this module: after every replay of it."""
    ended = command(["runbook", "verify", str(recorded.bundle.parent)])
    assert (ended.code, ended.err) == (0, "")
