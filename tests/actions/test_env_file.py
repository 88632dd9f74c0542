"""Settings that are switched: no secret is shown, what was there is kept, and the file keeps its form."""

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from runbooklib.actions import registry
from runbooklib.actions.action import ApprovedAction
from runbooklib.config import site as site_module
from runbooklib.config import site_secrets
from runbooklib.errors import ActionError
from runbooklib.evidence import executed_notebook, manifest
from runbooklib.model.plan import Proposal
from runbooklib.redact.redactor import tag
from runbooklib.sources.context import context_of
from runbooklib.sources.site_files import Files, with_settings
from runbooklib.sources.tape import Tape
from tests.support import small
from tests.support.acting import Acting
from tests.support.running import command

OLD, NEW = "former-key-canary-5517", "backup-key-canary-9043"
VARIABLE = "RUNBOOK_OPERATOR_BACKUP_KEY"
URL = "https://backup.example/v1"
TEXT = f"AI_PROVIDER_URL=https://first.example/v1\n  export AI_PROVIDER_KEY={OLD}\nOTHER=1\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "service.env"
    file.write_text(TEXT)
    file.chmod(0o640)
    return file


@pytest.fixture
def site(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Acting:
    """`use_backup_provider` sets an address and a key, and runs a program that prints the former file."""
    program = tmp_path / "up.sh"
    program.write_text(f"#!/bin/sh\ncat {file}.before-* {file} | tr '\\n' ' '\n")
    program.chmod(0o755)
    monkeypatch.setenv(VARIABLE, NEW)
    switch = {
        "file": str(file),
        "set": {"AI_PROVIDER_URL": URL},
        "set_from": {"AI_PROVIDER_KEY": VARIABLE},
        "then": [str(program), "backend"],
    }
    actions = {"switches": {"use_backup_provider": switch}, "cooldown": "1s"}
    return Acting(tmp_path, monkeypatch, systems={}, actions=actions)


def proposed() -> Proposal:
    context, _ = context_of("Small", "site", "backend")
    return registry.ACTIONS["use_backup_provider"](context)


def change_switch(site: Acting, **fields: Any) -> None:
    site.settings["actions"]["switches"]["use_backup_provider"] |= fields
    site.write()


def copies(file: Path) -> list[Path]:
    return sorted(file.parent.glob(f"{file.name}.before-*"))


def kept_in(folder: Path) -> str:
    """All that the evidence says, with what was recorded in it."""
    texts = [path.read_bytes().decode("utf-8", "replace") for path in folder.rglob("*") if path.is_file()]
    recordings = [executed_notebook.read_recording(path) for path in folder.rglob("notebook.ipynb")]
    return "\n".join([*texts, *(json.dumps(one.as_dict()) for found in recordings for one in found)])


def test_a_secret_setting_is_shown_bound_and_told_by_its_tag_only(site: Acting, file: Path) -> None:
    proposal, plan = proposed(), site.plan("use_backup_provider")
    assert proposal.command.split("\n")[:-1] == [
        f"--- {file}",
        f"+++ {file}",
        f"-AI_PROVIDER_KEY={tag(OLD)}",
        f"+AI_PROVIDER_KEY={tag(NEW)}",
        "-AI_PROVIDER_URL=https://first.example/v1",
        f"+AI_PROVIDER_URL={URL}",
        f"# {VARIABLE} holds AI_PROVIDER_KEY",
    ]
    assert plan.identity["set"] == {"AI_PROVIDER_URL": URL}
    assert plan.identity["set_from"] == {"AI_PROVIDER_KEY": tag(NEW)}
    deed = site.perform(plan)
    assert f"AI_PROVIDER_KEY={NEW}" in file.read_text()
    assert tag(OLD) in deed.message  # the program printed it
    assert tag(NEW) in deed.message
    said = "\n".join([repr(proposal), repr(plan), repr(deed), kept_in(site.folder)])
    assert tag(OLD) in said
    assert OLD not in said
    assert NEW not in said


def test_the_error_of_the_command_tells_no_former_secret_and_names_the_copy(
    site: Acting, file: Path, tmp_path: Path
) -> None:
    (tmp_path / "up.sh").write_text(f"#!/bin/sh\necho 'bad key {OLD}' >&2\nexit 3\n")
    with pytest.raises(ActionError) as raised:
        site.perform(site.plan("use_backup_provider"))
    (copy,) = copies(file)
    assert f"ended with 3: bad key {tag(OLD)}" in str(raised.value)
    assert f"or restore {copy}" in str(raised.value)
    assert site.outcomes == ["failed"]
    assert OLD not in kept_in(site.folder)


def test_a_command_that_is_not_run_is_told_with_what_was_done_before(site: Acting, file: Path) -> None:
    # The settings are a file of the command's too, and another one by then.
    change_switch(site, then=[str(file.with_name("up.sh")), str(file)])
    with pytest.raises(ActionError, match=r"set AI_PROVIDER_KEY, .* but the command after it failed"):
        site.perform(site.plan("use_backup_provider"))
    assert len(copies(file)) == 1


def test_a_key_that_is_another_one_by_now_was_not_approved(
    site: Acting, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, gate = site.plan("use_backup_provider"), site.gate()
    approval = gate.approve(gate.look(plan), plan.target)
    monkeypatch.setenv(VARIABLE, "another-key-canary-77")
    with pytest.raises(ActionError, match="has changed since this was proposed: set_from AI_PROVIDER_KEY: "):
        gate.perform(plan, approval)
    assert file.read_text() == TEXT
    assert copies(file) == []


def test_between_the_last_look_and_the_deed_the_key_is_compared_once_more(
    site: Acting, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, _ = context_of("Small", "site", "backend")
    act = ApprovedAction(context, site.plan("use_backup_provider"), "Ada", "")
    monkeypatch.setenv(VARIABLE, "another-key-canary-77")
    with pytest.raises(ActionError, match="has changed since the proposal"):
        registry.ACTIONS["use_backup_provider"].perform(act)
    assert (file.read_text(), copies(file)) == (TEXT, [])


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, f"the environment variable {VARIABLE} is not set"),
        ("two\nlines", f"the environment variable {VARIABLE} must hold one line of printable text"),
        (" key", f"the environment variable {VARIABLE} must hold one line of printable text"),
    ],
)
def test_a_variable_that_is_missing_or_unfit_is_told_when_it_is_looked_at(
    site: Acting, file: Path, monkeypatch: pytest.MonkeyPatch, value: str | None, told: str
) -> None:
    plan = site.plan("use_backup_provider")
    if value is None:
        monkeypatch.delenv(VARIABLE)
    else:
        monkeypatch.setenv(VARIABLE, value)
    proposal = proposed()
    assert (proposal.plan, told in proposal.blocked, told in proposal.command) == (None, True, True)
    with pytest.raises(ActionError, match=told):
        site.gate().look(plan)
    assert file.read_text() == TEXT


