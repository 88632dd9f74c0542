"""The certificate as evidence: its bundle, its line in the ledger of actions, and what `verify` says."""

import json
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from runbooklib.actions import certificate, recovery
from runbooklib.actions.recovery import Certificate, Sample
from runbooklib.cli import app
from runbooklib.config import variables
from runbooklib.config.environment import Environment, Target
from runbooklib.errors import EvidenceError
from runbooklib.evidence import action_ledger, manifest
from runbooklib.evidence.action_ledger import ActionRecord
from runbooklib.evidence.document import Record
from runbooklib.model.findings import Finding, Status
from runbooklib.model.window import Window
from runbooklib.sources.context import Context, Sources
from runbooklib.sources.tape import Tape

PLACE = ("site", "backend", "Alert")
INTENT = {
    **dict.fromkeys(("plan", "nonce", "evidence", "proposed_in"), ""),
    **dict(zip(("environment", "service", "alert"), PLACE, strict=True)),
    "by": "Ada",
    "action": "restart_container",
    "target": "web",
    "why": "hang",
}


def make_context() -> Context:
    site = Environment.model_validate(
        {"title": "Site", "systems": {}, "services": {"backend": {"title": "Backend", "labels": {}}}}
    )
    target = Target(environment_name="site", service_name="backend", environment=site)
    return Context("Alert", target, Window.open(opened_at=datetime.now(UTC)), Sources(target, Tape()))


def found(status: Status = Status.OK) -> Certificate:
    """What a minute of looks that all came to `status` amounts to."""
    began = datetime.now(UTC)
    one = Finding(status=status, template="x", check="errors")
    samples = [Sample(began + timedelta(seconds=n), n, (one,)) for n in (0.0, 15.0, 30.0, 45.0, 60.0)]
    return recovery.certificate(samples, began, 60.0)


def acted(folder: Path, *, outcome: str = "done", told: str = "restarted") -> ActionRecord:
    """The deed that a ledger now tells of last."""
    folder.mkdir(exist_ok=True)
    with action_ledger.held(folder) as book:
        name = str(len(book.lines))
        book.append("intent", {"id": name, **INTENT})
        book.append("outcome", {"id": name, "outcome": outcome, "told": told})
    deed = action_ledger.last_of(folder, *PLACE)
    assert deed is not None
    assert deed.id == name
    return deed


@pytest.fixture
def evidence(tmp_path: Path) -> Path:
    return tmp_path / "evidence"


def lines(folder: Path) -> list[dict[str, object]]:
    told, wrong = action_ledger.read(folder)
    assert wrong == ""
    return told


def test_the_ledger_names_the_certificate_and_the_certificate_the_ledger_before_it(evidence: Path) -> None:
    deed = acted(evidence)
    before = action_ledger.head_of(evidence)
    bundle = certificate.seal(found(), make_context(), deed, evidence)
    last = lines(evidence)[-1]
    assert (last["kind"], last["recovery"], last["evidence"]) == ("recovery", "RECOVERED", bundle.name)
    about = json.loads((bundle / manifest.FILE).read_bytes())
    assert (about["kind"], about["deed"], about["actions_head"]) == ("recovery", deed.id, before)
    assert manifest.verify_folder(evidence) == []


def test_what_was_sealed_without_any_deed_has_no_line_and_wants_none(evidence: Path) -> None:
    certificate.seal(found(), make_context(), None, evidence)
    assert not (evidence / action_ledger.FILE).exists()
    assert manifest.verify_folder(evidence) == []


