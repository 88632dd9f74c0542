"""Checks the code of a notebook: declared parameters, then one question on each line, and nothing else."""

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
    "Exactly one cell is tagged `parameters`, and it only declares parameters.",
    """papermill inserts its values after that cell. Without the cell every run uses the defaults. Each
parameter is `name: type = value`, of type str, int, float or bool.""",
    bad='service = "backend"',
    good='service: str = "backend"  # a service in the environment\'s file',
)
NO_COMMENT = Rule(
    "parameter-without-comment",
    Severity.ERROR,
    "Each parameter has a comment on its line that describes it.",
    "The comment is the only help for the person who sets the parameter.",
    bad="limit: float = 0.05",
    good="limit: float = 0.05  # share of requests, as in the alert rule",
)
OUTPUTS = Rule(
    "outputs-kept",
    Severity.ERROR,
    "A runbook in git has no outputs and no execution counts.",
    "They are answers of an earlier run, and may contain data that must not be in git.",
    bad='"outputs": [{"output_type": "stream", …}]',
    good="runbook tidy",
)
UNTIDY = Rule(
    "untidy",
    Severity.ERROR,
    "A notebook is in canonical form.",
    "In a diff, new cell ids and the metadata of a machine hide the real changes.",
    bad='"metadata": {"widgets": …, "toc": …}',
    good="runbook tidy",
)
LOGIC = Rule(
    "logic-in-cell",
    Severity.ERROR,
    "A cell opens the incident, names a cause, or asks a question. It does nothing else.",
    """The tests of the library do not cover code in a notebook, and its bugs are copied into other notebooks.
Allowed are the import of runbooklib.notebook, `x = open_incident(…)`, `x = incident.cause(…)`, and
calls of their methods.""",
    bad="if share > 0.05:\n    print('bad')",
    good="incident.check(error_rate, above=0.05)",
)
MUTATION = Rule(
    "mutation-outside-action",
    Severity.ERROR,
    "Only a proposed action changes a system.",
    "A runbook also runs without a person. A change of a system needs a person's approval.",
    bad='docker.from_env().containers.get("backend").restart()',
    good="crash.propose(restart_container)",
)
UNKNOWN_NAME = Rule(
    "unknown-name",
    Severity.ERROR,
    "A cell uses only names that exist: parameters, causes, and the names of runbooklib.notebook.",
    "The notebook would stop at this cell during an incident.",
    bad="incident.check(eror_rate, above=0.05)",
    good="incident.check(error_rate, above=0.05)",
)
UNKNOWN_LIMIT = Rule(
    "unknown-limit",
    Severity.ERROR,
    "A check gets only limits that it has, and all limits that it requires.",
    "The notebook would stop at this cell during an incident.",
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
    """The messages about the cells of each notebook."""
    for notebook in material.notebooks:
        yield from _check_file(notebook)
        yield from _check_declarations(notebook)
        if len(notebook.parameter_cells) != 1 or not notebook.declared:
            continue  # has its own message; without declarations the known names are incomplete
        known = set(notebook.declared)
        for cell in notebook.code:
            if cell not in notebook.parameter_cells:
                yield from _check_cell(notebook, cell, known)


def _check_file(notebook: Notebook) -> Iterator[Message]:
    kept = next((cell for cell in notebook.code if not cell.is_clean), None)
    if kept is not None:
        text = f"cell {kept.id} has outputs or an execution count: run `runbook tidy`"
        yield OUTPUTS.at(notebook.file, notebook.line(kept), text)
    elif notebook_file.canonical(notebook.raw) != notebook.text:
        yield UNTIDY.at(notebook.file, 1, "the notebook is not in canonical form: run `runbook tidy`")


def _check_declarations(notebook: Notebook) -> Iterator[Message]:
    cells = notebook.parameter_cells
    if len(cells) != 1:
        yield NO_PARAMETERS.at(
            notebook.file, 1, f"exactly one cell must be tagged `parameters`, but {len(cells)} are"
        )
        return
    try:
        declared = parameters.parse_declarations(cells[0].source)
    except ParameterError as error:
        yield NO_PARAMETERS.at(notebook.file, notebook.line(cells[0]), error.message)
        return
    for name, parameter in declared.items():
        if not parameter.help:
            text = f"{name} has no comment that describes it"
            yield NO_COMMENT.at(notebook.file, notebook.line_of_parameter(name), text)


def _check_cell(notebook: Notebook, cell: Cell, known: set[str]) -> Iterator[Message]:
    try:
        statements = ast.parse(cell.source).body
    except SyntaxError as error:
        text = f"invalid Python, or a magic command (cell {cell.id})"
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
    """The most serious fault of a statement, or None."""
    changing = _changing_call(statement)
    if changing:
        return MUTATION, f"{changing} belongs in an action"
    if isinstance(statement, ast.ImportFrom) and statement.module == "runbooklib.notebook":
        return None
    call = statement.value if isinstance(statement, ast.Assign | ast.Expr) else None
    if not isinstance(call, ast.Call) or not _is_question(statement, call) or _has_logic(call):
        return (
            LOGIC,
            f"`{ast.unparse(statement).splitlines()[0][:60]}` is not a question to an incident or a cause",
        )
    unknown = [
        n for n in _names(call) if n not in known and n not in _notebook_names() and not hasattr(builtins, n)
    ]
    if unknown:
        return UNKNOWN_NAME, f"the name {unknown[0]} does not exist"
    method = call.func.attr if isinstance(call.func, ast.Attribute) else "open_incident"
    if method not in _METHODS:
        return UNKNOWN_NAME, f"an incident has no method {method}"
    return _limit_fault(call)


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


def _changing_call(statement: ast.stmt) -> str:
    """The call or import in the statement that can change a system; empty if there is none."""
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
def _notebook_names() -> Mapping[str, Any]:
    """The names that runbooklib.notebook gives a cell, without the incident: a cell opens it."""
    names = [name for name in notebooks.__all__ if name != "incident"]
    return MappingProxyType({name: getattr(notebooks, name) for name in names})


def _limit_fault(call: ast.Call) -> tuple[Rule, str] | None:
    method = call.func.attr if isinstance(call.func, ast.Attribute) else ""
    if method not in ("check", "propose") or not call.args or not isinstance(call.args[0], ast.Name):
        return None
    function = _notebook_names().get(call.args[0].id)
    if not callable(function):
        return UNKNOWN_NAME, f"{call.args[0].id} is neither a check nor an action"
    known = dict(list(inspect.signature(function).parameters.items())[1:])
    limits = [keyword.arg for keyword in call.keywords]
    unknown_limit = next((name for name in limits if name not in known), None)
    if unknown_limit is not None:
        return (
            UNKNOWN_LIMIT,
            f"{call.args[0].id} has no limit {unknown_limit}: it has {', '.join(known) or 'none'}",
        )
    needed = [
        name
        for name, parameter in known.items()
        if parameter.default is parameter.empty and name not in limits
    ]
    return (UNKNOWN_LIMIT, f"{call.args[0].id} requires {needed[0]}=…") if needed else None