def test_what_the_file_says_already_is_known_by_its_tag_with_and_without_quotes(
    site: Acting, file: Path
) -> None:
    file.write_text(f'AI_PROVIDER_URL={URL}\nAI_PROVIDER_KEY="{NEW}"\n')
    with pytest.raises(ActionError, match="already has these settings"):
        site.plan("use_backup_provider")


def test_the_answer_that_is_recorded_holds_tags(file: Path) -> None:
    file.write_text(f"AI_PROVIDER_KEY={OLD}\nPLAN=gold-{OLD}\nFALLBACK_MODE=false\n")
    tape = Tape()
    names = ["AI_PROVIDER_KEY", "FALLBACK_MODE", "NONE_KEY", "PLAN"]
    found = Files(tape).settings(str(file), names, hidden=["PLAN"]).values
    assert found == {
        "AI_PROVIDER_KEY": tag(OLD),
        "FALLBACK_MODE": "false",
        "NONE_KEY": None,
        "PLAN": tag(f"gold-{OLD}"),
    }
    assert OLD not in json.dumps([entry.as_dict() for entry in tape.take_recorded()])


def test_a_headless_run_proposes_by_the_tag_and_never_sees_the_key(site: Acting, file: Path) -> None:
    propose = 'cause = incident.cause("provider", "The provider is down")\ncause.propose(use_backup_provider)'
    spy = "import os\nprint('seen', sorted(name for name in os.environ if 'OPERATOR' in name))"
    small.write(site.home, "Small", propose, spy)
    output = ["--output", str(site.folder)]
    ended = command(["runbook", "run", "Small", "-e", "site", *output], site.environment)
    (bundle,) = manifest.bundles(site.folder)
    kept = kept_in(bundle)
    [action] = json.loads((bundle / "verdict.json").read_bytes())["actions"]
    assert action["plan"]["identity"]["set_from"] == {"AI_PROVIDER_KEY": tag(NEW)}, ended.err
    assert "seen []" in (bundle / "notebook.ipynb").read_text()
    assert OLD not in kept
    assert NEW not in kept
    without = {**site.environment, VARIABLE: ""}  # a replay needs no secret
    command(["runbook", "replay", str(bundle), *output], without)
    (replayed,) = [one for one in manifest.bundles(site.folder) if "replay" in one.name]
    assert json.loads((replayed / "verdict.json").read_bytes())["actions"] == [action]
    approve = ["runbook", "approve", str(bundle), "use_backup_provider", "--by", "Ada", "--no-wait"]
    done = command([*approve, "--yes", str(action["fingerprint"])], site.environment)
    assert done.code == 0, done.err
    assert f"AI_PROVIDER_KEY={NEW}" in file.read_text()
    (copy,) = copies(file)
    assert f"cp {file}.before-FINGERPRINT {file}" in done.out
    assert f"(copy: {copy})" in done.out
    said = done.out + done.err + kept_in(site.folder)
    assert OLD not in said
    assert NEW not in said


