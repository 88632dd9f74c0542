"""The runner is killed or told to stop, at any moment: what had finished is sealed, if not now then later."""

import json
import os
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from runbooklib.evidence import journal, manifest
from tests.support.clock_shift import stepping
from tests.support.rig import Disturbed, Rig, until
from tests.support.running import BIN, ROOT, command
from tests.support.sampling import sampled
from tests.support.survey import Survey, folder_content

HANG = "import time; time.sleep(1e6)"
KILLS = 200
SAMPLED_KILLS = 20
KILLED_IN_PART = (0.1, 1.0)  # of the time that an undisturbed run takes on this machine


@pytest.fixture
def rig(tmp_path: Path, survey: Survey) -> Rig:
    return Rig(tmp_path, survey)


def is_at(rig: Rig, words: int) -> bool:
    return len(rig.log.read_text().split()) >= words


@pytest.mark.parametrize(
    ("number", "within_seconds"),
    [
        pytest.param(signal.SIGTERM, 5, marks=pytest.mark.row("F14")),
        pytest.param(signal.SIGINT, 5, marks=pytest.mark.row("F15")),
        pytest.param(signal.SIGHUP, 5, marks=pytest.mark.row("F16")),
    ],
)
@pytest.mark.alone
def test_a_run_that_is_told_to_stop_is_sealed(rig: Rig, number: signal.Signals, within_seconds: int) -> None:
    rig.write(rig.step(), rig.step(), rig.step(HANG), rig.step())
    with rig.start() as process:
        until(lambda: is_at(rig, 2))
        time.sleep(0.5)
        begun = time.monotonic()
        process.send_signal(number)
        out, err = process.communicate(timeout=180)
    assert time.monotonic() - begun < within_seconds
    run = Disturbed(process.returncode, out, err, 0, rig.output)
    rig.hold(run, code=128 + number)
    assert run.statuses[-4:] == ["ok", "ok", "interrupted", "not_run"]
    assert run.steps["cell-5"][1] == f"ended by {number.name}"


@pytest.mark.row("F14")
def test_a_replay_that_is_told_to_stop_is_sealed_too(rig: Rig) -> None:
    argv = ["replay", str(ROOT / "recordings" / "HighErrorRate-bad-deploy.json"), "--output", str(rig.output)]
    environment = {**os.environ, **rig.environment, "RUNBOOK_HOME": str(ROOT)}
    with subprocess.Popen(
        [str(BIN / "runbook"), *argv], env=environment, stderr=subprocess.PIPE, text=True
    ) as process:
        said = process.stderr
        assert said is not None
        until(lambda: "✖" in said.readline())  # the first finding that is shown
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=180)
    assert process.returncode == 128 + signal.SIGTERM
    (bundle,) = manifest.bundles(rig.output)
    assert manifest.verify_folder(rig.output) == []
    assert "ended by SIGTERM" in json.loads((bundle / "verdict.json").read_bytes())["unfinished"]


@pytest.mark.row("F13")
@pytest.mark.parametrize("verb", ["seal --interrupted", "recover"])  # `recover` is the old name
def test_a_run_that_was_killed_is_sealed_from_its_journal(rig: Rig, verb: str) -> None:
    run = _killed_while_it_prints(rig)
    told = command(["runbook", *verb.split(), "--output", str(rig.output)], rig.environment)
    assert (told.code, told.err) == (0, "")
    rig.hold(run, code=-signal.SIGKILL)
    assert run.statuses[-4:] == ["ok", "ok", "interrupted", "not_run"]
    assert "the runner died" in run.steps["cell-5"][1]
    kept = [int(n) for n in re.findall(r"^tick (\d+)$", run.printed, re.MULTILINE)]
    assert kept == list(range(len(kept)))
    # Twenty a second: a second's worth, and what the kernel's own buffer may hold back.
    assert len(kept) >= (rig.folder / "ticks").stat().st_size - 30
    again = command(["runbook", *verb.split(), "--output", str(rig.output)], rig.environment)
    assert (again.code, again.out) == (0, "There is no interrupted run.\n")