def test_where_sealing_fails_the_ledger_does_not_say_that_it_helped(
    evidence: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deed = acted(evidence)
    (evidence / "ledger.jsonl").mkdir()  # so nothing can be entered there
    (tmp_path / "file").touch()
    monkeypatch.setenv(variables.SPOOL, str(tmp_path / "file" / "spool"))  # nor kept elsewhere
    with pytest.raises(EvidenceError, match="could not be written, and not to the spool"):
        certificate.seal(found(), make_context(), deed, evidence)
    assert [line["kind"] for line in lines(evidence)] == ["intent", "outcome"]
    (deed,) = action_ledger.deeds_of(lines(evidence))
    assert deed.recovery == ""


@contextmanager
def no_file_longer_than(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_where_the_line_cannot_be_written_the_error_names_the_certificate_that_was_kept(
    evidence: Path,
) -> None:
    deed = acted(evidence, told="x" * 16_000_000)
    size = (evidence / action_ledger.FILE).stat().st_size
    with (
        no_file_longer_than(size + 10),
        pytest.raises(
            EvidenceError, match=r"cannot be written: .*too large; the certificate is kept in"
        ) as raised,
    ):
        certificate.seal(found(), make_context(), deed, evidence)
    (bundle,) = manifest.bundles(evidence)
    assert str(bundle) in raised.value.message
    assert manifest.verify_bundle(bundle) == []
    assert lines(evidence)[-1]["kind"] == "outcome"
    told = f"{action_ledger.FILE}: the line of {bundle.name} is gone, or was never written"
    assert manifest.verify_folder(evidence) == [told]


def test_a_ledger_that_was_changed_does_not_take_the_certificate_with_it(evidence: Path) -> None:
    deed = acted(evidence)
    book = evidence / action_ledger.FILE
    changed = book.read_text().replace('"by":"Ada"', '"by":"Eve"')
    book.write_text(changed)
    with pytest.raises(EvidenceError, match="was changed, or a line before it is missing") as raised:
        certificate.seal(found(), make_context(), deed, evidence)
    (bundle,) = manifest.bundles(evidence)
    assert str(bundle) in raised.value.message
    assert book.read_text() == changed


def test_a_certificate_that_is_gone_is_missed_by_its_line(evidence: Path) -> None:
    bundle = certificate.seal(found(), make_context(), acted(evidence), evidence)
    shutil.rmtree(bundle)
    assert f"{bundle.name}: is gone, and {action_ledger.FILE} knows it" in manifest.verify_folder(evidence)


def test_evidence_of_an_older_version_is_whole(evidence: Path) -> None:
    """Its line names no certificate, and its certificate keeps the head with that line."""
    deed = acted(evidence)
    with action_ledger.held(evidence) as book:
        book.append("recovery", {"id": deed.id, "recovery": "RECOVERED", "after_seconds": 3.0})
        about = {"kind": "recovery", "alert": "Alert", "outcome": "RECOVERED", "actions_head": book.head}
    bundle = Record().seal(evidence, "recovery-Alert", "backend", deed.at, about)
    assert manifest.verify_folder(evidence) == []
    file = evidence / action_ledger.FILE
    file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:-1]))
    changed = f"{action_ledger.FILE}: was changed: it is not what {bundle.name} saw"
    assert manifest.verify_folder(evidence) == [changed]


@pytest.mark.parametrize("cut", [1, 2, 3, 4])
def test_lines_that_were_cut_off_are_seen_where_a_certificate_came_after_them_or_is_theirs(
    evidence: Path, cut: int
) -> None:
    evidence.mkdir()
    with action_ledger.held(evidence) as book:
        book.append("refused", {"id": "refused", **INTENT, "told": "too soon"})
    bundle = certificate.seal(found(), make_context(), acted(evidence), evidence)
    book_file = evidence / action_ledger.FILE
    stored = book_file.read_bytes().splitlines(keepends=True)
    book_file.write_bytes(b"".join(stored[:-cut]))
    wrong = [line for line in manifest.verify_folder(evidence) if line.startswith(action_ledger.FILE)]
    assert f"{action_ledger.FILE}: the line of {bundle.name} is gone, or was never written" in wrong
    changed = f"{action_ledger.FILE}: was changed: it is not what {bundle.name} saw"
    assert (changed in wrong) is (cut > 1)


def test_what_was_written_after_the_newest_certificate_may_be_cut_off_unseen(evidence: Path) -> None:
    """As docs/actions.md says: a chain alone cannot tell."""
    certificate.seal(found(), make_context(), acted(evidence), evidence)
    whole = (evidence / action_ledger.FILE).read_bytes()
    with action_ledger.held(evidence) as book:
        book.append("refused", {"id": "refused", **INTENT, "told": "too soon"})
    (evidence / action_ledger.FILE).write_bytes(whole)
    assert manifest.verify_folder(evidence) == []


def test_a_failed_deed_is_named_with_its_outcome(evidence: Path) -> None:
    acted(evidence)
    deed = acted(evidence, outcome="failed", told="it was stopped, and does not start")
    bundle = certificate.seal(found(), make_context(), deed, evidence)
    assert f"restart_container on web by Ada at {deed.at:%H:%M:%S} UTC (failed)" in (
        (bundle / "notebook.html").read_text()
    )
    told = certificate.as_dict(found(), make_context(), deed)["action"]
    assert (told["id"], told["outcome"]) == (deed.id, "failed")


def test_a_refusal_may_have_helped_nothing(evidence: Path) -> None:
    deed = acted(evidence, outcome="failed")
    with action_ledger.held(evidence) as book:
        book.append("refused", {"id": "refused", **INTENT, "told": "too soon"})
    assert action_ledger.last_of(evidence, *PLACE) == deed


def test_what_somebody_else_mended_later_is_told_beside_what_came_of_the_deed(evidence: Path) -> None:
    deed = acted(evidence)
    for status in (Status.WARNING, Status.OK):
        certificate.seal(found(status), make_context(), deed, evidence)
    assert manifest.verify_folder(evidence) == []
    listed = CliRunner().invoke(app, ["actions", "--output", str(evidence)])
    assert "  NOT RECOVERED, later RECOVERED\n" in listed.output
    (told,) = json.loads(CliRunner().invoke(app, ["actions", "--output", str(evidence), "--json"]).output)
    assert (told["recovery"], told["later"]) == ("NOT RECOVERED", ["RECOVERED"])
    assert told["recovered_after_seconds"] is None
