"""What a notebook's code may be: declared parameters, then one question a line, and nothing else."""

import ast
import builtins
import inspect
from collections.abc import Iterator, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

from runbooklib import notebook as notebooks
from runbooklib.config import notebook_file, parameters
from runbooklib.errors import ParameterError
from runbooklib.lint.rule import Message, Rule, Severity
from runbooklib.lint.workspace import Cell, Material, Notebook
from runbooklib.notebook.incident import Incident
from runbooklib.notebook.possible_cause import PossibleCause

NO_PARAMETERS = Rule(
    "parameters-cell",
    Severity.ERROR,
    "One cell is tagged `parameters`, and declares nothing but parameters.",
    """papermill puts its values behind that cell; without it every run is a run of the defaults. Each
parameter is `name: type = value`, of type str, int, float or bool.""",
    bad='service = "backend"',
    good='service: str = "backend"  # a service in the environment\'s file',
)
NO_COMMENT = Rule(
    "parameter-without-comment",
    Severity.ERROR,
    "Each parameter says what it is, in a comment on its line.",
    "The comment is the only help that whoever sets it has.",
    bad="limit: float = 0.05",
    good="limit: float = 0.05  # share of requests, as in the alert rule",
)
OUTPUTS = Rule(
    "outputs-kept",
    Severity.ERROR,
    "A runbook in git has no outputs and no execution counts.",
    "They are yesterday's answers, and may hold what should not be in git.",
    bad='"outputs": [{"output_type": "stream", …}]',
    good="runbook tidy",
)
UNTIDY = Rule(
    "untidy",
    Severity.ERROR,
    "A notebook is in its one spelling.",
    "Cell ids that change and metadata of somebody's machine hide in a diff what was really changed.",
    bad='"metadata": {"widgets": …, "toc": …}',
    good="runbook tidy",
)
LOGIC = Rule(
    "logic-in-cell",
    Severity.ERROR,
    "A cell opens the incident, names a cause, or asks: nothing else.",
    """What has a branch has a bug that no test of the library finds, and is copied into the next notebook.
Allowed are the import of runbooklib.notebook, `x = open_incident(…)`, `x = incident.cause(…)`, and
calls of their methods.""",
    bad="if share > 0.05:\n    print('bad')",
    good="incident.check(error_rate, above=0.05)",
)
MUTATION = Rule(
    "mutation-outside-action",
    Severity.ERROR,
    "Nothing is changed but by a proposed action.",
    "A runbook is run headlessly before anybody is awake: what changes a system needs a person's approval.",
    bad='docker.from_env().containers.get("backend").restart()',
    good="crash.propose(restart_container)",
)
UNKNOWN_NAME = Rule(
    "unknown-name",
    Severity.ERROR,
    "A cell uses names that there are: parameters, causes, and what runbooklib.notebook gives.",
    "The notebook would stop there, in the middle of an incident.",
    bad="incident.check(eror_rate, above=0.05)",
    good="incident.check(error_rate, above=0.05)",
)
UNKNOWN_LIMIT = Rule(
    "unknown-limit",
    Severity.ERROR,
    "A check is given the limits that it has, and all that it needs.",
    "The notebook would stop there, in the middle of an incident.",
    bad="incident.check(error_rate, over=0.05)",
    good="incident.check(error_rate, above=0.05)",
)
RULES = (NO_PARAMETERS, NO_COMMENT, OUTPUTS, UNTIDY, LOGIC, MUTATION, UNKNOWN_NAME, UNKNOWN_LIMIT)
_METHODS = frozenset(
    ["open_incident", *(name for kind in (Incident, PossibleCause) for name in dir(kind) if name[0] != "_")]
)
_DANGEROUS = frozenset(
    "docker requests subprocess psycopg os shutil sqlalchemy httpx socket paramiko".split()
)
_CHANGING = frozenset("restart kill stop remove execute commit system Popen run post put delete".split())


def check(material: Material) -> Iterator[Message]:
    """What is wrong with the cells of each notebook."""
    for notebook in material.notebooks:
        yield from _file(notebook)
        yield from _declarations(notebook)
        if len(notebook.parameter_cells) != 1 or not notebook.declared:
            continue  # said already; and which names there are, nobody knows
        known = {*notebook.declared}
        for cell in notebook.code:
            if cell not in notebook.parameter_cells:
                yield from _cell(notebook, cell, known)


def _file(notebook: Notebook) -> Iterator[Message]:
    kept = next((cell for cell in notebook.code if not cell.is_clean), None)
    if kept is not None:
        text = f"cell {kept.id} has outputs or a count: `runbook tidy`"
        yield OUTPUTS.at(notebook.file, notebook.line(kept), text)
    elif notebook_file.canonical(notebook.raw) != notebook.text:
        yield UNTIDY.at(notebook.file, 1, "it is not as `runbook tidy` writes it")


