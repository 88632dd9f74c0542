import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "runbooklib"

# The house, from the ground up. A module imports only from the lines before its own; "package.*" are all
# modules of a package. Floors 1, 7 and 8 have an upper storey, because some of their rooms lean on others.
FLOORS: tuple[tuple[str, str], ...] = (
    ("below ground", "secretnames variables"),
    ("ground", "errors folders journal plaintext plans"),
    (
        "0",
        "actionledger deadlines descent expression fields findings keeper kernelapp ledger lockchains "
        "oomkills outputs "
        "promql redact signature sqltext steps strictjson tracebacks visibly window yamlfile",
    ),
    (
        "1",
        "render.sentences alerts dockerengine http logs manifest notebookfile parameters pgsession "
        "promdata readings rulefile series tape target",
    ),
    ("1, upstairs", "places settings"),
    ("1, on top", "clocks containerevents logtail promsession queries runbooks"),
    ("2", "sources.*"),
    ("3", "scene"),
    ("3, upstairs", "capture measures remedy"),
    ("4", "actions.* briefing checks.* timeline"),
    ("4, upstairs", "answers audience questions"),
    ("4, on top", "diary inquiry promises recovery"),
    ("4, gable", "causeledger symptoms"),
    ("4, chimney", "casebook"),
    ("5", "charts incident"),
    ("6", "render.*"),
    ("7", "pdf report"),
    ("7, upstairs", "account cleaning kernels"),
    ("7, on top", "client evidence unfinished"),
    ("7, gable", "approvals history record resumption witness"),
    ("7, chimney", "controls engine"),
    ("8", "offers present runner scaffold screens seal upload"),
    ("8, upstairs", "batch certificate gate recover session"),
    ("8, on top", "replay"),
    ("9", "extension notebook webhook"),
    ("9, upstairs", "lint"),
    ("9, on top", "cli"),
    ("9, gable", "__main__ papermillengine"),
    ("roof: the public API", ""),
)
# Packages that are one noun in several files: their modules may import each other.
ONE_NOUN = {"cli", "extension", "lint", "render"}
LAST_WITHOUT_NOTEBOOK = 12  # index of floor 5: nothing below floor 6 knows IPython


def name_of(file: Path) -> str:
    """The module's name below runbooklib; the package itself is empty."""
    parts = file.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


FILES = {name_of(file): file for file in sorted(PACKAGE.rglob("*.py"))}


def floor_of(module: str) -> int:
    for name in (module, module.split(".")[0]):  # a module with a floor of its own, before its package
        for floor, (_, names) in enumerate(FLOORS):
            if name in (name.removesuffix(".*") for name in names.split()) or (not module and not names):
                return floor
    pytest.fail(f"runbooklib.{module} has no floor: give it one in FLOORS of {Path(__file__).name}")


def imported(source: str, module: str, *, is_package: bool = False) -> set[str]:
    """Every module that is imported anywhere in the source: at the top, in a function, for types, by name."""
    here = ["runbooklib", *filter(None, module.split("."))]
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = [node.module] if node.module else []
            if node.level:
                base = here[: len(here) - node.level + (1 if is_package else 0)] + base
            origin = ".".join(base)
            for alias in node.names:
                below = f"{origin}.{alias.name}"
                found.add(below if below.removeprefix("runbooklib.") in FILES else origin)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            function = ast.unparse(node.func)
            if function.endswith(("import_module", "__import__")):
                found.add(str(node.args[0].value))
    return found


def misplaced(module: str, targets: set[str]) -> list[str]:
    """What this module imports although it must not."""
    own, floor, wrong = module.split(".")[0], floor_of(module), []
    for target in sorted(targets):
        if target != "runbooklib" and not target.startswith("runbooklib."):
            continue
        name = target.removeprefix("runbooklib").removeprefix(".")
        sibling = bool(own) and name.split(".")[0] == own
        is_own_room = sibling and (
            own in ONE_NOUN or module == own or name.rpartition(".")[2].startswith("_")
        )
        if not is_own_room and floor_of(name) >= floor:
            wrong.append(f"runbooklib.{module} (floor {FLOORS[floor][0]}) imports {target}")
    return wrong


