"""Who may not pass the gate: cells, changed runbooks and evidence, replays, whoever types another name."""

import json
import os
import pty
import select
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from runbooklib.evidence import action_ledger, manifest
from runbooklib.model.plan import Plan
from tests.support import small
from tests.support.acting import Acting
from tests.support.dockerd import Engine, busy_url, host, until_true
from tests.support.running import BIN, Ended, command

__all__ = ["busy_url", "host"]
QUICK = "echo began; trap 'exit 0' TERM; while :; do sleep 0.1; done"
PROPOSE = 'hang = incident.cause("hang", "The process hangs")\nhang.propose(restart_container)'


@pytest.fixture
def container(host: Engine) -> str:
    name = host.run(QUICK)
    until_true(lambda: b"began" in host.client.containers.get(name).logs())
    return name


@pytest.fixture
def site(busy_url: str, container: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Acting:
    docker = {"docker": {"url": busy_url}}
    actions = {**docker, "cooldown": "1s"}
    site = Acting(tmp_path, monkeypatch, systems=docker, actions=actions, containers=(container,))
    small.write(site.home, "Small", PROPOSE)
    return site


def run(site: Acting, alert: str = "Small") -> Path:
    """The bundle of a run."""
    before = set(manifest.bundles(site.folder))
    argv = ["runbook", "run", alert, "-e", "site", "--output", str(site.folder)]
    ended = command(argv, site.environment)
    (bundle,) = set(manifest.bundles(site.folder)) - before
    assert ended.code == 2, ended.err  # nothing was checked: it is about what it proposes
    assert "What can be approved: runbook approve " in ended.out
    return bundle


def fingerprint(bundle: Path) -> str:
    [one] = json.loads((bundle / "verdict.json").read_bytes())["actions"]
    return str(one["fingerprint"])


def approve(site: Acting, bundle: Path, *more: str) -> Ended:
    argv = ["runbook", "approve", str(bundle), "restart_container", "--by", "Ada", "--no-wait", *more]
    return command(argv, site.environment)


def started(host: Engine, name: str) -> str:
    return str(host.client.api.inspect_container(name)["State"]["StartedAt"])


def test_with_the_plans_fingerprint_nobody_is_asked(host: Engine, container: str, site: Acting) -> None:
    bundle, before = run(site), started(host, container)
    wrong = approve(site, bundle, "--yes", "0" * 12)
    assert (wrong.code, "is not this plan's fingerprint" in wrong.err) == (5, True)
    untold = approve(site, bundle)
    assert (untold.code, "an approval is typed in a terminal" in untold.err) == (3, True)
    assert started(host, container) == before
    misspelt = command(["runbook", "approve", str(bundle), "restart_contaner"], site.environment)
    assert (misspelt.code, "did you mean 'restart_container'?" in misspelt.err) == (3, True)
    done = approve(site, bundle, "--yes", fingerprint(bundle))
    assert (done.code, f"Done: restarted {container}" in done.out) == (0, True), done.err
    assert started(host, container) != before
    again = approve(site, bundle, "--yes", fingerprint(bundle))
    assert (again.code, "has changed since this was proposed" in again.err) == (5, True)
    assert manifest.verify_folder(site.folder) == []
    listed = command(["runbook", "actions", "--output", str(site.folder)], site.environment).out
    assert f"done     restart_container on {container} (site, backend)  by Ada@" in listed
    assert "refused  restart_container" in listed


@pytest.mark.parametrize("typed", ["", "yes", "the name"])
def test_in_a_terminal_the_targets_name_is_typed(
    host: Engine, container: str, site: Acting, typed: str
) -> None:
    bundle, before = run(site), started(host, container)
    code, told = in_a_terminal(site, bundle, container if typed == "the name" else typed)
    assert f"Type {container} to do it" in told
    for fact in (
        "docker restart",
        "Requests fail until the container is up again",
        "The process hangs",
        "undo",
    ):
        assert fact in told
    if typed == "the name":
        assert (code, started(host, container) != before) == (0, True), told
    else:
        assert (code, started(host, container)) == (5, before), told
        assert f"type {container} to approve" in told


def in_a_terminal(site: Acting, bundle: Path, typed: str) -> tuple[int, str]:
    """Exit code, and what stood on the screen."""
    ours, theirs = pty.openpty()
    argv = [str(BIN / "runbook"), "approve", str(bundle), "restart_container", "--no-wait"]
    environment = {**os.environ, **site.environment}
    shown = b""
    with subprocess.Popen(argv, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        ends, is_typed = time.monotonic() + 60, False
        while time.monotonic() < ends:
            if select.select([ours], [], [], 0.2)[0]:
                try:
                    shown += os.read(ours, 4096)
                except OSError:
                    break
            if b"to do it" in shown and not is_typed:
                os.write(ours, typed.encode() + b"\n")
                is_typed = True
        process.wait(10)
    os.close(ours)
    return process.returncode, " ".join(shown.decode().split())


@pytest.mark.row("H75")
def test_what_a_runbook_proposed_that_was_changed_since_is_not_done(
    host: Engine, container: str, site: Acting
) -> None:
    bundle, before = run(site), started(host, container)
    notebook = site.home / "notebooks" / "Small.ipynb"
    notebook.write_text(notebook.read_text().replace("The process hangs", "The process is fine"))
    ended = approve(site, bundle, "--yes", fingerprint(bundle))
    assert (ended.code, "Small.ipynb was changed since this run" in ended.err) == (5, True)
    assert started(host, container) == before


def test_evidence_that_was_changed_is_no_reason_to_act(host: Engine, container: str, site: Acting) -> None:
    bundle, before = run(site), started(host, container)
    verdict = bundle / "verdict.json"
    verdict.write_text(verdict.read_text().replace("The process hangs", "All is lost"))
    ended = approve(site, bundle, "--yes", fingerprint(bundle))
    assert (ended.code, "this evidence was changed" in ended.err) == (5, True)
    assert started(host, container) == before


@pytest.mark.parametrize("told", ['[{"plan": 7}]', "[{}]", "[7]", '[{"plan": {"action": "x"}}]'])
def test_what_a_cell_forged_as_a_proposal_is_told_in_a_sentence(site: Acting, told: str) -> None:
    forge = (
        "from IPython.display import update_display\n"
        "from runbooklib.evidence import verdict_json\n"
        "verdict = verdict_json.verdict_as_dict(incident.verdict, incident.context)\n"
        f"verdict['actions'] = {told}\n"
        "update_display({verdict_json.VERDICT_MIME: verdict, 'text/plain': 'forged'},"
        " display_id='runbook-verdict', raw=True)"
    )
    small.write(site.home, "Small", PROPOSE, forge)
    ended = approve(site, run(site), "--yes", "0" * 12)
    assert (ended.code, "the proposals of this run cannot be read" in ended.err) == (5, True), ended.err
    assert "Traceback" not in ended.err


def test_what_a_cell_forged_moves_no_terminal(site: Acting) -> None:
    plan = Plan("restart_container", {}, "\x1b[2JA", "\x1b[2JS", "\x1b[2JE", "\x1b[2JT").as_dict()
    told = {"plan": plan, "title": "\x1b[2Jt", "cause": "\x1b[2Jc", "rank": "\x1b[2Jr"}
    forge = (
        "import json\n"
        "from IPython.display import update_display\n"
        "from runbooklib.evidence import verdict_json\n"
        "verdict = verdict_json.verdict_as_dict(incident.verdict, incident.context)\n"
        f"verdict['actions'] = [json.loads({json.dumps(json.dumps(told))})]\n"
        "update_display({verdict_json.VERDICT_MIME: verdict, 'text/plain': 'forged'},"
        " display_id='runbook-verdict', raw=True)"
    )
    small.write(site.home, "Small", PROPOSE, forge)
    listed = command(["runbook", "approve", str(run(site))], site.environment)
    assert (listed.code, "restart_container" in listed.out) == (0, True), listed.err
    assert "\x1b" not in listed.out + listed.err


def test_a_replay_never_acts(host: Engine, container: str, site: Acting) -> None:
    bundle, before = run(site), started(host, container)
    output = ["--output", str(site.folder)]
    told = command(["runbook", "replay", str(bundle), *output], site.environment)
    assert (told.code, "runbook approve" in told.out) == (2, False), told.out
    (replayed,) = [one for one in manifest.bundles(site.folder) if "replay" in one.name]
    assert "runbook approve" in (bundle / "notebook.html").read_text()
    assert "runbook approve" not in (replayed / "notebook.html").read_text()
    ended = approve(site, replayed, "--yes", fingerprint(bundle))
    assert (ended.code, "a replay cannot perform actions" in ended.err) == (5, True)
    assert started(host, container) == before


def test_a_replay_that_was_sealed_never_acts_either(host: Engine, container: str, site: Acting) -> None:
    bundle, before = run(site), started(host, container)
    output = ["--output", str(site.folder)]
    command(["runbook", "replay", str(bundle), *output], site.environment)
    (replayed,) = [one for one in manifest.bundles(site.folder) if "replay" in one.name]
    known = set(manifest.bundles(site.folder))
    notebook = str(replayed / "notebook.ipynb")
    ended = command(["runbook", "seal", notebook, *output], site.environment)
    assert ended.code == 0, ended.err
    (sealed,) = set(manifest.bundles(site.folder)) - known
    ended = approve(site, sealed, "--yes", fingerprint(bundle))
    assert (ended.code, "a replay cannot perform actions" in ended.err) == (5, True)
    assert started(host, container) == before


@pytest.mark.parametrize("ledger", ["none", "another's"])
def test_a_copy_of_a_bundle_gets_round_no_limit(
    host: Engine, container: str, site: Acting, tmp_path: Path, ledger: str
) -> None:
    bundle, before = run(site), started(host, container)
    (site.folder / "STOP-ACTIONS").write_text("freeze")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    if ledger == "another's":
        command(["runbook", "run", "Small", "-e", "site", "--output", str(elsewhere)], site.environment)
    copy = shutil.copytree(bundle, elsewhere / bundle.name)
    ended = approve(site, copy, "--yes", fingerprint(bundle))
    assert ended.code == 5
    assert "does not list this bundle" in ended.err or f"{bundle.name}: is not in ledger.jsonl" in ended.err
    assert started(host, container) == before


def test_evidence_that_is_not_in_the_site_s_folder_lets_nothing_be_done(site: Acting, tmp_path: Path) -> None:
    bundle = run(site)
    argv = ["runbook", "approve", str(bundle), "restart_container", "--yes", fingerprint(bundle)]
    ended = command(argv, {**site.environment, "RUNBOOK_EVIDENCE": str(tmp_path / "another")})
    assert (ended.code, "this evidence is not in" in ended.err) == (5, True)


_APPROVES = """
import json, os, subprocess, time
argv = json.loads({argv!r})
clean = {{"PATH": os.environ["PATH"], "HOME": "/", **json.loads({environment!r})}}
told = subprocess.run(argv, env=clean, capture_output=True, text=True)
print("code", told.returncode, told.stderr)
# Once more, cut loose: in a session of its own, by a child whose parent is gone.
loose = "import os, subprocess, sys, json\\n" \
    "if os.fork(): os._exit(0)\\n" \
    "os.setsid()\\n" \
    "told = subprocess.run(json.loads(sys.argv[1]), capture_output=True, text=True)\\n" \
    "open(sys.argv[2], 'w').write(f'code {{told.returncode}} {{told.stderr}}')\\n"
import sys
subprocess.run([sys.executable, "-c", loose, json.dumps(argv), {said!r}], env=clean, check=True)
while not os.path.exists({said!r}) or not os.path.getsize({said!r}):
    time.sleep(0.1)
print("loose", open({said!r}).read())
names = [name for name in os.environ if name.startswith("RUNBOOK_OPERATOR_") or "APPROV" in name]
print("secrets", names, "operator-canary" in open(f"/proc/{{os.getpid()}}/environ").read())
"""


@pytest.mark.row("H80")
def test_a_cell_cannot_approve_what_its_runbook_proposes(
    host: Engine, container: str, site: Acting, tmp_path: Path
) -> None:
    bundle, before = run(site), started(host, container)
    argv = [str(BIN / "runbook"), "approve", str(bundle), "restart_container"]
    argv += ["--yes", fingerprint(bundle), "--no-wait"]
    cell = _APPROVES.format(
        argv=json.dumps(argv), environment=json.dumps(site.environment), said=str(tmp_path / "said")
    )
    small.write(site.home, "Evil", PROPOSE, cell)
    site.environment["RUNBOOK_OPERATOR_PASSWORD"] = "operator-canary"
    evil = run(site, "Evil")
    printed = (evil / "notebook.ipynb").read_text()
    assert printed.count("a headless run can only propose") == 2
    assert "code 5" in printed
    assert "secrets [] False" in printed
    assert "operator-canary" not in printed
    assert started(host, container) == before
    lines, _ = action_ledger.read(site.folder)
    assert [line["kind"] for line in lines] == ["refused", "refused"]
