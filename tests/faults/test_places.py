"""Where evidence goes: full disks, names that are taken, links, and folders that change under the hand."""

import ctypes
import json
import os
import re
import stat
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from runbooklib.errors import InputError
from runbooklib.evidence import manifest
from runbooklib.evidence.bundle import Bundle
from runbooklib.evidence.journal import Journal
from tests.support.rig import Disturbed, Rig, until
from tests.support.running import BIN, command
from tests.support.servers import program
from tests.support.survey import Survey, folder_content
from tests.support.timing import BUSY_SECONDS

AT = datetime(2026, 1, 15, 3, 12, tzinfo=UTC)
WAIT = "import os, time\nwhile not os.path.exists({!r}): time.sleep(.01)"
NOTEBOOK: dict[str, Any] = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": []}


TAKE: list[Callable[[Path, Path], object]] = [
    lambda place, victim: place.symlink_to(victim),
    lambda place, victim: place.hardlink_to(victim),
    lambda place, _: place.mkdir(),
    lambda place, _: place.write_text("old"),
]


@pytest.fixture
def rig(tmp_path: Path, survey: Survey) -> Rig:
    return Rig(tmp_path, survey)


@pytest.fixture
def small_disk(rig: Rig) -> Iterator[Path]:
    """A file system of two megabytes, in the place of the evidence."""
    rig.output.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "runbook-test", str(rig.output)], check=True)
    yield rig.output
    subprocess.run(["umount", "--lazy", str(rig.output)], check=True)


@pytest.fixture
def failing_disk(rig: Rig, tmp_path: Path) -> Iterator[Path]:
    """An ext4 file system, which becomes read-only with files open, as one does whose disk fails."""
    rig.output.mkdir()
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(16 * 1024 * 1024)
    subprocess.run([program("mkfs.ext4"), "-q", str(image)], check=True)
    subprocess.run(["mount", "-o", "loop", str(image), str(rig.output)], check=True)
    yield rig.output
    subprocess.run(["umount", "--lazy", str(rig.output)], check=True)


def hold_spooled(rig: Rig, run: Disturbed) -> Disturbed:
    """The evidence is whole in the spool, and the message says where."""
    spool = rig.folder / "spool"
    assert run.code == 4
    assert "could not be written" in run.err
    assert str(spool) in run.err
    spooled = Disturbed(run.code, run.out, run.err, run.seconds, spool)
    rig.hold(spooled, code=4)
    return spooled


@pytest.mark.row("F24")
def test_a_disk_that_the_run_fills_costs_nothing(rig: Rig, small_disk: Path) -> None:
    rig.write(rig.step())
    earlier = rig.run()
    rig.hold(earlier, code=2)
    before = folder_content(earlier.bundle)
    many = "from IPython.display import display\n"
    many += "for n in range(4): display({'text/plain': str(n) * 900_000}, raw=True)"
    rig.write(rig.step(), rig.step(many), rig.step())
    run = rig.run()
    spooled = hold_spooled(rig, run)
    assert "No space left on device" in run.err
    assert spooled.statuses[-3:] == ["ok", "ok", "ok"]
    assert folder_content(earlier.bundle) == before
    assert manifest.verify_folder(small_disk) == []


@pytest.mark.row("F25")
def test_a_disk_that_a_neighbour_fills_costs_nothing(rig: Rig, small_disk: Path) -> None:
    fill = f"try: open({str(small_disk / 'neighbour')!r}, 'wb').write(bytes(4_000_000))\nexcept OSError: pass"
    rig.write(rig.step(), rig.step(fill), rig.step())
    spooled = hold_spooled(rig, rig.run())
    assert spooled.statuses[-3:] == ["ok", "ok", "ok"]


@pytest.mark.row("F25")
def test_a_disk_that_is_full_from_the_start_keeps_no_run_from_running(rig: Rig, small_disk: Path) -> None:
    with pytest.raises(OSError, match="No space"), (small_disk / "neighbour").open("wb") as file:
        file.write(bytes(4_000_000))
    rig.write(rig.step())
    hold_spooled(rig, rig.run())


@pytest.mark.row("F26")
def test_a_disk_that_becomes_read_only_costs_nothing(rig: Rig, failing_disk: Path) -> None:
    rig.write(
        rig.step(),
        rig.step(f"import os, time\nwhile not os.path.exists({str(rig.folder / 'go')!r}): time.sleep(.01)"),
        rig.step(),
    )
    with rig.start() as process:
        until(lambda: rig.log.read_text())
        subprocess.run(["mount", "-o", "remount,abort", str(failing_disk)], check=True)
        (rig.folder / "go").touch()
        out, err = process.communicate(timeout=300)
    spooled = hold_spooled(rig, Disturbed(process.returncode, out, err, 0, failing_disk))
    assert "Read-only file system" in err
    assert spooled.statuses[-3:] == ["ok", "ok", "ok"]


@pytest.mark.row("F27")
def test_a_folder_that_is_missing_is_made(rig: Rig) -> None:
    rig.write(rig.step())
    run = rig.run(output=rig.folder / "new" / "and" / "deep")
    rig.hold(run, code=2)
    assert stat.S_IMODE((rig.folder / "new").stat().st_mode) == 0o700


@pytest.mark.row("F28")
def test_a_folder_that_is_not_ours_to_write_is_refused_before_anything_runs(rig: Rig) -> None:
    rig.write(rig.step())
    rig.output.mkdir(mode=0o500)
    run = rig.run(before=["setpriv", "--bounding-set", "-dac_override", "--"])
    refused(rig, run)
    assert "Permission denied" in run.err


def refused(rig: Rig, run: Disturbed) -> None:
    assert run.code == 3, run.err
    assert "choose another folder with --output" in run.err
    assert len(run.err.splitlines()) == 1
    assert rig.log.read_text() == ""


@pytest.mark.row("F29", "H37", "H38")
def test_a_name_that_is_taken_is_left_alone(rig: Rig) -> None:
    victim = rig.folder / "victim"
    victim.write_text("precious")
    rig.output.mkdir()
    now = int(time.time())
    taken = []
    for second in range(now - 1, now + 60):
        name = f"{datetime.fromtimestamp(second, UTC):%Y%m%dT%H%M%SZ}-Small-backend"
        place = rig.output / name
        [
            lambda p: p.symlink_to(victim),
            lambda p: p.hardlink_to(victim),
            lambda p: p.mkdir(),
            lambda p: p.write_text("old"),
        ][second % 4](place)
        taken.append(name)
    rig.write(rig.step())
    run = rig.run()
    assert run.code == 2
    assert victim.read_text() == "precious"
    (made,) = [path for path in rig.output.iterdir() if path.name not in taken and path.is_dir()]
    assert made.name.endswith("-Small-backend-2")
    assert manifest.verify_bundle(made) == []
    for name in taken:
        place = rig.output / name
        assert not place.is_dir() or list(place.iterdir()) == []


@pytest.mark.row("F32")
@pytest.mark.parametrize("what", ["fifo", "file", "/dev/full", "fifo above"])
def test_what_is_no_folder_is_refused_at_once(rig: Rig, what: str) -> None:
    rig.write(rig.step())
    place = rig.folder / "place"
    if "fifo" in what:
        os.mkfifo(place)
    else:
        place.write_text("")
    output = {"/dev/full": Path("/dev/full"), "fifo above": place / "below"}.get(what, place)
    run = rig.run(output=output)
    refused(rig, run)
    assert run.seconds < BUSY_SECONDS


