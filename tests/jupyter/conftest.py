"""One server, one Alertmanager that says what a test wants, for all tests of the extension."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.alertmanagers import FakeAlertmanager, alertmanager, answering
from tests.support.jupyter_server import Served, environment_file, home, serving
from tests.support.running import command

__all__ = ["alertmanager", "answering"]  # fixtures


@pytest.fixture(scope="session")
def served(
    tmp_path_factory: pytest.TempPathFactory, answering: tuple[str, FakeAlertmanager]
) -> Iterator[Served]:
    """The server, below a base URL as JupyterHub gives one, with a token to log in by."""
    folder = tmp_path_factory.mktemp("extension")
    root = home(folder / "root")
    environments: Path = folder / "environments"
    environment_file(environments, answering[0], "backend", "shop")
    told = {"RUNBOOK_ENVIRONMENTS": str(environments), "RUNBOOK_ENVIRONMENT": "site"}
    with serving(root, told, base_url="/user/oncall/") as found:
        yield found


@pytest.fixture(scope="session")
def bundle(served: Served) -> Path:
    """A headless run of HighErrorRate for the backend that ended just now, as the server's evidence."""
    argv = ["runbook", "run", "HighErrorRate", "-e", "site", "--output", str(served.root / "evidence")]
    ended = command(argv, {**served.environment, "RUNBOOK_HOME": str(served.root)})
    assert ended.code in (0, 1, 2), ended.err
    (found,) = (path for path in (served.root / "evidence").iterdir() if path.is_dir())
    return found


@pytest.fixture
def desk(tmp_path: Path, answering: tuple[str, FakeAlertmanager], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with runbooks, as a server's root folder, for links that are followed in this process."""
    root = home(tmp_path / "root")
    environment_file(tmp_path / "environments", answering[0], "backend", "shop")
    monkeypatch.setenv("RUNBOOK_HOME", str(root))
    monkeypatch.setenv("RUNBOOK_ENVIRONMENTS", str(tmp_path / "environments"))
    monkeypatch.setenv("RUNBOOK_ENVIRONMENT", "site")
    monkeypatch.delenv("RUNBOOK_EVIDENCE", raising=False)
    return root
