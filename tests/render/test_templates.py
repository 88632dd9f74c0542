"""Every sentence of the library is one template with named facts, so that each can be translated.

Read from the source code: which templates there are, which facts they name, and what these facts can be.
"""

import ast
import re
import string
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import runbooklib
from runbooklib.render.sentences import KINDS, TERMS

ROOT = Path(runbooklib.__file__).parent
# What holds a sentence: the keyword argument, or the position of the argument in a call of this name.
TEMPLATE_KEYWORDS = frozenset({"template", "sound", "further_templates", "templates"})
TEMPLATE_POSITIONS = {"unknown": 1, "say": 0, "Finding": 1, "Statement": 0}
FACTS_POSITIONS = {"say": 1, "Statement": 1}
# What `measures` adds to the facts of its caller's wording.
MEASURED_FACTS = frozenset({"now", "limit", "usual", "times", "beyond", "all", "worst"})
WORD = re.compile(r"[A-Za-z]{2,}")
MODULES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.py"))


class Module:
    """One module's tree, and how a name or a call in it is followed to what it can be."""

    def __init__(self, source: str) -> None:
        self.tree = ast.parse(source)
        self.parents = {child: node for node in ast.walk(self.tree) for child in ast.iter_child_nodes(node)}
        self.functions = {
            node.name: node for node in ast.walk(self.tree) if isinstance(node, ast.FunctionDef)
        }

    def values(self, node: ast.expr, seen: frozenset[ast.AST] = frozenset()) -> Iterator[ast.expr]:
        """Every expression that this one can evaluate to, as far as this module shows it."""
        if node in seen:
            return
        seen |= {node}
        for value in self._next(node) or [node]:
            if value is node:
                yield node
            else:
                yield from self.values(value, seen)

    def _next(self, node: ast.expr) -> list[ast.expr]:
        match node:
            case ast.IfExp():
                return [node.body, node.orelse]
            case ast.BoolOp() | ast.Tuple() as several:
                return several.values if isinstance(several, ast.BoolOp) else several.elts
            case ast.BinOp(op=ast.Add(), left=left, right=right) if _is_tuple(left) and _is_tuple(right):
                return [left, right]
            case ast.Name():
                return self._assigned(node)
            case ast.Subscript(value=ast.Name() as name):
                tables = [value for value in self._assigned(name) if isinstance(value, ast.Dict)]
                return [value for table in tables for value in table.values]
            case ast.Call(func=ast.Name(id=name)) if name in self.functions:
                returns = [n for n in ast.walk(self.functions[name]) if isinstance(n, ast.Return)]
                return [returned.value for returned in returns if returned.value is not None]
            case ast.Call(func=ast.Name(id="tuple"), args=[items]):
                return [items]
            case ast.Call(func=ast.Attribute(attr="get"), args=[_, default]):
                return [default]
            case ast.Call(func=ast.Name(id="next"), args=[_, default]):
                return [default]
        return []

    def _assigned(self, name: ast.Name) -> list[ast.expr]:
        """What the name is assigned in its function or module, and what is passed for a parameter."""
        scope = self.enclosing(name)
        while scope is not None:
            assigned = [value for target, value in _assignments(scope) if target == name.id]
            if isinstance(scope, ast.FunctionDef) and name.id in _parameters(scope):
                assigned += self._passed(scope, name.id)
            if assigned:
                return assigned
            scope = self.enclosing(scope)
        return []

    def _passed(self, function: ast.FunctionDef, parameter: str) -> list[ast.expr]:
        place = _parameters(function).index(parameter)
        passed = []
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Call) and _name(node) == function.name:
                passed += [keyword.value for keyword in node.keywords if keyword.arg == parameter]
                passed += node.args[place : place + 1]
        return passed

    def enclosing(self, node: ast.AST) -> ast.AST | None:
        parent = self.parents.get(node)
        while parent is not None and not isinstance(parent, ast.FunctionDef | ast.Module):
            parent = self.parents.get(parent)
        return parent

    def calls(self) -> Iterator[ast.Call]:
        yield from (node for node in ast.walk(self.tree) if isinstance(node, ast.Call))