@pytest.mark.row("F13")
def test_the_next_run_seals_what_a_killed_one_left(rig: Rig) -> None:
    killed = _killed_while_it_prints(rig)
    finished = rig.log.read_text().split()
    rig.write(rig.step(), alert="Other", is_plain=True)
    other = rig.run(alert="Other")
    assert "sealed an interrupted run" in other.err
    assert manifest.verify_folder(rig.output) == []
    (left,) = [bundle for bundle in killed.bundles if "Small" in bundle.name]
    rig.survey.kept(finished, re.findall(r"said-\w+", (left / "notebook.ipynb").read_text()))


def _killed_while_it_prints(rig: Rig) -> Disturbed:
    ticks = str(rig.folder / "ticks")
    prints = (
        "import time\nfor n in range(10**6):\n"
        "  print(f'tick {n}', flush=True)\n"
        f"  open({ticks!r}, 'a').write('.')\n"
        "  time.sleep(0.05)"
    )
    rig.write(rig.step(), rig.step(), prints, rig.step())
    with rig.start() as process:
        until(lambda: is_at(rig, 2))
        time.sleep(4)
        process.kill()
        out, err = process.communicate(timeout=180)
    rig.survey.nothing_left()  # although nobody was left to see to it
    assert [path.name[0] for path in rig.output.iterdir()] == ["."]
    return Disturbed(process.returncode, out, err, 0, rig.output)


@pytest.mark.row("F17")
@pytest.mark.slow
def test_kills_at_random_moments_leave_only_valid_evidence(
    rig: Rig, seed: int, request: pytest.FixtureRequest
) -> None:
    chance = random.Random(seed)
    big = "from IPython.display import display\ndisplay({'text/plain': 'y' * 1_300_000}, raw=True)"
    rig.write(*[rig.step(big) for _ in range(6)], is_plain=True)  # 8 MB
    first, last = KILLED_IN_PART
    width = (last - first) / KILLS
    shares = [(number, first + (number + chance.random()) * width) for number in range(KILLS)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        whole = statistics.mean(
            pool.map(lambda number: _undisturbed(rig, number), range(2 * (os.cpu_count() or 1)))
        )
        moments = [(number, share * whole) for number, share in sampled(shares, SAMPLED_KILLS, request)]
        outcomes = list(pool.map(lambda one: _killed(rig, *one), moments))
    assert len(outcomes) == len(moments)
    assert (
        sum(outcomes) >= len(moments) // 4
    )  # so many at least were killed in the middle of a step or a save


def _undisturbed(rig: Rig, number: int) -> float:
    """How many seconds a run takes that nobody kills."""
    begun = time.monotonic()
    with rig.start(output=rig.folder / f"whole-{number}") as process:
        _, err = process.communicate()
    assert process.returncode == 4, err  # no verdict: the notebook asks nothing
    return time.monotonic() - begun


def _killed(rig: Rig, number: int, after_seconds: float) -> bool:
    """One run that is killed then; whether it was killed while there was something to lose."""
    output, log = rig.folder / f"out-{number}", rig.folder / f"log-{number}"
    log.touch()
    with rig.start(output=output, environment={"LOG": str(log)}) as process:
        time.sleep(after_seconds)
        process.kill()
    if not output.is_dir():
        return False
    left = [path for path in output.iterdir() if path.name.startswith(".")]
    for folder in left:
        if (folder / journal.FILE).exists():
            assert journal.read(folder / journal.FILE)[1] == ""
    told = command(["runbook", "seal", "--interrupted", "--output", str(output)], rig.environment)
    assert (told.code, told.err) == (0, "")
    bundles = manifest.bundles(output)
    if bundles:
        assert manifest.verify_folder(output) == []
    for bundle in bundles:
        notebook = json.loads((bundle / "notebook.ipynb").read_bytes())
        said = json.dumps(notebook)
        for cell in notebook["cells"]:
            status = cell["metadata"].get("runbook", {}).get("status")
            if status == "ok" and cell["id"].startswith("plain"):
                word = re.findall(r"said-\w+", "".join(cell["source"]))[0]
                assert said.count(word) >= 3, "a step that is ok has lost what it printed"
    shutil.rmtree(output)
    return bool(left)


@pytest.mark.row("F18")
@pytest.mark.parametrize("call", ["fsync", "write", "rename"])
@pytest.mark.parametrize("what", ["signal=SIGKILL", "error=EIO"])
def test_a_journal_is_a_valid_beginning_wherever_it_breaks(
    rig: Rig, call: str, what: str, request: pytest.FixtureRequest
) -> None:
    rig.write(rig.step(), rig.step(), is_plain=True)
    moments = {"fsync": [1, 2, 3, 5, 7, 9, 11], "write": [1, 2, 4, 6], "rename": [1]}[call]
    for number in sampled(moments, 3, request):
        output = rig.folder / f"out-{number}"
        traced = _only_evidence(output) if call == "write" else []
        before = [
            "strace",
            "-f",
            "-qq",
            "-o",
            "/dev/null",
            *traced,
            "-e",
            f"inject={call}:{what}:when={number}",
        ]
        run = rig.run(before=before, output=output)
        if what.startswith("signal"):
            _hold_killed(rig, output)
        else:
            spooled = manifest.bundles(rig.folder / "spool") if (rig.folder / "spool").exists() else []
            assert run.code in (2, 4), (number, run.err)
            assert [*run.bundles, *spooled], (number, run.err)
            for bundle in (*run.bundles, *spooled):
                assert manifest.verify_bundle(bundle) == []
                words = (bundle / "notebook.ipynb").read_text()
                rig.survey.kept(rig.log.read_text().split(), re.findall(r"said-\w+", words))
            shutil.rmtree(rig.folder / "spool", ignore_errors=True)
        rig.survey.nothing_left()


def _only_evidence(output: Path) -> list[str]:
    """strace counts only what is done to this file."""
    return ["-P", str(output)]


def _hold_killed(rig: Rig, output: Path) -> None:
    for path in output.rglob(journal.FILE):
        _, wrong = journal.read(path)
        assert wrong == ""
    told = command(["runbook", "seal", "--interrupted", "--output", str(output)], rig.environment)
    assert (told.code, told.err) == (0, "")
    bundles = manifest.bundles(output)
    for bundle in bundles:
        words = (bundle / "notebook.ipynb").read_text()
        rig.survey.kept(rig.log.read_text().split(), re.findall(r"said-\w+", words))
    if not bundles:  # it was killed before anything had run
        assert rig.log.read_text() == ""


@pytest.mark.row("F22")
@pytest.mark.slow
def test_two_hundred_megabytes_of_output_are_cut_and_counted(rig: Rig) -> None:
    flood = "line = 'z' * 99 + chr(10)\nimport sys\nfor n in range(20): sys.stdout.write(line * 100_000)"
    rig.write(rig.step(flood), rig.step(), is_plain=True)
    run = rig.run("--step-within", "9m", before=[sys.executable, "-c", _MEASURED], within_seconds=600)
    rig.hold(run, code=4)  # no verdict: the notebook asks nothing
    size = sum(len(content) for content in folder_content(run.bundle).values())
    assert size <= 5_000_000
    peak_kib = int(re.findall(r"peak (\d+)", run.err)[-1])
    assert peak_kib < 300 * 1024
    (cell,) = [cell for cell in run.notebook["cells"] if cell["id"] == "plain-0"]
    text = "".join(cell["outputs"][0]["text"])
    assert text.startswith("said-")
    assert text.endswith("z\n")
    assert re.search(
        r"truncated: [\d,]+ of 200,000,0\d\d bytes are left out here; sha256 of the whole: \w{64}", text
    )


# The runner's own peak, and that of no process which it started.
_MEASURED = """
import re, subprocess, sys, time
process = subprocess.Popen(sys.argv[1:])
peak = 0
while process.poll() is None:  # what wait4 tells would be the largest of it and of what it started
    try:
        peak = int(re.search(r"VmHWM:\\s+(\\d+)", open(f"/proc/{process.pid}/status").read())[1])
    except (OSError, TypeError):
        pass  # it is just ending
    time.sleep(0.02)
print("peak", peak, file=sys.stderr)
sys.exit(process.returncode)
"""


@pytest.mark.row("F23")
@pytest.mark.slow
@pytest.mark.alone
def test_the_time_for_two_million_lines_grows_with_their_number_and_not_faster(rig: Rig) -> None:
    few, many = (rig.step(f"for n in range({count}): print(n)") for count in (200_000, 2_000_000))
    rig.write(few, many, rig.step(), is_plain=True)
    run = rig.run("--step-within", "9m", "--within", "15m", within_seconds=1000)
    rig.hold(run, code=4)
    assert run.statuses == ["ok"] * len(run.statuses)
    cells = {cell["id"]: cell for cell in run.notebook["cells"]}
    # Ten times the lines. ipykernel needs most of the time: 20 to 30 s for two million on a slow machine.
    seconds = [cells[name]["metadata"]["papermill"]["duration"] for name in ("plain-0", "plain-1")]
    assert seconds[1] < 20 * seconds[0], seconds
    assert "".join(cells["plain-1"]["outputs"][0]["text"]).endswith("\n1999999\n")


@pytest.mark.row("F31")
@pytest.mark.slow
def test_twenty_runs_at_once_are_all_sealed(rig: Rig) -> None:
    rig.write(rig.step(), is_plain=True)
    processes = [rig.start("--within", "4m") for _ in range(20)]
    for process in processes:
        process.communicate(timeout=240)
    assert [process.returncode for process in processes] == [4] * 20
    bundles = manifest.bundles(rig.output)
    assert len(bundles) == 20
    assert manifest.verify_folder(rig.output) == []
    rig.survey.kept(
        rig.log.read_text().split(),
        " ".join((bundle / "notebook.ipynb").read_text() for bundle in bundles)
        .replace("\\n", " ")
        .replace('"', " ")
        .split(),
    )


@pytest.mark.row("F30")
def test_two_runs_of_one_alert_at_one_instant_are_two_bundles(rig: Rig) -> None:
    rig.write(rig.step())
    processes = [rig.start(), rig.start()]
    for process in processes:
        process.communicate(timeout=300)
    assert [process.returncode for process in processes] == [2, 2]
    assert len(manifest.bundles(rig.output)) == 2
    assert manifest.verify_folder(rig.output) == []


@pytest.mark.row("H78")
def test_no_other_user_can_reach_the_kernel(rig: Rig) -> None:
    rig.write(rig.step(), rig.step(HANG), is_plain=True)
    with rig.start() as process:
        until(lambda: is_at(rig, 1))
        time.sleep(0.3)
        pids = [process.pid, *_below(process.pid)]
        assert len(pids) >= 3, "runner, keeper, kernel"
        assert _listening(pids) == []
        sockets = [
            Path(line.split()[-1])
            for line in Path("/proc/net/unix").read_text().splitlines()
            if "kernel.json" in line or "/runbook-" in line
        ]
        folders = {path.parent for path in sockets if path.is_absolute()}
        assert folders
        for folder in folders:
            assert folder.stat().st_mode & 0o777 == 0o700
            refused = subprocess.run(
                ["setpriv", "--reuid=65534", "--clear-groups", "ls", str(folder)],
                capture_output=True,
                check=False,
            )
            assert refused.returncode != 0
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=180)