@pytest.mark.parametrize("module", FILES)
def test_a_module_imports_only_from_lower_floors(module: str) -> None:
    file = FILES[module]
    targets = imported(file.read_text("utf-8"), module, is_package=file.name == "__init__.py")
    assert not misplaced(module, targets)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("window", "from runbooklib.sources.tape import Tape"),
        ("window", "import runbooklib.model.findings"),
        ("window", "from runbooklib import promql"),
        ("window", "from runbooklib import open_incident"),
        ("window", "def f():\n    from runbooklib import session"),
        ("window", "if TYPE_CHECKING:\n    from runbooklib.sources.context import Scene"),
        ("window", "import importlib\nimportlib.import_module('runbooklib.sources.context')"),
        ("window", "from .scene import Scene"),
        ("errors", "from runbooklib.model.window import Window"),
        ("sources.git", "from runbooklib.sources.web import Web"),
        ("checks.traffic", "from runbooklib.checks import latency"),
        ("checks.traffic", "from runbooklib.actions.deployments import revert_commit"),
    ],
)
def test_the_check_of_floors_sees_every_way_up(module: str, source: str) -> None:
    assert misplaced(module, imported(source, module))


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("window", "from runbooklib.errors import ParameterError\nimport datetime"),
        ("render.html", "from runbooklib.render import sentences"),
        ("sources.git", "from runbooklib.sources._refs import checked"),
        ("session", "from runbooklib import settings"),
        ("", "from runbooklib.notebook.session import open_incident"),
    ],
)
def test_the_check_of_floors_lets_pass_what_leads_down(module: str, source: str) -> None:
    assert not misplaced(module, imported(source, module))


def test_a_module_without_a_floor_is_told_to_get_one() -> None:
    with pytest.raises(pytest.fail.Exception, match="has no floor: give it one"):
        floor_of("helpers")


@pytest.mark.parametrize("module", FILES)
def test_nothing_below_rendering_knows_the_notebook(module: str) -> None:
    if module and floor_of(module) <= LAST_WITHOUT_NOTEBOOK:
        targets = imported(FILES[module].read_text("utf-8"), module)
        assert not [
            t for t in targets if t.split(".")[0] in {"IPython", "ipywidgets", "nbformat", "papermill"}
        ]


def test_importing_opens_no_connection_and_starts_no_thread_or_process() -> None:
    modules = [f"runbooklib.{name}".rstrip(".") for name in FILES if name != "__main__"]
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


# Folders of one machine, and addresses of people; the placeholders of the documentation are neither.
_MACHINE_PATH = re.compile(r"(?<![\w.$}])/(?:home|Users|root|work|workspace|builds)/[\w.-]+")
_MAIL = re.compile(r"(?<![\w.+-])[\w.+-]+@((?:[\w-]+\.)+[a-z]{2,})\b")
_NOBODY = re.compile(
    r"(?:^|\.)(?:helloagents\.com|invalid|test|example|example\.(?:com|org|net)|internal|local)$"
)


def committed_files() -> list[Path]:
    """What is in git or would be added to it; all text files where there is no git."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    if listed.returncode:
        pytest.skip(f"this is no git checkout: {listed.stderr.strip()[:80]}")
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_no_file_names_a_folder_of_one_machine_or_the_address_of_a_person() -> None:
    told = []
    for file in committed_files():
        raw = file.read_bytes()
        if b"\0" in raw:
            continue
        for number, line in enumerate(raw.decode("utf-8", "replace").splitlines(), 1):
            found = [hit[0] for hit in _MACHINE_PATH.finditer(line)]
            found += [hit[0] for hit in _MAIL.finditer(line) if not _NOBODY.search(hit[1])]
            told += [f"{file.relative_to(ROOT)}:{number}: {one}" for one in found]
    assert not told, "\n".join(told)