@pytest.mark.row("H39")
@pytest.mark.parametrize("where", ["folder", "parent"])
def test_a_link_on_the_way_is_not_followed(rig: Rig, where: str) -> None:
    elsewhere = rig.folder / "elsewhere"
    elsewhere.mkdir()
    (rig.folder / "link").symlink_to(elsewhere)
    rig.write(rig.step())
    run = rig.run(output=rig.folder / "link" if where == "folder" else rig.folder / "link" / "out")
    refused(rig, run)
    assert "link is a link, and may lead elsewhere" in run.err
    assert list(elsewhere.iterdir()) == []


@pytest.mark.row("H40")
def test_a_parent_that_is_swapped_a_thousand_times_leads_nowhere_else(tmp_path: Path) -> None:
    real, trap, outside = tmp_path / "real", tmp_path / "trap", tmp_path / "outside"
    (real / "out").mkdir(parents=True)
    (outside / "out").mkdir(parents=True)
    trap.symlink_to(outside)
    over = threading.Event()
    swapper = threading.Thread(target=_swap, args=(real, trap, over))
    swapper.start()
    made = refusals = 0
    try:
        for number in range(1000):
            try:
                bundle = Bundle(real / "out", f"Small{number}", "backend", AT)
            except InputError:
                refusals += 1
                continue
            bundle.finish(NOTEBOOK, {"kind": "test"}, None)
            made += 1
    finally:
        over.set()
        swapper.join()
    assert made + refusals == 1000
    assert made
    assert refusals
    assert list((outside / "out").iterdir()) == []
    assert len(manifest.bundles((real if not real.is_symlink() else trap) / "out")) == made


def _swap(one: Path, other: Path, over: threading.Event) -> None:
    """Exchange the two names, again and again, each time at one stroke."""
    renameat2, exchange, here = ctypes.CDLL(None).renameat2, 2, -100
    while not over.is_set():
        assert renameat2(here, bytes(one), here, bytes(other), exchange) == 0
        time.sleep(0.0005)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody may enter, which pytest's own are not."""
    with tempfile.TemporaryDirectory(prefix="runbook-test-") as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


@pytest.mark.row("H41")
def test_other_users_can_read_nothing(open_folder: Path, survey: Survey) -> None:
    rig = Rig(open_folder, survey)
    rig.output.mkdir(mode=0o755)
    rig.write(
        rig.step(),
        rig.step(f"import time, os\nwhile not os.path.exists({str(rig.folder / 'go')!r}): time.sleep(.01)"),
    )
    with rig.start() as process:
        until(lambda: rig.log.read_text())
        (under_way,) = [path for path in rig.output.iterdir() if path.name.startswith(".")]
        assert _seen_by_nobody(under_way / "journal.jsonl") == b""
        (rig.folder / "go").touch()
        process.communicate(timeout=300)
    (bundle,) = manifest.bundles(rig.output)
    for path in (bundle, *bundle.iterdir(), rig.output / "ledger.jsonl"):
        assert stat.S_IMODE(path.stat().st_mode) in (0o600, 0o700), path
        assert _seen_by_nobody(path) == b""
    assert _seen_by_nobody(rig.output) != b"", "the test itself could see nothing"


def _seen_by_nobody(path: Path) -> bytes:
    see = ["ls", str(path)] if path.is_dir() else ["cat", str(path)]
    argv = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *see]
    return subprocess.run(argv, capture_output=True, check=False).stdout


@pytest.mark.row("H42")
def test_no_temporary_name_can_be_planted(rig: Rig, tmp_path: Path) -> None:
    names = set()
    for _ in range(100):
        bundle = Bundle(tmp_path / "out", "Small", "backend", AT)
        (folder,) = [path for path in (tmp_path / "out").iterdir() if path.name.startswith(".")]
        names.add(re.sub(r".*\.", "", folder.name))
        bundle.abandon()
    assert len(names) == 100
    assert {len(name) for name in names} == {32}
    victim = rig.folder / "victim"
    victim.write_text("precious")
    rig.write(rig.step(), rig.step(_PLANT.format(output=str(rig.output), victim=str(victim))), rig.step())
    run = rig.run()
    assert run.code == 2, run.err
    assert victim.read_text() == "precious"
    assert manifest.verify_folder(rig.output) == []
    assert not any(path.is_symlink() for path in run.bundle.iterdir())