@pytest.mark.usefixtures("site")
def test_the_variables_are_secrets_and_a_missing_one_hinders_no_other_action(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    target = site_module.read_target("site", "backend")
    assert site_secrets.operator_secrets_of(target) == [NEW]
    monkeypatch.delenv(VARIABLE)
    assert site_secrets.operator_secrets_of(target) == []


def test_the_file_is_kept_as_it_was_for_its_owner_alone(site: Acting, file: Path) -> None:
    if os.geteuid() == 0:
        os.chown(file, 4711, 4712)
    plan = site.plan("use_backup_provider")
    copy = Path(f"{file}.before-{plan.fingerprint}")
    deed = site.perform(plan)
    assert copies(file) == [copy]
    assert copy.read_text() == TEXT
    now, before = file.stat(), copy.stat()
    assert (stat.S_IMODE(now.st_mode), stat.S_IMODE(before.st_mode)) == (0o640, 0o600)
    assert (now.st_uid, now.st_gid) == (before.st_uid, before.st_gid)
    assert str(copy) in deed.message
    assert str(copy) in (site.folder / "actions.jsonl").read_text()
    # As the proposal's undo says it: the file keeps its mode and its owner.
    assert f"cp {file}.before-FINGERPRINT {file}" in proposed().undo
    assert "then run that command again: " in proposed().undo
    assert command(["/bin/cp", str(copy), str(file)]).code == 0
    assert (file.read_text(), stat.S_IMODE(file.stat().st_mode)) == (TEXT, 0o640)


def test_a_copy_that_is_there_already_is_never_overwritten(site: Acting, file: Path) -> None:
    plan = site.plan("use_backup_provider")
    copy = Path(f"{file}.before-{plan.fingerprint}")
    copy.write_text("somebody's own")
    with pytest.raises(ActionError, match="already exists"):
        site.perform(plan)
    assert (file.read_text(), copy.read_text()) == (TEXT, "somebody's own")


def test_behind_a_link_the_copy_lies_beside_the_file_itself(site: Acting, file: Path) -> None:
    folder = file.with_name("releases")
    folder.mkdir()
    real = file.rename(folder / "real.env")
    file.symlink_to(real)
    change_switch(site, then=[])
    site.perform(site.plan("use_backup_provider"))
    assert file.is_symlink()
    assert [copy.read_text() for copy in copies(real)] == [TEXT]


def test_without_a_command_nothing_is_lost_and_nothing_has_happened_yet(site: Acting) -> None:
    with_command = proposed()
    assert with_command.loses == "The container is recreated; its log is lost. Save the log first."
    assert "restarted" not in with_command.effect
    change_switch(site, then=[])
    without = proposed()
    assert without.loses == ""
    assert without.effect.endswith("It takes effect when the service is restarted.")
    assert without.undo.endswith("then restart the service.")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("export A=1\n", "export A=x\n"),
        ("  A=1\n", "  A=x\n"),
        ("\texport  A = 1 \nB=2", "\texport  A=x\nB=2"),
        ("A=1\r\nB=2\r\n", "A=x\r\nB=2\r\n"),
        ("B=2\r\nA=1", "B=2\r\nA=x"),
        ("B=2\r\n", "B=2\r\nA=x\r\n"),
        ("B=2\r\nC=3", "B=2\r\nC=3\r\nA=x"),
        ("B=2\n", "B=2\nA=x\n"),
        ("B=2", "B=2\nA=x"),
        ("", "A=x\n"),
        ("A=1\nexport A=2\n# A=3\n", "A=x\nexport A=x\n# A=3\n"),
    ],
)
def test_a_line_that_is_replaced_keeps_its_form(text: str, expected: str) -> None:
    assert with_settings(text, {"A": "x"}) == expected
