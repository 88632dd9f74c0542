"""The kernel dies, hangs or runs away: the run ends in time, says why, and keeps every step that finished."""

import json
from pathlib import Path

import pytest

from tests.support.rig import Cgroup, Rig, shell
from tests.support.survey import Survey
from tests.support.timing import BUSY_SECONDS

KILL = "import os, signal; os.kill(os.getpid(), signal.{})"


@pytest.fixture
def rig(tmp_path: Path, survey: Survey) -> Rig:
    return Rig(tmp_path, survey)


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        pytest.param(KILL.format("SIGKILL"), "killed by signal 9 (SIGKILL)", marks=pytest.mark.row("F01")),
        pytest.param(
            "import ctypes; ctypes.string_at(0)", "killed by signal 11", marks=pytest.mark.row("F02")
        ),
        pytest.param(
            "import os; os._exit(0)", "ended by itself, with exit code 0", marks=pytest.mark.row("F04")
        ),
    ],
)
def test_a_kernel_that_dies_is_an_interrupted_step(rig: Rig, fault: str, cause: str) -> None:
    rig.write(rig.step(), rig.step(fault), rig.step())
    run = rig.run()
    rig.hold(run, code=2)
    assert run.statuses[-3:] == ["ok", "interrupted", "not_run"]
    assert cause in run.steps["cell-4"][1]
    assert cause in run.err


@pytest.mark.row("F03")
def test_a_kernel_without_memory_is_said_to_have_had_none(rig: Rig) -> None:
    rig.write(rig.step(), rig.step("hog = []\nwhile True: hog.append(bytearray(10_000_000))"), rig.step())
    with Cgroup("memory", {"memory.limit_in_bytes": "500M"}) as before:
        run = rig.run(before=before)
    rig.hold(run, code=2)
    assert run.statuses[-3:] == ["ok", "interrupted", "not_run"]
    assert "out of memory (OOM)" in run.steps["cell-4"][1]


@pytest.mark.row("F05", "F09", "F10")
@pytest.mark.parametrize(
    ("fault", "status_after"),
    [
        (KILL.format("SIGSTOP"), "not_run"),
        # Whether the interrupt ends the step within the grace period of a second depends on the machine.
        pytest.param("import time; time.sleep(1e6)", "ok", marks=pytest.mark.alone),
        (
            "import signal, time; signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}); time.sleep(1e6)",
            "not_run",
        ),
        ("import time\nwhile True:\n  try: time.sleep(1e6)\n  except KeyboardInterrupt: pass", "not_run"),
    ],
)
def test_a_step_that_hangs_ends_at_its_deadline(rig: Rig, fault: str, status_after: str) -> None:
    rig.write(rig.step(), rig.step(fault), rig.step())
    run = rig.run("--step-within", "15s")
    rig.hold(run, code=2)
    assert run.statuses[-3:] == ["ok", "interrupted", status_after]
    assert run.steps["cell-4"][1] == "the step did not end within 15 s"
    (late,) = [cell for cell in run.notebook["cells"] if cell["id"] == "cell-4"]
    assert 15 <= late["metadata"]["papermill"]["duration"] <= 15 + BUSY_SECONDS
    lines = (run.bundle / "journal.jsonl").read_text().splitlines()
    beats = [
        told["seconds"] for told in map(json.loads, lines) if told["kind"] == "beat" and told["cell"] == 5
    ]
    assert len(beats) >= 3


def kernel_in_its_place(folder: Path, script: str) -> dict[str, str]:
    """The environment in which the kernel of that name is a shell script."""
    spec = folder / "jupyter" / "kernels" / "python3" / "kernel.json"
    spec.parent.mkdir(parents=True)
    told = {"argv": ["bash", "-c", script], "display_name": "Broken", "language": "python"}
    spec.write_text(json.dumps(told))
    return {"JUPYTER_PATH": str(folder / "jupyter")}


@pytest.mark.row("F06")
def test_a_kernel_that_ends_at_its_start_ran_nothing(rig: Rig, tmp_path: Path) -> None:
    rig.write(rig.step())
    run = rig.run(environment=kernel_in_its_place(tmp_path, "echo it has no numpy >&2; exit 3"))
    rig.hold(run, code=4)
    assert set(run.statuses) == {"not_run"}
    assert "the kernel did not start" in run.err
    assert "it has no numpy" in run.err


