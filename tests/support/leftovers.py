"""A pytest plugin: what a test run starts ends with it, and what an earlier one left is named and ended."""

from contextlib import nullcontext

import pytest

from tests.support.supervisor import Supervised, end_earlier_runs

_supervised = pytest.StashKey[Supervised]()
_earlier = pytest.StashKey[list[str]]()


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Before the first server starts, and before the workers, which belong to the same run."""
    if hasattr(config, "workerinput"):
        return
    records = config.rootpath / ".pytest_cache" / "test-runs"
    config.stash[_earlier] = end_earlier_runs(records)
    capture = config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled() if capture else nullcontext():
        config.stash[_supervised] = Supervised(records)  # it writes to the terminal when pytest has ended


def pytest_report_header(config: pytest.Config) -> list[str]:
    """What an earlier run left."""
    return config.stash.get(_earlier, [])


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """The fixtures have ended; wait until what they left has ended as well."""
    if supervised := config.stash.get(_supervised, None):
        supervised.close()