def _declarations(notebook: Notebook) -> Iterator[Message]:
    cells = notebook.parameter_cells
    if len(cells) != 1:
        yield NO_PARAMETERS.at(
            notebook.file, 1, f"one cell should be tagged `parameters`, and {len(cells)} are"
        )
        return
    try:
        declared = parameters.declared(cells[0].source)
    except ParameterError as error:
        yield NO_PARAMETERS.at(notebook.file, notebook.line(cells[0]), error.message)
        return
    for name, one in declared.items():
        if not one.help:
            text = f"{name} does not say what it is"
            yield NO_COMMENT.at(notebook.file, notebook.line_of_parameter(name), text)


def _cell(notebook: Notebook, cell: Cell, known: set[str]) -> Iterator[Message]:
    try:
        statements = ast.parse(cell.source).body
    except SyntaxError as error:
        text = f"this is no Python, or a magic (cell {cell.id})"
        yield LOGIC.at(notebook.file, notebook.line(cell, error.lineno or 1), text)
        return
    for statement in statements:
        line = notebook.line(cell, statement.lineno)
        fault = _fault(statement, known)
        if fault is not None:
            rule, text = fault
            yield rule.at(notebook.file, line, f"{text} (cell {cell.id})")
        if isinstance(statement, ast.Assign):
            known |= {target.id for target in statement.targets if isinstance(target, ast.Name)}


def _fault(statement: ast.stmt, known: set[str]) -> tuple[Rule, str] | None:
    """The first thing that is wrong with a statement, the gravest kind first."""
    changing = _changes(statement)
    if changing:
        return MUTATION, f"{changing} belongs into an action"
    if isinstance(statement, ast.ImportFrom) and statement.module == "runbooklib.notebook":
        return None
    call = statement.value if isinstance(statement, ast.Assign | ast.Expr) else None
    if not isinstance(call, ast.Call) or not _is_question(statement, call) or _has_logic(call):
        return LOGIC, f"`{ast.unparse(statement).splitlines()[0][:60]}` is no question"
    unknown = [n for n in _names(call) if n not in known and n not in _given() and not hasattr(builtins, n)]
    if unknown:
        return UNKNOWN_NAME, f"there is no {unknown[0]}"
    method = call.func.attr if isinstance(call.func, ast.Attribute) else "open_incident"
    if method not in _METHODS:
        return UNKNOWN_NAME, f"an incident has no {method}"
    return _limits(call)


def _is_question(statement: ast.stmt, call: ast.Call) -> bool:
    opens = isinstance(call.func, ast.Name) and call.func.id == "open_incident"
    of_name = isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Name)
    if isinstance(statement, ast.Assign):
        names_cause = of_name and isinstance(call.func, ast.Attribute) and call.func.attr == "cause"
        return len(statement.targets) == 1 and (opens or names_cause)
    return opens or of_name


def _has_logic(call: ast.Call) -> bool:
    kinds = (
        ast.Lambda | ast.IfExp | ast.ListComp | ast.GeneratorExp | ast.DictComp | ast.SetComp | ast.NamedExpr
    )
    return any(isinstance(node, kinds) for node in ast.walk(call))


def _changes(statement: ast.stmt) -> str:
    """What in the statement reaches for a system by itself."""
    for node in ast.walk(statement):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            taken = [name for name in names if name.split(".")[0] in _DANGEROUS]
            if taken:
                return f"the import of {taken[0]}"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            root = ast.unparse(node.func).split(".")[0].split("(")[0]
            if root in _DANGEROUS or node.func.attr in _CHANGING:
                return f"{ast.unparse(node.func)[:60]}()"
    return ""


def _names(call: ast.Call) -> Iterator[str]:
    for node in ast.walk(call):
        if isinstance(node, ast.Name):
            yield node.id


@cache
def _given() -> Mapping[str, Any]:
    """What the import of runbooklib.notebook gives a cell; the incident is still to be opened."""
    names = [name for name in notebooks.__all__ if name != "incident"]
    return MappingProxyType({name: getattr(notebooks, name) for name in names})


def _limits(call: ast.Call) -> tuple[Rule, str] | None:
    method = call.func.attr if isinstance(call.func, ast.Attribute) else ""
    if method not in ("check", "propose") or not call.args or not isinstance(call.args[0], ast.Name):
        return None
    asked = _given().get(call.args[0].id)
    if not callable(asked):
        return UNKNOWN_NAME, f"{call.args[0].id} is no check and no action"
    known = dict(list(inspect.signature(asked).parameters.items())[1:])
    given = [keyword.arg for keyword in call.keywords]
    wrong = next((name for name in given if name not in known), None)
    if wrong is not None:
        return UNKNOWN_LIMIT, f"{call.args[0].id} has no {wrong}: it has {', '.join(known) or 'none'}"
    needed = [name for name, one in known.items() if one.default is one.empty and name not in given]
    return (UNKNOWN_LIMIT, f"{call.args[0].id} needs {needed[0]}=…") if needed else None
