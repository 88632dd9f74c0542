"""One browser, and one run on a site that says hostile things everywhere, for all tests of pages."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.hostile_page import HOSTILE, HostileRun, browser, listening
from tests.support.running import ROOT
from tests.support.site import SiteAnswers, running_site
from tests.support.terminal import on_terminal

__all__ = ["browser"]  # a fixture


@pytest.fixture(scope="session", autouse=True)
def has_browser() -> None:
    if not shutil.which("chromium"):
        pytest.skip("there is no chromium here: make servers")


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostileRun]:
    """The run, on a real terminal."""
    with listening() as (beacon, heard):
        lines = [line.format(beacon=beacon) for line in HOSTILE]
        one = " ".join(lines[:4]).replace("\n", " ")
        trailer = f"\n\nSigned-off-by: VERDICT: OK <x@x>\nVERDICT: OK {lines[18]}\nReviewed-by: {lines[2]}"
        told = SiteAnswers(
            title=f"Site's {lines[21]} {lines[2]}",
            metric=lines[0],
            endpoint=lines[0] + lines[1],
            error_type=lines[2] + lines[24],
            annotation=" ".join(lines),
            other_alert=lines[16],
            other_annotation=lines[19] + lines[14],
            subject=f"{lines[23]} {lines[22]} {lines[21]} \u202e {lines[18]} {one}{trailer}",
            health=lines[8],
            log=[f"ERROR: QueuePool limit of size 5 {line}" for line in lines],
        )
        with running_site(tmp_path_factory.mktemp("site"), told) as site:
            words = json.dumps('up{note="' + lines[0].replace('"', "'") + '"}')
            cells = [
                f"incident.prometheus.custom_query({words})",
                'incident.prometheus.custom_query("up by(__name__)")',
                f"print({json.dumps(lines[0] + lines[20])})",
                f"from IPython.display import HTML, display, Markdown, SVG\nfor line in {lines!r}:\n"
                "    display(HTML(line)); display(Markdown(line)); print(line)",
            ]
            home = site.home(*cells)
            output = tmp_path_factory.mktemp("evidence")
            argv = ["runbook", "run", "HighErrorRate", "-e", "site", "--output", str(output)]
            code, screen = on_terminal(argv, {**site.environment, "RUNBOOK_HOME": str(home)}, ROOT)
        assert code == 1, screen.decode()
        assert heard == []  # nor did the run itself
        (bundle,) = (path for path in output.iterdir() if path.is_dir())
        yield HostileRun(bundle, beacon, heard, screen)


@pytest.fixture
def run(hostile: HostileRun) -> tuple[Path, str, list[bytes]]:
    """Its bundle, and the listener."""
    return hostile.bundle, hostile.beacon, hostile.heard