def _below(pid: int) -> list[int]:
    found = [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [*found, *(under for one in found for under in _below(one))]


def _listening(pids: list[int]) -> list[str]:
    """TCP sockets on which one of the processes listens."""
    inodes = set()
    for pid in pids:
        for file in Path(f"/proc/{pid}/fd").iterdir():
            target = str(file.readlink())
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    lines = [
        line.split()
        for name in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]
    ]
    return [line[1] for line in lines if line[3] == "0A" and line[9] in inodes]


@pytest.mark.row("H71")
def test_a_runner_that_dies_at_any_write_has_written_no_secret(
    rig: Rig, request: pytest.FixtureRequest
) -> None:
    canary = "kq-8Zr1-xvD9-canary-value"
    rig.write(
        rig.step(f"print('the key is ' + {canary[:12]!r} + {canary[12:]!r})"), rig.step(HANG), is_plain=True
    )
    secret = {"SITE_API_TOKEN": canary}
    for number in sampled((1, 3, 5, 7, 9, 12), 3, request):
        output = rig.folder / f"out-{number}"
        before = [
            "strace",
            "-f",
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            f"inject=fsync:signal=SIGKILL:when={number}",
        ]
        rig.run("--step-within", "2s", before=before, output=output, environment=secret)
        if content := folder_content(output):
            rig.survey.no_canary(content, canary)
    whole = rig.run("--step-within", "2s", environment=secret)
    assert "the key is [redacted:" in whole.printed
    rig.survey.no_canary({**folder_content(rig.output), "out": whole.out, "err": whole.err}, canary)


