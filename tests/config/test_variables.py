"""Environment variables: one module names them, and the documentation is written from it."""

import ast
from pathlib import Path

import pytest

from runbooklib.config import variables
from runbooklib.evidence import bundle, upload

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "runbooklib"
MODULES = {str(file.relative_to(PACKAGE)): file for file in sorted(PACKAGE.rglob("*.py"))}
# It runs as a program of its own, without the package, and sets what ipykernel reads.
STANDALONE = {"execution/supervisor.py": {variables.JUPYTER_PARENT}}
# Functions that read a variable which the environment's file names, and the only ones that read all.
BY_SITE = {
    "config/site_secrets.py": {
        "secret",
        "secrets_of",
        "operator_secrets_of",
        "operators_value",
        "operators_tag",
        "tags_for_kernel",
        "environment_secrets",
    },
    "execution/engine.py": {"_kernel_environment"},
    "execution/batch.py": {"_environment"},
    "actions/_scripts.py": {"run"},
    "jupyter/__init__.py": {"_make_paths_absolute"},
    "execution/supervisor.py": {"_start"},
}


def is_environment(node: ast.AST) -> bool:
    return ast.unparse(node) in ("os.environ", "environ", "os.environb")


def literals(tree: ast.AST) -> set[str]:
    """All strings of the code that name a variable; sentences in which one stands do not count."""
    texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    ours = {
        text for text in texts if isinstance(text, str) and text.startswith(("RUNBOOK_", "JPY_", "JUPYTER"))
    }
    return {text for text in ours if text.replace("_", "").isalnum() and text.isupper()}


def unlisted(source: str, module: str) -> list[str]:
    """What this source names or reads although runbooklib/config/variables.py does not list it."""
    tree = ast.parse(source)
    wrong = sorted(literals(tree) - STANDALONE.get(module, set()))
    free = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name in BY_SITE.get(module, ())
    ]
    allowed = {id(inner) for function in free for inner in ast.walk(function)}
    parents = {id(child): node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute | ast.Name) and is_environment(node) and id(node) not in allowed:
            above = parents[id(node)]
            call = parents.get(id(above)) if isinstance(above, ast.Attribute) else above
            name = call.args[0] if isinstance(call, ast.Call) and call.args else getattr(call, "slice", None)
            text = ast.unparse(name) if isinstance(name, ast.AST) else ""
            if not (text.startswith("variables.") and hasattr(variables, text.removeprefix("variables."))):
                wrong.append(f"line {node.lineno}: {ast.unparse(call or above)}")
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("getenv"):
            wrong.append(f"line {node.lineno}: {ast.unparse(node)}")
    return wrong


@pytest.mark.parametrize("module", [name for name in MODULES if name != "config/variables.py"])
def test_only_one_module_names_environment_variables(module: str) -> None:
    assert not unlisted(MODULES[module].read_text("utf-8"), module)


@pytest.mark.parametrize(
    "source",
    [
        'SPOOL = "RUNBOOK_SPOOL"',
        'os.environ.get("RUNBOOK_NEW")',
        'os.environ["HOME"]',
        'os.environ.get("DOCKER_HOST", "")',
        "os.environ.get(name)",
        "os.environ.get(variables.NEW)",
        'os.getenv("PATH")',
        "dict(os.environ)",
        '"PATH" in os.environ',
        'from os import environ\nenviron["PATH"]',
        'session = "JPY_SESSION_NAME"',
    ],
)
def test_the_check_sees_every_way_to_read_a_variable(source: str) -> None:
    assert unlisted(source, "any.py")


@pytest.mark.parametrize(
    "source",
    [
        "os.environ.get(variables.HOME)",
        'os.environ[variables.HOME] = "x"',
        '"""RUNBOOK_HOME names the folder."""',
        'remedy = "set RUNBOOK_HOME to it"',
    ],
)
def test_the_check_allows_what_the_module_names(source: str) -> None:
    assert not unlisted(source, "any.py")


def test_each_constant_is_documented_and_each_name_once() -> None:
    constants = {
        value for name, value in vars(variables).items() if name.isupper() and isinstance(value, str)
    }
    names = [variable.name for variable in variables.ALL]
    assert len(names) == len(set(names))
    documented = {name.removesuffix("*") for name in names}
    assert {name for name in constants if not name.startswith("#")} <= documented
    assert documented - constants == set(variables.PASSED_TO_PROGRAMS) - {variables.PATH}


def test_the_document_is_what_the_module_says() -> None:
    stored = (ROOT / "docs" / "environment-variables.md").read_text("utf-8")
    assert stored == variables.document(), "write it again: make docs"


def test_the_spool_is_not_the_local_folder_of_a_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Approvals refuse evidence in the spool, so a run that uploads must not write there."""
    monkeypatch.setenv("RUNBOOK_SPOOL", str(tmp_path / "spool"))
    monkeypatch.delenv("RUNBOOK_EVIDENCE", raising=False)
    assert bundle.spool() == tmp_path / "spool"
    assert upload.destination("memory://x").folder == Path("evidence")
    monkeypatch.setenv("RUNBOOK_EVIDENCE", str(tmp_path / "kept"))
    assert upload.destination("memory://x").folder == tmp_path / "kept"
    assert bundle.spool() == tmp_path / "spool"
