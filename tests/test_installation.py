"""What an installation puts into etc/jupyter, and that it means what is there."""

import importlib
import json
import tomllib

from tests.support.running import ROOT

SHARED = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["hatch"]["build"]["targets"][
    "wheel"
]["shared-data"]


def test_an_installation_enables_the_extension_where_the_jupyter_server_looks() -> None:
    (folder,) = (source for source, target in SHARED.items() if target == "etc/jupyter")
    told = json.loads((ROOT / folder / "jupyter_server_config.d" / "runbooklib.json").read_text())
    (name,) = told["ServerApp"]["jpserver_extensions"]
    (point,) = importlib.import_module(name)._jupyter_server_extension_points()
    assert callable(importlib.import_module(point["module"])._load_jupyter_server_extension)


def test_an_installation_lets_jupyterlab_ask_nobody_for_news() -> None:
    (folder,) = (source for source, target in SHARED.items() if target == "etc/jupyter")
    (file,) = (ROOT / folder / "labconfig" / "default_setting_overrides.d").iterdir()
    told = json.loads(file.read_text())["@jupyterlab/apputils-extension:notification"]
    assert told == {"fetchNews": "false", "checkForUpdates": False}
