"""The rule of imports, and what a module must not do when it is imported."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Import only from lines below your own. Packages on one line do not know each other.
LINES = """
__main__
cli
lint
notebook
actions
execution jupyter
checks evidence
sources
config render
model promql
errors files redact text
"""
LEVELS = {name: -number for number, line in enumerate(LINES.splitlines()) for name in line.split()}
MODULES = {
    ".".join(part for part in file.relative_to(ROOT).with_suffix("").parts if part != "__init__"): file
    for file in (ROOT / "runbooklib").rglob("*.py")
}


def imported(source: str) -> set[str]:
    """The modules of runbooklib that the source imports, at any depth."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names |= {node.value} & (MODULES.keys() - {"runbooklib"})
    return {name if name in MODULES else name.rpartition(".")[0] for name in names} & MODULES.keys()


def above(module: str, source: str) -> list[str]:
    """The imports that lead to the module's own line or a higher one, in another package."""
    own = [*module.split("."), ""][1]
    packages = {target: target.split(".")[1] for target in imported(source) if "." in target}
    return [t for t, package in packages.items() if package != own and LEVELS[package] >= LEVELS[own]]


@pytest.mark.parametrize("module", sorted(MODULES.keys() - {"runbooklib"}))
def test_a_module_imports_only_from_lines_below_its_own(module: str) -> None:
    assert not above(module, MODULES[module].read_text("utf-8"))


def test_no_module_imports_itself_by_way_of_others() -> None:
    graph = {module: imported(file.read_text("utf-8")) - {module} for module, file in MODULES.items()}
    assert list(TopologicalSorter(graph).static_order())


@pytest.mark.parametrize(
    "source",
    [
        "from runbooklib.sources.tape import Tape",
        "import runbooklib.checks.traffic",
        "from runbooklib.sources import tape",
        "def f():\n    from runbooklib.notebook import session",
        "import importlib\nimportlib.import_module('runbooklib.sources.context')",
    ],
)
def test_each_form_of_import_is_seen(source: str) -> None:
    assert above("runbooklib.model.window", source)
    assert not above("runbooklib.cli.run", source)


def test_importing_opens_no_connection_and_starts_no_thread_or_process() -> None:
    modules = sorted(MODULES.keys() - {"runbooklib.__main__"})
    program = """
import importlib, sys, threading
seen = []
watched = {"socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "subprocess.Popen", "os.system"}
sys.addaudithook(lambda event, _: seen.append(event) if event in watched else None)
for name in sys.argv[1:]:
    importlib.import_module(name)
    assert not seen, f"importing {name} does {seen}"
    assert threading.active_count() == 1, f"importing {name} starts {threading.enumerate()}"
"""
    run = subprocess.run(
        [sys.executable, "-c", program, *modules],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr
