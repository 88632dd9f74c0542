"""The input of lint, read once: notebooks, parameters, rules, routing, and the metric catalogue."""

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

from runbooklib.config import notebook_file, rule_file, runbooks
from runbooklib.config.environment import Environment
from runbooklib.config.parameters import Declared, parse_declarations
from runbooklib.config.rule_file import AlertRule
from runbooklib.config.site import validate
from runbooklib.config.yaml_file import read_mapping
from runbooklib.errors import ParameterError, SettingsError
from runbooklib.lint import line_numbers
from runbooklib.lint.metric_catalog import Catalogue
from runbooklib.lint.rule import Message, Needs, Rule, Severity

UNREADABLE = Rule(
    "unreadable",
    Severity.ERROR,
    "Every file of the runbooks' folder can be read.",
    "A file that cannot be read is not checked and cannot be run.",
    bad="owner: team: SRE",
    good="ownership: {team: SRE}",
)
RULES = (UNREADABLE,)
METRICS = "metrics.yaml"
_PARAMETERS = Path("parameters")


@dataclass(frozen=True)
class Cell:
    """One cell; `number` is its place in the notebook, from 0."""

    number: int
    id: str
    kind: str
    source: str
    tags: tuple[str, ...]
    is_clean: bool


@dataclass(frozen=True)
class Notebook:
    """A notebook, the alerts that it serves, and the lines of its file."""

    path: Path
    file: str
    alerts: tuple[str, ...]
    text: str
    raw: Mapping[str, Any] = field(repr=False)
    cells: tuple[Cell, ...] = field(repr=False)

    @cached_property
    def lines(self) -> line_numbers.Lines:
        """The line of each value of the file."""
        return line_numbers.in_json(self.text)

    def line(self, cell: Cell, number: int = 1) -> int:
        """The line in the file of line `number` of the cell's source, both counted from 1."""
        return line_numbers.nearest(self.lines, ("cells", cell.number, "source", number - 1))

    @property
    def code(self) -> tuple[Cell, ...]:
        """The code cells."""
        return tuple(cell for cell in self.cells if cell.kind == "code")

    @property
    def parameter_cells(self) -> tuple[Cell, ...]:
        """The cells tagged `parameters`; there should be exactly 1."""
        return tuple(cell for cell in self.code if "parameters" in cell.tags)

    @cached_property
    def declared(self) -> Mapping[str, Declared]:
        """The declared parameters; empty if the cell is invalid, which has its own message."""
        try:
            return parse_declarations(self.parameter_cells[0].source) if self.parameter_cells else {}
        except ParameterError:
            return {}

    def line_of_parameter(self, name: str) -> int:
        """The line in the file on which the parameters cell declares the name."""
        cell = self.parameter_cells[0]
        for statement in ast.parse(cell.source).body:
            if isinstance(statement, ast.AnnAssign) and ast.unparse(statement.target) == name:
                return self.line(cell, statement.lineno)
        return self.line(cell)


@dataclass(frozen=True)
class YamlFile:
    """A YAML file: its values, and their lines."""

    path: Path
    file: str
    text: str = field(repr=False)
    values: Mapping[str, Any] = field(repr=False)

    @cached_property
    def lines(self) -> line_numbers.Lines:
        """The line of each key and item."""
        return line_numbers.in_yaml(self.text)

    def line(self, *path: str | int) -> int:
        """The line of the key at that path, or of the nearest key above it."""
        return line_numbers.nearest(self.lines, path)


@dataclass(frozen=True)
class Site:
    """An environment, and its file."""

    source: YamlFile
    environment: Environment


@dataclass(frozen=True)
class PlacedRule:
    """An alert's rule, with the displayed path of its file and the lines of its parts."""

    rule: AlertRule
    file: str
    lines: line_numbers.Lines = field(repr=False)
    path: line_numbers.Path = ()

    def line(self, *below: str) -> int:
        """The line of a part of the rule, like "expr" or "annotations", "summary"."""
        if not self.lines:
            return self.rule.line  # in a file of several documents only this line is known
        return line_numbers.nearest(self.lines, (*self.path, *(below or ("alert",))))


