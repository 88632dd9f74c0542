"""Actions on what a site has: a rollback script, settings, a clone, Alertmanager; through the gate."""

import stat
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from runbooklib.actions import registry
from runbooklib.checks.alert_rule import firing_alert
from runbooklib.errors import ActionError
from runbooklib.evidence import manifest
from runbooklib.model.findings import Status
from runbooklib.sources.alertmanager import Alertmanager
from runbooklib.sources.context import context_of
from runbooklib.sources.tape import Tape
from tests.support.acting import WHY, Acting
from tests.support.alertmanagers import alert, own_alertmanager, post
from tests.support.git_repository import Repository

SCRIPT = '#!/bin/sh\necho "$@" >> "$(dirname "$0")/ran"\necho "deployed $1"\n'


def script(path: Path, text: str = SCRIPT) -> Path:
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    repository = Repository(tmp_path / "clone")
    now = datetime.now(UTC) - timedelta(minutes=30)
    for number in (1, 2, 3):
        repository.commit(f"release {number}", {b"a.txt": f"{number}\n".encode()}, at=now)
        repository.deploy(number, at=now + timedelta(minutes=number))
    return repository


@pytest.fixture
def site(repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Acting:
    rollback = {"command": [str(script(tmp_path / "rollback.sh")), "{revision}", "; rm -rf $(pwd)"]}
    return Acting(
        tmp_path,
        monkeypatch,
        systems={"git": {"repository": str(repository.path)}},
        actions={"rollback": rollback, "revert": True, "cooldown": "1s"},
    )


def ran(tmp_path: Path) -> list[str]:
    path = tmp_path / "ran"
    return path.read_text().splitlines() if path.exists() else []


@pytest.mark.row("H47")
def test_a_rollback_runs_the_script_once_with_words_and_no_shell(
    repository: Repository, site: Acting, tmp_path: Path
) -> None:
    before = repository.git("rev-parse", "deploy/2^{commit}")
    plan = site.plan("roll_back")
    assert plan.target == before[:8]
    deed = site.perform(plan)
    assert deed.message == f"rolled back to {before[:12]}: deployed {before}"
    assert ran(tmp_path) == [f"{before} ; rm -rf $(pwd)"]
    assert manifest.verify_folder(site.folder) == []


def test_a_rollback_goes_to_a_named_deployment(repository: Repository, site: Acting, tmp_path: Path) -> None:
    first = repository.git("rev-parse", "deploy/1^{commit}")
    site.perform(site.plan("roll_back", to="deploy/1"))
    assert ran(tmp_path)[-1].startswith(first)
    time.sleep(1.1)
    with pytest.raises(ActionError, match="is already deployed"):
        site.plan("roll_back", to="deploy/3")


@pytest.mark.row("H47")
@pytest.mark.parametrize(
    "to", ["; rm -rf /", "$(id)", "--output=/x", "deploy/1 extra", "HEAD", "deploy/9", "-x"]
)
def test_what_is_no_deployment_is_never_rolled_back_to(site: Acting, tmp_path: Path, to: str) -> None:
    with pytest.raises(ActionError, match="is not a deployment"):
        site.plan("roll_back", to=to)
    with pytest.raises(ActionError, match="is not a deployment"):
        site.perform(site.forged("roll_back", to, to=to))
    assert ran(tmp_path) == []
    assert site.outcomes == ["refused"]


@pytest.mark.row("H46")
@pytest.mark.parametrize("when", ["before the look", "after the approval"])
def test_a_script_that_was_changed_is_not_run(site: Acting, tmp_path: Path, when: str) -> None:
    plan, gate = site.plan("roll_back"), site.gate()
    if when == "after the approval":
        approval = gate.approve(gate.look(plan), plan.target)
    script(tmp_path / "rollback.sh", SCRIPT + "touch evil\n")
    with pytest.raises(ActionError, match=r"has changed since this was proposed: files /.*/rollback\.sh: "):
        _ = gate.look(plan) if when == "before the look" else gate.perform(plan, approval)
    assert ran(tmp_path) == []
    assert site.outcomes == ["refused"]


def test_a_deployment_that_came_meanwhile_is_not_taken_back(
    repository: Repository, site: Acting, tmp_path: Path
) -> None:
    plan = site.plan("roll_back")
    repository.commit("release 4", {b"a.txt": b"4\n"})
    repository.deploy(4, at=datetime.now(UTC) - timedelta(minutes=1))
    with pytest.raises(ActionError, match="has changed since this was proposed"):
        site.perform(plan)
    assert ran(tmp_path) == []


def test_a_script_that_fails_is_told_by_its_last_line(site: Acting, tmp_path: Path) -> None:
    script(tmp_path / "rollback.sh", "#!/bin/sh\necho 'no such image' >&2\nexit 3\n")
    with pytest.raises(ActionError, match="ended with 3: no such image"):
        site.perform(site.plan("roll_back"))
    assert site.outcomes == ["failed"]


def test_a_script_that_is_late_is_killed_and_nobody_knows_what_it_did(site: Acting, tmp_path: Path) -> None:
    script(tmp_path / "rollback.sh", '#!/bin/sh\nsleep 60 & echo $! > "$(dirname "$0")/pid"; wait\n')
    site.settings["actions"]["rollback"]["within"] = "1s"
    site.write()
    with pytest.raises(ActionError, match="did not end within 1 s"):
        site.perform(site.plan("roll_back"))
    assert site.outcomes == ["unknown"]
    pid = int((tmp_path / "pid").read_text())
    ends = time.monotonic() + 5
    while _runs(pid):
        assert time.monotonic() < ends
        time.sleep(0.1)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_what_a_script_floods_us_with_is_kept_by_its_end(site: Acting, tmp_path: Path) -> None:
    script(
        tmp_path / "rollback.sh", "#!/bin/sh\nhead -c 100000000 /dev/zero | tr '\\0' x\necho; echo the end\n"
    )
    deed = site.perform(site.plan("roll_back"))
    assert deed.message.endswith("the end")
    assert len(deed.message) < 3_000


def test_a_relative_file_of_the_command_is_meant_from_the_programs_folder(
    site: Acting, tmp_path: Path
) -> None:
    (tmp_path / "list.txt").write_text("one\n")
    command = site.settings["actions"]["rollback"]["command"]
    site.settings["actions"]["rollback"]["command"] = [*command[:2], "./list.txt"]
    site.write()
    plan = site.plan("roll_back")
    assert str(tmp_path / "list.txt") in plan.identity["files"]
    (tmp_path / "list.txt").write_text("two\n")
    with pytest.raises(ActionError, match="has changed since this was proposed"):
        site.perform(plan)
    assert ran(tmp_path) == []


@pytest.mark.parametrize(
    "change",
    [
        {"parameters": {"nonsense": 1}},
        {"identity": {}},
        {"identity": {"from": None, "to": 7}},
        {"action": "os.system"},
    ],
)
def test_a_plan_that_is_none_of_ours_is_refused_in_a_sentence(
    site: Acting, tmp_path: Path, change: dict[str, object]
) -> None:
    plan = replace(site.plan("roll_back"), **change)  # type: ignore[arg-type]
    with pytest.raises(ActionError):
        site.perform(plan)
    assert ran(tmp_path) == []
    assert site.outcomes == ["refused"]


def test_what_was_done_is_told_though_it_cannot_be_written_down(site: Acting, tmp_path: Path) -> None:
    book = site.folder / "actions.jsonl"
    script(tmp_path / "rollback.sh", f"#!/bin/sh\nmv {book} {book}.gone; mkdir {book}\necho ran\n")
    with pytest.raises(ActionError, match=r"the outcome \(done: rolled back .* ran\) could not be recorded"):
        site.perform(site.plan("roll_back"))


def test_a_script_sees_no_secret_of_ours(
    site: Acting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNBOOK_OPERATOR_TOKEN", "operator-token-canary")
    script(tmp_path / "rollback.sh", "#!/bin/sh\nenv\n")
    deed = site.perform(site.plan("roll_back"))
    assert "PATH=" in deed.message
    assert "canary" not in deed.message


def test_a_commit_is_taken_back_on_a_branch_and_the_clone_stays_as_it_is(
    repository: Repository, site: Acting
) -> None:
    before = [repository.git(*words.split()) for words in ("rev-parse HEAD", "status --porcelain", "branch")]
    plan = site.plan("revert_commit")
    deed = site.perform(plan)
    branch = plan.identity["branch"]
    assert branch in deed.message
    assert repository.git("show", f"{branch}:a.txt") == "2"
    assert repository.git("log", "-1", "--format=%an %s", branch) == 'Ada Revert "release 3"'
    repository.git("branch", "-D", branch)
    assert before == [
        repository.git(*words.split()) for words in ("rev-parse HEAD", "status --porcelain", "branch")
    ]
    assert repository.git("worktree", "list").count("\n") == 0


def test_all_commits_of_a_deployment_are_taken_back(repository: Repository, site: Acting) -> None:
    for name in ("bad", "worse"):
        repository.commit(f"a {name} change", {f"{name}.txt".encode(): b"x\n"})
    repository.deploy(4, at=datetime.now(UTC) - timedelta(minutes=1))
    plan = site.plan("revert_commit")
    site.perform(plan)
    files = repository.git("ls-tree", "--name-only", plan.identity["branch"]).split()
    assert ("bad.txt" in files, "worse.txt" in files, "a.txt" in files) == (False, False, True)


def test_what_goes_with_a_rollback_is_told_and_the_whole_service_rests_after_it(
    site: Acting, repository: Repository
) -> None:
    site.write(cooldown="15m")
    context, _ = context_of("Small", "site", "backend")
    told = registry.ACTIONS["roll_back"](context, to="deploy/1").effect
    second, third = (repository.git("rev-parse", "--short=8", f"deploy/{n}^{{commit}}") for n in (2, 3))
    assert told == f"Removes {third} “release 3” (1 files), and also {second} “release 2”."
    assert site.perform(site.plan("roll_back")).outcome == "done"
    with pytest.raises(ActionError, match=r"performed roll_back on .* the cooldown is 900 s"):
        site.perform(site.plan("roll_back", to="deploy/1"))


def test_while_one_action_is_under_way_no_other_begins_on_the_service(site: Acting, tmp_path: Path) -> None:
    slow = script(tmp_path / "slow.sh", '#!/bin/sh\necho begun > "$(dirname "$0")/begun"\nsleep 3\n')
    site.write(rollback={"command": [str(slow), "{revision}"]}, cooldown="1s")
    first, second = site.plan("roll_back"), site.plan("revert_commit")
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(site.perform, first)
        while not (tmp_path / "begun").exists():
            time.sleep(0.05)
        with pytest.raises(ActionError, match="another action on backend in site is running"):
            site.perform(second, by="Bob")
        assert running.result().outcome == "done"
    assert site.perform(site.plan("revert_commit")).outcome == "done"


def test_what_was_proposed_long_ago_is_refused(site: Acting) -> None:
    old = replace(site.plan("roll_back"), seen_at="2020-01-01T00:00:00+00:00")
    with pytest.raises(ActionError, match=r"this was proposed .* h ago"):
        site.gate().look(old)


def test_an_approval_s_time_runs_from_what_was_seen(site: Acting) -> None:
    site.write(approval="1s")
    plan, gate = site.plan("roll_back"), site.gate()
    seen = gate.look(plan)
    time.sleep(1.1)
    with pytest.raises(ActionError, match="the approval expired"):
        gate.perform(plan, gate.approve(seen, plan.target))


def test_a_commit_that_cannot_be_taken_back_leaves_nothing(repository: Repository, site: Acting) -> None:
    repository.commit("on top", {b"a.txt": b"changed again\n"})
    with pytest.raises(ActionError, match="git revert failed"):
        site.perform(site.plan("revert_commit"))
    assert "runbook/" not in repository.git("branch", "--all")
    assert repository.git("worktree", "list").count("\n") == 0
    assert site.outcomes == ["failed"]


def test_a_clone_whose_configuration_runs_programs_is_left_to_a_person(
    repository: Repository, site: Acting, tmp_path: Path
) -> None:
    repository.git("config", "filter.x.smudge", f"touch {tmp_path}/smudged")
    repository.git("config", "core.hooksPath", str(tmp_path))
    with pytest.raises(ActionError, match=r"configuration runs a program: filter.x.smudge"):
        site.perform(site.plan("revert_commit"))
    assert not (tmp_path / "smudged").exists()


@pytest.fixture
def switched(site: Acting, tmp_path: Path) -> Path:
    """An .env file that `use_fallback_mode` changes, and a command that makes the service anew."""
    file = tmp_path / "service.env"
    file.write_text("# the service\nAPI_KEY=sk-canary-0123456789abcdef\nFALLBACK_MODE=false\nexport A = b\n")
    file.chmod(0o640)
    then = [str(script(tmp_path / "up.sh")), "backend"]
    site.write(
        switches={
            "use_fallback_mode": {
                "file": str(file),
                "set": {"FALLBACK_MODE": "true", "NEW": "1"},
                "then": then,
            }
        }
    )
    return file


def test_a_setting_is_switched_and_the_rest_of_its_file_stays(
    site: Acting, switched: Path, tmp_path: Path
) -> None:
    context, _ = context_of("Small", "site", "backend")
    proposal = registry.ACTIONS["use_fallback_mode"](context)
    assert proposal.command.split("\n") == [
        f"--- {switched}",
        f"+++ {switched}",
        "-FALLBACK_MODE=false",
        "+FALLBACK_MODE=true",
        "+NEW=1",
        f"# then: {tmp_path}/up.sh backend",
    ]
    plan = site.plan("use_fallback_mode")
    deed = site.perform(plan)
    assert switched.read_text() == (
        "# the service\nAPI_KEY=sk-canary-0123456789abcdef\nFALLBACK_MODE=true\nexport A = b\nNEW=1\n"
    )
    assert stat.S_IMODE(switched.stat().st_mode) == 0o640
    kept_as = f"{switched}.before-{plan.fingerprint}"
    assert deed.message == f"set FALLBACK_MODE, NEW in {switched} (copy: {kept_as}): deployed backend"
    assert ran(tmp_path) == ["backend"]
    kept = (site.folder / deed.evidence / "notebook.ipynb").read_text()
    assert "canary" not in kept
    assert [path.name for path in tmp_path.glob(".service*")] == []
    time.sleep(1.1)
    with pytest.raises(ActionError, match="already has these settings"):
        site.plan("use_fallback_mode")


def test_a_settings_file_that_was_changed_meanwhile_is_left_alone(
    site: Acting, switched: Path, tmp_path: Path
) -> None:
    plan, gate = site.plan("use_fallback_mode"), site.gate()
    approval = gate.approve(gate.look(plan), "service.env")
    switched.write_text("FALLBACK_MODE=maybe\n")
    with pytest.raises(ActionError, match="has changed since this was proposed"):
        gate.perform(plan, approval)
    assert switched.read_text() == "FALLBACK_MODE=maybe\n"
    assert ran(tmp_path) == []


@pytest.fixture
def alertmanager(tmp_path: Path) -> Iterator[str]:
    folder = tmp_path / "alertmanager"
    folder.mkdir()
    with own_alertmanager(folder) as url:
        yield url


def test_an_alert_is_silenced_for_a_time_for_its_own_service_only(
    alertmanager: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = {"job": "backend", "service": "backend", "severity": "critical"}
    mine = [alert("Small", **labels, endpoint=name) for name in ("/a", "/b")]
    elsewhere = alert("Small", job="other", service="other", severity="critical")
    late = alert("Small", job="late", service="late", severity="critical")
    system = {"alertmanager": {"url": alertmanager}}
    site = Acting(tmp_path, monkeypatch, systems=system, actions={**system, "cooldown": "1s"})
    post(f"{alertmanager}/api/v2/alerts", [elsewhere])
    fires(alertmanager, 1)
    with pytest.raises(ActionError, match="is not firing for this service"):
        site.plan("silence_alert", duration="30m")
    assert firing_alert(context_of("Small", "site", "backend")[0]).status is Status.OK
    post(f"{alertmanager}/api/v2/alerts", mine)
    fires(alertmanager, 3)
    assert firing_alert(context_of("Small", "site", "backend")[0]).status is Status.CRITICAL
    deed = site.perform(site.plan("silence_alert", duration="30m"))
    assert deed.message.startswith("silenced Small until ")
    post(f"{alertmanager}/api/v2/alerts", [late])
    fires(alertmanager, 4)
    [silence] = Alertmanager(alertmanager, Tape()).silences()
    assert silence.state == "active"
    assert set(silence.matchers) == {'alertname="Small"', 'job="backend"', 'service="backend"'}
    assert timedelta(minutes=29) < silence.ends_at - silence.starts_at <= timedelta(minutes=30)
    assert site.deeds[0].plan[:12] in silence.comment
    assert WHY.bundle in silence.comment
    assert silence.created_by == "Ada"
    heard = {
        one.labels["job"]: bool(one.silenced_by) for one in Alertmanager(alertmanager, Tape()).alerts("Small")
    }
    assert heard == {"backend": True, "other": False, "late": False}


def fires(alertmanager: str, count: int) -> None:
    """Wait until it holds so many alerts."""
    for _ in range(100):
        if len(Alertmanager(alertmanager, Tape()).alerts("Small")) == count:
            return
        time.sleep(0.1)
    raise AssertionError(f"Alertmanager does not hold {count} alerts")


def test_an_alert_that_cannot_be_told_from_another_service_s_is_not_silenced(
    alertmanager: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = {"alertmanager": {"url": alertmanager}}
    site = Acting(tmp_path, monkeypatch, systems=system, actions={**system, "cooldown": "1s"})
    unlabelled = alert("Small", severity="page")
    post(f"{alertmanager}/api/v2/alerts", [unlabelled, alert("Small", job="other", severity="page")])
    fires(alertmanager, 2)
    with pytest.raises(ActionError, match="alertname=Small also matches an alert of another service"):
        site.plan("silence_alert", duration="30m")


def test_what_does_not_fire_is_not_silenced(
    alertmanager: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = {"alertmanager": {"url": alertmanager}}
    site = Acting(tmp_path, monkeypatch, systems=system, actions=system)
    with pytest.raises(ActionError, match="is not firing"):
        site.plan("silence_alert")


def test_nothing_can_be_done_where_the_site_does_not_say_so(site: Acting) -> None:
    del site.settings["actions"]["rollback"]
    site.write()
    context, _ = context_of("Small", "site", "backend")
    proposal = registry.ACTIONS["roll_back"](context)
    assert proposal.plan is None
    assert "add actions.rollback to the environment's file" in proposal.blocked