@pytest.mark.row("H79")
def test_a_cell_that_changes_evidence_is_found_out(rig: Rig) -> None:
    rig.write(rig.step(), is_plain=True)
    rig.run()
    attack = (
        "import glob\n"
        f"for path in glob.glob({str(rig.output)!r} + '/*/verdict.json'): open(path, 'a').write(' ')\n"
        f"for path in glob.glob({str(rig.output)!r} + '/*/manifest.json'): open(path, 'a').write(' ')\n"
        f"for path in glob.glob({str(rig.output)!r} + '/.*/journal.jsonl'):\n"
        "  text = open(path).read(); open(path, 'w').write(text.replace('said-', 'lied-'))"
    )
    rig.write(rig.step(), attack, rig.step(), is_plain=True)
    run = rig.run()
    assert run.code == 4
    assert "its journal was changed by somebody else while it ran" in run.err
    wrong = manifest.verify_folder(rig.output)
    assert len(wrong) == 1
    assert "manifest.json: was changed" in wrong[0]
    told = command([str(BIN / "runbook"), "verify", str(rig.output)], rig.environment)
    assert told.code == 1


@pytest.mark.row("F66")
@pytest.mark.parametrize("step_seconds", [-3600, 3600])
def test_a_clock_that_is_set_under_way_makes_no_duration_wrong(rig: Rig, step_seconds: int) -> None:
    ahead = rig.folder / "ahead"
    ahead.write_text("0")
    set_clock = (
        f"import time\ntime.sleep(1)\nopen({str(ahead)!r}, 'w').write('{step_seconds}')\ntime.sleep(1)"
    )
    rig.write(rig.step(), rig.step(set_clock), rig.step())
    begun = time.monotonic()
    run = rig.run("--step-within", "20s", environment=stepping(rig.folder, ahead))
    rig.hold(run, code=2)
    assert run.statuses[-3:] == ["ok", "ok", "ok"]
    notebook = run.notebook
    told = [
        cell["metadata"]["papermill"]["duration"] for cell in notebook["cells"] if cell["cell_type"] == "code"
    ]
    told.append(notebook["metadata"]["papermill"]["duration"])
    assert all(0 <= seconds <= time.monotonic() - begun for seconds in told), told
    assert max(told[:-1]) >= 2
    about = json.loads((run.bundle / "manifest.json").read_bytes())
    assert about["clock_step_seconds"] == step_seconds