# In the run's own hidden folder, under the names that the runner will write.
_PLANT = """
import glob, os
for folder in glob.glob({output!r} + '/.*Small*'):
    for name in ('notebook.ipynb', 'notebook.html', 'verdict.json', 'manifest.json'):
        os.symlink({victim!r}, folder + '/' + name)
"""


@pytest.mark.row("F01")
def test_plain_papermill_with_our_engine_saves_whole_or_not_at_all(rig: Rig, tmp_path: Path) -> None:
    """The same engine without a bundle: true statuses, atomic saves, for its owner alone."""
    rig.write(rig.step(), "import os; os._exit(0)", rig.step(), is_plain=True)
    out = tmp_path / "executed.ipynb"
    argv = [
        str(BIN / "papermill"),
        "--engine",
        "runbook",
        str(rig.home / "notebooks" / "Small.ipynb"),
        str(out),
    ]
    ended = subprocess.run(
        argv, env={**os.environ, **rig.environment}, capture_output=True, text=True, check=False
    )
    assert ended.returncode != 0
    cells = [cell for cell in json.loads(out.read_bytes())["cells"] if cell["cell_type"] == "code"]
    assert [cell["metadata"]["runbook"]["status"] for cell in cells[-3:]] == ["ok", "interrupted", "not_run"]
    assert stat.S_IMODE(out.stat().st_mode) == 0o600


@pytest.mark.row("H79")
@pytest.mark.parametrize("name", ["../evil", "/evil", ".evil", "a/b", ""])
def test_a_planted_run_is_recovered_to_nowhere_else(rig: Rig, name: str) -> None:
    """A cell runs as the runner's own user: it can plant what looks like a killed run."""
    planted = rig.output / ".planted"
    planted.mkdir(parents=True)
    journal = Journal(planted)
    journal.append("begin", {"bundle": name, "about": {"kind": "run"}, "notebook": NOTEBOOK})
    journal.close()
    before = sorted(rig.folder.iterdir())
    told = command(["runbook", "seal", "--interrupted", "--output", str(rig.output)], rig.environment)
    assert told.code == 4
    assert "what a killed run left was not sealed: .planted: " in told.err
    assert len(told.err.splitlines()) == 1
    assert sorted(rig.folder.iterdir()) == before
    assert manifest.bundles(rig.output) == []
    assert planted.is_dir()


@pytest.mark.row("F13")
def test_what_cannot_be_recovered_is_named_and_keeps_nothing_else_from_it(rig: Rig) -> None:
    for name, content in ((".damaged", b'{"kind":"begin"}\n'), (".empty", b"")):
        (rig.output / name).mkdir(parents=True)
        (rig.output / name / "journal.jsonl").write_bytes(content)
    os.mkfifo(rig.output / ".damaged" / "fifo")
    sound = rig.output / ".sound"
    sound.mkdir()
    journal = Journal(sound)
    journal.append("begin", {"bundle": "Sound", "about": {"kind": "run"}, "notebook": NOTEBOOK})
    journal.close()
    told = command(["runbook", "seal", "--interrupted", "--output", str(rig.output)], rig.environment)
    assert told.code == 4
    assert ".damaged: journal.jsonl line 1: was changed" in told.err
    assert [bundle.name for bundle in manifest.bundles(rig.output)] == ["Sound"]
    assert manifest.verify_folder(rig.output) == []
    # A run that has just begun may be without a line, and without its lock.
    assert (rig.output / ".empty").is_dir()
    hour_ago = time.time() - 3600
    os.utime(rig.output / ".empty", (hour_ago, hour_ago))
    command(["runbook", "seal", "--interrupted", "--output", str(rig.output)], rig.environment)
    assert not (rig.output / ".empty").exists()
