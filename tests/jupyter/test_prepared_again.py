"""A prepared notebook that nobody touched keeps up with its alert; one that somebody touched stays."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import nbformat
import pytest

from tests.support.alertmanagers import FakeAlertmanager
from tests.support.jupyter_server import BEGAN, HIGH, after, injected, opened, query, ran


def saved(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the notebook and save it as JupyterLab does: texts in lines."""
    read = nbformat.read(path, as_version=4)
    change(read)
    nbformat.write(read, path)


def test_a_notebook_that_nobody_touched_gets_a_window_that_still_holds_the_beginning(desk: Path) -> None:
    first = opened(desk, HIGH, after(1))
    assert "lookback" not in injected(first)
    assert opened(desk, HIGH, after(50)) == first
    assert injected(first)["lookback"] == "55m"
    assert opened(desk, HIGH, after(90)) == first
    assert injected(first)["lookback"] == "95m"
    assert [path.name for path in first.parent.iterdir()] == ["HighErrorRate.ipynb"]


def test_the_same_click_again_writes_nothing(desk: Path) -> None:
    path = opened(desk, HIGH, after(50))
    before = path.stat()
    assert opened(desk, HIGH, after(50)) == path
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def looked_at(read: dict[str, Any]) -> None:
    """What JupyterLab writes into a notebook that is only looked at."""
    read["metadata"]["language_info"] = {"name": "python", "version": "3.11.7", "file_extension": ".py"}
    read["cells"][1]["metadata"]["jp-MarkdownHeadingCollapsed"] = True


def test_a_notebook_that_somebody_only_looked_at_is_still_as_it_was_made(desk: Path) -> None:
    path = opened(desk, HIGH, after(1))
    saved(path, looked_at)
    path.chmod(0o660)
    opened(desk, HIGH, after(50))
    assert injected(path)["lookback"] == "55m"
    assert path.stat().st_mode & 0o777 == 0o660


def ran_a_cell(read: dict[str, Any]) -> None:
    read["cells"][2]["execution_count"] = 1


def edited_a_cell(read: dict[str, Any]) -> None:
    read["cells"][0]["source"] += "\nI was here."


def added_a_cell(read: dict[str, Any]) -> None:
    read["cells"].append(nbformat.v4.new_code_cell("incident.note('mine')"))


def removed_a_cell(read: dict[str, Any]) -> None:
    del read["cells"][-1]


@pytest.mark.parametrize("change", [ran_a_cell, edited_a_cell, added_a_cell, removed_a_cell])
def test_what_somebody_ran_or_edited_is_never_touched(
    desk: Path, change: Callable[[dict[str, Any]], None]
) -> None:
    path = opened(desk, HIGH, after(1))
    saved(path, change)
    before = path.read_bytes()
    assert opened(desk, HIGH, after(50)) == path
    assert path.read_bytes() == before


def test_a_link_in_the_place_of_the_notebook_is_not_followed(desk: Path) -> None:
    path = opened(desk, HIGH, after(1))
    elsewhere = path.rename(desk / "elsewhere.ipynb")
    path.symlink_to(elsewhere)
    before = elsewhere.read_bytes()
    opened(desk, HIGH, after(50))
    assert path.is_symlink()
    assert elsewhere.read_bytes() == before


def test_clicks_at_once_leave_one_whole_notebook(desk: Path) -> None:
    path = opened(desk, HIGH, after(1))
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda n: opened(desk, HIGH, after(50 + n)), range(8))) == {path}
    assert [one.name for one in path.parent.iterdir()] == ["HighErrorRate.ipynb"]
    assert injected(path)["lookback"] in {f"{55 + n}m" for n in range(8)}


def test_of_an_alert_older_than_a_day_that_fires_the_window_is_the_usual_one(
    desk: Path, alertmanager: FakeAlertmanager
) -> None:
    alertmanager.fires("HighErrorRate", f"{BEGAN:%Y-%m-%dT%H:%M:%SZ}")
    path = opened(desk, HIGH, after(25 * 60))
    assert not {"at", "lookback"} & injected(path).keys()
    alertmanager.alerts = None  # and of one of which nobody can say
    assert not {"at", "lookback"} & injected(opened(desk, HIGH, after(26 * 60))).keys()
    alertmanager.alerts = []
    assert injected(opened(desk, HIGH, after(27 * 60)))["at"] == "2026-01-15T03:17:00Z"


UNKNOWN = "alertname=HighErrorRate&service=backend"


@pytest.mark.parametrize("change", [ran_a_cell, edited_a_cell])
@pytest.mark.parametrize("is_dead", [False, True], ids=["ended", "Alertmanager died"])
def test_without_a_beginning_the_folder_that_somebody_worked_in_is_taken_for_a_day(
    desk: Path, alertmanager: FakeAlertmanager, change: Callable[[dict[str, Any]], None], *, is_dead: bool
) -> None:
    worked = opened(desk, HIGH, after(1))
    saved(worked, change)
    alertmanager.alerts = None if is_dead else []
    assert opened(desk, UNKNOWN, after(10 * 60)) == worked
    assert opened(desk, f"{UNKNOWN}&environment=lab", after(10 * 60)) != worked
    assert opened(desk, "alertname=HighErrorRate&service=shop", after(10 * 60)) != worked
    assert opened(desk, UNKNOWN, after(25 * 60)) != worked


@pytest.mark.usefixtures("alertmanager")
def test_without_a_beginning_a_folder_that_nobody_worked_in_is_taken_for_an_hour(desk: Path) -> None:
    first = opened(desk, HIGH, after(1))
    assert opened(desk, UNKNOWN, after(59)) == first
    assert opened(desk, UNKNOWN, after(61)) != first


@pytest.mark.usefixtures("alertmanager")
def test_a_copy_that_somebody_dug_in_counts_as_work(desk: Path) -> None:
    now = datetime.now(UTC)
    asked = query(f"{now - timedelta(minutes=1):%Y-%m-%dT%H:%M:%SZ}", alert="HighErrorRate")
    ran(desk, "HighErrorRate")
    copy = opened(desk, asked)
    assert copy.name.startswith("2")
    later = now + timedelta(hours=3)
    saved(copy, looked_at)
    assert opened(desk, UNKNOWN, later).parent != copy.parent
    saved(copy, added_a_cell)
    assert opened(desk, UNKNOWN, later - timedelta(minutes=90)) == copy
