"""A file system without hard links, like SMB: the notebook is made all the same, and none is overwritten."""

import errno
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn

import pytest

from runbooklib.errors import EvidenceError
from runbooklib.jupyter import alert_link, prepare
from tests.support.jupyter_server import HIGH, after, opened
from tests.support.running import notebook


@pytest.fixture(params=[errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, None])
def without_links(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system makes no hard links, and says so in one of its ways."""

    def refused(*_: object, **__: object) -> NoReturn:
        if request.param is None:
            raise NotImplementedError("link: follow_symlinks unavailable on this platform")
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(os, "link", refused)


@pytest.mark.usefixtures("without_links")
def test_the_notebook_is_prepared_and_made_anew(desk: Path) -> None:
    path = opened(desk, HIGH, after(1))
    assert [one.name for one in path.parent.iterdir()] == ["HighErrorRate.ipynb"]
    assert notebook(path)["nbformat"] == 4
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_text("my own")
    assert opened(desk, HIGH, after(50)) == path
    assert path.read_text() == "my own"


@pytest.mark.usefixtures("without_links")
def test_clicks_at_once_make_one_whole_notebook(desk: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        (path,) = set(pool.map(lambda _: opened(desk, HIGH, after(1)), range(8)))
    assert [one.name for one in path.parent.iterdir()] == ["HighErrorRate.ipynb"]
    assert notebook(path)["nbformat"] == 4


FULL = """
import os, resource, signal, sys
from datetime import datetime
from pathlib import Path
from runbooklib.jupyter import alert_link, prepare
import papermill

def refused(*_, **__):
    # From now on files have room for a few bytes: the copy is begun, and cannot be ended.
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
    raise PermissionError(1, "no links here")

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
os.link = refused
now = datetime.fromisoformat(sys.argv[2])
prepare.prepare(alert_link.read(sys.argv[1], now), Path(sys.argv[3]), now)
"""


def test_of_a_notebook_that_cannot_be_written_whole_nothing_stays(desk: Path) -> None:
    argv = [sys.executable, "-c", FULL, HIGH, after(1).isoformat(), str(desk)]
    ended = subprocess.run(argv, capture_output=True, text=True, check=False, env=dict(os.environ))
    assert "cannot be written: File too large" in ended.stderr
    assert [path for path in (desk / "incidents").rglob("*") if path.is_file()] == []
    assert opened(desk, HIGH, after(1)).is_file()


def test_a_folder_that_cannot_be_written_is_still_an_error(desk: Path) -> None:
    shutil.rmtree(desk / "incidents", ignore_errors=True)
    (desk / "incidents").symlink_to(desk.parent)
    with pytest.raises(EvidenceError, match="cannot be written"):
        prepare.prepare(alert_link.read(HIGH, after(1)), desk, after(1))