@pytest.mark.row("F07")
def test_a_kernel_that_hangs_at_its_start_is_given_up(rig: Rig, tmp_path: Path) -> None:
    rig.write(rig.step())
    # It ends at all, although the kernel hangs for days: `rig.run` waits five minutes at most.
    run = rig.run("--within", "4s", environment=kernel_in_its_place(tmp_path, "sleep 1000000"))
    rig.hold(run, code=4)
    assert set(run.statuses) == {"not_run"}
    assert "did not end within 4 s" in run.err


@pytest.mark.row("F08")
def test_a_kernel_that_is_not_installed_is_named(rig: Rig) -> None:
    rig.write(rig.step())
    path = rig.home / "notebooks" / "Small.ipynb"
    path.write_text(path.read_text().replace('"name": "python3"', '"name": "nosuch"'))
    run = rig.run()
    rig.hold(run, code=4)
    assert set(run.statuses) == {"not_run"}
    assert "there is no kernel named 'nosuch' here" in run.err


@pytest.mark.row("F11")
def test_a_run_ends_at_its_deadline_though_each_step_is_in_time(rig: Rig) -> None:
    steps = [rig.step("import time; time.sleep(4)") for _ in range(50)]
    rig.write(*steps)
    run = rig.run("--within", "30s")  # enough to open the incident on a busy machine
    rig.hold(run, code=2)
    assert run.seconds < 30 + BUSY_SECONDS < 4 * len(steps)
    assert run.statuses[-1] == "not_run"
    first = run.statuses.index("not_run")
    assert set(run.statuses[first:]) == {"not_run"}
    # The deadline passes within a step or, rarely, between two.
    assert run.statuses[first - 1] in ("interrupted", "ok")
    assert "the run did not end within 30 s" in run.err


@pytest.mark.row("F12")
@pytest.mark.parametrize("code", ["0", "", "3"])
def test_a_cell_that_exits_is_not_taken_for_success(rig: Rig, code: str) -> None:
    rig.write(rig.step(), f"import sys; sys.exit({code})", rig.step())
    run = rig.run()
    rig.hold(run, code=2)
    assert run.statuses[-3:] == ["ok", "unknown", "not_run"]
    assert "SystemExit" in run.err


@pytest.mark.row("F19")
def test_what_the_kernel_started_ends_with_it(rig: Rig) -> None:
    started = [
        "import subprocess; subprocess.Popen(['sleep', '1000'])",
        "subprocess.Popen(['setsid', 'sleep', '1001'])",
        "subprocess.Popen(['bash', '-c', '(setsid sleep 1002 &) ; exec sleep 1003'])",
        "subprocess.Popen(['nohup', 'bash', '-c', 'trap \"\" TERM INT HUP; sleep 1004; sleep 1005'])",
    ]
    rig.write(*map(rig.step, started))
    rig.hold(rig.run(), code=2)
    rig.write(*map(rig.step, started), KILL.format("SIGKILL"))
    second = rig.run(output=rig.folder / "second")
    rig.hold(second, code=2)
    assert second.statuses[-1] == "interrupted"


@pytest.mark.row("F20")
def test_a_kernel_without_file_descriptors_is_told(rig: Rig) -> None:
    hog = "import os, resource\nresource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))\nheld = []\n"
    rig.write(rig.step(), hog + "while True: held.append(os.open('/dev/null', 0))", rig.step())
    run = rig.run("--step-within", "20s")
    rig.hold(run, code=2)
    assert "Too many open files" in run.err
    assert run.statuses[-1] == "not_run"


@pytest.mark.row("F20")
def test_a_runner_without_file_descriptors_is_told(rig: Rig) -> None:
    rig.write(rig.step())
    run = rig.run(before=shell("ulimit -n 64"))
    assert run.code == 4
    assert "too few file descriptors: this process may open 64 files" in run.err
    assert len(run.err.splitlines()) <= 3, run.err
    assert run.bundles == []
    rig.hold(rig.run(before=shell("ulimit -Sn 64")), code=2)


@pytest.mark.row("F21")
def test_a_fork_bomb_ends_with_the_run(rig: Rig) -> None:
    bomb = "import os\nwhile True:\n  try: os.fork()\n  except OSError: pass"
    rig.write(rig.step(), bomb, rig.step())
    with Cgroup("pids", {"pids.max": "64"}) as before:
        run = rig.run("--step-within", "5s", before=before)
    rig.hold(run, code=2)
    assert run.statuses[-2:] == ["interrupted", "not_run"]