@dataclass
class Material:
    """The input of lint. `rules` and `routing` are None if they are not given, and then not checked."""

    home: Path
    today: date
    notebooks: list[Notebook] = field(default_factory=list)
    parameters: list[YamlFile] = field(default_factory=list)
    sites: list[Site] = field(default_factory=list)
    catalogue: Catalogue | None = None
    rules: list[PlacedRule] | None = None
    routing: YamlFile | None = None
    texts: dict[str, str] = field(default_factory=dict)
    messages: list[Message] = field(default_factory=list)

    @property
    def served(self) -> dict[str, Notebook]:
        """Alert name -> its notebook."""
        return {alert: notebook for notebook in self.notebooks for alert in notebook.alerts}

    def parameter_file(self, alert: str) -> YamlFile | None:
        """parameters/<Alert>.yaml, or None."""
        return next((source for source in self.parameters if source.path.stem == alert), None)

    def rules_of(self, alert: str) -> Iterator[PlacedRule]:
        """The rules of that name: an alert may have one for each severity."""
        return (placed_rule for placed_rule in self.rules or () if placed_rule.rule.alert == alert)

    def has_input_for(self, needs: Needs) -> bool:
        """Whether the required input is given. False for LIVE: `rules/live.py` checks it separately."""
        inputs = {Needs.RULES: self.rules, Needs.ROUTING: self.routing, Needs.LIVE: None}
        return needs is Needs.HOME or inputs[needs] is not None

    def display_path(self, path: Path) -> str:
        """The path for messages: relative to the home, else to the working folder."""
        for root in (self.home.resolve(), Path.cwd()):
            if path.resolve().is_relative_to(root):
                return path.resolve().relative_to(root).as_posix()
        return path.as_posix()

    def read(self) -> None:
        """Read the files of the home; an unreadable file becomes a message."""
        for path in sorted((self.home / "notebooks").glob("*.ipynb")):
            self._read_or_report(path, self._notebook)
        for path in sorted((self.home / _PARAMETERS).glob("*.yaml")):
            self._read_or_report(path, self._catalogue if path.name == METRICS else self._parameters)
        for path in sorted((self.home / _PARAMETERS / "environments").glob("*.yaml")):
            self._read_or_report(path, self._site)

    def read_rules(self, paths: Sequence[Path]) -> None:
        """Read rule files. Raises SettingsError, because the caller names the files."""
        self.rules = []
        for path in paths:
            rules = rule_file.read_rules(path)
            display_path, lines = self.display_path(path), line_numbers.in_yaml(self._text(path))
            by_line = {line: place[:-1] for place, line in lines.items() if place[-1] == "alert"}
            for rule in rules:
                below = by_line.get(rule.line)
                self.rules.append(PlacedRule(rule, display_path, lines if below else {}, below or ()))

    def read_routing(self, path: Path) -> None:
        """Read Alertmanager's configuration. Raises SettingsError."""
        self.routing = self._yaml(path)

    def _read_or_report(self, path: Path, read: Any) -> None:
        try:
            read(path)
        except SettingsError as error:
            self.messages.append(UNREADABLE.at(self.display_path(path), 1, str(error)))

    def _notebook(self, path: Path) -> None:
        raw = notebook_file.read(path)
        text = self._text(path)
        cells = tuple(_cell(number, fields) for number, fields in enumerate(raw["cells"]))
        served = runbooks.served_alerts(path)
        self.notebooks.append(Notebook(path, self.display_path(path), served, text, raw, cells))

    def _parameters(self, path: Path) -> None:
        self.parameters.append(self._yaml(path))

    def _catalogue(self, path: Path) -> None:
        self.catalogue = validate(Catalogue, self._yaml(path).values, self.display_path(path))

    def _site(self, path: Path) -> None:
        source = self._yaml(path)
        self.sites.append(Site(source, validate(Environment, source.values, source.file)))

    def _yaml(self, path: Path) -> YamlFile:
        display_path = self.display_path(path)
        values = read_mapping(path, display_path)
        return YamlFile(path, display_path, self._text(path), values)

    def _text(self, path: Path) -> str:
        text = self.texts[self.display_path(path)] = path.read_text(encoding="utf-8")
        return text


def _cell(number: int, raw: Mapping[str, Any]) -> Cell:
    return Cell(
        number=number,
        id=str(raw.get("id", "")),
        kind=str(raw["cell_type"]),
        source=notebook_file.source(raw),
        tags=tuple(raw.get("metadata", {}).get("tags", ())),
        is_clean=not raw.get("outputs") and raw.get("execution_count") is None,
    )