def _assignments(scope: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    nodes = scope.body if isinstance(scope, ast.Module) else ast.walk(scope)
    for node in nodes:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                yield name, value
            case ast.Assign(targets=[ast.Tuple(elts=names)], value=ast.Tuple(elts=values)):
                yield from ((n.id, v) for n, v in zip(names, values, strict=False) if isinstance(n, ast.Name))
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                yield name, value


def _is_tuple(node: ast.expr) -> bool:
    if isinstance(node, ast.IfExp):
        return _is_tuple(node.body) and _is_tuple(node.orelse)
    return isinstance(node, ast.Tuple)


def _parameters(function: ast.FunctionDef) -> list[str]:
    arguments = function.args
    return [argument.arg for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]


def _name(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else ""


def _argument(call: ast.Call, keywords: frozenset[str], positions: dict[str, int]) -> Iterator[ast.expr]:
    yield from (keyword.value for keyword in call.keywords if keyword.arg in keywords)
    place = positions.get(_name(call))
    if place is not None and len(call.args) > place and not isinstance(call.args[place], ast.Starred):
        yield call.args[place]


def templates_of(module: Module, call: ast.Call) -> Iterator[ast.expr]:
    for argument in _argument(call, TEMPLATE_KEYWORDS, TEMPLATE_POSITIONS):
        yield from module.values(argument)


def facts_of(module: Module, call: ast.Call) -> list[ast.expr]:
    arguments = _argument(call, frozenset({"facts"}), FACTS_POSITIONS)
    return [value for argument in arguments for value in module.values(argument)]


def glued(module: Module) -> Iterator[tuple[int, str]]:
    """(line, why) of each template that is put together from parts."""
    for call in module.calls():
        for template in templates_of(module, call):
            if isinstance(template, ast.JoinedStr | ast.BinOp | ast.Call):
                yield template.lineno, f"a template that is put together: {ast.unparse(template)}"


def fields(template: str) -> Iterator[tuple[str, str]]:
    for _, field, kind, _ in string.Formatter().parse(template):
        if field is not None:
            yield field, kind or ""


def known_facts(module: Module, given: list[ast.expr]) -> tuple[bool, set[str]]:
    """Whether all names of the facts can be read here, and those that can."""
    is_known, names = True, set()
    for facts in given:
        if not isinstance(facts, ast.Dict):
            is_known = False
            continue
        for key, value in zip(facts.keys, facts.values, strict=True):
            if isinstance(key, ast.Constant):
                names.add(str(key.value))
            elif key is None:
                is_whole, more = known_facts(module, list(module.values(value)))
                is_known, names = is_known and is_whole, names | more
    return is_known, names


def unnamed_facts(module: Module) -> Iterator[tuple[int, str]]:
    """(line, why) of each field of a template that no fact stands behind, and each unknown kind."""
    for call in module.calls():
        is_known, known = known_facts(module, facts_of(module, call))
        if _name(call) in ("Words", "Wording"):
            known |= MEASURED_FACTS
        for template in templates_of(module, call):
            if not isinstance(template, ast.Constant) or not isinstance(template.value, str):
                continue
            for field, kind in fields(template.value):
                if kind and kind not in KINDS:
                    yield template.lineno, f"{{{field}:{kind}}}: there is no such kind"
                if is_known and field not in known and _name(call) != "replace":
                    yield template.lineno, f"{{{field}}} has no fact: {template.value}"


def phrases(module: Module) -> Iterator[tuple[int, str]]:
    """(line, why) of each fact that can be a text of ours and is no term."""
    for call in module.calls():
        for facts in facts_of(module, call):
            if isinstance(facts, ast.Dict):
                for value in facts.values:
                    yield from _phrases(module, value)


def _phrases(module: Module, fact: ast.expr) -> Iterator[tuple[int, str]]:
    for value in module.values(fact):
        parts = value.values if isinstance(value, ast.JoinedStr) else [value]
        for part in parts:
            text = part.value if isinstance(part, ast.Constant) else None
            if isinstance(text, str) and WORD.search(text) and text not in TERMS:
                yield value.lineno, f"a fact that is a phrase: {text!r}"


def faults(source: str) -> list[str]:
    module = Module(source)
    reasons = [*glued(module), *unnamed_facts(module), *phrases(module)]
    return [f"line {line}: {why}" for line, why in sorted(set(reasons))]


@cache
def source_of(name: str) -> str:
    return (ROOT / name).read_text()


@pytest.mark.parametrize("name", MODULES)
def test_each_sentence_is_one_template_and_each_fact_has_no_language(name: str) -> None:
    assert faults(source_of(name)) == []


def test_the_walk_sees_the_templates_of_the_checks() -> None:
    seen = [
        template.value
        for name in MODULES
        for module in [Module(source_of(name))]
        for call in module.calls()
        for template in templates_of(module, call)
        if isinstance(template, ast.Constant) and isinstance(template.value, str)
    ]
    assert len(set(seen)) > 150
    for part in (
        "of the error budget for",
        "the condition is {operator}",
        "All checks passed.",
        "Escalate",
        "is deployed",
    ):
        assert any(part in template for template in seen), part


@pytest.mark.parametrize(
    "source",
    [
        'Finding(template=f"{a} fails", facts={})',
        'Finding(template="It fails" + more, facts={})',
        'Finding(template=" ".join(parts), facts={})',
        'Finding(template="{} fails".format(a), facts={})',
        'Finding(template=_A if x else f"{b}", facts={})',
        'Finding(template=_text(), facts={})\ndef _text():\n    return "It" + "fails"',
        'Finding(template="It fails.", further_templates=(f"{a}",), facts={})',
        'def f():\n    text = f"{a}"\n    return unknown(reason, text)',
        'def f(text):\n    return Finding(template=text)\nf(f"{a}")',
        'say(f"{a} fails")',
        'Event(at, Statement(f"{name} dies"), "docker")',
        'Statement("{container} {what}", {"what": "starts"})',
        'Statement("{gone}", {"here": 1})',
        'Finding(template="{gone} fails.", facts={"here": 1})',
        'Finding(template="It fails.", further_templates=("{gone} fails.",), facts={"here": 1})',
        'say("{gone} fails.", {"here": 1})',
        'Finding(template="{a:colour}", facts={"a": 1})',
        'Finding(template="{a}", facts={"a": "none named"})',
        'Finding(template="{a}", facts={"a": name or "none named"})',
        'Finding(template="{a}", facts={"a": names.get(x, "unknown")})',
        'Finding(template="{a}", facts={"a": f"{system} at {target}"})',
        'Finding(template="{a}", facts={"a": _why()})\ndef _why():\n    return x or "it does not say why"',
        'Words(template="{other}", facts={"a": 1})',
        'Finding(template="{b}", facts={"a": 1, **_more()})\ndef _more():\n    return {"c": 1}',
    ],
)
def test_each_kind_of_fault_is_seen(source: str) -> None:
    assert faults(source)


@pytest.mark.parametrize(
    "source",
    [
        'Finding(template="{a:percent} of " "{b} fail.", facts={"a": 1, "b": name})',
        'Finding(template=_A if x else _B, facts={"a": 1})\n_A = "{a} fails."\n_B = "{a} is well."',
        'Finding(template="{a}", further_templates=(*old, "{b}"), facts={"a": 1, "b": 2})',
        'Finding(template=_T[kind], facts={"a": 1})\n_T = {"x": "{a}", "y": "{a:bytes}"}',
        'Finding(template="{a}", facts={"a": ", ".join(names), "b": labels.get("severity", "")})',
        'Finding(template="{a:term}", facts={"a": "requests"})',
        'Words(template="{now} {limit}", line="x")',
        'record.say(f"# {title}")',
    ],
)
def test_what_is_right_is_no_fault(source: str) -> None:
    assert faults(source) == []
